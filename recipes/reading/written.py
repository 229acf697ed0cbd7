"""A recipe written out, resolved: every default said, variables still by name, no secret.  No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from alignment.settings import Settings
from alignment.strict_yaml import KeyPath, parse_scalar
from alignment.train.settings import PackedSettings
from recipes.masking import mask_values, safe
from recipes.reading.schema import Recipe
from recipes.reading.variables import replaced_at, strings_below


def resolved_tree(recipe: Recipe) -> dict[str, Any]:
    """All settings as plain values; strings that named variables as the recipe wrote them, secrets masked."""
    values: dict[str, Any] = _without_defaults_of_the_model(recipe, recipe.model_dump(mode="json"))
    raw: dict[KeyPath, str] = {path: expansion.raw for path, expansion in recipe.origin.expansions.items()}
    plain = {path: text.replace("${", "$${") for path, text in strings_below(values) if path not in raw}
    tree: dict[str, Any] = mask_values(replaced_at(values, plain | raw))
    return tree


def _without_defaults_of_the_model(settings: Settings, values: dict[str, Any]) -> dict[str, Any]:
    """Without the context lengths that were not given: written out they would be asked for, of whatever model."""
    for name in type(settings).model_fields:
        inner = getattr(settings, name)
        if isinstance(inner, Settings):
            values[name] = _without_defaults_of_the_model(inner, values[name])
    if isinstance(settings, PackedSettings) and settings.asked_context is None:
        del values["context_length"]
    return values


def recipe_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML that `align run` reads again."""
    origin = recipe.origin
    head = ["# What this run was asked, with every default.  Variables stand by name."]
    if origin.file:
        head.append(f"# From {_comment(origin.file)}")
    head += [f"# with {_comment(override)}" for override in origin.overrides]
    body = yaml.dump(resolved_tree(recipe), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return "\n".join(head) + "\n" + body


def settings_lines(recipe: Recipe) -> Iterator[str]:
    """`dotted.key: value` for everything that is not a default; a section without one says so."""
    for name, info in type(recipe).model_fields.items():
        value = getattr(recipe, name)
        if name not in ("name", "description") and value != info.get_default(call_default_factory=True):
            yield from _differing(name, value, info.default)


def _differing(key: str, value: Any, default: Any) -> Iterator[str]:
    if isinstance(value, Settings):
        count = 0
        for name, info in type(value).model_fields.items():
            inner = getattr(value, name)
            usual = (
                getattr(default, name) if type(default) is type(value) else info.get_default(call_default_factory=True)
            )
            if inner != usual:
                count += 1
                yield from _differing(f"{key}.{name}", inner, usual)
        if not count:
            yield f"{key}: all defaults"
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Settings) for item in value):
        for index, item in enumerate(value):
            yield from _differing(f"{key}.{index}", item, None)
    else:
        yield f"{key}: {'null' if value is None else value}"


class _Dumper(yaml.SafeDumper):
    """Quotes every text that this suite's loader would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    try:
        plain = isinstance(parse_scalar(text), str)
    except ValueError:
        plain = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def _comment(text: str) -> str:
    """One line, by YAML's idea of one: it breaks at U+0085, U+2028 and U+2029 too, and refuses control characters."""
    return safe(text).replace("\n", " ")
