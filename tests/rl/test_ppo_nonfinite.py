"""NaN and infinity in PPO: no update is made from them, the rows are named, as many are skipped as is allowed (R8)."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import rl.experience
import rl.ppo
import rl.roles
import rl.update
from alignment.errors import Interrupted, NonFiniteError
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.store.journal import read_journal
from alignment.train.checkpoints import model_tensors
from alignment.train.session import Session
from reward.model import RewardModel
from rl.judges import RewardJudges
from rl.ppo import PromptSplit, train_ppo
from rl.rejection import rejection_sample
from rl.roles import Roles
from rl.settings import CandidateSettings, PpoOptimizerSettings, PpoSettings, RejectionSettings, RolloutSettings

pytestmark = pytest.mark.slow  # forty small PPO runs

# four answers an iteration, two updates of two forests each, so that gradients accumulate
SETTINGS = PpoSettings(
    iterations=2,
    value_iterations=0,
    batch_size=4,
    minibatch_size=2,
    evaluate_every=2,
    save_every=1,
    sampling=RolloutSettings(max_new_tokens=4),
    optimizer=PpoOptimizerSettings(learning_rate=1e-3),
)
BAD = [math.nan, math.inf, -math.inf]


@pytest.fixture(autouse=True)
def _one_answer_a_forest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rl.experience, "PACK_TOKENS", 1)


class Poison:
    """Spoils one quantity at some calls, and remembers policy and value as they were when it did."""

    def __init__(
        self, where: str, calls: tuple[int, ...], value: float, patch: pytest.MonkeyPatch, opened: Sequence[Roles] = ()
    ) -> None:
        self.calls, self.value, self.seen, self.patch, self.opened = calls, value, 0, patch, opened
        self.before: dict[str, Tensor] = {}
        self.stopped = False
        {"policy loss": self._losses, "value loss": self._losses, "gradient": self._losses}.get(
            where, self._ratio if where == "ratio" else self._reward
        )(where)

    def _now(self) -> bool:
        self.seen += 1
        if self.seen - 1 not in self.calls:
            return False
        if self.opened:
            self.before = weights(self.opened[-1])
        return True

    def _losses(self, where: str) -> None:
        name = "clipped_value_loss" if where == "value loss" else "clipped_policy_loss"
        real = getattr(rl.update, name)

        def spoilt(*arguments: Any) -> Any:
            found = real(*arguments)
            if not self._now():
                return found
            loss = found if isinstance(found, Tensor) else found[0]
            if where == "gradient":
                loss.register_hook(lambda gradient: gradient * self.value)
                return found
            return loss + self.value if isinstance(found, Tensor) else (loss + self.value, *found[1:])

        self.patch.setattr(rl.update, name, spoilt)

    def _ratio(self, _: str) -> None:
        real = rl.roles.target_log_probs

        def spoilt(*arguments: Any, **options: Any) -> Tensor:
            found: Tensor = real(*arguments, **options)
            if not torch.is_grad_enabled() or not self._now():
                return found
            return found + torch.zeros_like(found).index_fill(0, torch.tensor([0]), self.value)

        self.patch.setattr(rl.roles, "target_log_probs", spoilt)

    def _reward(self, _: str) -> None:
        real = RewardModel.score_ids

        def spoilt(model: RewardModel, *arguments: Any, **options: Any) -> list[list[float]]:
            found = real(model, *arguments, **options)
            if self._now():
                found[-1][0] = self.value
            return found

        self.patch.setattr(RewardModel, "score_ids", spoilt)


def weights(roles: Roles) -> dict[str, Tensor]:
    """Policy's and value function's parameters, copied."""
    parts = {"policy": roles.policy.model, "value": roles.value}
    return {f"{n}.{k}": v.clone() for n, part in parts.items() for k, v in model_tensors(part).items()}


def split(prompts: list[Dialogue]) -> PromptSplit:
    """Four prompts to train on, one held out."""
    return PromptSplit(train=prompts[:4], held_out=prompts[4:5])


def told(session: Session) -> dict[str, Any]:
    return json.loads((session.folder / "nonfinite.json").read_text())


def metrics(session: Session) -> list[dict[str, Any]]:
    return read_journal(session.folder / "metrics.jsonl")


QUANTITIES = {
    "ratio": "log-probability ratio",
    "policy loss": "policy loss",
    "value loss": "value loss",
    "gradient": "policy gradient norm",
}
# of an update's two forests: the first update's first and second, and one of the second iteration
CALLS = {"first": 0, "accumulated": 1, "later": 6}


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("where", QUANTITIES)
@pytest.mark.parametrize("call", CALLS)
def test_it_stops_before_the_update_and_names_the_rows(
    where: str,
    value: float,
    call: str,
    policy: Policy,
    judges: RewardJudges,
    session: Session,
    prompts: list[Dialogue],
    monkeypatch: pytest.MonkeyPatch,
    opened: list[Roles],
) -> None:
    poison = Poison(where, (CALLS[call],), value, monkeypatch, opened)
    with pytest.raises(NonFiniteError, match="stopped before the update") as caught:
        train_ppo(policy, judges, split(prompts), SETTINGS, session)
    step = CALLS[call] // 4 + 1
    assert (caught.value.quantity, caught.value.step) == (QUANTITIES[where], step)
    assert not math.isfinite(float(caught.value.value))
    assert set(caught.value.rows) <= {str(prompt.source) for prompt in prompts[:4]}
    for name, tensor in weights(opened[0]).items():
        assert torch.equal(tensor, poison.before[name]), name
        assert torch.isfinite(tensor).all(), name
    assert told(session)["stopped"] == {
        "quantity": QUANTITIES[where],
        "value": caught.value.value,
        "step": step,
        "rows": list(caught.value.rows),
    }
    assert [row["step"] for row in metrics(session)] == list(range(1, step))
    assert all(math.isfinite(number) for row in metrics(session) for number in row.values())


# the held-out answers are scored by both judges first (0, 1), then the iterations' (2, 3 and 4, 5)
@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize(("call", "step", "quantity"), [(1, 0, "held-out reward"), (2, 1, "reward"), (5, 2, "reward")])
def test_a_reward_that_is_not_finite_names_its_row(
    value: float,
    call: int,
    step: int,
    quantity: str,
    policy: Policy,
    judges: RewardJudges,
    session: Session,
    prompts: list[Dialogue],
    monkeypatch: pytest.MonkeyPatch,
    opened: list[Roles],
) -> None:
    poison = Poison("reward", (call,), value, monkeypatch, opened)
    with pytest.raises(NonFiniteError):
        train_ppo(policy, judges, split(prompts), SETTINGS, session)
    stopped = told(session)["stopped"]
    assert (stopped["quantity"], stopped["step"], len(stopped["rows"])) == (quantity, step, 1)
    assert all(torch.equal(tensor, poison.before[name]) for name, tensor in weights(opened[0]).items())


def test_a_reward_that_is_not_finite_stops_rejection_sampling_with_its_row(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    Poison("reward", (0,), math.nan, monkeypatch)
    settings = RejectionSettings(sampling=CandidateSettings(max_new_tokens=4), samples_per_prompt=2)
    with pytest.raises(NonFiniteError):
        rejection_sample(policy, prompts[:3], judges, settings, session, version=1)
    assert told(session)["stopped"]["rows"] == [str(prompts[2].source)]
    assert not (session.folder / "kept.jsonl").exists()


@pytest.mark.parametrize("where", [*QUANTITIES, "reward"])
def test_a_skipped_update_is_counted_and_told_without_an_invented_number(
    where: str,
    policy: Policy,
    judges: RewardJudges,
    session: Session,
    prompts: list[Dialogue],
    monkeypatch: pytest.MonkeyPatch,
    opened: list[Roles],
) -> None:
    poison = Poison(where, (2,) if where == "reward" else (1,), math.nan, monkeypatch, opened)
    settings = SETTINGS.model_copy(update={"nonfinite_skips": 1})
    result = train_ppo(policy, judges, split(prompts), settings, session)
    assert result.skipped == 1
    assert all(torch.isfinite(tensor).all() for tensor in weights(opened[0]).values())
    assert any(not torch.equal(tensor, poison.before[name]) for name, tensor in weights(opened[0]).items())
    events = told(session)
    assert [event["step"] for event in events["skipped"]] == [1]
    assert events["stopped"] is None
    first, second = metrics(session)
    assert (first["skipped"], "skipped" in second) == (1, False)
    assert ("reward" in first, "reward" in second) == (where != "reward", True)
    assert all(math.isfinite(number) for row in (first, second) for number in row.values())


def test_an_iteration_none_of_whose_updates_could_be_made_has_no_losses(
    policy: Policy,
    judges: RewardJudges,
    session: Session,
    prompts: list[Dialogue],
    monkeypatch: pytest.MonkeyPatch,
    opened: list[Roles],
) -> None:
    poison = Poison("ratio", (0, 1), math.inf, monkeypatch, opened)  # an update ends at its first forest
    settings = SETTINGS.model_copy(update={"nonfinite_skips": 2, "iterations": 1, "evaluate_every": 1})
    train_ppo(policy, judges, split(prompts), settings, session)
    (row,) = metrics(session)
    assert row["skipped"] == 2
    assert not {"policy_loss", "value_loss", "policy_gradient_norm"} & row.keys()
    assert all(torch.equal(tensor, poison.before[name]) for name, tensor in weights(opened[0]).items())


@pytest.mark.parametrize("resumed", [False, True])
def test_the_skip_after_the_last_allowed_one_stops_also_after_a_resume(
    resumed: bool,
    policy: Policy,
    judges: RewardJudges,
    session: Session,
    prompts: list[Dialogue],
    monkeypatch: pytest.MonkeyPatch,
    fresh_policy: Callable[[], Policy],
) -> None:
    settings = SETTINGS.model_copy(update={"nonfinite_skips": 1})
    # an update that is skipped at its first forest has one call, the others two: the second iteration begins at 3
    Poison("ratio", (0, 3), math.nan, monkeypatch)
    if resumed:
        session.stop.request(15)
        with pytest.raises(Interrupted):
            train_ppo(policy, judges, split(prompts), settings, session)
        session = dataclasses.replace(session, stop=type(session.stop)())
        policy = fresh_policy()
    with pytest.raises(NonFiniteError, match="at step 2"):
        train_ppo(policy, judges, split(prompts), settings, session)
    assert [event["step"] for event in told(session)["skipped"]] == [1]
    assert told(session)["stopped"]["step"] == 2


@pytest.fixture
def fresh_policy(policy: Policy) -> Callable[[], Policy]:
    """The policy as a new process would load it."""
    import copy

    start = copy.deepcopy(policy.model)
    return lambda: Policy(model=copy.deepcopy(start), tokenizer=policy.tokenizer)
