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
from typing import Any, TypeVar

from model.errors import ContextTooLargeError
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
from model.openai_connection import Connection, Prompting, connect, load_prompting
from model.openai_forms import RequestWriter
from model.openai_generation import RemoteGeneration, UnhealableError
from model.openai_served import ServedModel, context_tokens_of
from model.remote_errors import (
    BadAnswerError,
    NoSuchModelError,
    RemoteError,
    TokensDisagreeError,
    TooSlowError,
    UnauthorisedError,
    UnreachableError,
)
from model.remote_options import parse_endpoint, read_api_key

logger = logging.getLogger(__name__)

_LEAST_PROMPT_TOKENS = 64
# How soon a cancelled request is let go of.
_CANCEL_S = 0.02
# Of code, and rather too few.
_CHARACTERS_PER_TOKEN = 3
# A server may cut a text into some more tokens than were meant.
_TEXT_SLACK_TOKENS = 8
# Statuses of a request that the same server would refuse again.
_REFUSALS = (400, 413, 422)
_KEPT_S = 60.0

_DOUBTFUL = (NoSuchModelError, BadAnswerError, UnreachableError, TokensDisagreeError)

T = TypeVar("T")


class OpenAIEngine:
    """Fills gaps by asking a server, for one caller at a time.

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
        self._key = read_api_key(options.api_key_file)
        self._client = self._new_client()
        self._runner = asyncio.Runner()
        self._prompting: Prompting | None = None
        self._connection: Connection | None = None
        self._kept_until_s = 0.0
        self._failure = ""
        self._where = self._where_text_goes()
        try:
            if options.model != "auto":
                report(LoadProgress("load tokenizer"))
                self._prompting = load_prompting(options.model, options, report)
            report(LoadProgress("try the server"))
            self._reach(report)
        except BaseException:
            self.close()
            raise
        self._load_ms = (time.perf_counter() - started_s) * 1000
        report(LoadProgress("ready", 1.0))

    @property
    def info(self) -> EngineInfo:
        """What serves; before the server was reached, what is known without it."""
        connection, prompting = self._connection, self._prompting
        key = self._key
        notes = [
            self._where,
            f"with the key from {key.source}" if key else "without a key",
            *(key.notes if key else ()),
        ]
        if prompting is not None:
            notes.append(f"tokenizer of {prompting.model}: {prompting.prepared.source}")
            notes += [*prompting.prepared.notes, *prompting.prompts.notes]
        if connection is not None:
            notes.append(str(connection.form))
        if self._failure:
            notes.append(f"at last: {self._failure}")
        return EngineInfo(
            model=connection.served.name if connection else self._options.model,
            backend="openai",
            device=self._endpoint.host,
            dtype="as served",
            context_tokens=self._context_tokens(),
            fim_orders=prompting.prompts.orders if prompting else (),
            load_ms=self._load_ms,
            notes=tuple(notes),
        )

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text is; a guess until the model is known."""
        prompting = self._prompting
        if prompting is None:
            return len(text) // _CHARACTERS_PER_TOKEN + 1
        return len(prompting.tokenizer.encode(text))

    def tokens_here(self, text: str) -> list[int]:
        """Return the ids that stand for a text in prompts."""
        assert self._prompting is not None
        return self._prompting.tokenizer.encode(text)

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
            try:
                result = self._run(self._fill(request, cancel, on_text))
            except UnauthorisedError:
                if not self._renew_key():
                    raise
                result = self._run(self._fill(request, cancel, on_text))
        except RemoteError as error:
            self._failure = error.message
            self._doubt(error)
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
            return FillResult((), Statistics(), "unknown", cancelled=True)
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
        connection: Connection,
        request: FillRequest,
        heal: bool,
        on_text: Callable[[str], None] | None,
    ) -> RemoteGeneration:
        budget = connection.context_tokens - request.max_new_tokens
        if not connection.form.takes_ids:
            budget -= _TEXT_SLACK_TOKENS
        if budget < _LEAST_PROMPT_TOKENS:
            raise ContextTooLargeError(
                f"{request.max_new_tokens} new tokens leave no room for a prompt in "
                f"{connection.context_tokens} tokens of context.",
                hint="Lower maxNewTokens or raise contextTokens.",
            )
        prompting = connection.prompting
        prompt = prompting.prompts.build(
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
        writer = RequestWriter(
            connection.form, connection.served.name, prompting.tokenizer
        )
        return RemoteGeneration(
            self._client,
            writer,
            prompting.reader,
            prompting.tokenizer,
            prompting.prompts.stop_ids,
            prompt,
            request,
            on_text,
        )

    # --- the server ---------------------------------------------------------

    def _reach(self, progress: ProgressCallback) -> None:
        """Connect, unless the server cannot be reached just now."""
        try:
            self._run(self._connect(progress))
        except RemoteError as error:
            if not error.is_transient and not isinstance(error, TooSlowError):
                raise
            logger.warning("%s", error)
            self._failure = error.message

    async def _connect(self, progress: ProgressCallback | None = None) -> None:
        self._connection = await connect(
            self._client, self._endpoint, self._options, self._prompting, progress
        )
        self._prompting = self._connection.prompting

    def _doubt(self, error: RemoteError) -> None:
        """Ask the server anew with the next request, if it may be another by now."""
        if not isinstance(error, _DOUBTFUL):
            return
        if error.status in _REFUSALS:
            # Mostly it is the request, and asking costs several.
            if time.monotonic() < self._kept_until_s:
                return
            self._kept_until_s = time.monotonic() + _KEPT_S
        self._connection = None

    def _new_client(self) -> CompletionsClient:
        return CompletionsClient(
            self._endpoint, self._key, wait_s=self._options.remote_timeout_ms / 1000
        )

    def _renew_key(self) -> bool:
        """Read the key again; return whether it is another. Raises ``ApiKeyError``."""
        key = read_api_key(self._options.api_key_file)
        if key == self._key:
            return False
        self._key = key
        self._run(self._client.close())
        self._client = self._new_client()
        return True

    def _context_tokens(self) -> int:
        if self._connection is not None:
            return self._connection.context_tokens
        limit = None
        if self._prompting is not None:
            limit = self._prompting.prepared.context_tokens
        return context_tokens_of(ServedModel(""), self._options.context_tokens, limit)

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
