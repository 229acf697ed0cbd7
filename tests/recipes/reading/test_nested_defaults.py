"""A key that is left out has the default of its own section, however deep it stands and however it was said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from alignment.evaluate.settings import EvaluateSettings
from alignment.generate.settings import SamplingSettings
from alignment.settings import Settings
from alignment.train.settings import OptimizerSettings
from recipes.reading.schema import Recipe
from reward.settings import RewardSettings
from rl.settings import PpoSettings


def sections(root: type[Settings], path: str = "") -> Iterator[tuple[str, type[Settings]]]:
    """Every section of a recipe with its path, the root itself included."""
    yield path, root
    for name, info in root.model_fields.items():
        for kind in (info.annotation, *get_args(info.annotation)):
            if isinstance(kind, type) and issubclass(kind, Settings):
                yield from sections(kind, f"{path}.{name}".lstrip("."))


NESTED = [
    pytest.param(section, name, id=f"{path}.{name}".lstrip("."))
    for path, section in sections(Recipe)
    for name, info in section.model_fields.items()
    if isinstance(info.default, Settings)
]


@pytest.mark.parametrize(("section", "name"), NESTED)
def test_a_section_written_in_part_keeps_the_defaults_of_the_whole(section: type[Settings], name: str) -> None:
    whole = section.model_fields[name].default
    assert type(whole)() == whole, f"{type(whole).__name__} has other defaults than stand at {name}: give it a subclass"


def test_one_key_of_ppos_optimizer_leaves_its_rate_constant() -> None:
    optimizer = PpoSettings.model_validate({"optimizer": {"weight_decay": 0.2}}).optimizer
    assert (optimizer.learning_rate, optimizer.schedule, optimizer.weight_decay) == (1e-6, "constant", 0.2)


def test_one_key_of_the_evaluations_sampling_leaves_it_greedy() -> None:
    sampling = EvaluateSettings.model_validate({"sampling": {"max_new_tokens": 64}}).sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_new_tokens) == (0.0, 1.0, 64)


def test_one_key_of_a_reward_models_optimizer_leaves_its_least_warm_up() -> None:
    optimizer = RewardSettings.model_validate({"optimizer": {"learning_rate": 1e-3}}).optimizer
    assert (optimizer.learning_rate, optimizer.warmup_steps, optimizer.warmup_fraction) == (1e-3, 5, 0.03)


@pytest.mark.parametrize(
    ("section", "given", "told"),
    [
        (OptimizerSettings, {"betas": [2, -1]}, "AdamW's decays"),
        (SamplingSettings, {"stop": [""]}, "an empty text"),
        (RewardSettings, {"data": {"train": [{"path": "x.jsonl"}]}, "epochs": 1e308}, "less than or equal to 100000"),
    ],
)
def test_a_value_that_only_its_stage_would_refuse_is_refused_when_the_recipe_is_read(
    section: type[Settings], given: dict[str, object], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        section.model_validate(given)
