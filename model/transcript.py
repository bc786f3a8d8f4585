"""One candidate while it is written: tokens in, text and a reason to end out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from model.interface import Candidate, Cut, GeneratedToken, StopRule, TokenRule
from model.tokenizer import REPLACEMENT, CodeTokenizer, StreamingDecoder


class Transcript:
    """The text of the tokens pushed so far, until one of them decides to end it.

    A token decides that is in ``stop_ids``, that breaks a character, or after which
    a rule cuts. ``on_text`` gets characters as they come, before any cut. The first
    ``num_healed`` characters stand in the document already and are left out.
    """

    def __init__(
        self,
        tokenizer: CodeTokenizer,
        context_ids: Sequence[int],
        stop_ids: frozenset[int],
        stop_rule: StopRule | None,
        on_text: Callable[[str], None] | None = None,
        token_rule: TokenRule | None = None,
        num_healed: int = 0,
    ) -> None:
        self._decoder = StreamingDecoder(tokenizer, context_ids)
        self._stop_ids = stop_ids
        self._stop_rule = stop_rule
        self._on_text = on_text
        self._token_rule = token_rule
        self._num_healed = num_healed
        self._tokens: list[GeneratedToken] = []
        self._text = ""
        self._cut_at: int | None = None
        self._reason: str | None = None
        # After each token: characters so far, and the sum of log-probabilities.
        self._history: list[tuple[int, float]] = []

    @property
    def num_tokens(self) -> int:
        """How many tokens were pushed."""
        return len(self._history)

    def has_ended(self, limit: int) -> bool:
        """Whether the last token decided to end it, or was the ``limit``-th."""
        return self._reason is not None or self.num_tokens >= limit

    def push(self, token_id: int, logprob: float) -> None:
        """Add a token with its log-probability; only to what has not ended."""
        is_end = token_id in self._stop_ids
        if is_end:
            self._reason = "eos"
        self.push_text("" if is_end else self._decoder.push(token_id), logprob)

    def push_text(self, piece: str, logprob: float) -> None:
        """Add a token by the characters it completed, where its id is not known."""
        logprob_sum = logprob + (self._history[-1][1] if self._history else 0.0)
        before = len(self._text)
        healed = min(self._num_healed, len(piece))
        self._num_healed -= healed
        if piece[healed:]:
            self._add(piece[healed:])
        self._tokens.append(GeneratedToken(self._text[before:], logprob))
        self._history.append((len(self._text), logprob_sum))
        if self._token_rule is not None and self._reason is None:
            self._take(self._token_rule(self._tokens))

    def candidate(self, limit: int, reason: str = "length") -> Candidate:
        """Return what it is after at most ``limit`` tokens.

        ``reason`` is that of a text which no token ended.
        """
        num_tokens = min(limit, self.num_tokens)
        if num_tokens == 0:
            return Candidate("", reason, 0, 0.0)
        end: int | None
        end, logprob_sum = self._history[num_tokens - 1]
        if self._reason is not None and num_tokens == self.num_tokens:
            end, reason = self._cut_at, self._reason
        return Candidate(
            self._text[:end],
            reason,
            num_tokens,
            logprob_sum / num_tokens,
            tuple(self._tokens[:num_tokens]),
        )

    def _add(self, piece: str) -> None:
        whole, broken, _ = piece.partition(REPLACEMENT)
        self._text += whole
        if broken:
            # Bytes that are no UTF-8: nobody wants what follows.
            self._reason = "invalid-text"
            return
        if self._on_text is not None:
            self._on_text(piece)
        if self._stop_rule is not None:
            self._take(self._stop_rule(self._text))

    def _take(self, cut: Cut | None) -> None:
        if cut is not None:
            self._cut_at, self._reason = cut.end, cut.reason
