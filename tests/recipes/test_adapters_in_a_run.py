"""A whole run whose every fine-tuning trains an adapter: what the stages leave opens, goes on, and can be merged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM, LlamaForSequenceClassification

from alignment.errors import CheckpointError, UsageError
from alignment.policy.adapter import bases_here
from alignment.policy.policy import load_policy
from recipes.cli import main
from recipes.cli.chat import find_model
from recipes.cli.merge import merge_stage
from recipes.load import load_recipe
from recipes.running.runner import RunSummary, run
from recipes.running.verify import require_unaltered
from reward.model import RewardModel
from tests.tiny_recipe import BRITTLE
from tests.tolerances import FP32_SAME_CODE

peft = pytest.importorskip("peft", reason="the extra 'peft' is not installed")
pytestmark = pytest.mark.slow  # a whole run
IDS = torch.arange(30)[None] * 7
ADAPTERS = (
    *BRITTLE,
    "rlhf.versions=1",
    "rlhf.ppo_from=1",
    "rlhf.ppo.adapter={rank: 3}",
    "gatt.after=1",
    # of answers at random some end by themselves
    "rlhf.rejection.samples_per_prompt=8",
    "rlhf.rejection.sampling={max_new_tokens: 48, temperature: 1.0, top_p: 1.0}",
    "sft.adapter={rank: 4}",
    "reward.helpfulness.adapter={}",
    "reward.safety.adapter={targets: all-linear}",
    "rlhf.rejection.adapter={rank: 2, targets: [gate_proj]}",
    "gatt.adapter={dropout: 0.0}",
)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> RunSummary:
    """The run, every stage finished but for the page."""
    return run(load_recipe("quickstart", ADAPTERS), out=tmp_path_factory.mktemp("adapters") / "run", until="evaluate")


def folder_of(done: RunSummary, name: str) -> Path:
    (folder,) = done.folder.glob(f"[0-9]*-{name}")
    return folder / "checkpoint"


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def test_every_fine_tuning_leaves_an_adapter_beside_its_parents_model(done: RunSummary) -> None:
    bases = {
        name: json.loads((folder_of(done, name) / "adapter_config.json").read_text())["base_model_name_or_path"]
        for name in ("sft", "reward-helpfulness", "reward-safety", "rlhf-v1-rejection", "rlhf-v1", "gatt")
    }
    assert bases["sft"] == "../../02-pretrain/checkpoint"
    for name in ("reward-helpfulness", "reward-safety", "rlhf-v1-rejection"):
        assert bases[name] == "../../03-sft/checkpoint"
    assert bases["rlhf-v1"].endswith("-rlhf-v1-rejection/checkpoint")
    assert bases["gatt"].endswith("-rlhf-v1/checkpoint")


def test_its_results_say_how_many_numbers_each_stage_trained(done: RunSummary) -> None:
    trained = {stage.name: stage.result.get("adapter_parameters") for stage in done.stages}
    assert trained["sft"] == 2 * (4 * (32 + 32) + 4 * (32 + 16))  # layers, rank (in + out) of q and v
    assert trained["pretrain"] is None
    assert trained["rlhf-v1-rejection"] == 2 * 2 * (32 + 96)  # of the gate alone
    assert trained["rlhf-v1"] == 2 * (3 * (32 + 32) + 3 * (32 + 16))
    assert trained["gatt"] is not None


def test_a_finished_run_of_adapters_is_not_run_again(done: RunSummary) -> None:
    again = run(load_recipe("quickstart", ADAPTERS), out=done.folder, until="evaluate")
    assert not again.worked


def test_a_sibling_takes_the_stages_over_and_its_adapters_stand_on_its_own_models(
    done: RunSummary, tmp_path: Path
) -> None:
    own = run(load_recipe("quickstart", ADAPTERS), out=tmp_path / "own", until="gatt", siblings=[done.folder])
    assert not own.worked
    assert bases_here(folder_of(own, "sft")) == [folder_of(own, "pretrain")]
    assert torch.equal(
        logits(load_policy(folder_of(own, "gatt")).model), logits(load_policy(folder_of(done, "gatt")).model)
    )


def test_the_newest_model_can_be_talked_to(done: RunSummary) -> None:
    name, folder = find_model(done.folder, None)
    assert (name, folder) == ("gatt", folder_of(done, "gatt"))
    assert find_model(folder, None) == ("", folder)
    assert load_policy(folder).model.config.vocab_size == 600


def test_peft_opens_the_first_adapter_on_the_pretrained_model(done: RunSummary) -> None:
    plain = LlamaForCausalLM.from_pretrained(folder_of(done, "pretrain"))
    theirs = peft.PeftModel.from_pretrained(plain, folder_of(done, "sft"))
    ours = load_policy(folder_of(done, "sft")).model
    torch.testing.assert_close(logits(theirs), logits(ours), rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)


@pytest.mark.parametrize("stage", ["sft", "rlhf-v1", "gatt"])
def test_merged_it_is_an_ordinary_checkpoint_with_the_same_logits(stage: str, done: RunSummary, tmp_path: Path) -> None:
    target = merge_stage(done.folder, stage, tmp_path / "whole")
    theirs = LlamaForCausalLM.from_pretrained(target)
    ours = load_policy(folder_of(done, stage)).model
    torch.testing.assert_close(logits(theirs), logits(ours), rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)
    assert torch.equal(logits(load_policy(target).model), logits(ours))
    assert not (target / "adapter_config.json").exists()


def test_a_merged_reward_model_keeps_its_head(done: RunSummary, tmp_path: Path) -> None:
    target = merge_stage(done.folder, "reward-safety", tmp_path / "whole")
    theirs = LlamaForSequenceClassification.from_pretrained(target)
    head = load_file(folder_of(done, "reward-safety") / "adapter_model.safetensors")["base_model.model.score.weight"]
    assert torch.equal(theirs.score.weight, head)
    ours = RewardModel.load(folder_of(done, "reward-safety")).model
    torch.testing.assert_close(logits(theirs), logits(ours), rtol=FP32_SAME_CODE, atol=FP32_SAME_CODE)


def test_the_merged_model_stands_in_the_run_unless_another_place_is_named(
    done: RunSummary, capsys: pytest.CaptureFixture[str]
) -> None:
    target = done.folder / "merged" / "sft"
    with pytest.raises(SystemExit) as ended:
        main(["merge", str(done.folder), "--stage", "sft"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"merged: {target}\n"
    assert (target / "model.safetensors").exists()
    require_unaltered(done.folder)
    shutil.rmtree(target.parent)


def test_a_stage_that_is_not_there_is_told_with_those_that_are(done: RunSummary) -> None:
    with pytest.raises(UsageError, match=r"no finished model of the stage 'sfd'; it has pretrain, sft, reward-help"):
        merge_stage(done.folder, "sfd", None)


def test_a_stage_without_an_adapter_has_nothing_to_merge(done: RunSummary) -> None:
    with pytest.raises(UsageError, match=r"pretrain .* trained no adapter: .* stages with an adapter: sft, reward-h"):
        merge_stage(done.folder, "pretrain", None)


def test_a_target_that_is_there_is_not_overwritten(done: RunSummary, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(UsageError, match=rf"{place} is there already; nothing is overwritten"):
            merge_stage(done.folder, "sft", place)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_an_altered_base_is_told_and_nothing_is_written(done: RunSummary, tmp_path: Path) -> None:
    shutil.copytree(done.folder, tmp_path / "run")
    file = tmp_path / "run" / "02-pretrain" / "checkpoint" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match="02-pretrain"):
        merge_stage(tmp_path / "run", "sft", tmp_path / "whole")
    assert not (tmp_path / "whole").exists()
