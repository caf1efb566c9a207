"""A checkpoint's tokenizer: opened through transformers, held to what its own file says; the ids it knows and those
that end a response.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from acejax.errors import UserError, reason_of

# What a tokenizer may read wrongly: spaces at either end and in rows, digits, line ends, indentation, brackets, what is
# not ASCII.
PROBES = (
    "Hello, world! It's the 2nd day; don't they'll  say so ?",
    " leading, trailing  and   inner spaces ",
    "Let $x_1, \\ldots, x_{10}$ be real with $\\sum_{i=1}^{n} x_i^2 \\le \\frac{1}{2}$.",
    "\\[\\begin{cases} 3x+4=7, & y\\neq0 \\\\ -12.50\\% \\end{cases}\\] \\boxed{\\sqrt[3]{27}}",
    "0 7 12 345 2024 1000000 3.14159 -1e-5 1,234,567 007",
    "def f(xs):\n    for x in xs:\n        if x  ==  'a' :\n"
    "            return [x for x in xs][::-1]\n\n    return None\n",
    "class A:\n\tdef g(self):\n\t\tpass\n\r\n# end \t \n",
    "one\n\ntwo\n\n\n\nthree\n \n\n  four",
    "naïve café α≤β ∑ 漢字 рус של ไทย “q”—…\u00a0x \U0001f600\U0001f468\u200d\U0001f469",
    "e\u0301 A\u030a",
    "<think>\nSo 1+1=2.\n</think>\n\n\\boxed{2}</think>",
    "```python\nprint('\\n')\n```",
)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a checkpoint folder, as `transformers.AutoTokenizer` opens it.

    Raises UserError where there is none, where it reads a text otherwise than the `tokenizers` library does from the
    folder's tokenizer.json (transformers 5 puts the rules of some model types in place of the file's, and a policy that
    reads other tokens than it learned fails silently), and where decoding does not give the text back. The message
    holds the shortest such text.
    """
    tokenizer, raw = _opened(folder)
    texts = _probes(tokenizer, raw)
    if raw is not None:
        _check_reading(folder, tokenizer, raw, texts)
    _check_decoding(folder, tokenizer, texts)
    return tokenizer


def _opened(folder: Path) -> tuple[Any, Tokenizer | None]:
    """The tokenizer as transformers opens it and, where the folder holds tokenizer.json, as that file says."""
    import transformers  # takes seconds

    file = folder / "tokenizer.json"
    if not file.exists() and not (folder / "tokenizer_config.json").exists():
        raise UserError(f"{folder}: no tokenizer.json; copy the tokenizer's files into the folder")
    raw = None
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), clean_up_tokenization_spaces=False)
        if file.exists():
            raw = Tokenizer.from_file(str(file))
    except Exception as error:  # `tokenizers` raises nothing more special
        reason = reason_of(error)
        raise UserError(f"{folder}: the tokenizer cannot be opened ({reason}); copy its files again") from None
    if raw is not None:
        raw.no_truncation()
        raw.no_padding()
    return tokenizer, raw


def _probes(tokenizer: Any, raw: Tokenizer | None) -> list[str]:
    """PROBES, and each added token between letters."""
    named = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    if raw is not None:
        named |= {token.content for token in raw.get_added_tokens_decoder().values()}
    return [*PROBES, *(f"a{token}b" for token in sorted(named))]


def _check_reading(folder: Path, tokenizer: Any, raw: Tokenizer, texts: Sequence[str]) -> None:
    import transformers

    def by_file(text: str) -> list[int]:
        return raw.encode(text, add_special_tokens=False).ids

    text = _shortest(texts, lambda text: _ids(tokenizer, text) != by_file(text))
    if text is not None:
        reader = f"transformers {transformers.__version__} ({type(tokenizer).__name__})"
        raise UserError(
            f"{folder}: {reader} reads {text!r} as {_ids(tokenizer, text)}, by tokenizer.json it is {by_file(text)}; "
            'write "tokenizer_class": "" into tokenizer_config.json to have the file\'s own rules'
        )


def _check_decoding(folder: Path, tokenizer: Any, texts: Sequence[str]) -> None:
    def decoded(text: str) -> str:
        return tokenizer.decode(_ids(tokenizer, text))

    # Some tokenizers read only the composed form of characters, and so give that back.
    text = _shortest(texts, lambda text: decoded(text) not in (text, unicodedata.normalize("NFC", text)))
    if text is not None:
        raise UserError(
            f"{folder}: the tokenizer gives {text!r} back as {decoded(text)!r}; write "
            '"tokenizer_class": "" into tokenizer_config.json, or use a checkpoint whose tokenizer loses nothing'
        )


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def _shortest(texts: Sequence[str], wrong: Callable[[str], bool]) -> str | None:
    """The shortest part of any of the texts that is `wrong`; None if no text is, as a whole."""
    found = [text for text in texts if wrong(text)]
    longest = max(map(len, found), default=0)
    for size in range(1, longest + 1):
        for text in found:
            for start in range(len(text) - size + 1):
                part = text[start : start + size]
                if wrong(part):
                    return part
    return None


def token_count(tokenizer: Any) -> int:
    """One more than the highest id that the tokenizer can name. Ids may have holes, so this can be more than its number
    of tokens.
    """
    return max(tokenizer.get_vocab().values()) + 1


def stop_ids(folder: Path, tokenizer: Any) -> tuple[int, ...]:
    """Ids that end a response, ascending: the tokenizer's end token and all those of generation_config.json and
    config.json.

    Raises UserError, naming file and field, for what is no id.
    """
    found = {*_named_ends(folder / "generation_config.json"), *_named_ends(folder / "config.json")}
    if tokenizer.eos_token_id is not None:
        found.add(tokenizer.eos_token_id)
    return tuple(sorted(found))


def _named_ends(path: Path) -> list[int]:
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); copy the file again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not an object; copy the file again")
    named = content.get("eos_token_id")
    if named is None:
        return []
    listed = named if isinstance(named, list) else [named]
    if not all(type(i) is int and i >= 0 for i in listed):
        raise UserError(
            f"{path}: 'eos_token_id' is {named!r}; it must be a token's id, 0 or greater, or a list of them"
        )
    return listed
