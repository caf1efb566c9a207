"""The program that a response ends in.

Which blocks count, as in CommonMark but for what chat models do otherwise:

* A block opens with three or more backticks or tildes at any indentation, also in a block quote, behind a list marker,
  or, labelled as Python, behind other text on its line.
* It closes with as many or more of the same and nothing else, indented at most three columns further than it opened: a
  fence in a docstring, at four or more, is text. A block that never closes does not count.
* The last block labelled as Python is the program, whatever follows it: an unlabelled one is mostly its output, a
  console session its use. Without one it is the last block labelled as a session, without that the last unlabelled one.
* Of a session (such a label, or `>>>` at the beginning) what stands behind the prompts counts.

Every step takes time linear in the length of the response.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

FURTHEST = 3  # columns that a closing fence may be indented beyond its opening
DEEPEST = 8  # block quotes within each other
TAB = 4
BLANK = " \t\ufeff"

_FENCE_LINE = re.compile(r"^[^\n]*(?:```|~~~)[^\n]*$", re.MULTILINE)
_LIST_MARKER = re.compile(r"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]+(?=```|~~~)")
_LABEL = re.compile(r"[{.\s]*([^\s,:;={}()]*)")
_PYTHON = re.compile(r"(?:[ic]?python|py|pypy)[-_v]*[0-9.]*|\S+\.py", re.IGNORECASE)
_SESSION = re.compile(r"pycon[0-9]?|pyrepl|i?python[0-9.]*[-_ ]?(?:repl|console|session|shell)", re.IGNORECASE)
_PROMPTS = (">>>", "...")

# What may be the program, from the least to the most.
UNLABELLED_SESSION, UNLABELLED, SESSION, PYTHON = 1, 2, 3, 4


@dataclass(frozen=True)
class _Fence:
    """`mark` repeated `length` times behind `indent` columns in `quotes` block quotes, with `info` behind it."""

    mark: str
    length: int
    indent: int
    quotes: int
    info: str


def extract_code(response: str, require_think_end: bool = True) -> tuple[str | None, str]:
    """The program in what follows the last `</think>`; the head of this file says which block it is.

    Returns (program, "ok"), or (None, reason) with reason no_think_end or no_code.
    """
    _, mark, answer = response.rpartition("</think>")
    if not mark and require_think_end:
        return None, "no_think_end"
    found, best = "", 0
    # Python too ends a line at these three only.
    for opening, text in _blocks(answer.replace("\r\n", "\n").replace("\r", "\n")):
        kind = _kind(opening, text)
        if kind and kind >= best:
            found, best = _program(opening, text, kind), kind
    if not best:
        return None, "no_code"
    return found, "ok"


def _blocks(answer: str) -> Iterator[tuple[_Fence, str]]:
    """Each closed block that is not blank: its opening fence and the lines between."""
    opening: _Fence | None = None
    start = 0
    for match in _FENCE_LINE.finditer(answer):
        if opening is None:
            opening = _opening(match[0])
            start = match.end() + 1
        elif _closes(match[0], opening):
            text = answer[start : match.start()]
            if text.strip():
                yield opening, text
            opening = None


def _opening(line: str) -> _Fence | None:
    rest, quotes = _unquoted(line, DEEPEST)
    fence = _fence(rest, quotes)
    if fence is not None:
        return fence
    marker = _LIST_MARKER.match(rest)
    if marker:
        return _fence(" " * marker.end() + rest[marker.end() :], quotes)
    return _late(rest, quotes)


def _unquoted(line: str, most: int) -> tuple[str, int]:
    """A line without the marks of at most so many block quotes, and how many it had."""
    for quotes in range(most):
        rest = line.lstrip(BLANK)
        if not rest.startswith(">"):
            return line, quotes
        line = rest[1:].removeprefix(" ")
    return line, most


def _fence(line: str, quotes: int) -> _Fence | None:
    text = line.lstrip(BLANK)
    mark = text[:1]
    if mark not in ("`", "~"):
        return None
    info = text.lstrip(mark)
    length = len(text) - len(info)
    if length < 3 or (mark == "`" and "`" in info):
        return None
    return _Fence(mark, length, _columns(line), quotes, info.strip())


def _late(line: str, quotes: int) -> _Fence | None:
    """A fence labelled as Python that opens a block behind other text on its line."""
    head, ticks, info = line.rpartition("```")
    if not ticks or not _PYTHON.fullmatch(info.strip()):
        return None
    length = 3 + len(head) - len(head.rstrip("`"))
    return _Fence("`", length, _columns(line), quotes, info.strip())


def _columns(line: str) -> int:
    """How far a line is indented."""
    margin = line[: len(line) - len(line.lstrip(BLANK))]
    return len(margin.replace("\ufeff", "").expandtabs(TAB))


def _closes(line: str, opening: _Fence) -> bool:
    fence = _fence(_unquoted(line, opening.quotes)[0], opening.quotes)
    if fence is None or fence.info or fence.mark != opening.mark:
        return False
    return fence.length >= opening.length and fence.indent <= opening.indent + FURTHEST


def _kind(opening: _Fence, text: str) -> int:
    """One of the four above; 0 for a block of anything else."""
    label = _LABEL.match(opening.info)
    assert label is not None  # it matches nothing too
    word = label[1]
    if _SESSION.fullmatch(word) or _SESSION.fullmatch(opening.info):
        return SESSION
    if word and not _PYTHON.fullmatch(word):
        return 0
    beginning = _unquoted(text.lstrip()[: 4 * DEEPEST], opening.quotes)[0]
    session = beginning.startswith(_PROMPTS[0])
    if word:
        return SESSION if session else PYTHON
    return UNLABELLED_SESSION if session else UNLABELLED


def _program(opening: _Fence, text: str, kind: int) -> str:
    lines = []
    for line in text.removesuffix("\n").split("\n"):
        lines.append(_dedented(_unquoted(line, opening.quotes)[0], opening.indent))
    if kind in (SESSION, UNLABELLED_SESSION) and any(line.startswith(_PROMPTS[0]) for line in lines):
        lines = [line[4:] for line in lines if line.startswith(_PROMPTS)]
    return "\n".join(lines).removeprefix("\ufeff") + "\n"


def _dedented(line: str, indent: int) -> str:
    """A line without its first columns, as far as they are blank."""
    at = columns = 0
    while columns < indent and line[at : at + 1] in (" ", "\t"):
        columns += 1
        if line[at] == "\t":
            columns += -columns % TAB
        at += 1
    return line[at:]
