"""Every `align …` that a help text, the README or a page shows: it parses, and its recipe loads.  No stage runs."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from recipes.cli.app import app
from recipes.load import load_recipe, shipped_recipes
from tests.golden.frozen import ENVIRONMENT

ROOT = Path(__file__).parents[3]
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
ASKING = {"--help", "-h", "--version", "-V"}
FILLED = {"RECIPE": "quickstart", "R": "quickstart", "RUN": "runs/quickstart", "FILE": "my.yaml", "STUDY": "margin"}
GROUP: Any = typer.main.get_command(app)
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`]+)`")


def in_help() -> Iterator[tuple[str, str]]:
    """(verb, command) of every example of a help text."""
    for name, command in {"align": GROUP, **GROUP.commands}.items():
        for line in (command.help or "").splitlines():
            shown = line.strip().removeprefix("Example: ")
            if re.match(r"(echo .* \| )?align ", shown):
                yield name, re.split(r"\s{2,}", shown)[0]


def in_pages() -> Iterator[tuple[str, str]]:
    """(page, command) of every command line in a page: a line of a block, or a text between backticks."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in _FENCED.findall(text):
            shown = [line.split("#")[0] for line in block.splitlines() if line.startswith("align ")]
            yield from ((page.name, part.strip()) for line in shown for part in line.split(" · "))
        inline = (" ".join(found.split()) for found in _INLINE.findall(_FENCED.sub("", text)))
        yield from ((page.name, shown) for shown in inline if shown.startswith("align "))


def calls(shown: str) -> Iterator[list[str]]:
    """The arguments of what is shown: without what is piped or may be left out, and with placeholders filled."""
    shown = re.sub(r"\[[^]]*\]| > .*", "", shown[shown.index("align ") :])
    verb, *rest = shlex.split(shown.removeprefix("align "))
    filled = [FILLED.get(word, word) for word in rest]
    yield from ([one, *filled] for one in verb.split("|"))


SHOWN = sorted({(where, *call) for where, shown in (*in_help(), *in_pages()) for call in calls(shown)})


def parsed(arguments: list[str]) -> dict[str, Any]:
    """What the command line makes of the arguments; raises as it would."""
    with GROUP.make_context("align", list(arguments)) as context:
        name, command, rest = GROUP.resolve_command(context, list(arguments))
        with command.make_context(name, list(rest), parent=context) as inner:
            return dict(inner.params)


def test_there_are_examples_of_every_kind_of_text() -> None:
    verbs = {where for where, _ in in_help()}
    assert verbs == {"align", *GROUP.commands}
    assert {"README.md", "world.md"} <= {where for where, _ in in_pages()}


@pytest.mark.parametrize("example", SHOWN, ids=" ".join)
def test_an_example_parses_and_its_recipe_loads(example: tuple[str, ...]) -> None:
    where, *arguments = example
    verb = set(arguments) - ASKING
    if where not in ("align", *GROUP.commands) and len(verb) <= 1:
        assert verb <= GROUP.commands.keys()  # a page names the verb, or asks for its help
        return
    recipe = parsed(arguments).get("recipe")
    if recipe is not None:
        file = ROOT / recipe
        base = file if file.is_file() else recipe if recipe in shipped_recipes() else "quickstart"
        assert base != "quickstart" or recipe in ("quickstart", "my.yaml")
        load_recipe(base, parsed(arguments)["overrides"] or (), environment=ENVIRONMENT)


@pytest.mark.parametrize(
    "arguments",
    ["run quickstart --outt runs/x", "rum quickstart", "chat", "run quickstart rlhf.versions=2 --out"],
)
def test_an_example_that_is_wrong_would_be_found(arguments: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|missing|requires an argument"):
        parsed(arguments.split())


def test_the_question_of_the_chat_example_is_one_that_the_town_answers() -> None:
    from alignment.world import World

    (question,) = (match.group(1) for _, shown in in_help() if (match := re.match(r'echo "(.*)" \|', shown)))
    world = load_recipe("quickstart").world
    assert world is not None
    turns = itertools.chain.from_iterable(dialogue.turns for dialogue in World(world).dialogues("train"))
    assert question in {turn.content for turn in turns}
