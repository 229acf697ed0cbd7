"""Supervised fine-tuning on one's own chats (Llama 2 paper, 3.1): JSON Lines in, a chat model out.

    python examples/sft_on_own_chats.py --out runs/own-chats
    python examples/sft_on_own_chats.py --chats mine.jsonl --model path/to/checkpoint --out runs/mine

Without `--model` a model of some 150,000 parameters is made from nothing and learns the thirty chats of chats.jsonl
by heart: in seconds, offline, and of no other use.  With `--model` it is real work; `align run` does the same from a
recipe, with a page of figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from alignment import (
    ComputeSettings,
    DataSettings,
    Dialogue,
    ModelSettings,
    OptimizerSettings,
    Policy,
    SamplingSettings,
    Session,
    SftSettings,
    SourceSettings,
    TokenizerSettings,
    load_dialogues,
    load_policy,
    sft,
    train_tokenizer,
)
from alignment.generate.draw import make_sampler
from alignment.generate.sampler import SampleRequest
from alignment.text.chat import render_prompt

ONE_THREAD = ComputeSettings(precision="fp32", threads=1)  # a model this small is slower on several


def main() -> None:
    parser = argparse.ArgumentParser(description="SFT on your own chats.")
    parser.add_argument("--chats", type=Path, default=Path(__file__).with_name("chats.jsonl"))
    parser.add_argument("--model", type=Path, help="a checkpoint to start from; without it a tiny new model")
    parser.add_argument("--ask", default="Do you buy used books?", help="what the tuned model is asked")
    parser.add_argument("--epochs", type=float, default=40)
    parser.add_argument("--out", type=Path, default=Path("runs/own-chats"))
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} is there already; give a new folder as --out")
    session = Session(args.out, compute=ComputeSettings() if args.model else ONE_THREAD)

    # 1. rows become dialogues; a bad row goes to quarantine.jsonl with its line and the reason
    source = SourceSettings(path=str(args.chats), form="messages")
    data = DataSettings(train=(source,), held_out_fraction=0.1)
    chats = load_dialogues(data, seed=0, quarantine=args.out / "quarantine.jsonl")
    print(f"{len(chats.train)} chats to train on, {len(chats.held_out)} held out")

    # 2. the model to start from, and what it is to learn: loss on answers only, chats packed to the context
    policy = load_policy(args.model) if args.model else tiny_policy(chats.train)
    optimizer = OptimizerSettings(learning_rate=2e-5 if args.model else 5e-3, warmup_fraction=0.03)
    settings = SftSettings(context_length=256, pack_length=1024, batch_size=1, epochs=args.epochs, optimizer=optimizer)
    result = sft(policy, chats.train, settings, session, chats.held_out)
    print(f"held-out loss {result.held_out['loss']:.3f} after {result.steps} steps")

    # 3. the checkpoint is a transformers folder; any of the suite's verbs and `from_pretrained` take it
    print(f"> {args.ask}\n{answer(load_policy(args.out / 'checkpoint'), args.ask)}")
    print(f"checkpoint: {args.out / 'checkpoint'}")


def tiny_policy(chats: Sequence[Dialogue]) -> Policy:
    """A tokenizer of the chats' own words and an untrained model."""
    tokenizer = train_tokenizer(chats, TokenizerSettings(vocab_size=480))
    return Policy.fresh(
        ModelSettings(size="custom", width=64, layers=2, heads=4, kv_heads=2, context_length=256), tokenizer
    )


def answer(policy: Policy, question: str) -> str:
    """The most likely answer, token by token."""
    prompt_ids = tuple(render_prompt(Dialogue.of(question), policy.tokenizer))
    request = SampleRequest(id="asked", prompt_ids=prompt_ids, seeds=(0,))
    ((sample,),) = make_sampler(policy).sample([request], SamplingSettings(temperature=0.0, max_new_tokens=60))
    return policy.tokenizer.decode(sample.token_ids).strip()


if __name__ == "__main__":
    main()
