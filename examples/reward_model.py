"""A reward model and its accuracy by grade (Llama 2 paper, 3.2.2), on the embedded town.

    python examples/reward_model.py --out runs/reward-model
    python examples/reward_model.py --pairs mine.jsonl --model path/to/checkpoint --out runs/mine

Without `--model` a small chat model is made first.  Without `--pairs` the pairs are answers that the town's annotators
compared: the stronger they preferred one, the surer the reward model should be.  docs/data.md shows what a file of
one's own may look like.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from alignment import (
    ComputeSettings,
    LabelledAnswer,
    ModelSettings,
    OptimizerSettings,
    Policy,
    Preference,
    Session,
    SftSettings,
    TokenizerSettings,
    World,
    load_policy,
    load_preferences,
    sft,
    train_tokenizer,
)
from alignment.model.checkpoint import count_parameters
from alignment.records import GRADES
from alignment.world import WorldSettings
from reward import RewardSettings, train_reward
from reward.result import Share
from reward.settings import RewardOptimizerSettings

TOWN = WorldSettings(size="seconds", num_people=24, biographies_per_person=20)
COMPUTE = ComputeSettings(precision="fp32", threads=1)  # a model this small is slower on several threads


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a reward model and measure it on pairs it has not seen.")
    parser.add_argument("--pairs", type=Path, help="preferences as a file; without it those of the embedded town")
    parser.add_argument("--model", type=Path, help="a chat model's checkpoint; without it a small one is trained")
    parser.add_argument("--out", type=Path, default=Path("runs/reward-model"))
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} is there already; give a new folder as --out")
    town = World(TOWN)
    policy = load_policy(args.model) if args.model else chat_model(town, args.out / "sft")

    if args.pairs:
        loaded = load_preferences(args.pairs, held_out_fraction=0.1, quarantine=args.out / "quarantine.jsonl")
        pairs, held_out = loaded.train, loaded.held_out
    else:
        pairs = list(town.preferences("helpfulness", "train"))
        held_out = [*town.preferences("helpfulness", "validation"), *town.preferences("helpfulness", "test")]
    accuracy = train_on(policy, pairs, held_out, args.out / "reward-helpfulness")
    print(f"{len(pairs)} pairs; accuracy on those held out:")
    for grade in ("all", *(f"grade:{grade}" for grade in (*GRADES, "ungraded"))):
        if grade in accuracy:
            name, share = grade.removeprefix("grade:"), accuracy[grade]
            print(f"  {name:14} {share.value:.2f} [{share.low:.2f}, {share.high:.2f}]  {share.pairs} pairs")


def chat_model(town: World, folder: Path) -> Policy:
    """A small chat model of the town: its tokenizer, and SFT from nothing."""
    dialogues = list(islice(town.dialogues("train"), 400))
    tokenizer = train_tokenizer(dialogues, TokenizerSettings(vocab_size=512))
    shape = ModelSettings(size="custom", width=64, layers=2, heads=4, kv_heads=2, context_length=256)
    policy = Policy.fresh(shape, tokenizer)
    settings = SftSettings(
        context_length=256,
        pack_length=1024,
        batch_size=1,
        epochs=4,
        optimizer=OptimizerSettings(learning_rate=5e-3, warmup_steps=10),
    )
    result = sft(policy, dialogues, settings, Session(folder, compute=COMPUTE))
    print(f"a chat model of {count_parameters(policy.model):,} parameters after {result.steps} steps")
    return policy


def train_on(
    policy: Policy,
    pairs: Sequence[Preference | LabelledAnswer],
    held_out: Sequence[Preference | LabelledAnswer],
    folder: Path,
) -> Mapping[str, Share]:
    """Train one reward model into `folder/checkpoint`; group of held-out pairs -> share ranked right, with interval."""
    settings = RewardSettings(
        context_length=256,
        pack_length=2048,
        batch_size=16,
        epochs=6,
        optimizer=RewardOptimizerSettings(learning_rate=2e-3),
    )
    session = Session(folder, compute=COMPUTE)
    result = train_reward(policy, pairs, settings, session, held_out, name=folder.name)
    return result.evaluation.accuracy


if __name__ == "__main__":
    main()
