"""The supervised stage: worked solutions as sequences to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from acejax.config import SftStage
from acejax.errors import UserError
from acejax.grpo.packing import Item
from acejax.problems.problem import Problem
from acejax.problems.prompts import Style, render_prompt
from acejax.problems.sources import gather_traces
from acejax.training.curriculum import shuffled
from acejax.training.state import RunState, take_update

THINK = "<think>\n"
# Of an update's metrics, those that mean something here; the loss is the mean negative log-likelihood.
METRICS = ("nll", "entropy", "grad_norm", "tokens", "learning_rate")


@dataclass(frozen=True)
class Traces:
    """Tokenized worked solutions; `wrong` of all that were gathered are known to be wrong, `dropped` were too long."""

    items: list[Item]
    wrong: int
    dropped: int


def prepare(run: RunState, name: str, stage: SftStage) -> Traces:
    """Reads the stage's worked solutions. Raises UserError where none of them fits."""
    policy = run.config.policy
    data = prepare_traces(stage, run.sampling.tokenizer, policy.prompt_style, policy.prompt_tokens, run.config.seed)
    run.note(
        f"{name}: {len(data.items)} worked solutions, {data.wrong} of them wrong by the built-in teacher's "
        f"misconceptions; {data.dropped} dropped as too long"
    )
    if not data.items:
        raise UserError(
            f"stage '{name}': all traces are longer than policy.prompt_tokens or response_tokens; raise them"
        )
    return data


def step(run: RunState, name: str, stage: SftStage, data: Traces) -> dict[str, Any]:
    """Imitates the next few worked solutions: one update. Returns its part of the step's record."""
    host = run.host
    run.console.phase("training", host.stage_step, stage.steps)
    # The batch: a place in an epoch whose order is a pure function of the seed.
    size = min(stage.prompts_per_step, len(data.items))
    epoch, place = divmod(host.stage_step, len(data.items) // size)
    order = shuffled(len(data.items), run.config.seed, name, epoch)[place * size : (place + 1) * size]
    chosen = [data.items[index] for index in order]
    # The update: every advantage is 1.
    items = [Item(one.prompt, one.response, 1.0, (), host.generation) for one in chosen]
    metrics = take_update(run, stage, items, 1.0)
    return {key: metrics[key] for key in METRICS} | {"loss": metrics["nll"]}


def prepare_traces(stage: SftStage, tokenizer: Any, style: Style, prompt_tokens: int, seed: int) -> Traces:
    """Prompt and response ids of every trace of a stage; the end token is part of the response and is trained on.

    Responses never pass through the chat template: some templates cut the thinking out of what the assistant said.
    Raises UserError for a tokenizer without an end token.
    """
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"tokenizer {tokenizer.name_or_path!r} has no end token; set eos_token in its tokenizer_config.json"
        )
    traces, wrong = gather_traces(stage.traces, seed)
    items = []
    for trace in traces:
        text, prompt = render_prompt(Problem(trace.id, trace.domain, trace.prompt), tokenizer, style)
        target = trace.response
        if text.endswith(THINK):  # opened by the prompt already; recorded responses often begin with it too
            target = target.removeprefix(THINK)
        response = [*tokenizer.encode(target, add_special_tokens=False), tokenizer.eos_token_id]
        if len(prompt) <= prompt_tokens and len(response) <= stage.response_tokens:
            items.append(Item(prompt, response, 1.0))
    return Traces(items, wrong, len(traces) - len(items))
