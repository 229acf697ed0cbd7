"""What `compute.parallel` may say, and what is refused before anything is trained."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from alignment.errors import MissingExtra, UsageError
from alignment.train.compute import Compute
from alignment.train.loss_module import LossModule
from alignment.train.parallel.twin import twin_of
from alignment.train.parallel.wrap import wrap
from alignment.train.settings import ComputeSettings, OptimizerSettings, ParallelSettings

CPU = Compute(device=torch.device("cpu"), autocast_dtype=None)


def _refused(**settings: object) -> str:
    with pytest.raises(ValidationError) as refused:
        ComputeSettings.model_validate(settings)
    return str(refused.value)


def test_a_kind_alone_stands_for_it_with_its_defaults() -> None:
    assert ComputeSettings.model_validate({"parallel": "fsdp2"}).parallel == ParallelSettings(kind="fsdp2")
    assert ComputeSettings().parallel == ParallelSettings(kind="auto")


def test_neither_kind_nor_options_are_part_of_a_fingerprint() -> None:
    sharded = ComputeSettings(parallel=ParallelSettings(kind="deepspeed", stage=3, activation_checkpointing=True))
    assert sharded.fingerprint_values() == ComputeSettings().fingerprint_values()


def test_what_it_cannot_say_is_refused_with_what_would_be_right() -> None:
    assert "'none', 'ddp', 'fsdp2' or 'deepspeed'" in _refused(parallel="fsdp")
    assert "stage is an option of the kind deepspeed; the kind is fsdp2" in _refused(
        parallel={"kind": "fsdp2", "stage": 3}
    )
    assert "parameters in bf16, and compute.precision is fp32" in _refused(
        precision="fp32", parallel={"kind": "fsdp2", "parameters": "bf16"}
    )
    assert "compute.compile does not go with" in _refused(compile=True, parallel="fsdp2")


def _module() -> LossModule[object]:  # type: ignore[type-var]
    return LossModule(nn.Linear(2, 2), lambda model, batch: (torch.zeros(()), {}), CPU)


def test_a_missing_deepspeed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"the extra 'deepspeed'"):
        wrap(_module(), OptimizerSettings(), ComputeSettings(parallel=ParallelSettings(kind="deepspeed")), CPU)


def test_bf16_parameters_are_refused_where_auto_has_become_fp32() -> None:
    asked = ComputeSettings(parallel=ParallelSettings(kind="fsdp2", parameters="bf16"))
    with pytest.raises(UsageError, match="is fp32 on this machine"):
        wrap(_module(), OptimizerSettings(), asked, CPU)


def test_a_twin_shares_the_weights_and_keeps_shared_ones_shared() -> None:
    module = nn.ModuleDict({"embedding": nn.Embedding(3, 2), "head": nn.Linear(2, 3, bias=False)})
    module["head"].weight = module["embedding"].weight
    twin = twin_of(module, why="fsdp2")
    assert twin["head"].weight is twin["embedding"].weight
    assert twin["head"].weight is not module["head"].weight
    assert twin["head"].weight.data_ptr() == module["head"].weight.data_ptr()


def test_packed_weights_cannot_be_divided() -> None:
    module = nn.Module()
    module.packed = nn.Parameter(torch.zeros(4, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(UsageError, match=r"cannot divide packed of type torch.uint8; .* say compute.parallel: ddp"):
        twin_of(module, why="fsdp2")
