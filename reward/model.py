"""The reward model: the chat model's body with a scalar head on the last token (Llama 2 paper, 3.2.2).

Parameter names are those of transformers' `LlamaForSequenceClassification` with one label, so its
checkpoints load there too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.modeling_outputs import SequenceClassifierOutputWithPast

from alignment.batch.render import answer_tree
from alignment.batch.steps import pack
from alignment.batch.tree import ForestBatch, make_batch
from alignment.errors import ArgumentError, CheckpointError
from alignment.given import answered_dialogues
from alignment.model.attention import AttentionPlan
from alignment.model.checkpoint import read_config, read_llama, save_model
from alignment.model.hf_forward import refuse_unknown, wants
from alignment.model.llama import LlamaBody, LlamaCore
from alignment.model.modes import evaluating
from alignment.model.weight_files import require_plain_files
from alignment.policy.adapted import is_adapted, save_adapted
from alignment.policy.adapter import is_adapter, merge_adapter, scores
from alignment.policy.folder import base_folder, require_no_base
from alignment.policy.foreign.meta import is_meta_checkpoint
from alignment.policy.origin import Origin, require_its_base
from alignment.policy.pairing import checkpoint_tokenizer, require_fitting_config, require_same_tokenizer
from alignment.policy.policy import Policy, load_policy
from alignment.randomness import named_seed
from alignment.records import Answer, Dialogue
from alignment.store.atomic import staged_folder
from alignment.store.manifest import NAME as MANIFEST
from alignment.store.manifest import Manifest, verify, write_manifest
from alignment.text.chat import answer_ids, render_prompt
from alignment.text.tokenizer import Tokenizer
from alignment.train.compute import Compute, resolve_compute
from alignment.train.settings import ComputeSettings
from reward.scorer import scores_by_prompt

HEAD = "score"  # what is trained whole beside an adapter


class LlamaReward(LlamaCore):
    """Body and scalar head."""

    def __init__(self, config: LlamaConfig) -> None:
        config.num_labels = 1  # what transformers' class makes its head from
        super().__init__(config)
        self.model = LlamaBody(config)
        self.score = nn.Linear(config.hidden_size, 1, bias=False)
        self.loss_type = "ForSequenceClassification"
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> SequenceClassifierOutputWithPast | tuple[Any, ...]:
        """The score at each row's last token, [B, 1]: transformers' call; forests go by `segment_scores`.

        The last token is the mask's last one, or without a mask the last that is no padding token.  `labels` [B] give
        the squared error, or as numbers 0 and 1 with the problem type "multi_label_classification" the cross-entropy.

        Raises:
            ArgumentError: as `hf_forward.body_forward`, or labels of one class.
        """
        states, named = wants(cast(LlamaConfig, self.config), options, return_dict=return_dict)
        refuse_unknown(options)
        out = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=False if labels is not None and use_cache is None else use_cache,
            output_hidden_states=states,
            return_dict=True,
        )
        rows = torch.arange(len(out.last_hidden_state), device=out.last_hidden_state.device)
        last = out.last_hidden_state[rows, self._last_places(input_ids, attention_mask, out.last_hidden_state.shape[1])]
        logits, loss = self.score(last), None
        if labels is not None:
            if self.config.problem_type == "single_label_classification":
                raise ArgumentError("problem_type is single_label_classification; a scalar head has no classes")
            loss = self.loss_function(logits=logits, labels=labels, pooled_logits=logits, config=self.config)
        result = SequenceClassifierOutputWithPast(
            loss=loss, logits=logits, past_key_values=out.past_key_values, hidden_states=out.hidden_states
        )
        return result if named else result.to_tuple()

    def _last_places(self, input_ids: Tensor | None, attention_mask: Tensor | None, length: int) -> Tensor | int:
        """Where each row's last token stands, [B]."""
        padding = self.config.pad_token_id
        if attention_mask is not None and attention_mask.ndim == 2:
            real = attention_mask[:, -length:].bool()
        elif input_ids is not None and padding is not None:
            real = input_ids != padding
        else:
            return -1
        return (torch.arange(length, device=real.device) * real).argmax(-1)

    def token_scores(self, token_ids: Tensor, plan: AttentionPlan) -> Tensor:
        """Scores [T] of a forest's tokens [T], in fp32 (fp64 stays).

        The head is computed in fp32 whatever the body's precision: in bf16 many answers to one prompt tie.
        """
        hidden = self.model.flat(token_ids, plan)
        wide = torch.promote_types(hidden.dtype, torch.float32)
        with torch.autocast(hidden.device.type, enabled=False):
            return nn.functional.linear(hidden.to(wide), self.score.weight.to(wide)).squeeze(-1)

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
    """A reward model with the tokenizer of the policy that it judges.

    Attributes:
        origin: where it, or the chat model that its body is of, was loaded from; an adapter is trained beside what is
            there.
    """

    model: LlamaReward
    tokenizer: Tokenizer
    origin: Origin | None = None

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
        return RewardModel(model=model, tokenizer=policy.tokenizer, origin=policy.origin)

    @staticmethod
    def load(folder: Path | str, *, base: Path | str | None = None) -> RewardModel:
        """Read a reward model's folder; an adapter is merged into its base, the chat model that it was trained from.

        Args:
            base: where an adapter's base is, if not where its `adapter_config.json` says.

        Raises:
            CheckpointError: it does not verify, or holds no scalar head; or an adapter's base is not to be had or not
                the one that it was trained on.
            MissingExtra: it is an adapter, and peft is not installed.
            TokenizerError: its tokenizer is not the one that it was saved with, or does not fit the model.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise CheckpointError(f"{folder} is no folder; a reward model's checkpoint is needed")
        require_plain_files(folder)
        if is_adapter(folder):
            return _merged(folder, base_folder(folder, base))
        require_no_base(folder, base)
        tokenizer = checkpoint_tokenizer(folder)
        if (folder / MANIFEST).exists():
            verify(folder, kind="reward")
        model = read_llama(folder, LlamaReward)
        require_fitting_config(tokenizer, model.config, str(folder))
        return RewardModel(model=model, tokenizer=tokenizer, origin=Origin(folder=folder))

    def save(self, folder: Path | str, *, meta: Mapping[str, Any] | None = None) -> Manifest:
        """Write model (of an adapted one adapter and head), tokenizer and manifest; the folder appears as a whole."""
        marks = {"tokenizer": self.tokenizer.sha256, **(meta or {})}
        if is_adapted(self.model):
            return save_adapted(self.model, self.origin, self.tokenizer, Path(folder), kind="reward", meta=marks)
        self.model.config.pad_token_id = self.tokenizer.pad_id  # transformers reads the score at the last other token
        with staged_folder(Path(folder), replace=True) as aside:
            save_model(self.model, aside)
            self.tokenizer.save(aside)
            return write_manifest(aside, kind="reward", meta=marks)

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

    def score_answers(self, answers: Sequence[Answer], compute: Compute) -> list[float]:
        """One score per sampled answer, in order; each prompt is computed once for all its answers."""
        return scores_by_prompt(self.score_ids, answers, compute)

    def score(self, dialogues: Iterable[Dialogue], compute: ComputeSettings | None = None) -> list[float]:
        """Scores of dialogues that end with an answer, in order, before any sigmoid.

        Raises:
            UsageError: something is no dialogue, or ends with the user.
        """
        given = answered_dialogues(dialogues, "dialogues")
        prompts = [render_prompt(dialogue.prompt(), self.tokenizer) for dialogue in given]
        answers = [[answer_ids(dialogue.turns[-1].content, self.tokenizer)] for dialogue in given]
        return [score for (score,) in self.score_ids(prompts, answers, resolve_compute(compute or ComputeSettings()))]


def _merged(folder: Path, base: Path) -> RewardModel:
    """A reward model's adapter and head on the chat model, or the reward model, that they were trained from."""
    if not scores(folder):
        raise CheckpointError(
            f"{folder} is an adapter of a chat model, which gives no scores; a reward model is needed"
        )
    require_its_base(folder, base)
    under = RewardModel.load(base) if _scores(base) else RewardModel.from_policy(load_policy(base), seed=0, name="")
    require_same_tokenizer(checkpoint_tokenizer(folder), str(folder), under.tokenizer, f"its base {base}")
    merge_adapter(under.model, folder)  # the head comes with it
    return replace(under, origin=Origin(folder=folder))


def _scores(folder: Path) -> bool:
    """Whether a folder, whole or an adapter, is a reward model's."""
    if is_adapter(folder):
        return scores(folder)
    if is_meta_checkpoint(folder):
        return False
    return any("SequenceClassification" in name for name in read_config(folder).architectures or ())


def segment_scores(model: LlamaReward, batch: ForestBatch) -> Tensor:
    """The score at each segment's last token, [S] (an empty segment has its parent's)."""
    scores = model.token_scores(batch.token_ids, batch.plan())
    return scores.index_select(0, torch.from_numpy(batch.forest.ends).to(scores.device))
