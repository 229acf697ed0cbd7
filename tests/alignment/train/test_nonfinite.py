"""NaN and infinity stop a training before the update, name the rows, and leave nothing invented behind (R8)."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable

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
from alignment.train.session import Session
from alignment.train.settings import LoopSettings, OptimizerSettings
from alignment.train.trainer import Training, train

pytestmark = pytest.mark.slow  # many small trainings

SETTINGS = LoopSettings(optimizer=OptimizerSettings(learning_rate=1e-2), save_every=100)
NUM_STEPS = 4


def _trees() -> list[Tree]:
    trees = []
    for i in range(12):
        ids = np.arange(5, 15) + i
        trees.append(Tree.sequence(ids.tolist(), [True] * 10, row=f"rows.jsonl:{i + 1}"))
    return trees


def _training(policy: Policy, loss: Callable[[nn.Module, ForestBatch], object]) -> Training:
    """Each step takes three trees in three forests, so that gradients accumulate."""
    steps = Steps(_trees(), make_batch, capacity=10, unit="items", batch_size=3, epochs=1.0, seed=0, name="n")
    return Training(
        model=policy.model,
        num_steps=NUM_STEPS,
        batches=steps,
        loss=loss,  # type: ignore[arg-type]
        normaliser=num_targets,
    )


class Poison:
    """The language loss, spoilt in one forest: in its value, or only in one parameter's gradient."""

    def __init__(self, call: int, value: float, where: str) -> None:
        self.at, self.value, self.where, self.calls = call, value, where, 0

    def __call__(self, model: nn.Module, batch: ForestBatch) -> tuple[Tensor, dict[str, Tensor]]:
        loss, figures = language_loss(model, batch)
        if self.calls == self.at:
            if self.where == "loss":
                loss = loss + self.value
            else:
                loss.register_hook(lambda grad: grad * self.value)
        self.calls += 1
        return loss, figures


@pytest.fixture
def clean(policy: Policy, make_session: Callable[..., Session]) -> Callable[[int], dict[str, Tensor]]:
    """The weights after so many undisturbed steps of the same training."""
    start = copy.deepcopy(policy.model)

    def after(steps: int) -> dict[str, Tensor]:
        model = copy.deepcopy(start)
        training = _training(Policy(model=model, tokenizer=policy.tokenizer), language_loss)
        session = make_session(f"clean {steps}", stop_after=steps)
        if steps:
            with pytest.raises(Interrupted):
                train(training, SETTINGS, session)
        return model_tensors(model)

    return after


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["loss", "gradient norm"])
@pytest.mark.parametrize("call", [0, 4, 8], ids=["first", "middle of a step", "end of a step"])
def test_it_stops_before_the_update_and_names_the_rows(
    policy: Policy, session: Session, clean: Callable[[int], dict[str, Tensor]], value: float, where: str, call: int
) -> None:
    training = _training(policy, Poison(call, value, where))
    step = call // 3 + 1
    rows = [row for batch in training.batches(step - 1) for row in batch.rows]
    assert len(rows) == 3
    with pytest.raises(NonFiniteError, match="stopped before the update") as caught:
        train(training, SETTINGS, session)
    assert (caught.value.quantity, caught.value.step, list(caught.value.rows)) == (where, step, rows)
    for name, expected in clean(step - 1).items():
        actual = model_tensors(policy.model)[name]
        assert torch.isfinite(actual).all(), name
        assert torch.equal(actual, expected), name
    said = json.loads((session.folder / "nonfinite.json").read_text())["stopped"]
    assert (said["quantity"], said["step"], said["rows"]) == (where, step, rows)
    assert float(said["value"]) != float(said["value"]) or abs(float(said["value"])) == float("inf")
    logged = read_journal(session.folder / "metrics.jsonl")
    assert [row["step"] for row in logged] == list(range(1, step))
    assert all(np.isfinite(value) for row in logged for value in row.values())


def test_the_training_goes_on_from_its_last_checkpoint_once_the_cause_is_gone(
    policy: Policy, make_session: Callable[..., Session], clean: Callable[[int], dict[str, Tensor]]
) -> None:
    every_step = SETTINGS.model_copy(update={"save_every": 1})
    with pytest.raises(NonFiniteError):
        train(_training(policy, Poison(7, float("nan"), "loss")), every_step, make_session("run"))
    session = make_session("run", stop_after=3)
    with pytest.raises(Interrupted):
        train(_training(policy, language_loss), every_step, session)
    assert session.progress.notes == ["goes on after step 2 of 4"]  # type: ignore[attr-defined]
    for name, expected in clean(3).items():
        assert torch.equal(model_tensors(policy.model)[name], expected), name


def test_a_held_out_loss_that_is_not_finite_stops_the_training_and_is_told(policy: Policy, session: Session) -> None:
    training = dataclasses.replace(
        _training(policy, language_loss), evaluate=lambda sums: {"loss": float("nan"), "perplexity": 1.0}
    )
    with pytest.raises(NonFiniteError, match="held-out loss is not finite"):
        train(training, SETTINGS.model_copy(update={"held_out_every": 2, "nonfinite_skips": 5}), session)
    said = json.loads((session.folder / "nonfinite.json").read_text())["stopped"]
    assert (said["quantity"], said["step"]) == ("held-out loss", 2)


def test_gradients_that_a_caller_left_behind_do_not_enter_the_first_step(
    policy: Policy, make_session: Callable[..., Session], clean: Callable[[int], dict[str, Tensor]]
) -> None:
    language_loss(policy.model, make_batch(_trees()[:1]))[0].backward()
    with pytest.raises(Interrupted):
        train(_training(policy, language_loss), SETTINGS, make_session("run", stop_after=1))
    for name, expected in clean(1).items():
        assert torch.equal(model_tensors(policy.model)[name], expected), name


def test_the_gradients_norm_is_clipped_and_the_unclipped_one_is_logged(policy: Policy, session: Session) -> None:
    tight = LoopSettings(optimizer=OptimizerSettings(learning_rate=1e-2, max_grad_norm=1e-3), save_every=100)
    seen: list[float] = []
    real = torch.optim.AdamW.step

    def step(self: torch.optim.AdamW, closure: None = None) -> None:
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        seen.append(float(torch.cat([grad.flatten() for grad in grads]).norm()))
        real(self, closure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        train(_training(policy, language_loss), tight, session)
    rows = read_journal(session.folder / "metrics.jsonl")
    assert seen == pytest.approx([1e-3] * NUM_STEPS, rel=1e-3)
    assert all(row["gradient_norm"] > 0.01 for row in rows)
