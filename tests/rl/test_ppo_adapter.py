"""PPO with an adapter: policy and value function learn beside frozen bases, and the policy's base is the reference."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from alignment.batch.render import answer_tree
from alignment.errors import Interrupted
from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.records import Dialogue
from alignment.train.checkpoints import model_tensors
from alignment.train.session import Session
from rl.judges import RewardJudges
from rl.ppo import train_ppo
from rl.roles import Roles, open_roles
from rl.settings import PpoAdapterSettings, PpoOptimizerSettings
from tests.rl.test_ppo import SETTINGS as WHOLE
from tests.rl.test_ppo import both
from tests.tolerances import FP32_SAME_CODE

peft = pytest.importorskip("peft", reason="the extra 'peft' is not installed")
SETTINGS = WHOLE.model_copy(
    update={"optimizer": PpoOptimizerSettings(learning_rate=2e-2), "adapter": PpoAdapterSettings(rank=4)}
)
IDS = torch.arange(20)[None] * 7


@pytest.fixture
def base(policy: Policy, tmp_path: Path) -> Path:
    """The chat model that PPO starts from, saved."""
    save_policy(policy, tmp_path / "chat" / "checkpoint")
    return tmp_path / "chat" / "checkpoint"


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def test_it_saves_an_adapter_that_opens_as_the_best_policy(
    base: Path, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    policy = load_policy(base)
    before = logits(policy.model)
    result = train_ppo(policy, judges, both(prompts), SETTINGS, session)
    checkpoint = session.folder / "checkpoint"
    assert torch.equal(logits(load_policy(checkpoint).model), logits(policy.model))
    theirs = peft.PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base), checkpoint)
    torch.testing.assert_close(logits(theirs), logits(policy.model), rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)
    assert result.best.iteration > 0
    assert not torch.allclose(before, logits(policy.model), atol=1e-3)
    assert result.as_json()["adapter_parameters"] == 2 * (4 * (32 + 32) + 4 * (32 + 16))  # of q and v


def test_policy_and_value_learn_and_their_bases_stay(
    base: Path, judges: RewardJudges, session: Session, prompts: list[Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[dict[str, torch.Tensor], dict[str, bool]]] = []
    real = Roles.per_token

    def watch(roles: Roles, trees: object, *rest: object) -> object:
        parts = {"policy": roles.policy.model, "value": roles.value}
        now = {f"{n}.{k}": p for n, part in parts.items() for k, p in part.named_parameters()}
        values = {name: parameter.detach().clone() for name, parameter in now.items()}
        seen.append((values, {name: parameter.requires_grad for name, parameter in now.items()}))
        return real(roles, trees, *rest)

    monkeypatch.setattr(Roles, "per_token", watch)
    train_ppo(load_policy(base), judges, both(prompts), SETTINGS, session)
    (first, trained), (last, _) = seen[0], seen[-1]
    moved = {name for name, value in last.items() if not torch.equal(value, first[name])}
    assert moved == {name for name, is_trained in trained.items() if is_trained}
    assert all(".lora_" in name or ".score." in name for name in moved)
    assert {name.split(".")[0] for name in moved} == {"policy", "value"}


def test_the_reference_is_the_policy_without_its_adapter_and_no_copy(
    base: Path, judges: RewardJudges, session: Session
) -> None:
    start = open_roles(load_policy(base), judges, SETTINGS.model_copy(update={"adapter": None}), session)
    roles = open_roles(load_policy(base), judges, SETTINGS, session)
    assert roles.reference is None
    trees = [answer_tree([1, 5, 9], [[30, 31, 2]], row="x", trained=True)]
    equal = roles.per_token(trees)
    assert torch.equal(equal.log_probs, equal.reference)
    for name, parameter in roles.policy.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(0))
    now = roles.per_token(trees)
    assert torch.equal(now.reference, start.per_token(trees).reference)
    assert not torch.allclose(now.log_probs, now.reference, atol=1e-3)
    assert any(parameter.requires_grad for parameter in roles.policy.model.parameters())


def test_stopped_after_each_iteration_it_ends_as_if_undisturbed(
    base: Path, judges: RewardJudges, session: Session, prompts: list[Dialogue], tmp_path: Path
) -> None:
    train_ppo(load_policy(base), judges, both(prompts), SETTINGS, session)
    other = dataclasses.replace(session, folder=tmp_path / "interrupted")
    for _ in range(SETTINGS.iterations - 1):
        other.stop.request(15)
        with pytest.raises(Interrupted):
            train_ppo(load_policy(base), judges, both(prompts), SETTINGS, other)
    (step,) = list((other.folder / "checkpoints").glob("step-*2"))
    assert all(".lora_" in name for name in load_file(step / "policy.safetensors"))
    assert all(".lora_" in name for name in load_file(step / "best.safetensors"))
    other.stop.signal_number = None
    train_ppo(load_policy(base), judges, both(prompts), SETTINGS, other)
    whole, resumed = (load_file(s.folder / "checkpoint" / "adapter_model.safetensors") for s in (session, other))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_the_judges_stay_as_they_are(
    base: Path, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    before = {name: tensor.clone() for name, tensor in model_tensors(judges.helpfulness.model).items()}
    train_ppo(load_policy(base), judges, both(prompts), SETTINGS, session)
    after = model_tensors(judges.helpfulness.model)
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
