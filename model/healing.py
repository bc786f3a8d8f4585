"""Token healing: the word that the cursor cuts is completed as if it had been whole.

A text that ends inside a word, or after a blank, is tokenised as no training text was,
and a model continues it badly. The last tokens are therefore taken back, and the first
generated ones must continue their bytes (after Lundberg's "token healing" in
github.com/guidance-ai/guidance, which takes back one token).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.tokenizer import CodeTokenizer
from model.vocabulary import Vocabulary

_MOST_TOKENS = 8
_MOST_BYTES = 48


@dataclass(frozen=True, slots=True)
class Healing:
    """The tokens that were taken off a prefix, and the text they were."""

    vocabulary: Vocabulary
    token_ids: tuple[int, ...]
    text: str

    def begin(self) -> HealingState:
        """Return the state of a candidate that has no token yet."""
        return HealingState(self.vocabulary, self.token_ids)


class HealingState:
    """What one candidate's next token must continue, until that is done."""

    def __init__(self, vocabulary: Vocabulary, token_ids: Sequence[int]) -> None:
        self._vocabulary = vocabulary
        self._token_ids = list(token_ids)
        # Where one of the tokens taken back begins, by how many bytes are left.
        self._starts: dict[int, int] = {}
        self._rest = b""
        for token_id in reversed(token_ids):
            self._rest = vocabulary.bytes_of(token_id) + self._rest
            self._starts[len(self._rest)] = token_id

    @property
    def is_done(self) -> bool:
        """Whether any token may come next."""
        return not self._rest

    def allowed(self) -> npt.NDArray[np.int64]:
        """Return the ids that may come next, ascending; at least one.

        Those that begin with all that is left; the very token that stood here; and
        of blanks all but the last, which usually belongs to the next word.
        """
        rest = self._rest
        shorter = [self._starts[len(rest)]] if len(rest) in self._starts else []
        if len(rest) > 1 and not rest.strip(b" "):
            blanks = self._vocabulary.beginning_with(rest[:-1])
            shorter += [
                int(one)
                for one in blanks
                if self._vocabulary.bytes_of(int(one)) == rest[:-1]
            ]
        covering = self._vocabulary.beginning_with(rest)
        return np.union1d(covering, np.array(shorter, dtype=np.int64))

    @property
    def rest(self) -> bytes:
        """What is still to be continued."""
        return self._rest

    def push(self, token_id: int) -> None:
        """Take the token that was chosen of those allowed."""
        self.push_bytes(self._vocabulary.bytes_of(token_id))

    def push_bytes(self, spelled: bytes) -> None:
        """Take tokens that continue it by what they spell."""
        self._rest = self._rest[len(spelled) :]


def plan_healing(tokenizer: CodeTokenizer, prefix_ids: Sequence[int]) -> Healing | None:
    """Return what to take off the end of a prefix, ``None`` where nothing helps.

    A token is taken back, with all after it, if the vocabulary has one that begins
    with their bytes and goes on: then a whole text might have had that one instead.
    Line ends stay.
    """
    vocabulary = tokenizer.vocabulary
    ending = b""
    best = 0
    # A text's first SentencePiece token may begin with a blank that is not in the text.
    num_tokens = len(prefix_ids) - (not tokenizer.is_byte_level)
    for count in range(1, min(_MOST_TOKENS, num_tokens) + 1):
        spelling = vocabulary.bytes_of(prefix_ids[-count])
        ending = spelling + ending
        if not spelling or b"\n" in spelling or b"\r" in spelling:
            break
        if len(ending) > _MOST_BYTES:
            break
        if vocabulary.has_longer(ending):
            best = count
    while best:
        taken = tuple(prefix_ids[-best:])
        whole = b"".join(map(vocabulary.bytes_of, taken))
        try:
            return Healing(vocabulary, taken, whole.decode())
        except UnicodeDecodeError:
            # It would begin within a character.
            best -= 1
    return None
