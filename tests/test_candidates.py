"""Candidates side by side: the same ones as after each other, in fewer passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_draft import assert_ledgers_agree
from test_engine import make_engine, request
from tiny import make_model, make_tokenizer

from model import Cut, StopRule
from model.engine import LocalEngine
from model.errors import OutOfMemoryError
from model.logits import NumpyLogits
from model.stopping import stop_at_strings
from model.tokenizer import CodeTokenizer
from model.transformers_backend import TransformersBackend

_MODEL = make_model("qwen2")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    make_tokenizer().save(str(path))
    return CodeTokenizer.from_file(path)


class RecomputingBackend(TransformersBackend):
    """Branches as the Protocol promises them, each computed anew every time."""

    def __init__(self, max_branches: int) -> None:
        super().__init__(_MODEL, attention="sdpa", chunk_tokens=16)
        self._max_branches = max_branches
        self._branches: list[list[int]] = []
        self.num_passes = 0
        self.fails_at = 0

    def most_branches(self, num_shared: int, num_steps: int) -> int:
        return self._max_branches

    def branch(self, token_ids: Sequence[int], num_shared: int) -> NumpyLogits:
        self.num_passes += 1
        if self.num_passes == self.fails_at:
            raise OutOfMemoryError("The device ran out of memory.")
        assert 1 < len(token_ids) <= self._max_branches
        assert num_shared == self.num_cached_tokens
        self._branches = self._branches or [[] for _ in token_ids]
        rows = []
        for branch, token_id in zip(self._branches, token_ids, strict=True):
            branch.append(token_id)
            rows.append(self.forward(branch).row(0))
            super().truncate(num_shared)
        return NumpyLogits(np.stack(rows))

    def truncate(self, num_tokens: int) -> None:
        self._branches = []
        super().truncate(num_tokens)


def make_branching(tokenizer: CodeTokenizer, max_branches: int) -> LocalEngine:
    plain = make_engine(tokenizer, "qwen2", model=_MODEL)
    backend = RecomputingBackend(max_branches)
    return LocalEngine(backend, tokenizer, plain._prompts, plain.info)


def _stop_after(length: int) -> StopRule:
    def rule(text: str) -> Cut | None:
        return Cut(length // 2, "long") if len(text) >= length else None

    return rule


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    prefix=st.sampled_from(["x = ", "def f(a):\n    ", "s = 'é😀"]),
    num_candidates=st.integers(2, 6),
    max_branches=st.integers(2, 4),
    max_new_tokens=st.sampled_from([1, 5, 30, 60]),
    rule=st.sampled_from(
        [None, stop_at_strings(["e"]), _stop_after(9), _stop_after(70)]
    ),
    temperature=st.sampled_from([0.0, 0.0, 1.0]),
    seed=st.integers(0, 3),
)
def test_side_by_side_equals_one_after_the_other(
    prefix: str,
    num_candidates: int,
    max_branches: int,
    max_new_tokens: int,
    rule: StopRule | None,
    temperature: float,
    seed: int,
    tokenizer: CodeTokenizer,
) -> None:
    """Texts, reasons, counts, log-probabilities and the stream are the same."""
    ask = request(
        prefix,
        "\n",
        num_candidates=num_candidates,
        max_new_tokens=max_new_tokens,
        stop_rule=rule,
        temperature=temperature,
        seed=seed,
    )
    results, streams = [], []
    for branches in (max_branches, 1):
        pieces: list[str] = []
        engine = make_branching(tokenizer, branches)
        results.append(engine.fill(ask, on_text=pieces.append))
        streams.append(pieces)
        assert_ledgers_agree(engine)
    together, apart = results
    assert len(together.candidates) == num_candidates
    assert streams[0] == streams[1]
    for one, other in zip(together.candidates, apart.candidates, strict=True):
        assert one.text == other.text
        assert one.finish_reason == other.finish_reason
        assert one.num_tokens == other.num_tokens
        assert one.mean_logprob == pytest.approx(other.mean_logprob, abs=1e-4)
    assert together.statistics.forwards <= apart.statistics.forwards


def test_passes_are_shared(tokenizer: CodeTokenizer) -> None:
    """Three candidates of equal length take the passes of one."""
    engine = make_branching(tokenizer, 4)
    statistics = engine.fill(request("x = ", num_candidates=3)).statistics
    backend: Any = engine._backend
    assert backend.num_passes == 11
    assert statistics.forwards == 12
    assert statistics.generated_tokens == 36


class _CancelAfter:
    def __init__(self, reads: int) -> None:
        self.left = reads

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("reads", [0, 1, 4, 9, 40])
def test_cancelling_keeps_what_is_whole(reads: int, tokenizer: CodeTokenizer) -> None:
    """A cancelled batch gives its ended candidates, and the cache stays right."""
    engine = make_branching(tokenizer, 4)
    ask = request(
        "x = ", num_candidates=3, max_new_tokens=50, stop_rule=_stop_after(24)
    )
    whole = make_branching(tokenizer, 4).fill(ask)
    result = engine.fill(ask, _CancelAfter(reads))
    assert result.cancelled == (result.statistics.forwards < whole.statistics.forwards)
    kept = [one.text for one in result.candidates]
    assert kept == [one.text for one in whole.candidates][: len(kept)]
    assert_ledgers_agree(engine)
    again = engine.fill(ask)
    assert [one.text for one in again.candidates] == [
        one.text for one in whole.candidates
    ]
    assert again.statistics.reused_tokens > 0 or reads == 0


def test_a_failing_branch_leaves_a_clean_cache(tokenizer: CodeTokenizer) -> None:
    """Out of memory in the middle: the answer is that of a fresh engine."""
    engine = make_branching(tokenizer, 3)
    backend: Any = engine._backend
    backend.fails_at = 3
    ask = request("x = ", num_candidates=3)
    expected = make_branching(tokenizer, 3).fill(ask).candidates
    for _ in range(2):
        found = engine.fill(ask).candidates
        assert [one.text for one in found] == [one.text for one in expected]
        assert_ledgers_agree(engine)


@given(
    rows=st.lists(
        st.lists(st.integers(-5, 5), min_size=4, max_size=4), min_size=1, max_size=3
    ),
    count=st.integers(1, 6),
)
def test_numpy_logits(rows: list[list[int]], count: int) -> None:
    """Best first, the lowest id of equals; probabilities sum to one."""
    logits = NumpyLogits(np.array(rows, dtype=np.float32))
    assert len(logits) == len(rows)
    for position, row in enumerate(rows):
        best = sorted(range(4), key=lambda token_id: (-row[token_id], token_id))
        top = logits.top(position, count)
        assert [token_id for token_id, _ in top] == best[:count]
        assert logits.greedy()[position] == top[0]
        total = sum(np.exp(logprob) for _, logprob in logits.top(position, 4))
        assert total == pytest.approx(1, abs=1e-5)
        assert logits.row(position).tolist() == row
