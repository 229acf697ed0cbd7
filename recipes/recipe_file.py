"""A recipe written out, resolved: every default said, variables still by name, no secret.  No torch."""

from __future__ import annotations

from typing import Any

import yaml

from recipes.masking import mask_values, safe
from recipes.recipe import Recipe
from recipes.variables import replaced_at, strings_below
from recipes.yaml_loader import KeyPath, parse_scalar


def resolved_tree(recipe: Recipe) -> dict[str, Any]:
    """All settings as plain values; strings that named variables as the recipe wrote them, secrets masked."""
    values: dict[str, Any] = recipe.model_dump(mode="json")
    raw: dict[KeyPath, str] = {path: expansion.raw for path, expansion in recipe.origin.expansions.items()}
    plain = {path: text.replace("${", "$${") for path, text in strings_below(values) if path not in raw}
    tree: dict[str, Any] = mask_values(replaced_at(values, plain | raw))
    return tree


def recipe_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML that `align run` reads again."""
    origin = recipe.origin
    head = ["# What this run was asked, with every default.  Variables stand by name."]
    if origin.file:
        head.append(f"# From {_comment(origin.file)}")
    head += [f"# with {_comment(override)}" for override in origin.overrides]
    body = yaml.dump(resolved_tree(recipe), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return "\n".join(head) + "\n" + body


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
