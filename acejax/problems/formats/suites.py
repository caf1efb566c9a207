"""Test suites of programming problems, from the shapes in which datasets keep inputs and outputs."""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from acejax.errors import UserError
from acejax.problems.formats.asserts import function_suite
from acejax.problems.formats.common import decoded, refuse, shown

MAX_UNPACKED_BYTES = 1 << 30
CALLS = ("functional", "function_call")
_TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_HARMLESS = {"PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"}

Suite = dict[str, Any]


def suite(value: Any, where: str, field: str, fn_name: str | None = None) -> tuple[Suite, str]:
    """Our `tests` from any of the shapes below (or their JSON text), and the name of the shape.

    {"functional": program} or {"test_code": program, "entry_point"}; {"inputs": [...], "outputs": [...], "fn_name"?};
    [{"input", "output", "fn_name"? or "metadata": {"func_name"}?}, ...]. Raises UserError where it is none of them.
    """
    value = decoded(value, where, field)
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if item}
        if isinstance(value.get("functional"), str):
            return function_suite(value["functional"], where, f"{field}.functional"), "check(candidate)"
        if isinstance(value.get("test_code"), str):
            return function_suite(
                value["test_code"], where, f"{field}.test_code", value.get("entry_point")
            ), "check(candidate)"
        inputs, outputs = (value.get(plural) or value.get(plural[:-1]) for plural in ("inputs", "outputs"))
        if isinstance(inputs, list) and isinstance(outputs, list):
            if len(inputs) != len(outputs):
                raise UserError(
                    f"{where}: field '{field}' has {len(inputs)} inputs and {len(outputs)} outputs; give one output for each"
                )
            return _of_pairs(
                list(zip(inputs, outputs, strict=True)), value.get("fn_name") or fn_name, where, field
            ), "inputs and outputs"
    if (
        isinstance(value, list)
        and value
        and all(isinstance(case, Mapping) and {"input", "output"} <= case.keys() for case in value)
    ):
        names: set[str] = {named for case in value if (named := _fn_name(case, where, field))}
        if len(names) > 1:
            refuse(where, field, sorted(names), "all tests must call one function")
        name = next(iter(names), fn_name)
        if not name and any((case.get("testtype") or case.get("type")) in CALLS for case in value):
            refuse(
                where,
                field,
                value,
                "tests that call a function need its name, in 'fn_name' or as 'func_name' in 'metadata'",
            )
        return _of_pairs([(case["input"], case["output"]) for case in value], name, where, field), "list of tests"
    return refuse(
        where, field, value, "give inputs and outputs, a list of tests, or a program that defines check(candidate)"
    )


def _fn_name(case: Mapping[str, Any], where: str, field: str) -> str | None:
    metadata = decoded(case.get("metadata"), where, f"{field}.metadata")
    return case.get("fn_name") or (metadata.get("func_name") if isinstance(metadata, Mapping) else None)


def _of_pairs(pairs: Sequence[tuple[Any, Any]], fn_name: str | None, where: str, field: str) -> Suite:
    if not pairs:
        refuse(where, field, [], "a problem needs at least one test")
    if not fn_name:
        return {
            "kind": "stdin",
            "cases": [{"input": _lines(given), "output": _lines(wanted)} for given, wanted in pairs],
        }
    cases = [
        _call(given, wanted, f"{where}: field '{field}', test {number}")
        for number, (given, wanted) in enumerate(pairs, 1)
    ]
    # APPS and its heirs wrap each result in a list of one; as text (LiveCodeBench) results are what they say.
    if all(isinstance(wanted, list) and len(wanted) == 1 for _, wanted in pairs):
        cases = [{**case, "output": case["output"][0]} for case in cases]
    return {"kind": "function", "fn_name": str(fn_name).rpartition(".")[2], "cases": cases}


def _lines(value: Any) -> str:
    return value if isinstance(value, str) else "\n".join(map(_lines, value)) if isinstance(value, list) else str(value)


def _call(given: Any, wanted: Any, place: str) -> dict[str, Any]:
    """One call: arguments in a list, or as text with one JSON value a line; then the result is JSON text too."""
    if isinstance(given, list):
        return {"args": given, "output": wanted}
    if not isinstance(given, str):
        raise UserError(f"{place}: input is {shown(given)}; give the list of arguments")
    try:
        args = [json.loads(line) for line in given.split("\n") if line.strip()]
        return {"args": args, "output": json.loads(wanted) if isinstance(wanted, str) else wanted}
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{place}: input or output is not JSON ({error}); write each argument as JSON on a line of its own"
        ) from None


def packed_cases(text: str, where: str, field: str) -> list[Any]:
    """LiveCodeBench's private tests: a JSON list, or one that was pickled as a string, compressed with zlib and written
    in base64.

    The pickle is read as a list of opcodes, not run: anything but one string raises UserError.
    """
    if not text.lstrip().startswith("["):
        try:
            unpacker = zlib.decompressobj()
            data = unpacker.decompress(base64.b64decode(text, validate=True), MAX_UNPACKED_BYTES)
        except (binascii.Error, zlib.error, ValueError) as error:
            raise UserError(
                f"{where}: field '{field}' is neither JSON nor base64 of zlib ({error}); get the file again"
            ) from None
        if not unpacker.eof:
            raise UserError(
                f"{where}: field '{field}' is cut, or holds more than {MAX_UNPACKED_BYTES >> 30} GiB; get the file again"
            )
        text = _pickled_text(data, where, field)
    cases = decoded(text, where, field)
    if not isinstance(cases, list):
        refuse(where, field, cases, "give a list of tests")
    return cases


def _pickled_text(data: bytes, where: str, field: str) -> str:
    found = []
    try:
        for operation, argument, _ in pickletools.genops(data):
            if operation.name in _TEXTS:
                found.append(str(argument))
            elif operation.name not in _HARMLESS:
                raise UserError(
                    f"{where}: field '{field}' is a pickle with {operation.name}, not of one string; do not trust this file"
                )
    except (ValueError, IndexError) as error:
        raise UserError(f"{where}: field '{field}' is not a whole pickle ({error}); get the file again") from None
    if len(found) != 1:
        raise UserError(f"{where}: field '{field}' is a pickle of {len(found)} strings, not of one; get the file again")
    return found[0]
