"""The command line: its surface, its exit codes, what it prints, and how fast it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import alignment
from alignment.store.lock import RunLock
from recipes.cli.app import app, main
from recipes.reading.schema import Recipe
from recipes.running.runner import run

ROOT = Path(__file__).parents[3]
SURFACE = Path(__file__).with_name("surface.json")


def surface() -> dict[str, list[str]]:
    """Every verb with its arguments and options, as users type them."""
    group: Any = typer.main.get_command(app)
    return {
        name: sorted(
            "/".join(parameter.opts) if parameter.param_type_name == "option" else f"<{parameter.name}>"
            for parameter in command.params
        )
        for name, command in sorted(group.commands.items())
    }


def call(*arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.fixture
def fake_table(stages: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line runs fake stages and prints no machine line (which would import torch)."""
    import recipes.cli.run
    import recipes.running.runner

    real = recipes.running.runner.run
    monkeypatch.setattr(recipes.cli.run, "run", lambda *args, **kwargs: real(*args, **{**kwargs, "stages": stages}))
    monkeypatch.setattr(recipes.cli.run, "machine_line", lambda recipe: "machine: fake")
    return stages


def own_options() -> list[str]:
    """The options of `align` itself."""
    group: Any = typer.main.get_command(app)
    return sorted("/".join(parameter.opts) for parameter in group.params)


def test_the_surface_is_the_frozen_one() -> None:
    assert {"": own_options()} | surface() == json.loads(SURFACE.read_text(encoding="utf-8")), (
        "verbs or options changed: say so in surface.json"
    )


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_told(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(option) == 0
    assert capsys.readouterr().out == f"align {alignment.__version__}\n"


def test_alone_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert call() == 0
    alone = capsys.readouterr()
    assert call("--help") == 0
    assert alone.out == capsys.readouterr().out
    assert alone.err == ""
    assert alone.out.count("Usage: align") == 1


@pytest.mark.parametrize("verb", [[], ["run"], ["chat"]], ids=["align", "run", "chat"])
def test_h_is_short_for_help(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*verb, "-h") == 0
    short = capsys.readouterr().out
    assert call(*verb, "--help") == 0
    assert short == capsys.readouterr().out


def test_every_verb_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in surface():
        assert call(verb, "--help") == 0
        text = capsys.readouterr().out
        assert "Usage: align" in text
        assert "Example: " in text


def test_help_teaches_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--help") == 0
    text = capsys.readouterr().out
    assert "align run quickstart" in text
    assert "align chat runs/mine" in text


def test_starting_is_fast_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, time; t = time.perf_counter(); import recipes.cli; s = time.perf_counter() - t; "
        "heavy = ('torch', 'transformers', 'datasets', 'matplotlib', 'numpy', 'pydantic'); "
        "print(s, [m for m in heavy if m in sys.modules])"
    )
    best = 9.0
    for _ in range(3):  # the fastest of three: the machine may be busy
        out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        seconds, _, heavy = out.strip().partition(" ")
        assert heavy == "[]"
        best = min(best, float(seconds))
    assert best < 0.6


def test_a_finished_run_says_so_without_torch(recipe_file: Path, recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(recipe, out=out, stages=stages)
    code = (
        "import sys; from recipes.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", str(recipe_file), "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "all 12 stages are finished; nothing to do" in done.stdout


def test_run_prints_header_stages_and_summary(
    recipe_file: Path, fake_table: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", str(recipe_file), "seed=3", "--out", str(tmp_path / "run"), "--until", "sft") == 0
    text = capsys.readouterr().out.replace("\n", " ")
    assert f"small -> {tmp_path / 'run'}, seed 3" in text
    assert "machine: fake" in text
    assert "[2/3] pretrain: starts" in text
    assert "3 stages done" in text
    assert "\x1b" not in text
    assert fake_table.calls == ["tokenizer", "pretrain", "sft"]


@pytest.mark.parametrize(
    ("verb", "last"),
    [
        (("tokenizer",), "tokenizer"),
        (("pretrain",), "pretrain"),
        (("sft",), "sft"),
        (("reward",), "reward-safety"),
        (("reward", "--only", "helpfulness"), "reward-helpfulness"),
        (("rejection",), "rlhf-v3-rejection"),
        (("ppo",), "rlhf-v3"),
        (("gatt",), "gatt"),
        (("evaluate",), "evaluate"),
    ],
)
def test_a_stage_verb_runs_as_far_as_its_stage(
    verb: tuple[str, ...], last: str, recipe_file: Path, fake_table: Any, tmp_path: Path
) -> None:
    assert call(*verb, str(recipe_file), "--out", str(tmp_path / "run"), "--quiet") == 0
    assert fake_table.calls[-1] == last


def test_quiet_is_quiet(recipe_file: Path, fake_table: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", str(recipe_file), "--out", str(tmp_path / "run"), "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_each_kind_of_failure_has_its_exit_code(
    recipe_file: Path, fake_table: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")

    def said(code: int, *arguments: str) -> str:
        assert call(*arguments) == code
        return capsys.readouterr().err

    assert "unknown key" in said(2, "run", str(recipe_file), "sft.epoch=1", "--out", out)
    assert not Path(out).exists()
    assert "there is no recipe" in said(2, "run", "quikstat", "--out", out)
    assert "No such option" in said(2, "run", "--no-such")
    assert "Missing argument" in said(2, "run")
    assert "No such command" in said(2, "rum")
    assert "--only is 'x'" in said(2, "reward", str(recipe_file), "--only", "x")
    fake_table.before["sft"] = lambda context: 1 / 0
    unexpected = said(1, "run", str(recipe_file), "--out", out)
    assert "stopped by ZeroDivisionError" in unexpected
    assert "Traceback" not in unexpected
    fake_table.before.clear()
    with RunLock(Path(out)):
        assert "is in use by process" in said(3, "run", str(recipe_file), "--out", out)
    assert call("run", str(recipe_file), "--out", out) == 0
    capsys.readouterr()
    assert "sft.epochs: 2.0 -> 3.0" in said(4, "run", str(recipe_file), "sft.epochs=3", "--out", out)

    def full(context: Any) -> None:
        raise OSError(28, "No space left on device")

    fake_table.before["sft"] = full
    assert "No space left" in said(5, "run", str(recipe_file), "sft.epochs=3", "--out", out, "--redo")


def test_an_error_outside_any_run_leaves_its_traceback_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("recipes.cli.show.show_recipes", lambda: 1 / 0)
    assert call("recipes") == 1
    told = capsys.readouterr().err
    (place,) = tmp_path.glob("align-error-*.txt")
    assert f"error: ZeroDivisionError: division by zero; the traceback is in {place}" in told
    assert "Traceback" in place.read_text()


def test_no_secret_is_printed_or_kept(
    recipe_file: Path,
    fake_table: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HUB_TOKEN", "canary-4711")
    out = tmp_path / "run"

    def leak(context: Any) -> None:
        context.session.progress.note("using canary-4711 and https://me:pw@host/")
        raise RuntimeError("canary-4711 https://me:pw@host/")

    fake_table.before["sft"] = leak
    arguments = [
        "run",
        str(recipe_file),
        "description=${HUB_TOKEN}",
        "sft.data.train.1={hub: 'x/${HUB_TOKEN}'}",
        "--out",
        str(out),
    ]
    assert call(*arguments) == 1
    assert call("plan", *arguments[1:4]) == 0
    assert call("stages", str(out)) == 0
    captured = capsys.readouterr()
    kept = "".join(path.read_text() for path in out.rglob("*") if path.is_file())
    for text in (captured.out, captured.err, kept):
        assert "canary-4711" not in text
        assert "me:pw" not in text


def test_plan_shows_the_graph_and_the_size_and_makes_nothing(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert call("plan", str(recipe_file)) == 0
    text = capsys.readouterr().out
    assert "model: 50,336 parameters" in text
    assert "rlhf-v3-rejection" in text
    assert "sft.optimizer.learning_rate: 1e-05" in text
    assert sorted(tmp_path.rglob("*")) == before


def test_stages_tells_status_time_and_what_is_to_come(
    recipe: Recipe, stages: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(recipe, out=tmp_path / "run", stages=stages, until="sft")
    assert call("stages", str(tmp_path / "run")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split() == ["03-sft", "finished", "0.0", "s", "held_out_loss", "1.25"]
    assert lines[4].split() == ["04-reward-helpfulness", "to", "come"]
    assert call("stages", str(tmp_path)) == 2


def test_stages_tells_how_far_the_stage_at_work_is(
    recipe: Recipe, stages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("recipes.running.progress.EVERY", 0.0)
    out = tmp_path / "run"

    def look(context: Any) -> None:
        context.session.progress.begin(2147, "steps")
        context.session.progress.step(1000, {})
        context.session.progress.step(1204, {"loss": 1.0})
        assert call("stages", str(out)) == 0  # as from another terminal

    stages.before["sft"] = look
    run(recipe, out=out, stages=stages, until="sft")
    line = capsys.readouterr().out.splitlines()[3]
    assert line.split()[:2] == ["03-sft", "running"]
    assert "1,204/2,147 steps" in line
    assert line.endswith("left")
    assert call("stages", str(out)) == 0
    assert "1,204" not in capsys.readouterr().out
    assert not list(out.glob(".progress*"))


def test_the_schema_is_json_and_describes_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["properties"]["sft"]["description"] == "stage sft"
    missing = [
        f"{name}.{key}"
        for name, part in schema["$defs"].items()
        for key, field in part.get("properties", {}).items()
        if not field.get("description")
    ]
    assert missing == []


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "recipes.cli", "schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait(timeout=20)
