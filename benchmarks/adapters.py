"""Memory, time and files of a fine-tuning of all weights, of LoRA and of QLoRA; prints the table of docs/adapters.md.

    python -m benchmarks.adapters [--threads 1] [--steps 8]

Each way runs in a process of its own: SFT of a model of 91 M parameters from a checkpoint on the disk, 256 tokens a
step, fp32.  Told are the numbers that are trained, the process' peak memory, the seconds of the fastest step after the
first, and the size of a training checkpoint and of the stage's.  QLoRA is left out without bitsandbytes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from alignment.model.settings import ModelSettings
from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.policy.settings import AdapterSettings
from alignment.records import Dialogue, Source, Turn
from alignment.train.session import Session, Silent
from alignment.train.settings import ComputeSettings, SftSettings
from alignment.train.sft import sft
from benchmarks.measure import use_machine
from benchmarks.ppo import make_tokenizer

WAYS: dict[str, AdapterSettings | None] = {
    "all weights": None,
    "`{}`": AdapterSettings(),
    "`{targets: all-linear}`": AdapterSettings(targets="all-linear"),
    "QLoRA's, `nf4`": AdapterSettings(rank=64, targets="all-linear", base_precision="nf4"),
}
SHAPE = ModelSettings(size="custom", width=768, layers=12, heads=12, kv_heads=12, multiple_of=256, context_length=512)
TOKENS = 256
VOCABULARY = 4096


class Watched(Silent):
    """Remembers when each step ended, and the largest training checkpoint.

    Args:
        folder: of the training.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.ends, self.largest = folder, list[float](), 0

    def step(self, done: int, metrics: Mapping[str, float]) -> None:
        """Between two steps: the one before has been saved where it was due."""
        self.ends.append(time.perf_counter())
        saved = (path for path in (self.folder / "checkpoints").glob("*") if path.is_dir())
        self.largest = max([self.largest, *map(size_of, saved)])


def size_of(folder: Path) -> int:
    """Bytes of weights and states below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def chats() -> list[Dialogue]:
    """Dialogues that fill a step each."""
    said = " ".join(f"word{i % 97}" for i in range(TOKENS))
    turns = (Turn(role="user", content="what is said?"), Turn(role="assistant", content=said))
    return [Dialogue(turns=turns, source=Source(file="made", line=i + 1), id=str(i)) for i in range(8)]


def run_way(way: str, base: Path, steps: int, threads: int) -> None:
    """Train one way and print its figures."""
    use_machine(threads)
    policy = load_policy(base)
    settings = SftSettings(
        adapter=WAYS[way],
        context_length=TOKENS,
        pack_length=TOKENS,
        batch_size=1,
        max_steps=steps,
        epochs=steps,
        save_every=2,
    )
    with tempfile.TemporaryDirectory() as name:
        progress = Watched(Path(name))
        session = Session(name, compute=ComputeSettings(precision="fp32", threads=threads), progress=progress)
        result = sft(policy, chats(), settings, session)
        whole = sum(parameter.numel() for parameter in policy.model.parameters())
        seconds = [later - earlier for earlier, later in pairwise(progress.ends[1:])]
        found = {
            "numbers": result.adapter_parameters or whole,
            "gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
            "seconds": min(seconds),  # a step that was not followed by a save
            "training": progress.largest / 2**20,
            "stage": size_of(Path(name) / "checkpoint") / 2**20,
        }
        print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8, help="of each training, at least 4")
    parser.add_argument("--way", choices=tuple(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        run_way(asked.way, asked.base, asked.steps, asked.threads)
        return
    print("| trained | numbers | memory of the process | seconds a step | training checkpoint | stage's checkpoint |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        tokenizer = make_tokenizer(VOCABULARY, ends=True)
        save_policy(Policy.fresh(SHAPE, tokenizer), Path(name) / "base")
        for way, adapter in WAYS.items():
            if adapter is not None and adapter.base_precision == "nf4" and not find_spec("bitsandbytes"):
                print(f"| {way} | needs bitsandbytes (extra `qlora`) |")
                continue
            command = [sys.executable, "-m", "benchmarks.adapters", "--way", way, "--base", f"{name}/base"]
            command += ["--steps", str(asked.steps), "--threads", str(asked.threads)]
            ended = subprocess.run(command, check=True, capture_output=True, text=True)
            f = json.loads(ended.stdout.splitlines()[-1])
            print(
                f"| {way} | {f['numbers'] / 1e6:.1f} M | {f['gb']:.2f} GB | {f['seconds']:.1f} | "
                f"{f['training']:,.1f} MiB | {f['stage']:,.1f} MiB |"
            )


if __name__ == "__main__":
    main()
