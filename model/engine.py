"""Prompt in, text out: what is loaded, asked for one gap after another."""

from __future__ import annotations

from collections.abc import Callable

from model.backend import Backend
from model.draft import Drafter, texts_of
from model.errors import ContextTooLargeError
from model.fim import MOST_PSM_SUFFIX_TOKENS, PromptBuilder
from model.generation import Generation
from model.interface import CancelFlag, EngineInfo, FillRequest, FillResult
from model.sessions import Sessions
from model.tokenizer import CodeTokenizer

_LEAST_PROMPT_TOKENS = 64


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

        Raises ``ContextTooLargeError`` when the output alone would fill the context.
        """
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
            max_branches=self._backend.max_branches,
            drafter=drafter,
            cancel=cancel,
            on_text=on_text,
        ).run()
