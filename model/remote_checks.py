"""A completion server looked at from here, for ``doctor``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from model.interface import Engine, EngineOptions
from model.openai_client import CompletionsClient
from model.openai_engine import OpenAIEngine
from model.openai_served import choose_served
from model.remote_options import ApiKey, Endpoint, parse_endpoint, read_api_key

_SHOWN_NAMES = 8
_SAMPLE = "def add(a, b):\n    return 12345 + b  # é 日本 😀\r\n\tx  = f(y)"


@dataclass(frozen=True, slots=True)
class RemoteCheck:
    """What was looked at, what was found, and what to do about it, if anything."""

    subject: str
    text: str
    advice: str = ""


def check_server(options: EngineOptions) -> Iterator[RemoteCheck]:
    """Look at the address, the key, and what the server lists.

    Raises, after what could be looked at, a ``RemoteError`` for what keeps it from
    being asked.
    """
    endpoint = parse_endpoint(options.endpoint)
    key = read_api_key(options.api_key_file)
    yield _where_text_goes(endpoint)
    yield _about_key(endpoint, key)
    client = CompletionsClient(endpoint, key, wait_s=options.remote_timeout_ms / 1000)
    listed, milliseconds = asyncio.run(_listed(client))
    names = [str(one["id"]) for one in listed[:_SHOWN_NAMES]]
    yield RemoteCheck("server", f"answers in {milliseconds:.0f} ms; {_have(names)}")
    served = choose_served(listed, options.remote_model, endpoint.host)
    limit = served.context_tokens
    taken = (
        f"takes {limit} tokens" if limit else "does not say how many tokens it takes"
    )
    advice = "" if limit else "set contextTokens to what the server was started with"
    yield RemoteCheck("model there", f"{served.name}, {taken}", advice)


def check_tokens(engine: Engine) -> RemoteCheck | None:
    """Have a text cut into tokens there and here; ``None`` where that cannot be asked.

    Text is sent as ids, so nothing depends on it where the server takes them; but where
    it differs, the models are mostly not the same.
    """
    if not isinstance(engine, OpenAIEngine):
        return None
    there = engine.tokens_there(_SAMPLE)
    if there is None:
        return None
    if there == engine.tokens_here(_SAMPLE):
        return RemoteCheck("tokens", "the server cuts text into the same tokens")
    return RemoteCheck(
        "tokens",
        "the server cuts text into other tokens than the tokenizer here",
        "set model to what the server serves, by name or directory",
    )


def _where_text_goes(endpoint: Endpoint) -> RemoteCheck:
    if endpoint.is_this_machine:
        return RemoteCheck("endpoint", f"{endpoint.url}, on this machine")
    advice = "" if endpoint.is_encrypted else "anyone on the way can read it: use https"
    return RemoteCheck(
        "endpoint",
        f"{endpoint.url}: text around the cursor leaves this machine and goes there",
        advice,
    )


def _about_key(endpoint: Endpoint, key: ApiKey | None) -> RemoteCheck:
    if key is None:
        return RemoteCheck("key", "none")
    advice = list(key.notes)
    if not endpoint.is_encrypted and not endpoint.is_this_machine:
        advice.append("anyone on the way can read the key: use https")
    return RemoteCheck("key", f"from {key.source}", "; ".join(advice))


async def _listed(client: CompletionsClient) -> tuple[list[dict[str, object]], float]:
    started_s = time.perf_counter()
    try:
        listed = await client.models()
    finally:
        await client.close()
    return listed, (time.perf_counter() - started_s) * 1000


def _have(names: list[str]) -> str:
    return f"it has {', '.join(names)}" if names else "it lists no models"
