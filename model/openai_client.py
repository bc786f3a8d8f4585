"""HTTP to a server that speaks OpenAI's completions API: streamed, in time, quiet.

After "Completions" in OpenAI's API reference, which vLLM, llama.cpp's server, SGLang
and others follow. Redirects are not followed, because the key would go with them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, cast

import httpx2

from model.openai_complaints import Complaints
from model.remote_errors import EndpointError, NoSuchModelError, RemoteError
from model.remote_options import ApiKey, Endpoint

logger = logging.getLogger(__name__)

_CONNECT_S = 3.0
# A whole answer may take this many times as long as a token.
_MOST_WAITS = 6
_DRAIN_S = 0.05
# Trying longer than this costs more than the completion is worth.
_RETRY_FOR_S = 3.0
_FIRST_PAUSE_S = 0.1
_MOST_EVENT_BYTES = 1 << 20
_MOST_BODY_BYTES = 4 << 20
_HEADERS = {
    "Accept": "application/json, text/event-stream",
    # A few bytes at a time are not worth packing.
    "Accept-Encoding": "identity",
    "User-Agent": "lsp-stablecode",
}

Json = dict[str, Any]


class CompletionsClient:
    """Asks one server. Every method may raise a ``RemoteError``.

    All calls are made in one event loop. ``wait_s`` is how long any token may take, the
    first one with everything before it: what comes later is of no use.
    """

    def __init__(
        self, endpoint: Endpoint, key: ApiKey | None, *, wait_s: float
    ) -> None:
        self._endpoint = endpoint
        self._key = key
        self._wait_s = wait_s
        self._complaints = Complaints(endpoint, key)
        self._client: httpx2.AsyncClient | None = None
        self._left_alone_until_s = 0.0

    async def close(self) -> None:
        """Close the connections that are kept for the next request."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def models(self) -> list[Json]:
        """Return what ``/models`` lists; nothing where the server has no such list."""
        try:
            listed = (await self._ask("GET", "/models")).get("data")
        except NoSuchModelError:
            return []
        if not isinstance(listed, list):
            raise self._complaints.bad_answer("a list of models that is none")
        return [
            one
            for one in listed
            if isinstance(one, dict) and isinstance(one.get("id"), str)
        ]

    async def complete(self, body: Mapping[str, Any], *, insist: bool = True) -> Json:
        """Return a whole answer at once; ``insist`` tries again where that may help."""
        return await self._ask("POST", "/completions", body, insist=insist)

    async def tokenize(self, model: str, text: str) -> Json:
        """Return what ``/tokenize`` says, which some servers have beside the API."""
        root = self._endpoint.url.removesuffix("/v1")
        vllm = {"model": model, "prompt": text, "add_special_tokens": False}
        llama_cpp = {"content": text, "add_special": False}
        body = {**vllm, **llama_cpp}
        return await self._ask("POST", f"{root}/tokenize", body, insist=False)

    async def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[Json]:
        """Yield an answer's events as they come; close it to stop the server.

        Tried again until the first event has come, and never after it.
        """
        begun_s = time.monotonic()
        attempt = 0
        while True:
            has_begun = False
            try:
                async with aclosing(self._events(body, begun_s)) as events:
                    async for event in events:
                        has_begun = True
                        yield event
                return
            except RemoteError as error:
                if has_begun:
                    raise
                await self._rest_after(error, attempt, begun_s)
                attempt += 1

    async def _events(
        self, body: Mapping[str, Any], begun_s: float
    ) -> AsyncGenerator[Json]:
        by_s = begun_s + self._wait_s
        whole_by_s = begun_s + _MOST_WAITS * self._wait_s
        streamed = {**body, "stream": True}
        async with self._opened("POST", "/completions", streamed, by_s) as response:
            kind = response.headers.get("content-type", "").partition(";")[0].strip()
            if kind.lower() != "text/event-stream":
                raise self._complaints.bad_answer("no stream of events")
            # What a header says would be any of Python's codecs.
            response.encoding = "utf-8"
            source = httpx2.EventSource(response, max_event_size=_MOST_EVENT_BYTES)
            generator = cast(AsyncGenerator[httpx2.ServerSentEvent], aiter(source))
            has_text = False
            async with aclosing(generator) as events:
                while event := await self._next(events, by_s):
                    if event.data.strip() == "[DONE]":
                        if not has_text:
                            break
                        await self._drain(events)
                        return
                    answer = self._parsed(event.data)
                    has_text = has_text or bool(answer.get("choices"))
                    yield answer
                    if _has_finished(answer):
                        await self._drain(events)
                        return
                    by_s = min(time.monotonic() + self._wait_s, whole_by_s)
        raise self._complaints.broken(None)

    async def _drain(self, events: AsyncIterator[httpx2.ServerSentEvent]) -> None:
        """Read what follows the last token: then the connection can be kept."""
        with suppress(RemoteError):
            by_s = time.monotonic() + _DRAIN_S
            while await self._next(events, by_s) is not None:
                pass

    async def _next(
        self, events: AsyncIterator[httpx2.ServerSentEvent], by_s: float
    ) -> httpx2.ServerSentEvent | None:
        try:
            async with self._in_time(by_s):
                return await anext(events, None)
        except httpx2.SSEError as error:
            raise self._complaints.bad_answer("an event without an end") from error
        except httpx2.RequestError as error:
            raise self._complaints.broken(error) from error

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        insist: bool = True,
    ) -> Json:
        begun_s = time.monotonic()
        attempt = 0
        while True:
            try:
                by_s = begun_s + self._wait_s
                async with self._opened(method, path, body, by_s) as response:
                    return self._parsed(await self._read(response, by_s))
            except RemoteError as error:
                if not insist:
                    raise
                await self._rest_after(error, attempt, begun_s)
                attempt += 1

    @asynccontextmanager
    async def _opened(
        self, method: str, path: str, body: Mapping[str, Any] | None, by_s: float
    ) -> AsyncGenerator[httpx2.Response]:
        """Send a request; the answer's head is there then, and it is no refusal."""
        left_alone_s = self._left_alone_until_s - time.monotonic()
        if left_alone_s > 0:
            raise self._complaints.rate_limited(left_alone_s)
        headers = dict(_HEADERS)
        if self._key is not None:
            headers["Authorization"] = self._key.authorization
        url = path if "://" in path else self._endpoint.url + path
        try:
            client = self._connected()
            request = client.build_request(method, url, json=body, headers=headers)
            async with self._in_time(by_s):
                response = await client.send(request, stream=True)
        except httpx2.InvalidURL as error:
            raise EndpointError(
                "The endpoint is no http or https URL.",
                hint="Write it as http://127.0.0.1:8000/v1.",
            ) from error
        except httpx2.RequestError as error:
            raise self._complaints.broken(error) from error
        try:
            status = response.status_code
            if status != 200:
                content = await self._read(response, by_s)
                raise self._complaints.refused(status, response.headers, content)
            yield response
        finally:
            await response.aclose()

    def _connected(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                timeout=httpx2.Timeout(None, connect=_CONNECT_S),
                follow_redirects=False,
                # A proxy has no business with what stays on this machine.
                trust_env=not self._endpoint.is_this_machine,
                verify=_verification(self._endpoint),
            )
        return self._client

    async def _read(self, response: httpx2.Response, by_s: float) -> bytes:
        content = bytearray()
        try:
            async with self._in_time(by_s):
                async for part in response.aiter_bytes():
                    content += part
                    if len(content) > _MOST_BODY_BYTES:
                        raise self._complaints.bad_answer("megabytes")
        except httpx2.RequestError as error:
            raise self._complaints.broken(error) from error
        return bytes(content)

    @asynccontextmanager
    async def _in_time(self, by_s: float) -> AsyncGenerator[None]:
        loop_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(loop_s + by_s - time.monotonic()):
                yield
        except TimeoutError as error:
            raise self._complaints.too_slow() from error

    async def _rest_after(
        self, error: RemoteError, attempt: int, begun_s: float
    ) -> None:
        """Wait before the next attempt, or raise the error if there is to be none."""
        if error.pause_s:
            # Whatever is asked meanwhile must not go there either.
            self._left_alone_until_s = time.monotonic() + error.pause_s
        pause_s = error.pause_s or _FIRST_PAUSE_S * 2**attempt * random.uniform(
            0.5, 1.5
        )
        until_s = begun_s + min(_RETRY_FOR_S, self._wait_s)
        if not error.is_transient or time.monotonic() + pause_s > until_s:
            raise error
        logger.debug("trying again in %.1f s: %s", pause_s, error.message)
        await asyncio.sleep(pause_s)

    def _parsed(self, content: bytes | str) -> Json:
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            raise self._complaints.bad_answer("what is no JSON") from None
        if not isinstance(answer, dict):
            raise self._complaints.bad_answer("what is no JSON object")
        if error := answer.get("error"):
            raise self._complaints.failed(error)
        return answer


def _verification(endpoint: Endpoint) -> ssl.SSLContext:
    """Return what checks the server's certificate: SSL_CERT_FILE, else the system's."""
    if not endpoint.is_encrypted:
        # Never used; it trusts nobody, and reading all authorities takes a while.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx2.create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        raise EndpointError(
            f"The certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read "
            f"({error.strerror}).",
            hint="Name a file of certificates in PEM, or none.",
        ) from error


def _has_finished(answer: Json) -> bool:
    choices = answer.get("choices")
    return isinstance(choices, list) and any(
        isinstance(one, dict) and one.get("finish_reason") for one in choices
    )
