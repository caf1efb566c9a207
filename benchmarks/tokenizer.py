"""What AutoTokenizer makes of a tokenizer's files, held to the `tokenizers` library, on real texts; and the prompts of
the named styles.

Run: `python benchmarks/tokenizer.py --data DIR [--tokenizer FOLDER]`. DIR holds math/math_train.jsonl,
math/gsm8k_test.jsonl and code/leetcode_train.jsonl; FOLDER is DIR/tokenizers/qwen2.5 if not given. Exit code 1 where
anything differs.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, processors

from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.problems.prompts import R1_ASSISTANT, R1_BOS, R1_USER, render_prompt
from acejax.problems.tokenizer import load_tokenizer, token_count

PROBLEMS = 2000
# Written out once more, so that a slip in prompts.py shows.
PUBLISHED = {
    "r1": "<｜begin▁of▁sentence｜><｜User｜>%s"
    "\nPlease reason step by step, and put your final answer within \\boxed{}.<｜Assistant｜><think>\n",
    "chatml": "<|im_start|>system\nYou are a helpful and harmless assistant. You should think step-by-step.<|im_end|>\n"
    "<|im_start|>user\n%s\n\nPlease place your final answer inside \\boxed{}.<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n",
}


def rows(path: Path, count: int | None = None) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line, _ in zip(file, range(count or sys.maxsize), strict=False)]


def line(what: str, texts: Iterable[str], ids: Callable[[str], list[int]], tokenizer: Any, raw: Tokenizer) -> bool:
    """Prints how many of the texts have equal ids, and how many come back from them; true if all do."""
    texts = list(texts)
    found = [ids(text) for text in texts]
    equal = sum(i == raw.encode(text, add_special_tokens=False).ids for i, text in zip(found, texts, strict=True))
    back = sum(tokenizer.decode(i) == text for i, text in zip(found, texts, strict=True))
    print(f"{what:<44}{len(texts):>7,}{sum(map(len, found)):>11,}{equal:>12,}{back:>15,}")
    return equal == back == len(texts)


def with_r1_markers(folder: Path, out: Path) -> Path:
    """A tokenizer that knows R1's markers besides, and begins its texts with R1's BOS."""
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    raw.add_special_tokens([R1_BOS, R1_USER, R1_ASSISTANT])
    raw.post_processor = processors.TemplateProcessing(
        single=f"{R1_BOS} $A", special_tokens=[(R1_BOS, raw.token_to_id(R1_BOS))]
    )
    raw.save(str(out / "tokenizer.json"))
    (out / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "", "bos_token": R1_BOS}))
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    given = parser.parse_args()
    if given.data is None:
        print("tokenizer: nothing measured; name the data with --data DIR")
        return 0
    folder = given.tokenizer or given.data / "tokenizers" / "qwen2.5"
    try:
        tokenizer = load_tokenizer(folder)
    except UserError as error:
        print(error)
        return 1
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    loaded = f"{type(tokenizer).__name__}, {token_count(tokenizer):,} ids"
    print(f"{folder.name}: {loaded}; Python {platform.python_version()}", end="")
    print("".join(f", {name} {version(name)}" for name in ("transformers", "tokenizers")))

    math = rows(given.data / "math" / "math_train.jsonl", PROBLEMS)
    solved = [row["solution"] for row in rows(given.data / "math" / "gsm8k_test.jsonl")]
    code = [row["solutions"] for row in rows(given.data / "code" / "leetcode_train.jsonl")]
    thought = [f"<think>\n{row['problem']}\n</think>\n\n\\boxed{{{row['answer']}}}" for row in math]

    def ids(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    print(f"{'texts':<44}{'texts':>7}{'tokens':>11}{'equal ids':>12}{'decode back':>15}")
    right = [
        line("MATH problems", (row["problem"] for row in math), ids, tokenizer, raw),
        line("MATH problems thought over, </think>, answers", thought, ids, tokenizer, raw),
        line("GSM8K solutions", solved, ids, tokenizer, raw),
        line("LeetCode reference solutions", code, ids, tokenizer, raw),
    ]
    lines = [
        pair for text in code for pair in zip(text.split("\n"), tokenizer.decode(ids(text)).split("\n"), strict=False)
    ]
    indented = [(a, b) for a, b in lines if a[:1].isspace()]
    kept = sum(a[: len(a) - len(a.lstrip())] == b[: len(b) - len(b.lstrip())] for a, b in indented)
    right.append(kept == len(indented))
    print(f"indented lines of code that keep their indentation: {kept:,} of {len(indented):,}")

    for style, published in PUBLISHED.items():
        with tempfile.TemporaryDirectory() as out:
            added = style == "r1" and R1_BOS not in tokenizer.get_vocab()
            used = load_tokenizer(with_r1_markers(folder, Path(out))) if added else tokenizer
        prompts = [(row["problem"], *render_prompt(Problem("m", "math", row["problem"]), used, style)) for row in math]
        same = sum(text == published % asked and used.decode(found) == text for asked, text, found in prompts)
        how = ", markers added to the tokenizer," if added else ""
        print(f"prompts of style {style}{how} equal to the published text: {same:,} of {len(math):,}", end="; ")
        right.append(same == len(math))
        if used.encode("x")[0] == used.bos_token_id:
            one = sum(found[0] == used.bos_token_id and found.count(found[0]) == 1 for *_, found in prompts)
            print(f"with one BOS: {one:,}")
            right.append(one == len(math))
        else:
            print("the model wants no BOS")
    print("everything agrees" if all(right) else "SOMETHING DIFFERS")
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
