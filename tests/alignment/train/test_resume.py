"""A training that was stopped, or whose newest checkpoint was damaged, ends as the undisturbed one, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignment.errors import Interrupted
from alignment.model.checkpoint import new_model
from alignment.model.settings import ModelSettings
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.store.manifest import verify
from alignment.text.tokenizer import Tokenizer
from alignment.train.result import TrainingResult
from alignment.train.session import Session
from alignment.train.settings import SftSettings
from alignment.train.sft import sft

Run = Callable[..., TrainingResult]


@pytest.fixture
def run(tokenizer: Tokenizer, dialogues: list[Dialogue], make_sft_settings: Callable[..., SftSettings]) -> Run:
    """SFT of a fresh policy on ten dialogues, with two held out."""

    def go(session: Session, **changes: Any) -> TrainingResult:
        model = new_model(ModelSettings(size="tiny", context_length=256), tokenizer.vocab_size, seed=0)
        settings = make_sft_settings(held_out_every=2, **changes)
        return sft(Policy(model=model, tokenizer=tokenizer), dialogues[:10], settings, session, dialogues[10:])

    return go


@pytest.fixture
def undisturbed(
    run: Run, make_session: Callable[..., Session], equal_parts: Callable[[Path], dict[str, Any]]
) -> dict[str, Any]:
    session = make_session("undisturbed")
    result = run(session)
    assert result.steps == 6
    return equal_parts(session.folder)


def test_the_same_training_twice_is_equal(
    run: Run, make_session: Callable[..., Session], undisturbed: dict[str, Any], equal_parts: Callable[[Path], Any]
) -> None:
    again = make_session("again")
    run(again)
    assert equal_parts(again.folder) == undisturbed
    other = make_session("other", seed=1)
    run(other)
    assert equal_parts(other.folder) != undisturbed


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
def test_stopped_after_any_step_and_resumed_is_equal(
    run: Run,
    make_session: Callable[..., Session],
    undisturbed: dict[str, Any],
    equal_parts: Callable[[Path], Any],
    stop_after: int,
) -> None:
    session = make_session("run", stop_after=stop_after)
    with pytest.raises(Interrupted, match=f"stopped by signal 15 after step {stop_after}") as caught:
        run(session)
    assert caught.value.exit_code == 143
    verify(session.folder / "checkpoints" / f"step-{stop_after:06d}", kind="training")
    assert not (session.folder / "checkpoint").exists()
    session = make_session("run")
    run(session)
    assert session.progress.notes == [f"goes on after step {stop_after} of 6"]  # type: ignore[attr-defined]
    assert session.progress.steps[0] == stop_after  # type: ignore[attr-defined]
    assert equal_parts(session.folder) == undisturbed
    assert not (session.folder / "checkpoints").exists()


def test_stopped_at_every_step_in_turn_is_equal(
    run: Run, make_session: Callable[..., Session], undisturbed: dict[str, Any], equal_parts: Callable[[Path], Any]
) -> None:
    for step in range(1, 6):
        with pytest.raises(Interrupted):
            run(make_session("run", stop_after=step))
    session = make_session("run")
    run(session)
    assert equal_parts(session.folder) == undisturbed


def test_a_stop_in_the_last_step_lets_the_stage_end(run: Run, make_session: Callable[..., Session]) -> None:
    session = make_session("run", stop_after=6, signal_number=2)
    assert run(session).steps == 6
    assert (session.folder / "checkpoint").exists()


def test_logging_less_often_changes_no_weight(
    run: Run, make_session: Callable[..., Session], undisturbed: dict[str, Any], equal_parts: Callable[[Path], Any]
) -> None:
    session = make_session("run", stop_after=3)
    with pytest.raises(Interrupted):
        run(session, log_every=4, save_every=100)
    session = make_session("run")
    run(session, log_every=4, save_every=100)
    parts = equal_parts(session.folder)
    assert parts["weights"] == undisturbed["weights"]
    assert parts["rows"] == [row for row in undisturbed["rows"] if row["step"] in (4, 6)]


def _truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def _flip(folder: Path) -> None:
    file = folder / "optimizer.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def _lose_state(folder: Path) -> None:
    (folder / "state.json").unlink()


def _lose_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def _empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize("damage", [_truncate, _flip, _lose_state, _lose_manifest, _empty])
def test_a_damaged_newest_checkpoint_is_skipped_aloud_for_the_older_one(
    run: Run,
    make_session: Callable[..., Session],
    undisturbed: dict[str, Any],
    equal_parts: Callable[[Path], Any],
    damage: Callable[[Path], None],
) -> None:
    with pytest.raises(Interrupted):
        run(make_session("run", stop_after=5))
    session = make_session("run")
    assert sorted(p.name for p in (session.folder / "checkpoints").iterdir()) == ["step-000004", "step-000005"]
    damage(session.folder / "checkpoints" / "step-000005")
    run(session)
    notes = session.progress.notes  # type: ignore[attr-defined]
    assert notes[0].startswith("skipped step-000005: ")
    assert notes[1:] == ["goes on after step 4 of 6"]
    assert equal_parts(session.folder) == undisturbed


def test_with_every_checkpoint_damaged_it_starts_over_and_is_equal(
    run: Run, make_session: Callable[..., Session], undisturbed: dict[str, Any], equal_parts: Callable[[Path], Any]
) -> None:
    with pytest.raises(Interrupted):
        run(make_session("run", stop_after=5))
    session = make_session("run")
    for folder in (session.folder / "checkpoints").iterdir():
        _truncate(folder)
    run(session)
    assert len(session.progress.notes) == 2  # type: ignore[attr-defined]
    assert equal_parts(session.folder) == undisturbed


def test_checkpoints_of_other_settings_are_not_resumed_from(
    run: Run, make_session: Callable[..., Session], undisturbed: dict[str, Any], equal_parts: Callable[[Path], Any]
) -> None:
    with pytest.raises(Interrupted):
        run(make_session("run", stop_after=5, fingerprint="of other settings"), max_steps=20)
    session = make_session("run")
    run(session)
    assert equal_parts(session.folder)["rows"] == undisturbed["rows"]


def test_a_torn_last_row_of_the_metrics_is_mended(
    run: Run, make_session: Callable[..., Session], undisturbed: dict[str, Any], equal_parts: Callable[[Path], Any]
) -> None:
    with pytest.raises(Interrupted):
        run(make_session("run", stop_after=4))
    session = make_session("run")
    with (session.folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 5, "lo')
    run(session)
    assert equal_parts(session.folder) == undisturbed


def test_a_row_a_step_says_what_was_done(undisturbed: dict[str, Any]) -> None:
    rows = undisturbed["rows"]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert set(rows[0]) == {"step", "loss", "gradient_norm", "learning_rate", "tokens", "targets"}
    assert set(rows[1]) - set(rows[0]) == {"held_out_loss", "held_out_perplexity"}
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert [row["learning_rate"] for row in rows[:2]] == [0.005, 0.01]
    assert all(0 < row["targets"] < row["tokens"] <= 2 * 96 for row in rows)
