"""`align check` reads everything short of training and says what it would come to."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from alignment.model.settings import SIZES, ModelSettings
from recipes.cli import main
from recipes.cli.check import percentiles, sample_rows
from recipes.load import load_recipe
from recipes.running.check import check

VOCABULARY = "the mill town river baker boat lamp garden stone bridge winter song bread horse clock letter road field"
WORDS = VOCABULARY.split()


def sentence(draw: random.Random, length: int) -> str:
    """A sentence of that many words."""
    return " ".join(draw.choice(WORDS) for _ in range(length)).capitalize() + "."


def write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    """JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def files_recipe(tmp_path: Path) -> Path:
    """A recipe on files: one bad row in the dialogues, some too long, prompts shared with the held-out prompts."""
    draw = random.Random(0)
    write_rows(tmp_path / "docs.jsonl", [{"text": sentence(draw, 60)} for _ in range(200)])
    chats: list[dict[str, object]] = [
        {"instruction": f"{sentence(draw, 4)} {i}", "output": sentence(draw, 5 if i % 10 else 200)} for i in range(200)
    ]
    write_rows(tmp_path / "chat.jsonl", [*chats, {"instruction": 3}])
    pairs: list[dict[str, object]] = [
        {"prompt": f"{sentence(draw, 4)} {i}", "chosen": sentence(draw, 8), "rejected": sentence(draw, 5)}
        for i in range(60)
    ]
    write_rows(tmp_path / "pairs.jsonl", pairs)
    write_rows(tmp_path / "asked.jsonl", [{"prompt": row["instruction"]} for row in chats[:50]])
    write_rows(tmp_path / "held.jsonl", [{"prompt": row["instruction"]} for row in chats[100:120]])
    path = tmp_path / "files.yaml"
    path.write_text(
        f"""\
model: {{size: tiny, context_length: 128}}
tokenizer: {{vocab_size: 420}}
pretrain:
  data: {{train: [{{path: {tmp_path}/docs.jsonl}}], held_out_fraction: 0.1}}
  context_length: 128
  batch_size: 4
sft: {{data: {{train: [{{path: {tmp_path}/chat.jsonl}}]}}, context_length: 128, batch_size: 4}}
reward:
  helpfulness: {{data: {{train: [{{path: {tmp_path}/pairs.jsonl}}]}}, context_length: 128, batch_size: 16}}
  safety: {{data: {{train: [{{path: {tmp_path}/pairs.jsonl}}]}}, context_length: 128, batch_size: 16}}
rlhf:
  prompts: {{train: [{{path: {tmp_path}/asked.jsonl}}], held_out: [{{path: {tmp_path}/held.jsonl}}]}}
"""
    )
    return path


def test_rows_lengths_policies_and_steps_are_those_of_the_run(files_recipe: Path, tmp_path: Path) -> None:
    recipe = load_recipe(files_recipe)
    found = check(recipe, tmp_path)
    assert found.problems == []
    assert found.tokenizer is not None
    assert found.tokenizer.vocab_size == 420
    sections = {section.key: section for section in found.sections}
    assert list(sections) == ["pretrain", "sft", "reward.helpfulness", "reward.safety", "rlhf.prompts"]
    sft = sections["sft"]
    assert sft.report is not None
    # 20 of its prompts are held out by name in another section
    assert (sft.report.train, sft.report.repeated, sft.report.bad) == (180, 20, 1)
    assert "chat.jsonl:201" in sft.bad[0]
    assert sft.over == 18
    assert sft.prepared is not None
    assert sft.prepared.policy == {"truncated": 18}
    assert sft.prepared.steps is not None
    safety = sections["reward.safety"].prepared
    assert safety is not None
    assert safety.steps == 4  # 60 pairs, 16 a step
    assert sft.pieces[0] > 1000


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            "sft.context_length=8",
            "sft.context_length: is 8, within which no dialogue has an answer to train on (truncated",
        ),
        ("reward.safety.context_length=8", "reward.safety.context_length: is 8, which none of 60 comparisons fits"),
        ("sft.replay={share: 0.001}", "sft.replay.share: is 0.001, which of 180 records is no document"),
    ],
)
def test_a_setting_that_leaves_nothing_to_train_on_is_told_with_key_and_place(
    change: str, told: str, files_recipe: Path, tmp_path: Path
) -> None:
    (problem,) = [text for text in check(load_recipe(files_recipe, [change]), tmp_path).problems if told[:10] in text]
    assert problem.startswith(f"override {change!r}: {told}")


def test_a_setting_of_the_file_is_told_with_its_line(files_recipe: Path, tmp_path: Path) -> None:
    text = files_recipe.read_text().replace(
        "jsonl}]}, context_length: 128, batch_size: 4}\nreward", "jsonl}]}, context_length: 8}\nreward"
    )
    files_recipe.write_text(text)
    (problem,) = check(load_recipe(files_recipe), tmp_path).problems
    line = 1 + [row.startswith("sft:") for row in text.splitlines()].index(True)
    assert problem.startswith(f"{files_recipe}:{line}: sft.context_length: is 8, within which no dialogue")


def test_no_section_trains_on_prompts_that_another_holds_out(files_recipe: Path, tmp_path: Path) -> None:
    found = check(load_recipe(files_recipe, ["split.test=0.1", "rlhf.prompts.held_out_fraction=0.1"]), tmp_path)
    assert not [doubt for doubt in found.doubts if "holds out" in doubt]
    apart = {section.key: section.report.apart for section in found.sections if section.report is not None}
    assert apart["reward.helpfulness"] == apart["reward.safety"]
    held = {section.key: len(section.held_out) for section in found.sections}
    assert min(held.values()) > 0


def test_a_context_that_is_not_given_is_the_models_and_one_that_is_given_must_fit(
    files_recipe: Path, tmp_path: Path
) -> None:
    text = files_recipe.read_text().replace(", context_length: 128, batch_size: 4}", ", batch_size: 4}")
    files_recipe.write_text(text)
    found = check(load_recipe(files_recipe), tmp_path)
    assert found.problems == []  # the default of 4,096 is nobody's wish
    (sft,) = (section.prepared for section in found.sections if section.key == "sft")
    assert sft is not None
    assert sft.context == 128
    (told,) = check(load_recipe(files_recipe, ["sft.context_length=200"]), tmp_path).problems
    assert told.startswith("sft.context_length is 200; the model is built for model.context_length 128")


def test_a_loggers_missing_package_is_a_problem(
    files_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alignment.train.tracking.importlib.util.find_spec", lambda module: None)
    (told,) = check(load_recipe(files_recipe, ["track=[mlflow]"]), tmp_path).problems
    assert told.startswith("track: mlflow is not installed; it comes with the extra 'mlflow'")


def test_sample_rows_mark_exactly_the_tokens_that_carry_loss(files_recipe: Path, tmp_path: Path) -> None:
    found = check(load_recipe(files_recipe), tmp_path)
    assert found.tokenizer is not None
    sections = {section.key: section for section in found.sections}
    place, row = [line.plain for line in sample_rows(sections["sft"], found.tokenizer, 1, markers=True)]
    assert place.strip().endswith("chat.jsonl:1")
    pieces = row.split()
    assert pieces[0] == "<s>"
    assert pieces[-1] == "*</s>"
    begin = next(i for i, piece in enumerate(pieces) if piece.startswith("*"))
    assert "".join(pieces[:begin]).endswith("[/INST]")
    assert all(piece.startswith("*") for piece in pieces[begin:])
    lines = [line.plain for line in sample_rows(sections["reward.helpfulness"], found.tokenizer, 1, markers=True)]
    assert [line.split()[0] for line in lines[1:]] == ["prompt:", "chosen:", "rejected:"]
    assert [line.count("*") for line in lines[1:]] == [0, 1, 1]


def test_check_prints_everything_and_trains_nothing(
    files_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["check", str(files_recipe), "--rows", "1"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert "set aside: 1 × a field is of the wrong type" in text
    assert "over the context of 128: 18 of 180 (truncated 18)" in text
    assert "dropped because held out 20" in text
    assert "holds out are trained on" not in text
    assert "nothing stands against the run" in text
    assert "\x1b" not in text
    assert not (tmp_path / "runs").exists()


def test_check_goes_on_past_a_bad_section_and_ends_with_exit_code_2(
    files_recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["check", str(files_recipe), "sft.data.train.0.columns={output: no_such}", "--rows", "0"])
    captured = capsys.readouterr()
    assert caught.value.code == 2
    assert "rlhf.prompts (prompts)" in captured.out
    assert "the check found" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("size", [name for name in SIZES if name not in ("34b",)])
@pytest.mark.parametrize("tied", [False, True])
def test_parameters_are_counted_as_the_model_has_them(size: str, tied: bool) -> None:
    from alignment.model.checkpoint import count_parameters, meta_model

    settings = ModelSettings.model_validate({"size": size, "tie_embeddings": tied})
    assert settings.num_parameters(32_000) == count_parameters(meta_model(settings, 32_000))


def test_the_papers_7b_has_its_parameters() -> None:
    assert ModelSettings(size="7b").num_parameters(32_000) == 6_738_415_616


def test_percentiles_are_nearest_ranks() -> None:
    assert percentiles(range(1, 101)) == "min 1, median 50, 95 % 95, 99 % 99, max 100"
    assert percentiles([7]) == "min 7, median 7, 95 % 7, 99 % 7, max 7"


def test_a_file_of_flawed_copies_is_read_and_a_row_that_is_none_is_a_problem(recipe_file: Path, tmp_path: Path) -> None:
    flaws = tmp_path / "flaws.jsonl"
    flaws.write_text('{"prompt": "Who bakes?", "right": "The baker.", "flawed": "The miller."}\n{"prompt": "Who?"}\n')
    found = check(load_recipe(recipe_file, [f"reward.safety.flaws={flaws}"]), tmp_path)
    (problem,) = found.problems
    assert problem.startswith(f"reward.safety: {flaws}:2: a missing field (right)")
