"""A recipe's faults come all at once, each with its place, key, value and the nearest right key."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.errors import RecipeError, UsageError
from alignment.strict_yaml import parse_yaml
from recipes.load import build_recipe, load_recipe, shipped_recipes
from recipes.reading.variables import names_in

TEXT = Path(__file__).parents[1].joinpath("small.yaml").read_text(encoding="utf-8").replace("DATA", "rows.jsonl")
KEY = re.compile(r"^(?P<indent>\s*)(?P<dash>- )?(?P<key>[a-z_]+):(?P<rest>.*)$")
LINES = TEXT.splitlines()
KEY_LINES = [number for number, line in enumerate(LINES) if KEY.match(line)]


def faults(text: str, *overrides: str, **environment: str) -> list[str]:
    """Everything said against a recipe's text."""
    try:
        build_recipe(parse_yaml(text, name="r.yaml"), name="r.yaml", overrides=overrides, environment=environment)
    except RecipeError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_the_small_recipe_itself_has_no_fault() -> None:
    assert faults(TEXT) == []


def test_all_faults_come_at_once_in_the_order_of_the_file_then_the_overrides() -> None:
    text = "sed: 1\nmodel: {size: tinny}\npretrain:\n  epochs: no\n  epochs: 2\n  data: {train: []}\n"
    found = faults(text, "sft=3", "nothing")
    assert [fault.partition(" ")[0] for fault in found[:4]] == ["r.yaml:1:", "r.yaml:2:", "r.yaml:5:", "r.yaml:6:"]
    assert found[-2:] == [
        "override 'sft=3': sft: is 3, a whole number; a section (keys below it) is expected",
        "override 'nothing': has no '='; write key=value, as in sft.epochs=2",
    ]


@settings(max_examples=60, deadline=None)
@given(line=st.sampled_from(KEY_LINES), position=st.integers(0, 20))
def test_every_misspelt_key_is_named_with_its_line_and_the_nearest_right_one(line: int, position: int) -> None:
    match = KEY.match(LINES[line])
    assert match is not None
    key = match["key"]
    misspelt = key[: position % len(key)] + "q" + key[position % len(key) :]
    wrong = LINES[line].replace(f"{key}:", f"{misspelt}:", 1)
    found = faults("\n".join([*LINES[:line], wrong, *LINES[line + 1 :]]))
    mine = [fault for fault in found if fault.startswith(f"r.yaml:{line + 1}: ") and "unknown key" in fault]
    assert len(mine) == 1
    assert f"did you mean {key!r}?" in mine[0]


@settings(max_examples=40, deadline=None)
@given(line=st.sampled_from([n for n in KEY_LINES if not LINES[n].lstrip().startswith("-")]))
def test_every_key_given_twice_is_named_with_both_lines(line: int) -> None:
    match = KEY.match(LINES[line])
    assert match is not None
    again = f"{match['indent']}{match['key']}: again"
    found = faults("\n".join([*LINES[:line], again, *LINES[line:]]))
    assert any(
        fault.startswith(f"r.yaml:{line + 2}: ") and f"the key stands twice, first at line {line + 1}" in fault
        for fault in found
    )


SCALARS = [
    ("seed: VALUE", "seed"),
    ("model: {context_length: VALUE}", "model.context_length"),
    ("sft: {epochs: VALUE}", "sft.epochs"),
    ("sft: {optimizer: {learning_rate: VALUE}}", "sft.optimizer.learning_rate"),
    ("gatt: {keep_only_satisfied: VALUE}", "gatt.keep_only_satisfied"),
    ("rlhf: {ppo: {whiten_advantages: VALUE}}", "rlhf.ppo.whiten_advantages"),
    ("rlhf: {rejection: {pool: VALUE}}", "rlhf.rejection.pool"),
]


@pytest.mark.parametrize(("text", "key"), SCALARS)
@pytest.mark.parametrize(
    "value", ["no", "'1'", "[1]", "{a: 1}", "1_0", "2024-01-01", "-1e3", ".nan", "99999999999999999999"]
)
def test_every_wrong_value_is_named_with_key_and_line(text: str, key: str, value: str) -> None:
    mine = [fault for fault in faults("\n" + text.replace("VALUE", value)) if fault.startswith(f"r.yaml:2: {key}: ")]
    assert len(mine) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: '1'", "seed: is '1', text; a whole number is expected; write 1 without quotes or separators"),
        ("tokenizer: {vocab_size: 4_000}", "write 4000 without quotes or separators"),
        ("tokenizer: {max_characters: 2e7}", "a whole number is expected; write 20000000"),
        ("tokenizer: {vocab_size: 20}", "tokenizer.vocab_size: is 20; it must be at least 300"),
        ("model: {size: smal}", "(nearest: small)"),
        ("sft: {learning_rate: 1e-5}", "sft.learning_rate: unknown key; did you mean 'sft.optimizer.learning_rate'?"),
        ("sft: {rlhf: {}}", "sft.rlhf: unknown key; did you mean 'rlhf'?"),
        ("sft: {zzz: 1}", "sft.zzz: unknown key; keys here: save_every, keep_checkpoints"),
        ("sft: {}", "sft.data: is missing; dialogues that end with an answer"),
        ("- a", "a recipe is a mapping of sections"),
        ("model: {size: custom}", "model: size: custom needs width, layers, heads, kv_heads"),
        ("model: {__class__: x}", "model.__class__: unknown key"),
        ("name: ../x", "letters, digits"),
        ("out: ''", "out: is ''"),
        (
            "evaluate: {endpoint: {model: m, url: 'file:///dir'}}",
            "evaluate.endpoint.url: is no address of an endpoint (it does not begin with http:// or https://)",
        ),
    ],
)
def test_the_sentence_says_what_would_be_right(text: str, said: str) -> None:
    assert said in "\n".join(faults(text))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("world=null", "sft.data.train.1.world: reads the embedded world; add the section `world: {}`"),
        ("reward=null", "rlhf: needs the reward models; add the section reward"),
        ("pretrain=null", "model: names no path and there is no section pretrain"),
        ("sft=null", "reward: needs a chat model: add the section sft"),
        ("gatt.after=4", "gatt.after: is 4; there are 3 versions, 0 means the last model"),
        ("rlhf.ppo_from=5", "rlhf.ppo_from: is 5; there are 3 versions, 4 means never"),
    ],
)
def test_a_stage_that_needs_an_absent_section_names_it(change: str, said: str) -> None:
    assert any(said in fault for fault in faults(TEXT, change))


def test_a_version_that_would_start_before_ghost_attention_is_refused() -> None:
    told = faults(TEXT, "gatt.after=2", "rlhf.rejection.start_from=sft")
    assert any(
        "version 3 would start from the SFT model and lose what Ghost Attention taught" in fault for fault in told
    )
    assert faults(TEXT, "gatt.after=0", "rlhf.rejection.start_from=sft") == []


def test_an_unset_variable_is_named_and_a_default_stands_in_for_one() -> None:
    text = TEXT.replace("rows.jsonl", "${FOLDER}/${FILE:-rows.jsonl}")
    (fault,) = faults(text)
    assert fault.startswith(
        "r.yaml:17: sft.data.train.0.path: the variable FOLDER is not set; set it (export FOLDER=…)"
    )
    assert faults(text, FOLDER="x") == []
    assert "is no variable" in faults(text.replace("${FOLDER}", "${2x}"))[0]


def test_a_recipe_that_is_not_there_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.load.shipped_recipes", lambda: {"quickstart": tmp_path / "quickstart.yaml"})
    with pytest.raises(UsageError, match="did you mean 'quickstart'"):
        load_recipe("quikstart")
    for name in ("../../no/such", "/dev/null", "a\0b", "x" * 5000, "."):
        with pytest.raises(UsageError):
            load_recipe(name)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["sft", "model", "gatt", "seed", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.sampled_from(["data", "train", "path", "size", "a.b"]), inner, max_size=2)
            ),
            max_leaves=6,
        ),
        max_size=4,
    )
)
def test_any_tree_of_values_is_a_recipe_or_a_recipe_error(tree: dict[str, object]) -> None:
    text = json.dumps(tree)
    for fault in faults(text):
        assert fault.startswith("r.yaml:")


SHIPPED = {name: path.read_text(encoding="utf-8") for name, path in shipped_recipes().items()}
FREE = {"columns", "roles", "words", "labels"}  # their keys are the user's own
KEYS = [
    (name, path, line)
    for name, text in SHIPPED.items()
    for path, line in parse_yaml(text, name=name).lines.items()
    if path and isinstance(path[-1], str) and not FREE & set(path[:-1])
]


@pytest.mark.skipif(not KEYS, reason="no recipe is shipped yet")
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_misspelt_key_of_every_shipped_recipe_is_named_with_its_line(data: st.DataObject) -> None:
    name, path, line = data.draw(st.sampled_from(KEYS))
    lines = SHIPPED[name].splitlines()
    lines[line - 1] = re.sub(rf"(?<![\w]){path[-1]}:", f"{path[-1]}q:", lines[line - 1])
    given = dict.fromkeys(names_in(SHIPPED[name]), "x")
    found = faults("\n".join(lines), **given)
    assert any(
        fault.startswith(f"r.yaml:{line}: ") and f"{path[-1]}q: unknown key; did you mean '{path[-1]}'?" in fault
        for fault in found
    )


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_shipped_recipe_is_a_recipe(name: str) -> None:
    assert faults(SHIPPED[name], **dict.fromkeys(names_in(SHIPPED[name]), "x")) == []
