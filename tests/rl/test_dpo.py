"""DPO by TRL: its loss is the paper's formula on our token ids, and it leaves a policy of ours and nothing else."""

from __future__ import annotations

import copy
import math
import signal
import sys
from typing import Any

import pytest
import torch

from alignment.errors import DataError, Interrupted, UsageError
from alignment.policy.policy import Policy, load_policy
from alignment.records import LabelledAnswer
from alignment.store.journal import read_journal
from alignment.text.chat import answer_ids, render_prompt
from alignment.train.compute import resolve_compute
from alignment.train.session import Session
from rl.dpo import PairRows, TokenPair, pair_log_probs, pair_steps, token_pairs, train_dpo
from rl.settings import DpoOptimizerSettings, DpoSettings
from tests.rl.pair_records import preferences

PAIRS = preferences()
OPTIMIZER = DpoOptimizerSettings(learning_rate=1e-3, warmup_steps=0)
ALL_AT_ONCE = DpoSettings(beta=0.3, batch_size=8, microbatch_size=8, optimizer=OPTIMIZER)
PAIR = TokenPair(prompt=(1, 5, 6), chosen=(7, 8, 2), rejected=(9, 2))
slow = pytest.mark.slow  # importing TRL takes five seconds


def test_a_pair_is_rendered_as_every_stage_renders_it_the_end_token_included(policy: Policy) -> None:
    (pair, *_), too_long = token_pairs(PAIRS, policy.tokenizer)
    assert too_long == 0
    assert list(pair.prompt) == render_prompt(PAIRS[0].prompt, policy.tokenizer)
    assert list(pair.chosen) == answer_ids(PAIRS[0].chosen, policy.tokenizer)
    assert pair.rejected[-1] == policy.tokenizer.eos_id


def test_rows_hold_the_ids_the_chosen_answers_first_and_mark_the_answers_tokens() -> None:
    other = TokenPair(prompt=(1,), chosen=(4, 2), rejected=(3, 3, 3, 2))
    rows = PairRows(pairs=[PAIR, other], pad_id=0)([{"pair": 1}, {"pair": 0}])
    assert rows["input_ids"].tolist() == [
        [1, 4, 2, 0, 0, 0],
        [1, 5, 6, 7, 8, 2],
        [1, 3, 3, 3, 2, 0],
        [1, 5, 6, 9, 2, 0],
    ]
    assert rows["completion_mask"].tolist() == [
        [0, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 1],
        [0, 1, 1, 1, 1, 0],
        [0, 0, 0, 1, 1, 0],
    ]
    assert rows["attention_mask"].sum(1).tolist() == [3, 6, 5, 5]


@pytest.mark.parametrize(("pairs", "epochs", "steps"), [(64, 1.0, 1), (65, 1.0, 2), (100, 2.0, 4), (3, 0.1, 1)])
def test_steps_are_the_passes_over_the_pairs_in_whole_batches(pairs: int, epochs: float, steps: int) -> None:
    assert pair_steps(pairs, DpoSettings(epochs=epochs)) == steps


def test_pairs_over_the_context_are_left_out_and_counted(policy: Policy) -> None:
    lengths = [pair.longest for pair in token_pairs(PAIRS, policy.tokenizer)[0]]
    pairs, too_long = token_pairs(PAIRS, policy.tokenizer, min(lengths))
    assert (len(pairs), too_long) == (lengths.count(min(lengths)), sum(n > min(lengths) for n in lengths))


def test_without_a_pair_that_fits_there_is_no_dpo(policy: Policy, session: Session) -> None:
    with pytest.raises(DataError, match="no pair to learn from: 8 of them are longer than 8 tokens"):
        train_dpo(policy, PAIRS, DpoSettings(context_length=8), session)
    with pytest.raises(DataError, match="no pair to learn from"):
        train_dpo(policy, [], DpoSettings(), session)


def test_a_single_labelled_answer_is_no_pair(policy: Policy, session: Session) -> None:
    single: Any = LabelledAnswer(prompt=PAIRS[0].prompt, answer="no.", safe=True, source=PAIRS[0].source)
    with pytest.raises(UsageError, match=r"preferences\[1\] \(made:1\) is a single answer; DPO learns from pairs"):
        train_dpo(policy, [PAIRS[1], single], DpoSettings(), session)


def test_without_trl_the_error_says_how_it_is_installed(
    policy: Policy, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(UsageError, match=r"dpo is trained by the library TRL, .* pip install 'trl>=1.0'"):
        train_dpo(policy, PAIRS, DpoSettings(), session)


@slow
def test_trls_loss_is_equation_7_of_the_paper_with_our_log_probabilities(policy: Policy, session: Session) -> None:
    start = copy.deepcopy(policy)
    after_one = copy.deepcopy(policy)
    train_dpo(after_one, PAIRS, ALL_AT_ONCE, session)
    train_dpo(policy, PAIRS, ALL_AT_ONCE.model_copy(update={"epochs": 2.0}), session)
    logged = [row["loss"] for row in read_journal(session.folder / "metrics.jsonl")]
    pairs, _ = token_pairs(PAIRS, policy.tokenizer)
    compute = resolve_compute(session.compute)
    new, old = (pair_log_probs(each.model.double(), pairs, compute).tolist() for each in (after_one, start))
    losses = []
    for (chosen, rejected), (old_chosen, old_rejected) in zip(new, old, strict=True):
        margin = 0.3 * (chosen - old_chosen) - 0.3 * (rejected - old_rejected)
        losses.append(math.log(1.0 + math.exp(-margin)))
    assert logged[0] == pytest.approx(math.log(2.0), abs=1e-5)  # the policy is its own reference
    assert logged[1] == pytest.approx(sum(losses) / len(losses), abs=1e-5)
    assert abs(logged[1] - math.log(2.0)) > 0.01


@slow
def test_the_model_is_shown_our_ids_and_no_others(policy: Policy, session: Session) -> None:
    seen: list[list[int]] = []

    def look(module: Any, given: Any, named: dict[str, Any]) -> None:
        if (mask := named.get("attention_mask")) is not None:
            seen.extend(row[kept.bool()].tolist() for row, kept in zip(named["input_ids"], mask, strict=True))

    policy.model.get_decoder().register_forward_pre_hook(look, with_kwargs=True)
    train_dpo(policy, PAIRS, ALL_AT_ONCE.model_copy(update={"microbatch_size": 2}), session)
    pairs, _ = token_pairs(PAIRS, policy.tokenizer)
    ours = [[*p.prompt, *answer] for p in pairs for answer in (p.chosen, p.rejected)]
    assert {tuple(row) for row in seen} == {tuple(row) for row in ours}


@slow
def test_it_learns_the_pairs_and_says_so_of_held_out_ones(policy: Policy, session: Session) -> None:
    settings = ALL_AT_ONCE.model_copy(update={"epochs": 8.0})
    result = train_dpo(policy, PAIRS, settings, session, held_out=preferences(12)[8:])
    assert (result.steps, result.pairs, result.held_out_pairs) == (8, 8, 4)
    assert result.held_out is not None
    assert result.held_out.accuracy == 1.0
    assert result.held_out.margin > 0
    assert result.headline == "accuracy 1"
    rows = read_journal(session.folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert rows[-1]["accuracy"] == 1.0
    assert rows[-1]["margin"] > rows[1]["margin"] > 0


@slow
def test_it_leaves_a_policy_of_ours_its_figures_and_nothing_of_the_library(policy: Policy, session: Session) -> None:
    train_dpo(policy, PAIRS, ALL_AT_ONCE, session)
    assert sorted(path.name for path in session.folder.iterdir()) == ["checkpoint", "dpo.json", "metrics.jsonl"]
    assert not [path for path in session.folder.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    loaded = load_policy(session.folder / "checkpoint")
    assert loaded.tokenizer.sha256 == policy.tokenizer.sha256
    for name, tensor in loaded.model.state_dict().items():
        torch.testing.assert_close(tensor, policy.model.state_dict()[name], rtol=0, atol=0)
    assert "forward" not in vars(policy.model)


@slow
def test_the_same_seed_gives_the_same_model_and_another_one_another(policy: Policy, session: Session) -> None:
    settings = ALL_AT_ONCE.model_copy(update={"batch_size": 4, "microbatch_size": 4})
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        trained = copy.deepcopy(policy)
        train_dpo(trained, PAIRS, settings, Session(session.folder / name, seed=seed, compute=session.compute))
        found.append(torch.cat([p.detach().flatten() for p in trained.model.parameters()]))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@slow
def test_a_stop_ends_it_after_the_step_and_nothing_is_saved(policy: Policy, session: Session) -> None:
    session.stop.request(signal.SIGTERM)
    with pytest.raises(Interrupted):
        train_dpo(policy, PAIRS, ALL_AT_ONCE.model_copy(update={"epochs": 9.0}), session)
    assert len(read_journal(session.folder / "metrics.jsonl")) == 1
    assert not (session.folder / "checkpoint").exists()
