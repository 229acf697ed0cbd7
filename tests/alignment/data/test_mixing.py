"""Records mixed in by a share: how many, which, and the same ones each time."""

from __future__ import annotations

from alignment.data.mixing import mix_in

OWN, EXTRA = list(range(10)), list(range(100, 140))


def test_the_records_come_first_and_the_share_says_how_many_follow() -> None:
    for share, count in ((0.0, 0), (0.25, 2), (0.5, 5), (2.0, 20)):
        mixed = mix_in(OWN, EXTRA, share, seed=0, names=("mix",))
        assert mixed[:10] == OWN
        assert len(set(mixed[10:]) & set(EXTRA)) == len(mixed) - 10 == count
        assert mixed == sorted(mixed)


def test_where_there_are_too_few_all_are_taken_once() -> None:
    assert mix_in(OWN, EXTRA[:3], 1.0, seed=0, names=("mix",)) == [*OWN, *EXTRA[:3]]
    assert mix_in(OWN, [], 1.0, seed=0, names=("mix",)) == OWN


def test_the_draw_is_named_by_the_seed_and_its_names() -> None:
    drawn = mix_in(OWN, EXTRA, 0.5, seed=0, names=("rejection-mix", 1))
    assert drawn == mix_in(OWN, EXTRA, 0.5, seed=0, names=("rejection-mix", 1))
    assert drawn != mix_in(OWN, EXTRA, 0.5, seed=0, names=("rejection-mix", 2))
    assert drawn != mix_in(OWN, EXTRA, 0.5, seed=1, names=("rejection-mix", 1))
