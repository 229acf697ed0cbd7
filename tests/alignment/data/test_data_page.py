"""The examples of docs/data.md are read as the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from alignment.annotate.settings import CollectSettings
from alignment.data.forms.columns import Reading
from alignment.data.forms.readers import READERS, detect_form
from alignment.data.rows.json_lines import RawRow
from alignment.data.settings import FORMS, DataSettings, SourceSettings
from alignment.records import Source

PAGE = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
PANDALM = {"output_1": "response1", "output_2": "response2", "annotator_1": "annotator1"}
COLUMNS = {"two_outputs": {**PANDALM, "annotator_2": "annotator2", "annotator_3": "annotator3"}}
COLUMNS["graded_answers"] = {"score": "mark"}


def json_examples() -> list[tuple[str, str]]:
    """(form, line) of every line of the page's JSON blocks."""
    found, form = [], ""
    for part in re.split(r"```(\w*)\n", PAGE):
        if part.startswith("{"):
            found += [(form, line) for line in part.split("```")[0].splitlines()]
        named = re.findall(r"^`(\w+)`[,:]", part, flags=re.MULTILINE)
        form = next((name for name in reversed(named) if name in FORMS), form)
    return found


def test_the_page_shows_every_form() -> None:
    shown = set(re.findall(r"`(\w+)`", PAGE))
    assert set(FORMS) - {"auto"} <= shown


@pytest.mark.parametrize(("form", "line"), json_examples())
def test_an_example_row_reads_in_its_form(form: str, line: str) -> None:
    source = SourceSettings(path="rows.jsonl", columns=COLUMNS.get(form, {}))
    value = json.loads(line)
    detected = detect_form(source, value)
    assert detected == ("messages" if "messages" in value else form)
    row = RawRow(source=Source(file="rows.jsonl", line=1), value=value)
    assert READERS[detected](row, Reading(source, seed=0))


def test_the_yaml_examples_are_settings() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        value = yaml.safe_load(block)
        if isinstance(value, dict) and "collect" in value:
            assert CollectSettings(**value["collect"]).prompts.train
        elif isinstance(value, dict) and "reward" in value:
            assert all(DataSettings(**section["data"]).mix for section in value["reward"].values())
        else:
            sources = value if isinstance(value, list) else value["data"]["train"]
            assert DataSettings(train=sources).train
