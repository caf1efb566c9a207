"""The program that a response ends in."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<ticks>`{3,})[ \t]*(?P<info>[^`]*?)[ \t]*$")
# One that opens a block behind other text on its line.
_LATE_FENCE = re.compile(r"(?P<indent>)(?P<ticks>`{3,})(?P<info>python3?|py)[ \t]*$", re.IGNORECASE)
_PYTHON = {"py", "python", "python3"}


def extract_code(response: str, require_think_end: bool = True) -> tuple[str | None, str]:
    """The last closed fenced Python (or unlabelled) block after the last `</think>`.

    Returns (program, "ok"), or (None, reason) with reason no_think_end or no_code.
    """
    _, mark, answer = response.rpartition("</think>")
    if not mark and require_think_end:
        return None, "no_think_end"
    found: str | None = None
    opening: re.Match[str] | None = None
    block: list[str] = []
    for line in answer.splitlines():
        fence = _FENCE.match(line)
        if opening is None:
            opening = fence or _LATE_FENCE.search(line)
            block = []
        elif fence and _closes(fence, opening):
            program = "\n".join(block) + "\n"
            if _is_python(opening) and program.strip():
                found = program
            opening = None
        else:
            block.append(_dedented(line, len(opening["indent"])))
    if found is None:
        return None, "no_code"
    return found, "ok"


def _closes(fence: re.Match[str], opening: re.Match[str]) -> bool:
    return not fence["info"] and len(fence["ticks"]) >= len(opening["ticks"])


def _is_python(opening: re.Match[str]) -> bool:
    words = opening["info"].split()
    return not words or words[0].lower() in _PYTHON


def _dedented(line: str, indent: int) -> str:
    margin = len(line) - len(line.lstrip(" \t"))
    return line[min(indent, margin) :]
