"""Models to and from folders in transformers' format: safetensors only, checked before a weight is used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from alignment.errors import CheckpointError
from alignment.model.attention import register_forest_attention
from alignment.model.config_check import config_problem, general_problem
from alignment.model.llama import LlamaCore, LlamaPolicy
from alignment.model.settings import ModelSettings
from alignment.model.weight_files import check_weight_files, require_plain_files, stored_tensors
from alignment.randomness import named_seed
from alignment.store.manifest import NAME as MANIFEST
from alignment.store.manifest import verify

Llama = TypeVar("Llama", bound=LlamaCore)
_CACHE_LINE = 64  # bytes; torch's own allocations start at one


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
    """Write `config.json` and safetensors as transformers does (the caller stages the folder).

    Llama 2's first `generation_config.json` gave a temperature and did not say `do_sample`; Meta added that later, some
    releases of transformers save none without it, and so it is said here.
    """
    wishes: GenerationConfig | None = getattr(model, "generation_config", None)  # a reward model has none
    if wishes is not None and not wishes.do_sample and {wishes.temperature, wishes.top_p} - {None, 1.0}:
        wishes.do_sample = True
    with quiet_loading():
        model.save_pretrained(folder, safe_serialization=True)


def load_model(path: Path | str, *, revision: str | None = None, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A causal language model from a checkpoint's folder or the hub: ours for Llama, transformers' own otherwise.

    Raises:
        CheckpointError: as `read_llama`; or another architecture's weights do not fit its configuration.
    """
    local = Path(path)
    if not local.is_dir() and not _looks_like_hub_name(str(path)):
        raise CheckpointError(f"{path} is no folder; a checkpoint's folder or a hub name is needed")
    if local.is_dir():
        require_plain_files(local)
        if (local / MANIFEST).exists():
            verify(local)
        check_weight_files(local)
        _check_layers(local)
    options: dict[str, Any] = {"revision": revision, "dtype": dtype, "use_safetensors": True}
    with quiet_loading():
        config = read_config(path, revision=revision)
        if local.is_dir() and isinstance(config, LlamaConfig):
            return read_llama(local, LlamaPolicy, dtype=dtype)
        if (problem := general_problem(config)) is not None:
            raise CheckpointError(f"the config.json of {path}: {problem}")
        if config.model_type == "llama":
            model: PreTrainedModel = LlamaPolicy.from_pretrained(path, **options)
        else:
            model = _load_foreign(path, options)
    align_weights(model)
    require_finite(model, str(path))
    return model


def read_llama(folder: Path, kind: type[Llama], *, dtype: torch.dtype = torch.float32) -> Llama:
    """A model of ours from a folder in transformers' format; everything is checked before a weight is used.

    Raises:
        CheckpointError: a file is no plain one of the folder or is damaged, the core does not compute the
            configuration, or a tensor is missing, unknown, of another shape than the configuration says, of no
            floating numbers or not finite; or transformers cannot use the generation_config.json.
    """
    require_plain_files(folder)
    check_weight_files(folder)
    _check_layers(folder)
    with quiet_loading():
        config = read_config(folder)
        if not isinstance(config, LlamaConfig):
            raise CheckpointError(f"{folder} holds a {config.model_type} model; one of the Llama family is needed")
        if (problem := general_problem(config) or config_problem(config)) is not None:
            raise CheckpointError(f"{folder / 'config.json'}: {problem}")
        check_tensors(folder, kind, config)
        _check_generation_config(folder)
        model: Llama = kind.from_pretrained(folder, dtype=dtype, use_safetensors=True)
    align_weights(model)
    require_finite(model, str(folder))
    return model


def _check_layers(folder: Path) -> None:
    """Refuse more layers than the files could fill, before transformers lays anything out a layer."""
    held = len(stored_tensors(folder))
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        parts = [said, *(said[name] for name in ("text_config", "llm_config") if name in said)]
        layers = max(int(part.get("num_hidden_layers") or 0) for part in parts)
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return  # `read_config` says what is wrong with it
    if layers > held:
        raise CheckpointError(
            f"{folder / 'config.json'} says num_hidden_layers {layers}, the weight files hold {held} tensors in all"
        )


def require_finite(model: nn.Module, what: str) -> None:
    """Refuse weights that are NaN or infinite: whatever is computed with them means nothing.

    Raises:
        CheckpointError: naming the first such tensor.
    """
    for name, parameter in model.named_parameters():
        ends = torch.stack(torch.aminmax(parameter.detach())) if parameter.numel() else parameter.detach()
        if not bool(torch.isfinite(ends).all()):
            raise CheckpointError(f"{what}: {name} holds numbers that are not finite; its training broke down")


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


def _check_generation_config(folder: Path) -> None:
    """Refuse a `generation_config.json` over which transformers fails when weights are loaded or saved.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    path = folder / "generation_config.json"
    if not path.exists():
        return
    try:
        said = GenerationConfig.from_pretrained(folder)
        hidden = [name for name in vars(said) if hasattr(GenerationConfig, name)]
        if hidden:
            raise ValueError(f"it has a key {hidden[0]!r}, which is no setting")
    except Exception as error:  # whatever a broken file makes transformers raise
        raise CheckpointError(
            f"{path} cannot be used ({type(error).__name__}: {' '.join(str(error).split())[:200]}); "
            f"mend it, or remove it to go without the settings of transformers' generate"
        ) from error


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


def check_tensors(folder: Path, kind: type[PreTrainedModel], config: LlamaConfig) -> None:
    """Compare the files' tensor names and shapes with what the configuration builds, before loading.

    Raises:
        CheckpointError: names the tensor and both shapes.
    """
    with torch.device("meta"):
        model = kind(config)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {tensor.name: tensor.shape for tensor in stored_tensors(folder)}
    tied = set(getattr(model, "_tied_weights_keys", None) or {}) if config.tie_word_embeddings else set()
    for name, shape in found.items():
        if name not in expected:
            raise CheckpointError(f"{folder} holds the tensor {name} {shape}, which a model of its config.json has not")
        if shape != expected[name]:
            raise CheckpointError(f"{folder}: {name} is {shape}, its config.json makes it {expected[name]}")
    for name, shape in expected.items():
        if name not in found and name not in tied:
            raise CheckpointError(f"{folder} lacks the tensor {name}; its config.json makes it {shape}")


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
