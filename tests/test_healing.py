"""Token healing: what was typed stays, and what follows is what whole words give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_engine import make_engine, request
from tiny import make_tokenizer
from tokenizers import Tokenizer, decoders, models

from model import ContextChunk
from model.dialects import DIALECTS
from model.fim import PromptBuilder
from model.healing import plan_healing
from model.sampling import choose_of, make_sampler, top_of
from model.tokenizer import CodeTokenizer
from model.vocabulary import Vocabulary

_TYPED = st.text(
    alphabet=st.sampled_from(list("defruntx _().=:\n\té日😀")), min_size=1, max_size=20
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    make_tokenizer().save(str(path))
    return CodeTokenizer.from_file(path)


@given(st.lists(st.binary(min_size=1, max_size=3), max_size=40), st.binary(min_size=1))
def test_a_vocabulary_finds_what_a_search_finds(
    spellings: list[bytes], begin: bytes
) -> None:
    """All tokens that begin with some bytes, whatever these are (0xFF too)."""
    vocabulary = Vocabulary(dict(enumerate(spellings)))
    found = sorted(vocabulary.beginning_with(begin).tolist())
    assert found == [i for i, one in enumerate(spellings) if one.startswith(begin)]
    longer = any(one.startswith(begin) and one != begin for one in spellings)
    assert vocabulary.has_longer(begin) == longer


def test_every_token_has_its_bytes(tokenizer: CodeTokenizer) -> None:
    """Joined, the tokens' bytes are the text, for any text."""
    text = "def naïve(x):\n\treturn '日本' + x  # 😀\r\n"
    ids = tokenizer.encode(text)
    vocabulary = tokenizer.vocabulary
    assert b"".join(map(vocabulary.bytes_of, ids)).decode() == text
    assert all(vocabulary.bytes_of(one) == b"" for one in tokenizer.control_ids)


@given(_TYPED)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_taken_back_is_the_prefixs_end(
    tokenizer: CodeTokenizer, text: str
) -> None:
    """Whole characters of one line, and never a line end."""
    healing = plan_healing(tokenizer, tokenizer.encode(text))
    if healing is not None:
        assert healing.text
        assert text.endswith(healing.text)
        assert "\n" not in healing.text


@given(_TYPED, st.integers(0, 2**32 - 1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_choice_of_the_allowed_continues_the_text(
    tokenizer: CodeTokenizer, text: str, seed: int
) -> None:
    """Whatever is chosen, step by step, begins with the bytes taken back."""
    healing = plan_healing(tokenizer, tokenizer.encode(text))
    if healing is None:
        return
    generator = np.random.default_rng(seed)
    state, made = healing.begin(), b""
    while not state.is_done:
        token_id = int(generator.choice(state.allowed()))
        made += healing.vocabulary.bytes_of(token_id)
        state.push(token_id)
    assert made.startswith(healing.text.encode())


def test_choosing_of_some_is_choosing_where_the_rest_is_impossible() -> None:
    """The probability is that over the allowed tokens; ties go to the lowest id."""
    scores = np.array([5.0, 1.0, 1.0, 3.0], dtype=np.float32)
    allowed = np.array([1, 2, 3])
    ids, logprobs = zip(*top_of(scores, allowed, 3), strict=True)
    assert ids == (3, 1, 2)
    assert np.exp(logprobs).sum() == pytest.approx(1)
    assert choose_of(scores, allowed)[0] == 3
    sampled = {
        choose_of(scores, allowed, make_sampler(1.0, seed))[0] for seed in range(40)
    }
    assert sampled == {1, 2, 3}


@pytest.mark.parametrize("order", ["psm", "spm"])
@pytest.mark.parametrize("num_candidates", [1, 3])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_the_model_goes_on_from_what_was_typed(
    tokenizer: CodeTokenizer, order: Any, num_candidates: int, temperature: float
) -> None:
    """The text after the cursor never repeats what was taken back."""
    engine = make_engine(tokenizer)
    result = engine.fill(
        request(
            "def f(x):\n    retu",
            "\n",
            fim_order=order,
            heal=True,
            num_candidates=num_candidates,
            temperature=temperature,
            max_new_tokens=8,
        )
    )
    assert result.healed
    assert "    retu".endswith(result.healed)
    # Fewer where few tokens continue the word.
    assert 1 <= len(result.candidates) <= num_candidates
    for one in result.candidates:
        told = "".join(token.text for token in one.tokens)
        assert told.startswith(one.text)
        assert all(token.logprob <= 0 for token in one.tokens)


def test_keys_of_one_word_reuse_the_whole_prompt(tokenizer: CodeTokenizer) -> None:
    """What a healed word was typed of is no part of the prompt."""
    engine = make_engine(tokenizer)
    first = engine.fill(request("x = 1\nx = re", "\n", fim_order="spm", heal=True))
    second = engine.fill(request("x = 1\nx = ret", "\n", fim_order="spm", heal=True))
    assert first.healed == " re"
    assert second.healed == " ret"
    assert second.statistics.prompt_tokens - second.statistics.reused_tokens == 1


def test_the_parts_of_a_prompt_add_up(tokenizer: CodeTokenizer) -> None:
    """Every token belongs to a part, in order, and what is reused comes first."""
    prompts = PromptBuilder(tokenizer, DIALECTS["starcoder"], "spm")
    prompt = prompts.build(
        "x = ab",
        "y = 2\n",
        order="auto",
        budget_tokens=200,
        context=[ContextChunk("a.py", "ab = 1\n", "open")],
        path="b.py",
        repository="r",
    )
    parts = prompt.parts_with(20)
    assert sum(part.num_tokens for part in parts) == len(prompt.token_ids)
    assert sum(part.num_reused for part in parts) == 20
    kinds = [part.kind for part in parts]
    assert kinds.index("suffix") < kinds.index("context") < kinds.index("prefix")
    # This tokenizer has no <filename>, so files stand in the prefix, in comments.
    assert prompts.notes


def test_context_never_takes_more_than_half(tokenizer: CodeTokenizer) -> None:
    """The most relevant chunk stands last, and is the last to be left out."""
    prompts = PromptBuilder(tokenizer, DIALECTS["starcoder"], "psm")
    chunks = [ContextChunk(f"{n}.py", f"name{n} = {n}\n" * 4) for n in range(20)]
    prompt = prompts.build(
        "x = 1\n" * 100, "", order="auto", budget_tokens=256, context=chunks
    )
    kept = [part for part in prompt.parts if part.kind == "context"]
    assert 0 < sum(part.num_tokens for part in kept) <= 128
    assert kept[-1].path == "19.py"
    assert len(prompt.token_ids) <= 256


def test_the_path_is_told_the_way_the_model_knows(tokenizer: CodeTokenizer) -> None:
    """Other files are named; the document itself where it is nearly empty."""
    prompts = PromptBuilder(tokenizer, DIALECTS["stable-code"], "psm")
    chunks = [ContextChunk("a.py", "y = 1\n")]
    bare = prompts.build(
        "x", "", order="psm", budget_tokens=90, path="b.py", context=chunks
    )
    assert tokenizer.decode(bare.token_ids) == (
        "<fim_prefix># a.py\ny = 1\n# b.py\nx<fim_suffix><fim_middle>"
    )
    text = "x = 1\n" * 40
    full = prompts.build(
        text, "", order="psm", budget_tokens=900, path="b.py", context=chunks
    )
    assert tokenizer.decode(full.token_ids) == (
        f"<fim_prefix># a.py\ny = 1\n{text}<fim_suffix><fim_middle>"
    )


def test_sentencepiece_tokens_have_their_bytes_too(tmp_path: Path) -> None:
    """A block stands for a blank, and bytes that are no character are spelled out."""
    pieces = ["<s>", "▁", "▁re", "t", "urn", "▁return", "<0xE2>", "r", "e", "u", "n"]
    tokenizer = Tokenizer(
        models.BPE(
            {piece: number for number, piece in enumerate(pieces)},
            [],
            byte_fallback=True,
        )
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(["<s>"])
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    vocabulary = CodeTokenizer.from_file(path).vocabulary
    assert vocabulary.bytes_of(0) == b""
    assert vocabulary.bytes_of(6) == b"\xe2"
    assert sorted(vocabulary.beginning_with(b" re").tolist()) == [2, 5]
