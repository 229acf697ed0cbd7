"""The Llama-2 chat format, rendered token by token with the loss mask beside it (Meta's reference code).

    <s>[INST] <<SYS>>\\nSYSTEM\\n<</SYS>>\\n\\nUSER [/INST] ANSWER </s><s>[INST] USER [/INST] …

Every exchange is one string with BOS before and EOS after; the markers are ordinary text.  A prompt's
tokens are a prefix of its answered dialogue's tokens, by construction: nothing is rendered twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from alignment.errors import DataError
from alignment.records import Dialogue

FORMAT_VERSION = 1
INST, END_INST = "[INST]", "[/INST]"
SYS, END_SYS = "<<SYS>>\n", "\n<</SYS>>\n\n"
MARKERS = ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>", "<unk>")  # refused inside messages

# the same format for transformers' `apply_chat_template`
CHAT_TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}{% set rest = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
    "{% for message in rest %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant, the user first') }}{% endif %}"
    "{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + ((system if loop.index0 == 0 else '') + message['content']).strip() + ' [/INST]' }}"
    "{% else %}{% generation %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endgeneration %}{% endif %}"
    "{% endfor %}"
)


class Encoder(Protocol):
    """What rendering needs of a tokenizer."""

    @property
    def bos_id(self) -> int: ...

    @property
    def eos_id(self) -> int: ...

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> list[int]: ...

    def normalise(self, text: str) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A dialogue's tokens.

    Attributes:
        token_ids: [T].
        trained: [T], whether the token carries loss (an answer's tokens and its EOS).
        turn_ends: after how many tokens each exchange ends (its EOS included), for splitting.
    """

    token_ids: list[int]
    trained: list[bool]
    turn_ends: list[int]


def render_dialogue(dialogue: Dialogue, tokenizer: Encoder, *, train: Literal["all", "last"] = "all") -> Rendered:
    """Tokens and loss mask of a dialogue that ends with an answer.

    Args:
        train: loss on every answer (SFT), or on the last one only (Ghost Attention).

    Raises:
        DataError: roles do not alternate, the last turn is the user's, or a message holds a marker.
    """
    check_dialogue(dialogue, tokenizer)
    if dialogue.is_prompt:
        raise DataError(f"{dialogue.source}: the dialogue ends with the user; an answer is needed to train on")
    ids: list[int] = []
    trained: list[bool] = []
    ends: list[int] = []
    for i in range(0, len(dialogue.turns), 2):
        prompt = _prompt_ids(dialogue, i, tokenizer)
        answer = answer_ids(dialogue.turns[i + 1].content, tokenizer)
        learn = train == "all" or i + 2 == len(dialogue.turns)
        ids += prompt + answer
        trained += [False] * len(prompt) + [learn] * len(answer)
        ends.append(len(ids))
    return Rendered(token_ids=ids, trained=trained, turn_ends=ends)


def render_prompt(dialogue: Dialogue, tokenizer: Encoder) -> list[int]:
    """Tokens of a dialogue that ends with the user, ready for the answer.

    Raises:
        DataError: roles do not alternate, the last turn is the assistant's, or a message holds a marker.
    """
    check_dialogue(dialogue, tokenizer)
    if not dialogue.is_prompt:
        raise DataError(f"{dialogue.source}: the dialogue ends with the assistant; a prompt ends with the user")
    ids: list[int] = []
    for i in range(0, len(dialogue.turns), 2):
        ids += _prompt_ids(dialogue, i, tokenizer)
        if i + 1 < len(dialogue.turns):
            ids += answer_ids(dialogue.turns[i + 1].content, tokenizer)
    return ids


def answer_ids(answer: str, tokenizer: Encoder, where: str = "an answer") -> list[int]:
    """Tokens of one answer with its EOS.

    The text before it ends in "]", and no piece crosses into a space, so encoding the answer alone (its
    dummy prefix is the space) gives the tokens that encoding the whole exchange gives.

    Args:
        where: how an error names the answer.

    Raises:
        DataError: it holds a marker.
    """
    _require_no_marker(answer, tokenizer, where)
    return [*tokenizer.encode(answer.strip() + " "), tokenizer.eos_id]


def dialogue_text(dialogue: Dialogue) -> str:
    """The dialogue as text in the chat format, for training a tokenizer (BOS and EOS left out)."""
    parts = []
    for i, turn in enumerate(dialogue.turns):
        text = turn.content
        if i == 0 and dialogue.system:
            text = SYS + dialogue.system + END_SYS + text
        parts.append(f"{INST} {text.strip()} {END_INST}" if turn.role == "user" else f" {turn.content.strip()} ")
    return "".join(parts)


def marker_in(text: str, tokenizer: Encoder | None = None) -> str | None:
    """A marker that a text holds, or None.

    Args:
        tokenizer: the one that will cut the text: some rewrite it first (the NFKC rule makes "[INST]" of the
            full-width "［INST］"), so the rewritten text is looked at too, for the markers rewritten alike.
    """
    plain = next((marker for marker in MARKERS if marker in text), None)
    if plain is not None or tokenizer is None:
        return plain
    rewritten = tokenizer.normalise(text)
    if rewritten is text:
        return None
    return next(
        (marker for marker in MARKERS if (tokenizer.normalise(marker).strip("▁ ") or marker) in rewritten), None
    )


def check_dialogue(dialogue: Dialogue, tokenizer: Encoder | None = None) -> None:
    """Refuse what the format cannot say.

    Args:
        tokenizer: the one that will cut the texts (`marker_in`).

    Raises:
        DataError: naming the row and the turn.
    """
    if not dialogue.turns:
        raise DataError(f"{dialogue.source}: the dialogue has no turns")
    for i, turn in enumerate(dialogue.turns):
        expected = "user" if i % 2 == 0 else "assistant"
        if turn.role != expected:
            raise DataError(f"{dialogue.source}: turn {i + 1} is the {turn.role}'s; roles alternate, the user first")
    texts = [dialogue.system or "", *(turn.content for turn in dialogue.turns)]
    for i, text in enumerate(texts):
        _require_no_marker(text, tokenizer, f"{dialogue.source}: {f'turn {i}' if i else 'the system message'}")


def _require_no_marker(text: str, tokenizer: Encoder | None, where: str) -> None:
    if (marker := marker_in(text, tokenizer)) is not None:
        how = "" if marker in text else ", once the tokenizer has normalised the text"
        raise DataError(f"{where} holds {marker!r}, a marker of the chat format{how}")


def _prompt_ids(dialogue: Dialogue, turn: int, tokenizer: Encoder) -> list[int]:
    text = dialogue.turns[turn].content
    if turn == 0 and dialogue.system:
        text = SYS + dialogue.system + END_SYS + text
    return tokenizer.encode(f"{INST} {text.strip()} {END_INST}", bos=True)
