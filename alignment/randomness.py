"""Named randomness: every draw has a name, so that nothing around it can move it.

A stream is named by (run seed, stage, iteration, prompt id, sample, …).  Resuming, batch
composition, worker count and `PYTHONHASHSEED` therefore cannot change a draw.  No torch.
"""

from __future__ import annotations

import hashlib

import numpy as np

Name = str | int


def named_seed(seed: int, *names: Name) -> int:
    """A 63-bit seed for the stream of that name: the head of SHA-256 over the typed names.

    Args:
        seed: the run's seed.
        names: strings and integers; `1` and `"1"` name different streams.
    """
    digest = hashlib.sha256(str(int(seed)).encode())
    for name in names:
        kind = "i" if isinstance(name, int) else "s"
        text = str(name).encode()
        digest.update(f"|{kind}{len(text)}:".encode() + text)
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def named_generator(seed: int, *names: Name) -> np.random.Generator:
    """A numpy generator (Philox) for the stream of that name."""
    return np.random.Generator(np.random.Philox(key=named_seed(seed, *names)))
