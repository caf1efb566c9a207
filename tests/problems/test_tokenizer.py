"""A checkpoint's tokenizer: what transformers makes of the files is held to what they say."""

import json
import shutil

import pytest
from folders import END, r1_folder, settings
from tokenizers import Tokenizer, normalizers, pre_tokenizers

from acejax.errors import UserError
from acejax.policy.config import from_hf
from acejax.problems.builtin_tokenizer import build_tokenizer
from acejax.problems.tokenizer import PROBES, load_tokenizer, stop_ids, token_count


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The built-in tokenizer beside the config.json of a Qwen2, as in an export."""
    path = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(path)
    (path / "config.json").write_text('{"model_type": "qwen2"}')
    return path


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


def test_an_export_of_the_built_in_policy_opens_by_its_own_rules(folder):
    tokenizer, raw = load_tokenizer(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in (*PROBES, "x=12+24.7\n 23*5"):
        assert tokenizer.encode(text, add_special_tokens=False) == raw.encode(text).ids
    assert "12" in tokenizer.convert_ids_to_tokens(tokenizer.encode("x=12"))


def test_rules_that_are_not_the_files_are_refused_with_the_shortest_text(folder):
    """transformers 5 opens every qwen2 folder that names a class with Qwen2's rules, which split 12 in two."""
    settings(folder, tokenizer_class="PreTrainedTokenizerFast")
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with pytest.raises(UserError) as caught:
        load_tokenizer(folder)
    message = str(caught.value)
    assert (
        message.startswith(f"{folder}: transformers 5.")
        and 'write "tokenizer_class": "" into tokenizer_config.json' in message
    )
    digits = [raw.token_to_id(digit) for digit in "10"]
    assert f"(Qwen2Tokenizer) reads '10' as {digits}, by tokenizer.json it is [{raw.token_to_id('10')}]" in message


def test_a_token_that_only_one_of_the_two_knows_is_found(folder):
    settings(folder, eos_token="<|other|>")
    with pytest.raises(UserError, match=r"reads '<\|other\|>' as \[596\]"):
        load_tokenizer(folder)


def test_truncation_and_padding_of_the_file_do_not_count(folder):
    file = str(folder / "tokenizer.json")
    raw = Tokenizer.from_file(file)
    raw.enable_truncation(3)
    raw.enable_padding(length=64)
    raw.save(file)
    assert len(load_tokenizer(folder).encode(PROBES[0])) > 3


def test_a_tokenizer_that_loses_spaces_is_refused(folder):
    file = str(folder / "tokenizer.json")
    raw = Tokenizer.from_file(file)
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), raw.pre_tokenizer])
    raw.save(file)
    with pytest.raises(UserError, match=r"gives ' ' back as ''; write"):
        load_tokenizer(folder)


def test_composed_characters_are_not_a_loss(folder):
    file = str(folder / "tokenizer.json")
    raw = Tokenizer.from_file(file)
    raw.normalizer = normalizers.NFC()
    raw.save(file)
    tokenizer = load_tokenizer(folder)
    assert tokenizer.decode(tokenizer.encode("e\u0301")) == "\u00e9"


def test_what_is_no_tokenizer_is_the_users_to_mend(folder, tmp_path):
    with pytest.raises(UserError, match="no tokenizer.json; copy"):
        load_tokenizer(tmp_path / "empty")
    (folder / "tokenizer.json").write_text('{"model": 5}')
    with pytest.raises(UserError, match="cannot be opened") as caught:
        load_tokenizer(folder)
    assert len(str(caught.value).splitlines()) == 1


def test_the_count_of_ids_reaches_over_holes(folder):
    assert token_count(load_tokenizer(folder)) == 596
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    last = content["added_tokens"][-1]
    last["id"] = content["model"]["vocab"][last["content"]] = 700
    file.write_text(json.dumps(content))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "", "eos_token": "<|im_end|>"}')
    tokenizer = load_tokenizer(folder)
    assert len(tokenizer) < token_count(tokenizer) == 701


SHAPE = {
    "model_type": "qwen2",
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
}


def test_rows_beyond_the_highest_id_are_masked_and_too_few_are_an_error():
    assert from_hf(SHAPE | {"vocab_size": 640}, "config.json", 596).tokens == 596
    assert from_hf(SHAPE | {"vocab_size": 640}, "config.json", 640).tokens == 640
    with pytest.raises(UserError, match="'vocab_size' is 640, but the tokenizer names 641 ids"):
        from_hf(SHAPE | {"vocab_size": 640}, "config.json", 641)


class Ends:
    def __init__(self, end):
        self.eos_token_id = end


def test_stop_ids_join_both_configurations_and_the_tokenizer(tmp_path):
    assert stop_ids(tmp_path, Ends(2)) == (2,) and stop_ids(tmp_path, Ends(None)) == ()
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [9, 5]}')
    (tmp_path / "config.json").write_text('{"eos_token_id": 11}')
    assert stop_ids(tmp_path, Ends(2)) == (2, 5, 9, 11)
    (tmp_path / "config.json").write_text('{"eos_token_id": null}')
    assert stop_ids(tmp_path, Ends(5)) == (5, 9)


@pytest.mark.parametrize("name", ["generation_config.json", "config.json"])
@pytest.mark.parametrize("named", ["151643", [1, "2"], True, 2.0, -1, {"a": 1}])
def test_what_is_no_stop_id_names_file_and_field(tmp_path, name, named):
    (tmp_path / name).write_text(json.dumps({"eos_token_id": named}))
    with pytest.raises(UserError) as caught:
        stop_ids(tmp_path, Ends(2))
    assert str(caught.value).startswith(f"{tmp_path / name}: 'eos_token_id' is {named!r}; it must be")


@pytest.mark.parametrize("text", ["[1]", "{"])
def test_a_broken_configuration_is_named(tmp_path, text):
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(UserError, match="generation_config.json: "):
        stop_ids(tmp_path, Ends(2))


def test_a_folder_after_the_manner_of_r1(tmp_path):
    tokenizer = load_tokenizer(r1_folder(tmp_path))
    assert tokenizer.encode("x")[0] == tokenizer.bos_token_id and tokenizer.eos_token == END
