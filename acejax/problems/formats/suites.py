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
    found = None
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if item}
        found = _of_object(value, where, field, fn_name)
    elif isinstance(value, list) and value and all(map(_is_case, value)):
        found = _of_list(value, where, field, fn_name), "list of tests"
    if found is None:
        todo = "give inputs and outputs, a list of tests, or a program that defines check(candidate)"
        refuse(where, field, value, todo)
    return found


def _of_object(value: Mapping[str, Any], where: str, field: str, fn_name: str | None) -> tuple[Suite, str] | None:
    """The suite of a test program, or of a list of inputs and one of outputs; None of anything else."""
    if isinstance(value.get("functional"), str):
        return function_suite(value["functional"], where, f"{field}.functional"), "check(candidate)"
    if isinstance(value.get("test_code"), str):
        entry_point = value.get("entry_point")
        return function_suite(value["test_code"], where, f"{field}.test_code", entry_point), "check(candidate)"
    inputs = value.get("inputs") or value.get("input")
    outputs = value.get("outputs") or value.get("output")
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        return None
    if len(inputs) != len(outputs):
        found = f"{len(inputs)} inputs and {len(outputs)} outputs"
        raise UserError(f"{where}: field '{field}' has {found}; give one output for each")
    pairs = list(zip(inputs, outputs, strict=True))
    return _of_pairs(pairs, value.get("fn_name") or fn_name, where, field), "inputs and outputs"


def _is_case(case: Any) -> bool:
    return isinstance(case, Mapping) and {"input", "output"} <= case.keys()


def _of_list(value: list[Any], where: str, field: str, fn_name: str | None) -> Suite:
    names: set[str] = set()
    for case in value:
        name = _fn_name(case, where, field)
        if name:
            names.add(name)
    if len(names) > 1:
        refuse(where, field, sorted(names), "all tests must call one function")
    called = next(iter(names), fn_name)
    if not called and any((case.get("testtype") or case.get("type")) in CALLS for case in value):
        todo = "tests that call a function need its name, in 'fn_name' or as 'func_name' in 'metadata'"
        refuse(where, field, value, todo)
    return _of_pairs([(case["input"], case["output"]) for case in value], called, where, field)


def _fn_name(case: Mapping[str, Any], where: str, field: str) -> str | None:
    metadata = decoded(case.get("metadata"), where, f"{field}.metadata")
    if case.get("fn_name"):
        return case["fn_name"]
    return metadata.get("func_name") if isinstance(metadata, Mapping) else None


def _of_pairs(pairs: Sequence[tuple[Any, Any]], fn_name: str | None, where: str, field: str) -> Suite:
    if not pairs:
        refuse(where, field, [], "a problem needs at least one test")
    if not fn_name:
        texts = [{"input": _lines(given), "output": _lines(wanted)} for given, wanted in pairs]
        return {"kind": "stdin", "cases": texts}
    cases = []
    for number, (given, wanted) in enumerate(pairs, 1):
        cases.append(_call(given, wanted, f"{where}: field '{field}', test {number}"))
    # APPS and its heirs wrap each result in a list of one; as text (LiveCodeBench) results are what they say.
    if all(isinstance(wanted, list) and len(wanted) == 1 for _, wanted in pairs):
        cases = [{**case, "output": case["output"][0]} for case in cases]
    return {"kind": "function", "fn_name": str(fn_name).rpartition(".")[2], "cases": cases}


def _lines(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(map(_lines, value))
    return str(value)


def _call(given: Any, wanted: Any, place: str) -> dict[str, Any]:
    """One call: arguments in a list, or as text with one JSON value a line; then the result is JSON text too."""
    if isinstance(given, list):
        return {"args": given, "output": wanted}
    if not isinstance(given, str):
        raise UserError(f"{place}: input is {shown(given)}; give the list of arguments")
    try:
        args = [json.loads(line) for line in given.split("\n") if line.strip()]
        if isinstance(wanted, str):
            wanted = json.loads(wanted)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{place}: input or output is not JSON ({error}); write each argument as JSON on a line of its own"
        ) from None
    return {"args": args, "output": wanted}


def packed_cases(text: str, where: str, field: str) -> list[Any]:
    """LiveCodeBench's private tests: a JSON list, or one that was pickled as a string, compressed with zlib and written
    in base64.

    The pickle is read as a list of opcodes, not run: anything but one string raises UserError.
    """
    if not text.lstrip().startswith("["):
        text = _pickled_text(_unpacked(text, where, field), where, field)
    cases = decoded(text, where, field)
    if not isinstance(cases, list):
        refuse(where, field, cases, "give a list of tests")
    return cases


def _unpacked(text: str, where: str, field: str) -> bytes:
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(text, validate=True), MAX_UNPACKED_BYTES)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise UserError(
            f"{where}: field '{field}' is neither JSON nor base64 of zlib ({error}); get the file again"
        ) from None
    if not unpacker.eof:
        most = f"{MAX_UNPACKED_BYTES >> 30} GiB"
        raise UserError(f"{where}: field '{field}' is cut, or holds more than {most}; get the file again")
    return data


def _pickled_text(data: bytes, where: str, field: str) -> str:
    found = []
    try:
        for operation, argument, _ in pickletools.genops(data):
            if operation.name in _TEXTS:
                found.append(str(argument))
            elif operation.name not in _HARMLESS:
                found_instead = f"a pickle with {operation.name}, not of one string"
                raise UserError(f"{where}: field '{field}' is {found_instead}; do not trust this file")
    except (ValueError, IndexError) as error:
        raise UserError(f"{where}: field '{field}' is not a whole pickle ({error}); get the file again") from None
    if len(found) != 1:
        raise UserError(f"{where}: field '{field}' is a pickle of {len(found)} strings, not of one; get the file again")
    return found[0]
