"""Extraction and comparison: what needs no process."""

import pytest

from acejax.verification.programs.judge import extract_code, outputs_match, values_match


def fenced(code: str, label: str = "python") -> str:
    return f"```{label}\n{code}\n```"


@pytest.mark.parametrize("label", ["python", "py", "Python3", ""])
def test_last_python_block_after_the_last_think_end(label):
    thought = f"{fenced('a')}</think>{fenced('b')} </think>\nfirst\n"
    response = f"{thought}{fenced('c')}\nthen\n{fenced('d', label)}\nwhich prints\n{fenced('9', 'text')}"
    assert extract_code(response) == ("d\n", "ok")


@pytest.mark.parametrize(
    ("response", "require", "expected"),
    [
        (fenced("x"), True, (None, "no_think_end")),
        (fenced("x"), False, ("x\n", "ok")),
        (fenced("x") + "</think> no program", True, (None, "no_code")),
        ("</think>\n```python\nprint(1)", True, (None, "no_code")),  # cut off
        ("</think>\n```cpp\nint x;\n```", True, (None, "no_code")),
        ("</think>\n```python\n\n```", True, (None, "no_code")),
        ("</think>\n1. so:\n   ```python\n   if 1:\n       x = 1\n   ```", True, ("if 1:\n    x = 1\n", "ok")),
        ("</think>\nThe program: ```python\nx = 1\n```", True, ("x = 1\n", "ok")),
        ("</think>\r\n```python\r\nx = 1\r\n```\r\n", True, ("x = 1\n", "ok")),
        ("</think>\n````python\ns = '''\n```\n'''\n````", True, ("s = '''\n```\n'''\n", "ok")),
        ("</think>\n```json\n{}\n```\nand\n```python\nx\n```", True, ("x\n", "ok")),
    ],
)
def test_extraction(response, require, expected):
    assert extract_code(response, require) == expected


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("1 2\n3\n", "1 2 \r\n3\r\n\r\n", True),
        ("1 2\n3", "1 2 3", False),
        ("1\n\n2", "1\n2", False),
        ("YES", "Yes", False),
        ("10000", "10000.0", False),
        ("10000", "10001", False),
        ("0.333333", "0.3333333", True),
        ("0.5", "0.50001", False),
        ("2.0", "2", True),
        ("1e6", "1000000", True),
        ("1000000000.5", "1000000001.5", True),
        ("nan", "nan", False),
        ("0.5", "nan", False),
        ("0.5", "0_5", False),
        ("", "\n\n", True),
        ("1", "", False),
        ("9" * 5000, "9" * 5000, True),
    ],
)
def test_printed_output(expected, got, same):
    assert outputs_match(expected, got) is same


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ([1, [2, 3]], [1, [2, 3]], True),
        ([1, 2], [2, 1], False),
        ([1, 2], [1, 2, 3], False),
        (1, True, False),
        (True, 1, False),
        (5, 5.0, False),
        (5.0, 5, True),
        (5.0, True, False),
        (0.1, 0.1000000001, True),
        (0.1, 0.1001, False),
        (float("nan"), float("nan"), False),
        (float("inf"), float("inf"), True),
        (1.5, 10**400, False),
        (None, None, True),
        (None, 0, False),
        ("a", "a", True),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([], {}, False),
    ],
)
def test_results(expected, got, same):
    assert values_match(expected, got) is same
