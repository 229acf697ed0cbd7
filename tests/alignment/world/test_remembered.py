"""What a world made once is not made again: the same pairs, whoever asks, as far as somebody asked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from alignment.world import World, WorldSettings, open_world
from alignment.world.remembered import Remembered

SETTINGS = WorldSettings(size="seconds", seed=3)


def test_items_are_made_once_and_no_sooner_than_they_are_asked_for() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for i in range(5):
            made.append(i)
            yield i

    remembered = Remembered(numbers())
    assert made == []
    assert list(islice(remembered, 2)) == [0, 1]
    assert made == [0, 1]
    one, other = iter(remembered), iter(remembered)
    assert [next(one), next(other), next(one), next(other), next(other)] == [0, 0, 1, 1, 2]
    assert list(remembered) == list(remembered) == made == [0, 1, 2, 3, 4]


def test_a_worlds_pairs_are_the_same_objects_the_second_time_and_those_of_another_world_are_equal() -> None:
    world = World(SETTINGS)
    first = list(world.preferences("safety", "validation"))
    again = list(world.preferences("safety", "validation"))
    assert all(one is other for one, other in zip(first, again, strict=True))
    assert first == list(World(SETTINGS).preferences("safety", "validation"))


def test_equal_settings_open_one_world() -> None:
    assert open_world(SETTINGS) is open_world(SETTINGS.model_copy())
    assert open_world(SETTINGS) is not open_world(SETTINGS.model_copy(update={"seed": 4}))
