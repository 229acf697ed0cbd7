"""Reward models of other architectures: transformers' sequence classification with one label, sequence by sequence.

B sequences of one length.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from alignment.errors import CheckpointError
from alignment.model.checkpoint import align_weights, quiet_loading, require_finite
from alignment.model.modes import evaluating
from alignment.model.weight_files import check_weight_files, require_plain_files
from alignment.records import Answer
from alignment.text.tokenizer import Tokenizer
from alignment.train.compute import Compute
from reward.scorer import scores_by_prompt


@dataclass(frozen=True, kw_only=True)
class ForeignReward:
    """A classification model with one label that reads the run's token ids.

    Attributes:
        tokenizer: the run's; it was compared with the checkpoint's own.
    """

    model: PreTrainedModel
    tokenizer: Tokenizer

    @staticmethod
    def load(folder: Path, tokenizer: Tokenizer) -> ForeignReward:
        """Read a checkpoint's folder.

        Args:
            tokenizer: known to be the checkpoint's.

        Raises:
            CheckpointError: a file is damaged, transformers knows no such classification model, or it lacks its head.
        """
        require_plain_files(folder)
        check_weight_files(folder)
        options: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
        try:
            with quiet_loading():
                loaded: tuple[PreTrainedModel, dict[str, Any]] = AutoModelForSequenceClassification.from_pretrained(
                    folder, trust_remote_code=False, **options
                )
        except (ValueError, RuntimeError, OSError) as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{folder} is no model for sequence classification ({reason})") from error
        model, report = loaded
        if missing := sorted(report["missing_keys"]):
            raise CheckpointError(
                f"{folder} lacks the tensor {missing[0]}; a reward model's checkpoint has a head with one label"
            )
        if model.config.pad_token_id is None:  # asked for, but nothing is padded here; no sequence ends with <unk>
            model.config.pad_token_id = 0
        align_weights(model)
        require_finite(model, str(folder))
        return ForeignReward(model=model, tokenizer=tokenizer)

    def score_ids(
        self,
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[Sequence[int]]],
        compute: Compute,
        *,
        pack_length: int = 4096,
    ) -> list[list[float]]:
        """Scores of several answers to each prompt.

        Sequences of one length make a batch, so nothing is padded and no architecture's padding rules matter.

        Args:
            pack_length: tokens of one batch; a longer sequence gets a batch of its own.
        """
        compute.place(self.model)
        scores = [[0.0] * len(options) for options in answers]
        by_length: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for p, options in enumerate(answers):
            for a, answer in enumerate(options):
                by_length[len(prompts[p]) + len(answer)].append((p, a))
        with torch.inference_mode(), compute.autocast(), evaluating(self.model):
            for length, members in sorted(by_length.items()):
                count = max(pack_length // max(length, 1), 1)
                for at in range(0, len(members), count):
                    chosen = members[at : at + count]
                    ids = torch.tensor([[*prompts[p], *answers[p][a]] for p, a in chosen], device=compute.device)
                    logits = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits  # [B, 1]
                    for (p, a), score in zip(chosen, logits[:, 0].float().tolist(), strict=True):
                        scores[p][a] = score
        return scores

    def score_answers(self, answers: Sequence[Answer], compute: Compute) -> list[float]:
        """One score per answer, in order."""
        return scores_by_prompt(self.score_ids, answers, compute)
