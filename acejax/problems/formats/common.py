"""What the converters share: saying what is wrong with a field, and reading JSON that stands in a string."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal, NoReturn

from acejax.errors import UserError

SHOWN_CHARACTERS = 100
KEPT_CHARACTERS = 200

Row = Mapping[str, Any]
Record = dict[str, Any]

Form = Literal["a string", "a number above 0", "a list of strings", "a list of objects with input and output"]


def shown(value: Any) -> str:
    """A value as an error message shows it: tests and solutions can be megabytes long."""
    try:
        text = repr(value)
    except ValueError:
        return f"{type(value).__name__} with an integer of over 4,300 digits"
    if len(text) > SHOWN_CHARACTERS:
        return text[:SHOWN_CHARACTERS] + " …"
    return text


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


def _is_number_above_0(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _is_list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


_FITS: Mapping[Form, Callable[[Any], bool]] = {
    "a string": _is_string,
    "a number above 0": _is_number_above_0,
    "a list of strings": _is_list_of(_is_string),
    "a list of objects with input and output": _is_list_of(_is_example),
}


def is_small(value: Any) -> bool:
    """Whether a column is worth keeping in `meta`: a number, or a short text."""
    if isinstance(value, str):
        return 0 < len(value) <= KEPT_CHARACTERS
    return isinstance(value, (bool, int, float))


def parsed_json(text: str) -> Any:
    """json.loads, for integers of any length too. Raises ValueError and RecursionError."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Python turns no text of more than 4,300 digits into an integer; Decimal does.
        return json.loads(text, parse_int=lambda digits: int(Decimal(digits)))


def listed(value: Any) -> Any:
    """The list or object that a text holds, as JSON or as Python writes it; any other value as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    for read in (parsed_json, ast.literal_eval):
        try:
            return read(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return value


def plain(value: Any) -> str:
    """str(), for integers of any length too."""
    if isinstance(value, int) and not isinstance(value, bool):
        return format(Decimal(value), "f")
    return str(value)


def lines_of(value: Any) -> str:
    """The text of a test that is printed or read: a list is its lines, and nothing is an empty text."""
    if value is None:
        return ""
    if isinstance(value, list):
        return "\n".join(map(lines_of, value))
    return plain(value)


def decoded(value: Any, where: str, field: str) -> Any:
    """The value, or what its JSON text stands for; None for an empty text. Raises UserError where the text is not
    JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return parsed_json(value) if value.strip() else None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: field '{field}' is not valid JSON text ({error}); write it as JSON") from None


def mapping(row: Row, field: str, where: str) -> Row:
    """The object that a field holds, or its JSON text; an empty one where there is none. Raises UserError."""
    value = decoded(row.get(field), where, field) or {}
    if not isinstance(value, Mapping):
        refuse(where, field, value, "give an object")
    return value
