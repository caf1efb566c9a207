"""Small tokenizer folders: the built-in one, and one with the markers, the BOS and a chat template after the manner of
R1.
"""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, processors

from acejax.problems.builtin_tokenizer import build_tokenizer
from acejax.problems.prompts import R1_ASSISTANT, R1_BOS, R1_USER

END = "<\uff5cend\u2581of\u2581sentence\uff5c>"
# Cuts the thinking out of what the assistant said.
FORGETFUL = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ '" + R1_USER + "' + m['content'] }}"
    "{% else %}{{ '" + R1_ASSISTANT + "' + m['content'].split('</think>')[-1] + eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '" + R1_ASSISTANT + "<think>\\n' }}{% endif %}"
)


def settings(folder: Path, **changes) -> None:
    """Changes entries of a folder's tokenizer_config.json."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def r1_folder(out: Path) -> Path:
    """The built-in vocabulary with R1's markers; encoding with special tokens puts the BOS first."""
    build_tokenizer(out)
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    tokenizer.add_special_tokens([R1_BOS, END])
    tokenizer.add_tokens([AddedToken(marker, normalized=False) for marker in (R1_USER, R1_ASSISTANT)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{R1_BOS} $A", special_tokens=[(R1_BOS, tokenizer.token_to_id(R1_BOS))]
    )
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "special_tokens_map.json").unlink()
    named = {"bos_token": R1_BOS, "eos_token": END, "pad_token": END, "chat_template": FORGETFUL}
    (out / "tokenizer_config.json").write_text(json.dumps(named | {"tokenizer_class": ""}))
    return out
