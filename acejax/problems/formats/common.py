"""What the converters share: saying what is wrong with a field, and reading JSON that stands in a string."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn

from acejax.errors import UserError

SHOWN_CHARACTERS = 100

Form = Literal["a string", "a number above 0", "a list of strings", "a list of objects with input and output"]


def shown(value: Any) -> str:
    """A value as an error message shows it: tests and solutions can be megabytes long."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " …"


def refuse(where: str, field: str, value: Any, todo: str) -> NoReturn:
    """Raises UserError: which field of which row, what was found there, what to do."""
    raise UserError(f"{where}: field '{field}' is {shown(value)}; {todo}")


def expect(row: Mapping[str, Any], where: str, form: Form, *fields: str) -> None:
    """Raises UserError where one of the fields is there and has another form."""
    for field in fields:
        value = row.get(field)
        if value is not None and not _FITS[form](value):
            refuse(where, field, value, f"give {form}")


def _is_example(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(value.get(name), str) for name in ("input", "output"))


_FITS: Mapping[Form, Callable[[Any], bool]] = {
    "a string": lambda value: isinstance(value, str),
    "a number above 0": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0,
    "a list of strings": lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    "a list of objects with input and output": lambda value: isinstance(value, list) and all(map(_is_example, value)),
}


def decoded(value: Any, where: str, field: str) -> Any:
    """The value, or what its JSON text stands for; None for an empty text. Raises UserError where the text is not
    JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: field '{field}' is not valid JSON text ({error}); write it as JSON") from None
