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
# Made for Copilot's server: name, how many suggestions it asked for, what it told of.
_COPILOT = [
    ("copilot.vim-1.41", 3, ["shown", "accepted", "accepted", "shown"]),
    ("copilot.vim-1.26", 3, ["shown", "accepted", "accepted", "shown"]),
    ("copilot.lua", 1, ["shown", "accepted", "accepted"]),
    ("copilot.el", 2, ["shown", "accepted", "accepted", "shown"]),
    ("nvim-lspconfig-copilot", 2, ["accepted"]),
]
_COMPLETIONS = ("textDocument/inlineCompletion", "getCompletions")


class Replay:
    """Sends a recorded client's messages to a server and answers as it did."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.profile: dict[str, Any] = json.loads(
            (_CLIENTS / f"{name}.json").read_text("utf-8")
        )
        self.asked: list[str] = []
        self.heard: list[dict[str, Any]] = []
        self._ids = itertools.count(1)
        self._process = subprocess.Popen(
            [
                *[sys.executable, "-m", "lsp_stablecode", "serve", "--model", "echo"],
                *arguments,
            ],
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
            else:
                self.heard.append(message)

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

    def play(self) -> list[list[dict[str, Any]]]:
        """Send all that the client sent; return the suggestions it got, by request.

        Where it named one that it had got, this one names what it got instead.
        """
        names: dict[str, str] = {}
        answers: list[list[dict[str, Any]]] = []
        for message in self.profile["session"]:
            method, params = message["method"], _renamed(message["params"], names)
            if not message.get("request"):
                self._send({"method": method, "params": params})
                continue
            while method in _COMPLETIONS and self.command("status")["state"] != "ready":
                time.sleep(0.02)
            result = self.ask(method, params)
            if method in _COMPLETIONS:
                answers.append(result.get("items") or result.get("completions"))
                for number, item in enumerate(answers[-1]):
                    name = item.get("uuid") or item["command"]["arguments"][0]
                    names[f"answer {len(answers)} item {number}"] = name
            elif method in ("checkStatus", "signIn", "signInInitiate"):
                assert result["user"] == "local"
            else:
                assert result in (True, "OK"), method
        return answers

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


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value


@pytest.fixture
def replay() -> Iterator[Callable[..., Replay]]:
    replays: list[Replay] = []

    def start(name: str, *arguments: str) -> Replay:
        replays.append(Replay(name, *arguments))
        return replays[-1]

    yield start
    for one in replays:
        one.close()


def test_every_recording_is_replayed() -> None:
    names = {path.stem for path in _CLIENTS.glob("*.json")}
    assert names == {name for name, _, _ in [*_PROFILES, *_COPILOT]}


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


@pytest.mark.parametrize(("name", "num_requests", "told"), _COPILOT)
def test_a_client_of_copilots_server_gets_on(
    name: str,
    num_requests: int,
    told: list[str],
    replay: Callable[..., Replay],
    tmp_path: Path,
) -> None:
    """All it sent is answered as it expects; nobody is told of an error."""
    trace = tmp_path / "trace"
    client = replay(name, "--trace", str(trace))
    capabilities = client.initialize()
    assert capabilities["positionEncoding"] == "utf-16"
    assert "completionProvider" not in capabilities
    answers = client.play()
    assert len(answers) == num_requests
    first = answers[0][0]
    text = first.get("displayText") or first["insertText"]
    assert text == "ze = width * height"
    assert client.command("status")["accepted"] == 1
    methods = [one["method"] for one in client.heard]
    assert "window/showMessage" not in methods
    statuses = [one for one in client.heard if one["method"] == "didChangeStatus"]
    assert statuses[-1]["params"]["message"] == "echo on cpu"
    assert ("statusNotification" in methods) == ("uuid" in first)
    events = [json.loads(line)["event"] for line in trace.read_text().splitlines()]
    assert [one for one in events if one in ("shown", "accepted")] == told
