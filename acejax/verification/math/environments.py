r"""Rows of an environment that is no matrix, as text without it.

* `aligned` and its like, and `cases` of equations, are a list of their rows: x = 1, y = 2.
* `cases` with conditions are the set of pairs of value and condition, rows in any order: \{(x, x>0), (-x, x<0)\}.
"""

from __future__ import annotations

import re

_ENVIRONMENT = re.compile(
    r"(\\\{ ?)?\\begin ?\{((?:d|r)?cases\*?|aligned|align\*?|gathered|split|array)\}(?: ?\{[^{}]*\})?"
    r"((?:(?!\\begin).)*?)\\end ?\{\2\}"
)
_CASES = ("cases", "dcases", "rcases", "cases*", "array")
_ROW_END = re.compile(r"\\\\(?: ?\[[^\[\]]{0,12}\])?")
_RELATION = re.compile(r" ?(?:[=<>:]|\\(?:leq?|geq?|neq?|approx|equiv|in)(?![A-Za-z]))")
_WORD_OF_CONDITION = re.compile(r"(\\(?:text|mbox|textrm|mathrm) ?\{)? ?,? ?(?:if|for|when|where)\b ?")
_IS = re.compile(r"\bis (?=even|odd)")


def without_environments(text: str) -> str:
    """The text with each such environment as a list or a set; an array only where a brace opens before it."""
    return _ENVIRONMENT.sub(_rewritten, text)


def _rewritten(match: re.Match[str]) -> str:
    brace, name, content = match.groups()
    if name == "array" and not brace:
        return match[0]
    rows = [row.strip(" ,;.") for row in _ROW_END.split(content)]
    cells = [row.split("&") for row in rows if row]
    if name in _CASES and cells and all(map(_has_condition, cells)):
        pairs = [f"({value.strip(' ,;')}, {_condition(condition)})" for value, condition in cells]
        return rf"\{{{', '.join(pairs)}\}}"
    return _listed(["".join(row) for row in cells])


def _has_condition(cells: list[str]) -> bool:
    return len(cells) == 2 and cells[1].strip() != "" and not _RELATION.match(cells[1])


def _condition(cell: str) -> str:
    cell = _WORD_OF_CONDITION.sub(lambda match: match[1] or "", cell.strip(), count=1)
    return _IS.sub("", cell).strip(" ,;.")


def _listed(rows: list[str]) -> str:
    """Rows as a list; one that opens with a relation goes on with the row before."""
    text = ""
    for row in rows:
        goes_on = not text or _RELATION.match(row)
        text += f" {row}" if goes_on else f", {row}"
    return text
