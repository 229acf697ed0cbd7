"""The core called as transformers' own Llama is: each input is obeyed as there, or refused; none is ignored."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from packaging import version
from torch import Tensor
from transformers import DynamicCache, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedModel

from alignment.errors import ArgumentError, UsageError
from alignment.model.attention import plan_attention
from alignment.model.forest import Forest
from alignment.model.llama import LlamaPolicy
from reward.model import LlamaReward
from tests.parity.test_llama_parity import LLAMA3, config, relative, same_weights
from tests.tolerances import FP32

IDS = torch.randint(3, 67, (3, 20), generator=torch.Generator().manual_seed(1))
ROPES: dict[str, dict[str, Any]] = {
    "dynamic": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
    "longrope": {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0 + i / 9 for i in range(4)],
        "long_factor": [4.0 + i for i in range(4)],
        "factor": 4.0,
        "original_max_position_embeddings": 12,
    },
    "yarn": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 12},
    "llama3": LLAMA3,
}


def _mask(side: str) -> Tensor:
    """Rows of 20, 13 and 7 tokens, padded on one side."""
    mask = torch.ones_like(IDS)
    for row, padding in enumerate((0, 7, 13)):
        mask[row, :padding] = 0
    return mask if side == "left" else mask.flip(1)


@pytest.fixture
def pair() -> tuple[LlamaPolicy, LlamaForCausalLM]:
    """The core and its peer with the same weights, grouped heads, in evaluation mode."""
    ours, peer = same_weights({"num_key_value_heads": 2}, torch.float32)
    return ours.eval(), peer.eval()


def _counted(mask: Tensor) -> Tensor:
    """Positions counted from each row's first token, as `generate` gives them."""
    return (mask.cumsum(1) - 1).clamp(min=0)


@pytest.mark.parametrize("use_cache", [True, False], ids=["cached", "as a forest"])
@pytest.mark.parametrize("positions", [True, False], ids=["given", "counted"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_rows(pair: tuple[LlamaPolicy, LlamaForCausalLM], side: str, positions: bool, use_cache: bool) -> None:
    mask = _mask(side)
    given = {"position_ids": _counted(mask)} if positions else {}
    with torch.no_grad():
        ours, peer = (m(IDS, attention_mask=mask, use_cache=use_cache, **given) for m in pair)
    assert (ours.past_key_values is None) == (not use_cache)
    assert relative(ours.logits[mask.bool()], peer.logits[mask.bool()]) < FP32


@pytest.mark.parametrize("side", [None, "left", "right"])
@pytest.mark.parametrize("steps", [(12, 1, 1, 6), (1, 19), (20,)], ids=str)
def test_a_continuation_from_a_cache_is_the_whole_computed_at_once(
    pair: tuple[LlamaPolicy, LlamaForCausalLM], side: str | None, steps: tuple[int, ...]
) -> None:
    mask = None if side is None else _mask(side)
    found: list[list[Tensor]] = []
    with torch.no_grad():
        for model in pair:
            cache, at, logits = None, 0, []
            for step in steps:
                seen = {} if mask is None else {"attention_mask": mask[:, : at + step]}
                out = model(IDS[:, at : at + step], past_key_values=cache, **seen)
                cache, at = out.past_key_values, at + step
                logits.append(out.logits)
            assert cache.get_seq_length() == 20
            found.append(logits)
        whole = pair[0](IDS, attention_mask=mask, use_cache=False).logits
    ours, peer = (torch.cat(logits, 1) for logits in found)
    real = torch.ones_like(IDS, dtype=torch.bool) if mask is None else mask.bool()
    assert relative(ours[real], peer[real]) < FP32
    assert relative(ours[real], whole[real]) < FP32


@pytest.mark.parametrize("broadcast", [True, False])
def test_positions_that_begin_anew_begin_a_new_document(
    pair: tuple[LlamaPolicy, LlamaForCausalLM], broadcast: bool
) -> None:
    positions = torch.cat([torch.arange(8), torch.arange(3, 10), torch.arange(5)])[None]
    given = positions if broadcast else positions.expand(3, -1)
    with torch.no_grad():
        ours, peer = (m(IDS, position_ids=given, use_cache=False).logits for m in pair)
        default = pair[0](IDS, position_ids=given).logits
        alone = pair[0](IDS[:, 8:15], use_cache=False).logits
    assert relative(ours, peer) < FP32
    assert relative(default, peer) < FP32
    assert relative(ours[:, 8:15], alone) < FP32


def test_positions_beside_a_mask_only_turn_the_heads(pair: tuple[LlamaPolicy, LlamaForCausalLM]) -> None:
    positions = torch.arange(20)[None] * 3 + 5  # no document begins where a mask says what belongs together
    mask = _mask("right")
    with torch.no_grad():
        ours, peer = (m(IDS, attention_mask=mask, position_ids=positions, use_cache=False).logits for m in pair)
    assert relative(ours[mask.bool()], peer[mask.bool()]) < FP32


def test_positions_that_go_back_begin_a_new_document_beside_a_mask_too(
    pair: tuple[LlamaPolicy, LlamaForCausalLM],
) -> None:
    mask = _mask("left")
    positions = _counted(mask)
    positions[:, 15:] = torch.arange(5)  # row 2 has two tokens before them, at 0 and 1
    with torch.no_grad():
        packed = pair[0](IDS, attention_mask=mask, position_ids=positions).logits
        first = pair[1](IDS[:, :15], attention_mask=mask[:, :15], position_ids=positions[:, :15]).logits
        second = pair[1](IDS[:, 15:]).logits
    assert relative(packed[:, :15][mask[:, :15].bool()], first[mask[:, :15].bool()]) < FP32
    assert relative(packed[:, 15:], second) < FP32


@pytest.mark.parametrize("use_cache", [None, True, False])
def test_positions_that_skip_ahead_are_read_as_transformers_reads_them(
    pair: tuple[LlamaPolicy, LlamaForCausalLM], use_cache: bool | None
) -> None:
    positions = torch.cat([torch.arange(8), torch.arange(12) + 11])[None]
    with torch.no_grad():
        ours, peer = (m(IDS, position_ids=positions, use_cache=use_cache).logits for m in pair)
    assert relative(ours, peer) < FP32


@pytest.mark.parametrize("side", ["left", "right"])
def test_labels_at_padded_places_count_as_in_transformers(
    pair: tuple[LlamaPolicy, LlamaForCausalLM], side: str
) -> None:
    mask = _mask(side)
    for checkpointed in (False, True):
        losses, grads = [], []
        for model in pair:
            model.train().zero_grad()
            if checkpointed:
                model.gradient_checkpointing_enable()
            losses.append(model(IDS, attention_mask=mask, labels=IDS, use_cache=False).loss)
            losses[-1].backward()
            grads.append(model.model.layers[0].self_attn.k_proj.weight.grad)
        assert relative(losses[0], losses[1]) < FP32
        assert relative(grads[0], grads[1]) < FP32


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("shape", [(0, 5), (3, 0)], ids=str)
def test_a_batch_without_tokens_has_no_logits(
    pair: tuple[LlamaPolicy, LlamaForCausalLM], shape: tuple[int, int], use_cache: bool
) -> None:
    ids = torch.zeros(shape, dtype=torch.long)
    assert pair[0](ids, use_cache=use_cache).logits.shape == (*shape, 67)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_items_in_batch": 7},
        {"num_items_in_batch": torch.tensor(11)},
        {"ignore_index": 5},
        {"shift_labels": IDS.roll(-2, 1).masked_fill(_mask("right") == 0, -100)},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_the_loss_of_labels_and_its_gradients(
    pair: tuple[LlamaPolicy, LlamaForCausalLM], options: dict[str, Any]
) -> None:
    mask = _mask("right")
    labels = IDS.masked_fill(mask == 0, options.get("ignore_index", -100))
    labels[0, :6] = options.get("ignore_index", -100)
    losses = []
    for model in pair:
        out = model.train()(IDS, attention_mask=mask, labels=labels, **options)
        out.loss.backward()
        losses.append(out.loss)
    assert relative(losses[0], losses[1]) < FP32
    theirs = dict(pair[1].named_parameters())
    for name, parameter in pair[0].named_parameters():
        assert relative(parameter.grad, theirs[name].grad) < FP32, name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "keep",
    [
        0,
        1,
        4,
        torch.tensor([0, 3, 19]),
        torch.tensor([[0, 3], [1, 2], [19, 5]]),
        torch.rand(3, 20, generator=torch.Generator().manual_seed(0)) > 0.5,
    ],
    ids=["all", "last", "four", "named", "named by row", "true"],
)
def test_the_places_whose_logits_are_kept(pair: tuple[LlamaPolicy, LlamaForCausalLM], keep: int | Tensor) -> None:
    if isinstance(keep, Tensor) and keep.ndim == 2 and version.parse(transformers.__version__) < version.parse("5.20"):
        pytest.skip("transformers before 5.20 keeps the same places of every row")
    with torch.no_grad():
        ours, peer = (m(IDS, logits_to_keep=keep).logits for m in pair)
    assert ours.shape == peer.shape
    assert relative(ours, peer) < FP32


@pytest.mark.parametrize("use_cache", [True, False])
def test_embeddings_in_place_of_tokens(pair: tuple[LlamaPolicy, LlamaForCausalLM], use_cache: bool) -> None:
    given = torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(2))
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, :4] = 0
    with torch.no_grad():
        ours, peer = (m(inputs_embeds=given, attention_mask=mask, use_cache=use_cache).logits for m in pair)
    assert relative(ours[mask.bool()], peer[mask.bool()]) < FP32


@pytest.mark.parametrize("use_cache", [True, False])
def test_hidden_states_of_every_layer(pair: tuple[LlamaPolicy, LlamaForCausalLM], use_cache: bool) -> None:
    mask = _mask("left")
    with torch.no_grad():
        ours, peer = (
            m(IDS, attention_mask=mask, use_cache=use_cache, output_hidden_states=True).hidden_states for m in pair
        )
    assert len(ours) == len(peer) == 3
    for a, b in zip(ours, peer, strict=True):
        assert relative(a[mask.bool()], b[mask.bool()]) < FP32


def test_a_tuple_where_no_named_output_is_wanted(pair: tuple[LlamaPolicy, LlamaForCausalLM]) -> None:
    with torch.no_grad():
        ours, peer = (m(IDS, labels=IDS, use_cache=False, return_dict=False) for m in pair)
        body = pair[0].model(IDS, use_cache=False, return_dict=False)
    assert [type(out) for out in (ours, peer, body)] == [tuple] * 3
    assert [len(out) for out in (ours, peer, body)] == [2, 2, 1]
    for a, b in zip(ours, peer, strict=True):
        assert relative(a, b) < FP32


@pytest.mark.parametrize("kind", ["booleans", "numbers to add"])
def test_a_mask_of_four_dimensions(pair: tuple[LlamaPolicy, LlamaForCausalLM], kind: str) -> None:
    sees = torch.ones(3, 1, 20, 20, dtype=torch.bool).tril()
    sees[:, :, 10:, 2:6] = False  # what no other input can say
    mask = sees if kind == "booleans" else torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)
    with torch.no_grad():
        ours, peer = (m(IDS, attention_mask=mask).logits for m in pair)
        plain = pair[0](IDS).logits
    assert relative(ours, peer) < FP32
    assert relative(ours, plain) > 100 * FP32


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("length", [9, 20], ids=["within", "beyond the original length"])
@pytest.mark.parametrize("rope", ROPES)
def test_rotary_scalings_on_either_side_of_the_original_length(rope: str, length: int, use_cache: bool) -> None:
    ours, peer = same_weights({"rope_parameters": ROPES[rope], "max_position_embeddings": 12}, torch.float32)
    with torch.no_grad():
        a, b = (m.eval()(IDS[:, :length], use_cache=use_cache).logits for m in (ours, peer))
    assert relative(a, b) < FP32


def test_checkpointed_layers_train_to_the_same_gradients(pair: tuple[LlamaPolicy, LlamaForCausalLM]) -> None:
    ours, _ = pair
    grads = []
    for checkpointed in (False, True):
        ours.train().zero_grad()
        if checkpointed:
            ours.gradient_checkpointing_enable()
        ours(IDS, labels=IDS).loss.backward()
        grads.append(ours.model.layers[0].self_attn.q_proj.weight.grad.clone())
    assert torch.equal(*grads)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "attentions": ({"output_attentions": True}, "load the folder as transformers' LlamaForCausalLM"),
    "unknown": ({"cu_seq_lens_q": torch.zeros(1), "nothing": None}, "does not know cu_seq_lens_q"),
    "both": ({"inputs_embeds": torch.zeros(3, 20, 32)}, "exactly one of input_ids and inputs_embeds"),
    "neither": ({"input_ids": None}, "exactly one of input_ids and inputs_embeds"),
    "one row without its dimension": ({"input_ids": IDS[0]}, r"rows are \(20,\)"),
    "a mask too short": ({"attention_mask": torch.ones(3, 19)}, "covers 19 tokens; 0 are cached and 20 are new"),
    "the same, as a forest": ({"attention_mask": torch.ones(3, 19), "use_cache": False}, r"is \(3, 19\)"),
    "positions too short": ({"position_ids": torch.arange(19)[None]}, r"position_ids are \(1, 19\)"),
    "packed rows with a cache": (
        {"position_ids": torch.arange(20)[None] % 7, "use_cache": True},
        "packed documents cannot be continued",
    ),
    "a mask of three dimensions": ({"attention_mask": torch.ones(3, 20, 20)}, "attention_mask is of 3 dimensions"),
    "a mask by kinds of layers": ({"attention_mask": {"full_attention": None}}, "attention_mask is a dict"),
    "another batch's mask": ({"attention_mask": torch.ones(2, 20)}, r"attention_mask is \(2, 20\)"),
    "a 4-D mask of another length": (
        {"attention_mask": torch.ones(3, 1, 19, 19, dtype=torch.bool)},
        "its last two must be 20 new tokens and 20 keys",
    ),
    "packed rows after a cache's": (
        {"position_ids": torch.arange(20)[None] % 7, "past_key_values": DynamicCache()},
        "packed documents cannot be continued",
    ),
    "a cache as tuples": ({"past_key_values": ((IDS, IDS),)}, "past_key_values is a tuple"),
    "integers as a 4-D mask": ({"attention_mask": torch.ones(3, 1, 20, 20, dtype=torch.long)}, "holds torch.int64"),
    "some hidden states": ({"output_hidden_states": [1]}, "True gives the states of every layer"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_obeyed_is_refused(pair: tuple[LlamaPolicy, LlamaForCausalLM], what: str) -> None:
    inputs, reason = REFUSED[what]
    with pytest.raises(ArgumentError, match=reason):
        pair[0](**{"input_ids": IDS, **inputs})


@pytest.mark.parametrize("part", ["policy", "body", "reward"])
def test_an_unknown_keyword_is_refused_by_every_class_as_python_refuses_it(
    pair: tuple[LlamaPolicy, LlamaForCausalLM], part: str
) -> None:
    model = {"policy": pair[0], "body": pair[0].model, "reward": LlamaReward(config())}[part]
    for error in (TypeError, ValueError, UsageError):
        with pytest.raises(error, match="does not know token_type_ids"):
            model(IDS, token_type_ids=torch.zeros_like(IDS))


def test_a_mask_that_leaves_out_what_is_cached_is_refused(pair: tuple[LlamaPolicy, LlamaForCausalLM]) -> None:
    cache = pair[0](IDS[:, :12]).past_key_values
    with pytest.raises(UsageError, match="covers 8 tokens; 12 are cached and 8 are new"):
        pair[0](IDS[:, 12:], past_key_values=cache, attention_mask=torch.ones(3, 8))


def test_a_cache_is_not_filled_twice_by_checkpointed_layers(pair: tuple[LlamaPolicy, LlamaForCausalLM]) -> None:
    ours = pair[0].train()
    ours.gradient_checkpointing_enable()
    assert ours(IDS).past_key_values is None
    for inputs in ({"use_cache": True}, {"past_key_values": DynamicCache(config=ours.config)}):
        with pytest.raises(UsageError, match="runs every layer twice"):
            ours(IDS, **inputs)
    with torch.no_grad():
        assert ours(IDS, use_cache=True).past_key_values.get_seq_length() == 20


@pytest.mark.parametrize(
    "inputs",
    [{"attention_mask": torch.ones(1, 20)}, {"use_cache": True}, {"labels": IDS[:1]}],
    ids=lambda inputs: next(iter(inputs)),
)
def test_a_forest_says_itself_who_attends_to_whom(
    pair: tuple[LlamaPolicy, LlamaForCausalLM], inputs: dict[str, Any]
) -> None:
    plan = plan_attention(Forest.roots([12, 8]))
    with pytest.raises(UsageError, match="forest"):
        pair[0](IDS[:1], forest_plan=plan, **inputs)


def test_a_forest_of_another_length_is_refused(pair: tuple[LlamaPolicy, LlamaForCausalLM]) -> None:
    with pytest.raises(ArgumentError, match=r"one row of 19 tokens, the input is \(1, 20\)"):
        pair[0](IDS[:1], forest_plan=plan_attention(Forest.roots([12, 7])))


def test_a_forest_through_the_forward_is_the_cores_own_to_the_bit(pair: tuple[LlamaPolicy, LlamaForCausalLM]) -> None:
    plan, body = plan_attention(Forest((8, 7, 5), (-1, 0, 0))), pair[0].model
    grads = []
    for call in (
        lambda: body.flat(IDS[0], plan),
        lambda: body(input_ids=IDS[:1], position_ids=plan.positions[None], forest_plan=plan).last_hidden_state[0],
    ):
        body.zero_grad()
        hidden = call()
        hidden.square().sum().backward()
        grads.append([hidden, *(parameter.grad.clone() for parameter in body.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_a_forest_gives_the_hidden_states_of_its_documents(pair: tuple[LlamaPolicy, LlamaForCausalLM]) -> None:
    plan = plan_attention(Forest.roots([12, 8]))
    with torch.no_grad():
        flat = pair[0](IDS[:1], forest_plan=plan, output_hidden_states=True).hidden_states
        alone = pair[1](IDS[:1, 12:], output_hidden_states=True).hidden_states
    for a, b in zip(flat, alone, strict=True):
        assert relative(a[:, 12:], b) < FP32


@pytest.fixture
def judges() -> tuple[LlamaReward, LlamaForSequenceClassification]:
    """A reward model and transformers' classifier with the same weights."""
    torch.manual_seed(0)
    ours = LlamaReward(config(pad_token_id=0, num_key_value_heads=2, initializer_range=0.3))
    peer = LlamaForSequenceClassification(ours.config)
    peer.load_state_dict(ours.state_dict())
    return ours.eval(), peer.eval()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("masked", [True, False])
def test_a_reward_model_scores_padded_rows_at_their_last_token(
    judges: tuple[LlamaReward, LlamaForSequenceClassification], side: str, masked: bool
) -> None:
    mask = _mask(side)
    ids = IDS.masked_fill(mask == 0, 0)
    given = {"attention_mask": mask} if masked else {}
    with torch.no_grad():
        ours, peer = (m(ids, **given).logits for m in judges)
    assert ours.shape == (3, 1)
    if masked or side == "right":  # padding on the left without a mask is attended to, there as here
        assert relative(ours, peer) < FP32
        alone = judges[0](IDS[2:, 13:] if side == "left" else IDS[2:, :7]).logits
        assert relative(ours[2:], alone) < FP32


@pytest.mark.parametrize("problem", [None, "multi_label_classification"])
def test_a_reward_models_loss_of_labels(
    judges: tuple[LlamaReward, LlamaForSequenceClassification], problem: str | None
) -> None:
    labels = torch.tensor([1.0, 0.0, 1.0])
    labels = labels if problem is None else labels[:, None]
    losses = []
    for model in judges:
        model.config.problem_type = problem
        losses.append(model(IDS, labels=labels).loss)
    assert relative(losses[0], losses[1]) < FP32


def test_a_choice_among_classes_is_no_reward_models(
    judges: tuple[LlamaReward, LlamaForSequenceClassification],
) -> None:
    judges[0].config.problem_type = "single_label_classification"
    with pytest.raises(UsageError, match="a scalar head has no classes"):
        judges[0](IDS, labels=torch.tensor([0, 0, 0]))


def test_both_are_transformers_models(pair: tuple[LlamaPolicy, LlamaForCausalLM]) -> None:
    assert isinstance(pair[0], PreTrainedModel)
    assert type(pair[0]).can_generate()
