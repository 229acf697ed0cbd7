"""The models of PPO: the policy pi, the reference pi_0, the value function V, and the optimizers of the two that learn.

B answers, N tokens of the longest one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from alignment.batch.tree import ForestBatch, Tree
from alignment.policy.adapted import adapt
from alignment.policy.policy import Policy
from alignment.randomness import named_seed
from alignment.train.adapter import what_is_trained
from alignment.train.checkpoints import Saved, SavedModel, SavedOptimizer
from alignment.train.compute import Compute, compile_layers, resolve_compute
from alignment.train.language_model import target_log_probs
from alignment.train.optimizer import make_optimizer, set_learning_rate
from alignment.train.schedule import learning_rate
from alignment.train.session import Session
from reward.model import HEAD, LlamaReward
from rl.experience import AnswerTokens, answer_batches
from rl.judges import RewardJudges
from rl.settings import PpoSettings
from rl.value import ValueModel, answers_as_rows, as_rows


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Who takes part in PPO.

    Attributes:
        policy: pi, trained in place; with an adapter, the wrapper of which that alone is trained.
        reference: pi_0, the policy as it was at the start; never trained.  None: pi without its adapter.
        value: V, from the helpfulness reward model's body.
        temperature: of the sampling: the log-probabilities are those of the distribution that was sampled from.
    """

    policy: Policy
    reference: nn.Module | None
    value: ValueModel
    policy_optimizer: torch.optim.Optimizer
    value_optimizer: torch.optim.Optimizer
    compute: Compute
    temperature: float

    def saved(self) -> dict[str, Saved]:
        """What the training checkpoints hold of them."""
        return {
            "policy": SavedModel(self.policy.model),
            "policy_optimizer": SavedOptimizer(self.policy.model, self.policy_optimizer),
            "value": SavedModel(self.value),
            "value_optimizer": SavedOptimizer(self.value, self.value_optimizer),
        }

    def log_probs(self, model: nn.Module, batch: ForestBatch) -> Tensor:
        """Log-probabilities of a batch's targets [n] under the policy or the reference, in nats."""
        return target_log_probs(model, batch, temperature=self.temperature)

    def per_token(self, trees: Sequence[Tree], drawn: Sequence[Sequence[float]] | None = None) -> AnswerTokens:
        """log pi, log pi_0 and V at every token of the answers, without gradient, on the CPU.

        Args:
            drawn: log pi as the sampler found it, of each answer's tokens; None: it is computed anew.
        """
        if drawn is None:
            log_probs, mask = self._rows(trees, lambda batch: self.log_probs(self.policy.model, batch))
        else:
            log_probs, mask = as_rows(drawn)
        reference, _ = self._rows(trees, self._reference_log_probs)
        values, _ = self._rows(trees, self.value)
        return AnswerTokens(log_probs=log_probs, reference=reference, values=values, mask=mask)

    def _reference_log_probs(self, batch: ForestBatch) -> Tensor:
        if self.reference is not None:
            return self.log_probs(self.reference, batch)
        with cast(Any, self.policy.model).disable_adapter():
            return self.log_probs(self.policy.model, batch)

    def _rows(self, trees: Sequence[Tree], per_target: Callable[[ForestBatch], Tensor]) -> tuple[Tensor, Tensor]:
        found: list[Tensor] = [torch.zeros(0)] * len(trees)
        with torch.no_grad():
            for batch in answer_batches(trees, range(len(trees))):
                with self.compute.autocast():
                    flat = per_target(batch.forest.to(self.compute.device)).float().cpu()
                for i, piece in zip(batch.members, flat.split(batch.counts), strict=True):
                    found[i] = piece
        return answers_as_rows(torch.cat(found), [len(tree.segments[1]) for tree in trees])

    def set_learning_rates(self, settings: PpoSettings, iteration: int) -> None:
        """The schedule's rates for an iteration, counted from 0; the value function's in its ratio to the policy's.

        While the value function alone is trained (iterations below 0) it has its whole rate.
        """
        peak = settings.optimizer.learning_rate
        rate = learning_rate(settings.optimizer, iteration + 1, settings.iterations) if iteration >= 0 else peak
        set_learning_rate(self.policy_optimizer, rate)
        set_learning_rate(self.value_optimizer, rate / peak * _value_rate(settings))

    def forget_gradients(self) -> None:
        """Drop the gradients of policy and value function."""
        for optimizer in (self.policy_optimizer, self.value_optimizer):
            optimizer.zero_grad(set_to_none=True)


def open_roles(policy: Policy, judges: RewardJudges, settings: PpoSettings, session: Session) -> Roles:
    """Place the models on their devices and make the optimizers.

    Args:
        policy: trained in place; as it is now it is the reference.
        judges: the value function starts from the helpfulness model.

    Raises:
        TokenizerError: a judge was made with another tokenizer than the policy.
        UsageError, MissingExtra, SettingError: an adapter is asked for, as
            `alignment.train.adapter.what_is_trained`.
    """
    judges.require_fit(policy)
    compute = resolve_compute(session.compute)
    value = ValueModel(judges.value_start(policy, seed=session.seed))
    compute.place(policy.model)
    reference = None
    if settings.adapter is None:
        reference = copy.deepcopy(policy.model).requires_grad_(False).eval()
    else:
        seeds = [named_seed(session.seed, "adapter", "ppo", role) for role in ("policy", "value")]
        taught = what_is_trained(policy.model, settings.adapter, policy.origin, seed=seeds[0])
        policy = replace(policy, model=taught)
        value.scorer = cast(LlamaReward, adapt(value.scorer, settings.adapter, seed=seeds[1], head=HEAD))
    policy.model.train()
    value.to(compute.device).train()
    value_settings = settings.optimizer.model_copy(update={"learning_rate": _value_rate(settings)})
    if session.compute.compile:
        for model in (policy.model, value.scorer):
            compile_layers(model)
    return Roles(
        policy=policy,
        reference=reference,
        value=value,
        policy_optimizer=make_optimizer(policy.model, settings.optimizer),
        value_optimizer=make_optimizer(value, value_settings),
        compute=compute,
        temperature=settings.sampling.temperature or 1.0,
    )


def _value_rate(settings: PpoSettings) -> float:
    return settings.value_learning_rate or settings.optimizer.learning_rate
