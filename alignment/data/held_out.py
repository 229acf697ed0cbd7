"""What a run holds out by name, and how training records that repeat it are found, in time linear in their text.

A dialogue repeats a held-out prompt if it asks it, at whichever turn.  A document repeats a held-out row if it was made
of a dialogue with its opening, or if a whole message of the row stands in it, word for word; case, width (NFKC), white
space and line breaks do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alignment.data.identity import Record, asked_keys, normalised
from alignment.records import Dialogue, Document, Preference

# Shorter messages stand in texts by chance ("What is your name?"); answers are looked for from a paragraph on, because
# many rows share a phrase such as a refusal.
QUESTION_WORDS = 8
ANSWER_WORDS = 24


class Passages:
    """Texts that are looked for in others, by their first words.

    Args:
        shortest: words of the shortest text that is looked for.
    """

    def __init__(self, shortest: int) -> None:
        self.shortest = shortest
        self._starts: set[str] = set()
        # first words -> lengths of the texts that begin so; many instructions begin alike
        self._lengths: dict[tuple[str, ...], set[int]] = {}
        self._known: set[tuple[str, ...]] = set()

    def add(self, text: str) -> None:
        """Look for this text too, unless it is too short."""
        words = tuple(normalised(text).split())
        if len(words) >= self.shortest:
            self._known.add(words)
            self._starts.add(words[0])
            self._lengths.setdefault(words[: self.shortest], set()).add(len(words))

    def __len__(self) -> int:
        return len(self._known)

    def in_words(self, words: Sequence[str]) -> bool:
        """Whether one of the texts stands among normalised words."""
        for at, word in enumerate(words):
            if word in self._starts:
                for length in self._lengths.get(tuple(words[at : at + self.shortest]), ()):
                    if tuple(words[at : at + length]) in self._known:
                        return True
        return False


class HeldOut:
    """Held-out prompts and the messages of held-out rows."""

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self._questions = Passages(QUESTION_WORDS)
        self._answers = Passages(ANSWER_WORDS)

    def add(self, record: Record) -> None:
        """Hold a row of a held-out source: nothing trains on its prompt, no text repeats it."""
        self._asked.update(asked_keys(record)[-1:])
        self.look_for(record)

    def look_for(self, record: Record) -> None:
        """Look for a row's messages in texts alone: its prompt is kept from training by its place."""
        if isinstance(record, Document):
            return
        prompt = record.prompt() if isinstance(record, Dialogue) else record.prompt
        if prompt.turns:
            self._questions.add(prompt.turns[-1].content)
        for answer in _answers(record):
            self._answers.add(answer)

    def asked_by(self, record: Record) -> bool:
        """Whether a record asks a prompt that is held out by name."""
        return bool(self._asked) and not self._asked.isdisjoint(asked_keys(record))

    def repeated_by(self, record: Record) -> bool:
        """Whether a training record asks such a prompt, or is a text in which a held-out row stands."""
        return self.asked_by(record) or (isinstance(record, Document) and self._stands_in(record))

    def _stands_in(self, document: Document) -> bool:
        if not (self._questions or self._answers):
            return False
        words = normalised(document.text).split()
        # a text made of a dialogue stands where its opening does; an answer that it shares with another row is its own
        return self._questions.in_words(words) or (document.opening is None and self._answers.in_words(words))


def _answers(record: Record) -> Iterator[str]:
    if isinstance(record, Dialogue):
        yield from (turn.content for turn in record.turns[-1:] if turn.role == "assistant")
    elif isinstance(record, Preference):
        yield from (record.chosen, record.rejected)
    elif not isinstance(record, Document):
        yield record.answer
