"""A forest gives what its sequences give one by one: outputs, loss and every gradient, in float64 (R18)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import LlamaConfig, MistralConfig, MistralForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from alignment.model import block_attention
from alignment.model.attention import Backend, forest_attention, plan_attention, register_forest_attention
from alignment.model.flex_attention import subtree_spans
from alignment.model.forest import Forest
from alignment.model.llama import LlamaPolicy
from alignment.model.log_probs import head_weight, hidden_states
from alignment.train.compute import resolve_compute
from alignment.train.settings import ComputeSettings
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
    return bool((a.detach() - b.detach()).abs().max() <= tolerance * max(float(b.detach().abs().max()), 1e-2))


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
    backends: tuple[Backend, ...] = ("blocks", "sdpa", "dense")
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


@pytest.mark.slow
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


@pytest.mark.slow
@settings(max_examples=200)
@given(forest=forests())
def test_another_architecture_on_any_forest_equals_its_sequences_one_by_one(
    foreign: PreTrainedModel, forest: Forest
) -> None:
    _compare(foreign, forest, lambda ids: foreign.model(input_ids=ids[None], use_cache=False).last_hidden_state[0])


@pytest.mark.slow
@settings(max_examples=100)
@given(forest=forests())
def test_flex_sees_what_the_definition_sees(forest: Forest) -> None:
    """Its fused kernels and its backward pass are CUDA's; here its mask and its plain formula."""
    draw = torch.Generator().manual_seed(forest.num_tokens)
    q, k, v = (torch.randn(forest.num_tokens, heads, 8, generator=draw, dtype=torch.float64) for heads in (4, 2, 2))
    found, defined = (forest_attention(q, k, v, plan_attention(forest, backend=name)) for name in ("flex", "dense"))
    assert _close(found, defined, FP64_SAME_CODE)
    first, last = subtree_spans(forest)
    for segment, ancestors in enumerate(forest.ancestors):
        inside = [other for other in range(len(first)) if first[other] <= first[segment] < last[other]]
        assert sorted((*ancestors, segment)) == inside


def test_a_preferred_backend_is_used_by_plans_that_name_none() -> None:
    forest = Forest((3, 2), (-1, 0))
    assert plan_attention(forest).backend == "blocks"
    resolve_compute(ComputeSettings(attention="sdpa"))
    assert plan_attention(forest).backend == "sdpa"
    assert plan_attention(forest, backend="dense").backend == "dense"
    resolve_compute(ComputeSettings())
    assert plan_attention(forest).backend == "blocks"


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
    lengths = (*range(1, 41), *range(70, 300, 7))
    forest = Forest((50, *lengths), (-1, *(0,) * len(lengths)))
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(forest.num_tokens, heads, 8, generator=draw) for heads in (4, 2, 2))
    grouped, dense = plan_attention(forest), plan_attention(forest, backend="dense")
    assert _close(forest_attention(q, k, v, grouped), forest_attention(q, k, v, dense), FP32_SAME_CODE)
    shapes = sorted(group.own.shape for group in grouped.groups[1:])  # without the root
    assert shapes[-1] == (40, 40)  # the short ones go together, however unlike
    long = [rows * longest for rows, longest in shapes[:-1]]
    assert 3 <= len(long) <= 10
    assert sum(long) < sum(range(70, 300, 7)) / 0.75


def test_the_scale_is_used_on_every_backend() -> None:
    forest = Forest((3, 2), (-1, 0))
    q, k, v = (torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(i)) for i in range(3))
    for backend in ("blocks", "sdpa", "flex", "dense"):
        plan = plan_attention(forest, backend=backend)
        default, given_scale = forest_attention(q, k, v, plan), forest_attention(q, k, v, plan, 0.5)
        assert torch.allclose(default, given_scale, atol=FP32_SAME_CODE)  # 0.5 = 1 / sqrt(4)
        assert not torch.allclose(default, forest_attention(q, k, v, plan, 2.0), atol=0.01)


def test_bf16_on_the_cpu_keeps_its_dtype_and_errs_no_more_than_the_fused_kernel() -> None:
    forest = Forest((300, 40, 60, 200), (-1, 0, 0, -1))
    draw = torch.Generator().manual_seed(0)
    exact = [torch.randn(600, heads, 48, generator=draw).bfloat16() for heads in (6, 2, 2)]
    grad = torch.randn(600, 6, 48, generator=draw).bfloat16()

    def run(backend: Backend, dtype: torch.dtype) -> list[Tensor]:
        q, k, v = (x.detach().to(dtype).requires_grad_() for x in exact)
        out = forest_attention(q, k, v, plan_attention(forest, backend=backend))
        assert out.dtype == dtype
        return [out, *torch.autograd.grad(out, (q, k, v), grad.to(dtype))]

    reference = run("dense", torch.float64)

    def errors(backend: Backend) -> list[float]:
        found = run(backend, torch.bfloat16)
        return [
            float((a.detach().double() - b.detach()).norm() / b.detach().norm())
            for a, b in zip(found, reference, strict=True)
        ]

    ours = errors("blocks")
    try:
        fused = errors("sdpa")
    except RuntimeError as error:  # ATEN_CPU_CAPABILITY=avx2 on a processor with AMX
        pytest.skip(f"torch's own fused kernel fails with the kernels that are forced: {error}")
    assert all(mine <= 2.5 * theirs for mine, theirs in zip(ours, fused, strict=True))


def test_many_blocks_with_recomputed_weights_agree_with_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_attention, "_BLOCK", 3)
    monkeypatch.setattr(block_attention, "_KEPT_LENGTH", 8)
    forest = Forest((9, 7, 11, 2, 5, 13, 12, 8), (-1, 0, 0, 2, 1, -1, -1, 6))  # prefixes of 12 and 16 in one group
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(67, heads, 8, generator=draw, dtype=torch.float64).requires_grad_() for heads in (4, 2, 2))
    grad = torch.randn(67, 4, 8, generator=draw, dtype=torch.float64)
    found = []
    for backend in ("blocks", "dense"):
        out = forest_attention(q, k, v, plan_attention(forest, backend=backend))
        found.append((out, *torch.autograd.grad(out, (q, k, v), grad)))
    assert all(_close(a, b, FP64_SAME_CODE) for a, b in zip(*found, strict=True))


def test_the_gradients_of_a_block_equal_numerical_ones() -> None:
    draw = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(2, rows, 3, generator=draw, dtype=torch.float64).requires_grad_() for rows in (6, 5, 5)
    )
    hidden = torch.tensor([[False, True], [False, False]])
    assert torch.autograd.gradcheck(
        lambda q, k, v: block_attention.block_attention(q, k, v, group=2, hidden=hidden), (query, key, value)
    )


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
