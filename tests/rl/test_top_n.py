"""`keep: top_n`: several answers of a prompt are kept, each of them by the guard."""

from __future__ import annotations

import pytest

from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.train.session import Session
from rl.guard import guard_kept, held_against
from rl.judges import RewardJudges
from rl.kept import Kept, best_of_pool, read_kept, top_of
from rl.rejection import rejection_sample
from rl.settings import RejectionSettings
from tests.rl.test_rejection import SAMPLING, CannedSamples, rollout

SETTINGS = RejectionSettings(
    keep="top_n", top_n=2, samples_per_prompt=2, sampling=SAMPLING, context_length=128, batch_size=4, max_steps=1
)


def kept(answer: str, combined: float, version: int = 1, prompt_id: str = "a") -> Kept:
    return Kept(prompt_id=prompt_id, answer=answer, version=version, helpfulness=0, safety=0, combined=combined)


def told(found: list[Kept]) -> list[tuple[str, float]]:
    return [(one.answer, one.combined) for one in found]


def test_the_n_best_different_answers_are_kept_best_first(prompts: list[Dialogue]) -> None:
    options = (("b", "stop", 2.0), ("a", "stop", 3.0), ("a", "stop", 3.0), ("c", "stop", 1.0), ("d", "length", 9.0))
    drawn = rollout(prompts[0], *options)
    assert told(top_of(drawn, [0, 1, 2, 3], 1, 2)) == [("a", 3.0), ("b", 2.0)]
    assert told(top_of(drawn, [0, 1, 2, 3], 1, 9)) == [("a", 3.0), ("b", 2.0), ("c", 1.0)]
    assert top_of(drawn, [], 1, 2) == []


def test_the_guard_applies_to_each_and_the_greedy_answer_is_kept_once() -> None:
    best = [kept("a", 3.0), kept("b", 1.2), kept("c", 1.1)]
    greedy = {"a": kept("g", 1.0)}
    assert told(guard_kept(best, greedy, 0.5)) == [("a", 3.0), ("g", 1.0)]
    assert told(guard_kept(best, {}, 0.5)) == [("a", 3.0), ("b", 1.2), ("c", 1.1)]


def test_the_pool_holds_the_n_best_of_all_versions_and_the_newer_of_equals() -> None:
    first = [kept("a", 3.0), kept("b", 1.0), kept("z", 0.0, prompt_id="b")]
    second = [kept("c", 2.0, 2), kept("d", 1.0, 2), kept("a", 3.0, 2)]
    pool = best_of_pool([first, second], 3)
    assert [(one.prompt_id, one.answer, one.version) for one in pool] == [
        ("a", "a", 2),
        ("a", "c", 2),
        ("a", "d", 2),  # as good as V1's b, and newer
        ("b", "z", 1),
    ]
    assert [(one.answer, one.version) for one in best_of_pool([first, second])] == [("a", 2), ("z", 1)]


def test_a_prompt_counts_once_against_greedy_however_many_of_its_answers_are_kept(
    policy: Policy, prompts: list[Dialogue], judges: RewardJudges
) -> None:
    names = [prompt.id for prompt in prompts[:2]]
    greedy = {name: kept("g", 0.0, prompt_id=name) for name in names}
    best = [kept("a", 4.0, prompt_id=names[0]), kept("b", 2.0, prompt_id=names[0]), kept("c", 0.0, prompt_id=names[1])]
    fitting = [(prompt, (1,)) for prompt in prompts]
    found = held_against(best, greedy, fitting, policy, judges)
    assert (found.prompts, found.over_greedy["reward"]["value"]) == (2, 1.5)


def test_a_version_trains_on_all_that_it_keeps(
    policy: Policy, prompts: list[Dialogue], judges: RewardJudges, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rl.rejection

    monkeypatch.setattr(
        rl.rejection, "draw_samples", lambda policy, fitting, **_: [CannedSamples.of(policy) for _ in fitting]
    )
    result = rejection_sample(policy, prompts, judges, SETTINGS, session)
    assert len(read_kept(session.folder / "kept.jsonl")) == 2 * len(prompts)
    assert result.sampling.pool_size == result.training.counts["dialogues"] == 2 * len(prompts)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"samples_per_prompt": 0}, "greater than or equal to 1"),
        ({"sweep_prompts": 0}, "greater than or equal to 1"),
        ({"temperatures": (0.5, 0.0)}, "greater than 0"),
        ({"temperatures": (0.5, 1.0, 0.5)}, "names 0.5 more than once"),
        ({"keep": "top_n"}, "add it, for example top_n: 4"),
        ({"keep": "top_n", "top_n": 0}, "greater than or equal to 1"),
        ({"top_n": 4}, "keep is best, which keeps one answer"),
        ({"keep": "top_n", "top_n": 9, "samples_per_prompt": 8}, "no more than those can be kept"),
        ({"samples_from": {"path": ""}}, "at least 1 character"),
    ],
)
def test_what_cannot_be_drawn_or_kept_is_refused(asked: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RejectionSettings.model_validate(asked)


def test_a_run_from_before_these_settings_rests_on_what_it_did() -> None:
    added = {"temperatures", "sweep_prompts", "keep", "top_n", "samples_from"}
    assert not added & RejectionSettings().fingerprint_values().keys()
