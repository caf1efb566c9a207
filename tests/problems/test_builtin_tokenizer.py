"""The built-in tokenizer: the same bytes on every run, lossless on any text, opened by transformers."""

import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from acejax.config_files import load_config
from acejax.problems.builtin import generate, solve
from acejax.problems.builtin_tokenizer import SPECIAL, THINK, VOCAB_SIZE, build_tokenizer
from acejax.problems.prompts import render_prompt

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "deep" / "folder"
    build_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def test_same_bytes_on_every_run(folder, tmp_path):
    build_tokenizer(tmp_path)
    names = {file.name for file in folder.iterdir()}
    assert {"tokenizer.json", "tokenizer_config.json"} <= names == {file.name for file in tmp_path.iterdir()}
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_opens_in_transformers_with_the_named_tokens(tokenizer):
    assert 500 < len(tokenizer) == max(tokenizer.get_vocab().values()) + 1 <= VOCAB_SIZE
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert set(SPECIAL) <= set(tokenizer.all_special_tokens) and not set(THINK) & set(tokenizer.all_special_tokens)
    for text in SPECIAL + THINK:
        assert len(tokenizer.encode(text, add_special_tokens=False)) == 1
    ids = tokenizer.encode("a<think>\nb</think>\n\\boxed{3}<|im_end|>", add_special_tokens=False)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a<think>\nb</think>\n\\boxed{3}"
    assert tokenizer.encode("ab", add_special_tokens=True) == tokenizer.encode("ab", add_special_tokens=False)


CODE = "class A:\n    def f(self, x):\n\tif x  ==  1 :\n        return 'é 漢 \U0001f600'\r\n\n\n# end  "


@settings(max_examples=200, deadline=None)
@given(text=st.text())
@example(text=CODE)
@example(text=" hello , don't do n't ( x ) . ")
@example(text="".join(map(chr, range(256))))
@example(text="12345 007\n\n\n   7")
@example(text="</think>\n\\boxed{\\frac{1}{2}}<think>")
def test_decoding_gives_the_text_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_a_number_of_the_problems_is_one_token_wherever_it_stands(tokenizer):
    text = "x=12+24.7 range(1,n+1)\n 23*5 \\boxed{\\frac{21}{9}}"
    pieces = [tokenizer.decode([i]) for i in tokenizer.encode(text, add_special_tokens=False)]
    assert [p for p in pieces if any(c.isdigit() for c in p)] == ["12", "24", "7", "1", "1", "23", "5", "21", "9"]


def test_lengths_suit_the_budgets(tokenizer):
    quickstart, _ = load_config(ROOT / "configs/quickstart.yaml")
    for domain in ("math", "code"):
        for p in generate(domain, "heldout", 400, 2):
            prompt = render_prompt(p, tokenizer, "builtin")[1]
            response = tokenizer.encode(solve(p, 0.0, 0)[0].response, add_special_tokens=False)
            assert len(prompt) <= quickstart.policy.prompt_tokens, p.prompt
            assert len(response) + 1 <= quickstart.evaluation.sets[domain].response_tokens, p.prompt
    short = quickstart.stages["math_short"].response_tokens
    hard = [solve(p, 0.0, 0)[0].response for p in generate("math", "train", 200, 2, (3,))]
    too_long = sum(len(tokenizer.encode(r, add_special_tokens=False)) + 1 > short for r in hard)
    assert 20 < too_long < 100, "some problems fit only in the longer stage"


def test_response_joints_are_single_tokens(tokenizer):
    for text in ("\n\\boxed{", "\\frac{", "\n```python", "\ndef ", ":\n    return ", "\n```", " for x in xs"):
        assert len(tokenizer.encode(text, add_special_tokens=False)) == 1, text


def test_response_ids_follow_prompt_ids_as_in_one_text(tokenizer):
    """Supervised rows join prompt ids and response ids; the sampler must meet the same tokens."""
    random.seed(0)
    for p in random.sample(generate("math", "train", 100, 0) + generate("code", "train", 100, 0), 60):
        text, ids = render_prompt(p, tokenizer, "builtin")
        response = solve(p, 0.5, 0)[0].response
        assert tokenizer.encode(text + response, add_special_tokens=False) == ids + tokenizer.encode(
            response, add_special_tokens=False
        )
