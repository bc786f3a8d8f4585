"""What went wrong with a completion server, in words that say what to do."""

from __future__ import annotations

import json
import logging
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from model.remote_errors import (
    BadAnswerError,
    NoSuchModelError,
    RateLimitedError,
    RemoteError,
    ServerFailedError,
    TooSlowError,
    UnauthorisedError,
    UnreachableError,
)
from model.remote_options import KEY_VARIABLE, ApiKey, Endpoint

logger = logging.getLogger(__name__)

# Whoever wants longer is looked at again after that.
_MOST_PAUSE_S = 300.0
_ITS_LOG = "Its log says why."
# What names a kind of error; a sentence may repeat what was sent.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}( [A-Za-z0-9_.-]{1,20})?")
_MOST_NAMES = 8


class Complaints:
    """Turns what happened at one server into errors."""

    def __init__(self, endpoint: Endpoint, key: ApiKey | None) -> None:
        self._server = f"The completion server at {endpoint.host}"
        self._host = endpoint.host
        self._key = key

    def refused(
        self, status: int, headers: httpx2.Headers, content: bytes
    ) -> RemoteError:
        """Return the error that a status other than 200 stands for."""
        pause_s = _pause_s(headers.get("retry-after"))
        if status in (401, 403):
            # Some servers repeat the key here, so nothing of it is logged.
            wants = "does not take the key" if self._key else "wants a key"
            return UnauthorisedError(
                f"{self._server} {wants}.",
                hint=f"Put the right one into {KEY_VARIABLE}, or name its file in "
                "apiKeyFile.",
            )
        self._note(status, *_names_in(content))
        if status == 429:
            return self.rate_limited(pause_s)
        if 300 <= status < 400:
            return self.bad_answer(
                "a redirection, which is not followed", "Name its target as endpoint."
            )
        if status == 404:
            return NoSuchModelError(
                f"{self._server} has no such model, or no completions there.",
                hint="Check endpoint and remoteModel; lsp-stablecode doctor says more.",
            )
        if status >= 500:
            return ServerFailedError(
                f"{self._server} failed (status {status}).",
                hint=_ITS_LOG,
                status=status,
                pause_s=pause_s,
            )
        return BadAnswerError(
            f"{self._server} refuses the request (status {status}).",
            hint="If the prompt is too long for it, lower contextTokens; its log says "
            "why.",
            status=status,
        )

    def rate_limited(self, pause_s: float) -> RateLimitedError:
        """Return the error of a server that wants to be left alone for so long."""
        return RateLimitedError(
            f"{self._server} takes no more requests for now.",
            hint="Suggestions come again when it does.",
            pause_s=pause_s,
        )

    def failed(self, said: object) -> ServerFailedError:
        """Return the error of a server that failed within its answer."""
        self._note(*_names_of(said))
        return ServerFailedError(
            f"{self._server} failed while it answered.", hint=_ITS_LOG
        )

    def bad_answer(self, what: str, hint: str = "") -> BadAnswerError:
        """Return the error of an answer that is none."""
        return BadAnswerError(
            f"{self._server} answers with {what}.",
            hint=hint
            or "Check that endpoint is that of an OpenAI-compatible server; "
            "most end in /v1.",
        )

    def too_slow(self) -> TooSlowError:
        """Return the error of an answer that came too late."""
        return TooSlowError(
            f"{self._server} is too slow: it was given up on.",
            hint="It may have too much to do; raise remoteTimeoutMs to wait longer for "
            "its tokens.",
        )

    def broken(self, error: Exception | None) -> UnreachableError:
        """Return what a failed connection stands for; ``None``: the end came early."""
        self._note(*(type(one).__name__ for one in _causes(error)))
        if any(isinstance(one, ssl.SSLCertVerificationError) for one in _causes(error)):
            untrusted = UnreachableError(
                f"{self._server} cannot be trusted: its certificate is not in order.",
                hint="If it is your own, name the file of its authority's certificate "
                "in SSL_CERT_FILE.",
            )
            untrusted.is_transient = False
            return untrusted
        if any(_is_without_tls(one) for one in _causes(error)):
            return UnreachableError(
                f"{self._server} does not speak TLS.",
                hint="Write the endpoint with http and not https, or start the server "
                "with a certificate.",
            )
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return UnreachableError(
                f"There is no connection to the completion server at {self._host}.",
                hint="Start it, or check endpoint.",
            )
        return UnreachableError(f"{self._server} broke off its answer.", hint=_ITS_LOG)

    def _note(self, *names: object) -> None:
        """Log what kind of error it was: never a sentence of the server's."""
        said = ", ".join(str(one) for one in names)
        if self._key is not None:
            said = self._key.hide_in(said)
        logger.info("%s failed: %s", self._host, said or "an early end")


def _names_in(content: bytes) -> Iterator[str]:
    """Yield what kinds of errors the body of a refusal names."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return
    if isinstance(said, dict):
        # OpenAI's form; FastAPI's, which some servers show; a bare one.
        yield from _names_of(said.get("error") or said.get("detail") or said)


def _names_of(said: Any) -> Iterator[str]:
    """Yield the names in an error, or in a list of some."""
    errors = said if isinstance(said, list) else [said]
    for one in errors[:_MOST_NAMES]:
        if isinstance(one, dict):
            for key in ("type", "code", "param"):
                name = str(one.get(key) or "")
                if _NAME.fullmatch(name):
                    yield name


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_without_tls(error: BaseException) -> bool:
    """Tell whether what was answered to a greeting in TLS is none."""
    if not isinstance(error, ssl.SSLError):
        return False
    # Newer versions of OpenSSL have another name for it.
    return error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")


def _pause_s(value: str | None) -> float:
    """Return the seconds that ``Retry-After`` asks for, as a number or a date."""
    if not value:
        return 0.0
    if value.strip().isdecimal():
        return min(float(value), _MOST_PAUSE_S)
    try:
        until = parsedate_to_datetime(value)
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        wanted_s = (until - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, wanted_s), _MOST_PAUSE_S)
