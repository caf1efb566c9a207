"""From a problem to the prompt that a policy reads, as text and as ids."""

from __future__ import annotations

from typing import Any, Literal, get_args

from acejax.errors import UserError
from acejax.problems.problem import DOMAINS, Problem

Style = Literal["builtin", "chat", "r1", "chatml"]

MATH_INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
CHATML_MATH_INSTRUCTION = "Please place your final answer inside \\boxed{}."
CODE_FORMAT = "```python\n# Your solution code here\n```"
CODE_INSTRUCTION = (
    "Write Python code to solve the problem. Please place the solution code in the following format:\n" + CODE_FORMAT
)
STARTER_INSTRUCTION = (
    "Solve the problem starting with the provided function header.\n\nFunction header:\n```\n{starter}\n```"
    "\n\nPlease place the solution code in the following format:\n" + CODE_FORMAT
)
# The answer's form with nothing in it, in the very tokens that an answer begins with: a small policy can copy its way
# to the right form.
BUILTIN_FORMS = {"math": "\n\\boxed{}", "code": "\n```python\n```"}
CHATML_SYSTEM = "You are a helpful and harmless assistant. You should think step-by-step."
R1_BOS, R1_USER, R1_ASSISTANT = "<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"
# What a style writes itself and the policy knows as single tokens; <think> is not among them: Qwen2.5 spells it out.
MARKERS = {"r1": (R1_BOS, R1_USER, R1_ASSISTANT), "chatml": ("<|im_start|>", "<|im_end|>")}


def question(problem: Problem, style: Style) -> str:
    """The user's turn: the problem's prompt with the instruction of its domain, in style "builtin" an empty form to be
    filled in.
    """
    own = DOMAINS[problem.domain].instruction
    if own:
        return f"{problem.prompt}\n\n{own}"
    if style == "builtin":
        return problem.prompt + BUILTIN_FORMS.get(problem.domain, "")
    if problem.domain == "code":
        asked = CODE_INSTRUCTION
        if problem.starter_code:
            asked = STARTER_INSTRUCTION.format(starter=problem.starter_code)
        return f"{problem.prompt}\n\n{asked}"
    if style == "chatml":
        return f"{problem.prompt}\n\n{CHATML_MATH_INSTRUCTION}"
    return f"{problem.prompt}\n{MATH_INSTRUCTION}"


def render_prompt(problem: Problem, tokenizer: Any, style: Style) -> tuple[str, list[int]]:
    """The whole prompt, up to where the response begins, and its ids; nothing is added to the ids that is not in the
    text.

    "builtin" and "chat" use the tokenizer's own chat template with its generation prompt;
    "r1" is the template of DeepSeek-R1-Distill, "chatml" the one of AceReason-Nemotron 1.1. The latter two open <think>
    themselves. A tokenizer that begins its texts with a BOS token gets exactly one, whether or not the template writes
    it. Raises UserError for an unknown style, where the tokenizer has no chat template and the style needs one, and
    where a marker of the style is not a single token.
    """
    if style not in get_args(Style):
        raise UserError(f"prompt style is {style!r}; use one of {', '.join(get_args(Style))}")
    why = _unfit(tokenizer, style)
    if why:
        fitting = [other for other in ("chat", *MARKERS) if not _unfit(tokenizer, other)]
        instead = "a checkpoint with a chat template"
        if fitting:
            instead = f"style {' or '.join(fitting)}"
        raise UserError(f"prompt style {style!r}: {why}; use {instead}")
    asked = question(problem, style)
    if style == "r1":
        text = f"{R1_BOS}{R1_USER}{asked}{R1_ASSISTANT}<think>\n"
    elif style == "chatml":
        turns = f"<|im_start|>system\n{CHATML_SYSTEM}<|im_end|>\n<|im_start|>user\n{asked}<|im_end|>\n"
        text = f"{turns}<|im_start|>assistant\n<think>\n"
    else:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": asked}], tokenize=False, add_generation_prompt=True
        )
    bos = tokenizer.bos_token
    if bos and tokenizer.encode("x")[0] == tokenizer.bos_token_id and not text.startswith(bos):
        text = bos + text
    return text, tokenizer.encode(text, add_special_tokens=False)


def _unfit(tokenizer: Any, style: str) -> str | None:
    """Why a style does not suit a tokenizer, or None."""
    named = getattr(tokenizer, "name_or_path", "")
    if style not in MARKERS:
        if getattr(tokenizer, "chat_template", None):
            return None
        return f"tokenizer {named!r} has no chat template"
    for marker in MARKERS[style]:
        if len(tokenizer.encode(marker, add_special_tokens=False)) != 1:
            return f"its marker {marker!r} is not one token of tokenizer {named!r}"
    return None
