"""A reward model with an adapter: its head is trained whole beside it and goes wherever the adapter goes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaForSequenceClassification

from alignment.errors import CheckpointError, Interrupted, TokenizerError
from alignment.policy.foreign.meta import write_meta_checkpoint
from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.policy.settings import AdapterSettings
from alignment.records import Dialogue, Preference, Source, Turn
from alignment.text.settings import TokenizerSettings
from alignment.text.tokenizer import train_tokenizer
from alignment.train.session import Session, Silent, StopFlag
from alignment.train.settings import ComputeSettings
from reward.brought import open_reward_model
from reward.model import RewardModel
from reward.settings import RewardOptimizerSettings, RewardSettings
from reward.train import train_reward
from tests.conftest import SENTENCES
from tests.tolerances import FP32_SAME_CODE

peft = pytest.importorskip("peft", reason="the extra 'peft' is not installed")
IDS = torch.arange(3, 20)[None] * 7
HEAD = "base_model.model.score.weight"


def preferences() -> list[Preference]:
    """The chosen answer names the baker."""
    made = []
    for i in range(8):
        source = Source(file="made", line=i + 1)
        asked = Dialogue(turns=(Turn(role="user", content=f"who sells the bread in {i}?"),), source=source, id=f"p{i}")
        chosen, rejected = "the baker sells the bread.", "the miller."
        made.append(Preference(prompt=asked, chosen=chosen, rejected=rejected, grade="better", source=source))
    return made


class StopsAfter(Silent):
    """Asks to stop after a step."""

    def __init__(self, stop: StopFlag, at: int) -> None:
        self.stop, self.at = stop, at

    def step(self, done: int, metrics: object) -> None:
        if done == self.at and metrics:
            self.stop.request(15)


@pytest.fixture
def base(policy: Policy, tmp_path: Path) -> Path:
    """The chat model that the reward model starts from, saved."""
    save_policy(policy, tmp_path / "chat" / "checkpoint")
    return tmp_path / "chat" / "checkpoint"


@pytest.fixture
def trained(base: Path, tmp_path: Path) -> Callable[..., Path]:
    """Six steps with an adapter; gives the checkpoint's folder."""

    def run(name: str = "reward", *, start: RewardModel | None = None, stop_after: int | None = None) -> Path:
        stop = StopFlag()
        session = Session(
            tmp_path / name,
            compute=ComputeSettings(precision="fp32", threads=1),
            stop=stop,
            progress=StopsAfter(stop, stop_after) if stop_after is not None else None,
        )
        settings = RewardSettings(
            batch_size=4,
            epochs=3,
            adapter=AdapterSettings(dropout=0.3),
            optimizer=RewardOptimizerSettings(learning_rate=1e-2, warmup_steps=1),
        )
        train_reward(load_policy(base), preferences(), settings, session, preferences()[:2], start=start)
        return session.folder / "checkpoint"

    return run


def scores(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def test_the_head_is_saved_with_the_adapter_and_not_the_body(trained: Callable[..., Path]) -> None:
    tensors = load_file(trained() / "adapter_model.safetensors")
    assert HEAD in tensors
    assert len(tensors) == 1 + 2 * 2 * 2  # the head; layers, targets, A and B


def test_the_head_is_trained(trained: Callable[..., Path], base: Path) -> None:
    head = load_file(trained() / "adapter_model.safetensors")[HEAD]
    new = RewardModel.from_policy(load_policy(base), seed=0, name="reward").model.score.weight
    assert not torch.allclose(head, new, atol=1e-3)


def test_loaded_it_scores_as_it_did_when_its_training_ended(trained: Callable[..., Path], base: Path) -> None:
    started = RewardModel.from_policy(load_policy(base), seed=0, name="reward")
    again = RewardModel.load(trained("again", start=started))
    assert torch.equal(scores(again.model), scores(started.model))
    assert torch.equal(again.model.score.weight, started.model.score.weight)


def test_peft_opens_it_on_transformers_own_classifier_with_the_same_scores(
    trained: Callable[..., Path], base: Path
) -> None:
    checkpoint = trained()
    plain = LlamaForSequenceClassification.from_pretrained(base, num_labels=1)
    theirs = peft.PeftModel.from_pretrained(plain, checkpoint)
    theirs.config.pad_token_id = 0
    expected = scores(RewardModel.load(checkpoint).model)
    torch.testing.assert_close(scores(theirs), expected, rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)


def test_the_head_survives_being_merged_and_saved_whole(trained: Callable[..., Path], tmp_path: Path) -> None:
    loaded = RewardModel.load(trained())
    loaded.save(tmp_path / "whole")
    theirs = LlamaForSequenceClassification.from_pretrained(tmp_path / "whole")
    assert torch.equal(theirs.score.weight, loaded.model.score.weight)
    torch.testing.assert_close(scores(theirs), scores(loaded.model), rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)


def test_the_head_is_resumed_with_the_adapter(trained: Callable[..., Path]) -> None:
    straight = load_file(trained("straight") / "adapter_model.safetensors")
    with pytest.raises(Interrupted):
        trained("stopped", stop_after=3)
    resumed = load_file(trained("stopped") / "adapter_model.safetensors")
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in straight.items())


def test_a_later_one_goes_on_from_the_merged_model_and_its_head(trained: Callable[..., Path]) -> None:
    first = trained("first")
    model = RewardModel.load(first)
    second = trained("second", start=model)
    assert torch.equal(scores(RewardModel.load(second).model), scores(model.model))
    assert not torch.allclose(scores(RewardModel.load(first).model), scores(model.model), atol=1e-3)


def test_it_can_be_brought_into_another_run(trained: Callable[..., Path], base: Path) -> None:
    checkpoint = trained()
    brought = open_reward_model(checkpoint, load_policy(base).tokenizer)
    assert isinstance(brought, RewardModel)
    assert torch.equal(scores(brought.model), scores(RewardModel.load(checkpoint).model))


def test_brought_with_another_tokenizer_it_is_refused(trained: Callable[..., Path]) -> None:
    other = train_tokenizer(SENTENCES[::-1] * 4, TokenizerSettings(vocab_size=390, character_coverage=0.995))
    with pytest.raises(TokenizerError, match="both must be made with the same one"):
        open_reward_model(trained(), other)


def test_it_is_no_chat_model(trained: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointError, match="reward model's adapter, which scores answers and gives none"):
        load_policy(trained())


def test_a_chat_models_adapter_is_no_reward_model(base: Path, tmp_path: Path) -> None:
    config = peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM", base_model_name_or_path=str(base))
    peft.get_peft_model(load_policy(base).model, config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(CheckpointError, match="adapter of a chat model, which gives no scores"):
        RewardModel.load(tmp_path / "adapter")


def test_a_base_that_is_gone_may_be_given(trained: Callable[..., Path], base: Path, tmp_path: Path) -> None:
    checkpoint = trained()
    expected = scores(RewardModel.load(checkpoint).model)
    base.rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"not to be had .*; say base=FOLDER, or put it back there"):
        RewardModel.load(checkpoint)
    assert torch.equal(scores(RewardModel.load(checkpoint, base=tmp_path / "elsewhere").model), expected)


def test_it_may_begin_from_metas_files(policy: Policy, trained: Callable[..., Path], base: Path) -> None:
    shutil.rmtree(base)
    write_meta_checkpoint(policy.model, base)
    policy.tokenizer.save(base)
    head = load_file(trained() / "adapter_model.safetensors")[HEAD]
    assert torch.equal(RewardModel.load(base.parents[1] / "reward" / "checkpoint").model.score.weight, head)


def test_on_another_base_it_is_refused(trained: Callable[..., Path], policy: Policy, base: Path) -> None:
    checkpoint = trained()
    with torch.no_grad():
        policy.model.model.norm.weight[0] += 1.0
    save_policy(policy, base)
    with pytest.raises(CheckpointError, match="trained on a base whose weights are"):
        RewardModel.load(checkpoint)
