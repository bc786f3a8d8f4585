"""Prompt in, text out: what is loaded, asked for one gap after another."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from model.backend import Backend
from model.draft import Drafter, texts_of
from model.errors import ContextTooLargeError, OutOfMemoryError
from model.fim import MOST_PSM_SUFFIX_TOKENS, PromptBuilder
from model.generation import Generation
from model.interface import CancelFlag, EngineInfo, FillRequest, FillResult
from model.memory import LEAST_CONTEXT_TOKENS, memory_ledger, memory_watch
from model.sessions import Sessions
from model.tokenizer import CodeTokenizer

logger = logging.getLogger(__name__)

_LEAST_PROMPT_TOKENS = 64
_RAN_OUT = "memory ran out"
_WAS_SHORT = "memory was short"


@dataclass(slots=True)
class _Spoken:
    """Hands text on, and remembers whether there was any."""

    on_text: Callable[[str], None] | None
    anything: bool = False

    def hear(self, text: str) -> None:
        self.anything = True
        if self.on_text is not None:
            self.on_text(text)


class LocalEngine:
    """Fills gaps with a model on this machine. Not thread-safe: one caller at a time.

    The keys and values of the last prompts stay, of one in each of the backend's
    sessions; the next prompt computes only what comes after the longest common
    prefix of token ids. With ``drafting`` a single greedy candidate is decoded
    several tokens per pass where they can be guessed; the text is the same.
    """

    def __init__(
        self,
        backend: Backend,
        tokenizer: CodeTokenizer,
        prompts: PromptBuilder,
        info: EngineInfo,
        *,
        drafting: bool = True,
        psm_suffix_tokens: int = MOST_PSM_SUFFIX_TOKENS,
    ) -> None:
        self.drafting = drafting
        self._backend = backend
        self._tokenizer = tokenizer
        self._prompts = prompts
        self._info = info
        self._sessions = Sessions(backend)
        self._psm_suffix_tokens = psm_suffix_tokens
        self._drafter = Drafter(backend.pass_costs_ms)
        self._num_released = 0

    @property
    def backend(self) -> Backend:
        """What computes, for benchmarks."""
        return self._backend

    @property
    def info(self) -> EngineInfo:
        """What is loaded."""
        return self._info

    def close(self) -> None:
        """Release weights and caches."""
        self._backend.close()
        memory_ledger.release(self._backend)

    def forget(self) -> None:
        """Drop caches and suggestions, so that the next prompt is a first one."""
        self._sessions.clear()
        self._drafter.forget()

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text is."""
        return len(self._tokenizer.encode(text))

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

        Where memory runs out, the caches are given back, made for half the context and
        one prompt, and the request is done once more; ``info`` says so from then on.
        Raises ``OutOfMemoryError`` when that does not help either, and
        ``ContextTooLargeError`` when the output alone would fill the context.
        """
        spoken = _Spoken(on_text)
        try:
            result = self._fill(request, cancel, spoken.hear if on_text else None)
            self._spare_memory()
            return result
        except (OutOfMemoryError, MemoryError) as error:
            logger.warning("%s", error or "memory ran out")
        # Only here: an error being handled keeps alive what is to be given back.
        try:
            self._shrink()
            most_new = min(request.max_new_tokens, self._info.context_tokens // 2)
            smaller = replace(request, max_new_tokens=most_new)
            return self._fill(smaller, cancel, None if spoken.anything else on_text)
        except (OutOfMemoryError, MemoryError) as error:
            logger.warning("%s", error or "memory ran out")
        with suppress(OutOfMemoryError, MemoryError):
            self._make_caches(self._info.context_tokens, 1)
        raise OutOfMemoryError(
            f"There is not enough memory on {self._info.device} for a completion, even "
            "with a smaller context.",
            hint="Close other programs, set memoryGib, or choose a smaller model.",
        )

    def _spare_memory(self) -> None:
        """Where others need it, give back what other prompts have left behind."""
        if self._info.device == "cpu" and memory_watch.is_short():
            self._num_released += self._sessions.release_idle()
            if self._num_released:
                self._note(_WAS_SHORT, f"{self._num_released} idle caches given back")

    def _note(self, about: str, text: str) -> None:
        """Say something in status, in place of what was said of the same before."""
        others = (one for one in self._info.notes if not one.startswith(about))
        notes = (*others, f"{about}: {text}")
        self._info = replace(self._info, notes=notes)

    def _shrink(self) -> None:
        """Make caches of half the context for one prompt, or of the least."""
        held = self._info.context_tokens
        least = min(held, LEAST_CONTEXT_TOKENS)
        for tokens in dict.fromkeys((max(held // 2, least), least)):
            self._info = replace(self._info, context_tokens=tokens)
            self._note(
                _RAN_OUT,
                f"one cache of {tokens} tokens until the model is loaded again",
            )
            try:
                self._make_caches(tokens, 1)
                return
            except OutOfMemoryError:
                if tokens == least:
                    raise

    def _make_caches(self, context_tokens: int, num_sessions: int) -> None:
        """Replace all caches; where there is no room for others there are none."""
        self._drafter.forget()
        try:
            self._backend.resize(context_tokens, num_sessions)
        finally:
            self._sessions = Sessions(self._backend)

    def _fill(
        self,
        request: FillRequest,
        cancel: CancelFlag | None,
        on_text: Callable[[str], None] | None,
    ) -> FillResult:
        if not self._sessions.ledgers:
            self._make_caches(self._info.context_tokens, 1)
        budget = self._info.context_tokens - request.max_new_tokens
        if budget < _LEAST_PROMPT_TOKENS:
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
            psm_suffix_tokens=self._psm_suffix_tokens,
            heal=request.heal,
            context=request.context,
            path=request.path,
            repository=request.repository,
        )
        drafter = None
        # A sample is not guessed, and candidates are decoded side by side instead.
        if self.drafting and request.temperature <= 0 and request.num_candidates <= 1:
            drafter = self._drafter
            drafter.begin(texts_of(prompt, self._prompts.stop_ids))
        return Generation(
            self._sessions,
            self._tokenizer,
            self._prompts.stop_ids,
            prompt,
            request,
            chunk_tokens=self._backend.chunk_tokens,
            most_branches=self._backend.most_branches,
            drafter=drafter,
            cancel=cancel,
            on_text=on_text,
        ).run()
