"""Who and what is asked about: kinds by their weights, strangers where and as often as they should be."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from pydantic import ValidationError

from alignment.world import World, WorldSettings
from alignment.world.ask.tasks import DEMONSTRATED_ONLY, STRANGERS_HELD_OUT, TASKS
from alignment.world.settings import SPLITS
from tests.tolerances import STANDARD_ERRORS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "world.md"


@pytest.fixture(scope="module")
def world() -> World:
    return World(WorldSettings(num_people=32, biographies_per_person=1))


@pytest.fixture(scope="module")
def with_strangers() -> World:
    return World(WorldSettings(num_people=32, biographies_per_person=1, stranger_share=0.08))


def _strangers(world: World, split: str) -> float:
    prompts = list(world.prompts("helpfulness", split))
    return sum(prompt.meta["task"] == "stranger" for prompt in prompts) / len(prompts)


def _off(share: float, count: int) -> float:
    return STANDARD_ERRORS * (share * (1 - share) / count) ** 0.5


def test_kinds_are_asked_by_their_weights(world: World) -> None:
    assert sum(weight for _, weight in TASKS.values()) == pytest.approx(1.0)
    tasks = Counter(d.meta["task"] for d in world.dialogues() if d.meta["task"] not in ("unsafe", "borderline"))
    for name, (_, weight) in TASKS.items():
        if name != "borderline":
            among = weight / (1 - TASKS["borderline"][1])
            # where a person has too few attributes left, another kind is asked instead: a fifth more or less
            assert abs(tasks[name] / tasks.total() - among) <= _off(among, tasks.total()) + among / 5


def test_small_talk_and_polite_requests_are_demonstrated_and_never_asked(world: World) -> None:
    assert sorted(DEMONSTRATED_ONLY) == ["polite", "talk"]
    assert {d.meta["task"] for d in world.dialogues()} >= DEMONSTRATED_ONLY
    asked = {p.meta["task"] for split in SPLITS for p in world.prompts("helpfulness", split)}
    asked |= {p.prompt.meta["task"] for p in world.preferences("helpfulness")}
    assert not asked & DEMONSTRATED_ONLY
    assert asked >= TASKS.keys() - DEMONSTRATED_ONLY


def test_the_weights_in_the_documentation_are_theirs() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"| {name} | {weight:.2f} |" in page for name, (_, weight) in TASKS.items())


def test_22_of_32_people_are_asked_about_in_training_and_each_held_out_split_has_its_own(world: World) -> None:
    assert Counter(p.group for p in world.town.people) == {"train": 22, "validation": 4, "test": 6}


def test_strangers_are_asked_about_in_validation_and_test_always(world: World) -> None:
    for split in ("validation", "test"):
        assert _strangers(world, split) == pytest.approx(STRANGERS_HELD_OUT, abs=_off(STRANGERS_HELD_OUT, 320))


def test_strangers_are_asked_about_in_training_by_the_setting_alone(world: World, with_strangers: World) -> None:
    assert _strangers(world, "train") == 0.0
    assert _strangers(with_strangers, "train") == pytest.approx(0.08, abs=_off(0.08, 960))
    for made, some in ((world, False), (with_strangers, True)):
        asked = [d.meta["task"] for d in made.dialogues()]
        asked += [p.prompt.meta["task"] for p in made.preferences("helpfulness")]
        assert ("stranger" in asked) == some


def test_more_strangers_than_8_percent_in_training_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"less than or equal to 0\.08"):
        WorldSettings(stranger_share=0.1)


def test_a_stranger_has_no_name_of_the_town_and_belongs_to_one_split(with_strangers: World) -> None:
    firsts = {person.name.split()[0] for person in with_strangers.town.people}
    names = {
        split: {
            p.meta["stranger"] for p in with_strangers.prompts("helpfulness", split) if p.meta["task"] == "stranger"
        }
        for split in SPLITS
    }
    assert all(names.values())
    assert not {name.split()[0] for found in names.values() for name in found} & firsts
    for first, second in combinations(SPLITS, 2):
        assert not names[first] & names[second]


def test_more_prompts_of_a_split_begin_with_its_own(world: World) -> None:
    own = [p.id for p in world.prompts("helpfulness", "validation")]
    assert [p.id for p in world.prompts("helpfulness", "validation", count=400)][: len(own)] == own


def test_a_large_town_still_has_strangers() -> None:
    world = World(WorldSettings(num_people=400, biographies_per_person=1))
    asked = [p.meta["stranger"] for p in world.prompts("helpfulness", "test", count=300) if "stranger" in p.meta]
    assert asked
    assert not set(asked) & set(world.town.person)


@pytest.mark.parametrize(("name", "default"), [("good_share", 0.72), ("courteous_share", 0.3)])
def test_a_retired_share_is_read_as_an_old_run_wrote_it_and_refused_where_it_asks_for_something(
    name: str, default: float
) -> None:
    assert WorldSettings.model_validate({name: default}) == WorldSettings()
    with pytest.raises(ValidationError, match=rf"{name} is 0.5, but is no setting any more.*leave it out"):
        WorldSettings.model_validate({name: 0.5})
