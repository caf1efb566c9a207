"""The small tokenizer of the built-in policies: byte-level BPE over the built-in problems, saved as ordinary tokenizer
files.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from acejax.problems.builtin import generate, solve
from acejax.problems.prompts import question

VOCAB_SIZE = 640
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THINK = ("<think>", "</think>")
CORPUS_PER_DOMAIN = 1500
CORPUS_SEED = 0

# Pieces that BPE may merge into one token. The first alternatives keep the fixed joints of a response whole: fewer
# tokens, faster training. A number below 100 can be one token, so that copying one is one decision; every character
# falls into some alternative.
PIECES = "|".join(
    (
        r"\n?\\boxed\{",
        r"\\frac\{",
        r"\}\{",
        r"\n```python",
        r"\ndef ",
        r"\n```",
        r":\n    return ",
        r"=list\(map\(int,input\(\)\.split\(\)\)\)\nprint\(",
        r"=int\(input\(\)\)\nprint\(",
        r"=input\(\)\nprint\(",
        r" for x in (?:xs|range\()",
        r"\.replace\(\"",
        r"\",\"\"\)",
        r"\.count\(\"",
        r"\.upper\(\)",
        r"\.lower\(\)",
        r"\[::-1\]",
        r",default=0\)",
        r" if ",
        r"\(\[",
        r"[^\S\n]?\p{L}+",
        r"\d{1,2}",
        r"\n+[^\S\n]*",
        r"[^\S\n]+",
        r"==|\*\*|[<>]=|!=",
        r"[^\s\p{L}\d]",
    )
)

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n<think>\\n' -}}{%- endif -%}"
)


def _corpus() -> list[str]:
    texts = []
    for domain in ("math", "code"):
        for problem in generate(domain, "train", CORPUS_PER_DOMAIN, CORPUS_SEED):  # type: ignore[arg-type]
            trace, _ = solve(problem, 0.5, CORPUS_SEED)
            texts.append("user\n" + question(problem, "builtin"))
            # As in use, "\n" ends the prompt and "</think>" is cut out before the pieces are.
            texts.extend(trace.response.split(THINK[1]))
            texts.append("assistant\n")
    return texts


def build_tokenizer(out_dir: Path) -> None:
    """Trains the tokenizer on a fixed corpus and writes tokenizer.json, tokenizer_config.json and
    special_tokens_map.json into `out_dir`.

    The files are the same bytes on every run and open with `transformers.AutoTokenizer`. Any text survives encoding and
    decoding.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(THINK),
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in THINK])
    out_dir.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out_dir / "tokenizer.json"))
    named = {"eos_token": SPECIAL[2], "pad_token": SPECIAL[0]}
    added = {
        str(tokenizer.token_to_id(text)): {
            "content": text,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": text in SPECIAL,
        }
        for text in SPECIAL + THINK
    }
    config = {
        **named,
        "bos_token": None,
        "unk_token": None,
        "add_bos_token": False,
        "add_prefix_space": False,
        "additional_special_tokens": [SPECIAL[1]],
        "added_tokens_decoder": added,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 32768,
        # Any name, and none too, makes transformers 5 put the rules of model type qwen2 in place of those of
        # tokenizer.json.
        "tokenizer_class": "",
    }
    for name, value in (("tokenizer_config.json", config), ("special_tokens_map.json", named)):
        (out_dir / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
