"""Prompts: the right tokens in the right order, and windows that stand still."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import FIM_TOKENS, make_tokenizer

from model.dialects import DIALECTS, Slot
from model.errors import TokenizerError
from model.fim import PromptBuilder
from model.tokenizer import CodeTokenizer, StreamingDecoder
from model.windows import fit_prefix, fit_suffix


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    make_tokenizer().save(str(path))
    return CodeTokenizer.from_file(path)


def test_psm_is_the_model_cards_example(tokenizer: CodeTokenizer) -> None:
    """PSM gives exactly the prompt stable-code-3b's card shows."""
    prompts = PromptBuilder(tokenizer, DIALECTS["stable-code"], "psm")
    prompt = prompts.build(
        "def fib(n):", "    else:\n", order="auto", budget_tokens=200
    )
    assert tokenizer.decode(prompt.token_ids) == (
        "<fim_prefix>def fib(n):<fim_suffix>    else:\n<fim_middle>"
    )


def test_spm_puts_the_prefix_last(tokenizer: CodeTokenizer) -> None:
    """SPM ends with the prefix, so that typing only appends."""
    prompts = PromptBuilder(tokenizer, DIALECTS["starcoder"], "spm")
    prompt = prompts.build("ab", "cd", order="auto", budget_tokens=200)
    assert tokenizer.decode(prompt.token_ids) == (
        "<fim_prefix><fim_suffix>cd<fim_middle>ab"
    )


def test_prefix_only_models_get_the_prefix(tokenizer: CodeTokenizer) -> None:
    """StableCode alpha sees the prefix alone, whatever order is asked for."""
    prompts = PromptBuilder(tokenizer, DIALECTS["stablecode-alpha"], "psm")
    prompt = prompts.build("ab", "cd", order="spm", budget_tokens=200)
    assert tokenizer.decode(prompt.token_ids) == "ab"
    assert prompt.order == "prefix-only"


def test_a_missing_control_token_fails_loudly(tokenizer: CodeTokenizer) -> None:
    """A dialect whose tokens the model lacks is an error at once."""
    with pytest.raises(TokenizerError, match=re.escape("<|fim_prefix|>")):
        PromptBuilder(tokenizer, DIALECTS["qwen2.5-coder"], "spm")


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_dialects_are_consistent(name: str) -> None:
    """Every template holds each slot once, and every dialect has a way to ask."""
    dialect = DIALECTS[name]
    for template in (dialect.psm, dialect.spm):
        if template is not None:
            assert template.count(Slot.PREFIX) == template.count(Slot.SUFFIX) == 1
    assert dialect.prefix_only.count(Slot.PREFIX) == 1
    if dialect.psm:
        assert dialect.psm.index(Slot.PREFIX) < dialect.psm.index(Slot.SUFFIX)
    if dialect.spm:
        assert dialect.spm.index(Slot.SUFFIX) < dialect.spm.index(Slot.PREFIX)


_TEXT = st.text(
    st.characters(codec="utf-8") | st.sampled_from(["\n", " ", "é", "😀", "\r"]),
    max_size=60,
)


@given(before=_TEXT, after=_TEXT, control=st.sampled_from(FIM_TOKENS))
def test_user_text_never_becomes_a_control_token(
    before: str, after: str, control: str, tokenizer: CodeTokenizer
) -> None:
    """A control token's spelling in a file is encoded as plain text."""
    token_ids = tokenizer.encode(before + control + after)
    assert not tokenizer.control_ids & set(token_ids)
    assert tokenizer.decode(token_ids) == before + control + after


@given(text=st.text(max_size=40))
def test_streaming_never_emits_half_a_character(
    text: str, tokenizer: CodeTokenizer
) -> None:
    """Pieces join to the text, and none holds a replacement character of its own."""
    token_ids = tokenizer.encode(text)
    decoder = StreamingDecoder(tokenizer, tokenizer.encode("context "))
    pieces = [decoder.push(token_id) for token_id in token_ids]
    whole = "".join(pieces)
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert whole == text
        assert all("\N{REPLACEMENT CHARACTER}" not in piece for piece in pieces)


def test_lone_surrogates_are_encoded(tokenizer: CodeTokenizer) -> None:
    """JSON may carry half a surrogate pair; encoding it must not fail."""
    assert tokenizer.encode("a\ud800b")


_LINES = st.lists(
    st.sampled_from(["x = 1", "def f(a, b):", "    return a + b", "", "# é"]),
    min_size=60,
    max_size=200,
)


@settings(max_examples=30, deadline=None)
@given(lines=_LINES, start_line=st.integers(0, 500), budget=st.integers(96, 300))
def test_windows_fit_and_stand_still(
    lines: list[str], start_line: int, budget: int, tokenizer: CodeTokenizer
) -> None:
    """A prefix window fits its budget, and typing a word leaves its edge in place."""
    text = "\n".join(lines)
    window = fit_prefix(tokenizer, text, budget, start_line)
    assert len(window) <= budget
    assert text.endswith(tokenizer.decode(window))
    moves = 0
    for _ in range(24):
        text += "\nva = b"[len(text) % 7]
        longer = fit_prefix(tokenizer, text, budget, start_line)
        moves += longer[:8] != window[:8]
        window = longer
    assert moves <= 3


@given(lines=_LINES, budget=st.integers(8, 200))
def test_suffix_windows_end_at_a_line(
    lines: list[str], budget: int, tokenizer: CodeTokenizer
) -> None:
    """A suffix window fits and keeps whole lines where one fits."""
    text = "\n".join(lines)
    window = tokenizer.decode(fit_suffix(tokenizer, text, budget))
    assert text.startswith(window)
    assert len(tokenizer.encode(window)) <= budget
    if window != text and "\n" in window:
        assert window.endswith("\n")


@settings(max_examples=60, deadline=None)
@given(budget=st.integers(8, 400), order=st.sampled_from(["psm", "spm"]))
def test_any_budget_is_kept(budget: int, order: Any, tokenizer: CodeTokenizer) -> None:
    """However small: the prompt fits, and the prefix gets most of it."""
    prompts = PromptBuilder(tokenizer, DIALECTS["starcoder"], "spm")
    text = "value = compute(value, 3)\n" * 100
    prompt = prompts.build(text, text, order=order, budget_tokens=budget)
    assert len(prompt.token_ids) <= budget
    assert prompt.num_prefix_tokens >= prompt.num_suffix_tokens


def test_minified_lines_are_cut_in_coarse_steps(tokenizer: CodeTokenizer) -> None:
    """A file of one huge line is windowed too, and its edge moves rarely."""
    text = "a=1;b=2;" * 20_000
    windows = [fit_prefix(tokenizer, text + "c" * n, 200, 0) for n in range(12)]
    assert all(0 < len(window) <= 200 for window in windows)
    edges = [tuple(window[:8]) for window in windows]
    assert sum(one != two for one, two in pairwise(edges)) <= 1
