"""Ids and texts that a server tells of the same tokens, compared."""

from __future__ import annotations

import pytest
from remote import write_prompt_files

from model.openai_agreement import Agreement
from model.openai_tokens import Arrived, Event
from model.remote_errors import TokensDisagreeError
from model.tokenizer import CodeTokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    files = write_prompt_files(tmp_path_factory.mktemp("tiny"))
    return CodeTokenizer.from_file(files / "tokenizer.json")


def agree(tokenizer: CodeTokenizer, *events: Event) -> bool:
    agreement = Agreement(tokenizer)
    try:
        for one in events:
            agreement.check(one)
    except TokensDisagreeError:
        return False
    return True


def by_ids(text: str, *token_ids: int, reason: str = "") -> Event:
    """Return an event as vLLM's: the text is that of all its tokens."""
    texts = [""] * (len(token_ids) - 1) + [text]
    tokens = [Arrived(*one) for one in zip(texts, token_ids, strict=True)]
    return Event(tuple(tokens), reason, has_ids=True)


def test_ids_and_their_text(tokenizer: CodeTokenizer) -> None:
    ids = tokenizer.encode("    return self")
    assert agree(tokenizer, by_ids("    return self", *ids, reason="length"))
    assert agree(tokenizer, by_ids("return self", *ids, reason="length"))
    assert not agree(tokenizer, by_ids("    yield self", *ids, reason="length"))
    assert not agree(tokenizer, by_ids("", *ids, reason="length"))
    [blank] = tokenizer.encode(" ")
    assert not agree(tokenizer, by_ids("x", blank, reason="length"))


def test_characters_in_parts(tokenizer: CodeTokenizer) -> None:
    """Whoever tells them late, or as what cannot be told, has the same tokens."""
    ids = tokenizer.encode("😀")
    assert len(ids) > 1
    parts = [by_ids("", one) for one in ids[:-1]]
    assert agree(tokenizer, *parts, by_ids("😀", ids[-1], reason="stop"))
    assert agree(tokenizer, by_ids("\ufffd", ids[0], reason="length"))
    assert agree(tokenizer, by_ids("", ids[0], reason="length"))
    content = [Arrived("", ids[0]), Arrived("😀", ids[-1])]
    assert agree(tokenizer, Event(tuple(content)))


def test_control_tokens_are_shown_or_not(tokenizer: CodeTokenizer) -> None:
    end = tokenizer.control_id("<|endoftext|>")
    ids = [*tokenizer.encode("x"), end]
    for shown in ("x", "x<|endoftext|>"):
        assert agree(tokenizer, by_ids(shown, *ids, reason="stop"))
    assert not agree(tokenizer, by_ids("abc", end, reason="stop"))
    assert agree(tokenizer, Event((Arrived("", end),)))
    assert not agree(tokenizer, Event((Arrived("abc", end),)))


def test_tokens_one_by_one(tokenizer: CodeTokenizer) -> None:
    """As llama.cpp tells them; of many only the first are compared."""
    [x] = tokenizer.encode("x")
    assert agree(
        tokenizer, Event((Arrived("x", x), Arrived("y"), Arrived("\ufffd", x)))
    )
    wrong = Event((Arrived("y", x),))
    assert not agree(tokenizer, wrong)
    assert agree(tokenizer, *[Event((Arrived("x", x),))] * 8, wrong)
