"""Pretraining beside another busy process, us and a compiled plain loop in turn, each in a process of its own.

    python -m benchmarks.contention [--bf16] [--threads 2] [--rounds 3] [--others 1]

The other process keeps `--others` cores busy with matrix products all the while.  The last line's ratio is ours over
the peer's; both train on the same full blocks of 512 tokens (benchmarks/pretrain.py).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.measure import print_result, rate
from benchmarks.pretrain import both_sides

_BUSY = "import torch; torch.set_num_threads({threads}); a = torch.randn(768, 768)\nwhile True: a @ a"


@contextmanager
def busy(threads: int) -> Iterator[None]:
    """Another process that keeps so many cores busy."""
    process = subprocess.Popen([sys.executable, "-c", _BUSY.format(threads=threads)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measured(side: str, asked: argparse.Namespace) -> float:
    """Tokens a second of one side in a fresh process, warmed up once."""
    options = ["--side", side, "--threads", str(asked.threads), *(["--bf16"] if asked.bf16 else [])]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.contention", *options], capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast on both sides")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--others", type=int, default=1, help="cores that the other process keeps busy")
    parser.add_argument("--side", choices=("ours", "peer"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side is not None:
        ours, peer = both_sides(bf16=asked.bf16, threads=asked.threads if asked.side == "ours" else None)
        work = ours if asked.side == "ours" else peer
        work()
        print(rate(work))
        return
    found: dict[str, list[float]] = {"ours": [], "peer": []}
    with busy(asked.others):
        for turn in range(1, asked.rounds + 1):
            for side, rates in found.items():
                rates.append(measured(side, asked))
                print(f"round {turn}: {side} {rates[-1]:,.0f}", file=sys.stderr, flush=True)
    medians = [statistics.median(rates) for rates in found.values()]
    work_name = f"pretraining beside {asked.others} busy core{'s' if asked.others > 1 else ''}"
    print_result(work_name, "bf16" if asked.bf16 else "fp32", "tokens/s", *medians)


if __name__ == "__main__":
    main()
