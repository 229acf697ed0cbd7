"""The policy "skip N": a step that is not finite is left out, counted and told; the one after the N-th stops (R8)."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from alignment.batch.steps import Steps
from alignment.batch.tree import ForestBatch, Tree, make_batch
from alignment.errors import Interrupted, NonFiniteError
from alignment.policy.policy import Policy
from alignment.store.journal import read_journal
from alignment.train.checkpoints import model_tensors
from alignment.train.language_model import language_loss, num_targets
from alignment.train.nonfinite import NonFiniteSteps
from alignment.train.result import TrainingResult
from alignment.train.session import Session
from alignment.train.settings import LoopSettings, OptimizerSettings
from alignment.train.trainer import Training, train

NUM_STEPS, FORESTS = 6, 2


def _settings(**changes: Any) -> LoopSettings:
    base: dict[str, Any] = {"optimizer": OptimizerSettings(learning_rate=1e-2), "save_every": 1, "log_every": 3}
    return LoopSettings(**{**base, **changes})


def _steps() -> Steps[Tree, ForestBatch]:
    trees = [
        Tree.sequence((np.arange(5, 15) + i).tolist(), [True] * 10, row=f"rows.jsonl:{i + 1}")
        for i in range(NUM_STEPS * FORESTS)
    ]
    return Steps(trees, make_batch, capacity=10, unit="items", batch_size=FORESTS, epochs=1.0, seed=0, name="n")


class Poison:
    """The language loss, spoilt at some steps: in its value, or in the gradient of one parameter only."""

    def __init__(self, steps: tuple[int, ...], value: float = math.nan, where: str = "loss") -> None:
        batches = _steps()
        self.rows = {row for step in steps for batch in batches(step - 1)[-1:] for row in batch.rows}
        self.value, self.where = value, where

    def __call__(self, model: nn.Module, batch: ForestBatch) -> tuple[Tensor, dict[str, Tensor]]:
        loss, figures = language_loss(model, batch)
        if self.rows & set(batch.rows):
            if self.where == "loss":
                loss = loss + self.value
            else:
                parameter = next(model.parameters())
                loss = loss + _OneBadGradient.apply(parameter, self.value)
        return loss, figures


class _OneBadGradient(torch.autograd.Function):
    """Zero, with a gradient that is bad in a single element of a single parameter."""

    @staticmethod
    def forward(context: Any, parameter: Tensor, value: float) -> Tensor:
        context.shape, context.value = parameter.shape, value
        return parameter.new_zeros(())

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        found = gradients[0].new_zeros(context.shape)
        found.view(-1)[7] = context.value
        return found, None


def _train(policy: Policy, poison: Poison, settings: LoopSettings, session: Session) -> TrainingResult:
    training = Training(model=policy.model, num_steps=NUM_STEPS, batches=_steps(), loss=poison, normaliser=num_targets)
    return train(training, settings, session)


def _told(session: Session) -> dict[str, Any]:
    return json.loads((session.folder / "nonfinite.json").read_text())


def _metrics(session: Session) -> list[dict[str, Any]]:
    return read_journal(session.folder / "metrics.jsonl")


def _stepped_by_hand(policy: Policy, left_out: set[int]) -> dict[str, Tensor]:
    """The weights after all steps but these, by torch's own AdamW and clipping."""
    from alignment.train.optimizer import make_optimizer, set_learning_rate
    from alignment.train.schedule import learning_rate

    model, settings = copy.deepcopy(policy.model).train(), _settings().optimizer
    optimizer, steps = make_optimizer(model, settings), _steps()
    for step in set(range(1, NUM_STEPS + 1)) - left_out:
        batches = steps(step - 1)
        total = sum(num_targets(batch) for batch in batches)
        for batch in batches:
            (language_loss(model, batch)[0] / total).backward()
        set_learning_rate(optimizer, learning_rate(settings, step, NUM_STEPS))
        nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model_tensors(model)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient norm"])
@pytest.mark.parametrize("bad", [1, 3, NUM_STEPS], ids=["first", "middle", "last"])
def test_a_skipped_step_changes_nothing_and_is_told_without_an_invented_number(
    policy: Policy, session: Session, value: float, where: str, bad: int
) -> None:
    expected = _stepped_by_hand(policy, {bad})
    result = _train(policy, Poison((bad,), value, where), _settings(nonfinite_skips=1), session)
    for name, tensor in model_tensors(policy.model).items():
        assert torch.isfinite(tensor).all(), name
        assert torch.allclose(tensor, expected[name], rtol=0, atol=1e-7), name
    assert (result.steps, result.skipped) == (NUM_STEPS, 1)
    told = _told(session)
    rows = [row for batch in _steps()(bad - 1) for row in batch.rows]
    assert [(e["quantity"], e["step"], e["rows"]) for e in told["skipped"]] == [(where, bad, rows)]
    assert not math.isfinite(float(told["skipped"][0]["value"]))
    assert told["stopped"] is None
    found = {row["step"]: row for row in _metrics(session)}
    assert found[bad] == {"step": bad, "skipped": 1}
    assert sorted(found) == sorted({3, NUM_STEPS, bad})  # a skipped step is logged whatever the cadence
    assert all(math.isfinite(number) for row in found.values() for number in row.values())


def test_the_step_after_the_last_allowed_skip_stops_before_its_update(policy: Policy, session: Session) -> None:
    with pytest.raises(NonFiniteError, match="at step 5; stopped before the update"):
        _train(policy, Poison((2, 3, 5)), _settings(nonfinite_skips=2), session)
    told = _told(session)
    assert [event["step"] for event in told["skipped"]] == [2, 3]
    assert (told["stopped"]["step"], told["allowed_skips"]) == (5, 2)
    assert [row["skipped"] for row in _metrics(session) if "skipped" in row] == [1, 2]
    assert all(torch.isfinite(tensor).all() for tensor in model_tensors(policy.model).values())


@pytest.mark.parametrize("stop_after", [2, 3, 4])
def test_the_count_survives_a_resume_and_the_end_is_the_undisturbed_one(
    stop_after: int, policy: Policy, make_session: Callable[..., Session]
) -> None:
    other = Policy(model=copy.deepcopy(policy.model), tokenizer=policy.tokenizer)
    whole = make_session("whole")
    _train(policy, Poison((2, 4)), _settings(nonfinite_skips=2), whole)
    with pytest.raises(Interrupted):
        _train(other, Poison((2, 4)), _settings(nonfinite_skips=2), make_session("run", stop_after=stop_after))
    again = make_session("run")
    _train(other, Poison((2, 4)), _settings(nonfinite_skips=2), again)
    assert _told(again) == _told(whole)
    for name, tensor in model_tensors(policy.model).items():
        assert torch.equal(tensor, model_tensors(other.model)[name]), name


def test_skips_of_an_earlier_attempt_count_against_the_limit(
    policy: Policy, make_session: Callable[..., Session]
) -> None:
    with pytest.raises(Interrupted):
        _train(policy, Poison((2,)), _settings(nonfinite_skips=1), make_session("run", stop_after=3))
    with pytest.raises(NonFiniteError, match="at step 5"):
        _train(policy, Poison((5,)), _settings(nonfinite_skips=1), make_session("run"))
    # the limit may be raised: the training goes on from its checkpoint
    session = make_session("run")
    assert _train(policy, Poison((5,)), _settings(nonfinite_skips=2), session).skipped == 2
    assert session.progress.notes == ["goes on after step 4 of 6"]  # type: ignore[attr-defined]


def test_a_training_that_ends_well_leaves_no_word_of_an_earlier_stop(
    policy: Policy, make_session: Callable[..., Session]
) -> None:
    with pytest.raises(NonFiniteError):
        _train(policy, Poison((4,)), _settings(), make_session("run"))
    session = make_session("run")
    assert _told(session)["stopped"]["step"] == 4
    result = _train(policy, Poison(()), _settings(), session)
    assert not (session.folder / "nonfinite.json").exists()
    assert "skipped_steps" not in result.as_json()


def test_only_the_process_that_writes_writes(tmp_path: Path) -> None:
    steps = NonFiniteSteps(tmp_path, allowed=1, writes=False)
    steps.refuse("loss", "nan", step=1, rows=["a:1"])
    with pytest.raises(NonFiniteError):
        steps.refuse("loss", "nan", step=2, rows=["a:2"])
    assert list(tmp_path.iterdir()) == []


def test_a_batch_without_poison_is_what_the_reference_sees(policy: Policy) -> None:
    """The reference of these tests leaves a step out indeed: another one left out gives other weights."""
    one, other = _stepped_by_hand(policy, {3}), _stepped_by_hand(policy, {4})
    assert any(not torch.allclose(one[name], other[name], rtol=0, atol=1e-6) for name in one)
    assert _steps()(0)[0].rows
