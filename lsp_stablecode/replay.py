"""A recorded session played again at a server, and its answers compared."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, cast

from lsp_stablecode.errors import RecordingError
from lsp_stablecode.judgement.habits_file import STATE_VARIABLE
from lsp_stablecode.recording import Recorded
from lsp_stablecode.shared.framing import frame, read_message

Verdict = Literal["same", "different", "only then", "only now", "both empty"]

_COMPLETIONS = ("textDocument/inlineCompletion", "textDocument/completion")
_ANSWERS_TIMEOUT_S = 60.0
_END_S = 10.0
_MODEL_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Compared:
    """A request for a completion, its answer then and now."""

    at_s: float
    method: str
    place: str
    then: tuple[str, ...]
    now: tuple[str, ...]
    then_ms: float | None
    now_ms: float | None

    @property
    def verdict(self) -> Verdict:
        """How the two answers compare."""
        if not self.then and not self.now:
            return "both empty"
        if not self.then or not self.now:
            return "only then" if self.then else "only now"
        return "same" if self.then == self.now else "different"


@dataclass(slots=True)
class _Sent:
    message: dict[str, Any]
    at_s: float
    answered_s: float | None = None
    result: Any = None


@dataclass(slots=True)
class Replay:
    """Plays messages to the server that ``command`` starts.

    ``speed`` 2 halves all waiting. The server's own requests are answered as the
    editor answered them. What the user accepts is neither known to it nor counted.
    """

    recorded: Sequence[Recorded]
    command: Sequence[str]
    speed: float = 1.0
    advance: Callable[[], object] = lambda: None
    _sent: dict[str, _Sent] = field(default_factory=dict)
    _answers: dict[str, list[Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _has_awaited_model: bool = False

    def play(self) -> list[Compared]:
        """Play it and return the completions, in their order.

        Raises ``RecordingError`` where the server ends before its time.
        """
        self._answers = answers_to_server(self.recorded)
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as state,
            subprocess.Popen(
                list(self.command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, STATE_VARIABLE: state},
            ) as server,
        ):
            try:
                reading = threading.Thread(
                    target=self._read, args=(server,), daemon=True
                )
                reading.start()
                self._send_all(server)
                self._await_answers(server, list(self._sent))
            except BrokenPipeError as error:
                raise RecordingError("The server ended before its time.") from error
            finally:
                _end(server)
        return self._compared()

    def _send_all(self, server: subprocess.Popen[bytes]) -> None:
        offset_s = time.monotonic()
        answered: list[str] = []
        for one in self.recorded:
            message = one.message
            if one.sender == "server":
                if "id" in message and "method" not in message:
                    answered.append(json.dumps(message["id"]))
                continue
            self.advance()
            if "method" not in message or message["method"] == "exit":
                continue
            if message["method"] in _COMPLETIONS and not self._has_awaited_model:
                # The model loads as long as it takes; that is no time of typing.
                before_s = time.monotonic()
                self._await_model(server)
                offset_s += time.monotonic() - before_s
            due_s = offset_s + one.at_s / self.speed
            time.sleep(max(0.0, due_s - time.monotonic()))
            # What had an answer before this was sent is to have one now too: the
            # editor may well have waited for it.
            self._await_answers(server, answered)
            answered.clear()
            if message["method"] == "initialize":
                params = {**(message.get("params") or {}), "processId": None}
                message = {**message, "params": params}
            self._send(server, message)

    def _await_model(self, server: subprocess.Popen[bytes]) -> None:
        """Wait, once, until the model is there or will not be."""
        self._has_awaited_model = True
        command = {"command": "lsp-stablecode.status"}
        deadline_s = time.monotonic() + _MODEL_TIMEOUT_S
        while server.poll() is None and time.monotonic() < deadline_s:
            key = f"replay-{len(self._sent)}"
            ask = {"id": key, "method": "workspace/executeCommand", "params": command}
            self._send(server, {"jsonrpc": "2.0", **ask})
            sent = self._sent[json.dumps(key)]
            while sent.answered_s is None and server.poll() is None:
                if time.monotonic() > deadline_s:
                    return
                time.sleep(0.01)
            state = (sent.result or {}).get("state")
            if state not in ("idle", "loading", None):
                return
            time.sleep(0.1)

    def _send(self, server: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
        assert server.stdin is not None
        with self._lock:
            if "id" in message and "method" in message:
                key = json.dumps(message["id"])
                self._sent[key] = _Sent(message, time.monotonic())
            server.stdin.write(frame(json.dumps(message).encode()))
            server.stdin.flush()

    def _read(self, server: subprocess.Popen[bytes]) -> None:
        assert server.stdout is not None
        while (body := read_message(cast(BinaryIO, server.stdout))) is not None:
            message = json.loads(body)
            if "method" in message:
                if "id" in message:
                    self._answer(server, message)
                continue
            sent = self._sent.get(json.dumps(message.get("id")))
            if sent is not None:
                sent.result = message.get("result")
                sent.answered_s = time.monotonic()

    def _answer(self, server: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
        known = self._answers.get(request["method"])
        # The last answer stands for all that come after it.
        result = (known.pop(0) if len(known) > 1 else known[0]) if known else None
        answer = {"jsonrpc": "2.0", "id": request["id"], "result": result}
        try:
            self._send(server, answer)
        except (BrokenPipeError, ValueError):
            return

    def _await_answers(
        self, server: subprocess.Popen[bytes], keys: Sequence[str]
    ) -> None:
        waiting = [self._sent[key] for key in keys if key in self._sent]
        deadline_s = time.monotonic() + _ANSWERS_TIMEOUT_S
        while time.monotonic() < deadline_s and server.poll() is None:
            if all(one.answered_s is not None for one in waiting):
                return
            time.sleep(0.001)

    def _compared(self) -> list[Compared]:
        then = {
            json.dumps(one.message["id"]): one
            for one in self.recorded
            if one.sender == "server"
            and "id" in one.message
            and "method" not in one.message
        }
        found = []
        for one in self.recorded:
            if one.sender != "editor" or one.message.get("method") not in _COMPLETIONS:
                continue
            key = json.dumps(one.message.get("id"))
            before, now = then.get(key), self._sent.get(key)
            found.append(
                Compared(
                    at_s=one.at_s,
                    method=one.message["method"],
                    place=_place(one.message),
                    then=_texts(before.message.get("result") if before else None),
                    now=_texts(now.result if now else None),
                    then_ms=1000 * (before.at_s - one.at_s) if before else None,
                    now_ms=1000 * (now.answered_s - now.at_s)
                    if now and now.answered_s
                    else None,
                )
            )
        return found


def answers_to_server(recorded: Sequence[Recorded]) -> dict[str, list[Any]]:
    """Return what an editor answered its server, by method, in their order."""
    asked = {
        json.dumps(one.message["id"]): one.message["method"]
        for one in recorded
        if one.sender == "server" and "id" in one.message and "method" in one.message
    }
    answers: defaultdict[str, list[Any]] = defaultdict(list)
    for one in recorded:
        if one.sender == "editor" and "method" not in one.message:
            method = asked.get(json.dumps(one.message.get("id")))
            if method is not None:
                answers[method].append(one.message.get("result"))
    return dict(answers)


def _texts(result: Any) -> tuple[str, ...]:
    items = result.get("items") if isinstance(result, dict) else result
    texts = []
    for one in items or ():
        edit = one.get("textEdit") or {}
        text = one.get("insertText", edit.get("newText", one.get("label", "")))
        texts.append(text if isinstance(text, str) else str(text.get("value", "")))
    return tuple(texts)


def _place(request: dict[str, Any]) -> str:
    params = request.get("params") or {}
    uri = str((params.get("textDocument") or {}).get("uri", ""))
    position = params.get("position") or {}
    name = uri.rpartition("/")[2]
    return f"{name}:{position.get('line', 0) + 1}:{position.get('character', 0) + 1}"


def _end(server: subprocess.Popen[bytes]) -> None:
    assert server.stdin is not None
    try:
        server.stdin.close()
        server.wait(_END_S)
    except (OSError, subprocess.TimeoutExpired):
        server.kill()
