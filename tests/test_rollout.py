"""The one door between sampling and verification, with a pool that only pretends."""

import pytest
from fake_pool import PROMPTS, SETUP, FakePool, Letters, even
from tiny import CONFIG, one_device, random_params

from acejax.errors import UserError
from acejax.mesh import SAMPLING
from acejax.rollout import rollout
from acejax.sampling.decode import Settings, sample

HOW = {"group": 4, "response_tokens": 20, "temperature": 0.7, "seed": 1, "generation": 2, "stage": "s"}


def run(pool, watch=lambda *_: None, **more):
    return rollout(random_params(one_device(), SAMPLING), PROMPTS, SETUP, pool, **(HOW | more), watch=watch)


def test_every_prompt_gets_its_group_in_order_with_what_the_sampler_gave():
    pool = FakePool(even)
    result = run(pool)
    params = random_params(one_device(), SAMPLING)
    # The slots hold four groups: two waves.
    expected = {}
    for start in (0, 4):
        part = [(prompt.problem.id, prompt.ids) for prompt in PROMPTS[start : start + 4]]
        settings = Settings(4, 12, 20, 8, SETUP.stop_ids)
        for one in sample(
            params,
            part,
            config=CONFIG,
            mesh=SETUP.mesh,
            settings=settings,
            temperature=0.7,
            seed=1,
            step=2,
            pad_id=7,
            rows=4,
        ):
            expected[part[one.prompt][0], one.sample] = one
    assert len(result.groups) == 6
    for prompt, group in zip(PROMPTS, result.groups, strict=True):
        assert [one.completion.sample for one in group] == [0, 1, 2, 3] == [one.verdict.sample for one in group]
        for one in group:
            sampled = expected[prompt.problem.id, one.completion.sample]
            completion = one.completion
            assert (completion.ids, completion.logprobs) == (sampled.ids, sampled.logprobs)
            assert completion.prompt_ids == prompt.ids and completion.problem_id == prompt.problem.id
            assert (completion.step, completion.seed, completion.stage) == (2, 1, "s")
            assert completion.finish_reason == ("stop" if sampled.stopped else "length")
            # The verifier reads the text without the token that stopped it.
            assert completion.response == Letters().decode(sampled.ids[: -1 if sampled.stopped else None])
            assert (one.verdict.verdict, one.verdict.reason) == even(prompt.problem, completion.response)


def test_equal_responses_of_a_group_are_judged_once():
    pool = FakePool(even)
    # Greedy: the four samples of a problem are the same.
    result = run(pool, temperature=0)
    assert len(pool.asked) == len(PROMPTS)
    assert all(len({one.completion.response for one in group}) == 1 for group in result.groups)
    assert [one.verdict.sample for one in result.groups[0]] == [0, 1, 2, 3]


def test_the_stages_weights_of_rewards_go_with_every_response():
    pool = FakePool(even)
    run(pool, rewards={"verifier": 1.0, "m:f": 0.5})
    assert pool.asked and all(weights == {"verifier": 1.0, "m:f": 0.5} for *_, weights in pool.asked)


def test_what_sampling_did_not_hide_of_verification_is_waited_for_and_watched():
    pool = FakePool(even, hold=True)
    seen = []

    def watch(phase, done, total):
        seen.append((phase, done, total))
        if phase == "verifying":
            pool.release()

    result = run(pool, watch)
    assert {total for _, _, total in seen} == {24} and seen[-1][0] == "verifying"
    sampling = [done for phase, done, _ in seen if phase == "sampling"]
    assert sampling == sorted(sampling) and sampling[-1] == 24
    assert result.checks["judged"] == len(pool.asked) and result.checks["busy_seconds"] == len(pool.asked) / 2


def test_what_watch_raises_ends_the_rollout():
    class End(Exception):
        pass

    def watch(*_):
        raise End

    with pytest.raises(End):
        run(FakePool(even), watch)


def test_the_share_of_the_unjudged():
    failing = FakePool(lambda problem, _: ("unjudged", "infra") if problem.id == "p0" else ("wrong", "mismatch"))
    assert run(failing).unjudged == pytest.approx(1 / 6)


def test_a_group_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match="stage 's': a group of 17 does not fit in sampling.slots=16"):
        run(FakePool(even), group=17)
