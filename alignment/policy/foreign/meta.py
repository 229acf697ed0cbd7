"""Meta's own checkpoints, in and out: `params.json` and `consolidated.NN.pth`, one file a model-parallel rank.

The files are pickles; they are read with `weights_only=True`, which builds tensors and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import LlamaConfig

from alignment.errors import CheckpointError
from alignment.model.checkpoint import llama_config, require_finite
from alignment.model.llama import LlamaPolicy
from alignment.model.settings import ModelSettings, feed_forward_width
from alignment.policy.foreign.rotary_order import to_halves, to_neighbours
from alignment.store.atomic import staged_folder

PARAMS = "params.json"
_SHARD = re.compile(r"consolidated\.(\d+)\.pth")
# Meta's name within a layer -> ours, and the dimension that model-parallel ranks share out (None: all have it)
_LAYER: Mapping[str, tuple[str, int | None]] = {
    "attention.wq": ("self_attn.q_proj", 0),
    "attention.wk": ("self_attn.k_proj", 0),
    "attention.wv": ("self_attn.v_proj", 0),
    "attention.wo": ("self_attn.o_proj", 1),
    "feed_forward.w1": ("mlp.gate_proj", 0),
    "feed_forward.w2": ("mlp.down_proj", 1),
    "feed_forward.w3": ("mlp.up_proj", 0),
    "attention_norm": ("input_layernorm", None),
    "ffn_norm": ("post_attention_layernorm", None),
}
_OUTSIDE: Mapping[str, tuple[str, int | None]] = {
    "tok_embeddings": ("model.embed_tokens", 1),
    "norm": ("model.norm", None),
    "output": ("lm_head", 0),
}
_IGNORED = ("rope.freqs",)


def is_meta_checkpoint(folder: Path) -> bool:
    """Whether a folder is one of Meta's (and none in transformers' format)."""
    return (folder / PARAMS).is_file() and not (folder / "config.json").exists()


def read_meta_checkpoint(
    folder: Path, *, dtype: torch.dtype = torch.float32, context_length: int = 4096
) -> LlamaPolicy:
    """The model of a folder of Meta's.

    Args:
        context_length: most positions; Meta's files do not say it (4,096 for Llama 2).

    Raises:
        CheckpointError: `params.json` or a shard is missing or damaged, a shard holds anything but tensors, or a
            tensor is missing, unknown or of another shape (named, with both shapes).
    """
    params = _read_params(folder)
    shards = _read_shards(folder)
    names = sorted({name for shard in shards for name in shard if name not in _IGNORED})
    merged = {name: _merged(name, shards, folder) for name in names}
    vocab_size = int(merged["tok_embeddings.weight"].shape[0]) if "tok_embeddings.weight" in merged else 0
    if int(params["n_layers"]) > len(merged):
        raise CheckpointError(
            f"{folder / PARAMS} says n_layers {params['n_layers']}, the shards hold {len(merged)} tensors"
        )
    config = _config(params, vocab_size, context_length, folder)
    with torch.device("meta"):
        model = LlamaPolicy(config)
    return _filled(model, _renamed(merged, config, folder), folder, dtype)


def write_meta_checkpoint(model: LlamaPolicy, folder: Path, *, num_shards: int = 1) -> None:
    """Write a model as Meta does; the folder appears as a whole.

    Args:
        num_shards: model-parallel ranks; must divide the key/value heads and the feed-forward width.

    Raises:
        CheckpointError: the model cannot be cut so, or has what Meta's format has no place for.
    """
    config = cast(LlamaConfig, model.config)
    heads, kv_heads = config.num_attention_heads, cast(int, config.num_key_value_heads)
    if kv_heads % num_shards or int(config.intermediate_size) % num_shards or int(config.hidden_size) % num_shards:
        raise CheckpointError(
            f"{num_shards} shards do not divide {kv_heads} key/value heads, width {config.hidden_size} and "
            f"feed-forward width {config.intermediate_size}"
        )
    if config.attention_bias or config.mlp_bias:
        raise CheckpointError("Meta's format has no biases; this model has them")
    weights = {name: parameter.detach() for name, parameter in model.named_parameters(remove_duplicate=False)}
    found: dict[str, tuple[Tensor, int | None]] = {}
    for theirs, (ours, dimension) in _OUTSIDE.items():
        found[f"{theirs}.weight"] = (weights[f"{ours}.weight"], dimension)
    for layer in range(int(config.num_hidden_layers)):
        for theirs, (ours, dimension) in _LAYER.items():
            weight = weights[f"model.layers.{layer}.{ours}.weight"]
            if theirs in ("attention.wq", "attention.wk"):
                weight = to_neighbours(weight, heads if theirs.endswith("q") else kv_heads)
            found[f"layers.{layer}.{theirs}.weight"] = (weight, dimension)
    with staged_folder(folder) as aside:
        for rank in range(num_shards):
            shard = {
                name: (weight if dimension is None else weight.chunk(num_shards, dim=dimension)[rank]).clone()
                for name, (weight, dimension) in found.items()
            }
            torch.save(shard, aside / f"consolidated.{rank:02d}.pth")
        (aside / PARAMS).write_text(json.dumps(_params(config), indent=1) + "\n", encoding="utf-8")


def _read_params(folder: Path) -> dict[str, Any]:
    path = folder / PARAMS
    try:
        params = json.loads(path.read_text(encoding="utf-8"))
        wanted = {name: int(params[name]) for name in ("dim", "n_layers", "n_heads")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be used ({type(error).__name__}: {error}); Meta's has dim, n_layers, …"
        ) from None
    heads, kv_heads = wanted["n_heads"], int(params.get("n_kv_heads") or wanted["n_heads"])
    if kv_heads < 1 or heads % kv_heads:
        raise CheckpointError(f"{path}: n_kv_heads {kv_heads} does not divide n_heads {heads}")
    return {**params, "n_kv_heads": kv_heads}


def _read_shards(folder: Path) -> list[dict[str, Tensor]]:
    found = sorted((int(match.group(1)), path) for path in folder.iterdir() if (match := _SHARD.fullmatch(path.name)))
    if not found or [rank for rank, _ in found] != list(range(len(found))):
        ranks = ", ".join(f"{rank:02d}" for rank, _ in found) or "none"
        raise CheckpointError(
            f"{folder} holds consolidated.NN.pth of the ranks {ranks}; 00, 01, … without a gap are needed"
        )
    return [_read_shard(path) for _, path in found]


def _read_shard(path: Path) -> dict[str, Tensor]:
    if path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
        raise CheckpointError(f"{path} is a link that leads out of its folder; it is not followed")
    try:
        shard = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever a foreign file makes torch raise
        why = str(error).splitlines()[0][:200] if str(error) else ""
        if type(error).__name__ == "UnpicklingError":
            raise CheckpointError(
                f"{path} holds more than tensors and is not read ({why}); it could run code"
            ) from None
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}: {why}); is it whole?") from None
    strange = (
        [name for name, value in shard.items() if not isinstance(value, Tensor)] if isinstance(shard, dict) else ["it"]
    )
    if strange:
        raise CheckpointError(f"{path}: {strange[0]} is no tensor; a shard of Meta's holds tensors by name only")
    return dict(shard)


def _merged(name: str, shards: Sequence[Mapping[str, Tensor]], folder: Path) -> Tensor:
    """One tensor from all ranks' parts."""
    parts = [shard[name] for shard in shards if name in shard]
    if len(parts) != len(shards):
        raise CheckpointError(f"{folder}: {name} is in {len(parts)} of {len(shards)} shards")
    stem = name.removesuffix(".weight")
    known = (
        _LAYER.get(stem.split(".", 2)[2]) if stem.startswith("layers.") and stem.count(".") >= 2 else _OUTSIDE.get(stem)
    )
    if known is None:
        raise CheckpointError(f"{folder} holds {name} {tuple(parts[0].shape)}, which a Llama has not")
    return parts[0] if known[1] is None or len(parts) == 1 else torch.cat(parts, dim=known[1])


def _config(params: Mapping[str, Any], vocab_size: int, context_length: int, folder: Path) -> LlamaConfig:
    try:
        settings = _settings(params, context_length)
    except (ValueError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{folder / PARAMS} makes no model ({' '.join(str(error).split())[:300]})") from None
    stated = int(params.get("vocab_size", -1))
    if vocab_size and stated > 0 and stated != vocab_size:
        raise CheckpointError(f"{folder / PARAMS} has vocab_size {stated}, tok_embeddings has {vocab_size} rows")
    return llama_config(settings, vocab_size or max(stated, 1))


def _settings(params: Mapping[str, Any], context_length: int) -> ModelSettings:
    width, multiplier = int(params["dim"]), params.get("ffn_dim_multiplier")
    return ModelSettings(
        size="custom",
        width=width,
        layers=int(params["n_layers"]),
        heads=int(params["n_heads"]),
        kv_heads=int(params["n_kv_heads"]),
        multiple_of=int(params.get("multiple_of", 256)),
        ffn_dim_multiplier=None if multiplier is None else float(multiplier),
        context_length=context_length,
        rope_theta=float(params.get("rope_theta", 10_000.0)),
        norm_eps=float(params.get("norm_eps", 1e-5)),
    )


def _params(config: LlamaConfig) -> dict[str, Any]:
    """`params.json` of a model; `multiple_of` and the multiplier so that Meta's rule gives its feed-forward width."""
    width, hidden = config.hidden_size, config.intermediate_size
    rule: dict[str, Any] = next(
        ({"multiple_of": m} for m in (4096, 1024, 512, 256, 128, 64, 32, 16) if feed_forward_width(width, m) == hidden),
        {"multiple_of": 1, "ffn_dim_multiplier": (hidden + 0.5) / int(8 * width / 3)},
    )
    theta = float(cast(Any, config.rope_parameters)["rope_theta"])
    return {
        "dim": width,
        "n_layers": int(config.num_hidden_layers),
        "n_heads": int(config.num_attention_heads),
        "n_kv_heads": cast(int, config.num_key_value_heads),
        "vocab_size": int(config.vocab_size),
        "norm_eps": float(config.rms_norm_eps),
        **rule,
        **({} if theta == 10_000.0 else {"rope_theta": theta}),
    }


def _renamed(merged: Mapping[str, Tensor], config: LlamaConfig, folder: Path) -> dict[str, Tensor]:
    heads = {
        "attention.wq": config.num_attention_heads,
        "attention.wk": cast(int, config.num_key_value_heads),
    }
    found = {}
    for name, weight in merged.items():
        stem = name.removesuffix(".weight")
        if not stem.startswith("layers."):
            found[f"{_OUTSIDE[stem][0]}.weight"] = weight
            continue
        _, layer, theirs = stem.split(".", 2)
        if theirs in heads:
            if weight.shape[0] % (2 * heads[theirs]):
                raise CheckpointError(
                    f"{folder}: {name} {tuple(weight.shape)} cannot be cut into {heads[theirs]} heads"
                )
            weight = to_halves(weight, heads[theirs])
        found[f"model.layers.{layer}.{_LAYER[theirs][0]}.weight"] = weight
    return found


def _filled(model: LlamaPolicy, weights: Mapping[str, Tensor], folder: Path, dtype: torch.dtype) -> LlamaPolicy:
    """Give a model on `meta` its weights."""
    expected = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for name, shape in expected.items():
        if name not in weights:
            raise CheckpointError(f"{folder} lacks {name} {shape}")
        if tuple(weights[name].shape) != shape:
            raise CheckpointError(f"{folder}: {name} is {tuple(weights[name].shape)}, params.json says {shape}")
        if not weights[name].is_floating_point():
            raise CheckpointError(f"{folder}: {name} holds {weights[name].dtype} numbers; weights are floating ones")
    if extra := sorted(weights.keys() - expected.keys()):
        raise CheckpointError(f"{folder} holds {extra[0]} {tuple(weights[extra[0]].shape)}, which params.json has not")
    model.load_state_dict({name: weight.to(dtype).contiguous() for name, weight in weights.items()}, assign=True)
    require_finite(model, str(folder))
    return model
