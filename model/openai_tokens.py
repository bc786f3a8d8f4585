"""The tokens in a server's answer, in the three forms that servers give them.

- vLLM's, asked for ``return_tokens_as_token_ids``: every token as ``token_id:N``;
- llama.cpp's: an id beside every token that completes a character;
- OpenAI's own: texts only, which are looked up in the vocabulary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.sampling import Scored
from model.tokenizer import REPLACEMENT, CodeTokenizer

_ID_PREFIX = "token_id:"
# What some servers write for minus infinity.
_LEAST_LOGPROB = -9999.0
_KEPT_TEXTS = 10_000
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Arrived:
    """One token, or the text of some that the server did not tell apart.

    ``token_id`` is None where it is not known, ``logprob`` where the server does not
    say it. ``top`` holds the most probable tokens in its place, best first.
    """

    text: str
    token_id: int | None = None
    logprob: float | None = None
    top: tuple[Scored, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """What one event of an answer brought.

    ``finish_reason`` comes with the last. With ``has_ids`` every token has its id, and
    the texts are not needed.
    """

    tokens: tuple[Arrived, ...] = ()
    finish_reason: str = ""
    has_ids: bool = False


class MalformedError(Exception):
    """An event that is no part of a completion."""


class TokenReader:
    """Reads events, for one tokenizer."""

    def __init__(self, tokenizer: CodeTokenizer) -> None:
        self.tokenizer = tokenizer
        self._controls = {
            tokenizer.decode([one]): one for one in sorted(tokenizer.control_ids)
        }
        self._ids_of_texts: dict[str, int | None] = {}

    def read(self, answer: Mapping[str, Any]) -> Event:
        """Return an event's tokens. Raises ``MalformedError``."""
        choices = answer.get("choices")
        if not isinstance(choices, list):
            raise MalformedError("no choices")
        if not choices:
            # The last event may be about usage only.
            return Event()
        choice = choices[0]
        if len(choices) > 1 or not isinstance(choice, dict):
            raise MalformedError("choices that nobody asked for")
        text = choice.get("text")
        if not isinstance(text, str):
            raise MalformedError("no text")
        # JSON can carry halves of characters, and no editor can.
        text = _SURROGATE.sub(REPLACEMENT, text)
        reason = str(choice.get("finish_reason") or "")
        told = choice.get("logprobs")
        try:
            if isinstance(told, dict) and told.get("content"):
                return Event(self._of_content(told["content"], text), reason)
            if isinstance(told, dict) and told.get("tokens"):
                return self._of_lists(told, text, reason)
        except (
            TypeError,
            ValueError,
            KeyError,
            AttributeError,
            OverflowError,
        ) as error:
            raise MalformedError("log-probabilities that are none") from error
        return Event((Arrived(text),) if text else (), reason)

    def _of_content(
        self, content: Sequence[Mapping[str, Any]], text: str
    ) -> tuple[Arrived, ...]:
        """Read llama.cpp's form."""
        texts = self._shared(text, [one["token"] for one in content])
        return tuple(
            Arrived(
                own,
                self._known(self._id_of(one)),
                _logprob(one["logprob"]),
                self._top(one.get("top_logprobs") or ()),
            )
            for own, one in zip(texts, content, strict=True)
        )

    def _of_lists(self, told: Mapping[str, Any], text: str, reason: str) -> Event:
        """Read OpenAI's own form, with vLLM's ids in the place of texts or without."""
        spelled: list[str] = told["tokens"]
        none = [None] * len(spelled)
        tokens = tuple(
            Arrived(
                own,
                self._known(self._id_of_text(token)),
                None if logprob is None else _logprob(logprob),
                self._top(
                    {"token": text, "logprob": one} for text, one in (top or {}).items()
                ),
            )
            for own, token, logprob, top in zip(
                self._shared(text, spelled),
                spelled,
                told.get("token_logprobs") or none,
                told.get("top_logprobs") or none,
                strict=True,
            )
        )
        has_ids = all(token.startswith(_ID_PREFIX) for token in spelled)
        return Event(tokens, reason, has_ids)

    def _top(self, told: Any) -> tuple[Scored, ...]:
        found = {self._id_of(one): _logprob(one["logprob"]) for one in told}
        scored = [
            (token, one)
            for token, one in found.items()
            # Models have scores for more ids than there are tokens.
            if token is not None and self._is_token(token)
        ]
        return tuple(sorted(scored, key=lambda one: -one[1]))

    def _known(self, token_id: int | None) -> int | None:
        """Return the id of a token that was chosen, which must be one of ours."""
        if token_id is not None and not self._is_token(token_id):
            raise MalformedError("a token that the model set here does not have")
        return token_id

    def _is_token(self, token_id: int) -> bool:
        tokenizer = self.tokenizer
        return token_id in tokenizer.control_ids or token_id in tokenizer.vocabulary

    def _id_of(self, told: Mapping[str, Any]) -> int | None:
        return int(told["id"]) if "id" in told else self._id_of_text(told["token"])

    def _id_of_text(self, token: str) -> int | None:
        """Return the id that a server's name of a token stands for, if it is one."""
        if token.startswith(_ID_PREFIX):
            return int(token.removeprefix(_ID_PREFIX))
        if token in self._controls:
            return self._controls[token]
        if token not in self._ids_of_texts:
            if len(self._ids_of_texts) >= _KEPT_TEXTS:
                self._ids_of_texts.clear()
            vocabulary = self.tokenizer.vocabulary
            spelling = token.encode("utf-8", "replace")
            # What is equal comes first of what begins so.
            first = vocabulary.beginning_with(spelling)[:1] if spelling else ()
            self._ids_of_texts[token] = next(
                (int(one) for one in first if vocabulary.bytes_of(one) == spelling),
                None,
            )
        return self._ids_of_texts[token]

    def _shared(self, text: str, spelled: Sequence[str]) -> Sequence[str]:
        """Return each token's part of an event's text.

        Control tokens are in it or are not. Where the tokens do not spell it, because
        they are ids or hold parts of characters, the last one has it all.
        """
        if "".join(spelled) == text:
            return spelled
        shown = ["" if one in self._controls else one for one in spelled]
        if "".join(shown) == text:
            return shown
        texts = [at for at, one in enumerate(spelled) if one not in self._controls]
        last = texts[-1] if texts else len(spelled) - 1
        return [text if at == last else "" for at in range(len(spelled))]


def _logprob(value: Any) -> float:
    number = float(value)
    if math.isnan(number):
        raise ValueError("not a number")
    return max(_LEAST_LOGPROB, min(0.0, number))
