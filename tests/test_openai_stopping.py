"""A request that nobody wants any more is let go of, and the server sees it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from completion_faults import is_silent, only_pings, refuses, stalls, tells
from completion_server import CompletionServer, Fault, Handler
from remote import engine_for, options_for, request, text_of, write_prompt_files

from model import Cut, Engine, load_engine, openai_client


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


class Later:
    """A cancel flag that is set some time after the server was asked."""

    def __init__(self, asked: threading.Event) -> None:
        self._asked = asked
        self._flag = threading.Event()
        self.set_at_s = 0.0
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        self._asked.wait(20)
        time.sleep(0.2)
        self.set_at_s = time.monotonic()
        self._flag.set()

    def is_set(self) -> bool:
        return self._flag.is_set()


@pytest.mark.parametrize("does", [is_silent, only_pings, stalls])
def test_cancelling_hangs_up_at_once(
    does: Fault, server: CompletionServer, engine: Engine
) -> None:
    """However silent the server is; on an idle machine within some 30 ms."""
    asked = threading.Event()

    def fault(handler: Handler) -> None:
        asked.set()
        does(handler)

    server.faults.append(fault)
    flag = Later(asked)
    result = engine.fill(request("x = "), flag)
    late_s = time.monotonic() - flag.set_at_s
    assert result.cancelled
    assert result.candidates == ()
    assert late_s < 2
    assert server.completions[-1].hung_up.wait(10)
    server.faults.append(tells("y"))
    assert text_of(engine.fill(request("x = "))) == "y"


def test_cancelling_ends_the_wait_for_another_attempt(
    server: CompletionServer, engine: Engine
) -> None:
    asked = threading.Event()

    def fault(handler: Handler) -> None:
        asked.set()
        refuses(429, Retry_After="2")(handler)

    server.faults.append(fault)
    flag = Later(asked)
    assert engine.fill(request("x = "), flag).cancelled
    assert time.monotonic() - flag.set_at_s < 1.5


def test_cancelling_ends_the_first_contact(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server could not be reached before, and now it does not say a word."""
    monkeypatch.setattr(openai_client, "_RETRY_FOR_S", 0.0)
    with CompletionServer() as gone:
        options = options_for(gone, files)
    with (
        closing(load_engine(options)) as engine,
        socket.create_server(("127.0.0.1", gone.port)),
    ):
        begun = threading.Event()
        begun.set()
        flag = Later(begun)
        assert engine.fill(request("x = "), flag).cancelled
        assert time.monotonic() - flag.set_at_s < 2


def test_several_candidates_are_stopped_together(
    server: CompletionServer, files: Path
) -> None:
    """Each has a stream of its own, and none goes on."""
    server.token_s = 0.1
    with engine_for(server, files) as engine:
        server.asked.clear()
        asked = threading.Event()
        flag = Later(asked)
        wanted = request("def f(x):\n    ", num_candidates=3, max_new_tokens=100)
        threading.Timer(0.5, asked.set).start()
        assert engine.fill(wanted, flag).cancelled
        assert len(server.completions) == 3
        for one in server.completions:
            assert one.hung_up.wait(10)


def test_a_rule_that_is_content_hangs_up(
    server: CompletionServer, engine: Engine
) -> None:
    """The server stops with the token that decides, and not at the token limit."""
    server.faults.append(stalls)
    asked = request("x = ", stop_rule=lambda text: Cut(6, "enough"))
    result = engine.fill(asked)
    [candidate] = result.candidates
    assert (candidate.text, candidate.finish_reason) == ("return", "enough")
    assert server.completions[-1].hung_up.wait(10)


def test_the_rule_about_tokens_is_asked_after_every_token(
    server: CompletionServer, engine: Engine
) -> None:
    seen: list[int] = []

    def rule(tokens: Any) -> Cut | None:
        seen.append(len(tokens))
        return Cut(0, "unsure") if len(tokens) == 3 else None

    [candidate] = engine.fill(request("x = ", token_rule=rule)).candidates
    assert seen == [1, 2, 3]
    assert candidate.finish_reason == "unsure"


def test_cancelled_before_it_began(server: CompletionServer, engine: Engine) -> None:
    flag = threading.Event()
    flag.set()
    assert engine.fill(request("x = "), flag).cancelled
    assert server.completions == []


def test_a_connection_is_kept_for_the_next_request(
    server: CompletionServer, engine: Engine
) -> None:
    ports: list[int] = []

    def tell(handler: Handler) -> None:
        ports.append(handler.client_address[1])
        tells("y")(handler)

    server.faults.extend([tell, tell, tell])
    for _ in range(3):
        engine.fill(request("x = "))
    assert len(set(ports)) == 1
