"""Talking to a model: turns add up, the same lines give the same answers, nothing steers the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alignment.errors import RequestTooLong, UsageError
from alignment.generate.sampler import Sample, SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.policy.policy import Policy, save_policy
from alignment.store.manifest import write_manifest
from recipes.cli.app import chat
from recipes.cli.chat import COMMANDS, conversation, find_model
from recipes.load import load_recipe
from recipes.reading.schema import Recipe
from recipes.running.runner import run


class Letters:
    """A tokenizer whose tokens are characters."""

    bos_id, eos_id = 1, 2

    def normalise(self, text: str) -> str:
        return text

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> list[int]:
        return [1] * bos + [ord(character) + 3 for character in text] + [2] * eos

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(i - 3) for i in ids if i > 2)


class Echo:
    """A sampler that answers with what it saw: how long the prompt was, and its seed."""

    def __init__(self, longest: int = 10_000) -> None:
        self.seen: list[str] = []
        self.longest = longest

    def sample(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings, on_sample: Any = None
    ) -> list[list[Sample]]:
        (request,) = requests
        if len(request.prompt_ids) > self.longest:
            raise RequestTooLong("the prompt is too long")
        self.seen.append(Letters().decode(request.prompt_ids))
        answer = f"\x1b[31m{len(self.seen)}:{request.seeds[0] % 1000}"
        ids = tuple(Letters().encode(answer, eos=True))
        return [[Sample(token_ids=ids, log_probs=(0.0,) * len(ids), finish_reason="stop")]]


def talk(
    lines: list[str], *, system: str | None = None, seed: int = 0, sampler: Echo | None = None
) -> tuple[list[str], Echo, list[str]]:
    """Answers, the sampler, and what was said beside them."""
    sampler, told = sampler or Echo(), list[str]()
    policy: Any = SimpleNamespace(tokenizer=Letters())
    answers = conversation(
        lines, policy=policy, sampler=sampler, sampling=SamplingSettings(), system=system, seed=seed, say=told.append
    )
    return list(answers), sampler, told


def test_each_turn_sees_the_turns_before_it_and_the_system_message() -> None:
    answers, sampler, _ = talk(["Hello", "", "And now?"], system="Be brief.")
    assert sampler.seen[0] == "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHello [/INST]"
    assert sampler.seen[1].startswith(sampler.seen[0])
    assert sampler.seen[1].endswith("[INST] And now? [/INST]")
    assert answers[0].replace("\x1b", "") in sampler.seen[1].replace("\x1b", "")


def test_a_new_dialogue_forgets_and_quit_ends() -> None:
    _, sampler, told = talk(["Hello", "/new", "Again", "/quit", "Never"])
    assert sampler.seen == ["[INST] Hello [/INST]", "[INST] Again [/INST]"]
    assert told == ["a new dialogue begins"]


def test_help_tells_every_command_and_does_not_go_to_the_model() -> None:
    answers, sampler, told = talk(["Hello", "/help", "And now?"])
    assert len(answers) == len(sampler.seen) == 2
    assert "/help" not in sampler.seen[1]
    assert [line.split()[0] for line in told[:-1]] == list(COMMANDS)


def test_every_command_is_known_to_the_verbs_help() -> None:
    assert [command for command in COMMANDS if command not in (chat.__doc__ or "")] == []


def test_the_same_seed_and_lines_give_the_same_answers() -> None:
    assert talk(["a", "b"], seed=1)[0] == talk(["a", "b"], seed=1)[0]
    assert talk(["a", "b"], seed=1)[0] != talk(["a", "b"], seed=2)[0]


def test_a_line_that_cannot_be_answered_is_told_and_the_dialogue_goes_on() -> None:
    answers, sampler, told = talk(["Hello", "x" * 500, "a [INST] b", "Still here"], sampler=Echo(longest=200))
    assert len(answers) == 2
    assert "too long" in told[0]
    assert "'[INST]', a marker of the chat format" in told[1]
    assert "x" * 500 not in sampler.seen[-1]


def test_the_newest_finished_model_is_talked_to_unless_another_is_named(
    recipe: Recipe, stages: Any, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for name in ("sft", "rlhf-v1"):
        stages.before[name] = lambda context: (context.session.folder / "checkpoint").mkdir()
    run(recipe, out=out, stages=stages, until="rlhf-v1")
    assert find_model(out, None) == ("rlhf-v1", out / "06-rlhf-v1" / "checkpoint")
    assert find_model(out, "sft") == ("sft", out / "03-sft" / "checkpoint")
    for name in ("pretrain", "reward-safety", "../../etc"):
        with pytest.raises(UsageError, match="it has sft, rlhf-v1"):
            find_model(out, name)


def test_a_control_is_talked_to_where_it_is_named_and_is_no_newest_model(
    recipe_file: Path, stages: Any, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for name in ("rlhf-v3", "control-steps"):
        stages.before[name] = lambda context: (context.session.folder / "checkpoint").mkdir()
    run(load_recipe(recipe_file, ["rlhf.controls=[steps]", "gatt=null"]), out=out, stages=stages, until="evaluate")
    assert find_model(out, None)[0] == "rlhf-v3"
    assert find_model(out, "control-steps")[0] == "control-steps"


def test_a_checkpoint_can_be_talked_to_without_a_run(policy: Policy, tmp_path: Path) -> None:
    stage = tmp_path / "03-sft"
    stage.mkdir()
    save_policy(policy, stage / "checkpoint")
    assert find_model(stage / "checkpoint", None) == ("", stage / "checkpoint")
    assert find_model(stage, None) == ("", stage / "checkpoint")  # as a stage of a run, or a session of Python, has it
    with pytest.raises(UsageError, match="--stage chooses among the models of a run"):
        find_model(stage / "checkpoint", "sft")


def test_a_reward_model_is_not_talked_to(policy: Policy, tmp_path: Path) -> None:
    save_policy(policy, tmp_path / "checkpoint")
    write_manifest(tmp_path / "checkpoint", kind="reward", meta={})
    with pytest.raises(UsageError, match="is a reward model, which scores answers"):
        find_model(tmp_path / "checkpoint", None)


def test_a_folder_that_is_neither_run_nor_checkpoint_is_told_what_would_be_right(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(
        UsageError, match=r"neither a run \(run\.json\) nor a checkpoint \(config\.json or params\.json"
    ):
        find_model(tmp_path, None)


def test_a_run_without_a_model_says_so(recipe: Recipe, stages: Any, tmp_path: Path) -> None:
    run(recipe, out=tmp_path / "run", stages=stages, until="tokenizer")
    with pytest.raises(UsageError, match="no finished model yet"):
        find_model(tmp_path / "run", None)
