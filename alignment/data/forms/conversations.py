"""Rows into documents and dialogues: Alpaca, question and answer, ShareGPT, messages, any list of turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from alignment.data.forms.columns import MISSING, Reading, RowFault, check_message, look_up
from alignment.data.identity import dialogue_id
from alignment.data.rows.json_lines import RawRow
from alignment.data.rows.strict_json import name_of
from alignment.records import Dialogue, Document, Role, Source, Turn

USUAL_ROLES = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "system": "system",
}
# form -> (field of the list of turns, then a turn's role and content)
TURN_FIELDS = {
    "sharegpt": ("conversations", "from", "value"),
    "messages": ("messages", "role", "content"),
    "turns": ("turns", "role", "content"),
}
Said = tuple[str, str]  # role (user, assistant or system) and content


def read_document(row: RawRow, reading: Reading) -> list[Document]:
    """A text to pretrain on."""
    text = reading.text(row.value, "text")
    return [Document(text=text, source=row.source, meta=reading.meta(row.value))]


def read_alpaca(row: RawRow, reading: Reading) -> list[Dialogue]:
    """`instruction`, `input` (may be empty), `output`; `history` of [user, assistant] pairs and `system`."""
    said = [*prompt_turns(row.value, reading), ("assistant", reading.message(row.value, "output"))]
    return [build_dialogue(said, row, reading)]


def read_question_answer(row: RawRow, reading: Reading) -> list[Dialogue]:
    """`question` and `answer`, `system` where there is one."""
    said = [
        ("user", reading.message(row.value, "question")),
        ("assistant", reading.message(row.value, "answer")),
    ]
    return [build_dialogue([*system_turn(row.value, reading), *said], row, reading)]


def read_prompt(row: RawRow, reading: Reading) -> list[Dialogue]:
    """A prompt without an answer: `prompt`, with `input`, `history` and `system` where there are."""
    return [build_dialogue(prompt_turns(row.value, reading, field="prompt"), row, reading)]


def read_turns(row: RawRow, reading: Reading, form: str) -> list[Dialogue]:
    """A list of turns, each with a role and a content; `system` beside it where there is one."""
    field, role, content = TURN_FIELDS[form]
    turns = listed_turns(reading.required(row.value, field), reading, role=role, content=content, name=field)
    return [build_dialogue([*system_turn(row.value, reading), *turns], row, reading)]


def system_turn(value: Mapping[str, Any], reading: Reading) -> list[Said]:
    """The `system` field as a turn, none where it is missing or empty."""
    system = reading.optional_message(value, "system")
    return [("system", system)] if system is not None else []


def prompt_turns(value: Mapping[str, Any], reading: Reading, field: str = "instruction") -> list[Said]:
    """System, history and the last user turn of a row in Alpaca's manner.

    The input stands under the instruction after a blank line.
    """
    text = reading.message(value, field)
    extra = reading.optional_message(value, "input")
    if extra is not None and extra.strip().casefold() not in {word.casefold() for word in reading.settings.no_input}:
        text = f"{text}\n\n{extra}"
    said = system_turn(value, reading)
    history = reading.value(value, "history")
    if history is not MISSING and history is not None:
        if not isinstance(history, (list, tuple)):
            raise RowFault("a field is of the wrong type", f"history is {name_of(history)}, a list was expected")
        for number, pair in enumerate(history, start=1):
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise RowFault("a field is of the wrong type", f"history {number} is not a pair [user, assistant]")
            said.append(("user", check_message(pair[0], f"history {number}, user")))
            said.append(("assistant", check_message(pair[1], f"history {number}, assistant")))
    return [*said, ("user", text)]


def listed_turns(value: Any, reading: Reading, *, role: str, content: str, name: str) -> list[Said]:
    """The turns of a list of objects, roles brought to user, assistant and system."""
    if not isinstance(value, (list, tuple)):
        raise RowFault("a field is of the wrong type", f"{name} is {name_of(value)}, a list of turns was expected")
    if not value:
        raise RowFault("a dialogue without turns", name)
    role_column = reading.settings.columns.get("role", role)
    content_column = reading.settings.columns.get("content", content)
    roles = {**USUAL_ROLES, **{key.lower(): to for key, to in reading.settings.roles.items()}}
    said = []
    for number, turn in enumerate(value, start=1):
        where = f"turn {number}"
        if not isinstance(turn, Mapping):
            raise RowFault("a field is of the wrong type", f"{where} is {name_of(turn)}, an object was expected")
        for field, column in (("role", role_column), ("content", content_column)):
            if reading.turn_value(turn, field, column) in (MISSING, None):
                raise RowFault("a missing field", f"{column} of {where}")
        who = look_up(turn, role_column)
        if not isinstance(who, str) or who.lower() not in roles:
            raise RowFault("an unknown role", f"{who!r} of {where}; say by roles: whose it is")
        said.append((roles[who.lower()], check_message(_joined(look_up(turn, content_column), where), where)))
    return said


def _joined(content: Any, where: str) -> Any:
    """OpenAI's content parts as one text; everything else as it is."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise RowFault("a message part that is not text", where)
        texts.append(part["text"])
    return "\n".join(texts)


def build_dialogue(said: Sequence[Said], row: RawRow, reading: Reading) -> Dialogue:
    """Turns in the order that the chat format asks for, or the reason why they are not.

    A system message only at the beginning and only one, then user and assistant in turn, the user first.
    """
    system: str | None = None
    turns: list[Turn] = []
    for role, content in said:
        if role == "system":
            if system is not None:
                raise RowFault("two system turns")
            if turns:
                raise RowFault("a system turn inside the dialogue", f"after {len(turns)} turns")
            system = content
        elif turns and turns[-1].role == role:
            if not reading.settings.merge_consecutive:
                raise RowFault(f"two {role} turns in a row", f"turns {len(turns)} and {len(turns) + 1}")
            turns[-1] = Turn(role=turns[-1].role, content=f"{turns[-1].content}\n{content}")
            reading.notes["turns merged"] += 1
        elif not turns and role == "assistant":
            raise RowFault("the dialogue begins with the assistant")
        else:
            turns.append(Turn(role=cast(Role, role), content=content))
    if not turns:
        raise RowFault("a dialogue without turns")
    return new_dialogue(turns, row.source, system=system, meta=reading.meta(row.value))


def new_dialogue(
    turns: Sequence[Turn], source: Source, *, system: str | None, meta: Mapping[str, Any] | None = None
) -> Dialogue:
    """A dialogue whose id is made of its text."""
    return Dialogue(
        turns=tuple(turns), source=source, id=dialogue_id(turns, system), system=system, meta=dict(meta or {})
    )
