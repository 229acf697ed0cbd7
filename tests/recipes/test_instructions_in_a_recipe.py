"""Instructions that no prompt of RLHF gives: measured by version, kept by demonstrations of sources of their own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from alignment.world.instructions import world_constraints
from alignment.world.settings import WorldSettings
from alignment.world.world import World
from gatt.kinds import kind_constraints
from recipes.load import load_recipe
from recipes.running.fingerprint import read_settings
from recipes.stages.constrained import constraints_of
from tests.planned import plan, refused

ASKED = "evaluate.instructions={data: {train: [{world: dialogues}], held_out: [{world: dialogues}]}}"
OWN = "rlhf.rejection.sft_source=[{world: dialogues/instructed}]"
VERSIONS = ("rlhf-v1", "rlhf-v2", "rlhf-v3-rejection")


def test_the_evaluation_reads_dialogues_of_its_own(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, [ASKED, "gatt=null"])
    data = plan(recipe)["evaluate"].inputs.data()[-1]
    assert data.settings == recipe.evaluate.instructions.data
    assert recipe.data_sections[f"{data.key}.data"][0] == data.settings


def test_a_recipe_that_does_not_ask_for_it_rests_on_what_it_did_before(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    for name in ("evaluate", *VERSIONS):
        for section in read_settings(recipe, plan(recipe)[name]).values():
            if hasattr(section, "fingerprint_values"):
                assert not {"instructions", "sft_source"} & section.fingerprint_values().keys()


def test_dialogues_that_hold_nothing_out_cannot_be_asked(recipe_file: Path) -> None:
    said = refused(recipe_file, "evaluate.instructions={data: {train: [{path: DATA}]}}", "split.test=0")
    assert "evaluate.instructions.data: holds nothing out to ask; add held_out sources" in said


def test_demonstrations_of_a_source_of_their_own_are_mixed_in_instead_of_sfts(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, [OWN, "rlhf.rejection.sft_share=0.5"])
    for name in VERSIONS:
        (mixed,) = plan(recipe)[name].inputs.demonstrations()
        assert [source.world for source in mixed.settings.train] == ["dialogues/instructed"]
        assert "sft.data" not in read_settings(recipe, plan(recipe)[name])
    borrowed = load_recipe(recipe_file, ["rlhf.rejection.sft_share=0.5"])
    (mixed,) = plan(borrowed)["rlhf-v1"].inputs.demonstrations()
    assert mixed.settings == borrowed.sft.data


def test_the_world_is_measured_by_group_with_kinds_that_its_dialogues_have_not() -> None:
    stage = SimpleNamespace(world=World(WorldSettings(size="seconds")))
    seen, unseen = constraints_of("world", stage)
    assert (seen, unseen) == (list(world_constraints("train")), list(world_constraints("test")))
    assert constraints_of("world", stage, grouped=True)[0] == seen
    added = constraints_of("world", stage, grouped=True)[1][len(unseen) :]
    assert len({one.kind for one in added}) >= 8
    assert {one.kind for one in added}.isdisjoint(one.kind for one in seen)
    assert constraints_of("kinds", stage) == kind_constraints()


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        ((OWN,), "sft_source says where demonstrations come from, and sft_share is 0, which mixes none in"),
        (
            ("rlhf.rejection.sft_source=[]", "rlhf.rejection.sft_share=0.5"),
            "sft_source names no source; say both, or leave sft_source out",
        ),
        (
            (ASKED, "evaluate.instructions.constraints=mine"),
            "evaluate.instructions.constraints: is 'mine'; it must be 'world', 'builtin', 'kinds' or a .yaml file",
        ),
        (
            ("world=null", "gatt.constraints=world"),
            "gatt.constraints: is 'world', and there is no section world; say 'builtin' or name a .yaml file, or add",
        ),
        (
            ("gatt.constraints=mine",),
            "gatt.constraints: is 'mine'; it must be 'world', 'builtin', 'kinds' or a .yaml file",
        ),
        ((ASKED, "evaluate.instructions.turns=1"), "evaluate.instructions.turns: is 1; it must be at least 2"),
    ],
)
def test_what_would_mix_in_or_measure_nothing_is_refused_by_its_key(
    recipe_file: Path, overrides: tuple[str, ...], why: str
) -> None:
    assert why in refused(recipe_file, *overrides)
