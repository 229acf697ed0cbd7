"""A data set from its sources: nothing is lost or changed, every row is counted, both sides share no prompt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.data.corpus import Loaded, load_dialogues, load_documents, load_preferences, load_prompts
from alignment.data.identity import prompt_key
from alignment.data.settings import DataSettings, SourceSettings
from alignment.errors import DataError, TooManyBadRows
from alignment.records import Dialogue, Document, Preference, Source, Turn
from alignment.text.chat import MARKERS

BAD_LINES = [
    b'{"question": "a"}',
    b'{"question": "a", "answer": ""}',
    b'{"question": "a", "answer": 3}',
    b'{"question": "[INST]", "answer": "b"}',
    b'{"question": "cut',
    b'{"question": "a", "answer": "b"} {}',
    b"[1, 2]",
    b"\xff\xfe",
    b'{"question": NaN, "answer": "b"}',
    b'{"question": "a", "question": "b", "answer": "c"}',
    b'{"question": "\\ud800", "answer": "b"}',
]


def row(number: int) -> bytes:
    return json.dumps({"question": f"question {number}", "answer": f"answer {number}"}).encode()


def write(path: Path, lines: list[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def load(path: Path | str, *, quarantine: Path | None = None, seed: int = 0, **rest: Any) -> Loaded[Dialogue]:
    source = {key: rest.pop(key) for key in list(rest) if key in SourceSettings.model_fields}
    data = DataSettings(train=(SourceSettings(path=str(path), **source),), **rest)
    return load_dialogues(data, seed=seed, quarantine=quarantine)


def asked(dialogues: list[Dialogue]) -> list[str]:
    return [dialogue.turns[0].content for dialogue in dialogues]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(BAD_LINES)), max_size=12),
    st.lists(st.integers(0, 40), max_size=5),
)
def test_bad_and_blank_lines_anywhere_cost_no_good_row_and_are_all_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, bad: list[tuple[int, bytes]], blank: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    lines: list[bytes] = [row(number) for number in range(40)]
    for at, line in [*bad, *((at, b"") for at in blank)]:
        lines.insert(at, line)
    path = write(folder / "rows.jsonl", lines)
    data = load(path, quarantine=folder / "bad.jsonl", max_bad_fraction=1.0)
    assert asked(data.train) == [f"question {number}" for number in range(40)]
    assert [lines[dialogue.source.line - 1] for dialogue in data.train] == [row(n) for n in range(40)]
    entries = [json.loads(line) for line in (folder / "bad.jsonl").read_text().splitlines()]
    assert [(entry["line"], entry["file"]) for entry in entries] == [
        (number, str(path)) for number, line in enumerate(lines, start=1) if line in BAD_LINES
    ]
    assert all(entry["reason"] for entry in entries)
    (told,) = data.report.sources
    assert (told.read, told.good, told.bad, told.blank) == (40 + len(bad), 40, len(bad), len(blank))


def test_too_many_bad_rows_stop_with_counts_and_the_first_three_examples(tmp_path: Path) -> None:
    lines = [row(n) for n in range(96)]
    for at, line in ((3, BAD_LINES[1]), (5, BAD_LINES[1]), (7, BAD_LINES[0]), (9, BAD_LINES[6])):
        lines.insert(at, line)
    path = write(tmp_path / "rows.jsonl", lines)
    with pytest.raises(TooManyBadRows) as stopped:
        load(path, quarantine=tmp_path / "bad.jsonl")
    message = str(stopped.value)
    assert "4 of 100 rows (4.0%)" in message
    assert "2 × an empty message; 1 × a missing field; 1 × not a JSON object" in message
    assert message.count(f"{path}:") == 4  # the source itself, then three examples
    assert [json.loads(line)["line"] for line in (tmp_path / "bad.jsonl").read_text().splitlines()] == [
        4,
        6,
        8,
        10,
    ]


def test_as_many_bad_rows_as_allowed_do_not_stop(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [row(n) for n in range(99)] + [b"{"])
    assert len(load(path).train) == 99
    with pytest.raises(TooManyBadRows):
        load(path, max_bad_fraction=0.009)


def test_a_source_may_allow_itself_more(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [row(n) for n in range(9)] + [b"{"])
    data = DataSettings(train=(SourceSettings(path=str(path), max_bad_fraction=0.1),))
    assert load_dialogues(data, seed=0, quarantine=None).report.bad == 1


def test_a_number_of_four_hundred_digits_is_a_bad_row_and_costs_no_other(tmp_path: Path) -> None:
    pair = {"instruction": "q", "output_1": "a", "output_2": "b", "score_1": 1, "score_2": 2}
    rows = [json.dumps({**pair, "instruction": f"q {n}"}).encode() for n in range(50)]
    rows[20] = json.dumps({**pair, "score_1": 10**400}).encode()
    graded = [{"output": "a", "generator": "A", "mark": 10**400}, {"output": "b", "generator": "B", "mark": 1}]
    answers = [json.dumps({"instruction": "q", "responses": graded}).encode()] * 2
    for lines, columns, bad in ((rows, {}, 1), (answers, {"score": "mark"}, 2)):
        source = SourceSettings(path=str(write(tmp_path / "rows.jsonl", lines)), columns=columns)
        settings = DataSettings(train=(source,), max_bad_fraction=1.0)
        if bad < len(lines):
            assert len(load_preferences(settings, seed=0, quarantine=tmp_path / "bad.jsonl").train) == 49
        else:
            with pytest.raises(DataError, match="2 set aside"):
                load_preferences(settings, seed=0, quarantine=tmp_path / "bad.jsonl")
        entries = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
        assert [entry["reason"] for entry in entries] == ["a number is too large"] * bad


def test_a_file_of_rubbish_is_not_read_through(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [row(0)] + [b"{}"] * 30_000)
    with pytest.raises(TooManyBadRows, match="the first 10,001 rows read"):
        load(path)


def test_held_out_prompts_are_picked_by_their_text_not_by_place_or_seed(tmp_path: Path) -> None:
    rows = [row(n) for n in range(300)]
    one = load(write(tmp_path / "one.jsonl", rows), held_out_fraction=0.2)
    other = load(write(tmp_path / "other.jsonl", rows[::-1]), held_out_fraction=0.2, seed=9)
    assert sorted(asked(one.held_out)) == sorted(asked(other.held_out))
    assert len(one.train) + len(one.held_out) == 300
    assert 30 < len(one.held_out) < 90
    assert one.report.moved == len(one.held_out)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=40),
    st.lists(st.integers(0, 12), max_size=10),
    st.floats(0.0, 0.6),
)
def test_train_and_held_out_never_share_a_prompt(
    tmp_path_factory: pytest.TempPathFactory, train: list[int], held: list[int], fraction: float
) -> None:
    folder = tmp_path_factory.mktemp("split")
    spellings: list[Callable[[str], str]] = [
        str,
        str.upper,
        lambda text: f"  {text}\n",
        lambda t: t.replace(" ", "\t"),
    ]

    def lines(numbers: list[int]) -> list[bytes]:
        return [
            json.dumps({"question": spellings[at % 4](f"question no {n}"), "answer": f"{at}"}).encode()
            for at, n in enumerate(numbers)
        ]

    sources = {"train": (SourceSettings(path=str(write(folder / "train.jsonl", lines(train)))),)}
    if held:
        sources["held_out"] = (SourceSettings(path=str(write(folder / "held.jsonl", lines(held)))),)
    try:
        data = load_dialogues(DataSettings(**sources, held_out_fraction=fraction), seed=0, quarantine=None)
    except DataError as error:
        if "are left to" not in str(error):  # every prompt of train may be held out; nothing else may fail
            raise
        return
    assert not {prompt_key(d) for d in data.train} & {prompt_key(d) for d in data.held_out}
    told = data.report
    assert told.train + told.held_out + told.overlap + told.duplicates == len(train) + len(held)


def test_of_two_prompts_one_is_held_out_and_one_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [row(0), row(1)])
    for fraction in (0.001, 0.999):
        data = load(path, held_out_fraction=fraction)
        assert (len(data.train), len(data.held_out)) == (1, 1)


def test_splitting_by_the_opening_keeps_dialogues_with_one_opening_together(tmp_path: Path) -> None:
    def talk(opening: int, second: int) -> bytes:
        contents = [f"opening {opening}", "b", f"second {second}", "d"]
        roles = ["user", "assistant"] * 2
        return json.dumps(
            {"messages": [{"role": r, "content": c} for r, c in zip(roles, contents, strict=True)]}
        ).encode()

    path = write(tmp_path / "rows.jsonl", [talk(n % 20, n) for n in range(200)])
    data = load(path, held_out_fraction=0.3, split_by="opening")
    assert not set(asked(data.train)) & set(asked(data.held_out))
    by_prompt = load(path, held_out_fraction=0.3)
    assert set(asked(by_prompt.train)) & set(asked(by_prompt.held_out))


def test_duplicates_are_dropped_or_kept_as_asked_and_counted_either_way(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [row(0), row(1), row(0), row(0)])
    dropped, kept = load(path), load(path, on_duplicate="keep")
    assert (asked(dropped.train), dropped.report.duplicates) == (["question 0", "question 1"], 2)
    assert (len(kept.train), kept.report.duplicates) == (4, 2)


def test_one_prompt_with_two_answers_is_no_duplicate(tmp_path: Path) -> None:
    lines = [b'{"question": "a", "answer": "b"}', b'{"question": "a", "answer": "c"}']
    assert len(load(write(tmp_path / "rows.jsonl", lines)).train) == 2


def test_prompts_come_once_each_and_end_with_the_user(tmp_path: Path) -> None:
    lines = [b'{"question": "a", "answer": "b"}', b'{"question": " A ", "answer": "c"}', row(1)]
    source = SourceSettings(path=str(write(tmp_path / "rows.jsonl", lines)))
    data = load_prompts(DataSettings(train=(source,), on_duplicate="keep"), seed=0, quarantine=None)
    assert asked(data.train) == ["a", "question 1"]
    assert all(dialogue.is_prompt for dialogue in data.train)
    assert len({dialogue.id for dialogue in data.train}) == 2


def test_a_share_is_the_same_pick_every_time_and_another_for_another_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [row(n) for n in range(400)])
    half = load(path, share=0.5)
    moved = write(tmp_path / "elsewhere" / "rows.jsonl", [row(n) for n in range(400)])
    assert asked(half.train) == asked(load(moved, share=0.5).train)
    assert asked(half.train) != asked(load(path, share=0.5, seed=1).train)
    assert 150 < len(half.train) < 250
    assert half.report.sources[0].not_picked == 400 - len(half.train)


def test_a_greater_share_holds_the_smaller_one(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [row(n) for n in range(200)])
    assert set(asked(load(path, share=0.2).train)) < set(asked(load(path, share=0.6).train))


def test_limit_takes_the_first_good_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [row(0), b"{", *(row(n) for n in range(1, 200))])
    assert asked(load(path, limit=3, max_bad_fraction=0.5).train) == [f"question {n}" for n in range(3)]


def test_sources_keep_their_order_and_a_glob_is_read_by_name(tmp_path: Path) -> None:
    for name, numbers in (("b.jsonl", [2, 3]), ("a.jsonl", [0, 1]), ("z/c.jsonl", [4])):
        write(tmp_path / name, [row(n) for n in numbers])
    assert asked(load(tmp_path / "*.jsonl").train) == [f"question {n}" for n in range(4)]
    assert asked(load(tmp_path / "**" / "*.jsonl").train) == [f"question {n}" for n in range(5)]


def test_the_report_is_plain_json_and_names_every_file_with_its_hash(tmp_path: Path) -> None:
    import hashlib

    path = write(tmp_path / "rows.jsonl", [row(0), row(1)])
    told = json.loads(json.dumps(load(path, quarantine=tmp_path / "bad.jsonl").report.as_dict()))
    (source,) = told["sources"]
    assert source["files"] == {str(path): hashlib.sha256(path.read_bytes()).hexdigest()}
    assert (source["form"], source["good"], told["train"]) == ("question_answer", 2, 2)
    assert (tmp_path / "bad.jsonl").read_text() == ""


def test_dialogues_serve_as_documents_and_pairs_as_demonstrations(tmp_path: Path) -> None:
    write(tmp_path / "talk.jsonl", [row(0)])
    write(tmp_path / "pairs.jsonl", [b'{"prompt": "a", "chosen": "good", "rejected": "bad"}'])
    texts = load_documents(
        DataSettings(train=(SourceSettings(path=str(tmp_path / "talk.jsonl")),)), seed=0, quarantine=None
    )
    assert [text.text for text in texts.train] == ["question 0\n\nanswer 0"]
    (chosen,) = load(tmp_path / "pairs.jsonl").train
    assert [turn.content for turn in chosen.turns] == ["a", "good"]


class TinyWorld:
    """Stands in for the embedded world: records by split."""

    def documents(self, split: str) -> list[Document]:
        return [Document(text=f"{split} text", source=Source(file="world:documents", line=1))]

    def dialogues(self, split: str, *, instructed: bool) -> list[Dialogue]:
        turns = (Turn(role="user", content=f"{split} question"), Turn(role="assistant", content="answer"))
        return [Dialogue(turns=turns, source=Source(file="world:dialogues", line=1), id=split)]

    def preferences(self, campaign: str, split: str) -> list[Preference]:
        prompt = self.prompts(campaign, split)[0]
        return [
            Preference(prompt=prompt, chosen=f"{campaign} good", rejected="bad", source=prompt.source, grade="better")
        ]

    def prompts(self, kind: str, split: str) -> list[Dialogue]:
        return [dialogue.prompt() for dialogue in self.dialogues(split, instructed=False)]


def test_a_world_source_takes_its_train_and_validation_splits() -> None:
    world = SourceSettings(world="dialogues")
    data = load_dialogues(DataSettings(train=(world,), held_out=(world,)), seed=0, quarantine=None, world=TinyWorld())
    assert (asked(data.train), asked(data.held_out)) == (["train question"], ["validation question"])
    pairs = load_preferences(
        DataSettings(train=(SourceSettings(world="preferences/safety"),)),
        seed=0,
        quarantine=None,
        world=TinyWorld(),
    )
    assert [pair.chosen for pair in pairs.train if isinstance(pair, Preference)] == ["safety good"]
    prompts = load_prompts(
        DataSettings(train=(SourceSettings(world="prompts/helpfulness"), SourceSettings(world="preferences/safety"))),
        seed=0,
        quarantine=None,
        world=TinyWorld(),
    )
    assert asked(prompts.train) == ["train question"]


def test_a_world_source_without_a_world_or_of_another_kind_is_told() -> None:
    documents = DataSettings(train=(SourceSettings(world="documents"),))
    with pytest.raises(DataError, match="pass world="):
        load_documents(documents, seed=0, quarantine=None)
    with pytest.raises(DataError, match="makes no dialogues"):
        load_dialogues(documents, seed=0, quarantine=None, world=TinyWorld())


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=1, max_size=6), st.booleans())
def test_every_text_that_a_message_may_hold_survives_to_the_byte(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]], ascii_only: bool
) -> None:
    rows = [{"question": f"q{question}", "answer": f"a{answer}"} for question, answer in texts]
    path = tmp_path_factory.mktemp("texts") / "rows.jsonl"
    path.write_bytes(
        b"".join(json.dumps(r, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") + b"\n" for r in rows)
    )

    def may_stand(text: str) -> bool:
        held = any("\ud800" <= character <= "\udfff" or character == "\0" for character in text)
        return not held and not any(marker in text for marker in MARKERS)

    fits = [r for r in rows if all(may_stand(text) for text in r.values())]
    try:
        data = load(path, max_bad_fraction=1.0, on_duplicate="keep")
    except DataError as error:
        if fits:
            raise
        assert "left to train on" in str(error) or "look like no known form" in str(error)  # noqa: PT017
        return
    assert [tuple(t.content for t in d.turns) for d in data.train] == [(r["question"], r["answer"]) for r in fits]


def test_what_is_loaded_does_not_depend_on_pythons_hash_seed(tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    answers = [{"generator": f"G{n}", "output": f"text {n}", "mark": n * 7 % 11} for n in range(11)]
    path = write(
        tmp_path / "rows.jsonl",
        [json.dumps({"instruction": f"do {n}", "responses": answers}).encode() for n in range(30)],
    )
    program = (
        "import sys\n"
        "from alignment.data.corpus import load_preferences\n"
        "from alignment.data.settings import DataSettings, SourceSettings\n"
        "source = SourceSettings(path=sys.argv[1], columns={'score': 'mark'}, share=0.7)\n"
        "data = load_preferences(DataSettings(train=[source], held_out_fraction=0.3), seed=1, quarantine=None)\n"
        "for pair in data.train + data.held_out:\n"
        "    print(pair.prompt.id, pair.chosen, pair.rejected)\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(path)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[3])},
        ).stdout
        for seed in ("0", "1")
    }
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()) > 50
