"""Rejection sampling, then PPO on top (Llama 2 paper, 3.2.3), on the embedded town.

    python examples/rejection_then_ppo.py --out runs/rejection-then-ppo

Starts from what reward_model.py makes: a small chat model and a reward model, here one for helpfulness and one for
safety.  The rewards that are printed are these models' own scores before the sigmoid: they show that the loops work,
not that the answers became better.  For that a judge must answer that took no part, as in the recipe `quickstart`.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from reward_model import COMPUTE, TOWN, chat_model, train_on

from alignment import OptimizerSettings, Session, World
from rl import PromptSplit, RewardJudges, rejection_sample, train_ppo
from rl.settings import CandidateSettings, PpoOptimizerSettings, PpoSettings, RejectionSettings, RolloutSettings


def main() -> None:
    parser = argparse.ArgumentParser(description="One RLHF version by rejection sampling, and PPO on top of it.")
    parser.add_argument("--prompts", type=int, default=64, help="prompts that rejection sampling answers")
    parser.add_argument("--iterations", type=int, default=6, help="PPO iterations, of 64 prompts each")
    parser.add_argument("--out", type=Path, default=Path("runs/rejection-then-ppo"))
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} is there already; give a new folder as --out")
    town = World(TOWN)

    # 1. the chat model, and a reward model for each of the paper's two campaigns
    policy = chat_model(town, args.out / "sft")
    for campaign in ("helpfulness", "safety"):
        pairs, unseen = [list(islice(town.preferences(campaign, split), 400)) for split in ("train", "validation")]
        accuracy = train_on(policy, pairs, unseen, args.out / campaign)
        print(f"the {campaign} reward model ranks {accuracy['all'].value:.2f} of the held-out pairs right")
    helpfulness, safety = [args.out / name / "checkpoint" for name in ("helpfulness", "safety")]
    judges = RewardJudges.load(helpfulness, safety, compute=COMPUTE)
    prompts, held_out = [[*town.prompts("helpfulness", s), *town.prompts("safety", s)] for s in ("train", "validation")]

    # 2. rejection sampling: four answers to each prompt, the best by reward kept, and SFT on what was kept
    rejection = RejectionSettings(
        samples_per_prompt=4,
        prompts_per_version=args.prompts,
        sampling=CandidateSettings(max_new_tokens=32),
        context_length=256,
        pack_length=1024,
        batch_size=1,
        optimizer=OptimizerSettings(learning_rate=3e-4, warmup_fraction=0.05),
    )
    session = Session(args.out / "rlhf-v1", compute=COMPUTE)
    version = rejection_sample(policy, prompts, judges, rejection, session)
    drawn = version.sampling
    one, kept = drawn.best_by_n["1"]["value"], drawn.kept_reward  # of answers that ended: one at random, the best of 4
    print(f"rejection sampling: mean reward {one:.2f}, of the kept answers {kept:.2f}")

    # 3. PPO from there: the whitened reward minus beta times the KL to the model that it starts from
    ppo = PpoSettings(
        iterations=args.iterations,
        batch_size=64,
        minibatch_size=16,
        kl_coefficient=0.02,
        sampling=RolloutSettings(max_new_tokens=32),
        evaluate_every=3,
        value_learning_rate=1e-3,
        optimizer=PpoOptimizerSettings(learning_rate=5e-4),
    )
    split = PromptSplit(train=prompts, held_out=held_out)
    result = train_ppo(policy, judges, split, ppo, Session(args.out / "rlhf-v2", compute=COMPUTE))
    print(f"PPO: held-out reward {result.course[0].reward:.2f}, and {result.best.reward:.2f} at its best iteration")
    print(f"checkpoints: {args.out / 'rlhf-v1' / 'checkpoint'}, {args.out / 'rlhf-v2' / 'checkpoint'}")


if __name__ == "__main__":
    main()
