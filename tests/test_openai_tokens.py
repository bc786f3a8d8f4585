"""Events as servers write them, and as nobody should."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from remote import write_prompt_files

from model.openai_tokens import Event, MalformedError, TokenReader
from model.tokenizer import CodeTokenizer


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> TokenReader:
    files = write_prompt_files(tmp_path_factory.mktemp("tiny"))
    return TokenReader(CodeTokenizer.from_file(files / "tokenizer.json"))


def read(reader: TokenReader, **choice: Any) -> Event:
    return reader.read({"choices": [{"text": "", **choice}]})


def test_vllms_ids(reader: TokenReader) -> None:
    """Recorded from vLLM 0.32.0, shortened: two tokens in one event."""
    event = read(
        reader,
        text=" return a",
        logprobs={
            "text_offset": [0, 12],
            "token_logprobs": [-0.25, -0.02],
            "tokens": ["token_id:470", "token_id:264"],
            "top_logprobs": [
                {"token_id:301": -3.0, "token_id:470": -0.25},
                {"token_id:264": -0.02},
            ],
        },
        finish_reason="length",
    )
    assert event.has_ids
    assert event.finish_reason == "length"
    assert [one.token_id for one in event.tokens] == [470, 264]
    assert event.tokens[0].top == ((470, -0.25), (301, -3.0))


def test_llama_cpps_content(reader: TokenReader) -> None:
    """As llama-server writes it: the text is the event's, ids stand beside it."""
    event = read(
        reader,
        text="😀",
        logprobs={
            "content": [
                {
                    "id": 222,
                    "token": "",
                    "bytes": [128],
                    "logprob": -0.5,
                    "top_logprobs": [{"id": 7, "token": "x", "logprob": -0.5}],
                }
            ]
        },
    )
    [token] = event.tokens
    assert (token.text, token.token_id, token.logprob) == ("😀", 222, -0.5)
    assert token.top == ((7, -0.5),)
    assert not event.has_ids


def test_texts_alone(reader: TokenReader) -> None:
    """OpenAI's own form: what is one token of ours gets its id."""
    whole = reader.tokenizer.decode([300])
    event = read(
        reader,
        text=whole + "unheard-of",
        logprobs={
            "tokens": [whole, "unheard-of"],
            "token_logprobs": [-1, None],
            "top_logprobs": None,
        },
    )
    assert [one.text for one in event.tokens] == [whole, "unheard-of"]
    assert [one.token_id for one in event.tokens] == [300, None]
    assert [one.logprob for one in event.tokens] == [-1.0, None]


@pytest.mark.parametrize("shown", ["", "<|endoftext|>"])
def test_control_tokens_among_texts(reader: TokenReader, shown: str) -> None:
    """OpenAI's own form names them, whether the text holds them or not."""
    tokenizer = reader.tokenizer
    whole = tokenizer.decode([300])
    end = tokenizer.control_id("<|endoftext|>")
    spelled = [whole, "<|endoftext|>"]
    told = {"tokens": spelled, "token_logprobs": [-1, -2]}
    event = read(reader, text=whole + shown, logprobs=told)
    assert [one.token_id for one in event.tokens] == [300, end]
    assert event.tokens[0].text == whole
    # A text that the tokens do not spell is that of the last one which is text.
    event = read(reader, text="é", logprobs={"tokens": ["\ufffd", "<|endoftext|>"]})
    assert [one.text for one in event.tokens] == ["é", ""]


@pytest.mark.parametrize("wild", [-1, 10_000, 10**20])
def test_ids_that_are_no_tokens(reader: TokenReader, wild: int) -> None:
    for told in (
        {"content": [{"id": wild, "token": "x", "logprob": -1}]},
        {"tokens": [f"token_id:{wild}"]},
    ):
        with pytest.raises(MalformedError, match="does not have"):
            read(reader, text="x", logprobs=told)


def test_an_event_about_usage(reader: TokenReader) -> None:
    assert reader.read({"choices": [], "usage": {}}) == Event()


def test_halves_of_characters_are_none(reader: TokenReader) -> None:
    [token] = read(reader, text="a\ud83d").tokens
    assert token.text == "a\N{REPLACEMENT CHARACTER}"


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["token_id:3", "token_id:x", " return", "stop"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "text",
                    "logprobs",
                    "content",
                    "tokens",
                    "token_logprobs",
                    "top_logprobs",
                    "id",
                    "token",
                    "logprob",
                    "finish_reason",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


@given(
    choice=st.dictionaries(st.sampled_from(["logprobs", "x"]), _values), text=_values
)
def test_whatever_comes_is_read_or_refused(
    choice: dict[str, Any], text: Any, reader: TokenReader
) -> None:
    """Tokens with numbers that are some, or one error."""
    try:
        event = reader.read({"choices": [{"text": text, **choice}]})
    except MalformedError:
        return
    for token in event.tokens:
        token.text.encode()
        assert token.logprob is None or -9999 <= token.logprob <= 0
        assert all(-9999 <= logprob <= 0 for _, logprob in token.top)


def test_an_id_that_is_no_number(reader: TokenReader) -> None:
    raw = '{"token": "x", "logprob": -1, "id": 1e999}'
    with pytest.raises(MalformedError):
        read(reader, text="x", logprobs={"content": [json.loads(raw)]})
