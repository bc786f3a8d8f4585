from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_stablecode.judgement.calibration import CALIBRATION, Calibration
from lsp_stablecode.judgement.cliff import make_token_rule
from lsp_stablecode.judgement.confidence import (
    Features,
    confidence,
    features,
    least_first_line,
)
from lsp_stablecode.shape import Shape
from model import Candidate, Cut, GeneratedToken

LINE = Shape("line", "mid-line")
BLOCK = Shape("block", "below-header")
PLAIN = Calibration(intercept=0.0)


def tokens(*pairs: tuple[str, float]) -> tuple[GeneratedToken, ...]:
    return tuple(GeneratedToken(text, math.log(p)) for text, p in pairs)


def candidate(*pairs: tuple[str, float]) -> Candidate:
    made = tokens(*pairs)
    text = "".join(one.text for one in made)
    return Candidate(text, "eos", len(made), -0.1, made)


def found(one: Candidate, shown: str, prefix: str = "x = ", **named: bool) -> Features:
    result = features(one, shown, LINE, prefix=prefix, healed=False, **named)
    assert result is not None
    return result


# --- features and confidence ----------------------------------------------------------


def test_the_line_counts_with_the_token_that_ends_it() -> None:
    one = candidate(("fo", 0.5), ("o", 0.8), ("\n", 0.9), ("bar", 0.1))
    got = found(one, "foo\nbar")
    assert math.exp(got.line_logprob) == pytest.approx(0.5 * 0.8 * 0.9)
    assert math.exp(got.least_logprob) == pytest.approx(0.5)
    assert math.exp(got.first_logprob) == pytest.approx(0.5)
    assert (got.num_tokens, got.num_characters) == (3, 3)


def test_a_token_may_hold_the_lines_end_and_more() -> None:
    one = candidate(("foo", 0.5), (")\n    b", 0.6), ("ar", 0.1))
    assert math.exp(found(one, "foo)").line_logprob) == pytest.approx(0.3)


def test_the_end_of_the_text_ends_a_line_too() -> None:
    one = candidate(("foo", 0.5), ("", 0.25))
    assert math.exp(found(one, "foo").line_logprob) == pytest.approx(0.125)


def test_what_was_generated_for_a_healed_word_counts() -> None:
    one = candidate(("", 0.5), ("foo", 0.5), ("\n", 1.0))
    assert math.exp(found(one, "foo").line_logprob) == pytest.approx(0.25)


def test_leading_blank_lines_and_trimmed_ends_are_found() -> None:
    one = candidate(("\n\n   ", 0.5), (" foo", 0.5), (")", 0.5), (")", 0.1))
    got = found(one, "foo)", prefix="def f():\n    ")
    assert math.exp(got.line_logprob) == pytest.approx(0.125 * 0.1)
    assert got.is_new_line == 1


def test_a_changed_text_falls_back_to_the_first_line() -> None:
    one = candidate(("a", 0.5), ("\n", 0.5), ("c", 0.1))
    assert math.exp(found(one, "zzz").line_logprob) == pytest.approx(0.25)


def test_the_place_is_told_from_text_and_prefix() -> None:
    one = candidate(("foo", 0.5), ("\n", 0.5))
    assert found(one, "foo", prefix="x = ").is_new_line == 0
    assert found(one, "foo", prefix="x\n    ").is_new_line == 1
    assert found(one, "\nfoo", prefix="def f():").is_new_line == 1


def test_without_probabilities_there_is_no_confidence() -> None:
    assert (
        features(Candidate("x", "eos", 1, 0.0), "x", LINE, prefix="", healed=False)
        is None
    )
    assert features(candidate(("x", 0.5)), "", LINE, prefix="", healed=False) is None


def test_the_plain_calibration_is_the_models_probability() -> None:
    got = found(candidate(("foo", 0.5), ("\n", 0.6)), "foo")
    assert confidence(got, PLAIN) == pytest.approx(0.3)


@given(st.lists(st.floats(-1e9, 0), min_size=1, max_size=40))
def test_a_confidence_is_a_probability(logprobs: list[float]) -> None:
    made = tuple(GeneratedToken("x", one) for one in logprobs)
    one = Candidate("x" * len(made), "length", len(made), 0.0, made)
    got = features(one, one.text, BLOCK, prefix="", healed=True)
    assert got is not None
    assert 0 <= confidence(got, CALIBRATION) <= 1


# --- the least probability of a first line --------------------------------------------


def test_the_least_probability_of_a_plain_calibration_is_the_threshold() -> None:
    least = least_first_line(0.1, is_block=False, is_blank=True, calibration=PLAIN)
    assert least == pytest.approx(0.1, rel=1e-3)


@given(
    st.builds(
        Features,
        line_logprob=st.floats(-20, -0.01),
        least_logprob=st.floats(-20, 0),
        first_logprob=st.floats(-20, 0),
        num_tokens=st.floats(1, 32),
        num_characters=st.floats(1, 80),
        is_block=st.sampled_from((0.0, 1.0)),
        is_healed=st.sampled_from((0.0, 1.0)),
        is_new_line=st.sampled_from((0.0, 1.0)),
    ),
    st.sampled_from((0.03, 0.1, 0.4)),
)
def test_what_is_given_up_would_not_have_been_shown(
    one: Features, threshold: float
) -> None:
    calibration = Calibration(-0.3, 0.9, 0.2, -0.1, -0.3, 0.2, 0.1, -0.1, 0.3)
    least = least_first_line(
        threshold,
        is_block=bool(one.is_block),
        is_blank=bool(one.is_new_line),
        calibration=calibration,
    )
    line = one.line_logprob
    one = Features(
        line,
        max(line, one.least_logprob),
        max(line, one.first_logprob),
        one.num_tokens,
        one.num_characters,
        one.is_block,
        one.is_healed,
        one.is_new_line,
    )
    if math.exp(line) < least:
        assert confidence(one, calibration) < threshold + 1e-6


# --- the cliff ------------------------------------------------------------------------


def run(
    shape: Shape, pairs: list[tuple[str, float]], first: float = 0.05
) -> tuple[Cut | None, int]:
    rule = make_token_rule(shape, least_first_line=first)
    made = tokens(*pairs)
    for number in range(1, len(made) + 1):
        cut = rule(made[:number])
        if cut is not None:
            return cut, number
    return None, len(made)


def test_an_unsure_first_line_is_given_up_at_once() -> None:
    pairs = [("a", 0.2), ("b", 0.2), ("c", 0.9), ("\n", 0.9)]
    assert run(LINE, pairs) == (Cut(0, "unsure"), 2)
    assert run(BLOCK, pairs) == (Cut(0, "unsure"), 2)
    assert run(LINE, pairs, first=0.01) == (None, 4)


def test_a_block_ends_before_the_line_that_is_a_guess() -> None:
    pairs = [("a()", 0.2), ("\n", 0.9), ("b()", 0.9), ("\n", 0.9), ("c", 0.2)]
    assert run(BLOCK, [*pairs, ("d", 0.9)]) == (None, 6)
    assert run(BLOCK, [*pairs, ("d", 0.2), ("e", 1)]) == (Cut(7, "cliff"), 6)
    assert run(LINE, [*pairs, ("d", 0.2), ("e", 1)]) == (None, 7)


def test_the_token_that_ends_a_line_counts_to_it() -> None:
    pairs = [("a()", 0.9), ("\n    b", 0.06), ("()", 0.9)]
    assert run(BLOCK, pairs, first=0.01) == (None, 3)


def test_blank_lines_and_indentation_are_no_line() -> None:
    pairs = [("\n", 0.9), ("    ", 0.9), ("a()  \n", 0.9), ("\n", 0.9), ("b", 0.01)]
    assert run(BLOCK, pairs) == (Cut(8, "cliff"), 5)


def test_no_line_is_left_that_only_begins_something() -> None:
    pairs = [("a()\n", 0.9), ("b()\n", 0.9), ("if c:\n", 0.9), ("    d", 0.01)]
    assert run(BLOCK, pairs) == (Cut(7, "cliff"), 4)
    # ... but the first line stays whatever it is
    assert run(BLOCK, [("if c:\n", 0.9), ("    d", 0.01)]) == (Cut(5, "cliff"), 2)
    # unless it is half a tag
    assert run(BLOCK, [("<path\n", 0.9), ("  d=", 0.01)]) == (None, 2)


def test_one_rule_serves_several_candidates_in_turn() -> None:
    rule = make_token_rule(BLOCK, least_first_line=0.05)
    good, bad = tokens(("a", 0.9), ("b", 0.9)), tokens(("a", 0.1), ("b", 0.1))
    assert rule(good[:1]) is None
    assert rule(bad[:1]) is None
    assert rule(good) is None
    assert rule(bad) == Cut(0, "unsure")


@given(
    st.lists(
        st.tuples(
            st.text("ab \n{", max_size=4), st.sampled_from((1.0, 0.7, 0.3, 0.05))
        ),
        max_size=30,
    )
)
def test_a_cut_is_before_the_end_and_keeps_the_first_line(
    pairs: list[tuple[str, float]],
) -> None:
    cut, number = run(BLOCK, pairs)
    if cut is None:
        return
    text = "".join(one for one, _ in pairs[:number])
    assert 0 <= cut.end <= len(text)
    if cut.reason == "cliff":
        kept = text[: cut.end]
        assert kept.strip()
        assert kept == kept.rstrip()
        assert text[cut.end :].lstrip(" ").startswith("\n")
