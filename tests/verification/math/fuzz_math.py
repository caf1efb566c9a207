"""Fuzzes extraction and the parser, led by line coverage. Run: `python tests/verification/math/fuzz_math.py --minutes
10 [--seed 0]`.

Hypothesis draws an input: pieces of notation, any text, or a known input with pieces cut, doubled, spliced and put in.
An input that takes a jump between two lines that none has taken joins the known ones. Each check must raise nothing,
stay within MAX_STEPS executed lines of the verifier (a count, so that a failure repeats), and give the same verdict
both ways round. New inputs of note are printed as JSON lines at the end; math_corpus.jsonl beside this file keeps such,
as a quick test.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from acejax.verification.math import judge
from acejax.verification.math.applications import letters_in
from acejax.verification.math.cleaning import LatexError, normalise
from acejax.verification.math.reading import readings

MAX_STEPS = 1_500_000
ROUND = 400  # examples between two looks at the clock
CORPUS = Path(__file__).with_name("math_corpus.jsonl")
FILES = {str(path) for path in Path(judge.__file__).parent.glob("*.py")}
REFERENCES = [
    "5",
    r"\sqrt2 x",
    "(1,2]",
    "x=3",
    r"\{1\}",
    r"x<1 \text{ or } x>2",
    r"\begin{pmatrix}1&2\end{pmatrix}",
    "5 cm",
    "50%",
    "B",
    r"\pm 1",
    "f(x)+f(2)",
    r"x \equiv 3 \pmod 7",
    r"2n\pi, n\in\mathbb{Z}",
    r"\frac{10}{3} \approx 3.33",
    r"\begin{cases} x & x>0 \\ -x & x\le 0 \end{cases}",
]
PIECES = st.sampled_from(
    [
        *"0123456789xyieABm+-*/^_=<>()[]{}|,.;:!%&' ",
        "\\",
        "\\\\",
        r"\frac",
        r"\sqrt",
        r"\left",
        r"\right",
        r"\pi",
        r"\infty",
        r"\text{cm}",
    ]
    + [
        r"\sin",
        r"\log",
        r"\pm",
        r"\cup",
        r"\cap",
        r"\setminus",
        r"\in",
        r"\mid",
        r"\{",
        r"\}",
        r"\$",
        "$",
        r"\%",
        r"^\circ",
        r"\not=",
    ]
    + [
        r"\begin{pmatrix}",
        r"\begin{vmatrix}",
        r"\end{pmatrix}",
        r"\end{vmatrix}",
        r"\sum_{k=1}^",
        r"\binom",
        r"\overline",
        r"\choose",
        r"\Gamma(",
        r"\pmod",
        r"\equiv",
        r"\approx",
        r"\forall",
        r"\in\mathbb{Z}",
        r"\begin{cases}",
        r"\end{cases}",
        r"\text{ for all }",
        "{,}",
        "(-1)^n",
        r"\cos n\pi",
        r"\boxed ",
    ]
    + [
        "sqrt",
        "cm",
        "and",
        "or",
        "10",
        "1,000",
        "√",
        "½",
        "²",
        "⁻³",
        "₂",
        "π",
        "°",
        "∞",
        "é",
        "１",
        "\u200b",
        "𝟓",
        r"\lfloor",
        r"\rfloor",
    ]
    + [
        r"\mathbb{R}",
        r"\le",
        r"\ne",
        "1e9",
        r"\boxed{",
        r"\fbox",
        "</think>",
        r"\text{",
        r"\mathrm{",
        "million",
        "0.3...",
        r"0.\dot{1}",
    ]
    + [
        "no solution",
        "(B) ",
        "9^{9^{9^9}}",
        "10^{99}!",
        "_{16}",
        "2:30",
        "p.m.",
        r"\over",
        "!!",
        r"\mathbf",
        "x=",
        "|x|<",
    ]
)
TEXTS = st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=30).map("".join))


def known_inputs() -> list[str]:
    """The texts of the corpus and of the equivalence cases."""
    texts = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()] if CORPUS.exists() else []
    cases = Path(__file__).parents[3] / "benchmarks" / "math_cases.jsonl"
    return texts + [json.loads(line)["answer"] for line in cases.read_text(encoding="utf-8").splitlines()]


@st.composite
def changed(draw: st.DrawFn, known: list[str]) -> str:
    """A known input after up to four cuts, copies, splices and insertions."""
    text = draw(st.sampled_from(known))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 20)))
        middle = draw(st.sampled_from(["cut", "copy", "piece", "splice"]))
        if middle == "cut":
            text = text[:start] + text[end:]
        elif middle == "copy":
            text = text[:end] + text[start:end] * draw(st.integers(1, 30)) + text[end:]
        elif middle == "piece":
            text = text[:start] + draw(PIECES) + text[start:]
        else:
            text = text[:start] + draw(st.sampled_from(known))[:200] + text[end:]
    return text[:4000]


class Coverage:
    """Counts the lines that the verifier executes, and gathers the jumps between them."""

    def __init__(self) -> None:
        self.seen: set[tuple[Any, int, int]] = set()
        self.steps = self.new = 0

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if code.co_filename not in FILES:
            return None
        last = [0]

        def line(frame: FrameType, event: str, _: object) -> Any:
            if event == "line":
                self.steps += 1
                jump = (code, last[0], frame.f_lineno)
                last[0] = frame.f_lineno
                if jump not in self.seen:
                    self.seen.add(jump)
                    self.new += 1
            return line

        return line

    def run(self, text: str, reference: str) -> None:
        self.steps = self.new = 0
        sys.settrace(self.trace)
        try:
            judge.judge_math(rf"</think>\boxed{{{text}}}", [reference])
        finally:
            sys.settrace(None)


def check(text: str, reference: str) -> None:
    """One input against one reference: as a box's content, and as a whole response."""
    verdict, reason = judge.judge_math(rf"</think>\boxed{{{text}}}", [reference])
    assert verdict in ("correct", "wrong") and reason in ("ok", "mismatch", "no_box", "no_think_end", "parse_error")
    judge.judge_math(text, [reference], require_think_end=False)
    assert judge.equivalent(text, reference) == judge.equivalent(reference, text)
    assert judge.equivalent(text, text) or not text.strip() or _says_nothing(text)


def _says_nothing(text: str) -> bool:
    try:
        return not normalise(text)
    except LatexError:
        return False


def fuzz(minutes: float, seed: int) -> None:
    known, coverage, found = known_inputs(), Coverage(), []
    new: set[str] = set()
    checks = most = 0
    slowest = 0.0
    for text in known:
        coverage.run(text, REFERENCES[0])
    began, base = time.monotonic(), len(coverage.seen)
    while time.monotonic() - began < 60 * minutes:
        new.clear()

        def one(text: str, reference: str) -> None:
            nonlocal checks, most, slowest
            readings.cache_clear()
            letters_in.cache_clear()
            start = time.process_time()
            check(text, reference)
            slowest = max(slowest, (time.process_time() - start) / 5)  # of five checks
            readings.cache_clear()
            letters_in.cache_clear()
            coverage.run(text, reference)
            checks, most = checks + 6, max(most, coverage.steps)
            assert coverage.steps <= MAX_STEPS
            if coverage.new:
                new.add(text)

        sized = settings(max_examples=ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        sized = settings(sized, phases=[Phase.generate, Phase.shrink])
        drawn = given(st.one_of(TEXTS, changed(list(known))), st.sampled_from(REFERENCES))(one)
        hypothesis.seed(seed)(sized(drawn))()
        known += sorted(new)
        found += sorted(new)
        seed += 1
    seconds, jumps = time.monotonic() - began, len(coverage.seen)
    print(f"{checks} checks in {seconds:.0f} s, none raised; most steps of one input {most} (bound {MAX_STEPS})")
    print(f"slowest check {slowest:.3f} CPU s; {jumps} jumps between lines, {jumps - base} of them new")
    for text in found:
        print(json.dumps(text))


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--seed", type=int, default=0)
    arguments = options.parse_args()
    fuzz(arguments.minutes, arguments.seed)
