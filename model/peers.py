"""Peers to measure against, each in a process of its own.

A process apart gives a peer its own threads, settings and memory, makes it as idle as
can be between its turns (it waits for a line), and lets a native library crash without
taking the benchmark along. Requests and answers are one JSON object a line; times are
taken inside the peer's process.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.benchmark import (
    Completed,
    ModelCosts,
    PeerKind,
    PeerOptions,
    PeerUnavailableError,
    ProcessMemory,
    PromptForPeer,
)

_PACKAGES: dict[PeerKind, str] = {
    "llama.cpp": "llama-cpp-python",
    "transformers": "transformers",
}
_MODULES: dict[PeerKind, str] = {
    "llama.cpp": "llama_cpp",
    "transformers": "transformers",
}
_CLOSE_TIMEOUT_S = 10.0
# Threads that spin for a moment after work shall not do so in another's turn.
_SETTLE_S = 0.02


def peer_version(kind: PeerKind) -> str | None:
    """Return the version of a peer's package, ``None`` where it is not installed."""
    if importlib.util.find_spec(_MODULES[kind]) is None:
        return None
    try:
        return importlib.metadata.version(_PACKAGES[kind])
    except importlib.metadata.PackageNotFoundError:
        return None


class PeerProcess:
    """A ``Peer`` in a process of its own, which loads its model when it is made.

    Every method raises ``PeerUnavailableError`` when the process has ended.
    """

    def __init__(self, options: PeerOptions) -> None:
        self._options = options
        self._version = peer_version(options.kind)
        if self._version is None:
            raise PeerUnavailableError(
                f"{options.kind} is not installed.",
                hint='Install it: pip install "lsp-stablecode[peers]".',
            )
        # A pipe that nobody drains would stop it; its last line says why it ended.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115, closed by `close`
        self._started_s = time.perf_counter()
        # How our own threads wait is our choice; a peer keeps its libraries'.
        environment = dict(os.environ)
        environment.pop("OMP_WAIT_POLICY", None)
        self._process = subprocess.Popen(
            _worker_command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
        )
        try:
            loaded = self._ask("load", **{**asdict(options), "path": str(options.path)})
        except BaseException:
            self.close()
            raise
        self._description: str = loaded["description"]
        costs = loaded["costs"]
        self._costs = ModelCosts(**costs) if costs else None

    @property
    def name(self) -> str:
        """The peer's own name."""
        return self._options.kind

    @property
    def started_s(self) -> float:
        """When its process was started, by ``time.perf_counter``."""
        return self._started_s

    @property
    def description(self) -> str:
        """Its version, file, format and settings."""
        return f"{self._version}: {self._description}"

    @property
    def costs(self) -> ModelCosts | None:
        """What its file costs."""
        return self._costs

    @property
    def num_threads(self) -> int:
        """As many as it was given."""
        return self._options.num_threads

    @property
    def can_verify(self) -> bool:
        """Only llama.cpp: ``generate`` of transformers has no such pass."""
        return self._options.kind == "llama.cpp"

    def prefill(self, token_ids: Sequence[int]) -> float:
        """Return the ms from an empty cache to the next token."""
        return float(self._ask("prefill", token_ids=list(token_ids))["ms"])

    def decode(self, token_ids: Sequence[int], num_tokens: int) -> float:
        """Return the ms per token."""
        answer = self._ask("decode", token_ids=list(token_ids), num_tokens=num_tokens)
        return float(answer["ms"])

    def verify(
        self, token_ids: Sequence[int], draft_ids: Sequence[int], num_passes: int
    ) -> float:
        """Return the ms of a pass of ``draft_ids``."""
        answer = self._ask(
            "verify",
            token_ids=list(token_ids),
            draft_ids=list(draft_ids),
            num_passes=num_passes,
        )
        return float(answer["ms"])

    def complete(
        self,
        prompt: PromptForPeer,
        stop_ids: Sequence[int],
        time_limit_ms: float | None = None,
    ) -> Completed:
        """Complete a prompt greedily, on top of what is kept of the last one.

        The prompt's ``least_indent`` and ``time_limit_ms`` are llama-server's
        ``n_indent`` and ``t_max_predict_ms``.
        """
        answer = self._ask(
            "complete",
            token_ids=prompt.token_ids,
            max_new_tokens=prompt.max_new_tokens,
            stop_ids=list(stop_ids),
            least_indent=prompt.least_indent,
            time_limit_ms=time_limit_ms,
        )
        return Completed(**answer)

    def forget(self) -> None:
        """Drop the cache."""
        self._ask("forget")

    def memory(self) -> ProcessMemory:
        """Return its process's memory."""
        return ProcessMemory(**self._ask("memory"))

    def close(self) -> None:
        """End the process. Never raises."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                # The end of its input is its end.
                self._process.stdin.close()
        try:
            self._process.wait(_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            request = json.dumps({"method": method, "parameters": parameters})
            stdin.write(request.encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        except (OSError, ValueError):
            line = b""
        if not line:
            raise PeerUnavailableError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerUnavailableError(
                f"{self._options.kind} failed: {answer['error']}."
            )
        time.sleep(_SETTLE_S)
        result: dict[str, Any] = answer["result"]
        return result

    def _last_words(self) -> str:
        """Say how the process ended."""
        try:
            code = self._process.wait(_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"{self._options.kind} closed its output."
        if code < 0:
            try:
                how = signal.Signals(-code).name
            except ValueError:
                how = f"signal {-code}"
            return f"{self._options.kind}: crashed here ({how})."
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        return f"{self._options.kind} ended with exit code {code}{last}."


def _worker_command() -> list[str]:
    return [sys.executable, "-m", "model.peers_worker"]


def gguf_of(name: str) -> Path:
    """Return the GGUF file of a model; the starter's is joined once, in our cache.

    Raises ``PeerUnavailableError`` for a model that is no GGUF file.
    """
    from model import starter
    from model.catalog import find_entry
    from model.conversions import cache_directory

    entry = find_entry(name)
    if entry is None or entry.source != "starter":
        path = Path(name).expanduser()
        if path.suffix == ".gguf" and path.is_file():
            return path
        raise PeerUnavailableError(
            f"llama.cpp is left out: {name} is no GGUF file.",
            hint="Name a .gguf file after --model.",
        )
    folder = cache_directory() / "peers"
    path = folder / f"starter-{starter.STARTER_SHA256[:12]}.gguf"
    if not path.is_file() or path.stat().st_size != starter.STARTER_BYTES:
        folder.mkdir(parents=True, exist_ok=True)
        # Renamed when whole: what has the name is complete.
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            joined = Path(partial) / path.name
            starter.assemble(joined)
            joined.replace(path)
    return path
