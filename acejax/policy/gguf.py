"""Turns a GGUF file (the format of llama.cpp) into a Hugging Face folder: float weights, configuration, tokenizer, chat
template.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, ReaderTensor, dequantize
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from acejax.errors import UserError
from acejax.policy.config import ARCHITECTURES, from_hf
from acejax.policy.folder import DTYPES, OnBytes, Tensor, write_folder
from acejax.policy.port import check_weights

# Unquantized tensors keep their dtype; all others become float32.
_FLOATS = {GGMLQuantizationType.F16: "F16", GGMLQuantizationType.BF16: "BF16", GGMLQuantizationType.F64: "F64"}
_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_IN_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# How Qwen2's tokenizer.json cuts text into words before byte-level BPE, and the names that llama.cpp gives to this
# pre-tokenizer.
_QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_PRE = ("qwen2", "deepseek-r1-qwen")
_ID_KEYS = {
    "bos": "tokenizer.ggml.bos_token_id",
    "eos": "tokenizer.ggml.eos_token_id",
    "pad": "tokenizer.ggml.padding_token_id",
    "unk": "tokenizer.ggml.unknown_token_id",
}
# llama.cpp's token types.
_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, str]]:
    """Opens a GGUF file of architecture llama, qwen2 or qwen3.

    Returns the content of config.json; the weights under Hugging Face's names and in its shapes, each dequantized when
    it is read; and the other JSON files of the folder by file name (tokenizer.json, tokenizer_config.json,
    generation_config.json). Raises UserError for a file that is not GGUF, or holds what we cannot represent.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; give the path of a .gguf file")
    try:
        reader = GGUFReader(path)
        meta = {name: field.contents() for name, field in reader.fields.items() if field.types}
    except (ValueError, IndexError, KeyError) as error:
        raise UserError(f"{path}: this is not a whole GGUF file ({error}); download it again") from None
    architecture = meta.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise UserError(
            f"{path}: architecture {architecture!r} is not supported; give a model of {' or '.join(ARCHITECTURES)}"
        )
    names = {tensor.name: _hf_name(tensor.name, path) for tensor in reader.tensors}
    shapes = {tensor.name: _shape(tensor) for tensor in reader.tensors}
    config = _config(meta, shapes, path)
    heads = {}  # llama.cpp turns the rows of these round, for this architecture alone
    if architecture == "llama":
        heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    tensors = {}
    for tensor in reader.tensors:
        part = tensor.name.split(".")[-2]
        tensors[names[tensor.name]] = _tensor(tensor, heads.get(part), path)
    contents = _tokenizer_files(meta, config, path)
    files = {name: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in contents.items()}
    return config, tensors, files


def _shape(found: ReaderTensor) -> tuple[int, ...]:
    """The shape as numpy counts it: GGUF names the fastest axis first."""
    return tuple(reversed(found.shape.tolist()))


def _tensor(found: ReaderTensor, heads: int | None, path: Path) -> Tensor:
    def read(index: Any) -> np.ndarray:
        try:
            value = np.asarray(dequantize(found.data, found.tensor_type), dtype=np.float32)
        except NotImplementedError:
            kind = found.tensor_type.name
            raise UserError(
                f"{path}: {found.name} is quantized as {kind}, which cannot be read; use another file"
            ) from None
        if heads:
            value = _unpermute(value, heads)
        return value[index]

    whole = Tensor(_shape(found), np.dtype(np.float32), read)
    return whole.cast(str(DTYPES[_FLOATS.get(found.tensor_type, "F32")]))


def convert_gguf(path: Path, out: Path, dtype: str | None = None, progress: OnBytes | None = None) -> None:
    """Writes the GGUF file `path` as the Hugging Face folder `out`, weights in `dtype` (None: quantized ones in
    float32, others as is).

    The folder appears whole or not at all. Raises UserError when `out` already holds files, and whatever read_gguf
    raises.
    """
    config, tensors, files = read_gguf(path)
    tensors = check_weights(tensors, from_hf(config, str(path)), str(path))
    write_folder(out, config, {name: tensor.cast(dtype) for name, tensor in tensors.items()}, files, None, progress)


def _unpermute(value: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key projection [heads * head_dim, ...] (or its bias), from llama.cpp's order to Hugging
    Face's.

    llama.cpp rotates neighbouring pairs of a head's rows, Hugging Face rotates row i with row i + head_dim / 2.
    """
    rows, *rest = value.shape
    return value.reshape(heads, rows // heads // 2, 2, *rest).swapaxes(1, 2).reshape(value.shape)


def _hf_name(name: str, path: Path) -> str:
    if name in _TOP:
        return _TOP[name]
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _IN_BLOCK:
        return f"model.layers.{parts[1]}.{_IN_BLOCK[parts[2]]}.{parts[3]}"
    raise UserError(
        f"{path}: tensor {name!r} has no place in a llama, qwen2 or qwen3 model; "
        f"give a plain dense model without rope factors"
    )


def _need(meta: dict[str, Any], key: str, path: Path) -> Any:
    if key not in meta:
        raise UserError(f"{path}: its metadata lack {key!r}; use a file written by llama.cpp's converter")
    return meta[key]


def _short(value: float) -> float:
    """The shortest decimal that is the same float32: 9.999999747378752e-06 is 1e-05."""
    return float(str(np.float32(value)))


def _config(meta: dict[str, Any], shapes: dict[str, tuple[int, ...]], path: Path) -> dict[str, Any]:
    architecture = meta["general.architecture"]

    def need(key: str) -> Any:
        return _need(meta, f"{architecture}.{key}", path)

    scaling = meta.get(f"{architecture}.rope.scaling.type", "none")
    if scaling not in ("none", "linear", "yarn"):
        raise UserError(f"{path}: rope scaling {scaling!r} is not supported; give a model without it")
    if "token_embd.weight" not in shapes:
        raise UserError(f"{path}: it holds no token embedding; give a whole model, not an adapter or a vocabulary")
    heads = need("attention.head_count")
    config = {
        "architectures": [ARCHITECTURES[architecture][0]],
        "model_type": architecture,
        "vocab_size": int(shapes["token_embd.weight"][0]),
        "hidden_size": need("embedding_length"),
        "intermediate_size": need("feed_forward_length"),
        "num_hidden_layers": need("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": meta.get(f"{architecture}.attention.head_count_kv", heads),
        "head_dim": meta.get(f"{architecture}.attention.key_length", need("embedding_length") // heads),
        "hidden_act": "silu",
        "max_position_embeddings": need("context_length"),
        "rms_norm_eps": _short(need("attention.layer_norm_rms_epsilon")),
        "rope_theta": _short(meta.get(f"{architecture}.rope.freq_base", 10000.0)),
        "tie_word_embeddings": "output.weight" not in shapes,
    }
    if scaling != "none":
        config["rope_scaling"] = {"rope_type": scaling, "factor": _short(need("rope.scaling.factor"))}
        if scaling == "yarn":
            config["rope_scaling"]["original_max_position_embeddings"] = need("rope.scaling.original_context_length")
    if architecture == "llama":
        config["attention_bias"] = "blk.0.attn_q.bias" in shapes
    for role in ("bos", "eos", "pad"):
        config[f"{role}_token_id"] = meta.get(_ID_KEYS[role])
    return config


def _tokenizer_files(meta: dict[str, Any], config: dict[str, Any], path: Path) -> dict[str, Any]:
    tokens: list[str] = _need(meta, "tokenizer.ggml.tokens", path)
    settings: dict[str, Any] = {
        # transformers 5 puts Qwen2's rules and an <|endoftext|> in place of the file's, unless no class is named.
        "tokenizer_class": "" if config["model_type"] == "qwen2" else "PreTrainedTokenizerFast",
        "model_max_length": config["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
        "add_bos_token": bool(meta.get("tokenizer.ggml.add_bos_token", False)),
    }
    for role, key in _ID_KEYS.items():
        if meta.get(key) is not None:
            settings[f"{role}_token"] = tokens[meta[key]]
    if "tokenizer.chat_template" in meta:
        settings["chat_template"] = meta["tokenizer.chat_template"]
    ends = [meta.get("tokenizer.ggml.eos_token_id"), meta.get("tokenizer.ggml.eot_token_id")]
    stops = sorted({end for end in ends if end is not None})
    eos = config["eos_token_id"] if len(stops) < 2 else stops
    generation = {"bos_token_id": config["bos_token_id"], "eos_token_id": eos, "pad_token_id": config["pad_token_id"]}
    tokenizer = json.loads(_tokenizer(meta, tokens, path).to_str())
    return {"tokenizer.json": tokenizer, "tokenizer_config.json": settings, "generation_config.json": generation}


def _tokenizer(meta: dict[str, Any], tokens: list[str], path: Path) -> Tokenizer:
    model = meta.get("tokenizer.ggml.model")
    if model != "gpt2":
        raise UserError(
            f"{path}: tokenizer {model!r} is not supported; give a model with a byte-level BPE tokenizer ('gpt2')"
        )
    types = meta.get("tokenizer.ggml.token_type", [1] * len(tokens))
    vocabulary = {token: index for index, token in enumerate(tokens) if types[index] != _UNUSED}
    merges = []
    for merge in _need(meta, "tokenizer.ggml.merges", path):
        left, right = merge.split(" ", 1)
        merges.append((left, right))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    _set_words(tokenizer, meta.get("tokenizer.ggml.pre", "gpt-2"), path)
    tokenizer.decoder = decoders.ByteLevel()

    added = []
    for token, kind in zip(tokens, types, strict=True):
        if kind in (_CONTROL, _USER_DEFINED):
            added.append(AddedToken(token, special=kind == _CONTROL, normalized=False))
    tokenizer.add_tokens(added)
    if meta.get("tokenizer.ggml.add_bos_token"):
        bos = _need(meta, _ID_KEYS["bos"], path)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{tokens[bos]} $A", pair=f"{tokens[bos]} $A $B", special_tokens=[(tokens[bos], bos)]
        )
    return tokenizer


def _set_words(tokenizer: Tokenizer, pre: str, path: Path) -> None:
    """How text is cut into words before byte-level BPE, by llama.cpp's name for it."""
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if pre in _QWEN2_PRE:
        split = pre_tokenizers.Split(Regex(_QWEN2_WORDS), "isolated")
        as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    elif pre == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    elif pre == "gpt-2":
        tokenizer.pre_tokenizer = words
    else:
        known = ", ".join(("smollm", "gpt-2", *_QWEN2_PRE))
        raise UserError(f"{path}: pre-tokenizer {pre!r} is not supported; give a model whose is one of {known}")
