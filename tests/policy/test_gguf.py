import json
from pathlib import Path

import gguf
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from acejax.errors import UserError
from acejax.policy.config import from_hf
from acejax.policy.gguf import convert_gguf, read_gguf

LAYERS, HEADS, KV_HEADS, HEAD_DIM, WIDTH, MLP = 2, 4, 2, 8, 32, 64
TOKENS = ["<|im_start|>", "<|im_end|>", *"abc123?", "Ġ", "Ċ", "ab", "Ġab", "12", "<think>", "[PAD15]"]
TYPES = [3, 3, *[1] * 12, 4, 5]
MERGES = ["a b", "Ġ ab", "1 2"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
BLOCK = {
    "attn_norm": ((WIDTH,), "input_layernorm"),
    "attn_q": ((HEADS * HEAD_DIM, WIDTH), "self_attn.q_proj"),
    "attn_k": ((KV_HEADS * HEAD_DIM, WIDTH), "self_attn.k_proj"),
    "attn_v": ((KV_HEADS * HEAD_DIM, WIDTH), "self_attn.v_proj"),
    "attn_output": ((WIDTH, HEADS * HEAD_DIM), "self_attn.o_proj"),
    "ffn_norm": ((WIDTH,), "post_attention_layernorm"),
    "ffn_gate": ((MLP, WIDTH), "mlp.gate_proj"),
    "ffn_up": ((MLP, WIDTH), "mlp.up_proj"),
    "ffn_down": ((WIDTH, MLP), "mlp.down_proj"),
}


def pairwise(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows as llama.cpp orders them, written out: a head's rows i and i + half become neighbours."""
    half = HEAD_DIM // 2
    order = [head * HEAD_DIM + i + side * half for head in range(heads) for i in range(half) for side in (0, 1)]
    return rows[order]


def tensor_names(architecture: str, tied: bool, extra: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and Hugging Face's name of each tensor of a file."""
    names = {
        "token_embd.weight": ((len(TOKENS), WIDTH), "model.embed_tokens.weight"),
        "output_norm.weight": ((WIDTH,), "model.norm.weight"),
    }
    if not tied:
        names["output.weight"] = ((len(TOKENS), WIDTH), "lm_head.weight")
    for layer in range(LAYERS):
        for name, (shape, target) in BLOCK.items():
            names[f"blk.{layer}.{name}.weight"] = (shape, f"model.layers.{layer}.{target}.weight")
            if architecture == "qwen2" and name in ("attn_q", "attn_k", "attn_v"):
                names[f"blk.{layer}.{name}.bias"] = (shape[:1], f"model.layers.{layer}.{target}.bias")
        if architecture == "qwen3":
            for name in ("q", "k"):
                target = f"model.layers.{layer}.self_attn.{name}_norm.weight"
                names[f"blk.{layer}.attn_{name}_norm.weight"] = ((HEAD_DIM,), target)
    if extra:
        names[extra] = ((4,), extra)
    return names


def add_metadata(writer: gguf.GGUFWriter, settings: dict[str, str]) -> None:
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100000.0)
    writer.add_key_length(HEAD_DIM)
    if "scaling" in settings:
        writer.add_rope_scaling_type(gguf.RopeScalingType(settings["scaling"]))
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(64)
    writer.add_tokenizer_model(settings.get("tokenizer", "gpt2"))
    writer.add_tokenizer_pre(settings.get("pre", "smollm"))
    writer.add_token_list(TOKENS)
    writer.add_token_types(TYPES)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(1)
    writer.add_add_bos_token("bos" in settings)
    writer.add_chat_template(TEMPLATE)


def add_tensor(writer: gguf.GGUFWriter, name: str, value: np.ndarray, kind: str) -> None:
    codes = {"Q8_0": gguf.GGMLQuantizationType.Q8_0, "bfloat16": gguf.GGMLQuantizationType.BF16}
    if kind in codes:
        writer.add_tensor(name, gguf.quantize(value, codes[kind]), raw_dtype=codes[kind])
    else:
        writer.add_tensor(name, value.astype(kind))


def write(
    path: Path, architecture: str, tied: bool, quantize: bool = False, extra: str = "", **settings: str
) -> dict[str, np.ndarray]:
    """Writes a tiny GGUF file and returns its weights under Hugging Face's names, as they were before any
    permutation.
    """
    writer = gguf.GGUFWriter(path, architecture)
    add_metadata(writer, settings)
    random = np.random.default_rng(0)
    weights = {}
    for name, (shape, target) in tensor_names(architecture, tied, extra).items():
        value = random.normal(size=shape).astype(np.float32)
        weights[target] = value
        if architecture == "llama" and (".attn_q." in name or ".attn_k." in name):
            value = pairwise(value, HEADS if ".attn_q." in name else KV_HEADS)
        kind = settings.get("matrices", "float32") if value.ndim == 2 else "float32"
        add_tensor(writer, name, value, "Q8_0" if quantize and value.ndim == 2 else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


@pytest.mark.parametrize(
    ("architecture", "tied"), [("llama", True), ("llama", False), ("qwen2", True), ("qwen2", False)]
)
def test_weights_come_back_under_their_names_in_their_order(tmp_path: Path, architecture: str, tied: bool) -> None:
    expected = write(tmp_path / "m.gguf", architecture, tied)
    convert_gguf(tmp_path / "m.gguf", tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_quantized_weights_are_near_and_bfloat16_is_rounded(tmp_path: Path) -> None:
    expected = write(tmp_path / "m.gguf", "llama", True, quantize=True)
    exact = {name: tensor.read(...) for name, tensor in read_gguf(tmp_path / "m.gguf")[1].items()}
    for name, value in expected.items():
        # Q8_0 keeps 8 bits of each block of 32: half a step of max|x| / 127.
        np.testing.assert_allclose(exact[name], value, atol=np.abs(value).max() / 127, err_msg=name)
    convert_gguf(tmp_path / "m.gguf", tmp_path / "out", "bfloat16")
    found = load_file(tmp_path / "out" / "model.safetensors")
    for name, value in exact.items():
        np.testing.assert_array_equal(found[name], value.astype(ml_dtypes.bfloat16))
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_unquantized_tensors_keep_their_dtype(tmp_path: Path, kind: str) -> None:
    expected = write(tmp_path / "m.gguf", "qwen3", False, matrices=kind)
    convert_gguf(tmp_path / "m.gguf", tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value.astype(kind if value.ndim == 2 else np.float32), err_msg=name)
        assert str(found[name].dtype) == (kind if value.ndim == 2 else "float32")
    assert {name for name in found if "q_norm" in name} and json.loads((tmp_path / "out" / "config.json").read_text())[
        "dtype"
    ] == kind


def test_config(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", "qwen2", False)
    config, _, files = read_gguf(tmp_path / "m.gguf")
    assert config == {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": len(TOKENS),
        "hidden_size": WIDTH,
        "intermediate_size": MLP,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "hidden_act": "silu",
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    assert json.loads(files["generation_config.json"]) == {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_rope_scaling(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "m.gguf", "qwen2", False, scaling=kind)
    config = read_gguf(tmp_path / "m.gguf")[0]
    original = {"original_max_position_embeddings": 64} if kind == "yarn" else {}
    assert config["rope_scaling"] == {"rope_type": kind, "factor": 4.0} | original
    assert from_hf(config, "x").rope.kind == kind


@pytest.mark.parametrize(("architecture", "pre"), [("llama", "smollm"), ("qwen2", "qwen2"), ("llama", "gpt-2")])
def test_tokenizer(tmp_path: Path, architecture: str, pre: str) -> None:
    write(tmp_path / "m.gguf", architecture, True, pre=pre)
    convert_gguf(tmp_path / "m.gguf", tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    digits = ["12"] if pre == "gpt-2" else ["1", "2"]
    assert set(tokenizer.get_vocab()) <= set(TOKENS)
    assert tokenizer.tokenize("ab ab12\n?<think>") == ["ab", "Ġab", *digits, "Ċ", "?", "<think>"]
    ids = tokenizer("ab ab12\n?<think><|im_end|>")["input_ids"]
    assert ids[0] == TOKENS.index("ab") and ids[-1] == 1
    assert tokenizer.decode(ids) == "ab ab12\n?<think><|im_end|>"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "ab ab12\n?<think>"
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id) == (1, 0, 1)
    assert (
        tokenizer.apply_chat_template([{"role": "user", "content": "abc"}], tokenize=False)
        == "<|im_start|>abc<|im_end|>"
    )


def test_a_tokenizer_that_puts_a_beginning_of_text_first(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", "qwen2", True, pre="deepseek-r1-qwen", bos="yes")
    convert_gguf(tmp_path / "m.gguf", tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("ab")["input_ids"] == [0, TOKENS.index("ab")]
    assert tokenizer("ab", add_special_tokens=False)["input_ids"] == [TOKENS.index("ab")]


def test_what_cannot_be_read_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    def refuse(match: str, path: Path, dtype: str = "float32") -> None:
        with pytest.raises(UserError, match=match) as caught:
            convert_gguf(path, tmp_path / "out", dtype)
        assert "\n" not in str(caught.value)
        assert [p.name for p in tmp_path.iterdir() if p.suffix != ".gguf"] == []

    refuse("no such file", tmp_path / "absent.gguf")
    (tmp_path / "text.gguf").write_text("this is no model, whatever its name says")
    refuse("not a whole GGUF file", tmp_path / "text.gguf")
    write(tmp_path / "gemma.gguf", "gemma", True)
    refuse("architecture 'gemma' is not supported", tmp_path / "gemma.gguf")
    write(tmp_path / "good.gguf", "llama", True)
    whole = (tmp_path / "good.gguf").read_bytes()
    (tmp_path / "half.gguf").write_bytes(whole[: len(whole) // 2])
    refuse("not a whole GGUF file", tmp_path / "half.gguf")
    refuse("dtype: 'int4'", tmp_path / "good.gguf", "int4")
    write(tmp_path / "rope.gguf", "llama", True, extra="rope_freqs.weight")
    refuse("rope_freqs.weight", tmp_path / "rope.gguf")
    write(tmp_path / "spm.gguf", "llama", True, tokenizer="llama")
    refuse("tokenizer 'llama' is not supported", tmp_path / "spm.gguf")
    write(tmp_path / "pre.gguf", "llama", True, pre="tekken")
    write(tmp_path / "longrope.gguf", "llama", True, scaling="longrope")
    refuse("rope scaling 'longrope' is not supported", tmp_path / "longrope.gguf")
    refuse("pre-tokenizer 'tekken' is not supported", tmp_path / "pre.gguf")


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", "llama", True)
    (tmp_path / "out").mkdir()
    convert_gguf(tmp_path / "m.gguf", tmp_path / "out")
    with pytest.raises(UserError, match="exists already"):
        convert_gguf(tmp_path / "m.gguf", tmp_path / "out")
