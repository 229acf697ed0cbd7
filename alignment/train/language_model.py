"""Language modelling: its loss, and the one body of pretraining, SFT, rejection sampling's fine-tuning and GAtt.

Llama 2 paper, 2 and 3.1: next-token prediction; the stages differ in their trees and in which tokens carry loss.
N targets (tokens that carry loss), C hidden width, V vocabulary.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from alignment.batch.steps import Steps, pack
from alignment.batch.tree import ForestBatch, Tree, make_batch
from alignment.model.log_probs import head_weight, hidden_states, summed_log_probs, token_log_probs
from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.randomness import named_seed
from alignment.train.adapter import adapter_of, make_whole, num_trained, what_is_trained
from alignment.train.compute import is_main_process
from alignment.train.loop import finish
from alignment.train.loss_module import Sums
from alignment.train.result import TrainingResult
from alignment.train.session import Session, Silent
from alignment.train.settings import PackedSettings
from alignment.train.trainer import Training, train


def train_language_model(
    policy: Policy,
    trees: Sequence[Tree],
    held_out: Sequence[Tree],
    settings: PackedSettings,
    session: Session,
    name: str,
) -> TrainingResult:
    """Train a policy in place and save it to `checkpoint/` in the session's folder; of an adapter that alone is saved.

    Args:
        trees: at least one; none longer than `longest_sequence`.
        held_out: give the held-out loss and perplexity; may be empty.
        name: names the random order, and the stage in the checkpoint's manifest.

    Returns:
        Held-out loss and perplexity (where there are held-out trees), steps, tokens, seconds, packing efficiency.

    Raises:
        UsageError, MissingExtra, SettingError: an adapter is asked for, as `alignment.train.adapter.what_is_trained`.
        DataError: a tree is longer than a pack (`pack_length`).
        NonFiniteError, Interrupted, DiskFull: as `alignment.train.trainer.train`.
    """
    context = longest_sequence(policy, settings)
    tell_cut_context(policy, settings, session)
    steps = packed_steps(trees, settings, context, seed=session.seed, name=name)
    test = [make_batch([held_out[i] for i in bin_]) for bin_ in pack(held_out, steps.capacity)]
    adapter = adapter_of(settings)
    seed = named_seed(session.seed, "adapter", name)
    taught = what_is_trained(policy.model, adapter, policy.origin, seed=seed)
    training = Training(
        model=taught,
        num_steps=steps.num_steps,
        batches=steps,
        loss=language_loss,
        normaliser=num_targets,
        evaluate=(lambda sums: held_out_loss(sums, test)) if test else None,
    )
    result = train(training, settings, session)
    if is_main_process():
        meta = {"stage": name, "fingerprint": session.fingerprint}
        save_policy(replace(policy, model=taught), session.folder / "checkpoint", meta=meta)
    finish(session)
    result = replace(result, packing_efficiency=steps.efficiency, adapter_parameters=num_trained(taught))
    make_whole(taught, adapter, lambda: load_policy(session.folder / "checkpoint").model)
    return result


def longest_sequence(policy: Policy, settings: PackedSettings) -> int:
    """Tokens that a sequence may have: what the settings ask, within the positions that the model was built for."""
    return min(settings.context_length, int(policy.model.config.max_position_embeddings))


def tell_cut_context(policy: Policy, settings: PackedSettings, session: Session) -> None:
    """Say where the settings ask for longer sequences than the model holds; in the display, or as a Python warning."""
    asked, context = settings.asked_context, longest_sequence(policy, settings)
    if asked is not None and asked > context:
        text = (
            f"context_length is {asked:,}; the model is built for {context:,} tokens, and longer ones are cut to that"
        )
        if isinstance(session.progress, Silent):
            warnings.warn(text, stacklevel=2)
        else:
            session.progress.note(text)


def packed_steps(
    trees: Sequence[Tree], settings: PackedSettings, context_length: int, *, seed: int, name: str
) -> Steps[Tree, ForestBatch]:
    """The steps of a stage whose batch is counted in packed forests."""
    return Steps(
        trees,
        make_batch,
        capacity=settings.pack_length or context_length,
        unit="bins",
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        seed=seed,
        name=name,
        max_steps=settings.max_steps,
    )


def language_loss(model: nn.Module, batch: ForestBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Summed negative log-likelihood, in nats, of the tokens that carry loss.

    The vocabulary projection is computed only at the positions that predict them.
    """
    return -summed_log_probs(*_predicted(model, batch)), {}


def target_log_probs(model: nn.Module, batch: ForestBatch, *, temperature: float = 1.0) -> Tensor:
    """Log-probabilities [N] of a batch's targets under the model, in nats."""
    return token_log_probs(*_predicted(model, batch), temperature=temperature)


def _predicted(model: nn.Module, batch: ForestBatch) -> tuple[Tensor, Tensor, Tensor]:
    """The hidden states [N, C] that predict the targets, the vocabulary projection [V, C], the targets [N]."""
    hidden = hidden_states(model, batch.token_ids, batch.plan())
    return hidden.index_select(0, batch.predictors), head_weight(model), batch.token_ids.index_select(0, batch.targets)


def num_targets(batch: ForestBatch) -> float:
    """The divisor: every target counts alike, wherever it stands."""
    return float(batch.num_targets)


def held_out_loss(sums: Callable[[ForestBatch], Sums], batches: Sequence[ForestBatch]) -> dict[str, float]:
    """Mean loss (nats a token) and perplexity on held-out forest batches; `sums` gives a batch's `language_loss`."""
    total, count = 0.0, 0
    for batch in batches:
        total += float(sums(batch)[0])
        count += batch.num_targets
    if not count:
        return {}
    mean = total / count
    return {"loss": mean, "perplexity": float(torch.exp(torch.tensor(min(mean, 50.0))))}
