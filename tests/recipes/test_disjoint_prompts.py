"""Prompts are disjoint across splits: a check before RLHF that is told, stops or is skipped."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from alignment.errors import UsageError
from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.running.check import check
from recipes.stages.context import StageContext
from recipes.stages.disjoint import Pool, shared_prompts
from recipes.stages.rejection import RejectionInputs


def pool(key: str, trained: str = "", held_out: str = "", chosen_by: str = "", reported: str = "") -> Pool:
    """A data set whose prompts are letters."""
    parts = {"trained": trained, "held_out": held_out, "chosen_by": chosen_by, "reported": reported}
    return Pool(key=key, **{name: frozenset(letters) for name, letters in parts.items()})


def test_what_one_data_set_holds_out_and_another_trains_on_is_told_with_both_keys() -> None:
    pools = [pool("sft", trained="abc", held_out="d"), pool("rlhf.prompts", trained="e", held_out="bcf")]
    assert list(shared_prompts(pools)) == ["2 prompts that rlhf.prompts holds out are trained on in sft"]


def test_what_is_reported_on_must_not_be_what_was_chosen_by() -> None:
    pools = [pool("rlhf.prompts", reported="ab", chosen_by="c"), pool("rlhf.safety_prompts", chosen_by="bd")]
    (sentence,) = shared_prompts(pools)
    assert sentence.startswith(
        "1 prompts that the evaluation reports on in rlhf.prompts are chosen by in rlhf.safety_prompts"
    )


def test_pools_that_are_apart_are_not_told() -> None:
    assert not [*shared_prompts([pool("sft", "ab", "c"), pool("rlhf.prompts", "de", "cf", "c", "f")])]


@pytest.fixture
def handful(tmp_path: Path) -> Path:
    """Two prompts are too few for a split by hash: RLHF takes one from training, and SFT trains on it."""
    chats = [{"instruction": f"What does the {name} do?", "output": "He works."} for name in ("baker", "miller")]
    many = [{"instruction": f"Who is number {i}?", "output": "A man."} for i in range(200)]
    rows = {
        "chats": [*chats, *many],
        "asked": [{"prompt": row["instruction"]} for row in chats],
        "pairs": [{"prompt": f"How old is number {i}?", "chosen": "Ten.", "rejected": "No."} for i in range(40)],
    }
    for name, written in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in written))
    path = tmp_path / "handful.yaml"
    path.write_text(
        f"""\
out: {tmp_path}/run
split: {{test: 0.01, validation: 0.01}}
model: {{size: tiny, context_length: 64}}
tokenizer: {{vocab_size: 300}}
pretrain: {{data: {{train: [{{path: {tmp_path}/chats.jsonl}}]}}, context_length: 64}}
sft: {{data: {{train: [{{path: {tmp_path}/chats.jsonl}}]}}, context_length: 64}}
reward: {{helpfulness: {{data: {{train: [{{path: {tmp_path}/pairs.jsonl}}]}}, context_length: 64}}}}
rlhf: {{prompts: {{train: [{{path: {tmp_path}/asked.jsonl}}]}}}}
"""
    )
    return path


def begin(file: Path, *changes: str) -> list[str]:
    """What is told where the first version begins, with reward models of which nothing was measured."""
    (planned,) = (stage for stage in stages_of(load_recipe(file, changes)) if stage.name == "rlhf-v1")
    inputs, notes = cast(RejectionInputs, planned.inputs), list[str]()
    session = SimpleNamespace(seed=0, progress=SimpleNamespace(note=notes.append))
    stage = SimpleNamespace(session=session, world=None, folder_of=lambda name: file.parent / name)
    inputs.judges.check(cast(StageContext, stage), inputs.pools)
    return notes


SENTENCE = "1 prompts that rlhf.prompts holds out are trained on in sft"


def test_the_first_version_says_it_stops_or_passes_over_it(handful: Path) -> None:
    assert begin(handful) == [f"check before RLHF: {SENTENCE}"]
    with pytest.raises(UsageError, match=rf"{SENTENCE}; rlhf\.checks\.disjoint=tell goes on"):
        begin(handful, "rlhf.checks.disjoint=stop")
    assert begin(handful, "rlhf.checks.disjoint=skip") == []


def test_data_that_are_gone_are_told_and_do_not_pass_for_disjoint(handful: Path) -> None:
    (handful.parent / "pairs.jsonl").unlink()
    (told,) = begin(handful)
    assert told.startswith("check before RLHF: whether prompts are disjoint cannot be told: ")
    assert "pairs.jsonl" in told


def test_align_check_says_it_before_the_run(handful: Path, tmp_path: Path) -> None:
    told = f"check before RLHF: {SENTENCE}"
    assert told in check(load_recipe(handful), tmp_path).doubts
    stopping = check(load_recipe(handful, ["rlhf.checks.disjoint=stop"]), tmp_path)
    assert [SENTENCE in problem for problem in stopping.problems] == [True]
    skipped = check(load_recipe(handful, ["rlhf.checks.disjoint=skip"]), tmp_path)
    assert not [text for text in (*skipped.doubts, *skipped.problems) if "holds out" in text]


def test_later_versions_do_not_read_the_prompts_again(handful: Path) -> None:
    pools = {
        stage.name: stage.inputs.pools for stage in stages_of(load_recipe(handful)) if hasattr(stage.inputs, "pools")
    }
    assert [name for name, found in pools.items() if found is not None] == ["rlhf-v1"]


def test_records_that_stages_are_yet_to_make_are_not_read() -> None:
    (planned,) = (stage for stage in stages_of(load_recipe("quickstart")) if stage.name == "rlhf-v1")
    pools = cast(RejectionInputs, planned.inputs).pools
    assert pools is not None
    assert {"collect.prompts", "reward.safety", "rlhf.safety_prompts"} <= {data.key for data, _ in pools.sets}
    assert not [source for data, _ in pools.sets for source in data.settings.sources if source.stage]
