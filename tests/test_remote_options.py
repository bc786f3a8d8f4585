"""A server's address and the key: read once, checked, and never shown."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest

from model.remote_errors import ApiKeyError, EndpointError
from model.remote_options import ApiKey, parse_endpoint, read_api_key

KEY = "sk-not-for-your-eyes"


@pytest.mark.parametrize(
    ("text", "url", "host", "is_encrypted", "is_this_machine"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1", None, False, True),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1", None, False, True),
        ("http://localhost/", "http://localhost/v1", "localhost", False, True),
        ("http://[::1]:8080/v1/", "http://[::1]:8080/v1", "[::1]:8080", False, True),
        (
            "https://Models.Example/a/v1",
            "https://models.example/a/v1",
            None,
            True,
            False,
        ),
        ("http://10.1.2.3:8000/v1", "http://10.1.2.3:8000/v1", None, False, False),
        (
            "http://127.evil.example/v1",
            "http://127.evil.example/v1",
            None,
            False,
            False,
        ),
        ("http://localhost.evil.example", None, "localhost.evil.example", False, False),
    ],
)
def test_an_endpoint_is_read(
    text: str,
    url: str | None,
    host: str | None,
    is_encrypted: bool,
    is_this_machine: bool,
) -> None:
    """Where it is and what it is shown as; a name is no proof of being this machine."""
    endpoint = parse_endpoint(text)
    assert url is None or endpoint.url == url
    assert endpoint.host == (host or endpoint.url.split("/")[2])
    assert endpoint.is_encrypted == is_encrypted
    assert endpoint.is_this_machine == is_this_machine


@pytest.mark.parametrize(
    "text", ["", "hush", "http://", "http://a:99999/v1", "file:///hush", "http://[1/"]
)
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(EndpointError) as caught:
        parse_endpoint(text)
    assert "hush" not in str(caught.value)
    assert caught.value.hint


def test_no_key() -> None:
    assert read_api_key("auto", {}) is None
    assert read_api_key("auto", {"LSP_STABLECODE_API_KEY": " "}) is None


def test_a_key_from_the_environment() -> None:
    key = read_api_key("auto", {"LSP_STABLECODE_API_KEY": KEY})
    assert key is not None
    assert key.authorization == f"Bearer {KEY}"
    assert key.source == "LSP_STABLECODE_API_KEY"


def test_a_key_from_a_file(tmp_path: Path) -> None:
    """The file that a setting names comes before what the environment says."""
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    named = {"LSP_STABLECODE_API_KEY_FILE": str(path)}
    for key in (
        read_api_key("auto", named),
        read_api_key(str(path), {"LSP_STABLECODE_API_KEY": "another"}),
    ):
        assert key is not None
        assert key.authorization == f"Bearer {KEY}"
        assert key.notes == ()


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o644)
    key = read_api_key(str(path), {})
    assert key is not None
    assert any("chmod 600" in note for note in key.notes)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"two words",
        f"{KEY}\nmore".encode(),
        "é".encode(),
        b"\xff",
        b"a" * 5000,
    ],
)
def test_what_is_no_key(content: bytes, tmp_path: Path) -> None:
    """A private key or a password file named by mistake is not sent anywhere."""
    path = tmp_path / KEY
    path.write_bytes(content)
    with pytest.raises(ApiKeyError) as caught:
        read_api_key(str(path), {})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", [KEY, f"~nobody-here/{KEY}", f"/{KEY}/\0", "."])
def test_what_is_no_file(name: str) -> None:
    """Somebody may have put the key itself where a file is to be named."""
    with pytest.raises(ApiKeyError) as caught:
        read_api_key(name, {})
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_shows_itself_to_nobody() -> None:
    key = ApiKey(KEY, "a test")
    assert KEY not in f"{key!r} {key} {[key]}"
    assert key.hide_in(f"wrong key {KEY}!") == "wrong key …!"
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(TypeError):
        copy.copy(key)
