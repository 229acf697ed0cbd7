"""The learning rate by hand: linear warm-up, then a cosine to a tenth of the peak, or constant."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.train.schedule import learning_rate, warmup_length
from alignment.train.settings import OptimizerSettings, PretrainSettings, SftSettings


def _rates(settings: OptimizerSettings, num_steps: int) -> list[float]:
    return [learning_rate(settings, step, num_steps) for step in range(1, num_steps + 1)]


def test_warm_up_then_cosine_by_hand() -> None:
    settings = OptimizerSettings(learning_rate=1.0, warmup_steps=2, final_fraction=0.1)
    quarter = 0.1 + 0.9 * 0.5 * (1 + math.sqrt(0.5))
    third = 0.1 + 0.9 * 0.5 * (1 - math.sqrt(0.5))
    assert _rates(settings, 6) == pytest.approx([0.5, 1.0, quarter, 0.55, third, 0.1])


def test_a_constant_schedule_stays_at_the_peak_after_warm_up() -> None:
    settings = OptimizerSettings(learning_rate=1.0, schedule="constant", warmup_steps=4)
    assert _rates(settings, 6) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_the_longer_warm_up_counts_and_leaves_at_least_one_step() -> None:
    assert warmup_length(OptimizerSettings(warmup_steps=5, warmup_fraction=0.03), 1000) == 30
    assert warmup_length(OptimizerSettings(warmup_steps=50, warmup_fraction=0.03), 1000) == 50
    assert warmup_length(OptimizerSettings(warmup_steps=2000), 10) == 9
    assert warmup_length(OptimizerSettings(warmup_steps=2000), 1) == 0


def test_a_single_step_ends_at_the_final_rate() -> None:
    assert _rates(OptimizerSettings(learning_rate=1.0, warmup_steps=10), 1) == pytest.approx([0.1])


def test_the_papers_settings() -> None:
    pretraining = PretrainSettings.model_fields["optimizer"].default
    assert (pretraining.learning_rate, pretraining.warmup_steps) == (3e-4, 2000)
    assert (pretraining.betas, pretraining.eps) == ((0.9, 0.95), 1e-5)
    assert (pretraining.weight_decay, pretraining.max_grad_norm, pretraining.final_fraction) == (0.1, 1.0, 0.1)
    sft = {name: SftSettings.model_fields[name].default for name in ("batch_size", "context_length", "epochs")}
    assert sft == {"batch_size": 64, "context_length": 4096, "epochs": 2.0}
    assert SftSettings.model_fields["optimizer"].default.learning_rate == 2e-5


@given(
    num_steps=st.integers(1, 300),
    warmup=st.integers(0, 400),
    fraction=st.floats(0, 0.99),
    final=st.floats(0, 1),
    kind=st.sampled_from(["cosine", "constant"]),
)
def test_a_rate_is_never_above_the_peak_rises_first_and_never_again(
    num_steps: int, warmup: int, fraction: float, final: float, kind: str
) -> None:
    settings = OptimizerSettings.model_validate(
        {
            "learning_rate": 0.5,
            "warmup_steps": warmup,
            "warmup_fraction": fraction,
            "final_fraction": final,
            "schedule": kind,
        }
    )
    rates = _rates(settings, num_steps)
    assert all(0 <= rate <= 0.5 for rate in rates)
    peak = max(warmup_length(settings, num_steps), 1)
    assert all(b > a for a, b in pairwise(rates[:peak]))
    assert all(b <= a + 1e-15 for a, b in pairwise(rates[peak - 1 :]))
    if kind == "cosine":
        assert rates[-1] == pytest.approx(0.5 * final) or num_steps == warmup_length(settings, num_steps)
