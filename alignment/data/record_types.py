"""The record types as values: what a data set's rows become, and what a stage asks for.  No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from alignment.records import Dialogue, Document, LabelledAnswer, Preference

if TYPE_CHECKING:
    from alignment.data.forms.readers import Kind

R = TypeVar("R")


@dataclass(frozen=True)
class RecordType(Generic[R]):
    """One type of record; its name is what reports and errors say ("documents")."""

    name: Kind


DOCUMENTS: RecordType[Document] = RecordType("documents")
DIALOGUES: RecordType[Dialogue] = RecordType("dialogues")
PREFERENCES: RecordType[Preference | LabelledAnswer] = RecordType("preferences")
PROMPTS: RecordType[Dialogue] = RecordType("prompts")
