"""A completion server on loopback, with a real small model or with faults.

It speaks ``/v1/completions`` as vLLM, llama.cpp's server or a plain one does, over
HTTP/1.1 with server-sent events, and notes what it was asked and who hung up.
"""

from __future__ import annotations

import json
import math
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from tiny import FIM_TOKENS, make_model, make_tokenizer

Speech = Literal["vllm", "llama.cpp", "plain"]
Fault = Callable[["Handler"], None]
Json = dict[str, Any]

NAME = "tiny"
CONTEXT_TOKENS = 512
_END_ID = 0


class Brain:
    """The small model: log-probabilities after a prompt, computed from its start."""

    def __init__(self, family: str = "stablelm") -> None:
        self._model = make_model(family)
        self._lock = threading.Lock()
        self.tokenizer = make_tokenizer()

    def logprobs(self, token_ids: Sequence[int]) -> npt.NDArray[np.float64]:
        """Return those of the token after ``token_ids``."""
        with self._lock, torch.no_grad():
            logits = self._model(torch.tensor([list(token_ids)])).logits[0, -1]
            return torch.log_softmax(logits.double(), -1).numpy()


@dataclass
class Asked:
    """One request: its path, its headers and its JSON; ``hung_up`` by the client."""

    path: str
    headers: dict[str, str]
    body: Json
    hung_up: threading.Event = field(default_factory=threading.Event)


class CompletionServer:
    """Listens on a port of its own while it is used as a context manager.

    ``port`` 0 is one that is free. ``faults`` are done in place of the next answers
    about completions, each once.
    """

    def __init__(
        self,
        speech: Speech = "vllm",
        *,
        key: str = "",
        certificate: str = "",
        most_top: int = 20,
        token_s: float = 0.0,
        tells_tops: bool = True,
        port: int = 0,
    ) -> None:
        self.speech = speech
        self.key = key
        self.most_top = most_top
        self.token_s = token_s
        self.tells_tops = tells_tops
        self.faults: deque[Fault] = deque()
        self.asked: list[Asked] = []
        self.model_name = NAME
        self._brain: Brain | None = None
        self._server = _Server(("127.0.0.1", port), Handler)
        self._server.owner = self
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            scheme = "https"
        self.port = self._server.server_address[1]
        self.endpoint = f"{scheme}://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def brain(self) -> Brain:
        """The model, made when it is first needed."""
        if self._brain is None:
            self._brain = Brain()
        return self._brain

    def tokens_of(self, text: str) -> list[int]:
        """Return the ids that its tokenizer cuts a text into."""
        return list(self.brain.tokenizer.encode(text).ids)

    @property
    def completions(self) -> list[Asked]:
        """What it was asked to complete."""
        return [one for one in self.asked if one.path.endswith("/completions")]


class _Server(ThreadingHTTPServer):
    owner: CompletionServer
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients hang up here all the time."""


class Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    asked: Asked

    @property
    def owner(self) -> CompletionServer:
        return self.server.owner

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        if self._begins({}):
            listed = {
                "id": self.owner.model_name,
                "object": "model",
                "root": "/models/tiny",
            }
            if self.owner.speech == "vllm":
                listed["max_model_len"] = CONTEXT_TOKENS
            elif self.owner.speech == "llama.cpp":
                listed["meta"] = {"n_ctx": CONTEXT_TOKENS}
            self.send_json(200, {"object": "list", "data": [listed]})

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        if not self._begins(body):
            return
        if self.path.endswith("/tokenize") and self.owner.speech != "plain":
            ids = self.owner.tokens_of(body["prompt"])
            self.send_json(200, {"tokens": ids, "count": len(ids)})
        elif not self.path.endswith("/completions"):
            self.send_json(404, {"error": {"message": "not here"}})
        elif self.owner.faults:
            self.owner.faults.popleft()(self)
        else:
            self.answer()

    def _begins(self, body: Json) -> bool:
        self.asked = Asked(self.path, dict(self.headers), body)
        self.owner.asked.append(self.asked)
        if self.owner.key:
            given = self.headers.get("Authorization", "")
            if given != f"Bearer {self.owner.key}":
                self.send_json(401, {"error": {"message": f"wrong key: {given}"}})
                return False
        return True

    # --- answers ------------------------------------------------------------

    def answer(self) -> None:
        """Complete as the small model does."""
        body = self.asked.body
        try:
            prompt_ids = _prompt_ids(self.owner, body)
        except _RefusedError as error:
            status, message = error.args
            self.send_json(status, {"error": {"message": message}})
            return
        choices = _choices(self.owner, body, prompt_ids)
        if not body.get("stream"):
            whole = _joined(list(choices))
            usage = {"prompt_tokens": len(prompt_ids)}
            self.send_json(200, {"choices": [whole], "usage": usage})
            return
        self.begin_stream()
        for choice in choices:
            time.sleep(self.owner.token_s)
            self.send_event(json.dumps({"choices": [choice]}))
        self.send_event("[DONE]")
        self.end_stream()

    def send_json(self, status: int, content: object, **headers: str) -> None:
        self.send_whole(status, json.dumps(content).encode(), **headers)

    def send_whole(
        self,
        status: int,
        content: bytes,
        kind: str = "application/json",
        **headers: str,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def begin_stream(self, kind: str = "text/event-stream; charset=utf-8") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send_event(self, data: str) -> None:
        self.send_chunk(f"data: {data}\n\n".encode())

    def send_text(self, text: str, reason: str | None = None) -> None:
        """Send an event with a text and nothing else."""
        choice = {"index": 0, "text": text, "finish_reason": reason, "logprobs": None}
        self.send_event(json.dumps({"choices": [choice]}, ensure_ascii=False))

    def send_chunk(self, content: bytes) -> None:
        try:
            if self.has_hung_up(0):
                raise BrokenPipeError
            self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        except OSError:
            self.asked.hung_up.set()
            raise

    def end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def wait_for_hang_up(self, timeout_s: float = 20.0) -> None:
        """Say nothing until the client has gone."""
        if self.has_hung_up(timeout_s):
            self.asked.hung_up.set()
        self.close_connection = True

    def has_hung_up(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self.connection], [], [], timeout_s)
        if not ready or isinstance(self.connection, ssl.SSLSocket):
            return False
        try:
            return self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True


class _RefusedError(Exception):
    """A request with a status and a message of its own."""


def _prompt_ids(owner: CompletionServer, body: Json) -> list[int]:
    """Return the prompt as ids, refusing what such a server refuses."""
    prompt, asked = body["prompt"], body.get("logprobs") or 0
    if body.get("model") not in (None, owner.model_name):
        raise _RefusedError(404, "no such model")
    if asked > owner.most_top or len(body.get("logprob_token_ids") or ()) > 128:
        raise _RefusedError(400, "that many logprobs are not allowed")
    if owner.speech == "plain":
        if not isinstance(prompt, str):
            raise _RefusedError(500, "AssertionError")
        if asked and not owner.tells_tops:
            raise _RefusedError(500, "logprobs are not supported")
        tokenizer = owner.brain.tokenizer
        return list(tokenizer.encode(prompt, add_special_tokens=False).ids)
    if isinstance(prompt, str):
        raise _RefusedError(400, "this test sends ids")
    if len(prompt) + body["max_tokens"] > CONTEXT_TOKENS:
        raise _RefusedError(400, "the context is too long")
    return list(prompt)


def _choices(
    owner: CompletionServer, body: Json, prompt_ids: list[int]
) -> Iterator[Json]:
    """Yield the choices of an answer's events."""
    generator = np.random.default_rng(body.get("seed"))
    allowed = body.get("allowed_token_ids") if owner.speech == "vllm" else None
    token_ids: list[int] = []
    told = ""
    for number in range(1, body["max_tokens"] + 1):
        raw = owner.brain.logprobs([*prompt_ids, *token_ids])
        scores = raw.copy()
        if allowed:
            scores[:] = -math.inf
            scores[allowed] = raw[allowed]
        if body.get("temperature"):
            noise = generator.gumbel(size=len(scores))
            scores = scores / body["temperature"] + noise
        token_id = int(scores.argmax())
        has_ended = token_id in _end_ids(owner)
        token_ids.append(token_id)
        text = owner.brain.tokenizer.decode(token_ids)
        reason = "stop" if has_ended else None
        if number == body["max_tokens"] and not has_ended:
            reason = "length"
        whole = text.removesuffix("\N{REPLACEMENT CHARACTER}") if not reason else text
        piece, told = whole[len(told) :], whole
        if owner.speech == "vllm" or piece or reason:
            yield {
                "index": 0,
                "text": piece,
                "logprobs": _logprobs(owner, body, raw, token_id, piece),
                "finish_reason": reason,
            }
        if has_ended:
            return


def _end_ids(owner: CompletionServer) -> Sequence[int]:
    """Return what ends a text: llama.cpp takes more control tokens for that."""
    return (_END_ID,) if owner.speech == "vllm" else range(len(FIM_TOKENS))


def _logprobs(
    owner: CompletionServer,
    body: Json,
    raw: npt.NDArray[np.float64],
    token_id: int,
    piece: str,
) -> Json | None:
    asked = body.get("logprobs")
    if not asked:
        return None
    best = [int(one) for one in np.argsort(-raw, kind="stable")[:asked]]
    decode = owner.brain.tokenizer.decode
    if owner.speech == "llama.cpp":
        if token_id in _end_ids(owner):
            return None
        top = [{"id": one, "token": decode([one]), "logprob": raw[one]} for one in best]
        entry = {"id": token_id, "token": piece, "logprob": raw[token_id]}
        return {"content": [{**entry, "top_logprobs": top}]}
    spelled: Callable[[int], str] = lambda one: decode([one])  # noqa: E731
    if owner.speech == "vllm" and body.get("return_tokens_as_token_ids"):
        spelled = "token_id:{}".format
    if wanted := body.get("logprob_token_ids") if owner.speech == "vllm" else None:
        best = [token_id, *wanted]
    return {
        "tokens": [spelled(token_id)],
        "token_logprobs": [raw[token_id]],
        "top_logprobs": [{spelled(one): raw[one] for one in best}],
        "text_offset": [0],
    }


def _joined(choices: Sequence[Json]) -> Json:
    """Return the choices of a stream as one."""
    joined = {**choices[-1], "text": "".join(one["text"] for one in choices)}
    told = [one["logprobs"] for one in choices if one["logprobs"]]
    if told:
        joined["logprobs"] = {
            name: [item for one in told for item in one[name]] for name in told[0]
        }
    return joined
