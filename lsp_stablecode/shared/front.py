"""One editor's side of a shared engine: passes messages on, and survives the hub.

All state belongs to one thread, which takes what happens from a queue. Nothing here
waits for the hub: while there is none, or it does not answer, requests are answered
empty at once and edits are kept in the mirror.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from lsp_stablecode.shared.errors import FramingError, SharedError
from lsp_stablecode.shared.framing import frame, read_message
from lsp_stablecode.shared.joining import join
from lsp_stablecode.shared.link import Link, RefusedError
from lsp_stablecode.shared.mirror import RESTORE, Message, Mirror
from lsp_stablecode.shared.rendezvous import Rendezvous

PING = "lsp-stablecode/ping"
__all__ = ["PING", "RESTORE", "Front"]

_TICK_S = 0.25
# Silence after which a hub that owes an answer is asked whether it lives, then taken
# to be busy, and at last taken to hang for ever.
_PING_AFTER_S = 1.0
_UNRESPONSIVE_S = 3.0
_HUNG_S = 60.0
# So many losses in so short a time are no accident.
_MOST_LOSSES = 3
_LOSSES_WITHIN_S = 300.0
_REST_S = 30.0
_STEADY_S = 60.0
# What is no request to the server, such as one without a version, is never answered.
_FORGOTTEN_S = 600.0

_REQUEST_FAILED = -32803
_INVALID_REQUEST = -32600
_NOT_INITIALIZED = -32002
_EMPTY = {
    "textDocument/inlineCompletion": {"items": []},
    "textDocument/completion": {"isIncomplete": True, "items": []},
    "textDocument/copilotPanelCompletion": {"items": []},
    "textDocument/copilotInlineEdit": {"edits": []},
    "getCompletions": {"completions": []},
    "getCompletionsCycling": {"completions": []},
    "shutdown": None,
}


class Front:
    """Between one editor, on two streams, and the hub."""

    def __init__(
        self,
        rendezvous: Rendezvous,
        arguments: Sequence[str],
        log: Path,
        editor_in: BinaryIO,
        editor_out: BinaryIO,
    ) -> None:
        self._rendezvous = rendezvous
        self._arguments = arguments
        self._log = log
        self._in = editor_in
        self._out = editor_out
        self._events: queue.SimpleQueue[tuple[str, Any, Any]] = queue.SimpleQueue()
        self._mirror = Mirror()
        self._link: Link | None = None
        self._is_joining = False
        self._join_at_s: float | None = None
        self._losses_s: list[float] = []
        # What the editor waits for, what the hub waits for, and what we asked it.
        self._pending: dict[str, tuple[Message, float]] = {}
        self._asked: set[str] = set()
        self._own: dict[str, str] = {}
        self._num_own = 0
        self._joined_s = 0.0
        self._is_told = False
        self._registered: set[str] = set()
        self._progress: dict[str, Any] = {}
        self._heard_s = 0.0
        self._pinged_s: float | None = None
        self._was_shut_down = False
        self._exit_code: int | None = None

    def run(self) -> int:
        """Serve the editor until it says ``exit`` or is gone; return the exit code."""
        threading.Thread(target=self._read_editor, name="editor", daemon=True).start()
        self._join()
        while self._exit_code is None:
            try:
                kind, sender, payload = self._events.get(timeout=_TICK_S)
            except queue.Empty:
                pass
            else:
                self._take(kind, sender, payload)
            self._look_at_clock()
        if self._link is not None:
            self._link.close()
        return self._exit_code

    def _take(self, kind: str, sender: Any, payload: Any) -> None:
        match kind:
            case "editor":
                self._take_from_editor(payload)
            case "hub" if sender is self._link:
                self._take_from_hub(payload)
            case "joined":
                self._take_link(payload)
            case "not joined":
                self._take_failure(payload)
            case "orphaned":
                self._exit_code = 0

    # --- the editor ---------------------------------------------------------------

    def _read_editor(self) -> None:
        try:
            while (body := read_message(self._in)) is not None:
                self._events.put(("editor", None, body))
        except (OSError, FramingError, ValueError) as error:
            print(f"lsp-stablecode: {error}", file=sys.stderr)
        self._events.put(("editor", None, None))

    def _take_from_editor(self, body: bytes | None) -> None:
        if body is None:
            self._exit_code = 0
            return
        message = _parsed(body)
        if message is None:
            self._forward(body)
            return
        method = message.get("method")
        if not isinstance(method, str):
            # An answer; nobody waits any more for one to a hub that is gone.
            key = _key(message.get("id"))
            if key in self._asked:
                self._asked.discard(key)
                self._forward(body)
            return
        if method == "exit":
            self._forward(body)
            self._exit_code = 0 if self._was_shut_down else 1
            return
        if "id" in message and _key(message["id"]) in self._pending:
            text = "a request with this id waits for its answer"
            self._write_error(message, _INVALID_REQUEST, text)
            return
        self._mirror.note(message)
        if self._mirror.initialize is None:
            if "id" in message:
                self._write_error(message, _NOT_INITIALIZED, "initialize comes first")
            return
        if message is self._mirror.initialize:
            self._watch_editor(message)
        if method == "shutdown":
            self._was_shut_down = True
        if "id" in message:
            self._pending[_key(message["id"])] = message, time.monotonic()
            is_first = message is self._mirror.initialize
            if not is_first and not self._is_responsive:
                self._answer_empty(message)
                return
        self._forward(body)

    def _forward(self, body: bytes) -> None:
        if self._link is not None:
            self._link.send(body)

    def _write(self, message: Message | bytes) -> None:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        try:
            self._out.write(frame(body))
            self._out.flush()
        except (OSError, ValueError):
            self._exit_code = 0  # the editor is gone

    def _answer_empty(self, request: Message) -> None:
        """Answer in the hub's place."""
        self._pending.pop(_key(request["id"]), None)
        if request["method"] in _EMPTY:
            result = _EMPTY[request["method"]]
            self._write({"jsonrpc": "2.0", "id": request["id"], "result": result})
        else:
            text = "The engine process is being started again."
            self._write_error(request, _REQUEST_FAILED, text)

    def _write_error(self, request: Message, code: int, text: str) -> None:
        error = {"code": code, "message": text}
        self._write({"jsonrpc": "2.0", "id": request["id"], "error": error})

    def _tell(self, text: str) -> None:
        """Show a sentence, once until all has been well for a while."""
        if self._is_told:
            return
        self._is_told = True
        print(f"lsp-stablecode: {text}", file=sys.stderr)
        params = {"type": 1, "message": text}
        self._write(_notification("window/showMessage", params))

    def _watch_editor(self, initialize: Message) -> None:
        """Notice the end of an editor whose pipe somebody else has inherited."""
        params = initialize.get("params")
        process_id = params.get("processId") if isinstance(params, dict) else None
        if not isinstance(process_id, int):
            return

        def watch() -> None:
            # Later than everything else: psutil takes a while to import.
            from lsp_stablecode.lifecycle import await_end

            if await_end(process_id):
                self._events.put(("orphaned", None, None))

        threading.Thread(target=watch, name="client watch", daemon=True).start()

    # --- the hub ------------------------------------------------------------------

    def _join(self) -> None:
        self._join_at_s = None
        self._is_joining = True

        def work() -> None:
            try:
                link = join(self._rendezvous, self._arguments, self._log)
            except (SharedError, OSError) as error:
                self._events.put(("not joined", None, error))
            else:
                self._events.put(("joined", None, link))

        threading.Thread(target=work, name="join", daemon=True).start()

    def _take_link(self, link: Link) -> None:
        """Bring a hub to where the editor is."""
        self._is_joining = False
        self._link = link
        self._heard_s = self._joined_s = time.monotonic()
        self._pinged_s = None
        link.start(lambda sender, body: self._events.put(("hub", sender, body)))
        for message in self._mirror.replay():
            is_waited_for = _key(message.get("id")) in self._pending
            if "id" in message and not is_waited_for:
                message = {**message, "id": self._own_id(str(message["method"]))}
            link.send(json.dumps(message).encode())

    def _take_failure(self, error: Exception) -> None:
        self._is_joining = False
        for request, _ in list(self._pending.values()):
            if request is self._mirror.initialize:
                self._refuse(request, str(error))
        self._note_loss()
        if isinstance(error, RefusedError):
            print(f"lsp-stablecode: {error}", file=sys.stderr)
            self._exit_code = 2
        elif self._mirror.initialize is None or self._exit_code is not None:
            return
        else:
            self._tell(str(error))

    def _refuse(self, request: Message, text: str) -> None:
        self._pending.pop(_key(request["id"]), None)
        self._write_error(request, _REQUEST_FAILED, text)
        print(f"lsp-stablecode: {text}", file=sys.stderr)
        self._exit_code = 1

    def _take_from_hub(self, body: bytes | None) -> None:
        if body is None:
            self._lose_link()
            return
        self._heard_s = time.monotonic()
        self._pinged_s = None
        message = _parsed(body)
        if message is None:
            return
        method, key = message.get("method"), _key(message.get("id"))
        if method is not None:
            if "id" in message:
                if self._is_known_registration(message):
                    answer = {"jsonrpc": "2.0", "id": message["id"], "result": None}
                    self._forward(json.dumps(answer).encode())
                    return
                self._asked.add(key)
            elif method == "$/progress":
                self._note_progress(message["params"])
            self._write(body)
        elif key in self._own:
            del self._own[key]
        elif key in self._pending:
            request, _ = self._pending.pop(key)
            if request is self._mirror.initialize:
                if "result" in message:
                    self._mirror.note_encoding(message["result"])
                else:
                    self._mirror.forget_initialize()
            elif request["method"] == "workspace/executeCommand":
                self._mirror.note_command(request, message.get("result"))
            self._write(body)

    def _lose_link(self) -> None:
        """Go on without a hub, and see to it that there is another one soon."""
        self._link = None
        self._asked.clear()
        self._own.clear()
        if self._was_shut_down:
            self._answer_all()
            return
        self._answer_all()
        for token in self._progress.values():
            params = {"token": token, "value": {"kind": "end"}}
            self._write(_notification("$/progress", params))
        self._progress.clear()
        self._note_loss()
        if len(self._losses_s) >= _MOST_LOSSES:
            self._tell(
                f"The engine process has ended {_MOST_LOSSES} times within minutes; "
                f"it is started again later. Its log is {self._log}."
            )

    def _note_loss(self) -> None:
        now_s = time.monotonic()
        recent = [one for one in self._losses_s if one > now_s - _LOSSES_WITHIN_S]
        self._losses_s = [*recent, now_s]
        is_loop = len(self._losses_s) >= _MOST_LOSSES
        self._join_at_s = now_s + (_REST_S if is_loop else 0.0)

    def _answer_all(self) -> None:
        for request, _ in list(self._pending.values()):
            # The next hub answers this one.
            if request is not self._mirror.initialize:
                self._answer_empty(request)

    @property
    def _is_responsive(self) -> bool:
        if self._link is None:
            return False
        return self._pinged_s is None or (
            time.monotonic() - self._pinged_s < _UNRESPONSIVE_S
        )

    def _look_at_clock(self) -> None:
        now_s = time.monotonic()
        if self._join_at_s is not None and now_s >= self._join_at_s:
            self._join()
        if self._link is None:
            return
        if now_s - self._joined_s > _STEADY_S:
            self._is_told = False
        for key, (_, since_s) in list(self._pending.items()):
            if now_s - since_s > _FORGOTTEN_S:
                del self._pending[key]
        if self._pinged_s is None:
            if self._pending and now_s - self._heard_s > _PING_AFTER_S:
                self._pinged_s = now_s
                ping = {"jsonrpc": "2.0", "id": self._own_id(PING), "method": PING}
                self._link.send(json.dumps(ping).encode())
        elif now_s - self._pinged_s > _HUNG_S:
            with contextlib.suppress(OSError):
                os.kill(self._link.process_id, getattr(signal, "SIGKILL", 15))
            self._link.close()
            self._lose_link()
        elif not self._is_responsive:
            self._answer_all()

    # --- what the editor must not notice ------------------------------------------

    def _own_id(self, method: str) -> str:
        self._num_own += 1
        identifier = f"front-{os.getpid()}-{self._num_own}"
        self._own[_key(identifier)] = method
        return identifier

    def _is_known_registration(self, request: Message) -> bool:
        """Tell whether the editor has registered all this for an earlier hub."""
        if request["method"] != "client/registerCapability":
            return False
        ids = {str(one["id"]) for one in request["params"]["registrations"]}
        is_known = ids <= self._registered
        self._registered |= ids
        return is_known

    def _note_progress(self, params: Message) -> None:
        key, value = _key(params.get("token")), params.get("value") or {}
        if value.get("kind") == "begin":
            self._progress[key] = params["token"]
        elif value.get("kind") == "end":
            self._progress.pop(key, None)


def _parsed(body: bytes) -> Message | None:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _key(identifier: object) -> str:
    return json.dumps(identifier)


def _notification(method: str, params: object) -> Message:
    return {"jsonrpc": "2.0", "method": method, "params": params}
