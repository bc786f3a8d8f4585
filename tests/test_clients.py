"""Recorded editors: each is offered what it uses, and its request is answered."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_CLIENTS = Path(__file__).parent / "clients"
# Name, position encoding, whether it is shown suggestions by inline completion.
_PROFILES = [
    ("neovim-0.12", "utf-8", True),
    ("neovim-0.11", "utf-8", False),
    ("lsp-mode-10", "utf-32", True),
]


class Replay:
    """Sends a recorded client's messages to a server and answers as it did."""

    def __init__(self, name: str) -> None:
        self.profile: dict[str, Any] = json.loads(
            (_CLIENTS / f"{name}.json").read_text("utf-8")
        )
        self.asked: list[str] = []
        self._ids = itertools.count(1)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lsp_stablecode", "serve", "--model", "echo"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def initialize(self) -> dict[str, Any]:
        """Return the server's capabilities."""
        result = self.ask("initialize", self.profile["initialize"])
        capabilities: dict[str, Any] = result["capabilities"]
        return capabilities

    def ready(self) -> None:
        """Send what the client sent before its request; wait for the model."""
        for message in self.profile["before"]:
            self._send(message)
        while self.command("status")["state"] != "ready":
            time.sleep(0.02)

    def command(self, name: str) -> Any:
        params = {"command": f"lsp-stablecode.{name}"}
        return self.ask("workspace/executeCommand", params)

    def ask(self, method: str, params: Any) -> Any:
        identifier = next(self._ids)
        self._send({"id": identifier, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == identifier and "method" not in message:
                return message["result"]
            if "id" in message:
                self._answer(message)

    def _answer(self, request: dict[str, Any]) -> None:
        self.asked.append(request["method"])
        is_configuration = request["method"] == "workspace/configuration"
        result = self.profile["configuration"] if is_configuration else None
        self._send({"id": request["id"], "result": result})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        length = 0
        while (line := self._process.stdout.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name == b"Content-Length":
                length = int(value)
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        return message

    def close(self) -> int:
        """Close the server's input, as an editor's end does; return its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            return self._process.wait(15)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


@pytest.fixture
def replay() -> Iterator[Callable[[str], Replay]]:
    replays: list[Replay] = []

    def start(name: str) -> Replay:
        replays.append(Replay(name))
        return replays[-1]

    yield start
    for one in replays:
        one.close()


def test_every_recording_is_replayed() -> None:
    names = {path.stem for path in _CLIENTS.glob("*.json")}
    assert names == {name for name, _, _ in _PROFILES}


@pytest.mark.parametrize(("name", "encoding"), [one[:2] for one in _PROFILES])
def test_a_client_is_offered_what_it_uses(
    name: str, encoding: str, replay: Callable[[str], Replay]
) -> None:
    capabilities = replay(name).initialize()
    assert capabilities["inlineCompletionProvider"] == {}
    assert capabilities["positionEncoding"] == encoding
    assert capabilities["textDocumentSync"]["change"] == 2


@pytest.mark.parametrize(
    ("name", "is_inline"),
    [
        ("neovim-0.12", True),
        ("neovim-0.11", False),
        # It sends Lisp's empty object, null, and means that it can.
        ("lsp-mode-10", True),
    ],
)
def test_the_menu_is_for_clients_without_inline_completion(
    name: str, is_inline: bool, replay: Callable[[str], Replay]
) -> None:
    """Else suggestions come twice: as grey text and in the menu."""
    assert ("completionProvider" in replay(name).initialize()) != is_inline


@pytest.mark.parametrize(("name", "encoding", "is_inline"), _PROFILES)
def test_a_clients_own_request_is_answered(
    name: str, encoding: str, is_inline: bool, replay: Callable[[str], Replay]
) -> None:
    """Its documents, its edits, its position: an item whose range ends there."""
    client = replay(name)
    client.initialize()
    client.ready()
    assert "workspace/configuration" in client.asked
    request = client.profile["request"]
    method = "inlineCompletion" if is_inline else "completion"
    assert request["method"] == f"textDocument/{method}"
    item = client.ask(request["method"], request["params"])["items"][0]
    edit = item if is_inline else item["textEdit"]
    assert edit["insertText" if is_inline else "newText"].strip()
    assert item["command"]["command"] == "lsp-stablecode.accepted"
    assert edit["range"]["end"] == request["params"]["position"]
    assert edit["range"]["start"]["line"] == edit["range"]["end"]["line"]
