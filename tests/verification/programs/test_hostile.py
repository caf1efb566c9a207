"""Every program of programs.txt gets its verdict on both backends, and leaves nothing behind."""

import os
import secrets
from pathlib import Path

import pytest

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


# Constants that take little text and, once they are folded, much room.
LITERALS = f"x = [{', '.join(f'{number!r} * 1000' for number in map(str, range(1000, 3300)))}]"


def programs() -> dict[str, tuple[list[str], str]]:
    """Each program's words (verdict first) and text, by name."""
    found = {}
    for part in ("\n" + Path(__file__).with_name("programs.txt").read_text(encoding="utf-8")).split("\n=== ")[1:]:
        head, _, code = part.partition("\n")
        code = code.replace("LITERALS", LITERALS)
        name, _, words = head.rpartition(": ")
        assert name not in found, name
        found[name] = words.split(), code
    return found


PROGRAMS = programs()
CAPS = {"slow", "bubblewrap", "function", "needle", "secret"}


def test_there_are_programs_of_every_kind():
    assert len(PROGRAMS) >= 150
    for name, (words, code) in PROGRAMS.items():
        assert words[0] in ("correct", "wrong") and code.strip(), name
    assert sum(words[0] == "wrong" for words, _ in PROGRAMS.values()) >= 100


def marked(name):
    return pytest.param(name, marks=pytest.mark.slow) if "slow" in PROGRAMS[name][0] else name


def suite(words, folder):
    """The tests of a program, by its words."""
    if "needle" in words:
        return one_test("", "NEEDLE" + secrets.token_hex(8))
    if "secret" in words:
        file = folder / "secret"
        file.write_text(os.environ["ACEJAX_SECRET"])
        file.chmod(0o600)
        return one_test(str(file), os.environ["ACEJAX_SECRET"])
    return FUNCTION if "function" in words else STDIN


def one_test(given, output):
    return {"kind": "stdin", "cases": [{"input": given, "output": output}]}


@pytest.mark.parametrize("name", [marked(name) for name in PROGRAMS])
def test_verdict(sandbox, tmp_path, name):
    words, code = PROGRAMS[name]
    if "bubblewrap" in words and sandbox.backend != "bubblewrap":
        pytest.skip("where only bubblewrap has the means")
    limits = dict(word.split("=") for word in words if "=" in word)
    problem = Problem(
        "p",
        "code",
        "q",
        tests=suite(words, tmp_path),
        time_limit_s=float(limits["t"]) if "t" in limits else None,
        memory_limit_mb=int(limits["mb"]) if "mb" in limits else None,
    )
    sandbox.start()
    before = surroundings(sandbox)
    verdict, reason = judge_code(f"</think>\n```python\n{code}\n```", problem, sandbox)
    reasons = {word for word in words[1:] if "=" not in word} - CAPS
    assert verdict == words[0]
    assert not reasons or reasons == {reason}
    assert surroundings(sandbox) == before


def surroundings(sandbox):
    """What a program might leave: files of its user in places where all may write, processes, files in its folder."""
    there = processes(sandbox._process.pid)
    user = os.stat(f"/proc/{there[-1]}").st_uid
    files = []
    # Where programs run as the user of the tests, their files cannot be told from others'.
    if user != os.getuid():
        files = [entry.path for place in WATCHED for entry in os.scandir(place) if owner(entry) == user]
    return files, there, os.listdir(sandbox._scratch) if sandbox._scratch else []


def owner(entry):
    try:
        return entry.stat(follow_symlinks=False).st_uid
    except OSError:  # another's, and gone
        return -1


def processes(pid: int) -> list[int]:
    """A process and all below it; the last, where none has two children, is the one that forks the programs."""
    found = [pid]
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += processes(int(child))
    return found
