"""Multiple choice: the options go into the prompt, and the answer is the label of the right one, or its text.

Options stand in `choices` or `options` (a list of texts, of {label, text}, or {label: [...], text: [...]}; an object by
label; or a text that lists them), or in columns of their own (A, B, C, D; opa to opd; option_a to option_d).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from acejax.problems.formats.columns import ANSWER_FIELDS
from acejax.problems.formats.common import Row, listed, refuse

FIELDS = ("choices", "options")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
COLUMNS = ("{}", "option_{}", "option {}", "op{}", "choice_{}")
# Where the right option is named, beside the columns of any other answer.
RIGHT = (*ANSWER_FIELDS, "answerKey", "correct", "answer_letter", "answer_idx", "answer_index", "cop", "label")
_LABELLED = re.compile(r"\s*\(?([A-Za-z])\s?[).:]\s*(.*)", re.DOTALL)
_LABEL = re.compile(r"\(?([A-Za-z])[).:]?")
_INLINE = re.compile(r"(?:^|[\s,;])\(?([A-Za-z])\s?[).:]\s*(.+?)(?=[\s,;]+\(?[A-Za-z]\s?[).:]|$)", re.DOTALL)

Options = dict[str, str]  # by label, in their order


def options_of(row: Row) -> Options:
    """The options of a row by label; empty where it has none."""
    for field in FIELDS:
        found = _of_value(row.get(field))
        if len(found) > 1:
            return found
    return _of_columns(row)


def _of_value(value: Any) -> Options:
    value = listed(value)
    if isinstance(value, str):
        return _of_listing(value)
    if isinstance(value, Mapping):
        return _of_object(value)
    if not isinstance(value, list) or not value:
        return {}
    if all(isinstance(one, Mapping) for one in value):
        return _of_objects(value)
    if any(isinstance(one, (Mapping, list)) or one is None for one in value):
        return {}
    return _of_texts([str(one) for one in value])


def _of_listing(listing: str) -> Options:
    found = _INLINE.findall(listing)
    labels = [label.upper() for label, _ in found]
    if labels != list(LETTERS[: len(found)]):
        return {}
    return dict(zip(labels, (text.strip() for _, text in found), strict=True))


def _of_object(value: Mapping[str, Any]) -> Options:
    texts, labels = value.get("text"), value.get("label")
    if isinstance(texts, list) and isinstance(labels, list) and len(texts) == len(labels):
        return dict(zip(map(str, labels), map(str, texts), strict=True))
    held = {label: text for label, text in value.items() if text is not None}
    if all(len(label) == 1 for label in held):
        return {label.upper(): str(text) for label, text in held.items()}
    return {}


def _of_objects(values: list[Mapping[str, Any]]) -> Options:
    found = {}
    for number, one in enumerate(values[: len(LETTERS)]):
        label = one.get("label") or one.get("key") or LETTERS[number]
        text = one.get("text", one.get("content", one.get("value")))
        if text is None:
            return {}
        found[str(label)] = str(text)
    return found


def _of_texts(texts: list[str]) -> Options:
    """Texts in their order; a label that they bring themselves ("A)21") is theirs."""
    if len(texts) > len(LETTERS):
        return {}
    own = [_LABELLED.fullmatch(text) for text in texts]
    brought = [match[1].upper() for match in own if match]
    if brought == list(LETTERS[: len(texts)]):
        texts = [match[2] for match in own if match]
    return dict(zip(LETTERS, (text.strip() for text in texts), strict=False))


def _of_columns(row: Row) -> Options:
    for pattern in COLUMNS:
        found = {}
        for letter in LETTERS:
            name = pattern.format(letter if pattern == "{}" else letter.lower())
            value = row.get(name, row.get(name.upper()))
            if value is None:
                break
            found[letter] = str(value).strip()
        if len(found) > 1:
            return found
    return {}


def with_options(question: str, row: Row, options: Options) -> str:
    """The question with its options, unless it lists them already."""
    named = [re.search(rf"\b{re.escape(label)}\s?[).:}}]", question) is not None for label in options]
    if options and all(named) and all(text in question for text in options.values()):
        return question
    lines = [f"({label}) {text}" for label, text in options.items()]
    if not options:
        # A listing whose labels are unknown still belongs to the task.
        texts = [listed(row.get(field)) for field in FIELDS]
        lines = [text.strip() for text in texts if isinstance(text, str) and len(text.split()) > 1]
    return "\n".join([question.rstrip(), *lines]) if lines else question


def right_option(row: Row, options: Options, where: str) -> list[str]:
    """The accepted answers: the right option's label and text, in the order in which the row names it first; none where
    the row's answer is no option. Raises UserError where it is a label or a place that no option has.
    """
    field = next((name for name in RIGHT if row.get(name) not in (None, "", [])), "answer")
    raw = row.get(field)
    label, by_label = _label_of(raw, options)
    if label is None:
        if isinstance(raw, (int, float)) or (isinstance(raw, str) and _LABEL.fullmatch(raw.strip())):
            refuse(
                where, field, raw, f"give the label, the place from 0 or the text of an option, {', '.join(options)}"
            )
        return []
    text = options[label]
    # A text that is another option's label, or another option's text, says nothing certain.
    unsure = text in options or list(options.values()).count(text) > 1
    if by_label:
        return [label] if unsure or not text else [label, text]
    return [text, label]


def _label_of(raw: Any, options: Options) -> tuple[str | None, bool]:
    """The label of the option that `raw` names, and whether it does so by label or place."""
    if isinstance(raw, list) and len(raw) == 1:
        raw = raw[0]
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    labels = list(options)
    if isinstance(raw, int) and not isinstance(raw, bool):
        if 0 <= raw < len(labels) and str(raw) not in options:
            return labels[raw], True
        raw = str(raw)
    if not isinstance(raw, str):
        return None, False
    return _label_of_text(raw.strip(), options)


def _label_of_text(raw: str, options: Options) -> tuple[str | None, bool]:
    labels = list(options)
    if raw in options:
        return raw, True
    for label, text in options.items():
        if text == raw:
            return label, False
    short = _LABEL.fullmatch(raw)
    if short and short[1].upper() in options:
        return short[1].upper(), True
    labelled = _LABELLED.fullmatch(raw)
    if labelled and options.get(labelled[1].upper()) == labelled[2].strip():
        return labelled[1].upper(), True
    if raw.isdecimal() and int(raw) < len(labels):
        return labels[int(raw)], True
    return None, False
