"""Training of every supervised stage: pretraining, SFT, reward models, fine-tuning on kept answers.

One plain loop (`loop.py`) on Accelerate.  A step takes a list of batches (forests); the loss is a *sum* over
the step's targets divided by their number, so that gradient accumulation cannot change it.  What is
random is named by the step, so a resumed run takes the very same steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, cast

import torch
from accelerate.utils import reduce
from torch import Tensor, nn

from alignment.policy.adapted import without_wrapper
from alignment.randomness import named_seed
from alignment.train.compute import resolve_compute
from alignment.train.dropout import drawn_below, has_dropout
from alignment.train.loop import Loop
from alignment.train.loss_module import B, LossFunction, LossModule, Sums
from alignment.train.optimizer import set_learning_rate
from alignment.train.parallel.wrap import wrap
from alignment.train.parallel.wrapped import Wrapped
from alignment.train.result import TrainingResult
from alignment.train.schedule import learning_rate
from alignment.train.session import Session
from alignment.train.settings import LoopSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Training(Generic[B]):
    """What is trained on what.

    Attributes:
        model: trained in place.
        num_steps: optimizer steps.
        batches: step (from 0) -> the step's batches; must not depend on anything but the step.
        loss: the loss function.
        normaliser: a batch's share of the step's divisor (targets, pairs).
        evaluate: held-out figures, logged with the prefix "held_out_"; is given what computes a batch's sums, and must
            ask for the same batches in every process.
    """

    model: nn.Module
    num_steps: int
    batches: Callable[[int], Sequence[B]]
    loss: LossFunction[B]
    normaliser: Callable[[B], float]
    evaluate: Callable[[Callable[[B], Sums]], dict[str, float]] | None = None


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
    with_dropout = has_dropout(training.model)
    totals = Totals()
    num_steps, log_every = training.num_steps, settings.log_every
    with recomputing(training.model, asked=session.compute.parallel.activation_checkpointing):
        module = LossModule(training.model.train(), training.loss, compute)
        wrapped = wrap(module, settings.optimizer, session.compute, compute)
        saved = {**wrapped.saved, "totals": totals}
        with Loop(session, settings, num_steps=num_steps, unit="steps", saved=saved, log_every=log_every) as loop:
            for step in loop:
                began = time.perf_counter()
                batches = training.batches(step)
                rate = learning_rate(settings.optimizer, step + 1, num_steps)
                set_learning_rate(wrapped.optimizer, rate)
                draws = partial(named_seed, session.seed, "dropout", step) if with_dropout else None
                figures, norm = _accumulate(wrapped, batches, training.normaliser, draws)
                loss = {"loss": figures["loss"]}
                total_norm = wrapped.update(settings.optimizer.max_grad_norm, usable=_not_finite(loss) is None)
                bad = _not_finite({**loss, "gradient norm": total_norm})
                tokens = sum(batch.num_tokens for batch in batches) if bad is None else 0
                if bad is None:
                    loop.log({**figures, "gradient_norm": total_norm, "learning_rate": rate})
                    loop.log({"tokens": tokens, "targets": norm})
                else:  # no figure of this step means anything
                    loop.skip(*bad, rows=[row for batch in batches for row in batch.rows])
                took = time.perf_counter() - began
                totals.tokens, totals.seconds = totals.tokens + tokens, totals.seconds + took
                if training.evaluate is not None and loop.due(settings.held_out_every):
                    with wrapped.evaluating():
                        totals.held_out = training.evaluate(wrapped.sums)
                    if (wrong := _not_finite(totals.held_out)) is not None:  # the weights are: no skip mends it
                        loop.refuse(f"held-out {wrong[0]}", wrong[1], rows=())
                    loop.log({f"held_out_{name}": value for name, value in totals.held_out.items()})
                if bad is None:
                    loop.log({"time_tokens_per_second": tokens / took})
        wrapped.give_back()
    return TrainingResult(
        steps=num_steps,
        tokens=totals.tokens,
        seconds=totals.seconds,
        held_out=totals.held_out,
        skipped=loop.num_skipped,
    )


def _accumulate(
    wrapped: Wrapped,
    batches: Sequence[B],
    normaliser: Callable[[B], float],
    draws: Callable[[int], int] | None,
) -> tuple[dict[str, float], float]:
    """Sum the gradients of a step's batches; returns the step's figures and its normaliser.

    Dropout is drawn below the batch's place in the step (`draws`: place -> seed), whichever process computes it.
    """
    norm = float(sum(normaliser(batch) for batch in batches))
    mine = [(place, batch, 1.0) for place, batch in enumerate(batches)][wrapped.rank :: wrapped.size]
    # who has fewer than the others repeats one without weight: others wait for its gradients, and where the weights are
    # divided for every one of its forward passes
    rounds = math.ceil(len(batches) / wrapped.size) if wrapped.even else 1
    mine += [(0, batches[0], 0.0)] * (rounds - len(mine))
    sums: dict[str, Tensor] = {}
    for i, (place, batch, weight) in enumerate(mine):
        with drawn_below(draws(place)) if draws is not None else nullcontext():
            # the gradient is a mean over processes; the loss is a sum over all of them
            factor = weight * wrapped.size / max(norm, 1e-9)
            loss, parts = wrapped.accumulate(batch, factor, last=i + 1 == len(mine))
        for name, value in {"loss": loss, **parts}.items():
            sums[name] = sums.get(name, torch.zeros((), device=value.device)) + weight * value.detach().float()
    names = sorted(sums)
    stacked = reduce(torch.stack([sums[name] for name in names]), reduction="sum")
    return {name: float(value) / max(norm, 1e-9) for name, value in zip(names, stacked, strict=True)}, norm


@contextmanager
def recomputing(model: nn.Module, *, asked: bool) -> Iterator[None]:
    """Activations are computed again in the backward pass, where asked and not on already, for as long as it lasts."""
    owner = cast("PreTrainedModel", without_wrapper(model))
    if not asked or owner.is_gradient_checkpointing:
        yield
        return
    owner.gradient_checkpointing_enable()
    try:
        yield
    finally:
        owner.gradient_checkpointing_disable()


def _not_finite(quantities: Mapping[str, float]) -> tuple[str, str] | None:
    """The first quantity that is not finite, and its value as text."""
    return next(((name, str(value)) for name, value in quantities.items() if not math.isfinite(value)), None)
