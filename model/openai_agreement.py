"""Whether the ids that a server tells stand for the texts beside them."""

from __future__ import annotations

from itertools import takewhile

from model.openai_tokens import Arrived, Event
from model.remote_errors import TokensDisagreeError
from model.tokenizer import REPLACEMENT, CodeTokenizer

_COMPARED_TOKENS = 8


class Agreement:
    """Compares ids and texts of one answer's first tokens, as they come.

    Whoever restarts a server with another model is noticed by that.
    """

    def __init__(self, tokenizer: CodeTokenizer) -> None:
        self._tokenizer = tokenizer
        self._token_ids: list[int] = []
        self._told = ""
        self._num_compared = 0

    def check(self, event: Event) -> None:
        """Compare an event's tokens. Raises ``TokensDisagreeError``."""
        if self._num_compared >= _COMPARED_TOKENS:
            return
        self._num_compared += len(event.tokens)
        if event.has_ids:
            agrees = self._agrees_so_far(event)
        else:
            agrees = all(map(self._agrees, event.tokens))
        if not agrees:
            raise TokensDisagreeError(
                "The completion server's model has other tokens than those of the "
                "model that is set here.",
                hint="Set model to what the server serves, by name or directory.",
            )

    def _agrees_so_far(self, event: Event) -> bool:
        """Compare all texts with all ids: a text may come later than its tokens."""
        self._told += "".join(one.text for one in event.tokens)
        self._token_ids += [
            one.token_id for one in event.tokens if one.token_id is not None
        ]
        controls = self._tokenizer.control_ids
        plain = list(takewhile(lambda one: one not in controls, self._token_ids))
        ours = self._tokenizer.decode(plain)
        told = self._told
        if len(plain) < len(self._token_ids):
            # Servers show some control tokens, and what is said after one is not used.
            spelled = self._tokenizer.decode([self._token_ids[len(plain)]])
            told = told.partition(spelled)[0]
        is_whole = bool(event.finish_reason) or self._num_compared >= _COMPARED_TOKENS
        return _are_alike(told, ours, is_whole=is_whole)

    def _agrees(self, token: Arrived) -> bool:
        """Compare a token with the text that it completed, characters before it too."""
        if token.token_id is None or REPLACEMENT in token.text:
            return True
        if token.token_id in self._tokenizer.control_ids:
            return token.text in ("", self._tokenizer.decode([token.token_id]))
        spelling = self._tokenizer.vocabulary.bytes_of(token.token_id)
        try:
            ours = spelling.decode()
        except UnicodeDecodeError:
            # A part of a character.
            return True
        # The blank before a text's first word comes with it or does not.
        return token.text.strip().endswith(ours.strip())


def _are_alike(told: str, ours: str, *, is_whole: bool) -> bool:
    """Tell whether one text begins the other; two ``whole`` ones are empty together.

    What is half a character is written in several ways, and so are blanks before a
    text's first word.
    """
    is_broken = REPLACEMENT in told + ours
    told, ours = (one.partition(REPLACEMENT)[0].lstrip() for one in (told, ours))
    shorter = min(len(told), len(ours))
    if is_whole and not is_broken and bool(told) != bool(ours):
        return False
    return told[:shorter] == ours[:shorter]
