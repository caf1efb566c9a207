"""Test suites of programming problems, from the shapes in which datasets keep inputs and outputs."""

from __future__ import annotations

import base64
import binascii
import pickletools
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from acejax.errors import UserError
from acejax.problems.formats.asserts import assertion_suite, function_suite, returned_depth
from acejax.problems.formats.common import decoded, lines_of, parsed_json, refuse, shown

MAX_UNPACKED_BYTES = 1 << 30
CALLS = ("functional", "function_call")
_INTEGER = re.compile(r"-?(?:0|[1-9]\d*)")
_TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_HARMLESS = {"PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"}

Suite = dict[str, Any]


def suite(value: Any, where: str, field: str, fn_name: str | None = None, starter: str = "") -> tuple[Suite, str]:
    """Our `tests` from any of the shapes below (or their JSON text), and the name of the shape.

    Our own, with a `kind` that problem.py reads; {"functional": program} or {"test_code": program, "entry_point"};
    {"inputs": [...], "outputs": [...], "fn_name"?}; {"assert_case": [...]}; [statement, ...];
    [{"input", "output", "fn_name"? or "metadata": {"func_name"}?}, ...]. `starter` is the code that a solution begins
    with, whose annotations tell the form of a result. Raises UserError where it is none of them.
    """
    value = decoded(value, where, field)
    found = None
    if isinstance(value, Mapping):
        if is_own(value):
            return dict(value), "kind and cases"
        value = {key: item for key, item in value.items() if item}
        found = _of_object(value, where, field, fn_name, starter)
    elif isinstance(value, list) and value and all(map(_is_case, value)):
        found = _of_list(value, where, field, fn_name, starter), "list of tests"
    elif isinstance(value, list) and value and len(_texts(value)) == len(value):
        found = assertion_suite(value, where, field), "assertions"
    if found is None:
        todo = "give inputs and outputs, a list of tests, or a program that defines check(candidate)"
        refuse(where, field, value, todo)
    return found


def _of_object(
    value: Mapping[str, Any], where: str, field: str, fn_name: str | None, starter: str
) -> tuple[Suite, str] | None:
    """The suite of a test program, or of a list of inputs and one of outputs; None of anything else."""
    if isinstance(value.get("functional"), str):
        return function_suite(value["functional"], where, f"{field}.functional"), "check(candidate)"
    if isinstance(value.get("test_code"), str):
        entry_point = value.get("entry_point")
        return function_suite(value["test_code"], where, f"{field}.test_code", entry_point), "check(candidate)"
    inputs = value.get("inputs") or value.get("input")
    outputs = value.get("outputs") or value.get("output")
    if any(_texts(value.get("assert_case"))):
        return _of_assertions(value["assert_case"], inputs, outputs, where, field), "assertions"
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        return None
    if len(inputs) != len(outputs):
        found = f"{len(inputs)} inputs and {len(outputs)} outputs"
        raise UserError(f"{where}: field '{field}' has {found}; give one output for each")
    pairs = list(zip(inputs, outputs, strict=True))
    return _of_pairs(pairs, value.get("fn_name") or fn_name, where, field, starter), "inputs and outputs"


def is_own(value: Any) -> bool:
    """Whether tests are in our own form, which problem.py checks: they name a kind, or hold what only ours hold."""
    if not isinstance(value, Mapping):
        return False
    return any(value.get(name) is not None for name in ("kind", "cases", "script"))


def _texts(value: Any) -> list[str]:
    """The texts of a list that are not blank."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        return []
    return [one for one in value if isinstance(one, str) and one.strip()]


def _of_assertions(assertions: Any, inputs: Any, outputs: Any, where: str, field: str) -> Suite:
    """verl's `assert_case`: statements that are run after the program. Raises UserError where stdin is to be judged
    too, since tests are of one kind.
    """
    field = f"{field}.assert_case"
    if any(lines_of(text).strip() for text in (*_listed(inputs), *_listed(outputs))):
        refuse(where, field, assertions, "assertions and printed outputs cannot both be judged; keep one of them")
    return assertion_suite(_texts(assertions), where, field)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_case(case: Any) -> bool:
    return isinstance(case, Mapping) and {"input", "output"} <= case.keys()


def _of_list(value: list[Any], where: str, field: str, fn_name: str | None, starter: str) -> Suite:
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
    return _of_pairs([(case["input"], case["output"]) for case in value], called, where, field, starter)


def _fn_name(case: Mapping[str, Any], where: str, field: str) -> str | None:
    metadata = decoded(case.get("metadata"), where, f"{field}.metadata")
    if case.get("fn_name"):
        return case["fn_name"]
    return metadata.get("func_name") if isinstance(metadata, Mapping) else None


def _of_pairs(pairs: Sequence[tuple[Any, Any]], fn_name: str | None, where: str, field: str, starter: str) -> Suite:
    if not fn_name:
        return {"kind": "stdin", "cases": _printed(pairs, where, field)}
    name = str(fn_name).rpartition(".")[2]
    cases = []
    for number, (given, wanted) in enumerate(pairs, 1):
        cases.append(_call(given, wanted, f"{where}: field '{field}', test {number}"))
    # As text (LiveCodeBench) results are what they say.
    if all(isinstance(wanted, list) and len(wanted) == 1 for _, wanted in pairs):
        cases = _unwrapped(cases, returned_depth(starter, name))
    tests: Suite = {"kind": "function", "fn_name": name, "cases": cases}
    keyed = _keyed_by_integers(cases)
    if keyed:
        tests["types"] = {"args": keyed}
    return tests


def _printed(pairs: Sequence[tuple[Any, Any]], where: str, field: str) -> list[Suite]:
    texts = []
    for number, (given, wanted) in enumerate(pairs, 1):
        if wanted is None:
            found = f"field '{field}', test {number}: there is no expected output"
            raise UserError(f"{where}: {found}; give what the program must print, or leave the test out")
        texts.append({"input": lines_of(given), "output": lines_of(wanted)})
    return texts


def _unwrapped(cases: list[Suite], depth: int | None) -> list[Suite]:
    """The cases of results that are all lists of one. APPS and its heirs wrap each result in such a list; `depth`, of
    lists in the function's stated result, tells whether they did. Where nothing is stated either is right, as in APPS.
    """
    if depth is not None:
        deepest = max(_depth(case["output"]) for case in cases)
        if deepest <= depth:
            return cases
        return [{**case, "output": case["output"][0]} for case in cases]
    return [{**case, "output": case["output"][0], "or_output": case["output"]} for case in cases]


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list):
        depth += 1
        value = value[0] if value else None
    return depth


def _keyed_by_integers(cases: Sequence[Suite]) -> list[str | None]:
    """The kind of each argument: "IntKeys" where it is always an object whose keys are all integers, which JSON can
    only write as text. Empty where no argument is.
    """
    places = max(len(case["args"]) for case in cases)
    kinds: list[str | None] = []
    for place in range(places):
        held = [case["args"][place] for case in cases if place < len(case["args"])]
        integral = all(map(_has_integer_keys, held)) and any(held)
        kinds.append("IntKeys" if integral else None)
    return kinds if any(kinds) else []


def _has_integer_keys(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_INTEGER.fullmatch(key) for key in value)


def _call(given: Any, wanted: Any, place: str) -> dict[str, Any]:
    """One call: arguments in a list, or as text with one JSON value a line; then the result is JSON text too."""
    if isinstance(given, list):
        return {"args": given, "output": wanted}
    if not isinstance(given, str):
        raise UserError(f"{place}: input is {shown(given)}; give the list of arguments")
    try:
        args = [parsed_json(line) for line in given.split("\n") if line.strip()]
        if isinstance(wanted, str):
            wanted = parsed_json(wanted)
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
