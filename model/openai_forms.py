"""How a server wants to be asked: what it takes, and what it tells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model.remote_errors import ControlTextError
from model.tokenizer import CodeTokenizer

MOST_TOP = 20
"""As many probable tokens as vLLM tells unless it is started otherwise."""
MOST_CHOSEN_OF = 128
"""Of so many tokens vLLM tells the probabilities of all."""
_OPENAI_TOP = 5
# Defaults of servers and of models' own files that would change what is chosen.
_NEUTRAL = {"repetition_penalty": 1.0, "repeat_penalty": 1.0}
_NEUTRAL_SAMPLING = {"top_k": -1, "min_p": 0.0}


@dataclass(frozen=True, slots=True)
class RequestForm:
    """What may stand in a request.

    ``num_top`` is for how many tokens it tells probabilities, 0 for none. With
    ``extras`` it takes fields that OpenAI's API lacks, and with ``constrains`` it
    heeds vLLM's ``allowed_token_ids``.
    """

    takes_ids: bool
    extras: bool
    num_top: int
    constrains: bool = False

    @property
    def constraining(self) -> RequestForm:
        """The same, for a server that heeds ``allowed_token_ids``."""
        return replace(self, constrains=True)

    def __str__(self) -> str:
        prompts = "token ids" if self.takes_ids else "text"
        told = f"{self.num_top} tokens" if self.num_top else "none"
        exact = ", constrained where need be" if self.constrains else ""
        return f"prompts go as {prompts}, probabilities come of {told}{exact}"


FORMS = (
    RequestForm(takes_ids=True, extras=True, num_top=MOST_TOP),
    RequestForm(takes_ids=True, extras=True, num_top=_OPENAI_TOP),
    RequestForm(takes_ids=True, extras=False, num_top=_OPENAI_TOP),
    RequestForm(takes_ids=False, extras=False, num_top=_OPENAI_TOP),
    RequestForm(takes_ids=False, extras=False, num_top=0),
)
"""The best first."""


class RequestWriter:
    """Writes requests to one model, in one form."""

    def __init__(self, form: RequestForm, model: str, tokenizer: CodeTokenizer) -> None:
        self.form = form
        self._model = model
        self._tokenizer = tokenizer
        self._controls = {
            tokenizer.decode([one]): one for one in sorted(tokenizer.control_ids)
        }
        spellings = sorted(self._controls, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, spellings)) or "(?!)")

    @property
    def control_spellings(self) -> Sequence[str]:
        """The control tokens as they are written in text."""
        return list(self._controls)

    def body(
        self,
        token_ids: Sequence[int],
        *,
        max_tokens: int,
        num_top: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Return a request. Raises ``ControlTextError``."""
        body: dict[str, Any] = {
            "model": self._model,
            "prompt": list(token_ids)
            if self.form.takes_ids
            else self.text_of(token_ids),
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        if temperature > 0:
            body |= {"seed": seed, "top_p": 1.0}
        if self.form.num_top:
            body["logprobs"] = min(num_top, self.form.num_top)
        if self.form.extras:
            body |= {"return_tokens_as_token_ids": True, **_NEUTRAL}
            if temperature > 0:
                body |= _NEUTRAL_SAMPLING
        return body

    def choice(
        self, token_ids: Sequence[int], allowed: Sequence[int]
    ) -> Mapping[str, Any]:
        """Return a request for the best of the ``allowed`` tokens.

        vLLM then tells the probabilities of all of them; older versions do of that one.
        """
        return {
            **self.body(token_ids, max_tokens=1, num_top=self.form.num_top),
            "allowed_token_ids": list(allowed),
            "logprob_token_ids": list(allowed),
        }

    def text_of(self, token_ids: Sequence[int]) -> str:
        """Return a prompt as text, for a server that finds the control tokens in it.

        Raises ``ControlTextError`` where it would find another than are meant.
        """
        text = self._tokenizer.decode(token_ids)
        found = [self._controls[one] for one in self._control.findall(text)]
        meant = [one for one in token_ids if one in self._tokenizer.control_ids]
        if found != meant:
            raise ControlTextError(
                "The text around the cursor spells a control token of the model, which "
                "the completion server would take for one.",
                hint="Use a server that takes token ids, such as vLLM or llama-server.",
            )
        return text
