"""Direct preference optimisation by TRL (Rafailov et al. 2023), to compare RLHF with: no reward model, no sampling.

The loss of a pair with prompt x, chosen answer w and rejected l is (their eq. 7)

    -log sigmoid(beta [log pi(w|x) - log pi_0(w|x)] - beta [log pi(l|x) - log pi_0(l|x)])

with pi_0 the policy at the start, and log pi(y|x) summed over the answer's tokens, its EOS included.

P pairs.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, pad

from alignment.batch.render import answer_tree
from alignment.batch.tree import Tree
from alignment.errors import DataError, UsageError
from alignment.given import given_comparisons
from alignment.policy.policy import Policy, save_policy
from alignment.randomness import named_generator
from alignment.records import LabelledAnswer, Preference
from alignment.store.atomic import write_json
from alignment.text.chat import answer_ids, render_prompt
from alignment.text.tokenizer import Tokenizer
from alignment.train.compute import Compute, resolve_compute
from alignment.train.language_model import target_log_probs
from alignment.train.session import Session
from rl.baseline_result import DpoResult, PairFigures
from rl.experience import answer_batches
from rl.settings import DpoSettings
from rl.trl_training import (
    Told,
    arguments,
    fresh_metrics,
    lent,
    optimizers,
    quiet,
    require_trl,
    run_trainer,
    transformers_files,
    transformers_tokenizer,
)

# TRL's name of a figure -> ours
_FIGURES = {
    "loss": "loss",
    "grad_norm": "gradient_norm",
    "learning_rate": "learning_rate",
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
    "rewards/chosen": "chosen_reward",
    "rewards/rejected": "rejected_reward",
    "entropy": "entropy",
}


@dataclass(frozen=True, kw_only=True)
class TokenPair:
    """Two answers to one prompt as token ids, in the chat format, the answers with their EOS."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    row: str = ""

    @property
    def longest(self) -> int:
        """Tokens of the prompt with the longer answer."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))

    def trees(self) -> tuple[Tree, Tree]:
        """Prompt -> answer, twice, every token of the answer a target."""
        chosen, rejected = (
            answer_tree(self.prompt, [answer], row=self.row, trained=True) for answer in (self.chosen, self.rejected)
        )
        return chosen, rejected


def train_dpo(
    policy: Policy,
    preferences: Iterable[Preference | LabelledAnswer],
    settings: DpoSettings,
    session: Session,
    *,
    held_out: Iterable[Preference | LabelledAnswer] = (),
) -> DpoResult:
    """Train a policy in place by TRL's DPOTrainer, and save it to `checkpoint/` in the session's folder.

    Grades count as mere order.  Nothing is saved before the end, so that a run that was interrupted begins anew.

    Args:
        policy: as it is now it is the reference.
        preferences: to learn from, pairs only; those of all steps are drawn by name, each as often as `epochs` says.
        held_out: measured after the training; may be empty.

    Returns:
        Steps and pairs, and what the policy's implicit reward says of the held-out pairs; also in `dpo.json`.

    Raises:
        UsageError: TRL is not installed, or what is given holds something else than preferences.
        DataError: there is no pair that fits the context.
        NonFiniteError: a step's loss or gradient is not finite; nothing is saved.
        Interrupted: a signal came; nothing is saved.
    """
    require_trl("dpo")
    context = pair_context(policy, settings)
    pairs, too_long = token_pairs(preferences, policy.tokenizer, context)
    test, test_too_long = token_pairs(held_out, policy.tokenizer, context)
    if not pairs:
        raise DataError(f"DPO has no pair to learn from: {too_long} of them are longer than {context} tokens")
    compute = resolve_compute(session.compute)
    compute.place(policy.model)
    before = pair_log_probs(policy.model, test, compute)
    steps = pair_steps(len(pairs), settings)
    drawn = _drawn(pairs, steps * settings.batch_size, seed=session.seed)
    began = time.monotonic()
    _train(policy, drawn, settings, session, compute, steps=steps)
    result = DpoResult(
        steps=steps,
        pairs=len(pairs),
        too_long=too_long + test_too_long,
        seconds=time.monotonic() - began,
        held_out_pairs=len(test),
        held_out=_figures(pair_log_probs(policy.model, test, compute), before, settings.beta) if test else None,
    )
    meta = {"stage": "dpo", "fingerprint": session.fingerprint}
    session.before_save()
    save_policy(policy, session.folder / "checkpoint", meta=meta)
    write_json(session.folder / "dpo.json", result.as_json())
    return result


def _train(
    policy: Policy,
    drawn: Sequence[TokenPair],
    settings: DpoSettings,
    session: Session,
    compute: Compute,
    *,
    steps: int,
) -> None:
    """Let TRL take all steps."""
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    told = arguments(
        session,
        compute,
        name="dpo",
        steps=steps,
        batch_size=settings.batch_size,
        microbatch_size=settings.microbatch_size,
        optimizer=settings.optimizer,
    )
    reference = copy.deepcopy(policy.model).requires_grad_(False).eval()
    policy.model.train()
    # TRL would cut and template texts: it is handed empty ones, and the collator puts our ids in their place; an
    # iterable data set is read in its own order, any other in a shuffled one
    rows = Dataset.from_list([{"prompt": "", "chosen": "", "rejected": "", "pair": i} for i in range(len(drawn))])
    with lent(policy.model), quiet(), fresh_metrics(session) as journal, transformers_files(policy, session) as files:
        trainer = DPOTrainer(
            model=policy.model,
            ref_model=reference,
            args=DPOConfig(beta=settings.beta, loss_type=["sigmoid"], max_length=None, **told),
            data_collator=PairRows(pairs=drawn, pad_id=policy.tokenizer.pad_id),
            train_dataset=rows.to_iterable_dataset(),
            processing_class=transformers_tokenizer(files),
            optimizers=optimizers(policy.model, settings.optimizer, steps),
        )
        run_trainer(trainer, Told(session, journal, _FIGURES, steps=steps))


@dataclass(frozen=True, kw_only=True)
class PairRows:
    """TRL's collator, with our ids: rows padded on the right, the chosen answers of all pairs first.

    Attributes:
        pairs: a data set's row names one by its place (`pair`).
        pad_id: fills; no position reads it.
    """

    pairs: Sequence[TokenPair]
    pad_id: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` and `completion_mask` (1 at the answers' tokens), [2 P, longest] each."""
        asked = [self.pairs[row["pair"]] for row in rows]
        whole = [(pair.prompt, pair.chosen) for pair in asked] + [(pair.prompt, pair.rejected) for pair in asked]
        longest = max(len(prompt) + len(answer) for prompt, answer in whole)
        ids = [torch.tensor([*prompt, *answer]) for prompt, answer in whole]
        answers = [torch.tensor([0] * len(prompt) + [1] * len(answer)) for prompt, answer in whole]
        return {
            "input_ids": _stacked(ids, longest, self.pad_id),
            "attention_mask": _stacked([torch.ones_like(row) for row in ids], longest, 0),
            "completion_mask": _stacked(answers, longest, 0),
        }


def _stacked(rows: Sequence[Tensor], longest: int, value: int) -> Tensor:
    return torch.stack([pad(row, (0, longest - len(row)), value=value) for row in rows])


def pair_context(policy: Policy, settings: DpoSettings) -> int:
    """Tokens that a prompt with its answer may have: what the settings ask, within what the model holds."""
    return min(settings.context_length, int(policy.model.config.max_position_embeddings))


def pair_steps(count: int, settings: DpoSettings) -> int:
    """Optimizer steps of so many pairs; the last batch is filled up from the next pass."""
    return max(1, -(-round(count * settings.epochs) // settings.batch_size))


def token_pairs(
    preferences: Iterable[Preference | LabelledAnswer], tokenizer: Tokenizer, context_length: int = sys.maxsize
) -> tuple[list[TokenPair], int]:
    """Preferences in the chat format, as every stage renders them, that fit the context; and how many do not.

    Raises:
        UsageError: a record is no preference.
        DataError: an answer is empty, or both are the same.
    """
    pairs = []
    records = given_comparisons(preferences, "preferences")
    for i, record in enumerate(records):
        if not isinstance(record, Preference):
            raise UsageError(f"preferences[{i}] ({record.source}) is a single answer; DPO learns from pairs")
        chosen, rejected = (
            tuple(answer_ids(text, tokenizer, f"{record.source}: an answer"))
            for text in (record.chosen, record.rejected)
        )
        prompt = tuple(render_prompt(record.prompt, tokenizer))
        pairs.append(TokenPair(prompt=prompt, chosen=chosen, rejected=rejected, row=str(record.source)))
    fitting = [pair for pair in pairs if pair.longest <= context_length]
    return fitting, len(pairs) - len(fitting)


def _drawn(pairs: Sequence[TokenPair], count: int, *, seed: int) -> list[TokenPair]:
    """So many pairs, pass after pass, each pass in an order of its own."""
    order: list[int] = []
    while len(order) < count:
        passes = len(order) // len(pairs)
        order += named_generator(seed, "dpo-pairs", passes).permutation(len(pairs)).tolist()
    return [pairs[i] for i in order[:count]]


def pair_log_probs(model: nn.Module, pairs: Sequence[TokenPair], compute: Compute) -> Tensor:
    """log pi(y|x) of both answers [P, 2], chosen first, in nats, float64 on the CPU; without gradient."""
    trees = [tree for pair in pairs for tree in pair.trees()]
    found = torch.zeros(len(trees), dtype=torch.float64)
    with torch.no_grad():
        for batch in answer_batches(trees, range(len(trees))):
            with compute.autocast():
                flat = target_log_probs(model, batch.forest.to(compute.device)).double().cpu()
            for i, piece in zip(batch.members, flat.split(batch.counts), strict=True):
                found[i] = piece.sum()
    return found.view(-1, 2)


def _figures(after: Tensor, before: Tensor, beta: float) -> PairFigures:
    """What the implicit reward says of pairs.

    Args:
        after, before: [P, 2] log-probabilities under the trained policy and the reference.
    """
    rewards = beta * (after - before)
    margins = rewards[:, 0] - rewards[:, 1]
    return PairFigures(
        loss=float(-logsigmoid(margins).mean()),
        accuracy=float((margins > 0).double().mean()),
        margin=float(margins.mean()),
    )
