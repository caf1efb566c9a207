r"""Finds the boxed answer in a response, in time linear in the text.

* The last balanced \boxed{} or \fbox{} after the last `</think>` is the answer. \boxed 7 is a box too.
* Boxes with nothing but commas, `and` or `or` between them are one list: `\boxed{3}, \boxed{5}` is `3, 5`.
* A box that is empty, or holds dots or the word `answer`, is passed over where another one stands before it.
"""

from __future__ import annotations

import re

BOXES_FROM_END = 4  # boxes that are tried from the end, before the text is walked from its start
MAX_LISTED = 32  # boxes that make one list
_THINK_END = "</think>"
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BARE_BOX = re.compile(r"\\boxed(?:\s+|(?=\d))(-?\d[\d.,/]*|[A-Z](?![A-Za-z]))", re.ASCII)
_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_PLACEHOLDER = re.compile(
    r"(?:\s|\\[, ]|[._?…]|\\[lc]?dots|\\square|\\text\{[\s.]{0,9}\}"
    r"|(?:\\text\{\s?)?(?:your |final |the )?answer(?: here)?\s?\}?$)*",
    re.IGNORECASE,
)
_SPACES = r"(?:[\s$*]|\\q?quad(?![A-Za-z])|\\[,;:! ()\[\]])*"
_AND = r"(?:and|or)\b|\\(?:text|mathrm|mbox)\s*\{\s*,?\s*(?:and|or)\s*\}"
_BETWEEN = re.compile(rf"{_SPACES}(?:[,;]{_SPACES}(?:{_AND})?|{_AND}){_SPACES}")
_LONGEST_BETWEEN = 40  # characters
_LONGEST_LISTED = 2000  # characters of a box and what follows it, in a list

Box = tuple[int, int, int]  # where a box opens, where its content starts, where that ends


def extract_boxed(response: str, require_think_end: bool) -> tuple[str | None, str]:
    r"""The content of the last box after the last `</think>`, and why there is none.

    The reason is "ok", "no_think_end" (one is required and none is there) or "no_box". The time is linear in the text.
    """
    think_end = response.rfind(_THINK_END)
    if think_end < 0 and require_think_end:
        return None, "no_think_end"
    start = 0 if think_end < 0 else think_end + len(_THINK_END)
    box = _last_box(response, start)
    if box is None:
        return None, "no_box"
    return _with_neighbours(response, start, box), "ok"


def _last_box(text: str, start: int) -> Box | None:
    """The last box that closes and holds something; else the last that closes."""
    stop, empty = len(text), None
    for _ in range(BOXES_FROM_END):
        stop = _opener_before(text, start, stop)
        if stop < 0:
            return empty
        box = _box_at(text, stop)
        if box and not _is_placeholder(text, box):
            return box
        empty = empty or box
    return _last_closed(text, start) or empty


def _opener_before(text: str, start: int, stop: int) -> int:
    return max(text.rfind("\\boxed", start, stop), text.rfind("\\fbox", start, stop))


def _box_at(text: str, at: int) -> Box | None:
    opener = _BOX.match(text, at)
    if opener:
        close = _close_of(text, opener.end())
        return None if close is None else (at, opener.end(), close)
    bare = _BARE_BOX.match(text, at)
    return (at, *bare.span(1)) if bare else None


def _is_placeholder(text: str, box: Box) -> bool:
    _, content, close = box
    return _PLACEHOLDER.fullmatch(text, content, close) is not None


def _with_neighbours(text: str, start: int, box: Box) -> str:
    """The content of a box, after that of the boxes before it that make one list with it."""
    contents = [_content(text, box)]
    while len(contents) < MAX_LISTED:
        previous = _neighbour(text, start, box)
        if previous is None:
            break
        contents.append(_content(text, previous))
        box = previous
    if len(set(contents)) == 1:  # the same box, said twice
        return contents[0]
    return ", ".join(reversed(contents))


def _content(text: str, box: Box) -> str:
    _, content, close = box
    return text[content:close].strip()


def _neighbour(text: str, start: int, box: Box) -> Box | None:
    """The box before this one, if only a comma or a conjunction stands between them."""
    at = _opener_before(text, max(start, box[0] - _LONGEST_LISTED), box[0])
    previous = _box_at(text, at) if at >= 0 else None
    if previous is None or _is_placeholder(text, previous):
        return None
    end = previous[2]
    if text.startswith("}", end):
        end += 1
    if not 0 < box[0] - end <= _LONGEST_BETWEEN:
        return None
    return previous if _BETWEEN.fullmatch(text, end, box[0]) else None


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


def _last_closed(text: str, start: int) -> Box | None:
    """The last box that closes and holds something, in one pass over the whole text."""
    open_braces: list[tuple[int, int]] = []  # a box and where its content starts, or -1 for an ordinary brace
    best: Box | None = None
    for match in _BRACES.finditer(text, start):
        brace = match[0]
        if brace == "{":
            open_braces.append((-1, -1))
        elif brace[-1] == "{" and len(brace) > 2:
            open_braces.append((match.start(), match.end()))
        elif brace == "}" and open_braces:
            opener, content = open_braces.pop()
            box = (opener, content, match.start())
            if opener >= 0 and (best is None or content > best[1]) and not _is_placeholder(text, box):
                best = box
    return best
