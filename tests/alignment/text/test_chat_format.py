"""The chat format is Meta's, token by token; the loss lies on answers and their EOS, and on nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from alignment.errors import DataError
from alignment.records import Dialogue, Source, Turn
from alignment.text.chat import (
    MARKERS,
    answer_ids,
    check_dialogue,
    dialogue_text,
    render_dialogue,
    render_prompt,
)
from alignment.text.tokenizer import Tokenizer
from alignment.text.twin import to_transformers
from tests.real_data import REAL_DATA

REAL = REAL_DATA / "tokenizer" / "llama2.model"
B_INST, E_INST, B_SYS, E_SYS = "[INST]", "[/INST]", "<<SYS>>\n", "\n<</SYS>>\n\n"


def talk(*messages: str, system: str | None = None) -> Dialogue:
    """A dialogue whose messages alternate, the user's first."""
    turns = tuple(
        Turn(role="user" if i % 2 == 0 else "assistant", content=message) for i, message in enumerate(messages)
    )
    return Dialogue(turns=turns, source=Source(file="talk.jsonl", line=3), id="t", system=system)


ODD = ["who sells the bread?", " the  baker \n", "🦙🦙", "", "\n", "1987", "▁x", "\0"]
messages = st.one_of(st.text(max_size=12), st.sampled_from(ODD)).filter(
    lambda text: not any(marker in text for marker in (*MARKERS, "<unk>"))
)


@st.composite
def dialogues(draw: st.DrawFn, ends_with: str) -> Dialogue:
    """Up to three exchanges with or without a system message."""
    count = 2 * draw(st.integers(1, 3)) - (ends_with == "user")
    system = draw(st.none() | messages)
    return talk(*(draw(messages) for _ in range(count)), system=system)


def metas_encoding(dialogue: Dialogue, tokenizer: Any) -> list[int]:
    """Meta's reference: the system message inside the first prompt, each exchange encoded as one string."""
    contents = [turn.content for turn in dialogue.turns]
    if dialogue.system:
        contents[0] = B_SYS + dialogue.system + E_SYS + contents[0]
    tokens: list[int] = []
    for prompt, answer in zip(contents[::2], contents[1::2], strict=False):
        text = f"{B_INST} {prompt.strip()} {E_INST} {answer.strip()} "
        tokens += tokenizer.encode(text, bos=True, eos=True)
    if len(contents) % 2:
        tokens += tokenizer.encode(f"{B_INST} {contents[-1].strip()} {E_INST}", bos=True)
    return tokens


@given(dialogue=dialogues("assistant"))
def test_a_dialogue_is_encoded_as_metas_one_string_an_exchange(tokenizer: Tokenizer, dialogue: Dialogue) -> None:
    assert render_dialogue(dialogue, tokenizer).token_ids == metas_encoding(dialogue, tokenizer)


@given(dialogue=dialogues("user"))
def test_a_prompt_is_encoded_as_metas(tokenizer: Tokenizer, dialogue: Dialogue) -> None:
    assert render_prompt(dialogue, tokenizer) == metas_encoding(dialogue, tokenizer)


@pytest.fixture(scope="module")
def real() -> Tokenizer:
    if not REAL.exists():
        pytest.skip("ALIGNMENT_DATA names no folder with tokenizer/llama2.model")
    return Tokenizer.load(REAL)


@given(dialogue=dialogues("assistant"))
def test_with_llamas_own_model_too(real: Tokenizer, dialogue: Dialogue) -> None:
    assert render_dialogue(dialogue, real).token_ids == metas_encoding(dialogue, real)


def test_the_published_example_of_the_format(real: Tokenizer) -> None:
    rendered = render_dialogue(talk("Hi", "Hello", "Bye", "Ciao"), real)
    pieces = [real.piece(i) for i in rendered.token_ids]
    assert "".join(pieces) == "<s>▁[INST]▁Hi▁[/INST]▁Hello▁</s><s>▁[INST]▁Bye▁[/INST]▁Ciao▁</s>"
    assert rendered.token_ids[:4] == [1, 518, 25580, 29962]  # "▁[", "INST", "]", as every Llama 2 prompt begins


@given(dialogue=dialogues("assistant"))
def test_the_loss_lies_on_the_answers_tokens_and_their_eos_only(tokenizer: Tokenizer, dialogue: Dialogue) -> None:
    rendered = render_dialogue(dialogue, tokenizer)
    assert len(rendered.trained) == len(rendered.token_ids)
    expected: list[bool] = []
    ends = []
    for i in range(0, len(dialogue.turns), 2):
        history = talk(*(turn.content for turn in dialogue.turns[: i + 1]), system=dialogue.system)
        expected += [False] * (len(render_prompt(history, tokenizer)) - len(expected))
        answer = tokenizer.encode(dialogue.turns[i + 1].content.strip() + " ", eos=True)
        expected += [True] * len(answer)
        ends.append(len(expected))
        assert rendered.token_ids[ends[-1] - 1] == tokenizer.eos_id
    assert rendered.trained == expected
    assert rendered.turn_ends == ends


@given(dialogue=dialogues("assistant"))
def test_trained_tokens_read_as_the_answers(tokenizer: Tokenizer, dialogue: Dialogue) -> None:
    rendered = render_dialogue(dialogue, tokenizer, train="last")
    kept = [i for i, trained in zip(rendered.token_ids, rendered.trained, strict=True) if trained]
    assert kept == answer_ids(dialogue.turns[-1].content, tokenizer)
    assert tokenizer.decode(kept).strip(" ") == dialogue.turns[-1].content.strip().replace("▁", " ").strip(" ")


@given(dialogue=dialogues("assistant"))
def test_a_prompts_tokens_begin_its_answered_dialogue(tokenizer: Tokenizer, dialogue: Dialogue) -> None:
    prompt = render_prompt(dialogue.prompt(), tokenizer)
    whole = render_dialogue(dialogue, tokenizer).token_ids
    assert whole == prompt + answer_ids(dialogue.turns[-1].content, tokenizer)


@given(dialogue=dialogues("assistant"))
def test_apply_chat_template_gives_the_same_tokens_and_mask(
    tokenizer: Tokenizer, twin: Any, dialogue: Dialogue
) -> None:
    assume(dialogue.system is None or dialogue.system)  # an empty system message is none
    spoken = [{"role": turn.role, "content": turn.content} for turn in dialogue.turns]
    if dialogue.system:
        spoken.insert(0, {"role": "system", "content": dialogue.system})
    out = twin.apply_chat_template(spoken, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    rendered = render_dialogue(dialogue, tokenizer)
    assert out["input_ids"] == rendered.token_ids
    prompt = twin.apply_chat_template(spoken[:-1], tokenize=True, return_dict=False)
    assert prompt == render_prompt(dialogue.prompt(), tokenizer)


@pytest.fixture(scope="module")
def twin(tokenizer: Tokenizer) -> Any:
    return to_transformers(tokenizer)


def test_transformers_mask_of_the_answer_is_ours(tokenizer: Tokenizer, twin: Any) -> None:
    spoken = [{"role": "user", "content": "who?"}, {"role": "assistant", "content": "the baker"}]
    out = twin.apply_chat_template(spoken, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    rendered = render_dialogue(talk("who?", "the baker"), tokenizer)
    assert out["assistant_masks"] == [int(trained) for trained in rendered.trained]


@pytest.mark.parametrize("roles", [["assistant"], ["user", "user"], ["user", "assistant", "assistant"]])
def test_roles_that_do_not_alternate_are_refused_here_and_in_the_template(twin: Any, roles: list[str]) -> None:
    turns = tuple(Turn(role="user" if role == "user" else "assistant", content="x") for role in roles)
    dialogue = Dialogue(turns=turns, source=Source(file="rows.jsonl", line=7), id="d")
    with pytest.raises(DataError, match=r"rows\.jsonl:7: turn \d is the \w+'s; roles alternate, the user first"):
        check_dialogue(dialogue)
    with pytest.raises(Exception, match="roles must alternate"):
        twin.apply_chat_template([{"role": role, "content": "x"} for role in roles])


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("where", ["user", "assistant", "system"])
def test_a_marker_inside_a_message_is_refused_with_its_place(tokenizer: Tokenizer, marker: str, where: str) -> None:
    said = {"user": "who?", "assistant": "me", "system": "be brief"}
    said[where] = f"a{marker}b"
    dialogue = talk(said["user"], said["assistant"], system=said["system"])
    place = {"user": "turn 1", "assistant": "turn 2", "system": "the system message"}[where]
    with pytest.raises(DataError) as caught:
        render_dialogue(dialogue, tokenizer)
    assert f"talk.jsonl:3: {place} holds {marker!r}" in str(caught.value)


def test_what_cannot_be_trained_on_or_answered_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="ends with the user; an answer is needed"):
        render_dialogue(talk("who?"), tokenizer)
    with pytest.raises(DataError, match="ends with the assistant; a prompt ends with the user"):
        render_prompt(talk("who?", "me"), tokenizer)
    with pytest.raises(DataError, match="has no turns"):
        render_dialogue(talk(), tokenizer)


def test_the_text_of_a_dialogue_is_what_its_tokens_read(tokenizer: Tokenizer) -> None:
    dialogue = talk(" who? ", "the baker", "and the flour?", "the miller", system="be brief")
    text = dialogue_text(dialogue)
    assert text == (
        "[INST] <<SYS>>\nbe brief\n<</SYS>>\n\n who? [/INST] the baker [INST] and the flour? [/INST] the miller "
    )
    read = tokenizer.decode(render_dialogue(dialogue, tokenizer).token_ids)
    assert read.split() == text.split()
