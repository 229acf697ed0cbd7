"""What the embedded world brings to a run's report: the town in numbers, and its annotators' agreement."""

from __future__ import annotations

import math
from itertools import islice

from alignment.records import GRADES
from alignment.report.blocks import Facts, Section
from alignment.report.table import Cell, Table
from alignment.world.judge.annotators import Agreement, agreement
from alignment.world.settings import SPLITS, WorldSettings, counts
from alignment.world.town.entropy import world_bits
from alignment.world.world import Campaign, World

_CAMPAIGNS: tuple[Campaign, ...] = ("helpfulness", "safety")
_PAIRS = 150  # enough for two digits, in about two seconds


def section(settings: WorldSettings) -> Section:
    """The section of the world that a run was made in; the same numbers for the same settings."""
    world = World(settings)
    bits = world_bits(world.town)
    facts = Facts(
        title="The town",
        items=(
            ("people", len(world.town.people)),
            ("shops", len(world.town.shops)),
            ("facts, bits", round(bits.facts)),
            ("biographies of each person in the corpus", settings.biographies_per_person),
            ("seed of the world", settings.seed),
        ),
    )
    sizes = Table(
        title="Records",
        columns=("split", "documents", "dialogues", "preferences per campaign", "prompts per campaign"),
        rows=tuple(_sizes(settings, split) for split in SPLITS),
    )
    rows = tuple(_agreement(world, campaign) for campaign in _CAMPAIGNS)
    columns = ("campaign", "pairs", "two annotators", "Gwet's AC1", "with the judge", *reversed(GRADES))
    agree = Table(
        title="Agreement of the simulated annotators on held-out pairs",
        columns=columns,
        rows=rows,
        note="Shares of equal choices; under each grade the share of choices of that grade that are the gold judge's.",
    )
    people = f"{len(world.town.people):,} people"
    summary = f"A town of {people} and {len(world.town.shops):,} shops, whose truth is known exactly."
    return Section(id="world", title="The embedded world", details=(facts, sizes, agree), summary=summary)


def held_out_agreement(world: World, campaign: Campaign, count: int) -> Agreement:
    """Let every annotator compare the first `count` test pairs of a campaign."""
    pairs = []
    for preference in islice(world.preferences(campaign, "test"), count):
        first, second = sorted((preference.chosen, preference.rejected))  # any order that does not tell the choice
        pairs.append((preference.prompt, first, second))
    return agreement(world.annotators(), pairs, campaign, seed=world.settings.seed)


def _sizes(settings: WorldSettings, split: str) -> tuple[Cell, ...]:
    number = counts(settings, split)
    return (split, number.documents, number.dialogues, number.preferences, number.prompts)


def _agreement(world: World, campaign: Campaign) -> tuple[Cell, ...]:
    found = held_out_agreement(world, campaign, _PAIRS)
    shares = tuple(None if math.isnan(share) else round(share, 3) for _, share in reversed(found.by_grade.values()))
    figures = (round(found.between, 3), round(found.ac1, 3), round(found.with_judge, 3))
    return (campaign, found.comparisons, *figures, *shares)
