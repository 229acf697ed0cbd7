"""The core: a readable LLaMA-2 (Llama 2 paper, 2.2; LLaMA-1 paper, 2.2) over forest batches.

    h   = x + Attention(RMSNorm(x))            out = h + W_down( silu(W_gate h') * W_up h' ),  h' = RMSNorm(h)

It is a transformers `PreTrainedModel` with `LlamaConfig` and the parameter names of
`LlamaForCausalLM`, so every tool that takes a Llama checkpoint takes ours.  Inside, a batch is one
flat run of tokens: T tokens, C model width, H query heads, K key/value heads, D head width, V vocabulary.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from transformers import GenerationMixin, LlamaConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from alignment.errors import ArgumentError, UsageError
from alignment.model.attention import AttentionPlan, forest_attention
from alignment.model.config_check import config_problem
from alignment.model.hf_forward import (
    LOSS_OPTIONS,
    Asked,
    body_forward,
    keep_places,
    reaches_padding,
    refuse_unknown,
    wants,
)
from alignment.model.pointwise import rms_norm, rotate
from alignment.model.rotary import head_width, rotary_table
from alignment.model.row_attention import RowAttention

# (layer, query [T, H, D], key [T, K, D], value [T, K, D]) -> [T, H, D]; a forest's or a cache's
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class RMSNorm(nn.Module):
    """Root mean square norm over the last dimension."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class Attention(nn.Module):
    """Grouped-query attention: each key/value head serves H/K consecutive query heads."""

    def __init__(self, config: LlamaConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_heads = config.num_attention_heads
        self.num_kv_heads = config.num_key_value_heads or config.num_attention_heads
        self.head_dim = head_width(config)
        if self.num_heads % self.num_kv_heads:
            raise UsageError(
                f"num_key_value_heads {self.num_kv_heads} must divide num_attention_heads {self.num_heads}: "
                f"each key/value head serves as many query heads"
            )
        bias = config.attention_bias
        self.q_proj = nn.Linear(config.hidden_size, self.num_heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, self.num_kv_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, self.num_kv_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(self.num_heads * self.head_dim, config.hidden_size, bias=bias)
        self.o_proj.is_residual_output = True  # type: ignore[assignment]

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        """x: [T, C] -> [T, C]."""
        # heads by what the projection gives: a tensor-parallel rank holds a part of them
        query, key, value = (p(x).unflatten(1, (-1, self.head_dim)) for p in (self.q_proj, self.k_proj, self.v_proj))
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        if isinstance(attend, RowAttention):  # can be compiled: it asks for no layout
            mixed = attend(self.layer, query, key, value)
        else:
            mixed = self._attend(attend, query, key, value)
        return self.o_proj(mixed.flatten(1))

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # so that one compiled graph serves every layer and every forest
    def _attend(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return attend(self.layer, query, key, value)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)
        self.down_proj.is_residual_output = True  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))


class Block(GradientCheckpointingLayer):
    """One decoder layer."""

    def __init__(self, config: LlamaConfig, layer: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, layer)
        self.mlp = FeedForward(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, attend)
        return x + self.mlp(self.post_attention_layernorm(x))


class LlamaCore(PreTrainedModel):
    """What the body and the causal language model share: configuration, loading, initialisation."""

    config_class = LlamaConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["Block"]  # noqa: RUF012 (transformers reads a class attribute of this type)
    _supports_sdpa = True
    _can_compile_fullgraph = True

    def __init__(self, config: LlamaConfig) -> None:
        if (problem := config_problem(config)) is not None:
            raise UsageError(f"the core cannot be built from this configuration: {problem}")
        super().__init__(config)

    def _init_weights(self, module: nn.Module) -> None:
        """N(0, 0.02); residual outputs N(0, 0.02/sqrt(2 layers)); gains 1.  The papers are silent: ours."""
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            if getattr(module, "is_residual_output", False):
                std = std / math.sqrt(2 * self.config.num_hidden_layers)
            init.normal_(module.weight, mean=0.0, std=std)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, mean=0.0, std=std)
        elif isinstance(module, RMSNorm):
            init.ones_(module.weight)


class LlamaBody(LlamaCore):
    """Embedding, blocks and the last norm: tokens to hidden states."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, i) for i in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        keep_padding: bool = False,
        forest_plan: AttentionPlan | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> BaseModelOutputWithPast | tuple[Any, ...]:
        """Hidden states of a forest ([1, T] with a `forest_plan`) or of rows [B, N]; see `hf_forward.Asked`."""
        states, named = wants(cast(LlamaConfig, self.config), options, return_dict=return_dict)
        refuse_unknown(options)
        out = body_forward(
            self,
            Asked(
                input_ids=input_ids,
                inputs_embeds=inputs_embeds,
                attention_mask=attention_mask,
                position_ids=position_ids,
                past_key_values=past_key_values,
                use_cache=use_cache,
                output_hidden_states=states,
                keep_padding=keep_padding,
                forest_plan=forest_plan,
            ),
        )
        return out if named else out.to_tuple()

    def flat(self, token_ids: Tensor, plan: AttentionPlan) -> Tensor:
        """Hidden states [T, C] of a forest's tokens [T]."""
        return self.run(token_ids, plan.positions, lambda _, q, k, v: forest_attention(q, k, v, plan))

    def run(self, token_ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states [T, C] of tokens [T] at positions [T], with attention given by the caller."""
        return self.through(self.embed_tokens(token_ids), positions, attend)

    def through(
        self,
        x: Tensor,
        positions: Tensor,
        attend: Attend,
        *,
        length: Tensor | None = None,
        seen: list[Tensor] | None = None,
    ) -> Tensor:
        """The layers and the last norm over embedded tokens x [T, C]; `seen` gets every layer's input and the result.

        `length` is the longest sequence's where it is known (`rotary_table`).
        """
        cos, sin = rotary_table(cast(LlamaConfig, self.config), positions, x.dtype, length=length)
        for layer in self.layers:
            if seen is not None:
                seen.append(x)
            x = layer(x, cos, sin, attend)
        x = self.norm(x)
        if seen is not None:
            seen.append(x)
        return x

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embed_tokens = cast(nn.Embedding, value)


class LlamaPolicy(LlamaCore, GenerationMixin):
    """The causal language model: the body and the vocabulary projection."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012
    _tp_plan = {"lm_head": "colwise_gather_output"}  # noqa: RUF012

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.model = LlamaBody(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.loss_type = "ForCausalLM"
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
        logits_to_keep: int | Tensor = 0,
        forest_plan: AttentionPlan | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """Logits [.., V] and, with `labels`, transformers' loss; the other inputs are `hf_forward.Asked`'s.

        The suite's own training goes through `alignment.model.log_probs` and never holds all logits.
        """
        states, named = wants(cast(LlamaConfig, self.config), options, return_dict=return_dict)
        refuse_unknown(options, obeyed=LOSS_OPTIONS)
        if labels is not None and forest_plan is not None:
            raise ArgumentError("labels follow rows, not forests; a forest's losses are alignment.model.log_probs'")
        if labels is not None and use_cache is None:
            use_cache = False  # what trains continues nothing
        out = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            keep_padding=reaches_padding(labels, attention_mask, options),
            forest_plan=forest_plan,
            output_hidden_states=states,
            return_dict=True,
        )
        logits = self.lm_head(keep_places(out.last_hidden_state, logits_to_keep))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **options)
        result = CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
        )
        return result if named else result.to_tuple()

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **options: Any) -> None:
        """transformers' own, with the class name in `config.json` that vLLM and others choose their model by."""
        super().save_pretrained(save_directory, *args, **options)
        self.config.architectures = ["LlamaForCausalLM"]
        self.config.save_pretrained(save_directory)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.model.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.embed_tokens = cast(nn.Embedding, value)

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.lm_head = value
