"""What the columns of a row are called, and the text of its question.

Data sets spell their columns in many ways (`Problem`, `Final Answer`); a row without a question or an answer under a
known name has them under one that differs in case only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from acejax.problems.formats.common import Record, Row, refuse

QUESTION_FIELDS = ("problem", "question")
# Looked at in this order where there is none of those.
OTHER_QUESTION_FIELDS = ("prompt", "query", "question_stem", "instruction")
CHAT_FIELDS = ("messages", "conversations")
ANSWER_FIELDS = (
    "answer",
    "expected_answer",
    "final_answer",
    "golden",
    "golden_answer",
    "golden_answers",
    "gold",
    "gold_answer",
    "reference_answer",
    "correct_answer",
    "ground_truth",
    "answers",
    "final_ans",
    "gt_answer",
    "gt",
    "ans",
    "target",
)
# What the question is about stands before it, and belongs to the prompt: ASDiv, SVAMP, DROP, TabMWP.
BEFORE_QUESTION = ("body", "context", "passage", "table", "background")
INPUT_OF_INSTRUCTION = "input"
USERS = ("user", "human")
ASSISTANTS = ("assistant", "gpt")

QUESTIONS = {*QUESTION_FIELDS, *OTHER_QUESTION_FIELDS, *CHAT_FIELDS}
ANSWERS = {*ANSWER_FIELDS, "solution", "tests"}
OTHERS = {*BEFORE_QUESTION, "id", "choices", "options"}


def spelled(row: Row) -> Record:
    """The row with the columns that it seems to lack, a question or an answer, under their lower-case names."""
    missing: set[str] = set()
    if not any(name in row for name in ANSWERS):
        missing |= ANSWERS
    if not any(name in row for name in QUESTIONS):
        missing |= ANSWERS | QUESTIONS | OTHERS
    found: Record = {}
    for name, value in row.items():
        plain = name.strip().lower().replace(" ", "_")
        known = plain in missing and plain not in row
        found[plain if known else name] = value
    return found


def is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())


def question(row: Row, where: str, *fields: str) -> str:
    """The text of the first of the fields that holds one. Raises UserError where none does."""
    for field in fields:
        if is_text(row.get(field)):
            return row[field]
    named = " or ".join(f"'{field}'" for field in fields)
    first = next((field for field in fields if field in row), fields[0])
    instead = "" if "prompt" in row else " (or 'prompt')"
    todo = f"no question found: give field {named}{instead} a text; the row has {', '.join(row)}"
    refuse(where, first, row.get(first), todo)


def whole_question(row: Row, where: str) -> str:
    """The question of a row whose format is not known, with what stands before it, from a text or from a chat. Raises
    UserError where there is none.
    """
    text = _plain_question(row)
    if text is None:
        text = _chat_question(row, where)
    if text is None:
        return question(row, where, *QUESTION_FIELDS)
    before = [row[field].strip() for field in BEFORE_QUESTION if is_text(row.get(field))]
    # A question that repeats its story needs it only once.
    parts = [part for part in before if part not in text]
    return "\n\n".join([*parts, text])


def question_parts(row: Row) -> tuple[str, ...]:
    """The columns that `whole_question` puts into its text."""
    used = [field for field in BEFORE_QUESTION if is_text(row.get(field))]
    asked = _asked_in(row)
    if asked is not None:
        used.append(asked)
    if asked == "instruction":
        used.append(INPUT_OF_INSTRUCTION)
    return tuple(used)


def _asked_in(row: Row) -> str | None:
    return next((field for field in (*QUESTION_FIELDS, *OTHER_QUESTION_FIELDS) if is_text(row.get(field))), None)


def _plain_question(row: Row) -> str | None:
    asked = _asked_in(row)
    if asked is None:
        return None
    given = row.get(INPUT_OF_INSTRUCTION)
    if asked == "instruction" and is_text(given):
        return f"{row[asked]}\n\n{given}"
    return row[asked]


def _chat_question(row: Row, where: str) -> str | None:
    for field in ("prompt", *CHAT_FIELDS):
        if row.get(field):
            # A conversation may hold the solution too, which a prompt must not.
            return users_text(row[field], where, field, solved=field != "prompt")
    return None


def users_text(chat: Any, where: str, field: str, solved: bool = False) -> str:
    """What the one user's turn of a chat says, after a system message at most; `solved`: an assistant's turn may
    follow. Raises UserError for any other chat.
    """
    if isinstance(chat, str):
        return chat
    turns = []
    if isinstance(chat, list):
        turns = [turn for turn in chat if not (isinstance(turn, Mapping) and _role(turn) == "system")]
    if solved and len(turns) > 1 and isinstance(turns[-1], Mapping) and _role(turns[-1]) in ASSISTANTS:
        turns = turns[:-1]
    words = None
    if len(turns) == 1 and isinstance(turns[0], Mapping) and _role(turns[0]) in USERS:
        words = _words(turns[0])
    if words is None:
        refuse(where, field, chat, "give one message of the user, after a system message at most")
    return words


def is_chat(value: Any) -> bool:
    """Whether a value is a list of turns."""
    return isinstance(value, list) and bool(value) and all(isinstance(turn, Mapping) and _role(turn) for turn in value)


def _role(turn: Row) -> Any:
    return turn.get("role") or turn.get("from")


def _words(turn: Row) -> str | None:
    """A turn's text, which may stand in parts; None where a part is no text."""
    content = turn.get("content")
    if content is None:
        content = turn.get("value")
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        return None
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, Mapping) else None
        if not isinstance(text, str):
            return None
        texts.append(text)
    return "\n".join(texts)
