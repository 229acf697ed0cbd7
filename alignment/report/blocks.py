"""What a report is made of: blocks in sections, frozen values that every stage's package builds.

The three twins (`as_html`, `as_markdown`, `as_json`) render the same values.  No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator

from alignment.errors import UsageError
from alignment.report.series import Figure
from alignment.report.table import Cell, Table, plain_cell


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One turn of a prompt."""

    role: str
    text: str


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """One prompt and what several versions answered.

    Attributes:
        title: names the sample; a comparison of runs finds the same one by it.
        prompt: the turns up to the answer, a system message with role "system".
        answers: (version, answer, the judge's parts) in the order of training.
        remarks: (version, what to say where its answer has no text).
    """

    type: Literal["side_by_side"] = "side_by_side"
    title: str
    prompt: tuple[Exchange, ...]
    answers: tuple[tuple[str, str, Mapping[str, float]], ...]
    remarks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class TurnByTurn:
    """One dialogue held by several models, each question with their answers beside it.

    Attributes:
        instruction: stands before the first turn.
        turns: (question, the models' answers to it); an answer is (model, text, what was found of it).
    """

    type: Literal["turn_by_turn"] = "turn_by_turn"
    title: str
    instruction: str
    turns: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]


@dataclass(frozen=True, kw_only=True)
class MaskedText:
    """Tokens with their loss mask: (piece, whether it is trained on)."""

    type: Literal["masked_text"] = "masked_text"
    title: str
    tokens: tuple[tuple[str, bool], ...]

    @property
    def num_trained(self) -> int:
        """How many tokens carry loss."""
        return sum(trained for _, trained in self.tokens)

    def runs(self) -> tuple[tuple[str, bool], ...]:
        """The text with neighbouring tokens of one kind put together."""
        runs: list[tuple[str, bool]] = []
        for piece, trained in self.tokens:
            if runs and runs[-1][1] == bool(trained):
                runs[-1] = (runs[-1][0] + piece, bool(trained))
            else:
                runs.append((piece, bool(trained)))
        return tuple(runs)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Keys and values.

    Attributes:
        scored_by: the judge that the figures come from, one of the report's `judges`; "" where they are nobody's.
    """

    type: Literal["facts"] = "facts"
    title: str
    items: tuple[tuple[str, Cell], ...]
    scored_by: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", _plain_items(self.items, f"facts {self.title!r}"))


@dataclass(frozen=True, kw_only=True)
class Code:
    """Text as it stands: a recipe, a command."""

    type: Literal["code"] = "code"
    title: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """A few sentences."""

    type: Literal["paragraph"] = "paragraph"
    text: str


# `type` is what tells one block from another in JSON
Block = Annotated[
    Table | Figure | SideBySide | TurnByTurn | MaskedText | Facts | Code | Paragraph, Discriminator("type")
]


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a stage gives to the top of the page: the sentence and figure that people open it for.

    Attributes:
        cards: the headline figures.
        judge: who scored them, one of the report's `judges`; "" where nobody did.
    """

    blocks: tuple[Block, ...] = ()
    cards: tuple[tuple[str, Cell], ...] = ()
    judge: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One stage's part of the page.

    Attributes:
        id: the stage's name; unique in the report, and what a comparison matches by.
        status: "finished", "missing" (the section then says that the run has no such stage), or
            another word for the state ("running", "failed", "interrupted").
        details: what the page folds behind the blocks.
        folded: the whole section is behind one line: it repeats what another one shows.
    """

    id: str
    title: str
    blocks: tuple[Block, ...] = ()
    summary: str = ""
    status: str = "finished"
    details: tuple[Block, ...] = ()
    folded: bool = False

    def __post_init__(self) -> None:
        for name in ("blocks", "details"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def missing(self) -> bool:
        """Whether the run has not got this stage."""
        return self.status == "missing"

    @property
    def lead(self) -> str:
        """The summary; for a missing stage the sentence that says so."""
        if self.missing and not self.summary:
            return f"This run has no stage “{self.title}” (yet): nothing was found to report."
        return self.summary


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole page.

    Attributes:
        lineage: (parent stage, child stage), drawn as a graph; names that are section ids link there.
        facts: about the run as a whole; figures among them become the cards on top.
        created: ISO time, passed in, so that the same run gives the same bytes.
        headline: the cards on top, where they are not the figures among `facts`.
        headline_by: the judge that they come from; "" where they are nobody's.
        top: what stands before everything else: the answer to the page's question.
        judges: (name, what it is): two runs' scores are compared where both are the same.
    """

    title: str
    sections: tuple[Section, ...]
    subtitle: str = ""
    lineage: tuple[tuple[str, str], ...] = ()
    facts: tuple[tuple[str, Cell], ...] = ()
    created: str = ""
    headline: tuple[tuple[str, Cell], ...] = ()
    headline_by: str = ""
    top: tuple[Block, ...] = ()
    judges: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name in ("sections", "lineage", "top", "judges"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("facts", "headline"):
            object.__setattr__(self, name, _plain_items(getattr(self, name), name))
        seen: set[str] = set()
        for section in self.sections:
            if section.id in seen:
                raise UsageError(f"two sections of report {self.title!r} have the id {section.id!r}; ids are unique")
            seen.add(section.id)

    def cards(self) -> tuple[tuple[str, Cell], ...]:
        """The headline figures: those named, else the first eight figures among the facts."""
        if self.headline:
            return self.headline
        return tuple((key, cell) for key, cell in self.facts if not isinstance(cell, (str, bool, type(None))))[:8]

    def remaining_facts(self) -> tuple[tuple[str, Cell], ...]:
        """The facts that are not on a card."""
        on_cards = set(self.cards())
        return tuple(item for item in self.facts if item not in on_cards)


def _plain_items(items: tuple[tuple[str, Cell], ...], where: str) -> tuple[tuple[str, Cell], ...]:
    return tuple((str(key), plain_cell(cell, where)) for key, cell in items)
