"""Every program of programs.txt gets its verdict on both backends, and leaves nothing behind."""

import os
import secrets
from pathlib import Path

import pytest
from backends import BACKENDS, started

from acejax.problems.problem import Problem
from acejax.verification.programs.judge import judge_code

WATCHED = [place for place in ("/tmp", "/var/tmp", "/dev/shm") if os.path.isdir(place)]
NUMBERS = (("3 4\n5\n", [3, 4, 5], 24), ("1 1\n1", [1, 1, 1], 6))
STDIN = {"kind": "stdin", "cases": [{"input": given, "output": f"{total}\n"} for given, _, total in NUMBERS]}
FUNCTION = {
    "kind": "function",
    "fn_name": "f",
    "cases": [{"args": [numbers], "output": total} for _, numbers, total in NUMBERS],
}


def programs() -> dict[str, tuple[list[str], str]]:
    """Each program's words (verdict first) and text, by name."""
    found = {}
    for part in ("\n" + Path(__file__).with_name("programs.txt").read_text(encoding="utf-8")).split("\n=== ")[1:]:
        head, _, code = part.partition("\n")
        name, _, words = head.rpartition(": ")
        assert name not in found, name
        found[name] = words.split(), code
    return found


PROGRAMS = programs()
CAPS = {"slow", "bubblewrap", "function", "needle", "secret"}


@pytest.fixture(scope="module", params=BACKENDS)
def sandbox(request):
    with started(request.param, secrets.token_hex()) as box:
        yield box


def test_there_are_programs_of_every_kind():
    assert len(PROGRAMS) >= 150
    for name, (words, code) in PROGRAMS.items():
        assert words[0] in ("correct", "wrong") and code.strip(), name
    assert sum(words[0] == "wrong" for words, _ in PROGRAMS.values()) >= 100


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if "slow" in words else ()) for n, (words, _) in PROGRAMS.items()]
)
def test_verdict(sandbox, tmp_path, name):
    words, code = PROGRAMS[name]
    if "bubblewrap" in words and sandbox.backend != "bubblewrap":
        pytest.skip("where only bubblewrap has the means")
    limits = {key: float(value) for key, _, value in (word.partition("=") for word in words) if value}
    tests = FUNCTION if "function" in words else STDIN
    if "needle" in words:
        tests = {"kind": "stdin", "cases": [{"input": "", "output": "NEEDLE" + secrets.token_hex(8)}]}
    if "secret" in words:
        (tmp_path / "secret").write_text(os.environ["ACEJAX_SECRET"])
        (tmp_path / "secret").chmod(0o600)
        tests = {"kind": "stdin", "cases": [{"input": str(tmp_path / "secret"), "output": os.environ["ACEJAX_SECRET"]}]}
    memory = int(limits["mb"]) if "mb" in limits else None
    problem = Problem("p", "code", "q", tests=tests, time_limit_s=limits.get("t"), memory_limit_mb=memory)
    sandbox.start()
    before = surroundings(sandbox)
    verdict, reason = judge_code(f"</think>\n```python\n{code}\n```", problem, sandbox)
    reasons = {word for word in words[1:] if "=" not in word} - CAPS
    assert (verdict, {reason} if reasons else set()) == (words[0], reasons)
    assert surroundings(sandbox) == before


def surroundings(sandbox):
    """What a program might leave: files of its user in places where all may write, processes, files in its folder."""
    runner = max(processes(sandbox._process.pid))
    user = os.stat(f"/proc/{runner}").st_uid
    files = [
        entry.path for place in WATCHED for entry in os.scandir(place) if user != os.getuid() and owner(entry) == user
    ]
    return files, processes(sandbox._process.pid), os.listdir(sandbox._scratch) if sandbox._scratch else []


def owner(entry):
    try:
        return entry.stat(follow_symlinks=False).st_uid
    except OSError:  # another's, and gone
        return -1


def processes(pid: int) -> set[int]:
    found = {pid}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found |= processes(int(child))
    return found
