"""What must not bring the server down, slow it down, or make its answers wrong."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Start
from lsprotocol import types
from test_engine import make_engine, request
from tiny import make_tokenizer

from lsp_stablecode.documents import Document, PositionEncoding, num_units
from lsp_stablecode.suggestions import Suggested, SuggestionMemory
from lsp_stablecode.worker import EngineWorker
from model import EngineOptions
from model.errors import OutOfMemoryError
from model.sampling import make_sampler
from model.tokenizer import CodeTokenizer

_MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    make_tokenizer().save(str(path))
    return CodeTokenizer.from_file(path)


@pytest.mark.parametrize("encoding", list(PositionEncoding))
def test_positions_in_a_line_of_megabytes_are_cheap(encoding: PositionEncoding) -> None:
    """A position costs about what encoding its line once costs."""
    line = "😀é; " * _MEGABYTE
    document = Document("file:///a.py", "python", 1, line, encoding)
    units = num_units(line, encoding)
    started = time.perf_counter()
    num_units(line[:-1], encoding)
    once = time.perf_counter() - started
    times = []
    for _ in range(3):
        started = time.perf_counter()
        assert document.locate(0, units - 1) == (0, len(line) - 1)
        times.append(time.perf_counter() - started)
    assert min(times) < 6 * once + 0.02


def test_long_suggestions_are_recalled_quickly() -> None:
    """What is remembered is looked through on the event loop, between two keys."""
    memory = SuggestionMemory()
    head, body = "# begin\n" * 100, "value = compute(value, 3)\n" * 160
    for index in range(16):
        texts = tuple(Suggested(body[index:] + str(one), "eos") for one in range(10))
        memory.remember("file:///a.py", head + body[:index], "", texts, 10)
    times = []
    for prefix in (head + body[:300], head + "nothing known", "y" * 5 * _MEGABYTE):
        started = time.perf_counter()
        known = memory.recall("file:///a.py", prefix, "")
        times.append(time.perf_counter() - started)
        assert (known is not None) == (prefix == head + body[:300])
    assert max(times) < 0.1


def test_a_tiny_temperature_is_greedy() -> None:
    """However small the temperature, sampling finds a token."""
    logits = torch.tensor([1.0, 30.0, -2.0, 29.9])
    for temperature in (1e-3, 1e-12, 1e-300):
        assert make_sampler(temperature, 0)(logits)[0] == 1


@pytest.mark.parametrize("method", ["forward", "truncate"])
@pytest.mark.parametrize("call", [1, 2, 4])
def test_ledger_and_cache_agree_after_a_failure(
    method: str, call: int, tokenizer: CodeTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails at whatever time, the next answer is that of a fresh engine."""
    engine = make_engine(tokenizer)
    backend: Any = engine._backend
    prefix = "def area(width, height):\n    value = width\n" * 2
    engine.fill(request(prefix))
    real, calls = getattr(backend, method), 0

    def fails(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OutOfMemoryError("The device ran out of memory.")
        return real(*arguments)

    monkeypatch.setattr(backend, method, fails)
    for count in range(4):
        try:
            engine.fill(request(prefix[: -5 * (count + 1)], num_candidates=3))
        except OutOfMemoryError:
            break
    assert calls >= call
    monkeypatch.undo()
    assert backend.num_cached_tokens == len(engine._sessions.ledger)
    again = engine.fill(request(prefix + "x", num_candidates=3))
    fresh = make_engine(tokenizer).fill(request(prefix + "x", num_candidates=3))
    assert [one.text for one in again.candidates] == [
        one.text for one in fresh.candidates
    ]


def test_an_engine_that_fails_to_close_can_be_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second reload works even where releasing the old model did not."""
    worker = EngineWorker()
    engine: Any = worker.load(EngineOptions("echo")).result(10)

    def fails(*arguments: Any) -> None:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(engine, "close", fails)
    with pytest.raises(RuntimeError):
        worker.load(EngineOptions("echo")).result(10)
    assert worker.load(EngineOptions("echo")).result(10) is not engine
    assert worker.close()


async def test_a_line_of_megabytes_does_not_block_the_server(start: Start) -> None:
    """Edits, answers and what else is asked meanwhile take no seconds."""
    editor = await start()
    unit = "😀=1; "
    uri = editor.open(unit * (5 * _MEGABYTE // len(unit)))
    column = 5 * _MEGABYTE // len(unit) * (len(unit) + 1)
    started = time.perf_counter()
    for count in range(3):
        editor.change(uri, "a", (0, column + count))
        answer = asyncio.ensure_future(editor.ask(uri, 0, column + count + 1))
        await editor.status()
        await answer
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("glob", ["/work/keys/**", "/keys/", "**/keys/*.py", "/work"])
async def test_excluded_by_a_path_of_workspace_or_disk(glob: str, start: Start) -> None:
    """A rooted glob may mean the workspace's folder or the file system."""
    folder = types.WorkspaceFolder("file:///work", "work")
    editor = await start(
        initialization_options={"exclude": [glob]}, workspace_folders=[folder]
    )
    uri = editor.open("value = 1\nval", uri="file:///work/keys/a.py")
    assert await editor.texts(uri, 1, 3) == []
    if glob != "/work":
        other = editor.open("value = 1\nval", uri="file:///work/work.py")
        assert await editor.texts(other, 1, 3)


@pytest.mark.parametrize(("start_at", "end_at"), [((3, 2), (3, 0)), ((99, 0), (99, 2))])
async def test_a_selected_range_outside_the_text(
    start_at: tuple[int, int], end_at: tuple[int, int], start: Start
) -> None:
    """A range that is reversed, or after the end, never comes back reversed."""
    editor = await start()
    uri = editor.open("def area(width):\n    pass\n\nar")
    span = types.Range(types.Position(*start_at), types.Position(*end_at))
    selected = types.SelectedCompletionInfo(span, "area")
    for item in await editor.items(uri, 3, 2, selected=selected):
        assert item.range.start <= item.range.end
        assert item.range.end.line <= 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
async def test_a_full_disk_costs_the_trace_only(start: Start) -> None:
    """Where the trace cannot be written, suggestions still come."""
    editor = await start("--trace", "/dev/full")
    uri = editor.open("value = 1\nval")
    assert await editor.texts(uri, 1, 3)
    assert await editor.texts(uri, 1, 3, invoked=False)


async def test_500_requests_with_edits_are_all_answered(start: Start) -> None:
    """500 requests in one breath: 500 answers, and the last one counts."""
    editor = await start()
    uri = editor.open("value = 1\n")
    requests = []
    for column, character in enumerate("val" + " " * 494 + "val"):
        editor.change(uri, character, (1, column))
        requests.append(asyncio.ensure_future(editor.ask(uri, 1, column + 1)))
    answers = await asyncio.wait_for(asyncio.gather(*requests), 30)
    assert len(answers) == 500
    assert (await editor.status())["requests"] == 500


_INITIALIZE = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"processId": None, "rootUri": None, "capabilities": {}},
    }
).encode()


class _Tcp:
    """A server on TCP and its first client."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> _Tcp:
        address = f"127.0.0.1:{self.port}"
        self.process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "lsp_stablecode", "serve"],
            *["--model", "echo", "--tcp", address],
            stderr=subprocess.PIPE,
        )
        for _ in range(200):
            try:
                self.reader, self.writer = await self.connect()
                break
            except OSError:
                await asyncio.sleep(0.05)
        return self

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def initialize(self) -> bytes:
        self.writer.write(b"Content-Length: %d\r\n\r\n" % len(_INITIALIZE))
        self.writer.write(_INITIALIZE)
        return await asyncio.wait_for(self.reader.readline(), 10)

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


@pytest.mark.parametrize("how", ["mid-message", "reset", "endless header"])
async def test_a_broken_connection_ends_the_server(
    how: str, unused_tcp_port: int
) -> None:
    """No server is left behind when its client goes in the middle of a message."""
    async with _Tcp(unused_tcp_port) as tcp:
        assert (await tcp.initialize()).startswith(b"Content-Length")
        if how == "mid-message":
            tcp.writer.write(b"Content-Length: 100\r\n\r\n{")
            await tcp.writer.drain()
            tcp.writer.close()
        elif how == "reset":
            now = struct.pack("ii", 1, 0)
            connection = tcp.writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
            tcp.writer.transport.abort()
        else:
            tcp.writer.write(b"x" * 200_000)
        assert await asyncio.wait_for(tcp.process.wait(), 10) == 0
        assert tcp.process.stderr is not None
        assert b"Traceback" not in await tcp.process.stderr.read()


async def test_a_second_connection_does_not_get_the_answers(
    unused_tcp_port: int,
) -> None:
    """Answers go to the client that asked, whoever knocks later."""
    async with _Tcp(unused_tcp_port) as tcp:
        assert (await tcp.initialize()).startswith(b"Content-Length")
        with pytest.raises(ConnectionRefusedError):
            await tcp.connect()
        tcp.writer.close()
        assert await asyncio.wait_for(tcp.process.wait(), 10) == 0
