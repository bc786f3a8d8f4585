"""Which completion server is asked: its address and the key, checked and kept quiet."""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from model.remote_errors import ApiKeyError, EndpointError

KEY_VARIABLE = "LSP_STABLECODE_API_KEY"
KEY_FILE_VARIABLE = "LSP_STABLECODE_API_KEY_FILE"
_MOST_KEY_BYTES = 4096
_EXAMPLE = "Write it as http://127.0.0.1:8000/v1."


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an OpenAI-compatible server listens.

    ``url`` ends without a slash, ``host`` is what people are shown: it holds the port
    where one is given.
    """

    url: str
    host: str
    is_encrypted: bool
    is_this_machine: bool


def parse_endpoint(text: str) -> Endpoint:
    """Read an endpoint; a bare host gets the path ``/v1``.

    Raises ``EndpointError``, whose sentence does not repeat the text: there may be a
    password in it.
    """
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise EndpointError("The endpoint is no http or https URL.", hint=_EXAMPLE)
    if parts.username is not None or parts.password is not None:
        raise EndpointError(
            "The endpoint must not hold a user or a password.",
            hint=f"Put the key into {KEY_VARIABLE} or into a file.",
        )
    if parts.query or parts.fragment:
        raise EndpointError("The endpoint must end with its path.", hint=_EXAMPLE)
    shown = f"[{host}]" if ":" in host else host
    if port is not None:
        shown = f"{shown}:{port}"
    path = parts.path.rstrip("/") or "/v1"
    return Endpoint(
        f"{parts.scheme}://{shown}{path}",
        shown,
        parts.scheme == "https",
        _is_this_machine(host),
    )


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class ApiKey:
    """A key that shows itself to the server only."""

    __slots__ = ("_value", "notes", "source")

    def __init__(self, value: str, source: str, notes: tuple[str, ...] = ()) -> None:
        """Keep the key and, in words, where it came from."""
        self._value = value
        self.source = source
        self.notes = notes

    def __repr__(self) -> str:
        return f"ApiKey(from {self.source})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ApiKey) and self._value == other._value

    def __reduce__(self) -> str:
        raise TypeError("a key is not written anywhere")

    @property
    def authorization(self) -> str:
        """The value of the header ``Authorization``."""
        return f"Bearer {self._value}"

    def hide_in(self, text: str) -> str:
        """Return a text of the server's without the key."""
        return text.replace(self._value, "…")


def read_api_key(
    file: str = "auto", environment: Mapping[str, str] = os.environ
) -> ApiKey | None:
    """Return the key, ``None`` where there is none.

    From ``file``, if one is named; else from the environment, where
    ``LSP_STABLECODE_API_KEY`` holds it or ``LSP_STABLECODE_API_KEY_FILE`` names its
    file. Raises ``ApiKeyError``, whose sentence does not repeat what was named: it may
    be a key that somebody put in the wrong place.
    """
    if file != "auto":
        return _read_file(file, "apiKeyFile")
    if value := environment.get(KEY_VARIABLE, "").strip():
        return ApiKey(_checked(value, KEY_VARIABLE), KEY_VARIABLE)
    if named := environment.get(KEY_FILE_VARIABLE, "").strip():
        return _read_file(named, KEY_FILE_VARIABLE)
    return None


def _read_file(name: str, source: str) -> ApiKey:
    hint = "Name a file that holds the key, and nothing else, in one line."
    try:
        path = Path(name).expanduser()
        status = path.stat()
        # A pipe would be waited for.
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_KEY_BYTES:
            raise ApiKeyError(f"What {source} names is no file with a key.", hint=hint)
        value = path.read_text("utf-8").strip()
    except OSError as error:
        raise ApiKeyError(
            f"The file that {source} names cannot be read ({error.strerror}).",
            hint=hint,
        ) from None
    except (ValueError, RuntimeError):
        raise ApiKeyError(
            f"What {source} names is no file with a key.", hint=hint
        ) from None
    if not value:
        raise ApiKeyError(f"The file that {source} names is empty.", hint=hint)
    notes: tuple[str, ...] = ()
    if os.name == "posix" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        notes = ("other users can open the file with the key: chmod 600 it",)
    return ApiKey(_checked(value, source), source, notes)


def _checked(value: str, source: str) -> str:
    """Return a key that can stand in a header."""
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ApiKeyError(
            f"What {source} gives is no key: it has blanks, line ends or letters that "
            "no key has.",
            hint="Put the key there, and nothing else, in one line.",
        )
    return value
