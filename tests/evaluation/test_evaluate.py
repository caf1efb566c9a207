"""A measurement with a pool that only pretends: its record, and what it depends on."""

import pytest
from fake_pool import PROMPTS, SETUP, FakePool, even
from tiny import one_device, random_params

from acejax.evaluation.evaluate import EVALUATION_STEP, HeldOut, Protocol, evaluate
from acejax.evaluation.statistics import summarise
from acejax.evaluation.summary import summary_of
from acejax.mesh import SAMPLING

SET = HeldOut("numbers", PROMPTS, 20)
PROTOCOL = Protocol(samples=4, temperature=0.7, top_p=1.0, seed=1)


def measure(judge=even, **place):
    params = random_params(one_device(), SAMPLING)
    place = {"split": "full", "stage": "math", "step": 7} | place
    return evaluate(params, SET, PROTOCOL, SETUP, FakePool(judge), watch=lambda *_: None, **place)


def test_the_record_says_what_the_samples_came_to():
    record, result = measure()
    right = [sum(one.verdict.verdict == "correct" for one in group) for group in result.groups]
    assert 0 < sum(right) < 24, "the seed should give both"
    assert {key: record[key] for key in ("kind", "stage", "step", "domain", "split", "k")} == {
        "kind": "eval",
        "stage": "math",
        "step": 7,
        "domain": "numbers",
        "split": "full",
        "k": 4,
    }
    assert summarise([(count, 4) for count in right], 4).items() <= record.items()
    assert record["reasons"] == {"ok": sum(right), "mismatch": 24 - sum(right)}
    assert record["by_difficulty"]["1"]["avg"] == pytest.approx(sum(right[::2]) / 12)
    assert {one.completion.step for group in result.groups for one in group} == {EVALUATION_STEP}


def test_the_draws_do_not_depend_on_where_training_stands():
    first, second = (measure(step=step, stage=stage)[1] for step, stage in ((0, "start"), (90, "code")))
    assert [[one.completion.ids for one in group] for group in first.groups] == [
        [one.completion.ids for one in group] for group in second.groups
    ]


def test_what_was_not_judged_enters_no_mean():
    def judge(problem, response):
        return ("unjudged", "infra") if problem.id in ("p0", "p1") else even(problem, response)

    record, _ = measure(judge)
    assert record["problems"] == 4 and record["unjudged"] == pytest.approx(1 / 3)


def entry(stage, domain, step, split="full"):
    return {"kind": "eval", "stage": stage, "domain": domain, "step": step, "split": split, "avg": 0.5, "k": 8}


def test_the_summary_is_in_the_order_of_measuring_and_calls_the_last_the_end():
    records = [entry(stage, domain, step) for step, stage in enumerate(("start", "a", "b")) for domain in ("m", "c")]
    records += [entry("b", "m", 9, "small"), {"kind": "note"}]
    found = summary_of(records, ["start", "a", "b"], ended=True)
    assert [(one["stage"], one["domain"]) for one in found] == [
        ("start", "m"),
        ("start", "c"),
        ("a", "m"),
        ("a", "c"),
        ("end", "m"),
        ("end", "c"),
    ]
    assert [one["stage"] for one in summary_of(records, ["start", "a", "b"], ended=False)][-1] == "b"
    assert summary_of(records[:2], ["start"], ended=True)[0]["stage"] == "start"
