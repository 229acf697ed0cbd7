"""Models to and from folders in transformers' format: safetensors only, checked before a weight is used."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from alignment.errors import CheckpointError
from alignment.model.attention import register_forest_attention
from alignment.model.llama import LlamaPolicy
from alignment.model.settings import ModelSettings
from alignment.randomness import named_seed
from alignment.store.manifest import NAME as MANIFEST
from alignment.store.manifest import is_inside, verify

_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"
_CACHE_LINE = 64  # bytes; torch's own allocations start at one
_LARGEST_HEADER = 25_000_000  # bytes, some 200,000 tensors; Llama 2 70B has 723


def llama_config(settings: ModelSettings, vocab_size: int) -> LlamaConfig:
    """transformers' configuration of a shape."""
    width, layers, heads, kv_heads, hidden = settings.shape()
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=settings.context_length,
        rms_norm_eps=settings.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": settings.rope_theta},
        tie_word_embeddings=settings.tie_embeddings,
        bos_token_id=1,
        eos_token_id=2,
    )


def new_model(settings: ModelSettings, vocab_size: int, *, seed: int) -> LlamaPolicy:
    """A core with fresh weights, the same for the same seed whatever else drew before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(named_seed(seed, "initialise"))
        model = LlamaPolicy(llama_config(settings, vocab_size))
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model


def meta_model(settings: ModelSettings, vocab_size: int) -> LlamaPolicy:
    """The core's shape without memory, for counting parameters and checking recipes."""
    with torch.device("meta"):
        return LlamaPolicy(llama_config(settings, vocab_size))


def count_parameters(model: nn.Module) -> int:
    """Parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """Write `config.json` and safetensors as transformers does (the caller stages the folder)."""
    with quiet_loading():
        model.save_pretrained(folder, safe_serialization=True)


def load_model(path: Path | str, *, revision: str | None = None, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A causal language model from a checkpoint's folder or the hub: ours for Llama, transformers' own otherwise.

    Raises:
        CheckpointError: the manifest does not verify, a file lies outside the folder, or a tensor is
            missing, unknown or of another shape than the configuration says.
    """
    local = Path(path)
    if local.is_dir():
        if (local / MANIFEST).exists():
            verify(local)
        check_weight_files(local)
    elif not _looks_like_hub_name(str(path)):
        raise CheckpointError(f"{path} is no folder; a checkpoint's folder or a hub name is needed")
    with quiet_loading():
        config = read_config(path, revision=revision)
        if local.is_dir() and isinstance(config, LlamaConfig):
            check_tensors(local, LlamaPolicy, config)
        options: dict[str, Any] = {"revision": revision, "dtype": dtype, "use_safetensors": True}
        if config.model_type == "llama":
            model: PreTrainedModel = LlamaPolicy.from_pretrained(path, **options)
        else:
            model = _load_foreign(path, options)
    align_weights(model)
    return model


def align_weights(model: nn.Module) -> None:
    """Copy weights that start within a cache line, as those of a mapped file do, to memory of their own.

    Some CPU kernels sum in another order there, so a loaded model would differ from the saved one in the last bit.
    """
    for parameter in model.parameters():
        if parameter.data_ptr() % _CACHE_LINE:
            parameter.data = parameter.data.clone()


def read_config(path: Path | str, *, revision: str | None = None) -> PreTrainedConfig:
    """A checkpoint's `config.json`.

    Raises:
        CheckpointError: there is none, or transformers cannot read it.
    """
    if Path(path).is_dir() and not (Path(path) / "config.json").exists():
        raise CheckpointError(f"{path} holds no config.json; a checkpoint's folder in transformers' format is needed")
    try:
        # said outright: left unsaid, transformers asks on standard input, and a piped `y` would run the folder's code
        config: PreTrainedConfig = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
    except Exception as error:  # whatever a broken file makes transformers and huggingface_hub raise
        raise CheckpointError(
            f"the config.json of {path} cannot be used ({type(error).__name__}: {' '.join(str(error).split())[:300]}); "
            f"one of a causal language model is needed"
        ) from error
    return config


def _load_foreign(path: Path | str, options: dict[str, Any]) -> PreTrainedModel:
    """Another architecture; transformers only warns about what is missing, and draws it at random."""
    try:
        loaded: tuple[PreTrainedModel, dict[str, Any]] = AutoModelForCausalLM.from_pretrained(  # type: ignore[assignment]
            path,
            attn_implementation=register_forest_attention(),
            output_loading_info=True,
            trust_remote_code=False,
            **options,
        )
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit its config.json: {error}") from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise CheckpointError(f"{path} lacks the tensor {missing[0]}, which its config.json makes")
    return model


def check_weight_files(folder: Path) -> None:
    """Refuse weight maps that lead outside the folder (transformers follows them).

    Raises:
        CheckpointError: naming the entry.
    """
    index = folder / _INDEX
    if not index.exists():
        return
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{index} is no weight index ({type(error).__name__}); the checkpoint is damaged"
        ) from None
    for name in names:
        if not (isinstance(name, str) and Path(name).name == name and is_inside(folder, folder / name)):
            raise CheckpointError(f"{index} names {name!r}, which lies outside the checkpoint's folder")
        if not (folder / name).exists():
            raise CheckpointError(f"{folder / name} is missing; {_INDEX} names it")


def check_tensors(folder: Path, kind: type[PreTrainedModel], config: LlamaConfig) -> None:
    """Compare the files' tensor names and shapes with what the configuration builds, before loading.

    Raises:
        CheckpointError: names the tensor and both shapes.
    """
    with torch.device("meta"):
        model = kind(config)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = dict(stored_shapes(folder))
    tied = set(getattr(model, "_tied_weights_keys", None) or {}) if config.tie_word_embeddings else set()
    for name, shape in found.items():
        if name not in expected:
            raise CheckpointError(f"{folder} holds the tensor {name} {shape}, which a model of its config.json has not")
        if shape != expected[name]:
            raise CheckpointError(f"{folder}: {name} is {shape}, its config.json makes it {expected[name]}")
    for name, shape in expected.items():
        if name not in found and name not in tied:
            raise CheckpointError(f"{folder} lacks the tensor {name}; its config.json makes it {shape}")


def stored_shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all tensors in a folder's safetensors files, from their headers alone."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder} holds no .safetensors file; pickled weights are not read")
    for file in files:
        try:
            with file.open("rb") as handle:
                (size,) = struct.unpack("<Q", handle.read(8))
                if size > min(file.stat().st_size, _LARGEST_HEADER):
                    raise ValueError(f"{size:,} bytes of header in {file.stat().st_size:,} bytes")
                header = json.loads(handle.read(size))
            shapes = {n: tuple(map(int, e["shape"])) for n, e in header.items() if n != "__metadata__"}
            end = max((int(e["data_offsets"][1]) for n, e in header.items() if n != "__metadata__"), default=0)
            if 8 + size + end != file.stat().st_size:
                raise ValueError(f"{file.stat().st_size:,} bytes, its header says {8 + size + end:,}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError) as error:
            raise CheckpointError(
                f"{file} is no whole safetensors file ({error}); it is truncated or damaged"
            ) from None
        yield from shapes.items()


def _looks_like_hub_name(path: str) -> bool:
    return path.count("/") == 1 and not path.startswith((".", "/", "~"))


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers' progress bars off the run's own display."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
