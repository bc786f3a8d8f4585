"""One request to a completion server while it runs: the local rules, at a distance.

What the engine here does between two tokens is done with what the server tells of each:
the first ones must continue what was typed, candidates begin with the next most
probable tokens, and the stream is closed with the token that decides the text.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, TypeVar

from model.batch import candidate_limit
from model.fim import Prompt
from model.interface import Candidate, Cut, FillRequest, FillResult
from model.meter import Meter
from model.openai_agreement import Agreement
from model.openai_client import CompletionsClient, Json
from model.openai_forms import MOST_CHOSEN_OF, MOST_TOP, RequestWriter
from model.openai_healing import Continuation
from model.openai_tokens import Arrived, Event, MalformedError, TokenReader
from model.remote_errors import BadAnswerError, RemoteError
from model.sampling import Scored, make_sampler
from model.stopping import stop_at_strings
from model.tokenizer import CodeTokenizer
from model.transcript import Transcript

logger = logging.getLogger(__name__)

T = TypeVar("T")

# In so many requests side by side that nobody minds.
_MOST_ALLOWED_TOKENS = 8 * MOST_CHOSEN_OF
# What a server does not cut into tokens is bounded by its length.
_MOST_CHARACTERS_PER_TOKEN = 16


class UnhealableError(Exception):
    """No token that would continue what was typed is known to be probable."""


class _Track:
    """One candidate on its way; ``token_ids`` are those the server is told."""

    def __init__(self, transcript: Transcript, continuation: Continuation) -> None:
        self.transcript = transcript
        self.continuation = continuation
        self.token_ids: list[int] = []
        self.num_characters = 0
        self.end_reason = ""

    def has_ended(self, limit: int) -> bool:
        return bool(self.end_reason) or self.transcript.has_ended(limit)

    def push(self, token_id: int, logprob: float) -> None:
        self.token_ids.append(token_id)
        self.continuation.push(token_id)
        self.transcript.push(token_id, logprob)


class RemoteGeneration:
    """Candidates for one prompt. ``stop_ids`` are never text."""

    def __init__(
        self,
        client: CompletionsClient,
        writer: RequestWriter,
        reader: TokenReader,
        tokenizer: CodeTokenizer,
        stop_ids: frozenset[int],
        prompt: Prompt,
        request: FillRequest,
        on_text: Callable[[str], None] | None = None,
    ) -> None:
        self._client = client
        self._writer = writer
        self._reader = reader
        self._tokenizer = tokenizer
        self._stop_ids = stop_ids
        self._prompt = prompt
        self._request = request
        self._on_text = on_text
        self._healed = prompt.healing.text if prompt.healing else ""
        self._control_rule = stop_at_strings(writer.control_spellings)
        # Text that only looks like a control token is text, where ids tell them apart.
        self._has_ids = False
        self._tracks: list[_Track] = []
        self._others: list[asyncio.Task[None]] = []
        self._meter = Meter()
        self._meter.add(prompt_tokens=len(prompt.token_ids))
        self._begun_s = time.perf_counter()

    async def run(self) -> None:
        """Generate, for ``result``.

        Raises a ``RemoteError`` where the first candidate fails, and
        ``UnhealableError`` where it cannot continue what was typed.
        """
        first = self._new_track()
        try:
            await self._decode(first)
            await asyncio.gather(*self._others)
        finally:
            await _end(self._others)
            decoded_ms = (time.perf_counter() - self._begun_s) * 1000
            prefilled_ms = self._meter.statistics.prefill_ms
            self._meter.add(decode_ms=max(0.0, decoded_ms - prefilled_ms))

    def result(self, *, cancelled: bool = False) -> FillResult:
        """Return the candidates that are whole."""
        candidates: list[Candidate] = []
        for track in self._tracks:
            limit = self._limit_of(track)
            if track.has_ended(limit):
                candidates.append(
                    track.transcript.candidate(limit, track.end_reason or "length")
                )
            elif not candidates:
                # Without the best one the others are nothing to go by.
                break
        return FillResult(
            tuple(candidates),
            self._meter.statistics,
            self._prompt.order,
            cancelled,
            self._prompt.parts_with(0),
            self._healed,
        )

    async def _decode(self, track: _Track) -> None:
        """Follow streams until the candidate has ended."""
        while not track.has_ended(self._limit_of(track)):
            refused = await self._follow(track)
            if refused is None:
                track.end_reason = track.end_reason or "length"
                return
            ranked = track.continuation.ranked(refused.top)
            if not ranked:
                ranked = await self._constrained(track.continuation, track.token_ids)
            self._begin_others(track, ranked, None)
            token_id, logprob = ranked[0]
            if self._request.temperature > 0:
                position, logprob = make_sampler(
                    self._request.temperature, self._request.seed
                )([one for _, one in ranked])
                token_id = ranked[position][0]
            track.push(token_id, logprob)
            self._meter.add(generated_tokens=1)

    async def _follow(self, track: _Track) -> Arrived | None:
        """Take a stream's tokens until the candidate has ended.

        Return the token with which it does not continue what was typed, if it does not.
        """
        limit = self._limit_of(track)
        is_open = not track.continuation.is_done or self._wants_others(track)
        body = self._writer.body(
            [*self._prompt.token_ids, *track.token_ids],
            max_tokens=limit - track.transcript.num_tokens,
            num_top=MOST_TOP if is_open else 1,
            temperature=self._request.temperature,
            seed=self._request.seed,
        )
        self._meter.add(forwards=1)
        agreement = Agreement(self._tokenizer)
        async with aclosing(self._client.stream(body)) as answers:
            async for answer in answers:
                event = self._read(answer)
                agreement.check(event)
                for token in event.tokens:
                    if not track.continuation.admits(token, has_id=event.has_ids):
                        return token
                    self._take(track, token)
                    # The limit falls when the best candidate has ended.
                    if track.has_ended(self._limit_of(track)):
                        return None
                if event.finish_reason:
                    if not track.continuation.is_done:
                        return Arrived("")
                    stopped = event.finish_reason == "stop"
                    track.end_reason = "eos" if stopped else "length"
        return None

    def _take(self, track: _Track, token: Arrived) -> None:
        """Take a token that may come."""
        logprob = 0.0 if token.logprob is None else token.logprob
        ranked = track.continuation.ranked(token.top)
        if not track.continuation.is_done and token.token_id is not None:
            logprob = dict(ranked).get(token.token_id, logprob)
        self._begin_others(track, ranked, token)
        if token.token_id is not None and (
            self._has_ids or token.token_id in self._stop_ids
        ):
            track.push(token.token_id, logprob)
        elif token.text:
            limit = self._request.max_new_tokens
            most = _MOST_CHARACTERS_PER_TOKEN * limit - track.num_characters
            text = token.text[:most]
            track.num_characters += len(text)
            if not track.continuation.is_done:
                # Should the next one be refused, the server is told this one.
                track.token_ids += self._tokenizer.encode(text)
            track.continuation.push_text(text)
            track.transcript.push_text(text, logprob)
            if len(text) < len(token.text):
                track.end_reason = "length"
        self._meter.add(generated_tokens=1)

    async def _constrained(
        self, continuation: Continuation, told_ids: Sequence[int]
    ) -> list[Scored]:
        """Ask for the tokens that may come, best first, with their probabilities.

        Raises ``UnhealableError`` where the server cannot say them.
        """
        allowed = continuation.allowed()
        if not self._writer.form.constrains or len(allowed) > _MOST_ALLOWED_TOKENS:
            raise UnhealableError
        told = [*self._prompt.token_ids, *told_ids]
        answers = await _together(
            self._client.complete(
                self._writer.choice(told, allowed[at : at + MOST_CHOSEN_OF])
            )
            for at in range(0, len(allowed), MOST_CHOSEN_OF)
        )
        self._meter.add(forwards=len(answers))
        firsts = [token for one in answers for token in self._read(one).tokens[:1]]
        found = dict(scored for first in firsts for scored in first.top)
        top = sorted(found.items(), key=lambda one: -one[1])
        if ranked := continuation.ranked(top):
            return ranked
        raise UnhealableError

    # --- candidates beside the first ----------------------------------------

    def _wants_others(self, track: _Track) -> bool:
        return (
            track is self._tracks[0]
            and track.transcript.num_tokens == 0
            and self._request.num_candidates > 1
        )

    def _begin_others(
        self, track: _Track, ranked: Sequence[Scored], chosen: Arrived | None
    ) -> None:
        """Begin the other candidates with what the first might have begun with."""
        if not self._wants_others(track) or not ranked:
            return
        best = ranked[0][0]
        if self._request.temperature <= 0 and chosen and chosen.token_id is not None:
            # Of equals, the server may choose another.
            best = chosen.token_id
        work = self._decode_others(ranked, best)
        self._others.append(asyncio.create_task(work))

    async def _decode_others(self, ranked: Sequence[Scored], best: int) -> None:
        """Decode candidates that the request can do without."""
        wanted = self._request.num_candidates
        fresh = Continuation(self._tokenizer.vocabulary, self._prompt.healing)
        try:
            if len(ranked) < wanted and not fresh.is_done:
                with suppress(UnhealableError):
                    ranked = await self._constrained(fresh, [])
            # A candidate that begins by ending is no candidate.
            others = [
                one for one in ranked if one[0] != best and one[0] not in self._stop_ids
            ]
            tracks = [self._new_track() for _ in others[: wanted - 1]]
            for track, beginning in zip(tracks, others, strict=False):
                track.push(*beginning)
                self._meter.add(generated_tokens=1)
            await _together(map(self._decode_other, tracks))
        except RemoteError as error:
            logger.info("the other candidates were given up: %s", error)

    async def _decode_other(self, track: _Track) -> None:
        """Decode a candidate that the request can do without."""
        try:
            await self._decode(track)
        except (RemoteError, UnhealableError) as error:
            logger.info("a candidate was given up: %s", error)

    def _limit_of(self, track: _Track) -> int:
        """Return how many tokens a candidate may have, as far as is known."""
        most = self._request.max_new_tokens
        first = self._tracks[0]
        if track is first:
            return most
        best = None
        if first.has_ended(most):
            best = first.transcript.candidate(most, first.end_reason or "length")
        return candidate_limit(most, best)

    def _new_track(self) -> _Track:
        is_first = not self._tracks
        transcript = Transcript(
            self._tokenizer,
            self._prompt.token_ids,
            self._stop_ids,
            self._stop_rule,
            self._on_text if is_first else None,
            self._request.token_rule,
            len(self._healed),
        )
        continuation = Continuation(self._tokenizer.vocabulary, self._prompt.healing)
        self._tracks.append(_Track(transcript, continuation))
        return self._tracks[-1]

    # --- reading ------------------------------------------------------------

    def _read(self, answer: Json) -> Event:
        try:
            event = self._reader.read(answer)
        except MalformedError as error:
            raise BadAnswerError(
                f"The completion server answers with {error}.",
                hint="Check that endpoint is that of an OpenAI-compatible server.",
            ) from error
        if event.tokens:
            self._has_ids = event.has_ids
            if not self._meter.statistics.prefill_ms:
                waited_s = time.perf_counter() - self._begun_s
                self._meter.add(prefill_ms=waited_s * 1000)
        return event

    def _stop_rule(self, text: str) -> Cut | None:
        rule = self._request.stop_rule
        cut = rule(text) if rule is not None else None
        if self._has_ids:
            return cut
        control = self._control_rule(text)
        if control is None or (cut is not None and cut.end <= control.end):
            return cut
        return replace(control, reason="eos")


async def _together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do some work side by side; where one part fails, the rest is ended."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await _end(tasks)


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
