"""What a whole run keeps from training: its split, and what its sections hold out by name.  No torch, no pydantic.

Every stage that reads files is handed the same, so that what one stage measures itself by no other stage trains on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignment.data.record_types import RecordType
    from alignment.data.settings import DataSettings
    from alignment.data.split import Split


@dataclass(frozen=True, kw_only=True)
class Section:
    """A data set of the recipe.

    Attributes:
        key: of its settings ("sft.data", "rlhf.prompts").
        settings: its sources.
        records: what its rows become.
    """

    key: str
    settings: DataSettings
    records: RecordType[Any]

    @property
    def reads_files(self) -> bool:
        """Whether a source is a file or a hub data set: the town's records and other stages' are split already."""
        return any(source.path or source.hub for source in self.settings.sources)

    @property
    def names_held_out(self) -> bool:
        """Whether it holds out files by name."""
        return any(source.path or source.hub for source in self.settings.held_out)


@dataclass(frozen=True, kw_only=True)
class Apart:
    """What a stage is handed of the whole run.

    Attributes:
        test, validation: shares of the prompts; 0 where the recipe holds nothing out.
        named: sections with held-out sources of their own.
        searched: sections whose held-out rows are looked for in the stage's texts.
        unsearched: whether the recipe says that none are looked for there.
        compares: whether the stage reads comparisons of files: some were kept in 0.1.0 that are set aside now.
    """

    test: float
    validation: float
    named: tuple[Section, ...] = ()
    searched: tuple[Section, ...] = ()
    unsearched: bool = False
    compares: bool = False

    def __bool__(self) -> bool:
        return bool(self.test or self.validation or self.named or self.compares)

    def reads(self) -> Mapping[str, Any]:
        """What of it a stage's result rests on."""
        found: dict[str, Any] = {}
        if self.test or self.validation:
            found |= {"split.test": self.test, "split.validation": self.validation}
        for section in self.named:
            found[f"{section.key}.held_out"] = section.settings.held_out
        for section in self.searched:
            found[section.key] = section.settings
        if self.unsearched:
            found["split.search_texts"] = False
        return found

    def open(self, seed: int) -> Split:
        """Read what is held out by name.

        Raises:
            DataError: a held-out source cannot be read.
        """
        from alignment.data.held_out_sources import read_held_out
        from alignment.data.split import Split

        bare = Split(test=self.test, validation=self.validation)
        named, searched = ([(s.records, s.settings) for s in sections] for sections in (self.named, self.searched))
        held_out = read_held_out(named, searched, bare, seed=seed)
        return Split(test=self.test, validation=self.validation, held_out=held_out)
