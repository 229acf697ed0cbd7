"""The processes of one launch (`torchrun`): all of them train, the first keeps the run's books.  No torch.

The first process holds the lock, writes the records, and works alone on what is not trained in parallel; the others
wait for it and then read what it wrote.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

_LONGEST = timedelta(days=7)  # that others wait while the first works alone


@dataclass(frozen=True)
class Company:
    """This process among those of its launch.

    Attributes:
        rank: from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def keeps_books(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def meet(self) -> None:
        """Wait until all processes have come here; at once with one alone."""
        if self.size > 1:
            import torch
            from accelerate import PartialState

            # without `cpu` it takes a launch on a machine without a GPU for one process
            PartialState(cpu=not torch.cuda.is_available(), timeout=_LONGEST).wait_for_everyone()


def company(environ: Mapping[str, str] = os.environ) -> Company:
    """The company of this process, as its launcher says; a process that nobody launched is alone."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR")
    if not all(environ.get(name) for name in names):
        return Company()
    return Company(rank=int(environ["RANK"]), size=int(environ["WORLD_SIZE"]))
