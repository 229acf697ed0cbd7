"""A trainer of TRL's in our house: no ping, one device, and the model as it was lent."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.utils import _telemetry

from alignment.errors import NonFiniteError, UsageError
from alignment.policy.policy import Policy
from alignment.store.journal import Journal
from alignment.train.session import Session
from rl.trl_training import Told, lent, optimizers, quiet, require_trl
from tests.rl.test_dpo import OPTIMIZER


def test_importing_what_trains_with_trl_does_not_import_it() -> None:
    code = "import sys, rl.dpo, rl.grpo; print('trl' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_no_ping_is_sent_while_a_trainer_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(_telemetry, "_start_telemetry_thread", lambda: sent.append("ping"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with quiet():
        _telemetry.send_telemetry("trl/DPOTrainer")
    assert sent == []
    _telemetry.send_telemetry("trl/DPOTrainer")  # whoever wants it elsewhere has it as before
    assert sent == ["ping"]


def test_more_than_one_device_is_refused_with_the_way_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.raises(UsageError, match="dpo trains on one device and sees 4; name one: CUDA_VISIBLE_DEVICES=0"):
        require_trl("dpo")


def test_what_a_trainer_puts_in_front_of_the_forward_pass_is_taken_away(policy: Policy) -> None:
    ids = torch.tensor([[1, 2, 3]])
    before = policy.model(input_ids=ids).logits
    with lent(policy.model):
        policy.model.forward = lambda **given: None
        policy.model.config._name_or_path = "elsewhere"
    assert policy.model.config._name_or_path != "elsewhere"
    torch.testing.assert_close(policy.model(input_ids=ids).logits, before)


def test_the_schedule_is_ours_step_by_step(policy: Policy) -> None:
    settings = OPTIMIZER.model_copy(update={"warmup_steps": 2, "schedule": "cosine"})
    optimizer, schedule = optimizers(policy.model, settings, 4)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([5e-4, 1e-3, 5.5e-4, 1e-4])


@pytest.mark.parametrize(
    ("logs", "quantity"),
    [({"loss": float("nan")}, "loss"), ({"loss": 1.0, "grad_norm": float("inf")}, "gradient_norm")],
)
def test_a_step_that_is_not_finite_stops_the_training(session: Session, logs: dict[str, float], quantity: str) -> None:
    state: Any = type("State", (), {"global_step": 3})
    with Journal(session.folder / "metrics.jsonl") as journal:
        told = Told(session, journal, {"loss": "loss", "grad_norm": "gradient_norm"}, steps=5)
        with pytest.raises(NonFiniteError, match=f"{quantity} is not finite .* at step 3"):
            told.on_log(None, state, None, logs)  # type: ignore[arg-type]
        assert journal.records == []
