"""A forest gives what its sequences give one by one: outputs, loss and every gradient, in float64 (R18)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import LlamaConfig, MistralConfig, MistralForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from alignment.model.attention import Backend, forest_attention, plan_attention, register_forest_attention
from alignment.model.forest import Forest
from alignment.model.llama import LlamaPolicy
from alignment.text.policy import head_weight, hidden_states
from tests.tolerances import FP32_SAME_CODE, FP64_SAME_CODE

VOCAB = 23
_SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


@st.composite
def forests(draw: st.DrawFn) -> Forest:
    """Up to 12 segments, up to 4 deep, lengths 0 to 6 with empty and one-token segments often."""
    size = draw(st.integers(1, 12))
    depth: list[int] = []
    parents: list[int] = []
    for i in range(size):
        possible = [-1, *(j for j in range(i) if depth[j] < 4)]
        parents.append(draw(st.sampled_from(possible)))
        depth.append(1 if parents[-1] < 0 else depth[parents[-1]] + 1)
    lengths = draw(st.lists(st.sampled_from([0, 0, 1, 1, 2, 3, 4, 6]), min_size=size, max_size=size))
    return Forest(tuple(lengths), tuple(parents))


def _random(model: PreTrainedModel) -> PreTrainedModel:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4 + (parameter.ndim < 2))
    return model


@pytest.fixture(scope="module")
def core() -> PreTrainedModel:
    return _random(LlamaPolicy(LlamaConfig(**_SHAPE)).double())


def _run(model: nn.Module, hidden: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, list[Tensor]]:
    """A loss that looks at every hidden state, weighted apart, and its gradients."""
    model.zero_grad(set_to_none=True)
    logits = hidden @ head_weight(model).t()
    loss = (nn.functional.cross_entropy(logits, targets, reduction="none") * weight).sum()
    loss.backward()
    grads = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]
    return loss.detach(), grads


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Relative to the largest value; gradients that are zero but for rounding are compared with 1e-2."""
    if not a.numel():
        return b.numel() == 0
    return bool((a - b).abs().max() <= tolerance * max(float(b.abs().max()), 1e-2))


def _inputs(forest: Forest) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(forest.num_tokens)
    ids = torch.randint(0, VOCAB, (forest.num_tokens,), generator=draw)
    targets = torch.randint(0, VOCAB, (forest.num_tokens,), generator=draw)
    return ids, targets, torch.rand(forest.num_tokens, generator=draw, dtype=torch.float64)


def _one_by_one(model: PreTrainedModel, forest: Forest, call: Callable[[Tensor], Tensor], ids: Tensor) -> Tensor:
    """Each segment's whole path run alone; only the segment's own hidden states are kept."""
    kept = []
    for segment, length in enumerate(forest.lengths):
        if length:
            kept.append(call(ids[torch.from_numpy(forest.path(segment))])[-length:])
    return torch.cat(kept)


def _compare(model: PreTrainedModel, forest: Forest, alone: Callable[[Tensor], Tensor]) -> None:
    ids, targets, weight = _inputs(forest)
    if not forest.num_tokens:
        if isinstance(model, LlamaPolicy):  # transformers' own models cannot run no tokens at all
            assert hidden_states(model, ids, plan_attention(forest)).shape == (0, model.config.hidden_size)
        return
    results = []
    backends: tuple[Backend, ...] = ("grouped", "dense")
    for backend in backends:
        hidden = hidden_states(model, ids, plan_attention(forest, backend=backend))
        results.append((hidden.detach(), *_run(model, hidden, targets, weight)))
    hidden = _one_by_one(model, forest, alone, ids)
    results.append((hidden.detach(), *_run(model, hidden, targets, weight)))
    reference = results[-1]
    for out, loss, grads in results[:-1]:
        assert _close(out, reference[0], FP64_SAME_CODE)
        assert _close(loss, reference[1], FP64_SAME_CODE)
        assert all(_close(a, b, FP64_SAME_CODE) for a, b in zip(grads, reference[2], strict=True))


@settings(max_examples=200)
@given(forest=forests())
def test_the_core_on_any_forest_equals_its_sequences_one_by_one(core: PreTrainedModel, forest: Forest) -> None:
    _compare(core, forest, lambda ids: core.model(input_ids=ids[None]).last_hidden_state[0])


@pytest.fixture(scope="module", params=["qwen2", "mistral"])
def foreign(request: pytest.FixtureRequest) -> PreTrainedModel:
    """A transformers model of another architecture with the forest attention registered, kept in float64."""
    name = register_forest_attention()
    if request.param == "qwen2":
        model: PreTrainedModel = Qwen2ForCausalLM(Qwen2Config(**_SHAPE, attn_implementation=name))
    else:
        model = MistralForCausalLM(MistralConfig(**_SHAPE, head_dim=4, attn_implementation=name))
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):  # theirs casts to float32, which would hide the comparison
            eps = module.variance_epsilon
            module.forward = lambda x, m=module, e=eps: m.weight * (x * torch.rsqrt(x.square().mean(-1, True) + e))
    return _random(model.double())


@settings(max_examples=200)
@given(forest=forests())
def test_another_architecture_on_any_forest_equals_its_sequences_one_by_one(
    foreign: PreTrainedModel, forest: Forest
) -> None:
    _compare(foreign, forest, lambda ids: foreign.model(input_ids=ids[None], use_cache=False).last_hidden_state[0])


def test_another_architecture_without_a_plan_attends_as_transformers_does(foreign: PreTrainedModel) -> None:
    ids = torch.arange(12)[None] % VOCAB
    with torch.no_grad():
        ours = foreign(input_ids=ids).logits
        foreign.set_attn_implementation("sdpa")
        theirs = foreign(input_ids=ids).logits
        foreign.set_attn_implementation("forest")
    assert _close(ours, theirs, FP64_SAME_CODE)


def test_a_tokens_output_does_not_depend_on_siblings_or_other_trees(core: PreTrainedModel) -> None:
    forest = Forest((4, 3, 3, 5), (-1, 0, 0, -1))
    ids = torch.arange(15) % VOCAB
    changed = ids.clone()
    changed[7:] = (changed[7:] + 5) % VOCAB  # the second answer and the other tree
    plan = plan_attention(forest)
    with torch.no_grad():
        assert torch.equal(hidden_states(core, ids, plan)[:7], hidden_states(core, changed, plan)[:7])


def test_many_siblings_of_unlike_lengths_share_few_groups_and_agree_with_dense() -> None:
    forest = Forest((50, *range(1, 41)), (-1, *(0,) * 40))
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(forest.num_tokens, heads, 8, generator=draw) for heads in (4, 2, 2))
    grouped, dense = plan_attention(forest), plan_attention(forest, backend="dense")
    assert 1 < len(grouped.groups) < 20
    assert _close(forest_attention(q, k, v, grouped), forest_attention(q, k, v, dense), FP32_SAME_CODE)
    padded = sum(group.own.numel() for group in grouped.groups)
    assert padded < forest.num_tokens / 0.75


def test_the_scale_is_used_on_both_backends() -> None:
    forest = Forest((3, 2), (-1, 0))
    q, k, v = (torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(i)) for i in range(3))
    for backend in ("grouped", "dense"):
        plan = plan_attention(forest, backend=backend)
        default, given_scale = forest_attention(q, k, v, plan), forest_attention(q, k, v, plan, 0.5)
        assert torch.allclose(default, given_scale, atol=FP32_SAME_CODE)  # 0.5 = 1 / sqrt(4)
        assert not torch.allclose(default, forest_attention(q, k, v, plan, 2.0), atol=0.01)


def test_bf16_on_the_cpu_keeps_its_dtype_and_its_value() -> None:
    forest = Forest((6, 3), (-1, 0))
    q, k, v = (torch.randn(9, 2, 8, generator=torch.Generator().manual_seed(i)).bfloat16() for i in range(3))
    plan = plan_attention(forest)
    out = forest_attention(q, k, v, plan)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, forest_attention(q.float(), k.float(), v.float(), plan).bfloat16())


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_gives_equal_gradients(reentrant: bool) -> None:
    model = _random(LlamaPolicy(LlamaConfig(**_SHAPE)).double()).train()
    forest = Forest((5, 3, 2, 4), (-1, 0, 0, -1))
    ids, targets, weight = _inputs(forest)
    calls = [0]
    model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    plain = _run(model, hidden_states(model, ids, plan_attention(forest)), targets, weight)
    assert calls == [1]
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    recomputed = _run(model, hidden_states(model, ids, plan_attention(forest)), targets, weight)
    assert calls == [3]  # forward, and again in the backward pass
    assert torch.equal(plain[0], recomputed[0])
    assert all(torch.equal(a, b) for a, b in zip(plain[1], recomputed[1], strict=True))
