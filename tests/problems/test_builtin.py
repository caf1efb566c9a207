"""The built-in problems: splits really disjoint, the teacher's marks true, its error rate as asked, everything
deterministic.
"""

import contextlib
import io
import random
import re
from fractions import Fraction
from functools import cache

import pytest

from acejax.errors import UserError
from acejax.problems import builtin_code, builtin_math
from acejax.problems.builtin import ERROR_SCALE, SHARES, content, generate, solve, split_of
from acejax.problems.builtin_work import LARGEST
from acejax.problems.problem import Problem

DOMAINS = ("math", "code")
MANY = {"train": 2000, "warm": 2000, "heldout": 1000}


@cache
def problems(domain: str, split: str, seed: int = 0) -> list[Problem]:
    return generate(domain, split, MANY[split], seed)


def boxed(response: str) -> Fraction:
    inside = response.rpartition("</think>\n\\boxed{")[2].removesuffix("}")
    return Fraction(inside.replace("\\frac{", "").replace("}{", "/").replace("}", ""))


def program(response: str) -> str:
    fence = "</think>\n```python\n"
    assert response.count(fence) == 1 and response.endswith("\n```")
    return response.partition(fence)[2].removesuffix("\n```")


def passes(text: str, tests: dict) -> bool:
    """Runs a program of our own making on its tests, in this process."""
    code = compile(text, "program", "exec")
    for case in tests["cases"]:
        space: dict = {}
        try:
            if tests["kind"] == "function":
                exec(code, space)
                out, want = space[tests["fn_name"]](*case["args"]), case["output"]
            else:
                printed = io.StringIO()
                space["input"] = iter(case["input"].splitlines() or [""]).__next__
                with contextlib.redirect_stdout(printed):
                    exec(code, space)
                out, want = printed.getvalue(), case["output"]
        except (ValueError, ZeroDivisionError):
            return False
        if out != want or type(out) is not type(want):
            return False
    return True


def is_right(problem: Problem, response: str) -> bool:
    if problem.domain == "math":
        return boxed(response) == boxed("</think>\n\\boxed{" + problem.answer[0] + "}")
    return passes(program(response), problem.tests)


@pytest.mark.parametrize("domain", DOMAINS)
def test_splits_share_no_prompt_no_id_and_no_content(domain):
    seen = {split: [*problems(domain, split), *problems(domain, split, 1)] for split in SHARES}
    for what in (lambda p: p.prompt, lambda p: p.id, lambda p: content(domain, p.meta["spec"])):
        sets = {split: {what(p) for p in members} for split, members in seen.items()}
        assert not sets["train"] & sets["warm"]
        assert not sets["train"] & sets["heldout"]
        assert not sets["warm"] & sets["heldout"]


@pytest.mark.parametrize("domain", DOMAINS)
def test_words_and_names_do_not_decide_the_split(domain):
    room = builtin_math if domain == "math" else builtin_code
    rng = random.Random(3)
    for family in room.FAMILIES:
        specs = [s for _ in range(60) if (s := room.draw(family, 2, rng))]
        for spec in specs:
            if "surface" not in spec:
                continue
            other = {**spec, "surface": {"name": "zz", "thing": "yy", "form": "function"}}
            assert content(domain, other) == content(domain, spec) and split_of(domain, other) == split_of(domain, spec)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("split", SHARES)
def test_prompts_and_ids_are_unique_and_kinds_are_balanced(domain, split):
    members = problems(domain, split)
    assert len({p.prompt for p in members}) == len({p.id for p in members}) == len(members) == MANY[split]
    kinds = [(p.meta["family"], p.meta["difficulty"]) for p in generate(domain, split, 150, 4)]
    room = builtin_math if domain == "math" else builtin_code
    assert {kinds.count((f, d)) for f in room.FAMILIES for d in (1, 2, 3)} <= {
        150 // len(set(kinds)),
        150 // len(set(kinds)) + 1,
    }


def last_template(problem: Problem) -> int:
    family = problem.meta["family"]
    return (
        len(
            builtin_math.TEMPLATES[family] if problem.domain == "math" else builtin_code.templates(problem.meta["spec"])
        )
        - 1
    )


def says_seven(problem: Problem) -> bool:
    """Reads the held-out constant from the prompt itself, family by family, apart from `is_unseen`."""
    patterns = {
        "nested": r"(?<![\d)])7\*|\*7(?!\d)|(?<=\))\*7",
        "fractions": r"/7",
        "linear": r"(?<!\d)7\(|(?<![\d+=])7x",
        "mod_power": r"\*7\^",
        "word": r"bags of 7 ",
        "numbers": r"(?:above|least|below|most|multiples of) 7",
        "lists": r"(?:above|least|below|most|multiples of) 7",
        "strings": r"(?:first|last|repeat) 7",
        "stdin": r"(?:above|least|below|most|multiples of|first|last|repeat) 7",
    }
    return re.search(patterns[problem.meta["family"]], problem.prompt) is not None


@pytest.mark.parametrize("domain", DOMAINS)
def test_heldout_phrasings_and_parameters_occur_only_there_and_are_marked(domain):
    for split in ("train", "warm"):
        for p in problems(domain, split):
            assert not p.meta["unseen"] and p.meta["template"] != last_template(p) and not says_seven(p), p.prompt
    held = problems(domain, "heldout")
    assert 0.10 < sum(p.meta["unseen"] for p in held) / len(held) < 0.20
    for family in {p.meta["family"] for p in held}:
        mine = [p for p in held if p.meta["family"] == family]
        assert any(p.meta["template"] == last_template(p) for p in mine) and any(says_seven(p) for p in mine), family
    assert all(p.meta["unseen"] for p in held if says_seven(p) or p.meta["template"] == last_template(p))


@pytest.mark.parametrize("domain", DOMAINS)
def test_heldout_prompts_use_only_words_met_in_training(domain):
    def words(text: str) -> set[str]:
        return set("".join(c if c.isalpha() else " " for c in text).split())

    met = set().union(*(words(p.prompt) for d in DOMAINS for split in ("train", "warm") for p in problems(d, split)))
    assert set().union(*(words(p.prompt) for p in problems(domain, "heldout"))) <= met


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_right_solution_passes_and_every_misconception_fails(domain):
    room = builtin_math if domain == "math" else builtin_code
    for split in SHARES:
        for p in problems(domain, split)[:700]:
            assert is_right(p, room.right(p.meta["spec"])), p
            slips = room.wrong(p.meta["spec"])
            assert slips
            for name, response in slips.items():
                assert not is_right(p, response), (name, p.prompt, response)


@pytest.mark.parametrize("domain", DOMAINS)
def test_teacher_marks_its_own_work_truly_and_errs_as_often_as_told(domain):
    rate = 0.6
    for difficulty, scale in ERROR_SCALE.items():
        members = [p for p in problems(domain, "train") if p.meta["difficulty"] == difficulty]
        outcomes = []
        for p in members:
            trace, right = solve(p, rate, 5)
            assert (trace.prompt, trace.domain) == (p.prompt, p.domain)
            outcomes.append(right)
            if len(outcomes) < 300:
                assert is_right(p, trace.response) is right
        assert abs(1 - sum(outcomes) / len(outcomes) - rate * scale) < 0.06
    assert all(right for p in members[:50] for _, right in [solve(p, 0.0, 1)])
    assert not any(right for p in members[:50] for _, right in [solve(p, 1.0, 1)])


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_misconception_is_used(domain):
    room = builtin_math if domain == "math" else builtin_code
    used = {name for p in problems(domain, "train") for name in room.wrong(p.meta["spec"])}
    if domain == "math":
        assert used == {name for methods in builtin_math.WRONG.values() for name in methods}
    else:
        stems = {name.rsplit("_", 1)[0] for name in used if "_as_" in name}
        assert stems == {f"{a}_as_{b}" for a, others in builtin_code.CONFUSED.items() for b in others}
        assert {"off_by_one", "swapped", "forgotten", "last_forgotten"} <= used


@pytest.mark.parametrize("domain", DOMAINS)
def test_same_arguments_same_problems_and_solutions(domain):
    first, again, other = (generate(domain, "warm", 60, seed) for seed in (7, 7, 8))
    assert first == again != other
    assert [solve(p, 0.5, 2) for p in first] == [solve(p, 0.5, 2) for p in again]
    assert [solve(p, 0.5, 2)[1] for p in first] != [solve(p, 0.5, 3)[1] for p in first]
    # Written out, so that a change of the generator or of Python cannot move problems between splits unnoticed.
    pinned = {
        "math": {"family": "mod_power", "difficulty": 1, "c": 2, "b": 3, "e": 2, "m": 5},
        "code": {"source": "n", "steps": [["*", 3]]},
    }
    assert split_of(domain, pinned[domain]) == {"math": "train", "code": "warm"}[domain]


@pytest.mark.parametrize("domain", DOMAINS)
def test_problems_survive_their_record(domain):
    for p in generate(domain, "heldout", 30, 0):
        assert Problem.from_record(p.to_record(), "here") == p


def test_suites_hold_the_edges():
    for p in problems("code", "train")[:300]:
        assert 3 <= len(p.tests["cases"]) <= 5
    lists = generate("code", "train", 20, 0, families=("lists",))
    assert all([] in [case["args"][0] for case in p.tests["cases"]] for p in lists)
    strings = generate("code", "train", 10, 0, families=("strings",))
    assert all("" in [case["args"][0] for case in p.tests["cases"]] for p in strings)
    thresholds = [p for p in lists if p.meta["spec"]["steps"][0][0] in (">", ">=", "<", "<=")]
    assert thresholds
    for p in thresholds:
        k = p.meta["spec"]["steps"][0][1]
        assert any({k - 1, k, k + 1} <= set(case["args"][0]) for case in p.tests["cases"])


def test_numbers_stay_small():
    for p in problems("math", "train"):
        working = builtin_math.right(p.meta["spec"]).partition("</think>")[0]
        numbers = [int(n) for n in "".join(c if c.isdigit() else " " for c in working).split()]
        assert numbers and max(numbers) <= LARGEST == 24


@pytest.mark.parametrize(
    ("tree", "shown", "no_precedence", "no_brackets"),
    [
        ([[3, "+", 4], "*", 2], "(3+4)*2", None, 11),
        ([3, "+", [4, "*", 2]], "3+4*2", 14, None),
        ([20, "-", [4, "+", 2]], "20-(4+2)", None, 18),
        ([[20, "-", [4, "-", 2]], "-", 5], "20-(4-2)-5", None, 9),
    ],
)
def test_nested_by_hand(tree, shown, no_precedence, no_brackets):
    spec = {"family": "nested", "difficulty": 1, "tree": tree}
    assert builtin_math.phrase(spec, 0) == f"Compute {shown}."
    assert boxed(builtin_math.right(spec)) == eval(shown)
    found = {name: boxed(response) for name, response in builtin_math.wrong(spec).items()}
    assert found == {k: v for k, v in (("no_precedence", no_precedence), ("no_brackets", no_brackets)) if v is not None}


def test_the_prompt_alone_determines_the_answer():
    """Solves each prompt again from its text, with no help from the spec."""
    for p in problems("math", "train")[:900]:
        text, family = p.prompt, p.meta["family"]
        if family in ("nested", "fractions"):
            said = re.search(r"[(\d][-+*/()\d]*[)\d]", text)[0]
            value = eval(re.sub(r"(\d+)/(\d+)", r"Fraction(\1,\2)", said))
        elif family == "mod_power":
            c, b, e, m = map(int, re.search(r"(\d+)\*(\d+)(?:\^(\d+))? mod (\d+)", text).groups(default="1"))
            value = c * b**e % m
        elif family == "linear":
            left, right = re.search(r"[-+()x\d]+=[-+()x\d]+", text)[0].split("=")
            at = [eval(re.sub(r"(\d)([x(])", r"\1*\2", f"({left})-({right})"), {"x": x}) for x in (0, 1)]
            value = Fraction(-at[0], at[1] - at[0])
        else:
            start = re.search(r"has (\d+)(?: bags of (\d+))?", text)
            value = int(start[1]) * int(start[2] or 1)
            for said, k in re.findall(r"(Gets|Loses|Has) (\d+)", text):
                value = value + int(k) if said == "Gets" else value - int(k) if said == "Loses" else value * int(k)
        assert boxed("</think>\n\\boxed{" + p.answer[0] + "}") == value, p


def test_bad_arguments_name_what_is_wrong():
    for arguments, words in (
        (("physics", "train", 1, 0), "domain"),
        (("math", "test", 1, 0), "split"),
        (("math", "train", 1, 0, (4,)), "difficulties"),
        (("math", "train", 1, 0, (1,), ("chess",)), "'chess'"),
    ):
        with pytest.raises(UserError, match=words):
            generate(*arguments)
    with pytest.raises(UserError, match="meta.spec"):
        solve(Problem("a", "math", "1+1", answer=("2",)), 0.5, 0)
    with pytest.raises(UserError, match=r"100000 asked for, \d+ found"):
        generate("code", "heldout", 100000, 0, (1,), ("strings",))
