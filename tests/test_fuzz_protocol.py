"""Whatever comes over the wire: an answer or an error, and the right text after."""

from __future__ import annotations

import json
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from lsp_stablecode.shared.rendezvous import RUNTIME_VARIABLE
from tests.hubs import runtime_folder

_TEXT = "def one(width):\n    value = compute(width)\n\ndef two(width):\n    va"
_REST = "lue = compute(width)"
_WAIT_S = 120.0
_NUM_FAST, _NUM_SLOW = 600, 10_000

Message = dict[str, Any]


class Wire:
    """A server process and raw bytes to and from it."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "lsp_stablecode", "serve", "--model", "echo"]
        self.process = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.answers: dict[str, list[Message]] = {}
        self._arrived: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def raw(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, message: Any) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        body = text.encode("utf-8", "surrogatepass")
        self.raw(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def notify(self, method: str, **params: Any) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def ask(self, identifier: Any, method: str, **params: Any) -> Message:
        """Send a request and return the first message that answers it."""
        request = {"jsonrpc": "2.0", "id": identifier, "method": method}
        self.send({**request, "params": params})
        return self.answer_to(identifier)

    def answer_to(self, identifier: Any) -> Message:
        key = json.dumps(identifier)
        deadline_s = time.monotonic() + _WAIT_S
        while key not in self.answers:
            message = self._arrived.get(timeout=max(0.1, deadline_s - time.monotonic()))
            assert message is not None, "the server has ended"
            if "method" not in message:
                self.answers.setdefault(json.dumps(message.get("id")), []).append(
                    message
                )
            elif "id" in message:
                self.send({"jsonrpc": "2.0", "id": message["id"], "result": None})
        return self.answers.pop(key)[0]

    def initialize(self) -> None:
        params = {"processId": None, "rootUri": None, "capabilities": {}}
        assert "result" in self.ask("hello", "initialize", **params)
        self.notify("initialized")
        for number in range(10_000):
            command = {"command": "lsp-stablecode.status"}
            told = self.ask(f"ready-{number}", "workspace/executeCommand", **command)
            if told["result"]["state"] == "ready":
                return
            time.sleep(0.02)

    def works(self) -> None:
        """See that the server completes a document rightly, with its usual settings."""
        settings = {"lsp-stablecode": {}}
        self.notify("workspace/didChangeConfiguration", settings=settings)
        for name in ("snooze", "reload"):
            command = {"command": f"lsp-stablecode.{name}", "arguments": [0]}
            self.ask(
                f"{name}-{time.monotonic()}", "workspace/executeCommand", **command
            )
        uri = "file:///checked.py"
        item = {"uri": uri, "languageId": "python", "version": 1, "text": "x"}
        self.notify("textDocument/didOpen", textDocument=item)
        self.notify(
            "textDocument/didChange",
            textDocument={"uri": uri, "version": 2},
            contentChanges=[{"text": _TEXT[:-1]}, _insertion(4, 5, "a")],
        )
        method, params = _completion(uri, 4, 6)
        told = self.ask(f"check-{time.monotonic()}", method, **params)
        assert told["result"]["items"][0]["insertText"] == _REST

    def _read(self) -> None:
        assert self.process.stdout is not None
        stream = self.process.stdout
        while True:
            length = 0
            while (line := stream.readline()).strip():
                if line.lower().startswith(b"content-length"):
                    length = int(line.split(b":")[1])
            if not line:
                break
            self._arrived.put(json.loads(stream.read(length)))
        self._arrived.put(None)

    def close(self) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()


@contextmanager
def served(*arguments: str) -> Iterator[Wire]:
    wire = Wire(*arguments)
    try:
        yield wire
    finally:
        wire.close()


@pytest.fixture(params=[(), ("--shared",)], ids=["alone", "shared"])
def wire(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Wire]:
    with runtime_folder() as hubs:
        monkeypatch.setenv(RUNTIME_VARIABLE, str(hubs.folder))
        with served(*request.param) as one:
            yield one


def _insertion(line: int, character: int, text: str) -> Message:
    place = {"line": line, "character": character}
    return {"range": {"start": place, "end": place}, "text": text}


def _completion(uri: str, line: int, character: int) -> tuple[str, Message]:
    params = {
        "textDocument": {"uri": uri},
        "position": {"line": line, "character": character},
        "context": {"triggerKind": 1},
    }
    return "textDocument/inlineCompletion", params


# --- fuzzing -------------------------------------------------------------------------

_URIS = [
    "file:///a.py",
    "file:///a%2Epy",
    "untitled:x",
    "file:///ü 😀.py",
    "",
    "x" * 999,
]
_ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53, -(2**63), 10**400, 0.5, -1e308, "",
    "a", "\0", "\ud800", "é😀\r\n\t", "x" * 10_000, [], {}, [[]], {"a": {}}, [None],
]  # fmt: skip


def _messages() -> list[Message]:
    """Return one good message of each kind, to be made worse."""
    uri = _URIS[0]
    item = {"uri": uri, "languageId": "python", "version": 1, "text": _TEXT}
    method, params = _completion(uri, 4, 6)
    folder = {"uri": "file:///w", "name": "w"}
    cell = {"kind": 2, "document": "cell:1"}
    notebook = {"uri": "file:///n", "notebookType": "j", "version": 1, "cells": [cell]}
    notifications = [
        ("textDocument/didOpen", {"textDocument": item}),
        (
            "textDocument/didChange",
            {
                "textDocument": {"uri": uri, "version": 2},
                "contentChanges": [_insertion(1, 3, "new\ntext"), {"text": _TEXT}],
            },
        ),
        ("textDocument/didClose", {"textDocument": {"uri": uri}}),
        ("textDocument/didFocus", {"textDocument": {"uri": uri}}),
        ("textDocument/didShowCompletion", {"item": {"insertText": "a"}}),
        (
            "textDocument/didPartiallyAcceptCompletion",
            {"item": {"insertText": "a"}, "acceptedLength": 1},
        ),
        (
            "notebookDocument/didOpen",
            {
                "notebookDocument": notebook,
                "cellTextDocuments": [{**item, "uri": "cell:1"}],
            },
        ),
        (
            "notebookDocument/didChange",
            {
                "notebookDocument": {"uri": "file:///n", "version": 2},
                "change": {
                    "cells": {
                        "structure": {
                            "array": {"start": 0, "deleteCount": 1, "cells": [cell]}
                        }
                    }
                },
            },
        ),
        (
            "workspace/didChangeConfiguration",
            {"settings": {"lsp-stablecode": {"maxNewTokens": 64, "exclude": ["*.x"]}}},
        ),
        (
            "workspace/didChangeWorkspaceFolders",
            {"event": {"added": [folder], "removed": [folder]}},
        ),
        ("$/cancelRequest", {"id": 1}),
        ("$/setTrace", {"value": "verbose"}),
        ("no/such/method", {"a": 1}),
    ]
    requests = [
        (method, params),
        ("textDocument/completion", params),
        (
            "workspace/executeCommand",
            {"command": "lsp-stablecode.explain", "arguments": [uri]},
        ),
        (
            "workspace/executeCommand",
            {"command": "lsp-stablecode.snooze", "arguments": [0]},
        ),
        (
            "workspace/executeCommand",
            {"command": "lsp-stablecode.accepted", "arguments": ["1.0", 2]},
        ),
        ("getCompletions", {"doc": {"uri": uri, "position": {"line": 1}}}),
        ("checkStatus", {}),
        ("initialize", {"capabilities": {}}),
        ("no/such/request", {"a": 1}),
    ]
    return [
        {"jsonrpc": "2.0", "method": method, "params": params}
        for method, params in notifications
    ] + [
        {"jsonrpc": "2.0", "id": 0, "method": method, "params": params}
        for method, params in requests
    ]


def _worse(value: Any, chance: random.Random, depth: int = 0) -> Any:
    """Return a value with something wrong somewhere in it."""
    if chance.random() < 0.12 + 0.04 * depth:
        return chance.choice(_ODD)
    if isinstance(value, dict) and value:
        copy = dict(value)
        key = chance.choice(list(copy))
        kind = chance.random()
        if kind < 0.1:
            del copy[key]
        elif kind < 0.2:
            copy[str(chance.choice(_ODD))[:20]] = chance.choice(_ODD)
        else:
            copy[key] = _worse(copy[key], chance, depth + 1)
        return copy
    if isinstance(value, list) and value:
        copy_list = list(value)
        index = chance.randrange(len(copy_list))
        copy_list[index] = _worse(copy_list[index], chance, depth + 1)
        return copy_list * chance.choice([1, 1, 3])
    if isinstance(value, int) and not isinstance(value, bool):
        return chance.choice([-1, 0, 1, 5, 10**6, 2**31 - 1, 2**63, value])
    if isinstance(value, str) and value in _URIS:
        return chance.choice(_URIS)
    return chance.choice([value, chance.choice(_ODD)])


_NOISE = [
    b"Content-Length: 3\r\n\r\n{}}",
    b"Content-Length: 2\r\nContent-Type: application/x; charset=x\r\n\r\n{}",
    b"\r\n\r\n\r\n",
    b"Content-Length: x\r\n\r\n",
    b"Content-Length: 4\r\n\r\nnull",
    b"Content-Length: 2\r\n\r\n[]",
    b"Content-Length: 5\r\n\r\n\xff\xfe\x00\x01\x80",
    b"Content-Length: 16\r\n\r\n" + b"[" * 16,
    b"Nonsense\r\n",
]


def _fuzz(wire: Wire, chance: random.Random, num_messages: int) -> None:
    good = _messages()
    asked: list[str] = []
    for number in range(num_messages):
        message = dict(chance.choice(good))
        if chance.random() < 0.8:
            message["params"] = _worse(message["params"], chance)
        if chance.random() < 0.05:
            message = _worse(message, chance)
        if chance.random() < 0.03:
            wire.raw(chance.choice(_NOISE))
        if isinstance(message, dict) and "id" in message:
            is_whole = message.get("jsonrpc") == "2.0" and isinstance(
                message.get("method"), str
            )
            message["id"] = identifier = f"fuzz-{number}"
            if is_whole:
                asked.append(identifier)
        wire.send(message)
        if number % 100 == 99:
            wire.works()
    for identifier in asked:
        answer = wire.answer_to(identifier)
        assert ("result" in answer) != ("error" in answer)
    wire.works()


@pytest.mark.parametrize("seed", [0, 1])
def test_fuzzed_messages(wire: Wire, seed: int) -> None:
    """Each request is answered; between them the server works as ever."""
    wire.initialize()
    _fuzz(wire, random.Random(seed), _NUM_FAST)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_fuzzed_messages(wire: Wire) -> None:
    wire.initialize()
    _fuzz(wire, random.Random(2), _NUM_SLOW)


# --- single shots --------------------------------------------------------------------


def test_nothing_is_done_before_initialize(wire: Wire) -> None:
    method, params = _completion(_URIS[0], 0, 0)
    assert wire.ask(1, method, **params)["error"]["code"] == -32002
    wire.notify("textDocument/didOpen", textDocument=1)
    wire.initialize()
    wire.works()


def test_nothing_is_done_after_shutdown(wire: Wire) -> None:
    wire.initialize()
    assert wire.ask(1, "shutdown")["result"] is None
    method, params = _completion(_URIS[0], 0, 0)
    assert "error" in wire.ask(2, method, **params) or not wire.answers
    wire.notify("exit")
    assert wire.process.wait(_WAIT_S) == 0


def test_two_requests_with_one_id_are_answered(wire: Wire) -> None:
    wire.initialize()
    method, params = _completion(_URIS[0], 0, 0)
    for _ in range(2):
        wire.send({"jsonrpc": "2.0", "id": 5, "method": method, "params": params})
    wire.answer_to(5)
    wire.works()


def test_versions_may_go_backwards(wire: Wire) -> None:
    wire.initialize()
    uri = _URIS[0]
    item = {"uri": uri, "languageId": "python", "version": 9, "text": _TEXT[:-2]}
    wire.notify("textDocument/didOpen", textDocument=item)
    for version, (character, text) in zip((3, -1), ((4, "v"), (5, "a")), strict=True):
        wire.notify(
            "textDocument/didChange",
            textDocument={"uri": uri, "version": version},
            contentChanges=[_insertion(4, character, text)],
        )
    method, params = _completion(uri, 4, 6)
    assert wire.ask(1, method, **params)["result"]["items"][0]["insertText"] == _REST


@pytest.mark.parametrize("place", [(-1, -1), (2**31 - 1, 2**31 - 1), (4, 10**9)])
def test_positions_far_outside_are_answered(wire: Wire, place: tuple[int, int]) -> None:
    wire.initialize()
    wire.works()
    method, params = _completion("file:///checked.py", *place)
    answer = wire.ask(1, method, **params)
    assert "result" in answer or "error" in answer
    wire.works()


def test_binary_and_broken_text_is_a_text(wire: Wire) -> None:
    """What is in a file is the user's business; it must not end anything."""
    wire.initialize()
    for number, text in enumerate(
        ["".join(map(chr, range(256))), "\ud800" * 10, "\0" * 1000, "\r" * 1000]
    ):
        uri = f"file:///odd-{number}.py"
        item = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        wire.notify("textDocument/didOpen", textDocument=item)
        method, params = _completion(uri, 0, 1)
        assert "items" in wire.ask(f"odd-{number}", method, **params)["result"]
    wire.works()


def test_thousands_of_documents(wire: Wire) -> None:
    wire.initialize()
    item = {"languageId": "python", "version": 1, "text": _TEXT}
    for number in range(10_000):
        document = {**item, "uri": f"file:///many/{number}.py"}
        wire.notify("textDocument/didOpen", textDocument=document)
    wire.works()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_document_of_a_hundred_megabytes(wire: Wire) -> None:
    wire.initialize()
    text = "value = compute(width)\n" * (100 * 2**20 // 23) + "va"
    uri = _URIS[0]
    item = {"uri": uri, "languageId": "python", "version": 1, "text": text}
    wire.notify("textDocument/didOpen", textDocument=item)
    last = text.count("\n")
    wire.notify(
        "textDocument/didChange",
        textDocument={"uri": uri, "version": 2},
        contentChanges=[_insertion(last, 2, "l")],
    )
    method, params = _completion(uri, last, 3)
    items: list[Message] = []
    # A front does not wait for a hub that reads for seconds; it answers empty.
    for number in range(100):
        items = wire.ask(number, method, **params)["result"]["items"]
        if items:
            break
        time.sleep(0.5)
    assert items[0]["insertText"].startswith("ue = compute(width)")
    wire.works()


def test_an_absurd_length_ends_the_connection(wire: Wire) -> None:
    """There is no way to tell where the next message would begin."""
    wire.initialize()
    wire.raw(b"Content-Length: 99999999999999999999\r\n\r\n{}")
    assert wire.process.wait(_WAIT_S) is not None
