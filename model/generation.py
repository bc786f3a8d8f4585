"""One request while it runs: prefill in chunks, decode, stop in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from model.backend import Logits
from model.batch import Batch, candidate_limit
from model.draft import Drafter
from model.fim import Prompt
from model.healing import HealingState
from model.interface import CancelFlag, Candidate, FillRequest, FillResult
from model.meter import Meter
from model.sampling import Sampler, Scored, choose_of, make_sampler, top_of
from model.sessions import Sessions
from model.tokenizer import CodeTokenizer
from model.transcript import Transcript


class _Cancelled(Exception):
    """The cancel flag was seen; what is computed stays in the cache."""


class Generation:
    """Candidates for one prompt.

    ``chunk_tokens`` and ``most_branches`` are the backend's. Without a ``drafter``
    every token takes a pass of its own.
    """

    def __init__(
        self,
        sessions: Sessions,
        tokenizer: CodeTokenizer,
        stop_ids: frozenset[int],
        prompt: Prompt,
        request: FillRequest,
        *,
        chunk_tokens: int,
        most_branches: Callable[[int, int], int],
        drafter: Drafter | None = None,
        cancel: CancelFlag | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> None:
        self._sessions = sessions
        self._tokenizer = tokenizer
        self._stop_ids = stop_ids
        self._prompt = prompt
        self._request = request
        self._chunk_tokens = chunk_tokens
        self._most_branches = most_branches
        self._drafter = drafter
        self._cancel = cancel
        self._on_text = on_text
        self._meter = Meter()
        self._meter.add(prompt_tokens=len(prompt.token_ids))
        self._healed = prompt.healing.text if prompt.healing else ""
        self._candidates: list[Candidate] = []

    def run(self) -> FillResult:
        """Generate; what is done when it is cancelled is in the result."""
        cancelled = False
        try:
            with self._meter.time("prefill_ms"):
                logits, draft = self._prefill()
            with self._meter.time("decode_ms"):
                if self._request.num_candidates <= 1:
                    self._decode(None, logits, draft)
                else:
                    self._decode_several(self._first_tokens(logits), logits)
        except _Cancelled:
            cancelled = True
        statistics = self._meter.statistics
        return FillResult(
            tuple(self._candidates),
            statistics,
            self._prompt.order,
            cancelled,
            self._prompt.parts_with(statistics.reused_tokens),
            self._healed,
        )

    def _prefill(self) -> tuple[Logits, list[int]]:
        """Bring the cache to the prompt, and perhaps verify a first draft with it.

        Returns the logits after the prompt's last token and after each drafted one.
        """
        token_ids = self._prompt.token_ids
        reused = self._sessions.choose(token_ids)
        self._meter.add(reused_tokens=reused)
        last = reused
        while last + self._chunk_tokens < len(token_ids):
            self._forward(token_ids[last : last + self._chunk_tokens], wanted=False)
            last += self._chunk_tokens
        pending = token_ids[last:]
        if self._prompt.healing is not None:
            # What comes next is half known already, and chosen of few.
            return self._forward(pending), []
        draft = self._propose(self._request.max_new_tokens - 1, len(pending))
        return self._forward(pending, draft), draft

    def _first_tokens(self, logits: Logits) -> list[Scored | None]:
        """Return the forced first token of each candidate; ``None`` samples it."""
        wanted = self._request.num_candidates
        healing = self._healing()
        if healing is None:
            best, *others = logits.top(0, wanted + 1)
        else:
            best, *others = top_of(logits.row(0), healing.allowed(), wanted)
        # A candidate that begins by ending is no candidate, unless it is the best.
        alternatives = [one for one in others if one[0] not in self._stop_ids]
        sampled = self._request.temperature > 0
        return [None if sampled else best, *alternatives[: wanted - 1]]

    def _decode_several(self, firsts: Sequence[Scored | None], logits: Logits) -> None:
        """Decode a candidate for each first token, as many at once as can be."""
        num_shared = len(self._prompt.token_ids)
        most = self._most_branches(num_shared, self._request.max_new_tokens)
        for begin in range(0, len(firsts), most):
            some = firsts[begin : begin + most]
            self._sessions.rewind(num_shared)
            if len(some) == 1:
                self._decode(some[0], logits, [])
            else:
                self._decode_batch(some, logits)

    def _decode(
        self, first: Scored | None, logits: Logits, draft: Sequence[int]
    ) -> None:
        """Decode one candidate after the prompt, whose ``logits`` are given.

        Positions after the first are those of ``draft``. What was verified and is
        wrong, or comes after the deciding token, leaves the cache again.
        """
        best = self._candidates[0] if self._candidates else None
        limit = candidate_limit(self._request.max_new_tokens, best)
        transcript = self._transcript()
        sampler = self._sampler()
        healing = self._healing()
        while not transcript.has_ended(limit):
            if first is not None:
                tokens, first = [first], None
            elif healing is not None:
                tokens = [choose_of(logits.row(0), healing.allowed(), sampler)]
            elif draft:
                tokens = _accepted(logits.greedy(), draft)
            else:
                tokens = _chosen(logits, sampler)
            num_accepted = len(tokens) - 1
            self._sessions.rewind(
                len(self._sessions.ledger) - len(draft) + num_accepted
            )
            if self._drafter is not None:
                self._drafter.observe([token_id for token_id, _ in tokens])
            for index, token in enumerate(tokens):
                if transcript.has_ended(limit):
                    break
                transcript.push(*token)
                self._meter.add(
                    generated_tokens=1, accepted_tokens=index < num_accepted
                )
            healing = _continued(healing, tokens[-1])
            if not transcript.has_ended(limit):
                draft = []
                if healing is None:
                    draft = self._propose(limit - transcript.num_tokens - 1)
                logits = self._forward([tokens[-1][0]], draft)
        self._sessions.rewind(len(self._prompt.token_ids) + transcript.num_tokens - 1)
        self._candidates.append(transcript.candidate(limit))

    def _decode_batch(self, firsts: Sequence[Scored | None], logits: Logits) -> None:
        """Decode several candidates, a token of each in every pass.

        One that has ended is fed tokens that nobody reads until all have, because
        branches keep their number.
        """
        batch = Batch(
            [self._transcript(position) for position in range(len(firsts))],
            self._request.max_new_tokens,
            self._candidates[0] if self._candidates else None,
        )
        samplers = [self._sampler() for _ in firsts]
        healings = [self._healing() for _ in firsts]
        # Only the very first token is sampled here, so each is a row of its own.
        tokens = [
            first or self._sampled(logits, sampler, healing)
            for first, sampler, healing in zip(firsts, samplers, healings, strict=True)
        ]
        try:
            self._meter.add(generated_tokens=batch.push(tokens))
            healings = [*map(_continued, healings, tokens)]
            while not batch.ended:
                self._check()
                logits = self._sessions.branch([token_id for token_id, _ in tokens])
                self._meter.add(forwards=1)
                tokens = _chosen(logits, *samplers)
                for position, healing in enumerate(healings):
                    if healing is not None:
                        tokens[position] = choose_of(
                            logits.row(position), healing.allowed(), samplers[position]
                        )
                healings = [*map(_continued, healings, tokens)]
                self._meter.add(generated_tokens=batch.push(tokens))
        finally:
            self._sessions.end_branches()
            self._candidates += batch.candidates()

    def _forward(
        self,
        token_ids: Sequence[int],
        draft: Sequence[int] = (),
        *,
        wanted: bool = True,
    ) -> Logits:
        """Compute one chunk or step and what is drafted after it, unless cancelled."""
        self._check()
        num_logits = len(draft) + 1 if wanted else 0
        logits = self._sessions.forward([*token_ids, *draft], num_logits)
        self._meter.add(forwards=1, drafted_tokens=len(draft))
        return logits

    def _check(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise _Cancelled

    def _propose(self, limit: int, num_pending: int = 1) -> list[int]:
        if self._drafter is None:
            return []
        return self._drafter.propose(limit, num_pending)

    def _transcript(self, position: int = 0) -> Transcript:
        """Return an empty transcript; the very first one is listened to."""
        is_first = not self._candidates and position == 0
        return Transcript(
            self._tokenizer,
            self._prompt.token_ids,
            self._stop_ids,
            self._request.stop_rule,
            self._on_text if is_first else None,
            self._request.token_rule,
            len(self._healed),
        )

    def _healing(self) -> HealingState | None:
        """Return what a new candidate has to continue, if anything."""
        healing = self._prompt.healing
        return None if healing is None else healing.begin()

    @staticmethod
    def _sampled(
        logits: Logits, sampler: Sampler | None, healing: HealingState | None
    ) -> Scored:
        if healing is None:
            return _chosen(logits, sampler)[0]
        return choose_of(logits.row(0), healing.allowed(), sampler)

    def _sampler(self) -> Sampler | None:
        """Return a sampler, the same for each candidate; ``None`` to be greedy."""
        request = self._request
        if request.temperature <= 0:
            return None
        return make_sampler(request.temperature, request.seed)


def _continued(healing: HealingState | None, token: Scored) -> HealingState | None:
    """Return what is still to be continued after a token."""
    if healing is None:
        return None
    healing.push(token[0])
    return None if healing.is_done else healing


def _accepted(best: Sequence[Scored], draft: Sequence[int]) -> list[Scored]:
    """Return the drafted tokens that are best, and the best after them."""
    count = 0
    while count < len(draft) and draft[count] == best[count][0]:
        count += 1
    return list(best[: count + 1])


def _chosen(logits: Logits, *samplers: Sampler | None) -> list[Scored]:
    """Return the next token at each of the first positions; ``None`` is greedy."""
    if None in samplers:
        return logits.greedy()[: len(samplers)]
    return [
        sampler(logits.row(position))
        for position, sampler in enumerate(samplers)
        if sampler is not None
    ]
