"""The key goes to the server alone, and control tokens stay what they are."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from completion_faults import KEY, echoes, refuses, tells
from completion_server import CompletionServer, Speech
from remote import engine_for, options_for, request, text_of, write_prompt_files

from model import Engine, EngineOptions, load_engine
from model.remote_errors import (
    ControlTextError,
    EndpointError,
    RemoteError,
    UnauthorisedError,
    UnreachableError,
)

# Self-signed, for 127.0.0.1 and a hundred years, and with its key:
# openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 \
#   -subj "/CN=lsp-stablecode test" -addext "subjectAltName=IP:127.0.0.1" \
#   -keyout key.pem -out cert.pem; cat cert.pem key.pem > loopback.pem
CERTIFICATE = Path(__file__).parent / "loopback.pem"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prompt_files(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def server() -> Iterator[CompletionServer]:
    with CompletionServer() as one:
        yield one


@pytest.fixture
def engine(server: CompletionServer, files: Path) -> Iterator[Engine]:
    with engine_for(server, files, remote_timeout_ms=5_000) as one:
        server.asked.clear()
        yield one


def test_control_tokens_in_user_text_stay_text(
    server: CompletionServer, engine: Engine, files: Path
) -> None:
    """As ids a spelling is plain tokens; as text it cannot be sent."""
    source = 'END = "<fim_middle>"\nx = '
    engine.fill(request(source))
    sent = server.completions[-1].body["prompt"]
    control = server.brain.tokenizer.token_to_id("<fim_middle>")
    assert sent.count(control) == 1
    with (
        CompletionServer("plain") as plain,
        engine_for(plain, files) as engine_of_text,
        pytest.raises(ControlTextError, match="spells a control token"),
    ):
        engine_of_text.fill(request(source))


def test_control_tokens_in_an_answer_never_come_out(
    server: CompletionServer, engine: Engine
) -> None:
    """Where only texts come, what is spelled like a control token ends the text."""
    server.faults.append(tells("a + b<|endoftext|>def"))
    [candidate] = engine.fill(request("x = ")).candidates
    assert (candidate.text, candidate.finish_reason) == ("a + b", "eos")


def test_the_key_goes_to_the_server_and_nowhere_else(
    files: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with a redirection, and into no log, error, status or representation."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx2", "httpcore2", "model", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    monkeypatch.setenv("LSP_STABLECODE_API_KEY", KEY)
    said: list[str] = []
    with CompletionServer(key=KEY) as server, CompletionServer() as elsewhere:
        with engine_for(server, files) as engine:
            engine.fill(request("x = "))
            assert server.asked[-1].headers["Authorization"] == f"Bearer {KEY}"
            target = f"{elsewhere.endpoint}/completions"
            for status in (301, 302, 307, 308, 400, 401, 404, 429, 500):
                server.faults.extend([refuses(status, Location=target)] * 99)
                with pytest.raises(RemoteError) as caught:
                    engine.fill(request("x = "))
                said += [str(caught.value), repr(caught.value)]
                server.faults.clear()
            said += [repr(engine.info), repr(vars(engine)), repr(engine)]
            said.append(repr(options_for(server, files)))
        assert elsewhere.asked == []
        monkeypatch.setenv("LSP_STABLECODE_API_KEY", f"{KEY}-wrong")
        with pytest.raises(UnauthorisedError, match="does not take the key") as caught:
            load_engine(options_for(server, files))
        said.append(str(caught.value))
        monkeypatch.delenv("LSP_STABLECODE_API_KEY")
        with pytest.raises(UnauthorisedError, match="wants a key"):
            load_engine(options_for(server, files))
    assert any("POST" in record.getMessage() for record in caplog.records)
    for text in [*said, caplog.text]:
        assert KEY not in text


@pytest.mark.parametrize("speech", ["vllm", "plain"])
@pytest.mark.parametrize("status", [400, 413, 422, 404, 500])
def test_a_server_that_repeats_a_document_is_not_quoted(
    speech: Speech, status: int, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own words stay out of the log, of errors and of notes; kinds are told."""
    caplog.set_level(logging.DEBUG)
    with CompletionServer(speech) as server, engine_for(server, files) as engine:
        caplog.clear()
        server.faults.extend([echoes(status)] * 50)
        with pytest.raises(RemoteError) as caught:
            engine.fill(request("launch_code = 'platypus'\nx = "))
        sent = [one.body["prompt"] for one in server.completions[-2:]]
        told = [caplog.text, str(caught.value), repr(engine.info)]
    assert str(status) in caplog.text
    assert ("int_type" if status == 422 else "Bad Request") in caplog.text
    for text in told:
        assert "platypus" not in text
        assert not any(str(one)[1:20] in text for one in sent)


def test_no_text_of_a_document_is_logged(
    server: CompletionServer, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx2", "httpcore2", "model"):
        caplog.set_level(logging.DEBUG, logger=name)
    engine.fill(request("launch_code = 'platypus'\nx = "))
    assert "platypus" not in caplog.text


def test_a_certificate_must_be_in_order(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what SSL_CERT_FILE or the system trusts is talked to, by its own name."""
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with CompletionServer(certificate=str(CERTIFICATE), key=KEY) as server:
        monkeypatch.setenv("LSP_STABLECODE_API_KEY", KEY)
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        with pytest.raises(UnreachableError, match="cannot be trusted") as caught:
            load_engine(options_for(server, files))
        assert "SSL_CERT_FILE" in caught.value.hint
        assert server.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        with engine_for(server, files) as engine:
            server.faults.append(tells("y"))
            assert text_of(engine.fill(request("x = "))) == "y"
        asked = len(server.asked)
        other_name = replace(
            options_for(server, files), endpoint=f"https://localhost:{server.port}/v1"
        )
        with pytest.raises(UnreachableError, match="cannot be trusted"):
            load_engine(other_name)
        assert len(server.asked) == asked
        monkeypatch.setenv("SSL_CERT_FILE", str(files / "nothing"))
        with pytest.raises(EndpointError, match="SSL_CERT_FILE"):
            load_engine(options_for(server, files))


def test_a_server_without_tls_is_told_from_an_untrusted_one(files: Path) -> None:
    """It may have it in a moment, as may one that breaks the greeting off."""
    with CompletionServer() as server:
        options = replace(
            options_for(server, files),
            endpoint=server.endpoint.replace("http", "https"),
        )
        with closing(load_engine(options)) as engine:
            with pytest.raises(UnreachableError, match="does not speak TLS") as caught:
                engine.fill(request("x = "))
            assert caught.value.is_transient


def test_a_greeting_that_breaks_off_is_no_matter_of_trust(files: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.recv(1000)
                    # An alert in TLS 1.2: the greeting failed.
                    connection.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))
                    connection.close()

        threading.Thread(target=greet, daemon=True).start()
        endpoint = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        options = EngineOptions(model=str(files), backend="openai", endpoint=endpoint)
        with closing(load_engine(options)) as engine:
            with pytest.raises(UnreachableError, match="no connection") as caught:
                engine.fill(request("x = "))
            assert caught.value.is_transient
        listener.shutdown(socket.SHUT_RDWR)


def test_a_proxy_is_not_asked_for_this_machine(
    server: CompletionServer, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent to this machine does not leave it on the way."""
    with CompletionServer() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        with engine_for(server, files) as engine:
            engine.fill(request("x = ", max_new_tokens=1))
        assert proxy.asked == []
    assert server.completions
