"""B9: what is saved can be padded by transformers, and padding changes no answer and no score."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers import LlamaForSequenceClassification as TransformersReward

from alignment.policy.policy import Policy, save_policy
from alignment.records import Dialogue, Source, Turn
from alignment.text.chat import answer_ids, render_prompt
from alignment.train.compute import resolve_compute
from alignment.train.settings import ComputeSettings
from reward.model import RewardModel
from tests.tolerances import FP32

TEXTS = ["who sells the bread?", "the baker", "in 1987 the town had 2,304 people and 16 shops; 🦙"]


@pytest.fixture
def reward(policy: Policy, tmp_path: Path) -> RewardModel:
    """A reward model, and its folder `reward`."""
    model = RewardModel.from_policy(policy, seed=0, name="helpfulness")
    model.save(tmp_path / "reward", meta={})
    return model


def test_a_saved_policy_pads_with_a_token_that_no_text_becomes(policy: Policy, tmp_path: Path) -> None:
    save_policy(policy, tmp_path / "p")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "p")
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("<unk>", 0)
    for file in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "p" / file).read_text())["pad_token_id"] == 0
    rows = tokenizer(TEXTS, padding=True)
    for text, ids, mask in zip(TEXTS, rows["input_ids"], rows["attention_mask"], strict=True):
        own = policy.tokenizer.encode(text, bos=True)
        assert ids == [0] * (len(ids) - len(own)) + own
        assert mask == [0] * (len(ids) - len(own)) + [1] * len(own)
        assert 0 not in own


def test_transformers_generates_the_same_for_padded_rows_as_one_by_one(policy: Policy, tmp_path: Path) -> None:
    save_policy(policy, tmp_path / "p")
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(tmp_path / "p"),
        AutoTokenizer.from_pretrained(tmp_path / "p"),
    )
    options = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None}
    together = model.generate(**tokenizer(TEXTS, padding=True, return_tensors="pt"), **options)[:, -5:]
    alone = [model.generate(**tokenizer(text, return_tensors="pt"), **options)[0, -5:].tolist() for text in TEXTS]
    assert together.tolist() == alone


@pytest.mark.parametrize("side", ["left", "right"])
def test_transformers_reads_a_reward_model_and_gives_its_scores_in_padded_rows(
    side: str, reward: RewardModel, tmp_path: Path
) -> None:
    config = json.loads((tmp_path / "reward" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"]
    assert config["pad_token_id"] == 0
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward")
    assert type(theirs) is TransformersReward
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "reward", padding_side=side)
    chats = [[{"role": "user", "content": text}, {"role": "assistant", "content": f"{text} yes"}] for text in TEXTS]
    rows = tokenizer([tokenizer.apply_chat_template(chat, tokenize=False) for chat in chats], padding=True,
                     add_special_tokens=False, return_tensors="pt")  # fmt: skip
    with torch.no_grad():
        together = theirs(**rows).logits
        alone = torch.cat(
            [theirs(input_ids=row[mask.bool()][None]).logits for row, mask in zip(*rows.values(), strict=True)]
        )
    assert together.shape == (3, 1)
    torch.testing.assert_close(together, alone, rtol=FP32, atol=FP32)
    asked = [Dialogue(id=t, turns=(Turn(role="user", content=t),), source=Source(file="t", line=1)) for t in TEXTS]
    ours = reward.score_ids(
        [render_prompt(prompt, reward.tokenizer) for prompt in asked],
        [[answer_ids(f"{text} yes", reward.tokenizer)] for text in TEXTS],
        resolve_compute(ComputeSettings(precision="fp32", threads=1)),
    )
    torch.testing.assert_close(together, torch.tensor(ours), rtol=FP32, atol=FP32)


def test_a_reward_model_of_an_earlier_release_is_still_read(reward: RewardModel, tmp_path: Path) -> None:
    file = tmp_path / "reward" / "config.json"
    config = {**json.loads(file.read_text()), "architectures": ["LlamaReward"]}
    del config["pad_token_id"]
    file.write_text(json.dumps(config))
    (tmp_path / "reward" / "manifest.json").unlink()
    read = RewardModel.load(tmp_path / "reward")
    for name, weight in reward.model.state_dict().items():
        assert torch.equal(read.model.state_dict()[name], weight), name
