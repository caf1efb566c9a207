"""What the converters share: saying what is wrong with a field, and reading JSON that stands in a string."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from acejax.errors import UserError

SHOWN_CHARACTERS = 100


def shown(value: Any) -> str:
    """A value as an error message shows it: tests and solutions can be megabytes long."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " …"


def refuse(where: str, field: str, value: Any, todo: str) -> NoReturn:
    """Raises UserError: which field of which row, what was found there, what to do."""
    raise UserError(f"{where}: field '{field}' is {shown(value)}; {todo}")


def decoded(value: Any, where: str, field: str) -> Any:
    """The value, or what its JSON text stands for; None for an empty text. Raises UserError where the text is not JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: field '{field}' is not valid JSON text ({error}); write it as JSON") from None
