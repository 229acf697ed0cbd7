"""Packing loses nothing and doubles nothing, keeps to its capacity, and cannot change the loss."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.batch.steps import Steps, pack
from alignment.batch.tree import ForestBatch, Tree, make_batch
from alignment.errors import DataError
from alignment.policy.policy import Policy
from alignment.randomness import named_generator
from alignment.train.language_model import language_loss, num_targets, target_log_probs
from tests.tolerances import FP64_SAME_CODE

CAPACITY = 24


def _tree(name: int, lengths: tuple[int, ...], parents: tuple[int, ...], vocab: int = 400) -> Tree:
    draw = named_generator(0, "tree", name)
    return Tree(
        segments=tuple(draw.integers(3, vocab, n).astype(np.int32) for n in lengths),
        trained=tuple(draw.random(n) < 0.7 for n in lengths),
        parents=parents,
        rows=(f"file:{name + 1}",),
    )


@st.composite
def forests_of_trees(draw: st.DrawFn) -> list[Tree]:
    """Sequences, and prompts with up to three answers, all within the capacity."""
    trees = []
    for name in range(draw(st.integers(0, 14))):
        lengths = tuple(draw(st.lists(st.integers(0, 6), min_size=1, max_size=4)))
        trees.append(_tree(name, lengths, (-1, *(0,) * (len(lengths) - 1))))
    return trees


@given(trees=forests_of_trees())
def test_every_tree_stands_in_exactly_one_bin_and_no_bin_overflows(trees: list[Tree]) -> None:
    bins = pack(trees, CAPACITY)
    assert sorted(i for bin_ in bins for i in bin_) == list(range(len(trees)))
    assert all(len(bin_) > 0 for bin_ in bins)
    assert all(sum(trees[i].num_tokens for i in bin_) <= CAPACITY for bin_ in bins)
    assert pack(list(trees), CAPACITY) == bins


@given(trees=forests_of_trees())
def test_bins_are_filled_so_that_any_two_could_not_be_one(trees: list[Tree]) -> None:
    loads = [sum(trees[i].num_tokens for i in bin_) for bin_ in pack(trees, CAPACITY)]
    assert sum(load <= CAPACITY // 2 for load in loads) <= 1


@given(trees=forests_of_trees())
def test_a_batch_holds_its_trees_tokens_and_targets_and_no_others(trees: list[Tree]) -> None:
    batch = make_batch(trees)
    flat = [token for tree in trees for segment in tree.segments for token in segment.tolist()]
    assert batch.token_ids.tolist() == flat
    assert batch.rows == tuple(row for tree in trees for row in tree.rows)
    expected = []  # (target token, the token before it), by walking each tree
    start = 0
    for tree in trees:
        first, paths = start, []
        for segment, parent, mask in zip(tree.segments, tree.parents, tree.trained, strict=True):
            own = list(range(start, start + len(segment)))
            before = paths[parent] if parent >= 0 else []
            paths.append(before + own)
            for place, (token, trained) in enumerate(zip(own, mask, strict=True)):
                whole = before + own
                at = len(before) + place
                if trained and at > 0:
                    expected.append((token, whole[at - 1]))
            start += len(segment)
        assert start - first == tree.num_tokens
    assert list(zip(batch.targets.tolist(), batch.predictors.tolist(), strict=True)) == expected
    assert batch.num_targets == len(expected)


def test_a_prompt_with_two_answers_by_hand() -> None:
    tree = Tree(
        segments=(np.array([1, 5, 6], np.int32), np.array([7, 2], np.int32), np.array([8], np.int32)),
        trained=(np.zeros(3, bool), np.ones(2, bool), np.ones(1, bool)),
        parents=(-1, 0, 0),
    )
    batch = make_batch([Tree.sequence([1, 9], [True, True]), tree])
    assert batch.forest.lengths == (2, 3, 2, 1)
    assert batch.forest.parents == (-1, -1, 1, 1)
    assert batch.firsts.tolist() == [0, 1]
    # BOS of the sequence has nothing before it; both answers' first tokens are predicted by the prompt's last
    assert batch.targets.tolist() == [1, 5, 6, 7]
    assert batch.predictors.tolist() == [0, 4, 5, 4]


def test_a_tree_longer_than_a_bin_is_refused_with_its_row() -> None:
    with pytest.raises(DataError, match=r"25 tokens \(file:3\), a pack holds 24; raise pack_length"):
        pack([_tree(0, (4,), (-1,)), _tree(2, (25,), (-1,))], CAPACITY)


Unit = Literal["bins", "items"]


def _steps(
    unit: Unit, epochs: float, batch_size: int = 3, *, seed: int = 0, name: str = "n", **rest: Any
) -> Steps[Tree, ForestBatch]:
    trees = [_tree(i, (3 + i % 9,), (-1,)) for i in range(20)]
    return Steps(
        trees,
        make_batch,
        capacity=CAPACITY,
        unit=unit,
        batch_size=batch_size,
        epochs=epochs,
        seed=seed,
        name=name,
        **rest,
    )


def _rows(batches: list[ForestBatch]) -> list[str]:
    return [row for batch in batches for row in batch.rows]


@pytest.mark.parametrize("unit", ["bins", "items"])
@pytest.mark.parametrize("epochs", [1.0, 2.0, 3.0])
def test_whole_epochs_take_every_tree_as_often(unit: Unit, epochs: float) -> None:
    steps = _steps(unit, epochs)
    seen = Counter(_rows([batch for step in range(steps.num_steps) for batch in steps(step)]))
    assert seen == {f"file:{i + 1}": int(epochs) for i in range(20)}


def test_fractional_epochs_take_that_share_of_the_bins_and_none_twice() -> None:
    steps = _steps("bins", 0.5)
    taken = [batch for step in range(steps.num_steps) for batch in steps(step)]
    assert len(taken) == steps.total == round(len(steps.units) / 2)
    assert max(Counter(_rows(taken)).values()) == 1
    steps = _steps("items", 1.25)
    seen = Counter(_rows([batch for step in range(steps.num_steps) for batch in steps(step)]))
    assert sorted(seen.values()) == [1] * 15 + [2] * 5


@pytest.mark.parametrize("unit", ["bins", "items"])
def test_steps_depend_on_their_number_and_name_alone(unit: Unit) -> None:
    forward, backward = _steps(unit, 3.0), _steps(unit, 3.0)
    steps = range(forward.num_steps)
    in_order = [_rows(forward(step)) for step in steps]
    assert [_rows(backward(step)) for step in reversed(steps)] == in_order[::-1]
    assert [_rows(_steps(unit, 3.0, seed=1)(step)) for step in steps] != in_order
    assert [_rows(_steps(unit, 3.0, name="other")(step)) for step in steps] != in_order


def test_epochs_differ_in_order() -> None:
    steps = _steps("items", 2.0, batch_size=20)
    first, second = _rows(steps(0)), _rows(steps(1))
    assert sorted(first) == sorted(second)
    orders = [_steps("items", 2.0, batch_size=1) for _ in range(2)]
    assert [_rows(orders[0](i)) for i in range(20)] != [_rows(orders[1](20 + i)) for i in range(20)]


def test_the_last_step_takes_what_is_left() -> None:
    steps = _steps("items", 1.0, batch_size=6)
    assert steps.num_steps == 4
    assert [len(_rows(steps(step))) for step in range(4)] == [6, 6, 6, 2]


@pytest.mark.parametrize("unit", ["bins", "items"])
def test_nothing_to_pack_is_no_steps(unit: Unit) -> None:
    assert Steps([], make_batch, capacity=8, unit=unit, batch_size=2, epochs=1.0, seed=0, name="n").num_steps == 0


def test_there_are_no_more_steps_than_the_limit_and_they_are_the_first() -> None:
    whole, cut = _steps("items", 2.0), _steps("items", 2.0, max_steps=4)
    assert (cut.num_steps, _steps("items", 2.0, max_steps=1000).num_steps) == (4, whole.num_steps)
    assert [_rows(cut(step)) for step in range(4)] == [_rows(whole(step)) for step in range(4)]


def _gradients(policy: Policy, batches: list[ForestBatch]) -> list[torch.Tensor]:
    policy.model.zero_grad(set_to_none=True)
    norm = sum(num_targets(batch) for batch in batches)
    for batch in batches:
        (language_loss(policy.model, batch)[0] / norm).backward()
    return [parameter.grad.clone() for parameter in policy.model.parameters() if parameter.grad is not None]


def test_splitting_a_step_otherwise_gives_the_same_gradients(policy: Policy) -> None:
    policy.model.double()
    trees = [_tree(i, (2 + i % 5, 1 + i % 3, i % 4), (-1, 0, 0)) for i in range(9)]
    whole = _gradients(policy, [make_batch(trees)])
    unequal = _gradients(policy, [make_batch(trees[:1]), make_batch(trees[1:7]), make_batch(trees[7:])])
    packed = _gradients(policy, [make_batch([trees[i] for i in bin_]) for bin_ in pack(trees, CAPACITY)])
    assert len(whole) == sum(1 for _ in policy.model.parameters())
    for other in (unequal, packed):
        for a, b in zip(other, whole, strict=True):
            assert (a - b).abs().max() <= FP64_SAME_CODE * b.abs().max()


@pytest.mark.slow
@settings(max_examples=25)
@given(trees=forests_of_trees())
def test_log_probs_of_packed_trees_are_those_of_each_path_alone(trees: list[Tree], double: Policy) -> None:
    batch = make_batch(trees)
    with torch.no_grad():
        together = target_log_probs(double.model, batch) if batch.num_tokens else torch.zeros(0)
        alone = []
        for tree in trees:
            for segment, (ids, parent, mask) in enumerate(zip(tree.segments, tree.parents, tree.trained, strict=True)):
                prompt = tree.segments[0] if parent >= 0 else ids[:0]
                whole = torch.from_numpy(np.concatenate([prompt, ids]).astype(np.int64))
                assert segment == 0 or parent == 0
                if not len(ids):
                    continue
                logits = double.model(input_ids=whole[None]).logits[0].log_softmax(-1)
                for place in np.flatnonzero(mask) + len(prompt):
                    if place > 0:
                        alone.append(logits[place - 1, whole[place]])
    assert len(alone) == len(together)
    if alone:
        torch.testing.assert_close(together, torch.stack(alone), rtol=FP64_SAME_CODE, atol=FP64_SAME_CODE)


@pytest.fixture(scope="module")
def double() -> Policy:
    from alignment.model.checkpoint import new_model
    from alignment.model.settings import ModelSettings

    return Policy(model=new_model(ModelSettings(size="tiny"), 400, seed=0).double().eval(), tokenizer=None)  # type: ignore[arg-type]


def test_a_step_takes_units_up_to_its_size_by_weight_and_a_heavier_one_alone() -> None:
    weights = [1 + i % 5 for i in range(20)]
    steps = _steps("items", 2.0, batch_size=4, weights=weights)
    taken = [[weights[int(row.removeprefix("file:")) - 1] for row in _rows(steps(i))] for i in range(steps.num_steps)]
    assert Counter(weight for step in taken for weight in step) == Counter(weights * 2)
    assert all(sum(step) <= 4 or step == [5] for step in taken)
    assert all(sum(step) + following[0] > 4 for step, following in pairwise(taken))
