"""What travels between the server and the model: frozen data and two Protocols.

Nothing here imports torch, so the server can name these types before a model is
loaded. Times are milliseconds, counts are tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

FimOrder = Literal["auto", "psm", "spm"]
"""``auto`` takes the order that the catalogue holds to be best for the model."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What the user asked for; ``auto`` and ``None`` leave the choice to us.

    With the backend ``openai`` the server at ``endpoint`` computes ``remote_model``;
    ``model`` then says whose tokenizer and prompts those are, and ``api_key_file``
    where the key lies, which is no part of any options.
    """

    model: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    context_tokens: int | None = None
    threads: int | None = None
    niceness: int = 0
    cache_dtype: str = "auto"
    memory_gib: float | None = None
    allow_download: bool = False
    backend: str = "local"
    endpoint: str = "http://127.0.0.1:8000/v1"
    remote_model: str = "auto"
    api_key_file: str = "auto"
    remote_timeout_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """One step of loading, for a progress bar. ``fraction`` is 0–1 or unknown."""

    stage: str
    fraction: float | None = None


ProgressCallback = Callable[[LoadProgress], None]


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What is loaded, and what was decided on the way (``notes``)."""

    model: str
    backend: str
    device: str
    dtype: str
    context_tokens: int
    fim_orders: tuple[str, ...]
    load_ms: float
    notes: tuple[str, ...] = ()


class CancelFlag(Protocol):
    """Read at every prefill chunk and every decode step (``threading.Event`` fits)."""

    def is_set(self) -> bool:
        """Return whether the work should stop now."""
        ...


@dataclass(frozen=True, slots=True)
class Cut:
    """A stop rule's verdict: keep ``text[:end]``, because of ``reason``."""

    end: int
    reason: str


StopRule = Callable[[str], Cut | None]
"""Pure function of all text generated so far; called after every new token."""


@dataclass(frozen=True, slots=True)
class GeneratedToken:
    """One token of a candidate: the characters it completed, perhaps none.

    ``logprob`` is that of the distribution it was chosen from: where the token had to
    continue what was typed, of the tokens that do.
    """

    text: str
    logprob: float


TokenRule = Callable[[Sequence[GeneratedToken]], Cut | None]
"""Pure function of all tokens generated so far; called after every new one."""


@dataclass(frozen=True, slots=True)
class ContextChunk:
    """Text from elsewhere that is shown to the model before the document.

    ``path`` is relative to the workspace, with ``/``. ``source`` names why it is
    there, such as ``definition``.
    """

    path: str
    text: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class PromptPart:
    """A part of a prompt: ``context``, ``suffix``, ``prefix`` or ``control``.

    ``num_reused`` of its ``num_tokens`` were not computed again.
    """

    kind: str
    num_tokens: int
    num_reused: int = 0
    path: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class FillRequest:
    """Fill the gap between ``prefix`` and ``suffix``.

    ``prefix_start_line`` is the line number in the document at which ``prefix``
    begins, so that a window cut at a multiple of lines stays where it is while the
    user types. With ``heal``, a word or blank that the cursor cuts is completed as if
    the model had read it whole. ``context`` stands before the document, in its order,
    in the way that the model was taught; ``path`` is the document's.
    """

    prefix: str
    suffix: str
    max_new_tokens: int
    fim_order: FimOrder = "auto"
    temperature: float = 0.0
    seed: int = 0
    num_candidates: int = 1
    stop_rule: StopRule | None = None
    prefix_start_line: int = 0
    token_rule: TokenRule | None = None
    heal: bool = False
    context: tuple[ContextChunk, ...] = ()
    path: str = ""
    repository: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One generated text, already cut by the stop rule.

    ``finish_reason`` is ``eos``, ``length``, ``cancelled`` or the rule's own reason.
    ``mean_logprob`` is the mean log-probability of the generated tokens, which
    ``tokens`` holds one by one, those after a cut included.
    """

    text: str
    finish_reason: str
    num_tokens: int
    mean_logprob: float
    tokens: tuple[GeneratedToken, ...] = ()


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one request cost.

    Of ``drafted_tokens``, which were guessed and verified several in one forward,
    ``accepted_tokens`` were right and are among ``generated_tokens``.
    """

    prompt_tokens: int = 0
    reused_tokens: int = 0
    generated_tokens: int = 0
    forwards: int = 0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    drafted_tokens: int = 0
    accepted_tokens: int = 0


@dataclass(frozen=True, slots=True)
class FillResult:
    """Candidates, best first; none when cancelled during prefill.

    ``healed`` is the end of the prefix that was taken back and generated again; it is
    no part of any candidate's text.
    """

    candidates: tuple[Candidate, ...]
    statistics: Statistics
    fim_order: str
    cancelled: bool = False
    parts: tuple[PromptPart, ...] = ()
    healed: str = ""


class Engine(Protocol):
    """A loaded model. One thread at a time may call it.

    Of ``info`` and ``count_tokens`` others may have need, too.
    """

    @property
    def info(self) -> EngineInfo:
        """What is loaded."""
        ...

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text is."""
        ...

    def fill(
        self,
        request: FillRequest,
        cancel: CancelFlag | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> FillResult:
        """Generate; ``on_text`` gets whole characters of the first candidate."""
        ...

    def close(self) -> None:
        """Release weights and caches."""
        ...
