"""Training of every supervised stage: pretraining, SFT, reward models, fine-tuning on kept answers.

One plain loop (`loop.py`) on Accelerate.  A step takes a list of batches (forests); the loss is a *sum* over
the step's targets divided by their number, so that gradient accumulation cannot change it.  What is
random is named by the step, so a resumed run takes the very same steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from alignment.randomness import named_seed
from alignment.train.checkpoints import Saved, SavedModel, SavedOptimizer
from alignment.train.compute import Compute, compile_layers, resolve_compute
from alignment.train.dropout import drawn_below, has_dropout
from alignment.train.loop import Loop
from alignment.train.optimizer import make_optimizer, set_learning_rate
from alignment.train.result import TrainingResult
from alignment.train.schedule import learning_rate
from alignment.train.session import Session
from alignment.train.settings import LoopSettings

# sums over a batch: the loss to descend on, and figures to log, all divided by the step's normaliser
Sums = tuple[Tensor, dict[str, Tensor]]


class Batch(Protocol):
    """One forward pass's share of a step: a forest of trees, with what its loss needs beside it."""

    @property
    def num_tokens(self) -> int:
        """Tokens of the forest."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Where its trees came from ("file:line")."""

    def to(self, device: torch.device) -> Self:
        """The batch on another device."""


B = TypeVar("B", bound=Batch)
B_contra = TypeVar("B_contra", bound=Batch, contravariant=True)


class LossFunction(Protocol[B_contra]):
    """Computes a batch's summed loss."""

    def __call__(self, model: nn.Module, batch: B_contra) -> Sums: ...


@dataclass(frozen=True, kw_only=True)
class Training(Generic[B]):
    """What is trained on what.

    Attributes:
        model: trained in place.
        num_steps: optimizer steps.
        batches: step (from 0) -> the step's batches; must not depend on anything but the step.
        loss: the loss function.
        normaliser: a batch's share of the step's divisor (targets, pairs).
        evaluate: held-out figures, logged with the prefix "held_out_".
    """

    model: nn.Module
    num_steps: int
    batches: Callable[[int], Sequence[B]]
    loss: LossFunction[B]
    normaliser: Callable[[B], float]
    evaluate: Callable[[nn.Module, Compute], dict[str, float]] | None = None


class LossModule(nn.Module, Generic[B]):
    """Model and loss as one module, so that wrappers (DDP) see one forward pass."""

    def __init__(self, model: nn.Module, loss: LossFunction[B], compute: Compute) -> None:
        super().__init__()
        self.model = model
        self.loss_function, self.compute = loss, compute

    def forward(self, batch: B) -> Sums:
        with self.compute.autocast():
            return self.loss_function(self.model, batch)


@dataclass
class Totals:
    """What a training has used and reached so far.

    Attributes:
        tokens: trained on.
        seconds: of all steps, without saving and evaluating.
        held_out: the newest held-out figures.
    """

    tokens: int = 0
    seconds: float = 0.0
    held_out: dict[str, float] = field(default_factory=dict)

    def tensors(self) -> Mapping[str, Tensor]:
        """None."""
        return {}

    def values(self) -> Mapping[str, Any]:
        """All three."""
        return {"tokens": self.tokens, "seconds": self.seconds, "held_out": self.held_out}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Put them back."""
        self.tokens, self.seconds, self.held_out = values["tokens"], values["seconds"], dict(values["held_out"])


def train(training: Training[B], settings: LoopSettings, session: Session) -> TrainingResult:
    """Train, logging to `metrics.jsonl` and saving to `checkpoints/`; goes on where an earlier call stopped.

    Returns:
        Steps, tokens trained on, seconds, and the last held-out figures.

    Raises:
        NonFiniteError: loss or gradient is not finite and no skip is left (`nonfinite_skips`); raised before the
            update, with `nonfinite.json` written.
        Interrupted: a signal came; the step was finished and saved.
        DiskFull: a checkpoint did not fit; the older ones stand.
    """
    compute = resolve_compute(session.compute)
    accelerator = Accelerator(cpu=compute.device.type == "cpu")
    model = training.model.to(compute.device).train()
    optimizer = make_optimizer(model, settings.optimizer)
    totals = Totals()
    saved: dict[str, Saved] = {
        "model": SavedModel(model),
        "optimizer": SavedOptimizer(model, optimizer),
        "totals": totals,
    }
    num_steps, log_every = training.num_steps, settings.log_every
    with_dropout = has_dropout(model)
    with Loop(session, settings, num_steps=num_steps, unit="steps", saved=saved, log_every=log_every) as loop:
        if session.compute.compile:
            compile_layers(model)
        optimizer.zero_grad(set_to_none=True)  # whatever the caller left behind
        module = accelerator.prepare(LossModule(model, training.loss, compute))
        for step in loop:
            began = time.perf_counter()
            batches = training.batches(step)
            rate = learning_rate(settings.optimizer, step + 1, num_steps)
            set_learning_rate(optimizer, rate)
            draws = partial(named_seed, session.seed, "dropout", step) if with_dropout else None
            figures, norm = _accumulate(module, batches, training, accelerator, compute, draws)
            total_norm = float(nn.utils.clip_grad_norm_(model.parameters(), settings.optimizer.max_grad_norm))
            bad = _not_finite({"loss": figures["loss"], "gradient norm": total_norm})
            tokens = sum(batch.num_tokens for batch in batches) if bad is None else 0
            if bad is None:
                optimizer.step()
                loop.log({**figures, "gradient_norm": total_norm, "learning_rate": rate})
                loop.log({"tokens": tokens, "targets": norm})
            else:  # no figure of this step means anything
                loop.skip(*bad, rows=[row for batch in batches for row in batch.rows])
            optimizer.zero_grad(set_to_none=True)
            took = time.perf_counter() - began
            totals.tokens, totals.seconds = totals.tokens + tokens, totals.seconds + took
            if training.evaluate is not None and loop.due(settings.held_out_every):
                totals.held_out = training.evaluate(model.eval(), compute)
                model.train()
                if (wrong := _not_finite(totals.held_out)) is not None:  # the weights are: no skip mends it
                    loop.refuse(f"held-out {wrong[0]}", wrong[1], rows=())
                loop.log({f"held_out_{name}": value for name, value in totals.held_out.items()})
            if bad is None:
                loop.log({"time_tokens_per_second": tokens / took})
    return TrainingResult(
        steps=num_steps,
        tokens=totals.tokens,
        seconds=totals.seconds,
        held_out=totals.held_out,
        skipped=loop.num_skipped,
    )


def _accumulate(
    module: nn.Module,
    batches: Sequence[B],
    training: Training[B],
    accelerator: Accelerator,
    compute: Compute,
    draws: Callable[[int], int] | None,
) -> tuple[dict[str, float], float]:
    """Sum the gradients of a step's batches; returns the step's figures and its normaliser.

    Dropout is drawn below the batch's place in the step (`draws`: place -> seed), whichever process computes it.
    """
    norm = float(sum(training.normaliser(batch) for batch in batches))
    mine, weight = list(enumerate(batches))[accelerator.process_index :: accelerator.num_processes], 1.0
    if not mine:  # fewer forests than processes: the others wait for this one's gradients, so it sends zeros
        mine, weight = [(0, batches[0])], 0.0
    sums: dict[str, Tensor] = {}
    for i, (place, batch) in enumerate(mine):
        sync = accelerator.no_sync(module) if i + 1 < len(mine) else nullcontext()
        with sync, drawn_below(draws(place)) if draws is not None else nullcontext():
            loss, parts = module(batch.to(compute.device))
            # DDP averages over processes; the loss is a sum over all of them
            accelerator.backward(loss * (weight * accelerator.num_processes / max(norm, 1e-9)))
        for name, value in {"loss": loss, **parts}.items():
            sums[name] = sums.get(name, torch.zeros((), device=compute.device)) + weight * value.detach().float()
    names = sorted(sums)
    stacked = accelerator.reduce(torch.stack([sums[name] for name in names]), reduction="sum")
    return {name: float(value) / max(norm, 1e-9) for name, value in zip(names, stacked, strict=True)}, norm


def _not_finite(quantities: Mapping[str, float]) -> tuple[str, str] | None:
    """The first quantity that is not finite, and its value as text."""
    return next(((name, str(value)) for name, value in quantities.items() if not math.isfinite(value)), None)
