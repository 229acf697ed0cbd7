"""Rejection sampling: which answers are kept, where they come from, and that nothing is drawn twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pytest

from alignment.errors import SettingError
from alignment.generate.draw import draw_samples, fitting_prompts
from alignment.generate.sampler import OnSample, Sample, SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Document, Source
from alignment.text.chat import render_dialogue
from alignment.train.session import Session
from alignment.train.settings import ReplaySettings
from rl.best_of_n import expected_best
from rl.judges import RewardJudges
from rl.kept import Kept, best_of, best_of_pool, demonstrable, kept_tree, read_kept
from rl.rejection import choose_prompts, rejection_sample
from rl.rollout import Rollout
from rl.settings import CandidateSettings, RejectionSettings

SAMPLING = CandidateSettings(max_new_tokens=6)


def rollout(prompt: Dialogue, *options: tuple[str, str, float]) -> Rollout:
    """Options: text, finish reason, combined reward."""
    samples = tuple(Sample(token_ids=(5, 2), log_probs=(0.0, 0.0), finish_reason=o[1]) for o in options)  # type: ignore[arg-type]
    scores = tuple(o[2] for o in options)
    texts = tuple(o[0] for o in options)
    return Rollout(
        prompt=prompt,
        prompt_ids=(1,),
        samples=samples,
        texts=texts,
        helpfulness=scores,
        safety=scores,
        combined=scores,
    )


def kept(prompt_id: str, version: int, combined: float) -> Kept:
    return Kept(prompt_id=prompt_id, answer="a", version=version, helpfulness=0, safety=0, combined=combined)


def test_the_answer_with_the_highest_reward_is_kept(prompts: list[Dialogue]) -> None:
    drawn = rollout(prompts[0], ("bad", "stop", 1.0), ("good", "stop", 3.0), ("fair", "stop", 2.0))
    best = best_of(drawn, [0, 1, 2], 4)
    assert best is not None
    assert (best.answer, best.version, best.combined) == ("good", 4, 3.0)


def test_cut_empty_and_marked_answers_are_never_kept(prompts: list[Dialogue], policy: Policy) -> None:
    options = (("cut", "length", 9.0), ("", "stop", 9.0), ("[INST] no", "stop", 9.0), ("fine", "stop", -9.0))
    drawn = rollout(prompts[0], *options)
    assert demonstrable(drawn, policy.tokenizer) == [3]
    best = best_of(drawn, [3], 1)
    assert best is not None
    assert best.answer == "fine"
    assert best_of(drawn, [], 1) is None


def test_a_kept_answer_is_trained_on_token_by_token_as_it_was_scored(prompts: list[Dialogue], policy: Policy) -> None:
    letters = [policy.tokenizer.encode(letter)[-1] for letter in "bread"]  # a spelling that encoding never gives
    assert policy.tokenizer.encode("bread") != letters
    answer = Kept(
        prompt_id="p0", answer="bread", version=1, helpfulness=0, safety=0, combined=0, token_ids=(*letters, 2)
    )
    tree = kept_tree(prompts[0], answer, policy.tokenizer, 512)
    assert tree.segments[0][-6:].tolist() == [*letters, 2]
    assert tree.trained[0].tolist() == [False] * (len(tree.segments[0]) - 6) + [True] * 6
    assert kept_tree(prompts[0], answer, policy.tokenizer, 9).num_tokens == 9


def test_what_release_0_1_0_kept_is_trained_on_as_its_text_says(prompts: list[Dialogue], policy: Policy) -> None:
    old = kept("p0", 1, 0.0)
    tree = kept_tree(prompts[0], old, policy.tokenizer, 512)
    whole = render_dialogue(prompts[0].answered("a"), policy.tokenizer)
    assert tree.segments[0].tolist() == whole.token_ids
    assert tree.trained[0].tolist() == whole.trained


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("unusable", [0, 1, 2])
def test_the_expected_best_of_n_is_the_mean_over_all_draws_that_hold_a_usable_answer(n: int, unusable: int) -> None:
    usable = (0.5, -1.0, 2.0, 0.5, 1.0)
    answers = (*usable, *(None for _ in range(unusable)))
    tops = [max(held) for draw in combinations(answers, n) if (held := [score for score in draw if score is not None])]
    assert expected_best(usable, n, drawn=len(answers)) == pytest.approx(sum(tops) / len(tops))


def test_the_expected_best_of_one_is_the_mean_and_of_all_the_one_that_is_kept() -> None:
    usable = (1.0, 5.0, 3.0)
    assert expected_best(usable, 1, drawn=4) == pytest.approx(3.0)
    assert expected_best(usable, 4, drawn=4) == 5.0


def test_of_equal_answers_the_first_is_kept(prompts: list[Dialogue]) -> None:
    best = best_of(rollout(prompts[0], ("first", "stop", 1.0), ("second", "stop", 1.0)), [0, 1], 1)
    assert best is not None
    assert best.answer == "first"


def test_the_pool_holds_the_best_of_all_versions_for_every_prompt() -> None:
    pool = best_of_pool([[kept("a", 1, 5.0), kept("b", 1, 1.0)], [kept("b", 2, 2.0), kept("c", 2, 0.0)]])
    assert [(k.prompt_id, k.version) for k in pool] == [("a", 1), ("b", 2), ("c", 2)]


def test_prompts_are_drawn_anew_for_each_version_and_the_same_each_time(prompts: list[Dialogue]) -> None:
    first, again, other = ([p.id for p in choose_prompts(prompts, 3, seed=0, version=version)] for version in (1, 1, 2))
    assert first == again
    assert len(set(first)) == 3
    assert first != other
    assert choose_prompts(prompts, 0, seed=0, version=1) == prompts


class CountingSampler:
    """Answers at once, and counts how many answers were asked of it."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.drawn, self.fail_after = 0, fail_after

    def sample(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings, on_sample: OnSample | None = None
    ) -> list[list[Sample]]:
        for request in requests:
            for index, seed in enumerate(request.seeds):
                if self.drawn == self.fail_after:
                    raise KeyboardInterrupt
                self.drawn += 1
                assert on_sample is not None
                on_sample(request, index, Sample(token_ids=(seed % 97, 2), log_probs=(0.0, 0.0), finish_reason="stop"))
        return []


def test_samples_in_the_journal_are_not_drawn_again(policy: Policy, prompts: list[Dialogue], tmp_path: Path) -> None:
    fitting, _ = fitting_prompts(prompts, policy, SAMPLING)
    arguments = {"num_samples": 3, "sampling": SAMPLING, "seed": 0, "names": ("test",)}
    whole = draw_samples(policy, fitting, journal_path=None, sampler=CountingSampler(), **arguments)  # type: ignore[arg-type]
    journal = tmp_path / "samples" / "rejection.jsonl"
    with pytest.raises(KeyboardInterrupt):
        draw_samples(policy, fitting, journal_path=journal, sampler=CountingSampler(fail_after=10), **arguments)  # type: ignore[arg-type]
    rest = CountingSampler()
    assert draw_samples(policy, fitting, journal_path=journal, sampler=rest, **arguments) == whole  # type: ignore[arg-type]
    assert rest.drawn == 3 * len(prompts) - 10


def test_a_version_is_made_and_its_kept_answers_reach_the_next(
    policy: Policy, prompts: list[Dialogue], judges: RewardJudges, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rl.rejection

    monkeypatch.setattr(
        rl.rejection, "draw_samples", lambda policy, fitting, **_: [CannedSamples.of(policy) for _ in fitting]
    )
    settings = RejectionSettings(samples_per_prompt=2, sampling=SAMPLING, context_length=128, batch_size=2)
    result = rejection_sample(policy, prompts, judges, settings, session, version=1)
    best = read_kept(session.folder / "kept.jsonl")
    assert len(best) == len(prompts)
    assert result.sampling.pool_origins == {"v1": len(prompts)}
    assert result.sampling.kept_reward >= result.sampling.mean_reward
    assert (session.folder / "checkpoint" / "model.safetensors").exists()


def test_a_version_replays_documents_by_its_kept_answers(
    policy: Policy, prompts: list[Dialogue], judges: RewardJudges, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rl.rejection

    monkeypatch.setattr(
        rl.rejection, "draw_samples", lambda policy, fitting, **_: [CannedSamples.of(policy) for _ in fitting]
    )
    documents = [Document(text=f"in {1900 + i} the mill", source=Source(file="town", line=i + 1)) for i in range(30)]
    settings = RejectionSettings(
        samples_per_prompt=2,
        sampling=SAMPLING,
        context_length=128,
        batch_size=2,
        max_steps=1,
        replay=ReplaySettings(share=2.0),
    )
    result = rejection_sample(policy, prompts, judges, settings, session, version=1, documents=documents)
    assert result.sampling.pool_size == len(prompts)
    assert result.training.counts["replayed_documents"] == 2 * len(prompts)
    with pytest.raises(SettingError, match="replay: asks for documents"):
        rejection_sample(policy, prompts, judges, settings, session, version=1)


class CannedSamples:
    """Two finished answers in the tokenizer's pieces."""

    @staticmethod
    def of(policy: Policy) -> list[Sample]:
        texts = ("the baker", "the miller")
        return [
            Sample(token_ids=(*ids, 2), log_probs=(0.0,) * (len(ids) + 1), finish_reason="stop")
            for ids in (policy.tokenizer.encode(text) for text in texts)
        ]
