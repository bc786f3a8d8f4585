"""The wire itself: bytes in, bytes out, and how the process ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

_TEXT = "def area(width, height):\n    return width * height\n\n\ndef area"
_SERVE = [sys.executable, "-m", "lsp_stablecode", "serve", "--model"]


class Wire:
    """Frames messages and keeps what comes back; understands nothing else."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.notifications: list[dict[str, Any]] = []
        self._answers: dict[Any, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.ensure_future(self._read())

    def send(self, **message: Any) -> None:
        self.send_bytes(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def send_bytes(self, body: bytes) -> None:
        assert self.process.stdin is not None
        header = f"Content-Length: {len(body)}\r\n\r\n".encode()
        self.process.stdin.write(header + body)

    async def ask(self, identifier: Any, method: str, params: Any = None) -> Any:
        answer = asyncio.get_running_loop().create_future()
        self._answers[identifier] = answer
        self.send(id=identifier, method=method, params=params)
        return await asyncio.wait_for(answer, 20)

    async def initialize(self, **params: Any) -> Any:
        params = {
            "processId": None,
            "rootUri": None,
            "capabilities": {"textDocument": {"inlineCompletion": {}}},
            **params,
        }
        answer = await self.ask("initialize", "initialize", params)
        self.send(method="initialized", params={})
        return answer

    async def ready(self) -> None:
        for attempt in range(1000):
            params = {"command": "lsp-stablecode.status"}
            answer = await self.ask(f"r{attempt}", "workspace/executeCommand", params)
            if answer["result"]["state"] == "ready":
                return
            await asyncio.sleep(0.02)
        raise AssertionError(answer)

    def open(self, text: str, uri: str = "file:///a.py") -> None:
        document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        self.send(method="textDocument/didOpen", params={"textDocument": document})

    async def complete(self, identifier: Any, kind: int = 1) -> Any:
        return await self.ask(
            identifier,
            "textDocument/inlineCompletion",
            {
                "textDocument": {"uri": "file:///a.py"},
                "position": {"line": 4, "character": 8},
                "context": {"triggerKind": kind},
            },
        )

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while True:
            length = 0
            while (line := await self.process.stdout.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                # Anything else on stdout would break the framing here.
                assert name in (b"Content-Length", b"Content-Type"), line
                if name == b"Content-Length":
                    length = int(value)
            if not length:
                return
            message = json.loads(await self.process.stdout.readexactly(length))
            future = self._answers.get(message.get("id"))
            if "method" in message or future is None:
                self.notifications.append(message)
            elif not future.done():
                future.set_result(message)

    async def exit_code(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 15)


Connect = Callable[..., Awaitable[Wire]]


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Connect]:
    wires: list[Wire] = []

    async def start(model: str = "echo", *arguments: str) -> Wire:
        process = await asyncio.create_subprocess_exec(
            *_SERVE,
            model,
            *arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        wires.append(Wire(process))
        return wires[-1]

    yield start
    for wire in wires:
        if wire.process.returncode is None:
            wire.process.kill()
            await wire.process.wait()
        wire._reader.cancel()
        if wire.process.stdin is not None:
            wire.process.stdin.close()


async def test_initialize_is_answered_soon(connect: Connect) -> None:
    """From process start to the answer of ``initialize``, warm."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        wire = await connect()
        await wire.initialize()
        times.append(time.perf_counter() - started)
    # At rest 0.4 s; a machine with other work takes several times as long.
    assert min(times) < 4.0


@pytest.mark.parametrize("kind", [0, 1, 2, 7])
async def test_every_trigger_kind_is_answered(kind: int, connect: Connect) -> None:
    """LSP's 1 and 2, VS Code's own 0, and numbers nobody knows yet."""
    wire = await connect()
    await wire.initialize()
    await wire.ready()
    wire.open(_TEXT)
    answer = await wire.complete(1, kind)
    assert answer["result"]["items"][0]["insertText"] == "(width, height):"


async def test_requests_out_of_their_time_are_refused(connect: Connect) -> None:
    """Before initialize, initialize twice, after shutdown: each id is answered."""
    wire = await connect()
    assert (await wire.complete(1))["error"]["code"] == -32002
    await wire.initialize()
    assert (await wire.ask(2, "initialize", {"capabilities": {}}))["error"]["code"] == (
        -32600
    )
    assert (await wire.ask(3, "no/suchMethod"))["error"]["code"] == -32601
    assert (await wire.ask(4, "shutdown"))["result"] is None
    assert (await wire.complete(5))["error"]["code"] == -32600
    wire.send(method="exit")
    assert await wire.exit_code() == 0


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        {"textDocument": 5},
        {
            "textDocument": {"uri": "file:///a.py"},
            "position": {"line": -1, "character": 0},
            "context": {"triggerKind": 1},
        },
        {
            "textDocument": {"uri": "file:///a.py"},
            "position": {"line": "x", "character": 0},
            "context": {"triggerKind": 1},
        },
    ],
)
async def test_malformed_requests_are_answered(params: Any, connect: Connect) -> None:
    """Parameters that do not follow the protocol get an error, and we live on."""
    wire = await connect()
    await wire.initialize()
    await wire.ready()
    wire.open(_TEXT)
    answer = await wire.ask(1, "textDocument/inlineCompletion", params)
    assert answer["error"]["code"] in (-32602, -32603)
    assert (await wire.complete(2))["result"]["items"]


async def test_garbage_is_survived(connect: Connect) -> None:
    """Bytes that are no JSON, or JSON that is no message, lose nothing."""
    wire = await connect()
    await wire.initialize()
    await wire.ready()
    wire.open(_TEXT)
    for body in (b"{", b"[]", b"5", b'"x"', b"null", b"\xff\xfe", b'{"a": 1}'):
        wire.send_bytes(body)
    wire.send(method="textDocument/didChange", params={"textDocument": 1})
    wire.send(method="no/suchNotification", params=[1])
    wire.send(id=77, result=None)
    wire.send(method="$/cancelRequest", params={"id": 12345})
    assert (await wire.complete(1))["result"]["items"]


async def test_an_absurd_length_ends_the_server(connect: Connect) -> None:
    """No message can follow a header like this; the server goes, with code 1."""
    wire = await connect()
    await wire.initialize()
    assert wire.process.stdin is not None
    wire.process.stdin.write(b"Content-Length: 99999999999999999999\r\n\r\n")
    assert await wire.exit_code() == 1


async def test_nothing_but_the_protocol_on_stdout(connect: Connect) -> None:
    """Logs at their loudest go to standard error (the reader checks framing)."""
    wire = await connect("echo", "--log-level", "debug")
    await wire.initialize()
    await wire.ready()
    wire.open(_TEXT)
    assert (await wire.complete(1))["result"]["items"]
    assert not wire._reader.done()


async def test_exit_without_shutdown_is_1(connect: Connect) -> None:
    """LSP: exit code 1 if shutdown did not come first."""
    wire = await connect()
    await wire.initialize()
    wire.send(method="exit")
    assert await wire.exit_code() == 1


async def test_closed_stdin_ends_the_server(connect: Connect) -> None:
    """An editor that dies closes the pipe; the server goes, generating or not."""
    wire = await connect("echo:200")
    await wire.initialize()
    await wire.ready()
    wire.open(_TEXT)
    request = asyncio.ensure_future(wire.complete(1))
    await asyncio.sleep(0.3)
    assert wire.process.stdin is not None
    wire.process.stdin.close()
    assert await wire.exit_code() == 0
    request.cancel()


async def test_a_vanished_client_ends_the_server(connect: Connect) -> None:
    """The pipe may stay open in another process; the client's id tells."""
    client = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    wire = await connect()
    await wire.initialize(processId=client.pid)
    await asyncio.sleep(0.5)
    assert wire.process.returncode is None
    client.kill()
    client.wait()
    assert await wire.exit_code() == 0


@pytest.mark.skipif(os.name == "nt", reason="signals")
async def test_ctrl_c_ends_the_server(connect: Connect) -> None:
    """Ctrl-C in a terminal works although standard input is being read."""
    wire = await connect()
    await wire.initialize()
    wire.process.send_signal(signal.SIGINT)
    assert await wire.exit_code() == 130


async def test_notebook_cells_see_each_other(connect: Connect) -> None:
    """A cell's prompt holds the code cells before it, as they are now."""
    wire = await connect()
    text_document = {"inlineCompletion": {}}
    answer = await wire.initialize(
        capabilities={
            "textDocument": text_document,
            "notebookDocument": {"synchronization": {}},
        }
    )
    assert answer["result"]["capabilities"]["notebookDocumentSync"]
    await wire.ready()
    cells = [f"vscode-notebook-cell:/work/n.ipynb#{index}" for index in range(2)]
    notebook = {
        "uri": "file:///work/n.ipynb",
        "notebookType": "jupyter-notebook",
        "version": 1,
        "cells": [{"kind": 2, "document": uri} for uri in cells],
    }
    texts = ["frame = load('x')\nshow()\n", "fra"]
    documents = [
        {"uri": uri, "languageId": "python", "version": 1, "text": text}
        for uri, text in zip(cells, texts, strict=True)
    ]
    wire.send(
        method="notebookDocument/didOpen",
        params={"notebookDocument": notebook, "cellTextDocuments": documents},
    )
    change = {
        "document": {"uri": cells[0], "version": 2},
        "changes": [
            {
                "range": {
                    "start": {"line": 0, "character": 14},
                    "end": {"line": 0, "character": 15},
                },
                "text": "yy",
            }
        ],
    }
    wire.send(
        method="notebookDocument/didChange",
        params={
            "notebookDocument": {"uri": notebook["uri"], "version": 2},
            "change": {"cells": {"textContent": [change]}},
        },
    )
    answer = await wire.ask(
        1,
        "textDocument/inlineCompletion",
        {
            "textDocument": {"uri": cells[1]},
            "position": {"line": 0, "character": 3},
            "context": {"triggerKind": 1},
        },
    )
    assert answer["result"]["items"][0]["insertText"].startswith("me = load('yy')")


async def test_trace_holds_no_source_text(connect: Connect, tmp_path: Path) -> None:
    """Each request leaves one JSON line, without a word of the document."""
    trace = tmp_path / "tra ce é.jsonl"
    wire = await connect("echo", "--trace", str(trace))
    await wire.initialize()
    await wire.ready()
    wire.open(_TEXT.replace("width", "topsecret"))
    await wire.complete(1)
    await wire.complete(2, 2)
    lines = [json.loads(line) for line in trace.read_text("utf-8").splitlines()]
    # What was computed ahead meanwhile has lines of its own.
    assert {line["event"] for line in lines} <= {"completion", "look-ahead"}
    outcomes = [line["outcome"] for line in lines if line["event"] == "completion"]
    assert outcomes == ["shown", "type-through"]
    assert "topsecret" not in trace.read_text("utf-8")


async def test_tcp(unused_tcp_port: int) -> None:
    """``--tcp`` serves one client and ends with it."""
    process = await asyncio.create_subprocess_exec(
        *_SERVE, "echo", "--tcp", f"127.0.0.1:{unused_tcp_port}"
    )
    try:
        for _ in range(100):
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", unused_tcp_port
                )
                break
            except OSError:
                await asyncio.sleep(0.05)
        body = json.dumps(
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "initialize",
                "params": {"processId": None, "rootUri": None, "capabilities": {}},
            }
        ).encode()
        writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        header = await asyncio.wait_for(reader.readline(), 5)
        assert header.startswith(b"Content-Length")
        writer.close()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
