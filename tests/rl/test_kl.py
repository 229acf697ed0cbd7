"""beta: constant, in the reward or in the loss, or following a target (Ziegler et al. 2019, 2.2)."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from rl.kl import KlCoefficient
from rl.settings import AdaptiveKlSettings, PpoSettings

TARGET = AdaptiveKlSettings(target=4.0, horizon=1_000)


def following(kl: float, answers: int = 100) -> float:
    beta = KlCoefficient(PpoSettings(kl_coefficient=0.1, adaptive_kl=TARGET))
    beta.follow(kl, answers)
    return beta.beta


def test_it_counts_in_the_reward_or_in_the_loss_never_in_both() -> None:
    reward, loss = (KlCoefficient(PpoSettings(kl_in=where)) for where in ("reward", "loss"))
    assert (reward.in_reward, reward.in_loss) == (0.01, 0.0)
    assert (loss.in_reward, loss.in_loss) == (0.0, 0.01)


def test_without_a_target_it_stays_as_it_is_and_is_in_no_checkpoint() -> None:
    beta = KlCoefficient(PpoSettings(kl_coefficient=0.1))
    beta.follow(50.0, 512)
    assert (beta.beta, beta.values(), beta.figures()) == (0.1, {}, {})


@pytest.mark.parametrize(
    ("kl", "factor"),
    [
        (4.0, 1.0),
        (4.4, 1.0 + 0.1 * 0.1),  # 10 % above, a tenth of the horizon
        (3.6, 1.0 - 0.1 * 0.1),
        (400.0, 1.0 + 0.2 * 0.1),  # the error is clipped
        (-3.0, 1.0 - 0.2 * 0.1),
    ],
)
def test_it_moves_by_the_clipped_proportional_error(kl: float, factor: float) -> None:
    assert following(kl) == pytest.approx(0.1 * factor)


def test_more_answers_move_it_further() -> None:
    assert following(8.0, answers=500) == pytest.approx(0.1 * (1.0 + 0.2 * 0.5))


def test_put_back_from_a_checkpoint_it_is_the_same() -> None:
    settings = PpoSettings(kl_coefficient=0.1, adaptive_kl=TARGET)
    beta, other = KlCoefficient(settings), KlCoefficient(settings)
    beta.follow(7.3, 77)
    other.load({}, json.loads(json.dumps(beta.values())))
    assert other.beta == beta.beta


def test_a_coefficient_of_0_cannot_follow() -> None:
    with pytest.raises(ValidationError, match="adaptive_kl multiplies kl_coefficient, which is 0"):
        PpoSettings(kl_coefficient=0.0, adaptive_kl=TARGET)
