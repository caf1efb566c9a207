"""Programs in the sandbox, on both backends: honest ones pass however they read and print, hostile ones gain
nothing.
"""

import os
import select
import shutil
from pathlib import Path

import pytest

from acejax.problems.problem import Problem
from acejax.verification.programs.judge import judge_code, judge_program
from acejax.verification.programs.sandbox import InfraError, Sandbox


def judge(sandbox, code, tests, **limits):
    problem = Problem("p", "code", "q", tests=tests, **limits)
    return judge_code(f"</think>\n```python\n{code}\n```", problem, sandbox)


def run(sandbox, code, given="", **limits):
    with sandbox.program(code, **limits) as program:
        return program.run({"input": given})


def stdin(*cases):
    return {"kind": "stdin", "cases": [{"input": given, "output": expected} for given, expected in cases]}


def function(*cases, **more):
    return {
        "kind": "function",
        "fn_name": "f",
        "cases": [{"args": args, "output": output} for args, output in cases],
        **more,
    }


DOUBLE = stdin(("3 4\n5\n", "24\n"), ("1 1\n1", "6\n"))
HONEST = {
    "input": "a, b = map(int, input().split())\nprint(2 * (a + b + int(input())))",
    "lines": "import sys\nprint(2 * sum(int(x) for line in sys.stdin for x in line.split()))",
    "read": "import sys\nprint(2 * sum(map(int, sys.stdin.read().split())))",
    "buffer": "import sys\nprint(2 * sum(map(int, sys.stdin.buffer.read().split())))",
    "os.read": "import os\nos.write(1, str(2 * sum(map(int, os.read(0, 10**6).split()))).encode())",
    "open(0)": "print(2 * sum(map(int, open(0).read().split())))",
    "/dev/stdin": "print(2 * sum(map(int, open('/dev/stdin').read().split())))",
    "main": "total = 0\ndef main():\n    global total\n    total = 2 * sum(map(int, open(0).read().split()))\n"
    "    print(total)\n"
    "if __name__ == '__main__':\n    main()",
    "atexit": "import atexit, sys\ntotal = sum(map(int, sys.stdin.read().split()))\n"
    "atexit.register(lambda: print(2 * total))",
    "exit": "import sys\nprint(2 * sum(map(int, sys.stdin.read().split())))\nsys.exit(0)",
    "quit": "import sys\nprint(2 * sum(map(int, sys.stdin.read().split())))\nexit()",
    "thread": "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 26)\n"
    "threading.Thread(target=lambda: print(2 * sum(map(int, sys.stdin.read().split())))).start()",
    "recursion": "def down(n):\n    return n and down(n - 1)\ndown(20000)\n"
    "print(2 * sum(map(int, open(0).read().split())))",
    "library": "import decimal, statistics, dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int\n"
    "print(2 * sum(map(int, open(0).read().split())))",
    "file": "open('note', 'w').write('2')\nprint(int(open('note').read()) * sum(map(int, open(0).read().split())))",
    "numpy": "import sys\nimport numpy as np\nprint(2 * np.array(sys.stdin.read().split(), dtype=int).sum())",
    "stderr": "import sys\nprint('debug', file=sys.stderr)\nprint(2 * sum(map(int, sys.stdin.read().split())))",
}


@pytest.mark.parametrize("way", HONEST)
def test_honest_ways_of_reading_and_printing(sandbox, way):
    assert judge(sandbox, HONEST[way], DOUBLE) == ("correct", "ok")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print(24)", "wrong_output"),  # right on the first test only
        ("print(2 * sum(map(int, open(0).read().split())) + 1)", "wrong_output"),
        ("print(24)\n1 / 0", "runtime_error"),
        ("print(24)\nimport sys\nsys.exit(3)", "runtime_error"),
        ("print(24", "runtime_error"),
        ("import os\nos.abort()", "runtime_error"),
        ("x = bytearray(1 << 30)", "memory"),
        ("x = []\nwhile True:\n    x.append(' ' * 10**6)", "memory"),
        ("while True:\n    print('x' * 10**5)", "wrong_output"),
        ("open('/usr/lib/mine', 'w')", "denied"),
        ("import socket\nsocket.socket()", "denied"),
        ("(" * 100000, "runtime_error"),
    ],
)
def test_wrong_programs(sandbox, code, reason):
    verdict, found = judge(sandbox, code, DOUBLE, memory_limit_mb=128)
    assert verdict == "wrong"
    # A read-only file system refuses in its own way.
    assert found == reason or (reason, found) == ("denied", "runtime_error")


@pytest.mark.parametrize(
    "code", ["while True: pass", "import time\ntime.sleep(60)", "import os\nos.fork()\nwhile True: pass"]
)
def test_endless_programs_time_out(sandbox, code):
    """A sleeper that nothing ends would print nothing, and so be wrong for another reason."""
    assert judge(sandbox, code, DOUBLE, time_limit_s=0.3) == ("wrong", "timeout")


def test_functions(sandbox):
    tests = function(([1, [2]], [1, 2]), ([3, []], [3]))
    assert judge(sandbox, "def f(a, b):\n    return (a, *b)", tests) == ("correct", "ok")
    assert judge(sandbox, "class Solution:\n    def f(self, a: int, b: List[int]):\n        return [a] + b", tests) == (
        "correct",
        "ok",
    )
    assert judge(sandbox, "def f(a, b):\n    print([1, 2])", tests) == ("wrong", "wrong_output")
    assert judge(sandbox, "def g(a, b):\n    return [a] + b", tests) == ("wrong", "runtime_error")
    assert judge(sandbox, "def f(a, b):\n    return {a} | set(b)", tests) == ("wrong", "runtime_error")
    named = {"kind": "function", "fn_name": "f", "cases": [{"args": [1], "kwargs": {"b": 2}, "output": 3}]}
    assert judge(
        sandbox, "def f(a, *, b):\n    return a + b\nif __name__ == '__main__':\n    print(f(int(input()), b=1))", named
    ) == (
        "correct",
        "ok",
    )


def test_lists_and_trees(sandbox):
    tests = function(([[1, 2, 3]], [3, 2, 1]), types={"args": ["ListNode"], "output": "ListNode"})
    turn = "def f(head):\n    last = None\n    while head:\n        head.next, last, head = last, head, head.next\n"
    assert judge(sandbox, turn + "    return last", tests) == ("correct", "ok")
    tests = function(
        ([[1, 2, 3, None, 4]], [1, 3, 2, None, None, None, 4]), types={"args": ["TreeNode"], "output": "TreeNode"}
    )
    swap = "def f(root):\n    root.left, root.right = root.right, root.left\n    return root"
    assert judge(sandbox, swap, tests) == ("correct", "ok")


@pytest.mark.parametrize(
    "code",
    [
        "class E:\n    def __eq__(self, other):\n        return True\ndef f(x):\n    return E()",
        "class I(int):\n    def __eq__(self, other):\n        return True\n    __hash__ = int.__hash__\n"
        "def f(x):\n    return I(0)",
        "class L(list):\n    def __eq__(self, other):\n        return True\ndef f(x):\n    return L()",
        "import json\njson.dumps = lambda *a, **k: '[7]'\ndef f(x):\n    return 0",
        "import os, sys\ndef f(x):\n    print('[7]')\n    sys.stdout.flush()\n    os._exit(0)",
        "def f(x):\n    return True",
    ],
)
def test_tricks_with_results(sandbox, code):
    assert judge(sandbox, code, function(([1], [7])))[0] == "wrong"
    assert judge(sandbox, code, function(([1], 1)))[0] == "wrong"


def test_the_other_cases_say_whether_a_real_number_is_expected(sandbox):
    halve = "print(int(input()) / 2)"
    assert judge(sandbox, halve, stdin(("4", "2"), ("5", "2.5"))) == ("correct", "ok")
    assert judge(sandbox, halve, stdin(("4", "2"), ("8", "4"))) == ("wrong", "wrong_output")
    assert judge(sandbox, halve, {"kind": "stdin", "cases": [{"input": ["4"], "output": ["2"]}]})[0] == "wrong"
    halve = "def f(x):\n    return x / 2"
    assert judge(sandbox, halve, function(([4], 2), ([5], 2.5))) == ("correct", "ok")
    assert judge(sandbox, halve, function(([4], 2), ([8], 4))) == ("wrong", "wrong_output")


def test_a_byte_order_mark_in_front_of_a_program(sandbox):
    program = Problem("p", "code", "q", tests=stdin(("", "1")))
    assert judge_program("\ufeffprint(1)", program, sandbox)[0] == "correct"
    assert judge(sandbox, "\ufeffprint(1)", stdin(("", "1"))) == ("correct", "ok")


def test_script_must_reach_its_end(sandbox):
    tests = {"kind": "script", "entry_point": "f", "script": "def check(candidate):\n    assert candidate(2) == 4\n"}
    assert judge(sandbox, "def f(x):\n    return x * x", tests) == ("correct", "ok")
    assert judge(sandbox, "def f(x):\n    return x", tests) == ("wrong", "runtime_error")
    assert judge(sandbox, "import sys\ndef f(x):\n    sys.exit(0)", tests)[0] == "wrong"
    assert judge(sandbox, "import os\ndef f(x):\n    os._exit(0)", tests)[0] == "wrong"


SPY = """
import gc, os, re, sys
found, frame = [], sys._getframe()
while frame:
    found.append(repr(frame.f_locals))
    frame = frame.f_back
found += [repr(x) for x in gc.get_objects() if isinstance(x, (dict, list, tuple)) and len(x) < 50]
for pid in os.listdir("/proc"):
    for name in ("environ", "cmdline", "mem", "maps", "fd/0", "fd/3", "fd/4"):
        try:
            found.append(repr(open(f"/proc/{pid}/{name}", "rb").read(10**6)))
        except OSError:
            pass
print((re.findall("NEE[D]LE[0-9a-f]+", "".join(found)) or ["nothing"])[0])
"""


def test_expected_output_and_secrets_are_nowhere_inside(sandbox):
    secret = os.environ["ACEJAX_SECRET"]
    assert judge(sandbox, SPY, stdin(("", "NEEDLE" + os.urandom(8).hex()))) == ("wrong", "wrong_output")
    assert run(sandbox, SPY.replace("NEE[D]LE[0-9a-f]+", secret[:-1] + f"[{secret[-1]}]")).stdout == "nothing\n"
    assert run(sandbox, SPY, "NEEDLE77").stdout == "NEEDLE77\n"  # it would see them: it sees its input


def test_host_is_out_of_reach(sandbox, tmp_path):
    secret = os.environ["ACEJAX_SECRET"]
    tmp_path.chmod(0o777)
    (tmp_path / "reference").write_text(secret)
    for target in (tmp_path / "new", Path("/tmp/acejax-test-escape"), Path("/var/tmp/acejax-test-escape")):
        run(sandbox, f"open({str(target)!r}, 'w').write('out')")
        assert not target.exists()
    assert secret not in run(sandbox, f"print(open({str(tmp_path / 'reference')!r}).read())").stdout
    environment = run(sandbox, "import os\nprint(dict(os.environ))\nprint(open('/proc/self/environ').read())").stdout
    assert secret not in environment
    run(sandbox, f"import os, signal\nos.kill({os.getpid()}, signal.SIGKILL)")
    run(sandbox, "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)")
    assert run(sandbox, "print('alive')").stdout == "alive\n"


def test_nothing_is_shared_between_tests_or_programs(sandbox):
    code = "import os, math\nprint(os.path.exists('mark'), hasattr(math, 'mark'))\nmath.mark = 1"
    with sandbox.program(code) as program:
        assert [program.run({"input": ""}).stdout for _ in range(2)] == ["False False\n"] * 2
    run(sandbox, "open('mark', 'w').write('1')")
    assert run(sandbox, code).stdout == "False False\n"


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1234.5)
    os._exit(0)
print("parent done")
"""


def command_line(process: Path) -> list[bytes]:
    try:
        return (process / "cmdline").read_bytes().split(b"\0")
    except OSError:  # it has just ended
        return []


def alive(sandbox) -> list[str]:
    """This machine's processes that are of a sandbox: a fork keeps the command line, and so the runner's settings."""
    settings = command_line(Path(f"/proc/{sandbox._process.pid}"))[-2]
    return [p.name for p in Path("/proc").iterdir() if p.name.isdigit() and settings in command_line(p)]


def test_no_process_outlives_its_program(sandbox):
    before = alive(sandbox)
    assert run(sandbox, DAEMON).stdout == "parent done\n"
    assert alive(sandbox) == before
    run(
        sandbox,
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        time_limit_s=0.3,
    )
    assert alive(sandbox) == before
    assert run(sandbox, "print(1)").status == "ok"


def end_runner(sandbox):
    """Returns once the runner and all below it have ended."""
    if sandbox._guarded:
        sandbox._process.terminate()
    else:
        sandbox._process.kill()
    sandbox._process.wait()
    # Bubblewrap ends before its namespace does; its first process ends after all others in there.
    if sandbox._first is not None:
        select.select([sandbox._first], [], [])


def test_a_dead_runner_is_an_infra_error_and_is_replaced(sandbox):
    with pytest.raises(InfraError), sandbox.program("print(1)") as program:
        end_runner(sandbox)
        program.run({"input": ""})
    assert run(sandbox, "print(1)").stdout == "1\n"


def test_self_test_finds_no_hole(sandbox):
    assert sandbox.self_test() == []


def test_the_missing_backend_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with Sandbox() as box:
        box.start()
        assert box.backend == "rlimits"
        assert box.notice and "apt-get install bubblewrap" in box.notice
