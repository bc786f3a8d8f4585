"""A deterministic engine without torch, for tests of protocol and editors.

Its "tokens" are words and single other characters. It continues the cursor's line
as an earlier line of the document continued, so that its suggestions depend on the
text and can be told apart; where nothing fits it says ``pass``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace

from model.errors import UnknownModelError
from model.interface import (
    CancelFlag,
    Candidate,
    EngineInfo,
    FillRequest,
    FillResult,
    Statistics,
)
from model.kv_cache import Ledger

_TOKEN = re.compile(r"\w+|\W")
_CHUNK_TOKENS = 64
# More would hold the interpreter's lock, and so the event loop, for a second.
_MOST_CHARACTERS = 100_000


class EchoEngine:
    """``echo`` answers at once; ``echo:20`` takes 20 ms for every step."""

    def __init__(self, name: str = "echo", context_tokens: int = 4096) -> None:
        _, _, step = name.partition(":")
        if step and not step.isdigit():
            raise UnknownModelError(
                f"There is no model {name!r}.",
                hint="The echo engine is named echo or echo:MILLISECONDS.",
            )
        self._step_s = int(step or 0) / 1000
        self._ledger = Ledger()
        self._info = EngineInfo(
            name, "echo", "cpu", "text", context_tokens, ("psm", "spm"), 0.0
        )

    @property
    def info(self) -> EngineInfo:
        """What this is."""
        return self._info

    def close(self) -> None:
        """Nothing is held."""

    def count_tokens(self, text: str) -> int:
        """Return how many words and signs a text is."""
        return len(_TOKEN.findall(text))

    def fill(
        self,
        request: FillRequest,
        cancel: CancelFlag | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> FillResult:
        """Continue the line as the document's nearest similar line continued."""
        request = replace(
            request,
            prefix=request.prefix[-_MOST_CHARACTERS:],
            suffix=request.suffix[:_MOST_CHARACTERS],
        )
        prompt = [hash(token) for token in _TOKEN.findall(request.prefix)] or [0]
        reused = self._ledger.num_reusable(prompt)
        self._ledger.truncate(reused)
        forwards, generated = 0, 0
        started = time.perf_counter()
        for begin in range(reused, len(prompt), _CHUNK_TOKENS):
            if cancel is not None and cancel.is_set():
                statistics = Statistics(len(prompt), reused, 0, forwards)
                return FillResult((), statistics, "spm", cancelled=True)
            time.sleep(self._step_s)
            self._ledger.append(prompt[begin : begin + _CHUNK_TOKENS])
            forwards += 1
        prefilled = time.perf_counter()
        candidates: list[Candidate] = []
        cancelled = False
        for answer in _continuations(request)[: request.num_candidates]:
            text, reason, count = "", "eos", 0
            for token in _TOKEN.findall(answer):
                if cancel is not None and cancel.is_set():
                    cancelled = True
                    break
                if count == request.max_new_tokens:
                    reason = "length"
                    break
                time.sleep(self._step_s)
                forwards, generated, count = forwards + 1, generated + 1, count + 1
                text += token
                if on_text is not None and not candidates:
                    on_text(token)
                cut = request.stop_rule(text) if request.stop_rule else None
                if cut is not None:
                    text, reason = text[: cut.end], cut.reason
                    break
            if cancelled:
                break
            candidates.append(Candidate(text, reason, count, 0.0))
        statistics = Statistics(
            prompt_tokens=len(prompt),
            reused_tokens=reused,
            generated_tokens=generated,
            forwards=forwards,
            prefill_ms=(prefilled - started) * 1000,
            decode_ms=(time.perf_counter() - prefilled) * 1000,
        )
        return FillResult(tuple(candidates), statistics, "spm", cancelled)


def _continuations(request: FillRequest) -> list[str]:
    """Return distinct continuations of the cursor's line, nearest line first."""
    *above, line = re.split(r"\r\n|\r|\n", request.prefix)
    below = re.split(r"\r\n|\r|\n", request.suffix)[1:]
    stem = line.lstrip()
    indent = "" if stem else " " * (4 if line == "" and request.prefix else 0)
    found: list[str] = []
    for number in range(len(above) - 1, -1, -1):
        candidate = above[number].strip()
        rest = "\n".join(above[number + 1 :])
        if stem and candidate.startswith(stem) and candidate != stem:
            found.append(f"{candidate[len(stem) :]}\n{rest}\n")
    found += [
        candidate.strip()[len(stem) :] + "\n"
        for candidate in below
        if stem and candidate.strip().startswith(stem) and candidate.strip() != stem
    ]
    found += [f"{indent}pass\n", f"{indent}return\n", f"{indent}break\n"]
    return list(dict.fromkeys(found))
