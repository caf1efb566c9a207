"""Supervised training data: worked solutions as sequences to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from acejax.config import Stage
from acejax.errors import UserError
from acejax.grpo.packing import Item
from acejax.problems.problem import Problem
from acejax.problems.prompts import Style, render_prompt
from acejax.training.curriculum import gather_traces

THINK = "<think>\n"


@dataclass(frozen=True)
class Traces:
    """Tokenized worked solutions; `wrong` of all that were gathered are known to be wrong, `dropped` were too long."""

    items: list[Item]
    wrong: int
    dropped: int


def prepare_traces(stage: Stage, tokenizer: Any, style: Style, prompt_tokens: int, seed: int) -> Traces:
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
