"""What reward models are worth, run beside run: read from what the evaluations left."""

from __future__ import annotations

import json
from pathlib import Path

from alignment.evaluate.judges_evidence import own_answers_table, versions_table


def share(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def run(folder: Path, right: float) -> Path:
    """A run whose helpfulness model is right about `right` of everything."""
    own = folder / "09-evaluate"
    own.mkdir(parents=True)
    (own / "answers.jsonl").touch()
    best = [{"n": n, "over_greedy": share(n / 100), "score": share(0.5)} for n in (1, 16)]
    measures = [
        {
            "campaign": "helpfulness",
            "pairs": {"right over wrong": {"helpfulness": share(right), "safety": share(0.5)}},
            "best": [{"chosen": {"combined": best}, "oracle": best}],
        },
        {"campaign": "safety", "pairs": {"safe over unsafe": {"safety": share(0.9)}}, "best": []},
    ]
    (own / "own_answers.json").write_text(json.dumps({"measures": measures}), encoding="utf-8")
    accuracy = {"helpfulness": {"all": share(right), "grade:better": share(0.7)}}
    (own / "reward_versions.json").write_text(
        json.dumps([{"version": "rlhf-v1", "accuracy": accuracy}]), encoding="utf-8"
    )
    return folder


def test_each_run_has_a_column_and_each_figure_its_interval(tmp_path: Path) -> None:
    table = own_answers_table([run(tmp_path / "a", 0.6), run(tmp_path / "b", 0.8)])
    assert "| helpfulness, *better* | 0.70 [0.60, 0.80] | 0.70 [0.60, 0.80] |" in table
    assert "| own answers, right over wrong, helpfulness model | 0.60 [0.50, 0.70] | 0.80 [0.70, 0.90] |" in table
    assert "| own answers, safe over unsafe, safety model | 0.90 [0.80, 1.00] |" in table
    assert "| best of 16 by the reward, less greedy | 0.16 [0.06, 0.26] |" in table


def test_versions_are_judged_by_their_own_models(tmp_path: Path) -> None:
    assert "| judging rlhf-v1 | 0.60 [0.50, 0.70] |" in versions_table([run(tmp_path / "a", 0.6)])


def test_runs_that_measured_none_have_no_table(tmp_path: Path) -> None:
    (tmp_path / "09-evaluate").mkdir()
    (tmp_path / "09-evaluate" / "answers.jsonl").touch()
    assert own_answers_table([tmp_path]) == ""
    assert versions_table([tmp_path]) == ""
