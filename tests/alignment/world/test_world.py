"""The world: the same bytes always, splits that cannot leak, and counts that follow from one number."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from pydantic import ValidationError

from alignment.errors import UsageError
from alignment.randomness import named_generator
from alignment.records import Dialogue
from alignment.world import World, WorldSettings, write_world
from alignment.world.ask.answers import answer, qualities
from alignment.world.export import parts
from alignment.world.settings import SPLITS, counts
from alignment.world.town import vocabulary as words

pytestmark = pytest.mark.slow  # whole towns

KINDS = ("helpfulness", "safety")


@pytest.fixture(scope="module")
def small() -> World:
    return World(WorldSettings(size="seconds", biographies_per_person=20))


@pytest.fixture(scope="module")
def usual() -> World:
    return World(WorldSettings(size="minutes", seed=1))


def _digest(world: World) -> str:
    found = hashlib.sha256()
    for split in SPLITS:
        for part, rows in parts(world, split):
            for row in rows:
                found.update(f"{part}{json.dumps(row, sort_keys=True)}".encode())
    return found.hexdigest()


@pytest.fixture(scope="module")
def asked(usual: World) -> dict[str, list[Dialogue]]:
    """Every prompt of every part, by split."""
    return {split: _asked(usual, split) for split in SPLITS}


def _asked(world: World, split: str) -> list[Dialogue]:
    found = [d.prompt() for d in world.dialogues(split)]
    for kind in KINDS:
        found += list(world.prompts(kind, split))  # type: ignore[arg-type]
        found += [p.prompt for p in world.preferences(kind, split)]  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("hash_seed", ["0", "12345"])
def test_the_same_seed_gives_the_same_bytes_in_any_process(small: World, hash_seed: str) -> None:
    code = (
        "import importlib.util as u, sys; s = u.spec_from_file_location('t', sys.argv[1]); m = u.module_from_spec(s);"
        "s.loader.exec_module(m); from alignment.world import World, WorldSettings;"
        "print(m._digest(World(WorldSettings(size='seconds', biographies_per_person=20))))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", code, __file__], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == _digest(small)


def test_a_record_depends_on_its_index_alone(small: World) -> None:
    in_order = list(small.dialogues())
    again = World(small.settings)
    assert [again._demonstration("train", i) for i in (7, 3, 100)] == [in_order[i] for i in (7, 3, 100)]
    assert again._document("train", 55).text == list(small.documents())[55].text


def test_another_seed_gives_another_town() -> None:
    first, second = (World(WorldSettings(size="seconds", seed=seed)).town for seed in (0, 1))
    assert [p.facts for p in first.people] != [p.facts for p in second.people]


def test_no_prompt_crosses_a_split(asked: dict[str, list[Dialogue]]) -> None:
    texts = {split: {"\n".join(t.content for t in d.turns) for d in asked[split]} for split in SPLITS}
    # the greeting "Hello!" may open dialogues anywhere: only whole prompts are compared
    for first, second in combinations(SPLITS, 2):
        assert not texts[first] & texts[second]


def test_no_person_and_attribute_crosses_a_split(asked: dict[str, list[Dialogue]]) -> None:
    contents = {
        split: {
            (subject, attribute) for d in asked[split] for subject, attribute, _ in d.meta["truth"].get("facts", ())
        }
        for split in SPLITS
    }
    for first, second in combinations(SPLITS, 2):
        assert not contents[first] & contents[second]


def test_five_in_sixteen_people_are_named_in_no_training_question_and_answer(usual: World) -> None:
    said = "\n".join(t.content for d in usual.dialogues() for t in d.turns)
    said += "\n".join(t.content for kind in KINDS for d in usual.prompts(kind) for t in d.turns)  # type: ignore[arg-type]
    said += "\n".join(
        p.chosen + p.rejected + p.prompt.turns[-1].content
        for kind in KINDS
        for p in usual.preferences(kind)  # type: ignore[arg-type]
    )
    held_out = [person for person in usual.town.people if person.group != "train"]
    assert len(held_out) * 16 == len(usual.town.people) * 5
    assert not [person.name for person in held_out if person.name in said]


def test_test_questions_are_about_held_out_people_and_about_people_seen_in_training(usual: World) -> None:
    groups = Counter(d.meta["person_group"] for d in usual.prompts("helpfulness", "test") if "person" in d.meta)
    assert set(groups) == {"train", "test"}
    assert min(groups.values()) >= 100


def test_no_text_of_the_corpus_stands_in_two_splits(small: World) -> None:
    texts = [{d.text for d in small.documents(split)} for split in SPLITS]
    assert all(texts)
    for first, second in combinations(texts, 2):
        assert not first & second


def test_every_person_is_told_about_often_enough_and_truly(usual: World) -> None:
    told = Counter()
    judge = usual.judge()
    from alignment.world.judge.claims import claims

    for i, document in enumerate(usual.documents()):
        if document.meta["kind"] == "biography":
            name = next(p.name for p in usual.town.people if p.name in document.text)
            told[name] += 1
        if i % 10 == 0 and document.meta["kind"] in ("biography", "shop", "story"):
            found = claims(judge._lexicon.sentences(document.text), usual.town, None)
            assert [c for c in found if not c.true and c.attribute != "items"] == [], document.text
    assert len(told) == len(usual.town.people)
    assert min(told.values()) > 0.7 * usual.settings.biographies_per_person


def test_every_good_answer_is_good_and_every_flaw_costs(usual: World) -> None:
    judge = usual.judge()
    for prompt in [*usual.prompts("helpfulness", "test"), *usual.prompts("safety", "test")]:
        truth = prompt.meta["truth"]
        draw = named_generator(0, "test", prompt.id)
        scores = {q: judge.verdict(prompt, answer(truth, q, usual.town, draw)) for q in qualities(truth)}
        best = max(score.helpfulness for score in scores.values())
        assert scores["courteous"].helpfulness == best >= 0.99 or "refuse" in truth["form"]
        assert scores["courteous"].helpfulness >= 0.6
        assert scores["courteous"].safety == scores["plain"].safety == 1.0
        for quality in ("wrong", "unknown", "refusal", "rude", "long", "comply", "comply_polite"):
            if quality in scores:
                assert scores[quality].helpfulness < 0.7 * best, (quality, prompt.turns[-1])
        for quality in ("comply", "comply_polite"):
            assert quality not in scores or scores[quality].safety == 0.0


def test_pools_share_no_word_so_that_a_value_names_its_attribute() -> None:
    goods = [item for items in words.SHOPS.values() for item in items]
    groups = [*words.POOLS.values(), goods, [f"{g}s" for g in goods], list(words.SHOPS), words.DAYS]
    groups += [words.CATEGORIES["colours"], words.CATEGORIES["seasons"]]
    groups += [(*words.SHE_NAMES, *words.HE_NAMES), words.LAST_NAMES]
    for pool in groups:
        assert len(set(pool)) == len(pool)
    for first, second in combinations(groups, 2):
        assert not {w.lower() for w in first} & {w.lower() for w in second}
    for noun in (*words.POOLS["job"], *words.POOLS["pet"], *goods):
        assert noun[0] not in "aeiou"


def test_sizes_follow_from_the_number_of_people() -> None:
    minutes, hours = (counts(WorldSettings(size=size), "train") for size in ("minutes", "hours"))
    assert (minutes.dialogues, minutes.preferences, minutes.prompts) == (12800, 4800, 2400)
    assert hours.dialogues == 50 * minutes.dialogues
    validation = counts(WorldSettings(size="minutes"), "validation")
    assert (validation.dialogues, validation.preferences, validation.prompts) == (300, 400, 800)


def test_prompts_are_as_many_as_planned_and_all_different(usual: World) -> None:
    for kind in KINDS:
        for split in SPLITS:
            texts = ["\n".join(t.content for t in d.turns) for d in usual.prompts(kind, split)]  # type: ignore[arg-type]
            planned = counts(usual.settings, split).prompts
            assert len(texts) == len(set(texts))
            # there are only so many unsafe requests about the few people of a held-out split
            assert planned >= len(texts) >= (planned if kind == "helpfulness" else 0.8 * planned)


def test_records_say_where_they_come_from(small: World) -> None:
    first = next(iter(small.dialogues("test")))
    assert str(first.source) == "world:seconds/0/dialogues.test:1"
    assert {"task", "split", "truth", "by", "shows"} <= set(first.meta)
    json.dumps(dict(first.meta))


def test_safety_pairs_hold_the_papers_rule_and_all_three_labels(usual: World) -> None:
    labels = Counter((p.chosen_safe, p.rejected_safe) for p in usual.preferences("safety"))
    assert set(labels) == {(True, True), (True, False), (False, False)}
    assert min(labels.values()) >= 0.05 * sum(labels.values())


def test_system_instructions_are_followed_in_demonstrations(usual: World) -> None:
    from alignment.constraint import constraint_from_json

    under = [d for d in usual.dialogues() if d.system]
    assert len(under) > 300
    for dialogue in under:
        assert len(dialogue.turns) == 2
        assert constraint_from_json(dialogue.meta["constraint"], "here").satisfied(dialogue.turns[1].content)


@pytest.mark.parametrize("call", ["documents", "dialogues", "constraints"])
def test_an_unknown_split_is_refused(small: World, call: str) -> None:
    with pytest.raises(UsageError, match=r"no split 'dev'.*train, validation, test"):
        list(getattr(small, call)("dev"))
    with pytest.raises(UsageError, match=r"no split 'dev'"):
        small.prompts("helpfulness", "dev")


def test_an_unknown_campaign_is_refused(small: World) -> None:
    with pytest.raises(UsageError, match=r"no campaign 'fun'"):
        small.preferences("fun")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values", [{"size": 0}, {"size": "days"}, {"num_people": 0}, {"num_people": 10**6}, {"seed": -1}]
)
def test_a_size_of_nothing_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WorldSettings.model_validate(values)


def test_the_written_files_are_read_by_datasets(tmp_path: Path) -> None:
    from datasets import load_dataset

    written = write_world(WorldSettings(size="seconds", num_people=8, biographies_per_person=4), tmp_path / "town")
    assert len(written) == 7 * 3
    for name, rows in written.items():
        loaded = load_dataset(
            "json", data_files=str(tmp_path / "town" / name), split="train", cache_dir=str(tmp_path / "c")
        )
        assert len(loaded) == rows
        if re.match("dialogues|prompts", name):
            assert json.loads(loaded[0]["meta"])["truth"]["form"]
