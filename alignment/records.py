"""What a row of data becomes: documents, dialogues, preferences, labelled answers; and what a model answers.  No torch.

Each record remembers where it came from (`Source`), so that an error or a report can name
file and line.  `meta` holds plain JSON values that ride along (the world's task, a category).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Role = Literal["user", "assistant"]
# Llama 2 paper, 3.2.1: four answers to "how much better", the weakest first.
Grade = Literal["negligibly", "slightly", "better", "significantly"]
GRADES: tuple[Grade, ...] = ("negligibly", "slightly", "better", "significantly")
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a row stands: a file (or a world's part) and its 1-based line or row."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One message."""

    role: Role
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A text to pretrain on.

    `opening` is the first user message where the text was made of a dialogue: such a text stands on the side of the
    split on which every stage has the dialogue.
    """

    text: str
    source: Source
    meta: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    opening: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialogue:
    """Turns that alternate, the user first.

    A dialogue that ends with the assistant is a demonstration (SFT); one that ends with the
    user is a prompt.  `id` is stable across runs: randomness and journals are keyed by it.
    """

    turns: tuple[Turn, ...]
    source: Source
    id: str
    system: str | None = None
    meta: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)

    @classmethod
    def of(cls, *texts: str, system: str | None = None) -> Dialogue:
        """A dialogue of texts that alternate, the user's first: `Dialogue.of(question, answer)`.

        Its id follows from the texts.
        """
        roles: tuple[Role, Role] = ("user", "assistant")
        turns = tuple(Turn(role=roles[i % 2], content=text) for i, text in enumerate(texts))
        digest = hashlib.sha256("\0".join((system or "", *texts)).encode()).hexdigest()
        return cls(turns=turns, source=Source(file="python", line=1), id=digest[:16], system=system)

    @property
    def is_prompt(self) -> bool:
        """Whether the last turn is the user's."""
        return bool(self.turns) and self.turns[-1].role == "user"

    def prompt(self) -> Dialogue:
        """The dialogue without its last assistant turn (itself if it is a prompt already)."""
        return self if self.is_prompt else self._with(self.turns[:-1])

    def answered(self, answer: str) -> Dialogue:
        """The prompt with an assistant turn added."""
        return self._with((*self.turns, Turn(role="assistant", content=answer)))

    def _with(self, turns: tuple[Turn, ...]) -> Dialogue:
        return Dialogue(turns=turns, source=self.source, id=self.id, system=self.system, meta=self.meta)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """Two answers to one prompt, the better one named (Llama 2 paper, 3.2.1).

    `chosen_safe` / `rejected_safe` are the safety campaign's labels, None where not labelled.
    """

    prompt: Dialogue
    chosen: str
    rejected: str
    source: Source
    grade: Grade | None = None
    chosen_safe: bool | None = None
    rejected_safe: bool | None = None
    meta: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledAnswer:
    """One answer with a safety label and no partner (for the safety model's classification term)."""

    prompt: Dialogue
    answer: str
    safe: bool
    source: Source
    meta: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One answer of a model, as it was sampled; what every judge is given.

    Attributes:
        dialogue: the prompt, ending with the user.
        prompt_ids: the prompt's tokens, as the model was given them.
        token_ids: the answer's tokens as sampled (with the end token, if it ended by itself); text that is encoded
            again may give others.
        text: the tokens decoded and stripped.
        tokenizer: SHA-256 of the tokenizer that the ids belong to.
        finished: whether it ended by itself, not at the limit.
    """

    dialogue: Dialogue
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    text: str
    tokenizer: str
    finished: bool = True
