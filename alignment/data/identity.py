"""Stable names for texts: what counts as the same prompt, and a dialogue's id.

Made of the text alone, so that neither file names, order nor Python's hash seed can move them.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from typing import Literal

from alignment.records import Dialogue, Document, LabelledAnswer, Preference, Turn

Record = Document | Dialogue | Preference | LabelledAnswer


def dialogue_id(turns: Sequence[Turn], system: str | None) -> str:
    """Sixteen hexadecimal digits of SHA-256 over the exact texts and roles."""
    return _digest([system, [[turn.role, turn.content] for turn in turns]])[:16]


def prompt_key(record: Record, by: Literal["prompt", "opening"] = "prompt") -> str:
    """What must not stand both in train and held-out data: SHA-256 of the normalised prompt.

    Case, width (NFKC) and white space do not count.  A document is its own prompt.

    Args:
        by: `prompt`: the system message and every turn before the answer; `opening`: the first user turn, also that of
            the dialogue that a document was made of.
    """
    if isinstance(record, Document):
        return _digest(normalised(record.text if by == "prompt" or record.opening is None else record.opening))
    prompt = record.prompt() if isinstance(record, Dialogue) else record.prompt
    if by == "opening":
        return _digest(normalised(prompt.turns[0].content) if prompt.turns else "")
    texts = [normalised(turn.content) for turn in prompt.turns]
    return _digest([normalised(prompt.system or ""), texts])


def asked_keys(record: Record) -> list[str]:
    """What a record asks: for each user turn up to the answer, SHA-256 of the normalised turns so far.

    The last one is the prompt itself; the others are the prompts that a dialogue of several turns trains on too.  The
    system message does not count.  Of a document made of a dialogue only the opening is known, of another nothing.
    """
    if isinstance(record, Document):
        return [] if record.opening is None else [_digest(["asked", [normalised(record.opening)]])]
    prompt = record.prompt() if isinstance(record, Dialogue) else record.prompt
    texts: list[str] = []
    keys = []
    for turn in prompt.turns:
        texts.append(normalised(turn.content))
        if turn.role == "user":
            keys.append(_digest(["asked", texts]))
    return keys


def content_key(record: Record) -> str:
    """SHA-256 of everything that a record trains on: two records with one key are duplicates."""
    if isinstance(record, Document):
        return _digest(record.text)
    if isinstance(record, Dialogue):
        return _digest([record.system, [[turn.role, turn.content] for turn in record.turns]])
    prompt = [record.prompt.system, [[turn.role, turn.content] for turn in record.prompt.turns]]
    if isinstance(record, LabelledAnswer):
        return _digest(["labelled", prompt, record.answer, record.safe])
    return _digest(["pair", prompt, record.chosen, record.rejected])


def normalised(text: str) -> str:
    """A text without what does not count for being the same prompt."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def place_of(key: str) -> float:
    """Where a prompt stands in [0, 1); no seed, so that it stands on one side in every stage and run."""
    return float(int(key[:13], 16)) / 16**13  # 52 bits: exact


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=True).encode()).hexdigest()
