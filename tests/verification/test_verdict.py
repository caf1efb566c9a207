"""One number and one verdict of what several verifiers found."""

import pytest

from acejax.verification.verdict import Verdict, combined


def part(verdict, reason="ok", score=None, seconds=1.0):
    return Verdict("m", 2, verdict, reason, seconds, score)


@pytest.mark.parametrize(
    ("verdict", "score", "reward"),
    [("correct", None, 1.0), ("wrong", None, 0.0), ("wrong", 0.25, 0.25), ("unjudged", None, 0.0)],
)
def test_the_reward_of_a_verdict(verdict, score, reward):
    assert part(verdict, score=score).reward == reward


def test_weights_add_up_and_the_verifier_says_what_is_correct():
    parts = {"a:f": part("correct", score=3.0), "verifier": part("wrong", "mismatch", seconds=0.5)}
    assert combined(parts, {"a:f": 0.5, "verifier": 1.0}) == Verdict("m", 2, "wrong", "mismatch", 1.5, 1.5)
    parts["verifier"] = part("correct")
    assert combined(parts, {"a:f": 0.5, "verifier": 2.0}) == Verdict("m", 2, "correct", "ok", 2.0, 3.5)


def test_without_the_verifier_the_first_reward_says_what_is_correct():
    parts = {"a:f": part("wrong", "low_score", 0.5), "b:f": part("correct", score=1.0)}
    assert combined(parts, {"b:f": 1.0, "a:f": 1.0}) == Verdict("m", 2, "correct", "ok", 2.0, 1.5)
    assert combined(parts, {"a:f": 1.0, "b:f": -1.0}) == Verdict("m", 2, "wrong", "low_score", 2.0, -0.5)


def test_one_unjudged_part_is_the_whole():
    parts = {"verifier": part("correct"), "a:f": part("unjudged", "timeout:a:f", seconds=4.0)}
    assert combined(parts, {"verifier": 1.0, "a:f": 0.0}) == Verdict("m", 2, "unjudged", "timeout:a:f", 5.0)


@pytest.mark.parametrize(
    ("weights", "scores", "name"),
    [
        ({"verifier": 1.0, "a:f": 10.0}, {"a:f": 1e308}, "a:f"),
        ({"a:f": 1.0, "verifier": float("nan")}, {"a:f": 1.0}, "verifier"),
        ({"b:f": 1.0, "a:f": 1.0}, {"a:f": 1e308, "b:f": 1e308}, "b:f"),
    ],
)
def test_a_score_that_is_not_finite_is_none(weights, scores, name):
    parts = {one: part("correct", score=scores.get(one)) for one in weights}
    assert combined(parts, weights) == Verdict("m", 2, "unjudged", f"no_score:{name}", 2.0)


def test_the_verifier_alone_gets_a_score():
    assert combined({"verifier": part("correct")}, {"verifier": 1.0}) == Verdict("m", 2, "correct", "ok", 1.0, 1.0)
