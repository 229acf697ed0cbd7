"""The mutants' harness tells a wrong function from a right one, and its table misses no arithmetic of ours."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.mutant_table import TABLE
from tests.house.mutants import Guarded, is_killed, mutate, source_of

ROOT = Path(__file__).resolve().parents[2]
_ARITHMETIC = re.compile(r"loss|advantage|kl_|log_prob|returns|whiten|combined_reward|token_rewards")
# names that sound like arithmetic and are none, with the reason
ELSEWHERE = {
    "alignment.train.language_model:held_out_loss": "the mean of language_loss over batches; its sum is guarded there",
    "alignment.model.log_probs:token_log_probs": "one call of _TokenLogProbs, whose passes are guarded",
    "alignment.model.log_probs:summed_log_probs": "one call of _SummedLogProbs, whose passes are guarded",
    "rl.dpo:pair_log_probs": "sums of token_log_probs by answer; test_dpo holds them against the loss of TRL",
}


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.name)
def test_a_function_has_ten_mutants_or_more_each_of_which_can_be_written(entry: Guarded) -> None:
    source = source_of(entry.name)
    assert sum(len(set(other.changes)) for other in TABLE if _function(other) == _function(entry)) >= 10
    for old, new in entry.changes:
        assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {entry.name}"
        assert old != new
    for path in entry.tests:
        assert (ROOT / path).exists()


def _function(entry: Guarded) -> str:
    """What an entry belongs to: a function, or the module whose private parts make up one."""
    module, _, path = entry.name.partition(":")
    return module if path.startswith("_") else entry.name


@pytest.mark.slow
def test_a_mutant_is_killed_and_the_unchanged_function_is_not() -> None:
    entry = next(entry for entry in TABLE if entry.name.endswith(":ranking_loss"))
    guarded = Guarded(name=entry.name, tests=("tests/reward/test_loss.py",), changes=entry.changes)
    assert is_killed(guarded, *entry.changes[0])
    assert not is_killed(guarded, "", "")


def test_a_text_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="0 times"):
        mutate("reward.loss:ranking_loss", "no such text", "x")


def test_every_loss_advantage_and_kl_function_is_in_the_table() -> None:
    guarded = {entry.name for entry in TABLE} | set(ELSEWHERE)
    missing = []
    for package in ("alignment/train", "alignment/model", "reward", "rl", "gatt"):
        for path in sorted((ROOT / package).glob("*.py")):
            module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef) and _ARITHMETIC.search(node.name):
                    missing += [name for name in [f"{module}:{node.name}"] if name not in guarded]
    assert missing == []
