"""What of a response is its program."""

import time

import pytest

from acejax.verification.programs.extract import extract_code


def fenced(code: str, label: str = "python", fence: str = "```") -> str:
    return f"{fence}{label}\n{code}\n{fence}"


def last_block(answer: str) -> str | None:
    return extract_code("</think>\n" + answer)[0]


LABELS = ("python", "py", "Python3", "PYTHON", "python3.11", "python2.7", "python3.12.1", "py3", "ipython", "ipython3")
OTHER_LABELS = (
    "pypy3",
    "python,linenos",
    "{.python}",
    "{python}",
    "python:main.py",
    "solution.py",
    " python",
    "python ",
)
LONG_LABELS = ('python title="x.py"', "Python 3.11", "python {1,2}")


@pytest.mark.parametrize("label", [*LABELS, *OTHER_LABELS, *LONG_LABELS])
def test_last_python_block_after_the_last_think_end(label):
    thought = f"{fenced('a')}</think>{fenced('b')} </think>\nfirst\n"
    response = f"{thought}{fenced('c')}\nthen\n{fenced('d', label)}\nwhich prints\n{fenced('9', 'text')}"
    assert extract_code(response) == ("d\n", "ok")
    assert extract_code(f"{thought}{fenced('c')}\nthen\n{fenced('d', label, '~~~~')}") == ("d\n", "ok")


@pytest.mark.parametrize(
    "label", ["cpp", "text", "json", "pyx", "pytb", "pythonic", "javascript", "py.test", "typython"]
)
def test_blocks_of_anything_else_do_not_count(label):
    assert last_block(f"{fenced('x')}\n{fenced('9', label)}") == "x\n"
    assert last_block(fenced("9", label)) is None


@pytest.mark.parametrize(
    "after", ["24", "python main.py", "def f(x):\n    return 0", "$ python x.py\n24", ">>> f(1)\n2"]
)
def test_an_unlabelled_block_is_the_program_only_where_no_other_is(after):
    assert last_block(f"{fenced('x = 1')}\nIt prints\n{fenced(after, '')}") == "x = 1\n"
    assert last_block(f"{fenced(after, '')}\n{fenced('x = 1')}") == "x = 1\n"
    assert last_block(f"{fenced(after, '', '~~~')}\n{fenced('x = 1')}\n{fenced(after, '', '~~~')}") == "x = 1\n"
    assert last_block(f"{fenced('9', 'text')}\n{fenced('x = 1', '')}\n{fenced('9', 'text')}") == "x = 1\n"
    assert last_block(f"{fenced('x = 1', '')}\n{fenced('y = 1', '')}") == "y = 1\n"


@pytest.mark.parametrize(
    ("response", "require", "expected"),
    [
        (fenced("x"), True, (None, "no_think_end")),
        (fenced("x"), False, ("x\n", "ok")),
        (fenced("x") + "</think> no program", True, (None, "no_code")),
        ("</think>\n```python\nprint(1)", True, (None, "no_code")),  # cut off
        ("</think>\n~~~python\nprint(1)\n```", True, (None, "no_code")),
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


@pytest.mark.parametrize("margin", ["    ", "     ", "        ", "\t", "  \t"])
@pytest.mark.parametrize("inner", ["```", "````", "```python", "~~~"])
def test_fences_in_docstrings_are_text(margin, inner):
    docstring = ['"""', "Example:", inner, "f()", "```", '"""', "return 1"]
    code = "def f():" + "".join(f"\n{margin}{line}" for line in docstring)
    assert last_block(fenced(code)) == code + "\n"
    assert last_block(f"{fenced(code)}\nand\n{fenced('24', '')}") == code + "\n"
    assert last_block(f"{fenced(code, 'python', '~~~~~')}") == code + "\n"


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        ("> ```python\n> if x:\n>     y = 1\n> ```", "if x:\n    y = 1\n"),
        (">```python\n>x = 1\n>```", "x = 1\n"),
        ("> > ~~~python\n> > x = 1\n> > ~~~\n", "x = 1\n"),
        (">> ```python\n>> def f():\n>>     return 1\n>> ```\n", "def f():\n    return 1\n"),
        ("> ```python\n> '''\n> >>> f()\n> '''\n> ```", "'''\n>>> f()\n'''\n"),
        ("> Note:\n>\n>   ```python\n>   x = 1\n>\n>   y = 1\n>   ```\n", "x = 1\n\ny = 1\n"),
        ("- ```python\n  x = 1\n  ```", "x = 1\n"),
        ("1. ```python\n   if x:\n       y\n   ```\n2. done", "if x:\n    y\n"),
        ("* ~~~\n  x = 1\n  ~~~", "x = 1\n"),
        ("~~~python\nx = '''\n```\n'''\n~~~", "x = '''\n```\n'''\n"),
        ("~~~ python ~ `x`\nx = 1\n~~~~~", "x = 1\n"),
        ("   ```python\n   x = 1\n```", "x = 1\n"),
        ("\t```python\n\tx = 1\n\t```", "x = 1\n"),
        ("\ufeff```python\nx = 1\n```", "x = 1\n"),
        ("```python\n\ufeffx = 1\n```", "x = 1\n"),
        ("inline ```x = 1``` and\n```python\ny = 1\n```", "y = 1\n"),
        ("```python x = 1```\n```python\ny = 1\n```", "y = 1\n"),
    ],
)
def test_where_blocks_stand(answer, program):
    assert last_block(answer) == program


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0c", "\x0b", "\x1c", "\x1d", "\x1e"])
def test_only_what_ends_a_line_of_python_ends_a_line(character):
    for code in (f"s = 'a{character}b'", f"s = '''{character}```'''", f"x = 1{character}```\ny = 2"):
        assert last_block(fenced(code)) == code + "\n"


@pytest.mark.parametrize("label", ["pycon", "python-repl", "pycon3", "python", "python console"])
def test_a_console_session_counts_where_no_program_is(label):
    session = ">>> def f(x):\n...     return x\n...\n>>> f(2)\n2"
    assert last_block(fenced(session, label)) == "def f(x):\n    return x\n\nf(2)\n"
    assert last_block(f"{fenced('x = 1')}\n{fenced(session, label)}") == "x = 1\n"
    assert last_block(f"{fenced(session, label)}\n{fenced('2', '')}") == "def f(x):\n    return x\n\nf(2)\n"


def test_sessions_without_a_label_are_the_last_choice():
    assert last_block(fenced(">>> x = 1\n>>> x\n1", "")) == "x = 1\nx\n"
    assert last_block(f"{fenced('x = 1', '')}\n{fenced('>>> x', '')}") == "x = 1\n"


def test_a_program_labelled_as_a_session():
    assert last_block(fenced("def f(x):\n    return x", "pycon")) == "def f(x):\n    return x\n"


@pytest.mark.parametrize(
    "part",
    [
        " ",
        "\t",
        "`",
        "~",
        "```",
        "``` ",
        "```\n",
        "~~~ \n",
        " ```",
        "\n",
        "\r",
        "> ",
        ">",
        "- ",
        "1. ",
        "```python\n",
        "```py",
    ]
    + [
        "```python\nx\n```\n",
        "\ufeff",
        "{",
        ".",
        "```{",
        "python",
        "```python ",
        "> ```\n",
        "</think>",
        "`~",
        ">>> \n",
        "x\n",
    ],
)
@pytest.mark.parametrize("frame", ["{}", "```{}", "```python\n{}", "```python\n{}\n```", "> ```python\n{}", "```{}`\n"])
def test_time_is_linear(part, frame):
    """Four times the text may not take ten times as long; each is measured by its best of three, and what takes no
    time is not measured.
    """
    taken = []
    for size in (50_000, 200_000):
        response = "</think>\n" + frame.format(part * (size // len(part)))
        times = []
        for _ in range(3):
            began = time.process_time()
            extract_code(response)
            times.append(time.process_time() - began)
        taken.append(min(times))
    assert taken[1] < max(0.05, 10 * taken[0])
