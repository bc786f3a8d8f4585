"""An engine whose model is computed by a completion server, perhaps elsewhere.

Prompts, healing, stopping and candidates are those of the engine here. The text around
the cursor is sent to the server, as token ids where it takes them, and the completion
comes back as a stream.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from model.dialects import DIALECTS
from model.errors import ContextTooLargeError, UnknownModelError
from model.fim import PromptBuilder
from model.interface import (
    CancelFlag,
    EngineInfo,
    EngineOptions,
    FillRequest,
    FillResult,
    LoadProgress,
    ProgressCallback,
    Statistics,
)
from model.openai_client import CompletionsClient
from model.openai_forms import RequestForm, RequestWriter
from model.openai_generation import RemoteGeneration, UnhealableError
from model.openai_probe import find_form
from model.openai_served import ServedModel, choose_served, context_tokens_of
from model.openai_tokens import TokenReader
from model.prompt_files import find_prompt_files
from model.remote_errors import (
    BadAnswerError,
    NoSuchModelError,
    RemoteError,
    TooSlowError,
)
from model.remote_options import parse_endpoint, read_api_key
from model.tokenizer import CodeTokenizer
from model.weights import PreparedModel

logger = logging.getLogger(__name__)

_LEAST_PROMPT_TOKENS = 64
# How soon a cancelled request is let go of.
_CANCEL_S = 0.02

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Connection:
    """What was found out about the server, once it was reached."""

    served: ServedModel
    form: RequestForm
    context_tokens: int


class OpenAIEngine:
    """Fills gaps by asking a server. Not thread-safe: one caller at a time.

    Its requests run in an event loop of its own, on the caller's thread and only while
    the caller waits. A server that cannot be reached when it is made is asked again
    with every request.
    """

    def __init__(
        self, options: EngineOptions, progress: ProgressCallback | None = None
    ) -> None:
        """Ask the server what it has, and load the tokenizer that fits.

        Raises a ``RemoteError`` for what somebody has to change, and a ``ModelError``
        where there is no tokenizer.
        """
        report = progress or (lambda _: None)
        started_s = time.perf_counter()
        self._options = options
        self._endpoint = parse_endpoint(options.endpoint)
        key = read_api_key(options.api_key_file)
        self._client = CompletionsClient(
            self._endpoint, key, first_event_s=options.remote_timeout_ms / 1000
        )
        self._runner = asyncio.Runner()
        self._connection: _Connection | None = None
        self._failure = ""
        self._notes = (
            self._where_text_goes(),
            f"with the key from {key.source}" if key else "without a key",
            *(key.notes if key else ()),
        )
        try:
            report(LoadProgress("ask the server"))
            self._model, served = options.model, None
            if self._model == "auto":
                served = self._run(self._served())
                self._model = _model_of(served)
            report(LoadProgress("load tokenizer"))
            self._prepared, self._tokenizer, self._prompts = _load_prompts(
                self._model, options, report
            )
            self._reader = TokenReader(self._tokenizer)
            report(LoadProgress("try the server"))
            self._reach(served)
        except BaseException:
            self.close()
            raise
        self._load_ms = (time.perf_counter() - started_s) * 1000
        report(LoadProgress("ready", 1.0))

    @property
    def info(self) -> EngineInfo:
        """What serves; before the server was reached, what is known without it."""
        connection = self._connection
        notes = [*self._notes, f"tokenizer of {self._model}: {self._prepared.source}"]
        notes += [*self._prepared.notes, *self._prompts.notes]
        if connection is not None:
            notes.append(str(connection.form))
        if self._failure:
            notes.append(f"at last: {self._failure}")
        return EngineInfo(
            model=connection.served.name if connection else self._model,
            backend="openai",
            device=self._endpoint.host,
            dtype="as served",
            context_tokens=self._context_tokens(connection),
            fim_orders=self._prompts.orders,
            load_ms=self._load_ms,
            notes=tuple(notes),
        )

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text is."""
        return len(self._tokenizer.encode(text))

    def tokens_here(self, text: str) -> list[int]:
        """Return the ids that stand for a text in prompts."""
        return self._tokenizer.encode(text)

    def tokens_there(self, text: str) -> list[int] | None:
        """Return those the server would cut it into, ``None`` where it does not say."""
        if self._connection is None:
            return None
        try:
            told = self._run(
                self._client.tokenize(self._connection.served.name, text)
            ).get("tokens")
        except RemoteError:
            # Only some servers have this beside the API.
            return None
        return told if isinstance(told, list) else None

    def fill(
        self,
        request: FillRequest,
        cancel: CancelFlag | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> FillResult:
        """Generate up to ``num_candidates`` texts for the gap.

        As the engine here does it, token for token, in so far as the server tells its
        tokens. Where none of the most probable tokens continues what was typed, and the
        server cannot be held to those that do, the prompt is sent as it stands, and
        ``healed`` is empty.

        Raises a ``RemoteError``, or ``ContextTooLargeError`` when the output alone
        would fill the context.
        """
        try:
            result = self._run(self._fill(request, cancel, on_text))
        except RemoteError as error:
            self._failure = error.message
            if isinstance(error, NoSuchModelError | BadAnswerError):
                # The server may be another by now.
                self._connection = None
            raise
        self._failure = ""
        return result

    def close(self) -> None:
        """Close the connections."""
        self._run(self._client.close())
        self._runner.close()

    async def _fill(
        self,
        request: FillRequest,
        cancel: CancelFlag | None,
        on_text: Callable[[str], None] | None,
    ) -> FillResult:
        if self._connection is None and not await _unless(cancel, self._connect()):
            return FillResult((), Statistics(), self._prompts.orders[0], cancelled=True)
        assert self._connection is not None
        for heal in (request.heal, False):
            generation = self._generation(self._connection, request, heal, on_text)
            try:
                is_whole = await _unless(cancel, generation.run())
            except UnhealableError:
                continue
            return generation.result(cancelled=not is_whole)
        raise AssertionError("nothing was to be healed")

    def _generation(
        self,
        connection: _Connection,
        request: FillRequest,
        heal: bool,
        on_text: Callable[[str], None] | None,
    ) -> RemoteGeneration:
        budget = connection.context_tokens - request.max_new_tokens
        if budget < _LEAST_PROMPT_TOKENS:
            raise ContextTooLargeError(
                f"{request.max_new_tokens} new tokens leave no room for a prompt in "
                f"{connection.context_tokens} tokens of context.",
                hint="Lower maxNewTokens or raise contextTokens.",
            )
        prompt = self._prompts.build(
            request.prefix,
            request.suffix,
            order=request.fim_order,
            budget_tokens=budget,
            prefix_start_line=request.prefix_start_line,
            heal=heal,
            context=request.context,
            path=request.path,
            repository=request.repository,
        )
        writer = RequestWriter(connection.form, connection.served.name, self._tokenizer)
        return RemoteGeneration(
            self._client,
            writer,
            self._reader,
            self._tokenizer,
            self._prompts.stop_ids,
            prompt,
            request,
            on_text,
        )

    # --- the server ---------------------------------------------------------

    def _reach(self, served: ServedModel | None) -> None:
        """Connect, unless the server cannot be reached just now."""
        try:
            self._run(self._connect(served))
        except RemoteError as error:
            if not error.is_transient and not isinstance(error, TooSlowError):
                raise
            logger.warning("%s", error)
            self._failure = error.message

    async def _served(self) -> ServedModel:
        listed = await self._client.models()
        return choose_served(listed, self._options.remote_model, self._endpoint.host)

    async def _connect(self, served: ServedModel | None = None) -> None:
        served = served or await self._served()
        form = await find_form(
            self._client, served.name, self._tokenizer, self._prompts
        )
        context_tokens = context_tokens_of(
            served, self._options.context_tokens, self._prepared.context_tokens
        )
        self._connection = _Connection(served, form, context_tokens)

    def _context_tokens(self, connection: _Connection | None) -> int:
        if connection is not None:
            return connection.context_tokens
        unknown = ServedModel("")
        return context_tokens_of(
            unknown, self._options.context_tokens, self._prepared.context_tokens
        )

    def _where_text_goes(self) -> str:
        endpoint = self._endpoint
        if endpoint.is_this_machine:
            return f"text around the cursor is sent to {endpoint.url}, on this machine"
        note = f"text around the cursor leaves this machine: it goes to {endpoint.url}"
        if not endpoint.is_encrypted:
            note += ", unencrypted: anyone on the way can read it, and the key"
        logger.warning("%s", note)
        return note

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)


async def _unless(cancel: CancelFlag | None, work: Coroutine[Any, Any, None]) -> bool:
    """Do some work unless it is cancelled meanwhile; return whether it was done."""
    if cancel is not None and cancel.is_set():
        work.close()
        return False
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait((task,), timeout=None if cancel is None else _CANCEL_S)
            if cancel is not None and cancel.is_set() and not task.done():
                return False
    finally:
        task.cancel()
        await asyncio.wait((task,))
        error = None if task.cancelled() else task.exception()
    if error is not None:
        raise error
    return True


def _model_of(served: ServedModel) -> str:
    """Return the catalogue's name of what a server serves."""
    entry = served.entry
    if entry is None:
        raise UnknownModelError(
            f"It cannot be told which model {served.name!r} is that the server serves.",
            hint="Set model to its name in `lsp-stablecode models list`, its hub "
            "repository, or a directory with its config.json and tokenizer.json.",
        )
    return entry.name


def _load_prompts(
    model: str, options: EngineOptions, progress: ProgressCallback
) -> tuple[PreparedModel, CodeTokenizer, PromptBuilder]:
    prepared = find_prompt_files(
        model, allow_download=options.allow_download, progress=progress
    )
    tokenizer = CodeTokenizer.from_file(prepared.directory / "tokenizer.json")
    prompts = PromptBuilder(
        tokenizer,
        DIALECTS[prepared.dialect],
        prepared.default_fim_order,
        prepared.stop_tokens,
    )
    return prepared, tokenizer, prompts
