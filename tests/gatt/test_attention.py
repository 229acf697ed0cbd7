"""Attention on the instruction: the weights are transformers' own, and each part of a dialogue gets what is its own."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaForCausalLM

from alignment.errors import ArgumentError
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.text.chat import render_dialogue
from gatt.attention import attention_weights, instruction_attention, strongest_attention, system_tokens

HELD = Dialogue.of("who sells bread?", "the baker.", "and flour?", "the miller.", system="answer in one short sentence")


def test_the_weights_are_those_of_transformers_eager_attention(policy: Policy) -> None:
    theirs = LlamaForCausalLM(policy.model.config)
    theirs.load_state_dict(policy.model.state_dict())
    theirs.set_attn_implementation("eager")
    ids = torch.tensor(render_dialogue(HELD, policy.tokenizer).token_ids)
    with torch.no_grad():
        wanted = torch.cat(theirs.eval()(ids[None], output_attentions=True).attentions)
    found = attention_weights(policy.model, ids)
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(strongest_attention(policy.model, ids), wanted.amax((0, 1)), rtol=1e-5, atol=1e-6)


def test_the_system_messages_own_tokens_are_found(policy: Policy) -> None:
    ids = render_dialogue(HELD, policy.tokenizer).token_ids
    start, end = system_tokens(HELD, policy.tokenizer)
    text = policy.tokenizer.decode(ids[start:end])
    assert "short sentence" in text
    assert not {"SYS", "INST", "who"} & set(text.replace("<<", " ").replace(">>", " ").split())
    with pytest.raises(ArgumentError, match="no system message"):
        system_tokens(Dialogue.of("who sells bread?", "the baker."), policy.tokenizer)


def test_a_turn_looks_at_what_came_before_it_and_at_itself_alone(policy: Policy) -> None:
    short = Dialogue.of("who?", "the baker.", system="answer in one short sentence")
    found = instruction_attention(policy, [HELD, short])
    assert found.dialogues == 2
    assert [len(row) for row in found.by_part] == [3, 3]
    first, second = found.by_part
    assert found.by_turn == (first[0], second[0])
    assert first[2] == 0.0
    assert all(0.0 < value < 1.0 for value in (*first[:2], *second))
    alone = instruction_attention(policy, [HELD])
    assert alone.by_part[1] == second  # the second dialogue has no second turn
    assert alone.by_part[0] != first


def test_a_layer_without_queries_looks_evenly_at_all_that_came_before(policy: Policy) -> None:
    ids = torch.tensor(render_dialogue(HELD, policy.tokenizer).token_ids)
    with torch.no_grad():
        policy.model.model.layers[0].self_attn.q_proj.weight.zero_()
    even = attention_weights(policy.model, ids)[0, 0]
    assert even[-1].tolist() == pytest.approx([1 / len(ids)] * len(ids))
    assert even[1].tolist() == pytest.approx([0.5, 0.5, *[0.0] * (len(ids) - 2)])
