"""The process of a peer: a JSON object in, a JSON object out, until the input ends.

Run as ``python -m model.peers_worker`` by ``model.peers``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Protocol

from model.benchmark import Completed, ModelCosts, PeerOptions, process_memory


class Runner(Protocol):
    """A peer's own library, loaded. Times are ms."""

    description: str
    costs: ModelCosts | None

    def prefill(self, token_ids: list[int]) -> float:
        """Compute from an empty cache to the next token."""
        ...

    def decode(self, token_ids: list[int], num_tokens: int) -> float:
        """Return the ms per token after ``token_ids``."""
        ...

    def verify(
        self, token_ids: list[int], draft_ids: list[int], num_passes: int
    ) -> float:
        """Return the ms of a pass of ``draft_ids`` after ``token_ids``."""
        ...

    def complete(
        self,
        token_ids: list[int],
        max_new_tokens: int,
        stop_ids: list[int],
        least_indent: int,
        time_limit_ms: float | None,
    ) -> Completed:
        """Complete a prompt greedily."""
        ...

    def forget(self) -> None:
        """Drop the cache."""
        ...


def main() -> None:
    """Serve until the input ends."""
    if hasattr(signal, "SIGINT"):
        # An interrupt at the terminal goes to all; the benchmark ends us.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Native libraries print where they like; the answers have a pipe of their own.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, output)


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer each line; an exception is an answer as well."""
    runner: Runner | None = None
    for line in requests:
        request = json.loads(line)
        method, parameters = request["method"], request["parameters"]
        try:
            if method == "load":
                started = time.perf_counter()
                runner = load(parameters)
                result: dict[str, Any] = {
                    "load_ms": (time.perf_counter() - started) * 1000,
                    "description": runner.description,
                    "costs": asdict(runner.costs) if runner.costs else None,
                }
            else:
                result = answer(runner, method, parameters)
            reply: dict[str, Any] = {"result": result}
        except Exception as error:  # whatever a peer raises is its own to explain
            text = (str(error).strip().splitlines() or [""])[0]
            reply = {"error": f"{type(error).__name__}: {text[:200]}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


def load(parameters: dict[str, Any]) -> Runner:
    """Load a peer by its options."""
    options = PeerOptions(**{**parameters, "path": Path(parameters["path"])})
    if options.kind == "llama.cpp":
        from model.peers_llama import LlamaRunner

        return LlamaRunner(options)
    from model.peers_transformers import TransformersRunner

    return TransformersRunner(options)


def answer(
    runner: Runner | None, method: str, parameters: dict[str, Any]
) -> dict[str, Any]:
    """Return what a request's method returns, as JSON data."""
    if method == "memory":
        return asdict(process_memory())
    if runner is None:
        raise ValueError("nothing is loaded")
    match method:
        case "prefill":
            return {"ms": runner.prefill(**parameters)}
        case "decode":
            return {"ms": runner.decode(**parameters)}
        case "verify":
            return {"ms": runner.verify(**parameters)}
        case "complete":
            return asdict(runner.complete(**parameters))
        case "forget":
            runner.forget()
            return {}
    raise ValueError(f"no method {method}")


if __name__ == "__main__":
    main()
