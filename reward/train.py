"""Training a reward model (Llama 2 paper, 3.2.2): one epoch of pairs, margin by grade, from a chat checkpoint.

Each pair is one tree, prompt -> {chosen, rejected}: the prompt is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alignment.batch.steps import Steps, pack
from alignment.batch.tree import ForestBatch, make_batch
from alignment.errors import DataError
from alignment.policy.policy import Policy
from alignment.records import LabelledAnswer, Preference
from alignment.store.atomic import write_json
from alignment.train.compute import Compute, is_main_process, resolve_compute
from alignment.train.language_model import longest_sequence
from alignment.train.session import Session
from alignment.train.trainer import Training, finish, train
from reward.evaluate import evaluate_reward
from reward.loss import ranking_loss, safety_loss
from reward.model import LlamaReward, RewardModel, segment_scores
from reward.preferences import is_pair, pair_set
from reward.settings import RewardSettings


def train_reward(
    policy: Policy,
    preferences: Sequence[Preference | LabelledAnswer],
    settings: RewardSettings,
    session: Session,
    held_out: Sequence[Preference | LabelledAnswer] = (),
    *,
    name: str = "reward",
) -> dict[str, Any]:
    """Train a reward model from a chat model and save it to `checkpoint/` in the session's folder.

    Args:
        policy: the chat model; it is not changed.
        name: names the random order and the head's initialisation ("helpfulness", "safety").

    Returns:
        `evaluate_reward`'s figures on the held-out pairs, plus steps, tokens and counts; also written to
        `evaluation.json`.

    Raises:
        DataError: no pair is left to train on.
    """
    reward_model = RewardModel.from_policy(policy, seed=session.seed, name=name)
    context = longest_sequence(policy, settings)
    pairs = pair_set(preferences, policy.tokenizer, margin=settings.margin, context_length=context)
    test = pair_set(held_out, policy.tokenizer, margin=settings.margin, context_length=context)
    if not pairs.trees:
        raise DataError(f"the {name} reward model has no pairs to train on ({pairs.too_long} are over the context)")
    longest = max(tree.num_tokens for tree in (*pairs.trees, *test.trees))
    capacity = max(settings.pack_length or context, longest)
    steps = Steps(
        pairs.trees,
        capacity=capacity,
        unit="trees",
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        seed=session.seed,
        name=name,
        max_steps=settings.max_steps,
    )
    test_batches = [make_batch([test.trees[i] for i in bin_]) for bin_ in pack(test.trees, capacity)]
    loss = PairLoss(settings.safety_weight)
    training = Training(
        model=reward_model.model,
        num_steps=steps.num_steps,
        batches=steps,
        loss=loss,
        normaliser=lambda batch: float(len(batch.trees)),
        evaluate=(lambda model, compute: _held_out(model, test_batches, loss, compute)) if test_batches else None,
    )
    result: dict[str, Any] = dict(train(training, settings, session))
    evaluation = evaluate_reward(reward_model, test, resolve_compute(session.compute))
    if is_main_process():
        reward_model.save(session.folder / "checkpoint", meta={"stage": name, "fingerprint": session.fingerprint})
        write_json(session.folder / "evaluation.json", evaluation)
    finish(session)
    counts = {"pairs": len(pairs.trees), "held_out_pairs": len(test.trees), "too_long": pairs.too_long + test.too_long}
    return {**result, **counts, "evaluation": evaluation}


class PairLoss:
    """Summed loss of a forest batch of pairs and labelled answers.

    Per pair the ranking loss, plus `safety_weight` times the mean safety term of its labelled answers; per
    single labelled answer `safety_weight` times its safety term.
    """

    def __init__(self, safety_weight: float) -> None:
        self.safety_weight = safety_weight

    def __call__(self, model: nn.Module, batch: ForestBatch) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(model, LlamaReward)
        scores = segment_scores(model, batch)
        rows = list(zip(batch.first_segments, batch.trees, strict=True))
        pairs = [(first, tree) for first, tree in rows if is_pair(tree)]
        total = scores.sum() * 0.0
        figures = {name: torch.zeros((), device=scores.device) for name in ("accuracy", "safety_loss", "ranking_loss")}
        if pairs:
            firsts = torch.tensor([first for first, _ in pairs], device=scores.device)
            chosen, rejected = scores[firsts + 1], scores[firsts + 2]
            margin = torch.tensor([tree.labels[0] for _, tree in pairs], device=scores.device, dtype=scores.dtype)
            ranking = ranking_loss(chosen, rejected, margin).sum()
            total = total + ranking
            figures["ranking_loss"] = ranking.detach()
            figures["accuracy"] = (chosen > rejected).sum().float()
        singles = [(first + 1, tree.labels[0]) for first, tree in rows if not is_pair(tree)]
        if singles:  # right when sigma(r) lies on the label's side of one half
            safe = torch.tensor([label for _, label in singles], device=scores.device) > 0.5
            figures["accuracy"] += ((scores[[at for at, _ in singles]] > 0) == safe).sum().float()
        labelled: list[tuple[int, float, float]] = []  # segment, label, weight
        for first, tree in rows:
            known = tree.labels[1:] if is_pair(tree) else tree.labels
            given = [(first + 1 + i, label) for i, label in enumerate(known) if not math.isnan(label)]
            labelled += [(segment, label, 1.0 / len(given)) for segment, label in given]
        if labelled and self.safety_weight:
            at = torch.tensor([segment for segment, _, _ in labelled], device=scores.device)
            labels = torch.tensor([label for _, label, _ in labelled], device=scores.device, dtype=scores.dtype)
            weight = torch.tensor([w for _, _, w in labelled], device=scores.device, dtype=scores.dtype)
            term = (safety_loss(scores[at], labels) * weight).sum()
            total = total + self.safety_weight * term
            figures["safety_loss"] = term.detach()
        return total, figures


def _held_out(model: nn.Module, batches: Sequence[ForestBatch], loss: PairLoss, compute: Compute) -> dict[str, float]:
    total, right, count = 0.0, 0.0, 0
    with torch.inference_mode(), compute.autocast():
        for batch in batches:
            value, figures = loss(model, batch.to(compute.device))
            total, right = total + float(value), right + float(figures["accuracy"])
            count += len(batch.trees)
    return {"loss": total / count, "accuracy": right / count}
