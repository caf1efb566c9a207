"""Supervised targets: what the trace says, whatever the chat template would make of it."""

import json

import pytest
from folders import END, r1_folder, settings
from transformers import AutoTokenizer

from acejax.config import SftStage, TraceSource
from acejax.errors import UserError
from acejax.training.sft import prepare_traces

RESPONSE = "First 1, then 1 more.\n</think>\n\n\\boxed{2}"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return AutoTokenizer.from_pretrained(r1_folder(tmp_path_factory.mktemp("r1")))


def only(folder, tokenizer, style, response):
    """Prompt and target, as text, of the one trace."""
    path = folder / "traces.jsonl"
    path.write_text(json.dumps({"prompt": "1+1?", "response": response}))
    stage = SftStage(kind="sft", steps=1, learning_rate=1e-3, response_tokens=200, traces=[TraceSource(path=str(path))])
    (item,) = prepare_traces(stage, tokenizer, style, 400, 0).items
    return tokenizer.decode(item.prompt), tokenizer.decode(item.response)


@pytest.mark.parametrize("style", ["r1", "chat", "chatml"])
@pytest.mark.parametrize("opened", ["", "<think>\n"])
def test_targets_keep_the_thinking_that_the_template_strips(tmp_path, tokenizer, style, opened):
    turns = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": RESPONSE}]
    assert "First" not in tokenizer.apply_chat_template(turns, tokenize=False), "the template of this test forgets"
    prompt, target = only(tmp_path, tokenizer, style, opened + RESPONSE)
    assert target == RESPONSE + END
    assert prompt.endswith("<think>\n") and (prompt + target).count("<think>") == 1


def test_a_prompt_that_does_not_open_the_thinking_leaves_it_to_the_target(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", tokenizer.chat_template.replace("<think>\\n", ""))
    prompt, target = only(tmp_path, tokenizer, "chat", "<think>\n" + RESPONSE)
    assert "<think>" not in prompt and target == "<think>\n" + RESPONSE + END


def test_a_tokenizer_without_an_end_token(tmp_path):
    r1_folder(tmp_path)
    settings(tmp_path, eos_token=None)
    with pytest.raises(UserError, match="no end token; set eos_token"):
        only(tmp_path, AutoTokenizer.from_pretrained(tmp_path), "r1", RESPONSE)
