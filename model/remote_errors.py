"""What can go wrong with a completion server elsewhere, a part of the errors' tree.

::

    StablecodeError (``model.errors``)
    └── RemoteError
        ├── EndpointError          the endpoint is no address of such a server
        ├── ApiKeyError            the file with the key cannot be read or holds none
        ├── UnreachableError       refused, unknown, untrusted, or the answer broke off
        ├── TooSlowError           no token within the time that it is of use
        ├── UnauthorisedError      no key, or not the right one (401, 403)
        ├── NoSuchModelError       the server has no such model (404)
        ├── RateLimitedError       too many requests (429)
        ├── ServerFailedError      the server failed (5xx)
        ├── BadAnswerError         an answer that is none, or the request was refused
        ├── TokensDisagreeError    the server's model has other tokens than ours
        └── ControlTextError       a text that the server would take for a control token

Their sentences hold no number that differs from time to time, so that each is shown
once, and neither a key nor text of a document.
"""

from __future__ import annotations

from model.errors import StablecodeError


class RemoteError(StablecodeError):
    """Something about the completion server.

    ``is_transient`` says that the same request may succeed in a moment, ``status`` is
    that of the answer, if there was one, and ``pause_s`` how long the server wants to
    be left alone, if it said so.
    """

    is_transient = False

    def __init__(
        self, message: str, *, hint: str = "", status: int = 0, pause_s: float = 0.0
    ) -> None:
        """Keep the sentence, the hint, the status and the seconds to wait."""
        super().__init__(message, hint=hint)
        self.status = status
        self.pause_s = pause_s


class EndpointError(RemoteError):
    """The endpoint is no URL that can be asked."""


class ApiKeyError(RemoteError):
    """The file that should hold the key is none, or holds none."""


class UnreachableError(RemoteError):
    """No connection, or one that broke off."""

    is_transient = True


class TooSlowError(RemoteError):
    """What comes this late is of no use."""


class UnauthorisedError(RemoteError):
    """The server wants a key, or another one."""


class NoSuchModelError(RemoteError):
    """The server has no model of that name."""


class RateLimitedError(RemoteError):
    """The server takes no more requests for now."""

    is_transient = True


class ServerFailedError(RemoteError):
    """The server itself failed."""

    is_transient = True


class BadAnswerError(RemoteError):
    """What came is no completion, or the request was refused."""


class TokensDisagreeError(RemoteError):
    """The server's model and the tokenizer here do not belong together."""


class ControlTextError(RemoteError):
    """A text spells a control token, and the server takes only text."""
