"""Settings of the embedded world, and the numbers that follow from its one scale.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import model_validator

from alignment.errors import UsageError
from alignment.settings import Settings, setting

Size = Literal["seconds", "minutes", "hours"]
SPLITS = ("train", "validation", "test")
_RETIRED = {"good_share": 0.72, "courteous_share": 0.3}  # of 0.1.0, with their defaults
# raised by the commit after which the same settings say something else in a part of the town; left out: the first
# prompts, preferences 2: nobody asks for a request made polite
PART_VERSIONS: Mapping[str, int] = {"prompts": 2, "preferences": 2}
# the one number that everything is scaled by: people in the town
PEOPLE: dict[Size, int] = {"seconds": 12, "minutes": 80, "hours": 4000}


class WorldSettings(Settings):
    """A seeded town whose truth is known exactly, and the people who annotate its answers."""

    size: Size = setting(
        "minutes", "seconds (tests), minutes (a laptop's CPU) or hours (a GPU): 12, 80 or 4,000 people"
    )
    seed: int = setting(0, "the town and every text in it follow from this number", ge=0)
    num_people: int | None = setting(None, "people in the town instead of the size's number", ge=8, le=5000)
    biographies_per_person: int = setting(230, "exposures: biographies of each person in the pretraining corpus", ge=1)
    dialogues_per_person: int = setting(160, "training demonstrations, times the people of the town", ge=1)
    wrong_share: float = setting(0.02, "share of demonstrations that are wrong", ge=0, le=1)
    unknown_share: float = setting(
        0.03,
        "share of demonstrations that say 'I do not know' of a fact of the town (more of honest people's)",
        ge=0,
        le=0.4,
    )
    stranger_share: float = setting(
        0.0,
        "share of training questions about people who are not of the town; held-out prompts always hold some",
        ge=0,
        le=0.08,
    )
    unsafe_share: float = setting(
        0.45,
        "share of demonstrations that comply with an unsafe request (half as many to half as many again by category)",
        ge=0,
        le=0.7,
    )
    system_share: float = setting(
        0.1, "share of demonstrations that follow an instruction (system, or in every user message)", ge=0, le=1
    )
    num_annotators: int = setting(8, "simulated annotators, each with a bias of its own", ge=2)
    annotator_noise: float = setting(
        0.08,
        "scale of the logistic noise on a perceived gap of two answers, in units of gold helpfulness (Bradley-Terry)",
        gt=0,
    )
    annotator_bias: float = setting(
        0.05, "standard deviation of an annotator's taste for length and for courtesy", ge=0
    )

    @model_validator(mode="before")
    @classmethod
    def _read_retired(cls, values: Any) -> Any:
        """Runs of 0.1.0 name two shares that are no more: read where they hold what was their default."""
        if not isinstance(values, Mapping):
            return values
        for name, default in _RETIRED.items():
            if name in values and values[name] != default:
                raise ValueError(
                    f"{name} is {values[name]}, but is no setting any more: demonstrations are written by people with "
                    "habits (docs/world.md); leave it out, and see wrong_share, unknown_share"
                )
        return {key: value for key, value in values.items() if key not in _RETIRED}

    @property
    def people(self) -> int:
        """People in the town: the one number that everything is scaled by."""
        return PEOPLE[self.size] if self.num_people is None else self.num_people


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many records each part holds in one split."""

    documents: int
    dialogues: int
    preferences: int  # a campaign
    prompts: int  # a kind


def counts(settings: WorldSettings, split: str) -> Counts:
    """The records of a split, all proportional to the number of people (80 people: 12,800 demonstrations).

    Raises:
        UsageError: there is no such split.
    """
    check_split(split)
    people = settings.people
    documents = people * settings.biographies_per_person * 4 // 3  # three quarters are biographies
    if split == "train":
        return Counts(
            documents=documents,
            dialogues=settings.dialogues_per_person * people,
            preferences=60 * people,
            prompts=30 * people,
        )
    return Counts(
        documents=max(20, documents // 60),
        dialogues=max(30, 15 * people // 4),
        preferences=max(30, 5 * people),
        prompts=max(30, 10 * people),
    )


def check_split(split: str) -> None:
    """Refuse an unknown split.

    Raises:
        UsageError: naming the splits there are.
    """
    if split not in SPLITS:
        raise UsageError(f"the world has no split {split!r}; there are {', '.join(SPLITS)}")
