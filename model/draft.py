"""Guesses at the next tokens without a second model, to be verified in one pass.

Prompt lookup after Saxena (github.com/apoorvumang/prompt-lookup-decoding): what
followed the last few tokens where they stood before. It is looked up in the prompt
with the text generated so far, and in what was suggested lately: after a key that
differs from a suggestion, the rest of it is often still right.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Literal

from model.fim import Prompt
from model.ngrams import LONGEST_MATCH, SEPARATOR, NgramIndex

Source = Literal["prompt", "suggestion"]

_LONGEST_DRAFT = 15
_MOST_SUGGESTED_TOKENS = 512
# So that a suggestion's first tokens are found by the end of the prompt.
_TOKENS_BEFORE_SUGGESTION = 4

# How often the next token is the one that followed a match of 1, 2 … 8 tokens, to
# begin with; about what source code of the standard library gives.
_FIRST_RATES: dict[Source, tuple[float, ...]] = {
    "prompt": (0.33, 0.50, 0.58, 0.70, 0.75, 0.80, 0.80, 0.85),
    "suggestion": (0.25, 0.40, 0.55, 0.70, 0.75, 0.80, 0.80, 0.85),
}
# What to begin with counts as so many observations, and so many are remembered.
_FIRST_OBSERVATIONS = 8
_MOST_OBSERVATIONS = 32

# Relative. Weights are read once per pass, which is most of the cost of few tokens.
_ASSUMED_PASS_COSTS = ((1, 1.0), (2, 1.08), (4, 1.15), (8, 1.4), (16, 2.0))
# Verifying costs a little beside the pass, so a gain this small is none.
_LEAST_GAIN = 1.03


def texts_of(prompt: Prompt, control_ids: Set[int]) -> list[list[int]]:
    """Return the texts between a prompt's control tokens, the prefix last.

    Whichever order the model reads them in, what comes out continues the prefix.
    """
    texts: list[list[int]] = [[]]
    for token_id in prompt.token_ids:
        if token_id in control_ids:
            texts.append([])
        else:
            texts[-1].append(token_id)
    texts = [text for text in texts if text]
    if prompt.order == "psm" and prompt.num_suffix_tokens:
        suffix = texts.pop()
        prefix = texts.pop() if prompt.num_prefix_tokens else []
        texts += [suffix, prefix]
    elif not prompt.num_prefix_tokens:
        texts.append([])
    return texts


class PassCosts:
    """What a pass costs by its number of tokens: a measured staircase.

    Straight between the measured points; nothing is known beyond the last.
    """

    def __init__(self, points: Sequence[tuple[int, float]]) -> None:
        # One point says nothing of what a draft adds.
        self._points = list(points) if len(points) > 1 else list(_ASSUMED_PASS_COSTS)
        self._counts = [count for count, _ in self._points]

    @property
    def most_tokens(self) -> int:
        """The longest pass whose cost is known."""
        return self._counts[-1]

    def __call__(self, num_tokens: int) -> float:
        """Return the cost of a pass of up to ``most_tokens`` tokens."""
        right = bisect_left(self._counts, num_tokens)
        if right == 0:
            return self._points[0][1]
        (count, cost), (next_count, next_cost) = self._points[right - 1 : right + 1]
        share = (num_tokens - count) / (next_count - count)
        return cost + share * (next_cost - cost)


class AcceptanceRates:
    """How often drafted tokens are right, by source and length of the match.

    A token deeper in a draft counts as drafted from a longer match, because when it
    is reached all before it were right. Exponential averages.
    """

    def __init__(self) -> None:
        self._rates = {source: [*rates] for source, rates in _FIRST_RATES.items()}
        self._counts = {
            source: [_FIRST_OBSERVATIONS] * LONGEST_MATCH for source in _FIRST_RATES
        }

    def rate(self, source: Source, match_tokens: int) -> float:
        """Return the probability that the token after such a match is right."""
        return self._rates[source][min(match_tokens, LONGEST_MATCH) - 1]

    def observe(self, source: Source, match_tokens: int, right: bool) -> None:
        """Record whether the token after such a match was right."""
        rates, counts = self._rates[source], self._counts[source]
        index = min(match_tokens, LONGEST_MATCH) - 1
        counts[index] = min(counts[index] + 1, _MOST_OBSERVATIONS)
        rates[index] += (right - rates[index]) / counts[index]


@dataclass(frozen=True, slots=True)
class Guess:
    """What followed a match of ``match_tokens`` tokens in a source."""

    source: Source
    match_tokens: int
    token_ids: list[int]


class Drafter:
    """Drafts the next tokens of one text after another.

    ``begin`` with a prompt, then in turns ``propose`` a draft and ``observe`` what
    came out. Every guess is compared with what came out, drafted or not, so where
    drafting does not pay it is noticed when it would again, at no cost.
    """

    def __init__(self, pass_costs_ms: Sequence[tuple[int, float]] = ()) -> None:
        self._costs = PassCosts(pass_costs_ms)
        self._rates = AcceptanceRates()
        self._text = NgramIndex()
        self._suggested = NgramIndex()
        self._num_known = 0
        self._guesses: list[Guess] = []

    def begin(self, texts: Sequence[Sequence[int]]) -> None:
        """Start on a prompt made of ``texts``, the one to continue last.

        What came out since the last ``begin`` becomes the latest suggestion.
        """
        self._remember()
        known: list[int] = []
        for text in texts:
            known += [SEPARATOR, *text]
        self._text.become(known)
        self._num_known = len(known)
        self._guesses = []

    def forget(self) -> None:
        """Forget texts and suggestions; what was learned of acceptance stays."""
        self._text.clear()
        self._suggested.clear()
        self._num_known = 0
        self._guesses = []

    def propose(self, limit: int, num_pending: int = 1) -> list[int]:
        """Return the draft to verify in a pass of ``num_pending`` tokens and it.

        At most ``limit`` tokens; as many as give the most expected tokens per
        time, often none.
        """
        tail = self._text.token_ids[-LONGEST_MATCH:]
        self._guesses = []
        sources: tuple[tuple[Source, NgramIndex], ...] = (
            ("suggestion", self._suggested),
            ("prompt", self._text),
        )
        for source, index in sources:
            position, match_tokens = index.find(tail)
            if match_tokens:
                token_ids = index.read(position, _LONGEST_DRAFT)
                if token_ids:
                    self._guesses.append(Guess(source, match_tokens, token_ids))
        most = min(limit, self._costs.most_tokens - num_pending)
        if most <= 0:
            return []
        best: list[int] = []
        best_speed = _LEAST_GAIN / self._costs(num_pending)
        for guess in self._guesses:
            width, speed = self._best_width(guess, most, num_pending)
            if speed > best_speed:
                best, best_speed = guess.token_ids[:width], speed
        return best

    def observe(self, token_ids: Sequence[int]) -> None:
        """Append what came out of the pass after ``propose``, and learn from it."""
        for guess in self._guesses:
            for index, token_id in enumerate(token_ids[: len(guess.token_ids)]):
                right = guess.token_ids[index] == token_id
                self._rates.observe(guess.source, guess.match_tokens + index, right)
                if not right:
                    break
        self._guesses = []
        self._text.extend(token_ids)

    def _best_width(
        self, guess: Guess, most: int, num_pending: int
    ) -> tuple[int, float]:
        """Return the width with the most expected tokens per cost, and these."""
        best, best_speed = 0, 0.0
        expected, reached = 1.0, 1.0
        for width in range(1, min(most, len(guess.token_ids)) + 1):
            reached *= self._rates.rate(guess.source, guess.match_tokens + width - 1)
            expected += reached
            speed = expected / self._costs(num_pending + width)
            if speed > best_speed:
                best, best_speed = width, speed
        return best, best_speed

    def _remember(self) -> None:
        """Keep what came out for the last prompt as the latest suggestion."""
        held = self._text.token_ids
        if len(held) == self._num_known:
            return
        begin = max(0, self._num_known - _TOKENS_BEFORE_SUGGESTION)
        self._suggested.extend([*held[begin:], SEPARATOR])
        if len(self._suggested) > _MOST_SUGGESTED_TOKENS:
            recent = list(self._suggested.token_ids[-_MOST_SUGGESTED_TOKENS // 2 :])
            self._suggested.become(recent)
