"""A real run that collects from people: it waits, goes on with their verdicts, and their records come of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.annotate.people.items import ITEMS_FILE, read_items
from alignment.annotate.people.verdicts import VerdictFile
from alignment.data.rows.written import RECORDS_FILE, read_records
from alignment.errors import Waiting
from alignment.policy.policy import Policy, save_policy
from alignment.records import Preference
from recipes.load import load_recipe
from recipes.running.runner import run
from recipes.running.verify import altered_stages
from tests.alignment.annotate.people.conftest import verdict

RECIPE = """
name: people
compute: {precision: fp32, threads: 1}
model: {path: CHAT}
collect:
  prompts: {train: [{path: prompts.jsonl}]}
  annotator: people
  answers: 3
  pairs_per_prompt: 2
  temperatures: [0.7, 1.0]
  max_new_tokens: 6
  keep_cut: true
"""


def test_a_run_waits_for_people_and_their_records_come_of_it(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_policy(policy, tmp_path / "chat")
    Path("prompts.jsonl").write_text('{"prompt": "who sells bread?"}\n{"prompt": "how are you?"}\n', encoding="utf-8")
    Path("my.yaml").write_text(RECIPE.replace("CHAT", str(tmp_path / "chat")), encoding="utf-8")
    recipe, out = load_recipe(Path("my.yaml")), tmp_path / "my run"
    with pytest.raises(Waiting, match=f"`align annotate '{out}'` asks for them"):
        run(recipe, out=out, until="collect")
    (stage,) = out.glob("*-collect")
    items = read_items(stage / ITEMS_FILE)
    with VerdictFile(stage, "anna", items) as file:
        file.add({item.id: verdict(item) for item in items})
    run(recipe, out=out, until="collect")
    records = [record for record in read_records(stage / RECORDS_FILE) if isinstance(record, Preference)]
    assert [(record.chosen, record.rejected) for record in records] == [(item.first, item.second) for item in items]
    assert all(altered is None for _, altered in altered_stages(out))
