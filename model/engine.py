"""Prompt in, text out: prefill in chunks, decode token by token, stop in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from model.backend import Backend
from model.errors import ContextTooLargeError
from model.fim import PromptBuilder
from model.interface import (
    CancelFlag,
    Candidate,
    Cut,
    EngineInfo,
    FillRequest,
    FillResult,
    Statistics,
)
from model.kv_cache import Ledger
from model.sampling import greedy, make_sampler, top_tokens
from model.tokenizer import REPLACEMENT, CodeTokenizer, StreamingDecoder

if TYPE_CHECKING:
    import torch


_MIN_ALTERNATIVE_TOKENS = 24


class _Cancelled(Exception):
    """The cancel flag was seen; what is computed stays in the cache."""


@dataclass(slots=True)
class _Meter:
    """Counts of one request while it runs."""

    prompt_tokens: int = 0
    reused_tokens: int = 0
    generated_tokens: int = 0
    forwards: int = 0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0

    def statistics(self) -> Statistics:
        return Statistics(
            self.prompt_tokens,
            self.reused_tokens,
            self.generated_tokens,
            self.forwards,
            self.prefill_ms,
            self.decode_ms,
        )


class LocalEngine:
    """Fills gaps with a model on this machine. Not thread-safe: one caller at a time.

    The keys and values of the last prompt stay; the next prompt computes only what
    comes after the longest common prefix of token ids.
    """

    def __init__(
        self,
        backend: Backend,
        tokenizer: CodeTokenizer,
        prompts: PromptBuilder,
        info: EngineInfo,
    ) -> None:
        self._backend = backend
        self._tokenizer = tokenizer
        self._prompts = prompts
        self._info = info
        self._ledger = Ledger()

    @property
    def info(self) -> EngineInfo:
        """What is loaded."""
        return self._info

    def close(self) -> None:
        """Release weights and cache."""
        self._ledger.truncate(0)
        self._backend.close()

    def forget(self) -> None:
        """Drop the cache, so that the next prompt is computed from its start."""
        self._rewind(0)

    def fill(
        self,
        request: FillRequest,
        cancel: CancelFlag | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> FillResult:
        """Generate up to ``num_candidates`` texts for the gap.

        Candidates after the first begin with the next most probable tokens, so they
        are distinct from their first token on. ``on_text`` gets the first
        candidate's characters as they come, before any cut.

        Raises ``ContextTooLargeError`` when the output alone would fill the context.
        """
        budget = self._info.context_tokens - request.max_new_tokens
        if budget < 64:
            raise ContextTooLargeError(
                f"{request.max_new_tokens} new tokens leave no room for a prompt in "
                f"{self._info.context_tokens} tokens of context.",
                hint="Lower maxNewTokens or raise contextTokens.",
            )
        prompt = self._prompts.build(
            request.prefix,
            request.suffix,
            order=request.fim_order,
            budget_tokens=budget,
            prefix_start_line=request.prefix_start_line,
        )
        meter = _Meter(prompt_tokens=len(prompt.token_ids))
        candidates: list[Candidate] = []
        cancelled = False
        try:
            logits = self._prefill(prompt.token_ids, meter, cancel)
            for first in self._first_tokens(logits, request):
                if candidates:
                    self._rewind(len(prompt.token_ids))
                candidate = self._decode(
                    prompt.token_ids,
                    first,
                    replace(
                        request,
                        max_new_tokens=_limit(request.max_new_tokens, candidates),
                    ),
                    meter,
                    cancel,
                    None if candidates else on_text,
                    logits,
                )
                if candidate.finish_reason == "cancelled":
                    raise _Cancelled
                candidates.append(candidate)
        except _Cancelled:
            cancelled = True
        return FillResult(
            tuple(candidates), meter.statistics(), prompt.order, cancelled
        )

    def _first_tokens(
        self, logits: torch.Tensor, request: FillRequest
    ) -> list[tuple[int, float] | None]:
        """Return the forced first token of each candidate; ``None`` samples it."""
        if request.num_candidates <= 1:
            return [None]
        best, *others = top_tokens(logits, request.num_candidates + 1)
        # A candidate that begins by ending is no candidate, unless it is the best.
        alternatives = [one for one in others if one[0] not in self._prompts.stop_ids]
        if request.temperature > 0:
            return [None, *alternatives[: request.num_candidates - 1]]
        return [best, *alternatives[: request.num_candidates - 1]]

    def _prefill(
        self, token_ids: Sequence[int], meter: _Meter, cancel: CancelFlag | None
    ) -> torch.Tensor:
        """Bring the cache to ``token_ids``; return the last token's logits."""
        started = time.perf_counter()
        try:
            reused = self._ledger.num_reusable(token_ids)
            self._rewind(reused)
            meter.reused_tokens = reused
            chunk = self._backend.chunk_tokens
            for begin in range(reused, len(token_ids), chunk):
                logits = self._forward(token_ids[begin : begin + chunk], meter, cancel)
            return logits
        finally:
            meter.prefill_ms += (time.perf_counter() - started) * 1000

    def _forward(
        self, token_ids: Sequence[int], meter: _Meter, cancel: CancelFlag | None
    ) -> torch.Tensor:
        """Compute one chunk or step, unless cancelled; ledger and cache agree."""
        if cancel is not None and cancel.is_set():
            raise _Cancelled
        try:
            logits = self._backend.forward(token_ids)
        except BaseException:
            # A failed forward may have appended to some layers only.
            self._ledger.truncate(0)
            self._backend.truncate(0)
            raise
        self._ledger.append(token_ids)
        meter.forwards += 1
        return logits

    def _rewind(self, num_tokens: int) -> None:
        if num_tokens >= len(self._ledger):
            return
        try:
            self._backend.truncate(num_tokens)
        except BaseException:
            # Some layers may be shorter than others now. An empty ledger beside a
            # cache that is not empty would be worse still.
            self._ledger.truncate(0)
            self._backend.truncate(0)
            raise
        self._ledger.truncate(num_tokens)

    def _decode(
        self,
        prompt_ids: Sequence[int],
        first: tuple[int, float] | None,
        request: FillRequest,
        meter: _Meter,
        cancel: CancelFlag | None,
        on_text: Callable[[str], None] | None,
        logits: torch.Tensor,
    ) -> Candidate:
        """Generate one candidate after the prompt whose ``logits`` are given."""
        started = time.perf_counter()
        choose = (
            make_sampler(request.temperature, request.seed)
            if request.temperature > 0
            else greedy
        )
        decoder = StreamingDecoder(self._tokenizer, prompt_ids)
        text, num_tokens, logprob_sum = "", 0, 0.0
        reason = "length"
        try:
            while num_tokens < request.max_new_tokens:
                token_id, logprob = first or choose(logits)
                first = None
                num_tokens += 1
                meter.generated_tokens += 1
                logprob_sum += logprob
                if token_id in self._prompts.stop_ids:
                    reason = "eos"
                    break
                piece = decoder.push(token_id)
                if piece:
                    whole, broken, _ = piece.partition(REPLACEMENT)
                    text += whole
                    if broken:
                        # Bytes that are no UTF-8: nobody wants what follows.
                        reason = "invalid-text"
                        break
                    if on_text is not None:
                        on_text(piece)
                    cut = self._cut(request, text)
                    if cut is not None:
                        text, reason = text[: cut.end], cut.reason
                        break
                if num_tokens < request.max_new_tokens:
                    logits = self._forward([token_id], meter, cancel)
        except _Cancelled:
            reason = "cancelled"
        finally:
            meter.decode_ms += (time.perf_counter() - started) * 1000
        return Candidate(text, reason, num_tokens, logprob_sum / max(1, num_tokens))

    def _cut(self, request: FillRequest, text: str) -> Cut | None:
        return None if request.stop_rule is None else request.stop_rule(text)


def _limit(max_new_tokens: int, candidates: Sequence[Candidate]) -> int:
    """Return how many tokens the next candidate may take.

    An alternative much longer than the best one is rarely wanted, and somebody
    waits for all of them together.
    """
    if not candidates:
        return max_new_tokens
    best = candidates[0]
    wanted = 0 if best.finish_reason == "length" else 2 * best.num_tokens
    return min(max(wanted, _MIN_ALTERNATIVE_TOKENS), max_new_tokens)
