"""Training a reward model (Llama 2 paper, 3.2.2): one epoch of pairs, margin by grade, from a chat checkpoint.

Each pair is one tree, prompt -> {chosen, rejected}, or all pairs of a prompt are: the prompt is computed once.
S segments, P pairs, A labelled answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from alignment.batch.steps import Steps, pack
from alignment.given import given_comparisons
from alignment.policy.pairing import require_same_tokenizer
from alignment.policy.policy import Policy
from alignment.randomness import named_seed
from alignment.records import LabelledAnswer, Preference
from alignment.store.atomic import write_json
from alignment.train.adapter import make_whole, num_trained, what_is_trained
from alignment.train.compute import is_main_process, resolve_compute, wait_for_all
from alignment.train.language_model import longest_sequence, tell_cut_context
from alignment.train.loop import finish
from alignment.train.loss_module import Sums
from alignment.train.session import Session
from alignment.train.trainer import Training, train
from reward.by_prompt import PromptExample, by_prompt, make_prompt_batch
from reward.evaluate import evaluate_reward
from reward.loss import centring_loss, ranking_loss, safety_loss
from reward.model import HEAD, LlamaReward, RewardModel, segment_scores
from reward.preferences import Example, PairBatch, make_pair_batch, prepare_pairs
from reward.result import RewardResult
from reward.settings import RewardSettings

Loss = Callable[[nn.Module, PairBatch], tuple[Tensor, dict[str, Tensor]]]


def train_reward(
    policy: Policy,
    preferences: Iterable[Preference | LabelledAnswer],
    settings: RewardSettings,
    session: Session,
    held_out: Iterable[Preference | LabelledAnswer] = (),
    *,
    name: str = "reward",
    start: RewardModel | None = None,
) -> RewardResult:
    """Train a reward model from a chat model and save it to `checkpoint/` in the session's folder.

    Args:
        policy: the chat model; it is not changed.
        name: names the random order and the head's initialisation ("helpfulness", "safety").
        start: a reward model to go on from, body and head, which is trained in place; None: the chat model's body with
            a new head.

    Returns:
        The training's figures, and the evaluation on the held-out pairs, which `evaluation.json` holds too.

    Raises:
        UsageError: what is given holds no preferences.
        DataError: an answer is empty, the two of a pair are the same, or a grade is unknown.
        SettingError: no pair fits the context.
        TokenizerError: `start` reads token ids as other texts than the chat model.
    """
    given = given_comparisons(preferences, "preferences"), given_comparisons(held_out, "held_out")
    if start is not None:
        require_same_tokenizer(start.tokenizer, "the reward model to go on from", policy.tokenizer, "the chat model")
    reward_model = start or RewardModel.from_policy(policy, seed=session.seed, name=name)
    context = longest_sequence(policy, settings)
    tell_cut_context(policy, settings, session)
    pairs, test = (
        prepare_pairs(records, policy.tokenizer, margin=settings.margin, context_length=context) for records in given
    )
    pairs.require_some(context)
    steps = pair_steps(pairs.examples, settings, context, seed=session.seed, name=name, held_out=test.examples)
    bins = pack(test.examples, steps.capacity)
    test_batches = [make_pair_batch([test.examples[i] for i in bin_]) for bin_ in bins]
    loss = partial(pair_loss, safety_weight=settings.safety_weight, centring=settings.centring)
    seed = named_seed(session.seed, "adapter", name)
    taught = what_is_trained(reward_model.model, settings.adapter, reward_model.origin, seed=seed, head=HEAD)
    training = Training(
        model=taught,
        num_steps=steps.num_steps,
        batches=steps,
        loss=loss,
        normaliser=lambda batch: float(batch.num_examples),
        evaluate=(lambda sums: _held_out(sums, test_batches)) if test_batches else None,
    )
    result = replace(train(training, settings, session), adapter_parameters=num_trained(taught))
    checkpoint = session.folder / "checkpoint"
    if is_main_process():
        whole_or_adapter = replace(reward_model, model=cast(LlamaReward, taught))
        whole_or_adapter.save(checkpoint, meta={"stage": name, "fingerprint": session.fingerprint})
    wait_for_all()
    make_whole(taught, settings.adapter, lambda: RewardModel.load(checkpoint).model)
    evaluation = evaluate_reward(reward_model, test.examples, resolve_compute(session.compute))
    if is_main_process():
        write_json(session.folder / "evaluation.json", evaluation.as_json())
    finish(session)
    return RewardResult(
        training=result,
        evaluation=evaluation,
        pairs=len(pairs.examples),
        held_out_pairs=len(test.examples),
        too_long=pairs.too_long + test.too_long,
    )


def pair_steps(
    examples: Sequence[Example],
    settings: RewardSettings,
    context_length: int,
    *,
    seed: int,
    name: str,
    held_out: Sequence[Example] = (),
) -> Steps[Example, PairBatch] | Steps[PromptExample, PairBatch]:
    """The steps of a reward model; a step is counted in pairs, and no pair is longer than a pack."""
    longest = max((example.num_tokens for example in (*examples, *held_out)), default=0)
    capacity = max(settings.pack_length or context_length, longest)
    steps = partial(
        Steps,
        capacity=capacity,
        unit="items",
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        seed=seed,
        name=name,
        max_steps=settings.max_steps,
    )
    if settings.together == "pair":
        return steps(examples, make_pair_batch)
    prompts = by_prompt(examples, capacity=capacity, most=settings.batch_size)
    return steps(prompts, make_prompt_batch, weights=[prompt.weight for prompt in prompts])


def pair_loss(
    model: nn.Module, batch: PairBatch, *, safety_weight: float, centring: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Summed loss of a batch, and its figures (sums too).

    Per pair the ranking loss, plus `centring` times the centring term, plus `safety_weight` times the mean safety term
    of its labelled answers; per single labelled answer `safety_weight` times its safety term.  A pair is right when the
    chosen answer scores higher, a single answer when sigma(r) lies on its label's side of one half.
    """
    scores = segment_scores(cast(LlamaReward, model), batch.forest)
    chosen, rejected = scores[batch.chosen], scores[batch.rejected]
    ranking = ranking_loss(chosen, rejected, batch.margin).sum()
    told = (scores[batch.labelled] > 0) == (batch.safe > 0.5)
    figures = {
        "accuracy": ((chosen > rejected).sum() + (told & batch.single).sum()).float(),
        "safety_loss": torch.zeros((), device=scores.device),
        "ranking_loss": ranking.detach(),
    }
    total = scores.sum() * 0.0 + ranking  # every score takes part in the graph, as wrappers (DDP) want it
    if centring:
        term = centring_loss(chosen, rejected).sum()
        total = total + centring * term
        figures["centring_loss"] = term.detach()
    if safety_weight:
        term = (safety_loss(scores[batch.labelled], batch.safe) * batch.weight).sum()
        total = total + safety_weight * term
        figures["safety_loss"] = term.detach()
    return total, figures


def _held_out(sums: Callable[[PairBatch], Sums], batches: Sequence[PairBatch]) -> dict[str, float]:
    total, right, count = 0.0, 0.0, 0
    for batch in batches:
        value, figures = sums(batch)
        total, right = total + float(value), right + float(figures["accuracy"])
        count += batch.num_examples
    return {"loss": total / count, "accuracy": right / count}
