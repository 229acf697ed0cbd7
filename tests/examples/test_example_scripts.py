"""The scripts of examples/ run as a reader would run them: offline, in a new folder, and print their figures."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def printed(script: str, *arguments: str) -> str:
    """What a script prints; a failure shows its errors."""
    call = [sys.executable, str(EXAMPLES / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_sft_on_ones_own_chats_learns_them_by_heart(tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = printed("sft_on_own_chats.py", "--out", str(out))
    assert "26 chats to train on, 4 held out" in text
    assert re.search(r"held-out loss \d+\.\d+ after \d+ steps", text)
    assert "Yes, on Tuesday and Thursday. Please bring no more than ten at a time." in text
    assert (out / "checkpoint" / "model.safetensors").exists()


@pytest.mark.slow
def test_a_reward_model_is_surer_where_people_were(tmp_path: Path) -> None:
    text = printed("reward_model.py", "--out", str(tmp_path / "out"))
    accuracy = {name: float(share) for name, share in re.findall(r"^  (\w+) +(\d\.\d\d) \[", text, re.MULTILINE)}
    assert accuracy.keys() == {"all", "significantly", "better", "slightly", "negligibly"}
    assert accuracy["all"] > 0.6
    assert accuracy["significantly"] > accuracy["negligibly"]


@pytest.mark.slow
def test_rejection_sampling_keeps_the_better_answers_and_ppo_goes_on_from_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = printed("rejection_then_ppo.py", "--out", str(out))
    (rewards,) = re.findall(r"mean reward (-?\d+\.\d+), of the kept answers (-?\d+\.\d+)", text)
    assert float(rewards[1]) > float(rewards[0])
    (course,) = re.findall(r"PPO: held-out reward (-?\d+\.\d+), and (-?\d+\.\d+) at its best iteration", text)
    assert float(course[1]) > float(course[0])
    assert all((out / name / "checkpoint" / "model.safetensors").exists() for name in ("rlhf-v1", "rlhf-v2"))


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_leaves_a_folder_alone_that_is_there_already(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [script, "--out", str(tmp_path)])
    monkeypatch.syspath_prepend(EXAMPLES)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert end.value.code == 2
    assert "is there already; give a new folder as --out" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
