"""How records are divided: what is trained on, what a stage measures itself by, what nobody looks at before the end.

A prompt's place in [0, 1) is a hash of its text, so that every stage of a run puts it on the same side:

    [0, test)                     the evaluation and Ghost Attention's, nobody else's
    [test, test + own fraction)   this data set's stage measures itself by it; PPO chooses by it
    [.., test + validation)       set apart: another stage measures itself by it
    [test + validation, 1)        trained on
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from alignment.data.held_out import HeldOut
from alignment.data.identity import Record, place_of, prompt_key
from alignment.data.settings import DataSettings
from alignment.records import Document

Part = Literal["train", "validation", "apart", "test"]


@dataclass(frozen=True, kw_only=True)
class Split:
    """The split of a run, the same for all its stages.

    Attributes:
        test, validation: shares of the prompts.
        held_out: what the run's held-out sources hold, and what is looked for in texts.
    """

    test: float
    validation: float
    held_out: HeldOut = field(default_factory=HeldOut)

    def keeps(self, record: Record) -> bool:
        """Whether no stage trains on a record because of its prompt's place."""
        return place_of(prompt_key(record, "opening")) < self.test + self.validation

    def part(self, key: str, fraction: float, *, dialogue: bool) -> Part:
        """Where a prompt belongs.

        Args:
            fraction: the data set's own; 0 takes all of validation.
            dialogue: False for a text that was made of none: no other stage has it, so that nothing but the data set's
                own fraction of such texts is held out.
        """
        at = place_of(key)
        if at < self.test:
            return "test" if dialogue else "train"
        if at < self.test + (fraction or (self.validation if dialogue else 0.0)):
            return "validation"
        return "apart" if dialogue and at < self.test + self.validation else "train"


@dataclass(kw_only=True)
class Divided:
    """Train's records, divided.

    Attributes:
        apart: how many were left out because other stages hold them out.
        notes: sentences about what the hash alone would have left empty.
    """

    train: list[Record] = field(default_factory=list)
    validation: list[Record] = field(default_factory=list)
    test: list[Record] = field(default_factory=list)
    apart: int = 0
    notes: list[str] = field(default_factory=list)


def divide(records: Sequence[Record], settings: DataSettings, split: Split | None) -> Divided:
    """Divide the records of train's sources by their prompts' places.

    Of a handful of prompts the hash may leave a part empty; then the nearest prompt is taken for it, and there is
    always one to train on.

    Args:
        split: the run's; None divides by the data set's own fraction and `split_by`, and makes no test part.
    """
    fraction = settings.held_out_fraction
    by = settings.split_by if split is None else "opening"
    rule = split or Split(test=0.0, validation=fraction)
    keys = [prompt_key(record, by) for record in records]
    dialogues = [split is None or not isinstance(r, Document) or r.opening is not None for r in records]
    parts = {key: rule.part(key, fraction, dialogue=dialogue) for key, dialogue in zip(keys, dialogues, strict=True)}
    divided = Divided()
    named = bool(settings.held_out) and split is not None  # held-out sources of its own serve a handful as well
    wanted: list[Part] = []
    if not named and (fraction or (rule.validation and any(dialogues))):
        wanted.append("validation")
    if not named and rule.test and any(dialogues) and len(parts) > 2:
        wanted.append("test")
    _fill(parts, wanted, divided)
    into = {"train": divided.train, "validation": divided.validation, "test": divided.test}
    for record, key in zip(records, keys, strict=True):
        if parts[key] == "apart":
            divided.apart += 1
        else:
            into[parts[key]].append(record)
    return divided


def _fill(parts: dict[str, Part], wanted: Sequence[Part], divided: Divided) -> None:
    """Give every wanted part a prompt, and train one, where there are so few prompts that the hash does not."""
    order = sorted(parts)  # by place
    if len(order) < 2:
        wanted = ()
    for part in wanted:
        free = [key for key in order if parts[key] in ("apart", "train")]
        if part not in parts.values() and free:
            parts[free[0]] = part
            divided.notes.append(
                f"so few prompts ({len(order)}) that none falls into the {part} part: one was taken from training; "
                f"another stage that has the same prompt may train on it"
            )
    if order and "train" not in parts.values():
        parts[order[-1]] = "train"
        divided.notes.append(
            f"so few prompts ({len(order)}) that all are held out: one is trained on, though other stages hold it out"
        )
