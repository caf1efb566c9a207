"""Problems generated from a seed, disjoint by construction between training, warm start and held-out, and the imperfect
teacher.

What a problem asks (its spec, without phrasing, names or function names) is hashed; the hash decides its split. On top,
one phrasing per family and the constant 7 in stated roles (`is_unseen` of the two family files) occur in held-out
problems only.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Literal

from acejax.errors import UserError
from acejax.problems import builtin_code, builtin_math
from acejax.problems.problem import Domain, Problem, Trace

Split = Literal["train", "warm", "heldout"]
SHARES = {"train": 50, "warm": 40, "heldout": 10}
UNSEEN_PARAMETER_SHARE = 0.08
UNSEEN_TEMPLATE_SHARE = 0.07
# A harder problem gives a bad method more occasions.
ERROR_SCALE = {1: 0.8, 2: 1.0, 3: 1.15}
DRAWS_PER_PROBLEM = 4000


def _room(domain: str) -> ModuleType:
    return {"math": builtin_math, "code": builtin_code}[domain]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _templates(spec: dict[str, Any], domain: str) -> tuple[str, ...]:
    if domain == "math":
        return builtin_math.TEMPLATES[spec["family"]]
    return builtin_code.templates(spec)


def content(domain: str, spec: dict[str, Any]) -> str:
    """What is asked, whatever the words: the text whose hash decides the split. A program's form and name do not
    count.
    """
    left_out = {"surface"}
    if domain == "code":
        left_out |= {"family", "difficulty"}
    said = {key: value for key, value in spec.items() if key not in left_out}
    return domain + json.dumps(said, sort_keys=True)


def split_of(domain: str, spec: dict[str, Any]) -> Split:
    """The split that alone may hold this spec."""
    if _room(domain).is_unseen(spec):
        return "heldout"
    place = int(_digest(content(domain, spec))[:8], 16) % 100
    if place < SHARES["train"]:
        return "train"
    if place < SHARES["train"] + SHARES["warm"]:
        return "warm"
    return "heldout"


def _draw_problem(
    domain: Domain, family: str, difficulty: int, split: Split, rng: random.Random, taken: set[str]
) -> Problem | None:
    """One problem whose prompt is not in `taken`, or None where none was found in DRAWS_PER_PROBLEM draws."""
    lot = rng.random() if split == "heldout" else 1.0
    new_template = UNSEEN_PARAMETER_SHARE <= lot < UNSEEN_PARAMETER_SHARE + UNSEEN_TEMPLATE_SHARE
    # Some kinds have no problem with a parameter of the held-out ones, or run out of them.
    wanted = (True, False) if lot < UNSEEN_PARAMETER_SHARE else (False,)
    for new_parameter in wanted:
        for _ in range(DRAWS_PER_PROBLEM):
            problem = _one_draw(domain, family, difficulty, split, rng, new_parameter, new_template)
            if problem is not None and problem.prompt not in taken:
                return problem
    return None


def _one_draw(
    domain: Domain,
    family: str,
    difficulty: int,
    split: Split,
    rng: random.Random,
    new_parameter: bool,
    new_template: bool,
) -> Problem | None:
    room = _room(domain)
    spec = room.draw(family, difficulty, rng)
    if spec is None or split_of(domain, spec) != split or room.is_unseen(spec) != new_parameter:
        return None
    if not room.wrong(spec):
        return None  # the imperfect teacher must be able to err on every problem
    count = len(_templates(spec, domain))
    template = count - 1 if new_template else rng.randrange(count - 1)
    prompt = room.phrase(spec, template)
    meta = {
        "family": family,
        "difficulty": difficulty,
        "template": template,
        "unseen": new_parameter or new_template,
        "spec": spec,
    }
    name = f"{domain}/{family}/{difficulty}/{_digest(prompt)[:10]}"
    if domain == "math":
        return Problem(name, "math", prompt, "builtin", answer=(builtin_math.answer(spec),), meta=meta)
    return Problem(name, "code", prompt, "builtin", tests=builtin_code.tests(spec), meta=meta)


def generate(
    domain: Domain,
    split: Split,
    count: int,
    seed: int,
    difficulties: Sequence[int] = (1, 2, 3),
    families: Sequence[str] | None = None,
) -> list[Problem]:
    """`count` problems with distinct prompts, shared out evenly over families and difficulties, then shuffled.

    A pure function of its arguments.
    `meta` holds `family`, `difficulty`, `template`, `unseen` (held-out phrasing or parameter) and the `spec` that
    `solve` works from. Raises UserError for an unknown domain, split, family or difficulty, and where the split holds
    fewer problems than asked for.
    """
    _check_request(domain, split, difficulties, families or ())
    rng = random.Random(_digest(f"{domain}/{split}/{seed}"))
    kinds = [(family, difficulty) for difficulty in difficulties for family in families or _room(domain).FAMILIES]
    problems: list[Problem] = []
    taken: set[str] = set()
    while len(problems) < count and kinds:
        for kind in list(kinds):
            if len(problems) == count:
                break
            problem = _draw_problem(domain, *kind, split, rng, taken)
            if problem is None:
                kinds.remove(kind)
            else:
                taken.add(problem.prompt)
                problems.append(problem)
    if len(problems) < count:
        raise UserError(
            f"built-in {domain} problems, split {split}: {count} asked for, {len(problems)} found; "
            "ask for fewer, or for more families"
        )
    rng.shuffle(problems)
    return problems


def _check_request(domain: str, split: str, difficulties: Sequence[int], families: Sequence[str]) -> None:
    if domain not in ("math", "code"):
        raise UserError(f"domain is {domain!r}; use math or code")
    if split not in SHARES:
        raise UserError(f"split is {split!r}; use one of {', '.join(SHARES)}")
    known = _room(domain).FAMILIES
    for family in families:
        if family not in known:
            found = f"{family!r} is not a built-in family of {domain}"
            raise UserError(f"families: {found}; use some of {', '.join(known)}")
    for difficulty in difficulties:
        if difficulty not in ERROR_SCALE:
            raise UserError(f"difficulties: {difficulty!r} is not 1, 2 or 3")


def solve(problem: Problem, error_rate: float, seed: int) -> tuple[Trace, bool]:
    """The imperfect teacher's worked solution of a built-in problem, and whether it is right.

    A pure function of problem, error rate and seed.
    With probability `error_rate` (times ERROR_SCALE of the difficulty, at most 1) it follows a misconception that leads
    to a wrong result.
    """
    if "spec" not in problem.meta:
        raise UserError(
            f"problem {problem.id}: field 'meta.spec' is missing; the teacher solves built-in problems only"
        )
    spec = problem.meta["spec"]
    room = _room(problem.domain)
    rng = random.Random(_digest(f"{problem.id}/{seed}"))
    errs = rng.random() < error_rate * ERROR_SCALE[problem.meta["difficulty"]]
    response = room.right(spec)
    if errs:
        response = rng.choice(list(room.wrong(spec).values()))
    return Trace(f"{problem.id}/{seed}", problem.prompt, response, "builtin-teacher", problem.domain), not errs
