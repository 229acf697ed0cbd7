"""The embedded world: one seed gives a town, its texts, dialogues, preferences, prompts and its gold judge.

Every record depends only on (seed, part, split, index), so the same bytes come in any process, in any
order and from any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from alignment.constraint import Constraint
from alignment.errors import UsageError
from alignment.randomness import named_generator
from alignment.records import Dialogue, Document, Preference, Source, Turn
from alignment.world.ask import ask_facts, ask_safety, ask_skills
from alignment.world.ask.answers import GOOD, answer, qualities
from alignment.world.ask.catalogue import Contents, Question, build_contents
from alignment.world.instructions import follow, world_constraints
from alignment.world.judge.annotators import Annotators
from alignment.world.judge.gold import GoldJudge
from alignment.world.settings import WorldSettings, counts
from alignment.world.town.documents import document
from alignment.world.town.town import build_town, pick

Campaign = Literal["helpfulness", "safety"]

# task -> weight among helpfulness prompts
_TASKS: dict[str, tuple[Any, float]] = {
    "person_fact": (ask_facts.person_fact, 0.26),
    "one_word": (ask_facts.one_word, 0.06),
    "two_facts": (ask_facts.two_facts, 0.10),
    "about_person": (ask_facts.about_person, 0.10),
    "follow_up": (ask_facts.follow_up, 0.10),
    "follow_other": (ask_facts.follow_other, 0.05),
    "shop_fact": (ask_facts.shop_fact, 0.07),
    "price": (ask_facts.price, 0.04),
    "cost": (ask_skills.cost, 0.03),
    "sum": (ask_skills.total, 0.06),
    "sold": (ask_skills.sold, 0.03),
    "list": (ask_skills.listing, 0.03),
    "polite": (ask_skills.polite, 0.02),
    "past": (ask_skills.past, 0.02),
    "order": (ask_skills.order, 0.02),
    "talk": (ask_skills.talk, 0.04),
}
_NAMES = tuple(_TASKS)
_WEIGHTS = np.array([weight for _, weight in _TASKS.values()]) / sum(weight for _, weight in _TASKS.values())
# compliance is not equally common in the categories' demonstrations: in the last two it is the rule
_COMPLIANCE = {"door_code": 0.5, "locked_shop": 0.7, "insult": 1.3, "theft": 1.5}
_SAFETY_SHARE = {"dialogues": 0.18, "unsafe": 0.65}


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
        self._judge = GoldJudge(self.town)

    def judge(self) -> GoldJudge:
        """The judge that knows the truth."""
        return self._judge

    def annotators(self) -> Annotators:
        """The people who compare answers, each with a bias."""
        return Annotators(self.settings, self._judge)

    def documents(self, split: str = "train") -> Iterator[Document]:
        """Texts to pretrain on.

        Raises:
            UsageError: there is no such split (also of the other parts).
        """
        number = counts(self.settings, split).documents
        return (self._document(split, i) for i in range(number))

    def dialogues(self, split: str = "train") -> Iterator[Dialogue]:
        """Demonstrations of mixed quality; `meta["quality"]` says which."""
        number = counts(self.settings, split).dialogues
        return (self._demonstration(split, i) for i in range(number))

    def prompts(self, campaign: Campaign, split: str = "train") -> Iterator[Dialogue]:
        """Prompts without answers, no text twice; fewer than planned where the town has no more to ask."""
        self._check_campaign(campaign)
        number = counts(self.settings, split).prompts
        return self._distinct_prompts(campaign, split, number)

    def preferences(self, campaign: Campaign, split: str = "train") -> Iterator[Preference]:
        """Pairs of answers of different quality, compared by one of the annotators each."""
        self._check_campaign(campaign)
        number = counts(self.settings, split).preferences
        annotators = self.annotators()
        return (self._preference(campaign, split, i, annotators) for i in range(number))

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

    def _question(self, kind: str, split: str, draw: np.random.Generator) -> Question:
        contents: Contents = self._contents[split]
        if kind == "safety":
            ask = ask_safety.unsafe if draw.random() < _SAFETY_SHARE["unsafe"] else ask_safety.borderline
            return ask(self.town, contents, draw)
        ask_one = _TASKS[_NAMES[int(draw.choice(len(_NAMES), p=_WEIGHTS))]][0]
        question: Question = ask_one(self.town, contents, draw)
        if draw.random() < 0.05 and len(question.turns) == 1:
            # small talk before the question: more dialogues of several turns
            hello = (Turn(role="user", content="Hello!"), Turn(role="assistant", content="Hello! How can I help you?"))
            question = replace(question, turns=(*hello, *question.turns))
        return question

    def _prompt(self, question: Question, part: str, split: str, index: int, **more: Any) -> Dialogue:
        meta = {"task": question.task, "split": split, "truth": question.truth, **question.about, **more}
        source = self._source(part, split, index)
        return Dialogue(turns=question.turns, source=source, id=f"{source.file}:{source.line}", meta=meta)

    def _demonstration(self, split: str, index: int) -> Dialogue:
        draw = named_generator(self.settings.seed, "world", "dialogues", split, index)
        kind = "safety" if draw.random() < _SAFETY_SHARE["dialogues"] else "helpfulness"
        question = self._question(kind, split, draw)
        quality = self._quality(question, draw)
        said = answer(question.truth, quality, self.town, draw)
        prompt = self._prompt(question, "dialogues", split, index, quality=quality)
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

    def _quality(self, question: Question, draw: np.random.Generator) -> str:
        known = qualities(question.truth)
        if question.task == "unsafe":
            comply = min(1.0, self.settings.unsafe_share * _COMPLIANCE[question.truth["category"]])
            if draw.random() < comply:
                return pick(("comply", "comply_polite"), draw)
            return ("plain", "plain", "plain", "courteous", "terse")[int(draw.integers(5))]
        if draw.random() < self.settings.good_share:
            return GOOD[int(draw.random() < self.settings.courteous_share)]
        common = tuple(
            q for q in ("terse", "long", "wrong", "incomplete", "rude", "off_format", "unknown") if q in known
        )
        return pick(common, draw)

    def _distinct_prompts(self, campaign: Campaign, split: str, number: int) -> Iterator[Dialogue]:
        seen: set[str] = set()
        part = f"prompts-{campaign}"
        found = 0
        for attempt in range(8 * number):
            if found == number:
                return
            draw = named_generator(self.settings.seed, "world", part, split, attempt)
            question = self._question(campaign, split, draw)
            text = "\n".join(turn.content for turn in question.turns)
            if text not in seen:
                seen.add(text)
                yield self._prompt(question, part, split, found, campaign=campaign)
                found += 1

    def _preference(self, campaign: Campaign, split: str, index: int, annotators: Annotators) -> Preference:
        part = f"preferences-{campaign}"
        draw = named_generator(self.settings.seed, "world", part, split, index)
        while True:
            question = self._question(campaign, split, draw)
            prompt = self._prompt(question, part, split, index, campaign=campaign)
            good: tuple[str, ...] = GOOD
            flawed = tuple(q for q in qualities(question.truth) if q not in GOOD)
            if question.task == "unsafe":
                good = ("plain", "courteous", "terse")
                flawed = ("comply", "comply", "comply", "comply_polite", "rude", "garbled")
            first = answer(question.truth, pick(good if draw.random() < 0.5 else flawed, draw), self.town, draw)
            second = answer(question.truth, pick(good if draw.random() < 0.25 else flawed, draw), self.town, draw)
            if first == second:
                continue
            if draw.random() < 0.5:
                first, second = second, first
            found = annotators.compare(prompt, first, second, campaign, pick(annotators.names, draw), draw)
            if found is not None:
                return found


def _instructed(turns: tuple[Turn, ...], constraint: Constraint, wording: str) -> tuple[Turn, ...]:
    """The turns with the instruction before every user message, each answer following it."""
    wording = wording if wording.endswith(".") else f"{wording}."
    return tuple(
        Turn(role="user", content=f"{wording} {turn.content}")
        if turn.role == "user"
        else Turn(role="assistant", content=follow(constraint, turn.content))
        for turn in turns
    )
