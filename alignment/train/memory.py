"""How many bytes a model takes while it is trained, held or sampled from; counted, nothing is built.  No torch.

Weights, gradients and AdamW's two moments are fp32 (the optimizer's master weights); under bf16 autocast the forward
pass holds bf16 copies beside them.  Activations are what the core's backward pass keeps: counted from
`alignment/model/llama.py` and held against what autograd saves (`tests/alignment/train/test_memory.py`).

T tokens of a forest, C width, K·D key/value width, F feed-forward width, H heads, L layers, V vocabulary.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alignment.model.settings import ModelSettings, count_numbers
from alignment.policy.settings import PROJECTIONS, AdapterSettings

Precision = Literal["fp32", "bf16"]
_FAMILY = re.compile(r"llama-?2-(7|13|34|70)b", re.IGNORECASE)
_WIDE = 4  # bytes of an fp32 number
_MOMENTS = 8  # AdamW's two, fp32
_NF4 = 0.52  # bytes of a weight in 4 bits with doubly quantised constants (Dettmers et al. 2023, 3)
_HEAD_CHUNK = 1 << 22  # logits computed at once (`alignment.model.log_probs`)


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What a model's bytes follow from.

    Attributes:
        width, layers, heads, kv_heads, hidden: of the core (hidden: the feed-forward's).
        vocab_size: tokens.
        tied: whether the vocabulary projection is the embedding.
    """

    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocab_size: int
    tied: bool = False

    @classmethod
    def of(cls, model: ModelSettings, vocab_size: int) -> ModelShape:
        """The shape that a recipe's section `model` describes."""
        width, layers, heads, kv_heads, hidden = model.shape()
        return cls(
            width=width,
            layers=layers,
            heads=heads,
            kv_heads=kv_heads,
            hidden=hidden,
            vocab_size=vocab_size,
            tied=model.tie_embeddings,
        )

    @classmethod
    def read(cls, folder: Path) -> ModelShape | None:
        """The shape of a checkpoint of the family, from its `config.json`; None where there is none, or another's."""
        file = folder / "config.json"
        if not file.is_file():
            return None
        config = json.loads(file.read_text(encoding="utf-8"))
        names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
        if not isinstance(config, dict) or not all(isinstance(config.get(name), int) for name in names):
            return None
        width, layers, heads, hidden, vocab_size = (int(config[name]) for name in names)
        return cls(
            width=width,
            layers=layers,
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            hidden=hidden,
            vocab_size=vocab_size,
            tied=bool(config.get("tie_word_embeddings")),
        )

    @classmethod
    def named(cls, name: str) -> ModelShape | None:
        """The shape that a hub name of the Llama 2 family says ("meta-llama/Llama-2-7b-hf"); None of another name."""
        said = _FAMILY.search(name)
        if said is None:
            return None
        return cls.of(ModelSettings.model_validate({"size": f"{said[1]}b"}), 32_000)

    @property
    def parameters(self) -> int:
        """All of them, shared ones once."""
        sizes = (self.width, self.layers, self.heads, self.kv_heads, self.hidden, self.vocab_size)
        return count_numbers(*sizes, tied=self.tied)

    @property
    def kv_width(self) -> int:
        """Width of all keys of one token in one layer."""
        return self.width // self.heads * self.kv_heads

    def adapter_parameters(self, adapter: AdapterSettings) -> int:
        """Numbers that LoRA trains: rank (in + out) a target and layer (Hu et al. 2021, 4.1)."""
        sides = {
            "q_proj": (self.width, self.width),
            "k_proj": (self.width, self.kv_width),
            "v_proj": (self.width, self.kv_width),
            "o_proj": (self.width, self.width),
            "gate_proj": (self.width, self.hidden),
            "up_proj": (self.width, self.hidden),
            "down_proj": (self.hidden, self.width),
        }
        targets = PROJECTIONS if adapter.targets == "all-linear" else adapter.targets
        return self.layers * adapter.rank * sum(sum(sides[name]) for name in targets if name in sides)


@dataclass(frozen=True, kw_only=True)
class Bytes:
    """Bytes by kind.

    Attributes:
        weights: of the model, bf16 copies of the forward pass included.
        gradients, optimizer: of what is trained.
        activations: that the backward pass of one forest needs, with its logits.
        cache: keys and values of one answer; as many decode together as are free for (`alignment.generate.budget`).
    """

    weights: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    cache: int = 0

    def peak(self, *, forests: int = 1) -> int:
        """The most at once.

        With one forest a step the gradients grow while the activations go, so the larger of the two counts; with
        several the gradients of the earlier ones stand beside the activations.
        """
        moving = self.activations + self.gradients if forests > 1 else max(self.activations, self.gradients)
        return self.weights + self.optimizer + max(moving, self.cache)

    def over(self, devices: int) -> Bytes:
        """A device's share where weights, gradients and optimizer are sharded over several; the rest is its own."""
        return Bytes(
            weights=-(-self.weights // devices),
            gradients=-(-self.gradients // devices),
            optimizer=-(-self.optimizer // devices),
            activations=self.activations,
            cache=self.cache,
        )

    def __add__(self, other: Bytes) -> Bytes:
        """Both models in one step (PPO's policy and value function); answers are drawn from one of them."""
        return Bytes(
            weights=self.weights + other.weights,
            gradients=self.gradients + other.gradients,
            optimizer=self.optimizer + other.optimizer,
            activations=self.activations + other.activations,
            cache=max(self.cache, other.cache),
        )


def held(shape: ModelShape) -> Bytes:
    """A frozen model: fp32 weights."""
    return Bytes(weights=_WIDE * shape.parameters)


def trained(
    shape: ModelShape,
    *,
    tokens: int,
    longest: int,
    precision: Precision,
    checkpointing: bool = False,
    fused_attention: bool = False,
    adapter: AdapterSettings | None = None,
) -> Bytes:
    """A model that is trained on forests.

    Args:
        tokens: T of one forest.
        longest: tokens of its longest sequence.
        checkpointing: activations are computed again in the backward pass, layer by layer.
        fused_attention: attention keeps no probabilities (sdpa and flex; the CPU's `blocks` keeps them).
        adapter: LoRA beside the frozen model; None trains all of it.
    """
    base = shape.parameters * (_WIDE + (2 if precision == "bf16" else 0))
    moving = shape.parameters
    if adapter is not None:
        moving = shape.adapter_parameters(adapter)
        if adapter.base_precision == "nf4":
            base = int(_NF4 * shape.parameters)
        base += _WIDE * moving
    return Bytes(
        weights=base,
        gradients=_WIDE * moving,
        optimizer=_MOMENTS * moving,
        activations=activation_bytes(
            shape,
            tokens=tokens,
            longest=longest,
            precision=precision,
            checkpointing=checkpointing,
            fused_attention=fused_attention,
        ),
    )


def activation_bytes(
    shape: ModelShape,
    *,
    tokens: int,
    longest: int,
    precision: Precision,
    checkpointing: bool,
    fused_attention: bool,
) -> int:
    """What the backward pass of one forest needs, every token a target.

    A layer keeps its two residual inputs (fp32), and in the precision of the matrix products: two normed inputs,
    queries, attention's output before and after its heads are put together (5 C), keys and values (2 K·D), four of the
    feed-forward (4 F), and, where attention is not fused, its probabilities (H · longest).
    """
    low = 2 if precision == "bf16" else _WIDE
    inside = 5 * shape.width + 2 * shape.kv_width + 4 * shape.hidden
    inside += shape.heads * (1 if fused_attention else longest)
    layer = tokens * (2 * _WIDE * shape.width + low * inside)
    layers = tokens * _WIDE * shape.width * shape.layers + layer if checkpointing else layer * shape.layers
    logits = 2 * _WIDE * min(_HEAD_CHUNK, tokens * shape.vocab_size)
    head = _WIDE * shape.vocab_size * shape.width + tokens * shape.width * (2 * _WIDE + 2 * low)
    return layers + head + logits


def cache_bytes(shape: ModelShape, *, positions: int, precision: Precision) -> int:
    """Keys and values of one answer of that many positions, its prompt included."""
    return 2 * shape.layers * shape.kv_width * positions * (2 if precision == "bf16" else _WIDE)


def training_flops(shape: ModelShape, tokens: int, *, longest: int) -> int:
    """Of a forward and a backward pass: 6 a parameter and token, and attention's 6 L C a key (PaLM, appendix B).

    Causal attention reads half of `longest` keys a token on average.
    """
    return tokens * (6 * shape.parameters + 6 * shape.layers * shape.width * longest)


def forward_flops(shape: ModelShape, tokens: int, *, longest: int) -> int:
    """Of a forward pass alone: a third of both."""
    return training_flops(shape, tokens, longest=longest) // 3
