"""Every `align …` that a help text, the README or a page shows: it parses, and its recipe loads.  No stage runs."""

from __future__ import annotations

import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from alignment.strict_yaml import parse_yaml
from recipes.cli.app import app
from recipes.load import build_recipe, load_recipe, shipped_recipes
from recipes.plan import stages_of
from tests.golden.frozen import ENVIRONMENT

ROOT = Path(__file__).parents[3]
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
ASKING = {"--help", "-h", "--version", "-V"}
FILLED = {"RECIPE": "quickstart", "R": "quickstart", "RUN": "runs/quickstart", "FILE": "my.yaml", "STUDY": "margin"}
GROUP: Any = typer.main.get_command(app)
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`]+)`")
_PLACE = re.compile(r"(?<!\S)\.venv/bin/(?=align )")  # where it stands until the environment is activated
_YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
_TABLE_ROW = re.compile(r"^\| (.+?) \| (.+?) \|$", re.MULTILINE)


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
            lines = (_PLACE.sub("", line) for line in block.splitlines())
            shown = [line.split("#")[0] for line in lines if re.match(r"(echo .* \| )?align ", line)]
            yield from ((page.name, part.strip()) for line in shown for part in line.split(" · "))
        inline = (_PLACE.sub("", " ".join(found.split())) for found in _INLINE.findall(_FENCED.sub("", text)))
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
    assert {"README.md", "world.md", "first-hour.md"} <= {where for where, _ in in_pages()}


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


def test_the_questions_of_the_first_hour_are_the_towns_and_their_answers_are_right() -> None:
    from alignment.world import World

    rows = _TABLE_ROW.findall((ROOT / "docs" / "first-hour.md").read_text(encoding="utf-8").split("## 3. Chat")[1])
    asked = {ask: answer for ask, answer in rows if ask != "ask"}
    assert len(asked) == 5
    settings = load_recipe("quickstart").world
    assert settings is not None
    world = World(settings)
    prompts = {dialogue.turns[0].content: dialogue for dialogue in world.dialogues("train") if len(dialogue.turns) == 2}
    for ask, answer in asked.items():
        verdict = world.judge().verdict(prompts[ask].prompt(), answer)  # it is asked in training, so it can be learnt
        assert (verdict.parts["correct"], verdict.safety) == (1.0, 1.0), (ask, answer)


@pytest.mark.parametrize("page", ["README.md", "docs/first-hour.md"])
def test_a_recipe_that_a_page_shows_is_one(page: str) -> None:
    shown = _YAML.findall((ROOT / page).read_text(encoding="utf-8"))
    assert shown
    for text in shown:
        recipe = build_recipe(parse_yaml(text, name=page), name=page)
        first, *work, last, report = (stage.name for stage in stages_of(recipe))
        assert (first, last, report) == ("tokenizer", "evaluate", "report")
        assert work[0] in ("sft", "rlhf-v1")


def test_readme_says_where_align_stands_before_its_first_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first = re.search(r"^align ", text, re.MULTILINE)
    assert first is not None
    assert ".venv/bin/align" in text[: first.start()]
    assert "source .venv/bin/activate" in text[: first.start()]


def test_readme_tells_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = (ROOT / "README.md").read_text(encoding="utf-8").split("## Extras")[1].split("##")[0]
    told = {name for row in re.findall(r"^\| (`.+?) \|", extras, re.MULTILINE) for name in _INLINE.findall(row)}
    assert told == set(project["optional-dependencies"])
