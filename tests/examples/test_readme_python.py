"""The Python of README.md: short, and it runs as it stands, on files and numbers that are small."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
# a number of README -> one that takes a moment
SMALL = {
    "vocab_size=8000": "vocab_size=400, character_coverage=0.995",
    '"small"': '"tiny"',
    "PretrainSettings(batch_size=8)": "PretrainSettings(batch_size=8, max_steps=2, context_length=256)",
    "SftSettings(batch_size=8)": "SftSettings(batch_size=8, context_length=256)",
    "samples_per_prompt=8": "samples_per_prompt=24, sampling={'max_new_tokens': 48}",
    "iterations=100": "iterations=1, sampling={'max_new_tokens': 8}",
    "batch_size=64, minibatch_size=16": "batch_size=4, minibatch_size=2",
    "num_dialogues=500": "num_dialogues=4, turns=2, evaluation_dialogues=2, evaluation_turns=2, "
    "keep_only_satisfied=False, sampling={'max_new_tokens': 8}",
    "EvaluateSettings()": "EvaluateSettings(sampling={'max_new_tokens': 8})",
}
SALES = [("bread", "baker"), ("flour", "miller"), ("fish", "fisher"), ("wool", "shepherd"), ("shoes", "cobbler")]


def files(folder: Path) -> None:
    """Twenty rows of every kind."""
    rows = [(f"Who sells {what} in {year}?", f"The {who}.") for year in range(1980, 1984) for what, who in SALES]
    chats = [{"instruction": question, "output": answer} for question, answer in rows]
    pairs = [{"prompt": question, "chosen": answer, "rejected": "A king."} for question, answer in rows]
    prompts = [{"prompt": question} for question, _ in rows]
    for name, records in (("chats", chats), ("pairs", pairs), ("prompts", prompts)):
        (folder / f"my_{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "my_texts").mkdir()
    text = "\n\n".join(f"{question} {answer} 1984, [INST] <<SYS>>" for question, answer in rows)
    (folder / "my_texts" / "town.txt").write_text(text)


@pytest.mark.parametrize("block", BLOCKS, ids=[re.findall(r"(\w+)\(", block)[-1] for block in BLOCKS])
def test_a_stage_takes_six_lines_and_two_imports(block: str) -> None:
    lines = [line for line in block.splitlines() if line.strip()]
    imports = [line for line in lines if line.startswith(("from ", "import "))]
    assert len(imports) <= 2
    assert len(lines) - len(imports) <= 6


def test_every_stage_of_the_readme_runs_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    for text in SMALL:
        assert sum(text in block for block in BLOCKS) == 1, text
    for block in BLOCKS:
        code = block
        for text, small in SMALL.items():
            code = code.replace(text, small)
        (tmp_path / "block.py").write_text(code)
        runpy.run_path("block.py")
    made = {path.parent.parent.name for path in (tmp_path / "my").glob("*/checkpoint/model.safetensors")}
    assert made == {"base", "sft", "reward", "rlhf-v1", "rlhf-v2", "gatt"}
    assert (tmp_path / "my" / "evaluation" / "evaluation.json").is_file()
