"""What `align plan` says of memory and work: roles, peaks, answers at once, hours, the verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.train.memory import ModelShape
from recipes.cli import main
from recipes.load import load_recipe
from recipes.memory import GB, Machine, Taken, taken_by, verdict
from recipes.plan import stages_of

EIGHT = Machine(devices=8, memory=80 * GB, flops=312e12)


def llama(name: str, monkeypatch: pytest.MonkeyPatch, *overrides: str, machine: Machine = EIGHT) -> dict[str, Taken]:
    """The stages of a shipped recipe for a real size, by name."""
    monkeypatch.setenv("DATA", "/data")
    recipe = load_recipe(name, overrides)
    shape = ModelShape.named(recipe.model.path or "")
    assert shape is not None
    return {own.stage: own for own in taken_by(stages_of(recipe), shape, machine)}


def test_ppo_holds_policy_value_reference_the_best_policy_and_the_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    ppo = llama("llama2-7b-chat", monkeypatch)["rlhf-v5"]
    assert list(ppo.roles) == ["policy", "value", "reference", "best policy", "reward-helpfulness", "reward-safety"]
    assert ppo.roles["reference"].optimizer == 0 < ppo.roles["value"].optimizer


def test_with_an_adapter_the_reference_is_the_policy_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ppo = llama("llama2-7b-chat", monkeypatch, "rlhf.ppo.adapter={rank: 8}")["rlhf-v5"]
    assert "reference" not in ppo.roles


def test_7b_fits_sharded_over_eight_cards_and_on_none_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    sft = llama("llama2-7b-chat", monkeypatch)["sft"]
    assert sft.whole > 80 * GB > sft.sharded(8)
    assert verdict([sft], EIGHT).startswith("fits sharded over 8 devices: the most is ")


def test_what_does_not_fit_is_named_with_what_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = llama("llama2-70b-chat", monkeypatch)
    said = verdict(list(taken.values()), EIGHT)
    assert said.startswith("does not fit: rlhf-v5 needs ")
    assert "an adapter take" in said


def test_answers_at_once_follow_what_is_free_beside_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    version = llama("llama2-7b-chat", monkeypatch)["rlhf-v1"]
    few, many = (version.answers_at_once(Machine(devices=8, memory=memory * GB)) for memory in (80, 140))
    assert 1 <= few < many


def test_hours_are_work_over_peak_times_utilisation(monkeypatch: pytest.MonkeyPatch) -> None:
    ppo = llama("llama2-7b-chat", monkeypatch)["rlhf-v5"]
    assert ppo.flops is not None
    assert ppo.hours(EIGHT) == pytest.approx(ppo.flops / (312e12 * 0.4 * 3600))
    assert llama("llama2-7b-chat", monkeypatch)["sft"].hours(EIGHT) is None  # the data say how many steps


def test_the_plan_as_json_has_bytes_by_role_and_kind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plan", "quickstart", "--memory", "24", "--json"])
    assert ended.value.code == 0
    plan = json.loads(capsys.readouterr().out)
    by_stage = {own["stage"]: own for own in plan["memory"]}
    assert by_stage["sft"]["roles"]["policy"]["gradients"] == 4 * plan["parameters"]
    assert plan["verdict"].startswith("fits: the most is ")


def test_a_checkpoint_of_another_architecture_has_no_memory_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA", str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "other"}', encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["plan", "llama2-7b-chat", f"model.path={tmp_path}"])
    assert "memory in GB" not in capsys.readouterr().out
