r"""Finds the boxed answer in a response, in one pass over the text at most."""

from __future__ import annotations

import re

BOXES_FROM_END = 4  # boxes that are tried from the end, before the text is walked from its start
_THINK_END = "</think>"
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)


def extract_boxed(response: str, require_think_end: bool) -> tuple[str | None, str]:
    r"""The content of the last balanced \boxed{} or \fbox{} after the last `</think>`, and why there is none.

    The reason is "ok", "no_think_end" (one is required and none is there) or "no_box". One pass over the text.
    """
    think_end = response.rfind(_THINK_END)
    if think_end < 0 and require_think_end:
        return None, "no_think_end"
    start = 0 if think_end < 0 else think_end + len(_THINK_END)

    # The last box is nearly always the answer, and closed.
    stop = len(response)
    for _ in range(BOXES_FROM_END):
        stop = max(response.rfind("\\boxed", start, stop), response.rfind("\\fbox", start, stop))
        if stop < 0:
            return None, "no_box"
        opener = _BOX.match(response, stop)
        close = _close_of(response, opener.end()) if opener else None
        if opener and close is not None:
            return response[opener.end() : close].strip(), "ok"

    box = _last_closed(response, start)
    if box is None:
        return None, "no_box"
    content, close = box
    return response[content:close].strip(), "ok"


def _close_of(text: str, start: int) -> int | None:
    """Where the brace closes that opened just before `start`, or None if it does not."""
    depth = 1
    for match in _BRACES.finditer(text, start):
        brace = match[0]
        if brace == "}":
            depth -= 1
            if not depth:
                return match.start()
        elif brace[-1] == "{" and brace != "\\{":
            depth += 1
    return None


def _last_closed(text: str, start: int) -> tuple[int, int] | None:
    """Where the content of the last box that closes begins and ends, in one pass over the whole text."""
    open_braces: list[int] = []  # where a box's content starts, or -1 for an ordinary brace
    best: tuple[int, int] | None = None
    for match in _BRACES.finditer(text, start):
        brace = match[0]
        if brace == "{":
            open_braces.append(-1)
        elif brace[-1] == "{" and len(brace) > 2:
            open_braces.append(match.end())
        elif brace == "}" and open_braces:
            content = open_braces.pop()
            if content >= 0 and (best is None or content > best[0]):
                best = (content, match.start())
    return best
