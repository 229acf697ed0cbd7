"""What a training comes to: its headline, and the flat mapping that a run keeps."""

from __future__ import annotations

from alignment.train.result import TrainingResult

PLAIN = TrainingResult(steps=1200, tokens=9, seconds=0.5)


def test_the_headline_is_the_held_out_perplexity() -> None:
    held_out = {"loss": 6.2935, "perplexity": 541.0663}
    assert TrainingResult(steps=4, tokens=9, seconds=0.5, held_out=held_out).headline == "perplexity 541.1"


def test_without_held_out_records_the_headline_is_the_number_of_steps() -> None:
    assert PLAIN.headline == "steps 1,200"


def test_a_mapping_names_no_skips_where_there_were_none() -> None:
    assert PLAIN.as_json() == {"steps": 1200, "tokens": 9, "seconds": 0.5}


def test_a_mapping_is_flat_and_in_the_order_in_which_it_is_shown() -> None:
    result = TrainingResult(
        steps=4,
        tokens=9,
        seconds=0.5,
        held_out={"loss": 1.0},
        skipped=2,
        counts={"truncated": 1, "dialogues": 3},
        packing_efficiency=0.9,
    )
    assert list(result.as_json().items()) == [
        ("loss", 1.0),
        ("steps", 4),
        ("tokens", 9),
        ("seconds", 0.5),
        ("skipped_steps", 2),
        ("truncated", 1),
        ("dialogues", 3),
        ("packing_efficiency", 0.9),
    ]
