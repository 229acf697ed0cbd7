"""Slots, memory, limits, stop texts and refusals of the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from alignment.errors import AlignmentError, RequestTooLong, UsageError
from alignment.generate import batch as batch_module
from alignment.generate.engine import Engine
from alignment.generate.sampler import Sample, SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.model.cache import Cache, CacheShape, SlotCache
from alignment.model.llama import LlamaPolicy
from alignment.model.prompt_cache import PromptCache

ALL = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=20)
ENDS = list(range(0, 97, 9))


class Watched(Engine):
    """Remembers its caches."""

    def _cache(self, requests: Sequence[SampleRequest], answers: Sequence[object]) -> Cache:
        self.cache = super()._cache(requests, answers)
        return self.cache


def spell(tokens: Sequence[int]) -> str:
    """Every token is one letter."""
    return "".join(chr(ord("0") + token) for token in tokens)


def test_no_requests_and_no_seeds_give_no_samples(model: LlamaPolicy) -> None:
    engine = Engine(model, eos_ids=[5])
    assert engine.sample([], ALL) == []
    assert engine.sample([SampleRequest(id="a", prompt_ids=(1,), seeds=())], ALL) == [[]]


def test_requests_without_seeds_keep_their_place(model: LlamaPolicy, make_requests: Callable[..., list]) -> None:
    full = make_requests([4, 6])
    empty = SampleRequest(id="none", prompt_ids=(1, 2), seeds=())
    answers = Engine(model, eos_ids=ENDS).sample([full[0], empty, full[1]], ALL)
    assert [len(own) for own in answers] == [1, 0, 1]
    assert [answers[0], answers[2]] == Engine(model, eos_ids=ENDS).sample(full, ALL)


@pytest.mark.parametrize("answers", [1, 3], ids=["own prompt", "shared prompt"])
def test_memory_of_the_cache_stays_within_its_budget(
    answers: int, model: LlamaPolicy, make_requests: Callable[..., list]
) -> None:
    requests = make_requests([10, 30, 17, 5, 22, 9, 9, 31], answers)
    free = Watched(model, eos_ids=ENDS)
    expected = free.sample(requests, ALL)
    assert free.cache.slots == 8 * answers
    for budget in (60_000, 120_000):
        tight = Watched(model, eos_ids=ENDS, memory_budget_bytes=budget)
        assert [[s.token_ids for s in own] for own in tight.sample(requests, ALL)] == [
            [s.token_ids for s in own] for own in expected
        ]
        assert 1 <= tight.cache.slots < 8 * answers
        assert tight.cache.nbytes <= budget


def test_answers_to_one_prompt_store_it_once(model: LlamaPolicy, make_requests: Callable[..., list]) -> None:
    shared, alone = Watched(model, eos_ids=[]), Watched(model, eos_ids=[])
    shared.sample(make_requests([70], answers=16), ALL)
    alone.sample(make_requests([70] * 16), ALL)
    assert isinstance(shared.cache, PromptCache)
    assert isinstance(alone.cache, SlotCache)
    assert shared.cache.nbytes < alone.cache.nbytes / 2


def test_a_prompt_is_run_once_however_few_slots_its_answers_find(
    model: LlamaPolicy, make_requests: Callable[..., list], monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    run = batch_module.Forest.roots
    monkeypatch.setattr(batch_module.Forest, "roots", staticmethod(lambda own: lengths.extend(own) or run(own)))
    Engine(model, eos_ids=ENDS, max_slots=3).sample(make_requests([11, 13, 12], answers=7), ALL)
    assert lengths == [11, 13, 12]


def test_slots_are_refilled_while_other_answers_go_on(
    model: LlamaPolicy, make_requests: Callable[..., list], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With rows of unequal lengths the steps are far fewer than batch after batch would take."""
    widths: list[int] = []
    step = batch_module.Decoder.step

    def counted(self: object, tokens: torch.Tensor, *rest: object) -> torch.Tensor:
        widths.append(len(tokens))
        return step(self, tokens, *rest)

    monkeypatch.setattr(batch_module.Decoder, "step", counted)
    requests = make_requests([5] * 40)
    answers = Engine(model, eos_ids=ENDS, max_slots=4).sample(requests, SamplingSettings(
        temperature=1.0, top_p=1.0, max_new_tokens=60
    ))  # fmt: skip
    lengths = [len(own[0].token_ids) for own in answers]
    by_batches = sum(max(lengths[i : i + 4]) for i in range(0, 40, 4))
    assert max(lengths) > 3 * min(lengths)
    assert len(widths) < 0.75 * by_batches
    assert max(widths) == 4
    assert widths[-1] == 1  # the tail is compacted


def test_answers_are_reported_once_each_as_they_finish(model: LlamaPolicy, make_requests: Callable[..., list]) -> None:
    requests = make_requests([5, 6, 7], answers=4)
    seen: list[tuple[str, int, Sample]] = []
    answers = Engine(model, eos_ids=ENDS, max_slots=5).sample(
        requests, ALL, lambda request, index, sample: seen.append((request.id, index, sample))
    )
    assert len(seen) == 12
    for name, index, sample in seen:
        assert answers[int(name[1:])][index] is sample
    assert [key[:2] for key in seen] != sorted(key[:2] for key in seen)


def test_answers_stop_at_the_end_of_the_context(model: LlamaPolicy, make_requests: Callable[..., list]) -> None:
    chosen = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=50)
    answers = Engine(model, eos_ids=[]).sample(make_requests([90, 95, 20]), chosen)
    assert [(len(own[0].token_ids), own[0].finish_reason) for own in answers] == [
        (6, "length"),
        (1, "length"),
        (50, "length"),
    ]


def test_a_prompt_without_room_is_refused_before_any_work(
    model: LlamaPolicy, make_requests: Callable[..., list]
) -> None:
    seen: list[object] = []
    requests = [*make_requests([3, 4]), SampleRequest(id="long one", prompt_ids=(1,) * 96, seeds=(0,))]
    with pytest.raises(RequestTooLong, match=r"'long one'.*96 tokens.*context 96"):
        Engine(model, eos_ids=[]).sample(requests, ALL, lambda *call: seen.append(call))
    assert seen == []


@pytest.mark.parametrize(
    "request_, chosen, said",
    [
        (SampleRequest(id="q", prompt_ids=(), seeds=(0,)), ALL, "'q': its prompt is empty"),
        (
            SampleRequest(id="q", prompt_ids=(1, 97), seeds=(0,)),
            ALL,
            "'q': token 97 is not in the vocabulary of 97",
        ),
        (SampleRequest(id="q", prompt_ids=(-1,), seeds=(0,)), ALL, "token -1"),
        (SampleRequest(id="q", prompt_ids=(1,), seeds=(0,)), SamplingSettings(stop=("x",)), "without one"),
    ],
)
def test_impossible_requests_are_named(
    request_: SampleRequest, chosen: SamplingSettings, said: str, model: LlamaPolicy
) -> None:
    with pytest.raises(UsageError, match=said):
        Engine(model, eos_ids=[]).sample([request_], chosen)


def test_a_budget_below_one_answer_says_both_sizes(model: LlamaPolicy, make_requests: Callable[..., list]) -> None:
    with pytest.raises(UsageError, match=r"is 1000; one answer of 30 positions needs 12288"):
        Engine(model, eos_ids=[], memory_budget_bytes=1000).sample(make_requests([10]), ALL)


def test_weights_that_are_not_finite_are_reported(
    make_model: Callable[..., LlamaPolicy], make_requests: Callable[..., list]
) -> None:
    model = make_model()
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[3, 3] = float("nan")
    for temperature in (0.0, 1.0):
        with pytest.raises(AlignmentError, match="logits are not finite in answer 0 of request 'r0'"):
            Engine(model, eos_ids=[]).sample(make_requests([4]), SamplingSettings(temperature=temperature))


def test_an_answer_ends_before_a_stop_text(model: LlamaPolicy, make_requests: Callable[..., list]) -> None:
    requests = make_requests([5, 9, 14], answers=3)
    free = Engine(model, eos_ids=[], decode=spell).sample(requests, ALL)
    stops = (spell(free[0][0].token_ids[6:9]), spell(free[1][2].token_ids[3:5]))
    held = Engine(model, eos_ids=[], decode=spell).sample(
        requests, SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=20, stop=stops)
    )
    assert held[0][0].token_ids == free[0][0].token_ids[:6]
    assert held[0][0].log_probs == pytest.approx(free[0][0].log_probs[:6], abs=1e-5)
    assert held[0][0].finish_reason == "stop"
    for own, whole in zip(held, free, strict=True):
        for sample, longer in zip(own, whole, strict=True):
            text = spell(longer.token_ids)
            cuts = [text.find(stop) for stop in stops if stop in text]
            assert spell(sample.token_ids) == text[: min(cuts)] if cuts else sample.token_ids == longer.token_ids


def test_every_sample_brings_its_text(model: LlamaPolicy, make_requests: Callable[..., list]) -> None:
    requests = make_requests([5, 9], answers=4)
    with_end = Engine(model, eos_ids=range(0, 97, 7), decode=spell).sample(requests, ALL)
    assert any(sample.token_ids[-1] % 7 == 0 for own in with_end for sample in own)
    for own in with_end:
        for sample in own:
            ended = sample.finish_reason == "stop"
            assert sample.text == spell(sample.token_ids[:-1] if ended else sample.token_ids)
    assert Engine(model, eos_ids=[]).sample(requests, ALL)[0][0].text is None


def test_slots_grow_to_what_an_answer_may_need_and_no_further() -> None:
    shape = CacheShape(num_layers=1, num_kv_heads=1, head_dim=4, dtype=torch.float32, device=torch.device("cpu"))
    cache = SlotCache(shape, slots=2, capacity=16, most=50)
    sizes = set()
    for position in range(50):
        attend = cache.step(torch.tensor([position, 0]), 1.0)
        key = torch.full((2, 1, 4), float(position))
        attend(0, torch.zeros(2, 1, 4), key, key)
        sizes.add(cache.nbytes)
    assert max(sizes) == 2 * shape.bytes_of(50)
    assert len(sizes) <= 4
    # what was written before a growth is still there: uniform attention over 0 … 49 gives their mean
    out = cache.step(torch.tensor([49, 0]), 1.0)(0, torch.zeros(2, 1, 4), key, key)
    assert out[0, 0, 0].item() == pytest.approx(24.5)


def test_an_empty_stop_text_is_refused() -> None:
    with pytest.raises(ValueError, match="holds an empty text"):
        SamplingSettings(stop=("",))
