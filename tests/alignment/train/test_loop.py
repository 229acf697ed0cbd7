"""The loop under every training: which steps it gives, what it logs, what a checkpoint holds, how it ends."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from alignment.errors import Interrupted, NonFiniteError
from alignment.train.loop import Loop, finish
from alignment.train.session import Session
from alignment.train.settings import CadenceSettings


class Counter:
    """A sum as a tensor and the steps as a plain value: what a body keeps."""

    def __init__(self) -> None:
        self.sum, self.steps = torch.zeros(1), list[int]()

    def tensors(self) -> Mapping[str, Tensor]:
        return {"sum": self.sum}

    def values(self) -> Mapping[str, Any]:
        return {"steps": self.steps}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        self.sum, self.steps = tensors["sum"], list(values["steps"])

    def count(self, step: int) -> None:
        self.sum, self.steps = self.sum + step, [*self.steps, step]


def _loop(session: Session, counter: Counter, *, num_steps: int = 6, log_every: int = 1, **cadence: Any) -> Loop:
    settings = CadenceSettings(**{"save_every": 2, **cadence})
    saved = {"counter": counter}
    return Loop(session, settings, num_steps=num_steps, unit="rounds", saved=saved, log_every=log_every)


def _run(loop: Loop, counter: Counter, *, fail_at: int | None = None) -> None:
    with loop:
        for step in loop:
            loop.log({"loss": float(step)})
            if step == fail_at:
                raise KeyError(step)
            counter.count(step)


def _rows(session: Session) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (session.folder / "metrics.jsonl").read_text().splitlines()]


def _checkpoints(session: Session) -> list[str]:
    return sorted(path.name for path in (session.folder / "checkpoints").iterdir())


def test_what_was_saved_is_put_back_and_the_steps_go_on(make_session: Callable[..., Session]) -> None:
    with pytest.raises(Interrupted, match="after step 3"):
        _run(_loop(make_session("run", stop_after=3), counter := Counter()), counter)
    session, second = make_session("run"), Counter()
    with _loop(session, second) as loop:
        assert (loop.fresh, loop.done, second.steps) == (False, 3, [0, 1, 2])
    _run(_loop(session, second), second)
    assert (second.steps, second.sum.item()) == (list(range(6)), 15.0)
    assert _rows(session) == [{"step": i + 1, "loss": float(i)} for i in range(6)]
    assert session.progress.notes[0] == "goes on after round 3 of 6"  # type: ignore[attr-defined]


def test_a_body_that_raises_leaves_its_step_undone(make_session: Callable[..., Session]) -> None:
    session, counter = make_session("run"), Counter()
    with pytest.raises(KeyError):
        _run(_loop(session, counter), counter, fail_at=3)
    assert [row["step"] for row in _rows(session)] == [1, 2, 3]
    assert _checkpoints(session) == ["step-000002"]
    with _loop(session, counter) as loop:
        assert (loop.done, counter.steps) == (2, [0, 1])
        assert [row["step"] for row in _rows(session)] == [1, 2]


def test_the_last_step_is_logged_saved_and_due_whatever_the_cadence(make_session: Callable[..., Session]) -> None:
    session, due = make_session("run"), []
    with _loop(session, Counter(), num_steps=5, log_every=3, save_every=100) as loop:
        for _ in loop:
            due += [loop.done] if loop.due(2) else []
            loop.log({"loss": 1.0})
    assert due == [2, 4, 5]
    assert [row["step"] for row in _rows(session)] == [3, 5]
    assert _checkpoints(session) == ["step-000005"]


def test_an_ended_loop_finishes_the_step_in_hand_and_gives_no_more(make_session: Callable[..., Session]) -> None:
    session, taken = make_session("run"), []
    with _loop(session, Counter(), save_every=100) as loop:
        for step in loop:
            taken.append(step)
            if step == 2:
                loop.end()
    assert (taken, loop.done, _checkpoints(session)) == ([0, 1, 2], 3, ["step-000003"])


def test_a_loop_ended_before_its_first_step_gives_none(make_session: Callable[..., Session]) -> None:
    with _loop(make_session("run"), Counter()) as loop:
        assert loop.fresh
        loop.end()
        assert list(loop) == []


def test_a_stop_in_the_last_step_is_no_interruption(make_session: Callable[..., Session]) -> None:
    counter = Counter()
    _run(_loop(make_session("run", stop_after=6), counter), counter)
    assert counter.steps == list(range(6))


def test_a_skip_is_counted_in_the_row_and_no_figure_of_it_is_told_that_is_not_finite(
    make_session: Callable[..., Session],
) -> None:
    session = make_session("run")
    with _loop(session, Counter(), num_steps=3, log_every=3, nonfinite_skips=1) as loop:
        for step in loop:
            loop.log({"loss": math.nan if step == 1 else 1.0, "reward": 2.0})
            if step == 1:
                loop.skip("loss", math.nan, ["rows.jsonl:7"])
    assert _rows(session) == [{"step": 2, "reward": 2.0, "skipped": 1}, {"step": 3, "loss": 1.0, "reward": 2.0}]
    told = json.loads((session.folder / "nonfinite.json").read_text())["skipped"]
    assert told == [{"quantity": "loss", "value": "nan", "step": 2, "rows": ["rows.jsonl:7"]}]


def test_what_no_skip_can_mend_stops_though_skips_are_left(make_session: Callable[..., Session]) -> None:
    session = make_session("run")
    with pytest.raises(NonFiniteError, match="at step 0"), _loop(session, Counter(), nonfinite_skips=9) as loop:
        loop.refuse("held-out reward", math.inf, ["rows.jsonl:1"])
    assert json.loads((session.folder / "nonfinite.json").read_text())["stopped"]["quantity"] == "held-out reward"


def test_times_are_logged_but_not_shown(make_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> None:
    session, shown = make_session("run"), []
    monkeypatch.setattr(session.progress, "step", lambda done, figures: shown.append(dict(figures)))
    with _loop(session, Counter(), num_steps=1) as loop:
        for _ in loop:
            loop.log({"loss": 1.0, "time_tokens_per_second": 5.0})
    assert shown == [{}, {"loss": 1.0}]
    assert _rows(session) == [{"step": 1, "loss": 1.0, "time_tokens_per_second": 5.0}]


def test_the_checkpoints_stay_until_the_result_stands(make_session: Callable[..., Session]) -> None:
    session = make_session("run")
    _run(_loop(session, Counter()), Counter())
    assert _checkpoints(session) == ["step-000004", "step-000006"]
    finish(session)
    assert not (session.folder / "checkpoints").exists()
