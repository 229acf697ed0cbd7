"""Documents replayed in PPO: the pretraining term of PPO-ptx (Ouyang et al. 2022, InstructGPT, 3.5, eq. 2).

A gradient step of the policy adds coefficient × the mean negative log-likelihood, in nats a token, of documents drawn
for that step.  The paper weighs a sum over documents; a mean does not move with their length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from alignment.batch.render import document_trees
from alignment.batch.steps import pack
from alignment.batch.tree import ForestBatch, make_batch
from alignment.data.mixing import draw
from alignment.policy.policy import Policy
from alignment.records import Document
from alignment.train.replay import given_replay
from rl.settings import PpoReplaySettings
from rl.settings.ppo import PACK_TOKENS


@dataclass(frozen=True, kw_only=True)
class ReplayBatch:
    """The documents of one gradient step.

    Attributes:
        forests: of them; every token of a document but its first is a target.
        coefficient: weight of their mean loss.
    """

    forests: tuple[ForestBatch, ...]
    coefficient: float

    @property
    def num_targets(self) -> int:
        """Tokens that carry loss, of all forests."""
        return max(sum(forest.num_targets for forest in self.forests), 1)

    @property
    def rows(self) -> list[str]:
        """Where the documents came from ("file:line")."""
        return [row for forest in self.forests for row in forest.rows]


# (iteration, step of the iteration), both from 0 -> the documents of that gradient step; None where none are replayed
Replay = Callable[[int, int], ReplayBatch | None]


def open_replay(
    documents: Iterable[Document], settings: PpoReplaySettings | None, policy: Policy, *, seed: int
) -> Replay:
    """What draws documents for every step by its name, so that a resumed PPO takes the same.

    Args:
        documents: all that may be drawn.
        settings: None replays nothing.

    Raises:
        UsageError: what is given holds no documents.
        SettingError: there is none.
    """
    if settings is None:
        return lambda iteration, step: None
    texts, tokenizer = given_replay(documents), policy.tokenizer
    context = int(policy.model.config.max_position_embeddings)
    capacity = max(PACK_TOKENS, context)
    count, coefficient = settings.documents, settings.coefficient

    def replayed(iteration: int, step: int) -> ReplayBatch:
        drawn = draw(texts, count, seed=seed, names=("ppo-replay", iteration, step))
        trees = document_trees(drawn, tokenizer, context)
        forests = tuple(make_batch([trees[i] for i in bin_]) for bin_ in pack(trees, capacity))
        return ReplayBatch(forests=forests, coefficient=coefficient)

    return replayed
