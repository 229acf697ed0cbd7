"""The embedded world: one seed gives a town, its texts, dialogues, preferences, prompts and its gold judge.

Every record depends only on (seed, part, split, index), so the same bytes come in any process, in any
order and from any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alignment.constraint import Constraint
from alignment.errors import UsageError
from alignment.randomness import named_generator
from alignment.records import Dialogue, Document, Preference, Source, Turn
from alignment.world.ask.answers import answer, qualities
from alignment.world.ask.catalogue import Contents, Question, build_contents
from alignment.world.ask.demonstrators import demonstrate
from alignment.world.ask.tasks import STRANGERS_HELD_OUT, helpfulness_question, safety_question
from alignment.world.instructions import follow, world_constraints
from alignment.world.judge.annotators import Annotators
from alignment.world.remembered import Remembered
from alignment.world.settings import WorldSettings, counts
from alignment.world.town.documents import document
from alignment.world.town.town import build_town, pick

if TYPE_CHECKING:
    from alignment.world.judge.gold import GoldJudge

Campaign = Literal["helpfulness", "safety"]

_SAFETY_SHARE = 0.18  # of the demonstrations
# synthetic pairs: the share of answers written as demonstrations are, but as often wrong as a model's are
_AS_DEMONSTRATED, _WRONG, _UNKNOWN = 0.75, 0.25, 0.1


class World:
    """A town and everything that is made from it.

    Attributes:
        settings: what it was made from.
        town: what is true.
        name: "world:minutes/0", the head of every record's source.
    """

    def __init__(self, settings: WorldSettings) -> None:
        self.settings = settings
        self.town = build_town(settings)
        size = settings.size if settings.num_people is None else str(settings.num_people)
        self.name = f"world:{size}/{settings.seed}"
        self._contents = build_contents(self.town)
        # two candidates and what the annotators say of them cost most of all parts, and every stage reads some
        self._compared: dict[tuple[Campaign, str], Remembered[Preference]] = {}
        self._as_models = settings.model_copy(update={"wrong_share": _WRONG, "unknown_share": _UNKNOWN})

    def judge(self) -> GoldJudge:
        """The judge that knows the truth: for reports, never for training."""
        from alignment.world.judge.gold import GoldJudge

        return GoldJudge(self.town)

    def annotators(self) -> Annotators:
        """The people who compare answers, each with a bias."""
        return Annotators(self.settings, self.town)

    def documents(self, split: str = "train") -> Iterator[Document]:
        """Texts to pretrain on.

        Raises:
            UsageError: there is no such split (also of the other parts).
        """
        number = counts(self.settings, split).documents
        return (self._document(split, i) for i in range(number))

    def dialogues(self, split: str = "train", *, instructed: bool = False) -> Iterator[Dialogue]:
        """Demonstrations by people with habits; `meta` names who wrote one (`by`) and what `shows` in it.

        Args:
            instructed: only those that keep an instruction ("Always end your answer with ..."), which no prompt gives.
        """
        number = counts(self.settings, split).dialogues
        every = (self._demonstration(split, i) for i in range(number))
        return (each for each in every if "constraint" in each.meta) if instructed else every

    def prompts(self, campaign: Campaign, split: str = "train", *, count: int | None = None) -> Iterator[Dialogue]:
        """Prompts without answers, no text twice; fewer than planned where the town has no more to ask.

        Args:
            count: how many instead of the split's own number; the first ones are the same.
        """
        self._check_campaign(campaign)
        number = counts(self.settings, split).prompts
        return self._distinct_prompts(campaign, split, number if count is None else count)

    def preferences(self, campaign: Campaign, split: str = "train") -> Iterator[Preference]:
        """Pairs of different answers, compared by one of the annotators each."""
        self._check_campaign(campaign)
        number = counts(self.settings, split).preferences
        if (campaign, split) not in self._compared:
            annotators = self.annotators()
            pairs = (self._preference(campaign, split, i, annotators) for i in range(number))
            self._compared[campaign, split] = Remembered(pairs)
        return iter(self._compared[campaign, split])

    def constraints(self, split: str = "train") -> Iterator[Constraint]:
        """Instructions for Ghost Attention; those of validation and test use words that training does not."""
        return world_constraints(split)

    def _check_campaign(self, campaign: str) -> None:
        if campaign not in ("helpfulness", "safety"):
            raise UsageError(f"the world has no campaign {campaign!r}; there are helpfulness, safety")

    def _document(self, split: str, index: int) -> Document:
        kind, text = document(self.town, split, index)
        return Document(text=text, source=self._source("documents", split, index), meta={"kind": kind, "split": split})

    def _source(self, part: str, split: str, index: int) -> Source:
        return Source(file=f"{self.name}/{part}.{split}", line=index + 1)

    def _question(
        self, kind: str, split: str, draw: np.random.Generator, *, strangers: float, demonstrated: bool = False
    ) -> Question:
        contents: Contents = self._contents[split]
        if kind == "safety":
            return safety_question(self.town, contents, draw)
        return helpfulness_question(self.town, contents, draw, strangers=strangers, demonstrated=demonstrated)

    def _prompt(self, question: Question, part: str, split: str, index: int, **more: Any) -> Dialogue:
        meta = {"task": question.task, "split": split, "truth": question.truth, **question.about, **more}
        source = self._source(part, split, index)
        return Dialogue(turns=question.turns, source=source, id=f"{source.file}:{source.line}", meta=meta)

    def _demonstration(self, split: str, index: int) -> Dialogue:
        draw = named_generator(self.settings.seed, "world", "dialogues", split, index)
        kind = "safety" if draw.random() < _SAFETY_SHARE else "helpfulness"
        question = self._question(kind, split, draw, strangers=self.settings.stranger_share, demonstrated=True)
        shown = demonstrate(question.truth, self.town, self.settings, draw)
        said = shown.text
        prompt = self._prompt(question, "dialogues", split, index, by=shown.by, shows=list(shown.shows))
        if question.task != "unsafe" and draw.random() < self.settings.system_share:
            constraint = pick(list(world_constraints(split)), draw)
            said = follow(constraint, said)
            meta = {**prompt.meta, "constraint": constraint.to_json()}
            wording = constraint.short if draw.random() < 0.5 else constraint.instruction
            if len(prompt.turns) == 1 and draw.random() < 0.5:
                prompt = replace(prompt, system=wording, meta=meta)
            else:
                # said by the user before every message, as Ghost Attention's synthesis says it
                prompt = replace(prompt, turns=_instructed(prompt.turns, constraint, wording), meta=meta)
        return prompt.answered(said)

    def _distinct_prompts(self, campaign: Campaign, split: str, number: int) -> Iterator[Dialogue]:
        seen: set[str] = set()
        part = f"prompts-{campaign}"
        found = 0
        strangers = self.settings.stranger_share if split == "train" else STRANGERS_HELD_OUT
        for attempt in range(8 * number):
            if found == number:
                return
            draw = named_generator(self.settings.seed, "world", part, split, attempt)
            question = self._question(campaign, split, draw, strangers=strangers)
            text = "\n".join(turn.content for turn in question.turns)
            if text not in seen:
                seen.add(text)
                yield self._prompt(question, part, split, found, campaign=campaign)
                found += 1

    def _preference(self, campaign: Campaign, split: str, index: int, annotators: Annotators) -> Preference:
        part = f"preferences-{campaign}"
        draw = named_generator(self.settings.seed, "world", part, split, index)
        while True:
            question = self._question(campaign, split, draw, strangers=self.settings.stranger_share)
            prompt = self._prompt(question, part, split, index, campaign=campaign)
            first, second = (self._candidate(question, draw) for _ in range(2))
            if first == second:
                continue
            found = annotators.compare(prompt, first, second, campaign, pick(annotators.names, draw), draw)
            if found is not None:
                return found

    def _candidate(self, question: Question, draw: np.random.Generator) -> str:
        """One answer of a synthetic pair."""
        if draw.random() < _AS_DEMONSTRATED:
            return demonstrate(question.truth, self.town, self._as_models, draw).text
        return answer(question.truth, pick(qualities(question.truth), draw), self.town, draw)


@lru_cache(maxsize=1)
def open_world(settings: WorldSettings) -> World:
    """The world of these settings; the stages of a run have the same one, with what was made of it before."""
    return World(settings)


def _instructed(turns: tuple[Turn, ...], constraint: Constraint, wording: str) -> tuple[Turn, ...]:
    """The turns with the instruction before every user message, each answer following it."""
    wording = wording if wording.endswith(".") else f"{wording}."
    return tuple(
        Turn(role="user", content=f"{wording} {turn.content}")
        if turn.role == "user"
        else Turn(role="assistant", content=follow(constraint, turn.content))
        for turn in turns
    )
