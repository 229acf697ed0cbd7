"""What Ghost Attention comes to: its headline, and the mapping that a run keeps."""

from __future__ import annotations

from alignment.train.result import TrainingResult
from gatt.result import Consistency, GattResult, HeldDialogue, Synthesis, TurnShare


def _consistency(*shares: float) -> Consistency:
    turns = tuple(TurnShare(turn=i + 1, value=v, low=0.0, high=1.0, dialogues=4) for i, v in enumerate(shares))
    dialogue = HeldDialogue(instruction="say arr", exchanges=(("hi", "arr"),), kept=(True,))
    return Consistency(turns=turns, examples=(dialogue,))


def _result(before: Consistency, after: Consistency) -> GattResult:
    return GattResult(
        before={"seen": before},
        after={"seen": after},
        synthesis=Synthesis(planned=8, complete=4, follow_share=0.5, kept=2),
        training=TrainingResult(steps=3, tokens=9, seconds=0.5),
    )


def test_the_headline_is_the_last_turn_before_and_after() -> None:
    result = _result(_consistency(0.5, 0.25), _consistency(1.0, 0.75))
    assert result.headline == "instruction kept at turn 2: 25% -> 75%"


def test_the_headline_compares_one_turn_also_where_one_side_came_further() -> None:
    result = _result(_consistency(0.5, 0.25, 0.0), _consistency(1.0, 0.75))
    assert result.headline == "instruction kept at turn 2: 25% -> 75%"


def test_a_turn_that_few_dialogues_reached_heads_nothing() -> None:
    def reached(*numbers: int) -> Consistency:
        turns = [TurnShare(turn=i, value=0.5, low=0.0, high=1.0, dialogues=n) for i, n in enumerate(numbers, start=1)]
        return Consistency(turns=tuple(turns), examples=())

    assert _result(reached(9, 9, 1), reached(9, 5, 4)).headline == "instruction kept at turn 2: 50% -> 50%"
    assert _result(reached(9, 9), reached(9, 4)).headline == "instruction kept at turn 1: 50% -> 50%"


def test_without_any_answer_the_headline_is_the_fine_tunings() -> None:
    assert _result(_consistency(), _consistency(1.0)).headline == "steps 3"


def test_the_mapping_holds_the_evaluation_the_synthesis_and_the_fine_tuning() -> None:
    found = _result(_consistency(0.5), _consistency(1.0)).as_json()
    assert list(found) == ["before", "after", "synthesis", "steps", "tokens", "seconds", "headline"]
    assert found["before"]["seen"]["turns"] == ({"turn": 1, "value": 0.5, "low": 0.0, "high": 1.0, "dialogues": 4},)
    assert found["synthesis"] == {"planned": 8.0, "complete": 4.0, "follow_share": 0.5, "kept": 2.0}
