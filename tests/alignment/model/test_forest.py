"""The forest's derived arrays against their plain definition, token by token."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.errors import ForestError
from alignment.model.forest import Forest


@st.composite
def forests(draw: st.DrawFn, max_segments: int = 10, max_length: int = 5) -> Forest:
    """Any parents (so any depth), empty and one-token segments among them."""
    size = draw(st.integers(0, max_segments))
    lengths = draw(st.lists(st.integers(0, max_length), min_size=size, max_size=size))
    parents = [draw(st.integers(-1, i - 1)) for i in range(size)]
    return Forest(tuple(lengths), tuple(parents))


def _sequence(forest: Forest, segment: int) -> list[int]:
    """The flat tokens from a segment's root to its end, by walking up the parents."""
    first = sum(forest.lengths[:segment])
    own = list(range(first, first + forest.lengths[segment]))
    parent = forest.parents[segment]
    return (_sequence(forest, parent) if parent >= 0 else []) + own


@given(forests())
def test_positions_predecessors_ends_paths_and_mask_follow_from_the_sequences(forest: Forest) -> None:
    tokens = sum(forest.lengths)
    assert forest.num_tokens == tokens
    mask = np.zeros((tokens, tokens), dtype=bool)
    for segment, length in enumerate(forest.lengths):
        sequence = _sequence(forest, segment)
        assert forest.path(segment).tolist() == sequence
        assert forest.ends[segment] == (sequence[-1] if sequence else -1)
        assert list(forest.tokens_of(segment)) == (sequence[-length:] if length else [])
        for place, token in enumerate(sequence):
            assert forest.positions[token] == place
            assert forest.predecessors[token] == (sequence[place - 1] if place else -1)
            mask[token, sequence[: place + 1]] = True
    assert np.array_equal(forest.dense_mask(), mask)
    assert len(forest.positions) == len(forest.predecessors) == tokens


def test_a_prompt_with_three_answers_by_hand() -> None:
    forest = Forest((3, 2, 0, 1), (-1, 0, 0, 0))
    assert forest.positions.tolist() == [0, 1, 2, 3, 4, 3]
    assert forest.predecessors.tolist() == [-1, 0, 1, 2, 3, 2]
    assert forest.ends.tolist() == [2, 4, 2, 5]
    assert forest.dense_mask().astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [1, 1, 1, 0, 0, 1],
    ]


def test_roots_attend_to_nothing_but_themselves() -> None:
    forest = Forest.roots([2, 0, 3])
    assert forest.positions.tolist() == [0, 1, 0, 1, 2]
    assert forest.predecessors.tolist() == [-1, 0, -1, 2, 3]
    assert forest.dense_mask()[2:, :2].sum() == 0


def test_an_empty_forest_is_a_forest() -> None:
    forest = Forest((), ())
    assert (forest.num_tokens, len(forest.positions), forest.dense_mask().shape) == (0, 0, (0, 0))


@pytest.mark.parametrize(
    "lengths, parents, reason",
    [
        ((1, 1), (1, -1), "segment 0 names parent 1; a parent stands before its child"),
        ((1,), (0,), "segment 0 names parent 0"),
        ((1, 1), (-1, -2), "segment 1 names parent -2"),
        ((1, -1), (-1, -1), "segment 1 has length -1; a length is 0 or more"),
        ((1, 1), (-1,), "2 lengths, 1 parents"),
    ],
)
def test_an_impossible_layout_is_refused(lengths: tuple[int, ...], parents: tuple[int, ...], reason: str) -> None:
    with pytest.raises(ForestError, match=reason):
        Forest(lengths, parents)
