"""What went wrong with a completion server, in words that say what to do."""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

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

_MOST_SAID_CHARACTERS = 300
_ITS_LOG = "Its log says why."


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
        self._note(content.decode("utf-8", "replace"))
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
            hint="If the prompt is too long for it, lower contextTokens; with the log "
            "level info, the log has the server's own words.",
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
        self._note(said.get("message") if isinstance(said, dict) else said)
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
        self._note(error or "nothing more, before the end")
        if _is_about_trust(error):
            untrusted = UnreachableError(
                f"{self._server} cannot be trusted: its certificate is not in order.",
                hint="If it is your own, name the file of its authority's certificate "
                "in SSL_CERT_FILE.",
            )
            untrusted.is_transient = False
            return untrusted
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return UnreachableError(
                f"There is no connection to the completion server at {self._host}.",
                hint="Start it, or check endpoint.",
            )
        return UnreachableError(f"{self._server} broke off its answer.", hint=_ITS_LOG)

    def _note(self, said: object) -> None:
        """Log what was said, in so far as that is neither long nor secret."""
        text = str(said)
        if self._key is not None:
            text = self._key.hide_in(text)
        logger.info("%s said: %r", self._host, text[:_MOST_SAID_CHARACTERS])


def _is_about_trust(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _pause_s(value: str | None) -> float:
    """Return the seconds that ``Retry-After`` asks for, as a number or a date."""
    if not value:
        return 0.0
    if value.strip().isdecimal():
        return float(value[:9])
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
