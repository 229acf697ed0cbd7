"""The reward model: the chat model's body with a scalar head on the last token (Llama 2 paper, 3.2.2).

Parameter names are those of transformers' `LlamaForSequenceClassification` with one label, so its
checkpoints load there too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.modeling_outputs import SequenceClassifierOutput

from alignment.batch.render import answer_tree
from alignment.batch.steps import pack
from alignment.batch.tree import ForestBatch, make_batch
from alignment.errors import CheckpointError
from alignment.model.attention import AttentionPlan
from alignment.model.checkpoint import read_llama, save_model
from alignment.model.llama import LlamaBody, LlamaCore
from alignment.model.modes import evaluating
from alignment.model.weight_files import require_plain_files
from alignment.policy.pairing import checkpoint_tokenizer, require_fitting_config
from alignment.policy.policy import Policy
from alignment.randomness import named_seed
from alignment.store.atomic import staged_folder
from alignment.store.manifest import NAME as MANIFEST
from alignment.store.manifest import Manifest, verify, write_manifest
from alignment.text.tokenizer import Tokenizer
from alignment.train.compute import Compute


class LlamaReward(LlamaCore):
    """Body and scalar head."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.model = LlamaBody(config)
        self.score = nn.Linear(config.hidden_size, 1, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        forest_plan: AttentionPlan | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """A score at every token, [B, N, 1]; `segment_scores` picks the ends."""
        hidden = self.model(input_ids, attention_mask, position_ids, forest_plan).last_hidden_state
        return SequenceClassifierOutput(logits=self.score(hidden))

    def token_scores(self, token_ids: Tensor, plan: AttentionPlan) -> Tensor:
        """Scores [T] of a forest's tokens [T], in fp32 (fp64 stays)."""
        scores = self.score(self.model.flat(token_ids, plan)).squeeze(-1)
        return scores if scores.dtype == torch.float64 else scores.float()

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **options: Any) -> None:
        """transformers' own, with the class name in `config.json` that other programs know."""
        super().save_pretrained(save_directory, *args, **options)
        self.config.architectures = ["LlamaForSequenceClassification"]
        self.config.save_pretrained(save_directory)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.model.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.embed_tokens = cast(nn.Embedding, value)


@dataclass(frozen=True, kw_only=True)
class RewardModel:
    """A reward model with the tokenizer of the policy that it judges."""

    model: LlamaReward
    tokenizer: Tokenizer

    @staticmethod
    def from_policy(policy: Policy, *, seed: int, name: str) -> RewardModel:
        """Start from a chat model: its body is copied, the head is new (so the judge knows what the policy knows)."""
        config = LlamaConfig(**policy.model.config.to_dict())
        config.num_labels = 1
        config.tie_word_embeddings = False
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(named_seed(seed, "reward-head", name))
            model = LlamaReward(config)
        model.model.load_state_dict(policy.model.model.state_dict())
        return RewardModel(model=model, tokenizer=policy.tokenizer)

    @staticmethod
    def load(folder: Path | str) -> RewardModel:
        """Read a reward model's folder.

        Raises:
            CheckpointError: it does not verify, or holds no scalar head.
            TokenizerError: its tokenizer is not the one that it was saved with, or does not fit the model.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise CheckpointError(f"{folder} is no folder; a reward model's checkpoint is needed")
        require_plain_files(folder)
        tokenizer = checkpoint_tokenizer(folder)
        if (folder / MANIFEST).exists():
            verify(folder, kind="reward")
        model = read_llama(folder, LlamaReward)
        require_fitting_config(tokenizer, model.config, str(folder))
        return RewardModel(model=model, tokenizer=tokenizer)

    def save(self, folder: Path, *, meta: Mapping[str, Any]) -> Manifest:
        """Write model, tokenizer and manifest; the folder appears as a whole."""
        self.model.config.pad_token_id = self.tokenizer.pad_id  # transformers reads the score at the last other token
        with staged_folder(folder, replace=True) as aside:
            save_model(self.model, aside)
            self.tokenizer.save(aside)
            return write_manifest(aside, kind="reward", meta={"tokenizer": self.tokenizer.sha256, **meta})

    def score_ids(
        self,
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[Sequence[int]]],
        compute: Compute,
        *,
        pack_length: int = 4096,
    ) -> list[list[float]]:
        """Scores of several answers to each prompt; every prompt is computed once.

        Args:
            prompts: token ids of each prompt.
            answers: for each prompt its answers' token ids (with EOS, as sampled).
            pack_length: tokens of one forest; a longer tree gets a forest of its own.

        Returns:
            For each prompt one score an answer: the head's value at the answer's last token, before any sigmoid.
        """
        trees = [answer_tree(prompt, options) for prompt, options in zip(prompts, answers, strict=True)]
        scores: list[list[float]] = [[] for _ in trees]
        compute.place(self.model)
        capacity = max([pack_length, *(tree.num_tokens for tree in trees)])
        with torch.inference_mode(), compute.autocast(), evaluating(self.model):
            for bin_ in pack(trees, capacity):
                batch = make_batch([trees[i] for i in bin_]).to(compute.device)
                values = segment_scores(self.model, batch).cpu()
                for i, first in zip(bin_, batch.firsts.tolist(), strict=True):
                    count = len(trees[i].segments) - 1
                    scores[i] = values[first + 1 : first + 1 + count].tolist()
        return scores


def segment_scores(model: LlamaReward, batch: ForestBatch) -> Tensor:
    """The score at each segment's last token, [S] (an empty segment has its parent's)."""
    scores = model.token_scores(batch.token_ids, batch.plan())
    return scores.index_select(0, torch.from_numpy(batch.forest.ends).to(scores.device))
