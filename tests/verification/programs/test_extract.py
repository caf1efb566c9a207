"""What of a response is its program."""

import pytest

from acejax.verification.programs.extract import extract_code


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
