"""Prompts: the published strings to the character, one BOS, and styles that the tokenizer has no words for."""

import pytest
from folders import r1_folder, settings
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from acejax.errors import UserError
from acejax.problems.builtin_tokenizer import build_tokenizer
from acejax.problems.problem import Problem
from acejax.problems.prompts import R1_BOS, render_prompt

TESTS = {"kind": "stdin", "cases": [{"input": "1\n", "output": "1\n"}]}
MATH = Problem("m", "math", "What is 1+1?", answer=("2",))
CODE = Problem("c", "code", "Echo a line.", tests=TESTS)
STARTED = Problem("s", "code", "Echo.", tests=TESTS, starter_code="def f(x):")

FORMAT = "Please place the solution code in the following format:\n```python\n# Your solution code here\n```"
IN_A_BOX = "Please reason step by step, and put your final answer within \\boxed{}."
WRITE = f"Write Python code to solve the problem. {FORMAT}"
START = (
    "Solve the problem starting with the provided function header.\n\n"
    f"Function header:\n```\ndef f(x):\n```\n\n{FORMAT}"
)
R1 = "<\uff5cbegin\u2581of\u2581sentence\uff5c><\uff5cUser\uff5c>{}<\uff5cAssistant\uff5c><think>\n"
CHATML = (
    "<|im_start|>system\nYou are a helpful and harmless assistant. You should think step-by-step.<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<think>\n"
)
OWN = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<think>\n"


@pytest.fixture(scope="module")
def builtin(tmp_path_factory):
    path = tmp_path_factory.mktemp("builtin")
    build_tokenizer(path)
    return AutoTokenizer.from_pretrained(path)


@pytest.fixture(scope="module")
def r1_path(tmp_path_factory):
    return r1_folder(tmp_path_factory.mktemp("r1"))


@pytest.fixture(scope="module")
def r1(r1_path):
    return AutoTokenizer.from_pretrained(r1_path)


@pytest.mark.parametrize(
    ("style", "problem", "text"),
    [
        ("r1", MATH, R1.format(f"What is 1+1?\n{IN_A_BOX}")),
        ("r1", CODE, R1.format(f"Echo a line.\n\n{WRITE}")),
        ("r1", STARTED, R1.format(f"Echo.\n\n{START}")),
        ("chatml", MATH, CHATML.format("What is 1+1?\n\nPlease place your final answer inside \\boxed{}.")),
        ("chatml", CODE, CHATML.format(f"Echo a line.\n\n{WRITE}")),
        ("chatml", STARTED, CHATML.format(f"Echo.\n\n{START}")),
        ("chat", MATH, OWN.format(f"What is 1+1?\n{IN_A_BOX}")),
        ("chat", STARTED, OWN.format(f"Echo.\n\n{START}")),
        ("builtin", MATH, OWN.format("What is 1+1?\n\\boxed{}")),
        ("builtin", CODE, OWN.format("Echo a line.\n```python\n```")),
    ],
)
def test_prompts_by_style(builtin, r1, style, problem, text):
    tokenizer = r1 if style == "r1" else builtin
    rendered, ids = render_prompt(problem, tokenizer, style)
    assert rendered == text
    assert ids == tokenizer.encode(text, add_special_tokens=False) and tokenizer.decode(ids) == text


def test_special_markers_are_one_token_each(builtin):
    _, ids = render_prompt(MATH, builtin, "builtin")
    markers = builtin.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>", "<think>"])
    assert [ids.count(i) for i in markers] == [2, 1, 1]


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("style", ["r1", "chat", "chatml"])
def test_one_bos_whether_or_not_the_template_writes_it(r1_path, r1, style, written):
    tokenizer = AutoTokenizer.from_pretrained(r1_path)
    if not written:
        tokenizer.chat_template = r1.chat_template.replace("{{ bos_token }}", "")
    text, ids = render_prompt(MATH, tokenizer, style)
    assert text.startswith(R1_BOS) and text.count(R1_BOS) == 1
    assert ids[0] == tokenizer.bos_token_id and ids.count(ids[0]) == 1 and tokenizer.decode(ids) == text


def test_no_bos_for_a_model_that_begins_without(builtin, tmp_path):
    build_tokenizer(tmp_path)
    settings(tmp_path, bos_token="<|endoftext|>")  # has a name, but texts do not begin with it
    text, ids = render_prompt(MATH, AutoTokenizer.from_pretrained(tmp_path), "chat")
    assert (text, ids) == render_prompt(MATH, builtin, "chat")


def test_a_style_without_its_markers_names_one_that_fits(builtin, r1):
    with pytest.raises(UserError) as caught:
        render_prompt(MATH, builtin, "r1")
    assert f"prompt style 'r1': its marker '{R1_BOS}' is not one token of tokenizer" in str(caught.value)
    assert str(caught.value).endswith("; use style chat or chatml")
    assert render_prompt(MATH, r1, "chatml")[1], "it has both kinds of marker"


def test_no_chat_template_is_the_users_to_mend(r1_path):
    bare = AutoTokenizer.from_pretrained(r1_path)
    bare.chat_template = None
    for style in ("chat", "builtin"):
        with pytest.raises(UserError, match="has no chat template; use style r1 or chatml"):
            render_prompt(MATH, bare, style)
    with pytest.raises(UserError, match="'poem'"):
        render_prompt(MATH, bare, "poem")


def test_no_style_at_all_fits():
    letters = Tokenizer(models.BPE({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    with pytest.raises(UserError, match="use a checkpoint with a chat template"):
        render_prompt(MATH, PreTrainedTokenizerFast(tokenizer_object=letters), "chatml")
