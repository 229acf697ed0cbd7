"""The goldens: what the suite computes and says today, checked in beside this file.

losses.json    the first logged losses of every stage of the tiny run
results.json   the whole tiny run: every stage's result, its files' digests, every section of the report; no times
bases.json     what each stage of every shipped recipe rests on
plans/*.txt    `align plan` of every shipped recipe
schema.json    `align schema`

`python -m tests.golden.write [losses results bases plans schema]` writes them anew; do it only in a commit that says
why they changed.  losses.json and results.json hold to the bit on the machine that they name, and within the bounds of
`tests/golden/test_tiny_run.py` elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
COUNT = 5
_LOSSES = ("loss", "policy_loss", "value_loss", "kl")
_TIMES = {"seconds", "minutes", "time_tokens_per_second"}
_LONG = 4_000  # characters of a result's entry that is kept as a digest instead


def tiny_run(folder: Path) -> Path:
    """Run the tiny recipe to its end."""
    from recipes.load import load_recipe
    from recipes.running.runner import run
    from tests.tiny_recipe import TINY

    run(load_recipe("quickstart", TINY), out=folder)
    return folder


def first_losses(finished: Path) -> dict[str, list[dict[str, float]]]:
    """Stage -> its first logged losses, from a run's `metrics.jsonl` files."""
    from alignment.store.journal import read_journal

    found: dict[str, list[dict[str, float]]] = {}
    for name, folder in _stages(finished).items():
        rows = read_journal(folder / "metrics.jsonl")
        if rows:
            found[name] = [{key: row[key] for key in _LOSSES if key in row} for row in rows[:COUNT]]
    return found


def whole_results(finished: Path) -> dict[str, Any]:
    """Everything that the tiny run made, without times: results, files by digest, the report section by section."""
    from alignment.store.journal import read_journal

    stages = {}
    for name, folder in _stages(finished).items():
        record = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
        rows = read_journal(folder / "metrics.jsonl")
        files = sorted(path for path in folder.rglob("*") if path.is_file() and "samples" not in path.parts)
        stages[name] = {
            "result": {key: _short(value) for key, value in _timeless(record["result"]).items()},
            "metrics": _digest(_timeless(rows)),
            "files": {path.relative_to(folder).as_posix(): _file(path) for path in files if _lasts(path)},
        }
    report = json.loads((finished / "report" / "report.json").read_text(encoding="utf-8"))
    sections = {
        section["id"]: {
            "status": section["status"],
            "blocks": {
                f"{i} {block.get('title', block['type'])}": _digest(block)
                for i, block in enumerate((*section["blocks"], *section["details"]))
            },
        }
        for section in _timeless(report["sections"])
        if section["id"] != "reproduce"  # versions and the machine
    }
    head = {key: report[key] for key in ("title", "subtitle", "top", "headline", "facts", "judges", "lineage")}
    return {"stages": stages, "report": {"head": _digest(head), "sections": sections}}


def golden(name: str) -> Any:
    """What is checked in."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def plan_text(name: str) -> str:
    """What `align plan` prints of a shipped recipe."""
    import subprocess

    from tests.golden.frozen import ENVIRONMENT

    # where no checkpoint is: a variable of the caller's would name one
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LLAMA2_")} | ENVIRONMENT
    call = [sys.executable, "-c", "from recipes.cli import main; main()", "plan", name]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, cwd=FOLDER.parents[1])
    if done.returncode not in (0, 2):  # 2: the data that it names are not here
        raise RuntimeError(f"align plan {name} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def schema() -> Any:
    """The JSON schema of recipes, as `align schema` prints it."""
    from recipes.reading.schema import Recipe

    return Recipe.model_json_schema()


def main(names: Sequence[str] = ()) -> None:
    """Write the named goldens, or all."""
    from recipes.load import shipped_recipes
    from tests.golden.frozen import all_bases
    from tests.golden.machine import machine

    wanted = set(names or ("losses", "results", "bases", "plans", "schema"))
    if wanted & {"losses", "results"}:
        with tempfile.TemporaryDirectory() as folder:
            finished = tiny_run(Path(folder) / "run")
            made = {"losses": first_losses(finished), "results": whole_results(finished)}
        for name in sorted(wanted & made.keys()):
            _write(name, {"machine": machine(), name: made[name]})
    if "bases" in wanted:
        _write("bases", all_bases())
    if "schema" in wanted:
        _write("schema", schema())
    if "plans" in wanted:
        (FOLDER / "plans").mkdir(exist_ok=True)
        for name in shipped_recipes():
            (FOLDER / "plans" / f"{name}.txt").write_text(plan_text(name), encoding="utf-8")
    print("written:", *sorted(wanted))


def _stages(finished: Path) -> dict[str, Path]:
    folders = sorted(path for path in finished.iterdir() if (path / "stage.json").exists())
    return {path.name.partition("-")[2]: path for path in folders}


def _timeless(value: Any) -> Any:
    """A value without the times in it."""
    if isinstance(value, dict):
        if value.get("type") == "facts":
            value = {**value, "items": [item for item in value["items"] if item["key"] not in _TIMES]}
        if value.get("title") == "Stages" and "seconds" in value.get("columns", ()):
            at = value["columns"].index("seconds")
            cut = {key: [[*row[:at], *row[at + 1 :]] for row in value[key]] for key in ("rows", "shown")}
            value = {**value, **cut}
        return {key: _timeless(item) for key, item in value.items() if key not in _TIMES}
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    return value


def _lasts(path: Path) -> bool:
    """Whether a file is the same whenever it is made: not a record of times, nor one of fingerprints."""
    return path.name not in ("stage.json", "metrics.jsonl", "manifest.json", "meta.json")


def _file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _short(value: Any) -> Any:
    return value if len(json.dumps(value)) <= _LONG else _digest(value)


def _write(name: str, value: Any) -> None:
    (FOLDER / f"{name}.json").write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
