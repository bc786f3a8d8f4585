"""Gaps asked of the server over stdio, and of the model alone; what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lsp_stablecode.client.editor import Buffer
from lsp_stablecode.evaluation.client import Filler, Trigger, start_server
from lsp_stablecode.evaluation.defects import Defect, find_defects
from lsp_stablecode.evaluation.gaps import BODY_PLACES, Gap
from lsp_stablecode.evaluation.infilling_paths import stop_at_line_end
from lsp_stablecode.evaluation.measures import Measures, Suggestion, measure
from lsp_stablecode.evaluation.selection import read_source
from lsp_stablecode.evaluation.sources import SourceFile
from lsp_stablecode.settings import Settings, model_options, to_wire
from model import FillRequest, ProgressCallback, load_engine

PathName = Literal["server", "raw", "healed"]
Advance = Callable[[], None]

RAW_LINES_BEFORE = 256
RAW_LINES_AFTER = 64
"""What llama.vim sends, from 2025 on."""

_RAW_CONTEXT_TOKENS = 8192
_RAW_NEW_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Answered:
    """A gap with what one path made of it.

    ``outcome`` is the server's own name, ``raw`` for the model alone. ``explanation``
    is all that the server says of the request.
    """

    gap: Gap
    suggestion: Suggestion | None
    outcome: str
    finish_reason: str
    shape: str
    num_tokens: int
    elapsed_ms: float
    confidence: float | None
    explanation: Mapping[str, Any]
    measures: Measures
    defects: tuple[Defect, ...]


@dataclass(frozen=True, slots=True)
class PathAnswers:
    """All answers of one path, the model that gave them, what the server said aloud."""

    path: PathName
    model: dict[str, Any]
    answers: tuple[Answered, ...]
    messages: tuple[str, ...] = ()


def ask_settings(settings: Settings) -> Settings:
    """Return the settings under which single questions are comparable.

    Nobody types, so there is nothing to wait for, to look ahead to or to learn.
    """
    return replace(
        settings, candidates=1, debounce_ms=0, learn_from_use=False, look_ahead="never"
    )


async def ask_server(
    gaps: Sequence[Gap],
    settings: Settings,
    folder: Path,
    *,
    trigger: Trigger,
    neighbours: Mapping[str, Sequence[SourceFile]],
    server_arguments: Sequence[str] = (),
    on_ready: Callable[[], Advance],
) -> PathAnswers:
    """Ask a server, one gap after the other.

    ``neighbours`` are open while a gap of their file is asked. The gap's own file is
    never open as it stands. Raises ``ServerFailedError``.
    """
    answered = []
    async with start_server(server_arguments, to_wire(settings), folder) as server:
        status = await server.wait_until_ready()
        advance = on_ready()
        desk = _Desk(server, {})
        for gap in gaps:
            desk.lay_out(neighbours.get(gap.path, ()))
            filling = await server.fill(
                (folder / gap.path).as_uri(),
                gap.prefix,
                gap.suffix,
                trigger,
                language_id=gap.language_id,
                accept=False,
            )
            said = filling.explanation
            suggestion = None
            if filling.inserted:
                suggestion = Suggestion(filling.inserted, filling.num_replaced)
            answered.append(
                _judged(
                    gap,
                    suggestion,
                    said=said,
                    outcome=said.get("outcome", "unknown"),
                    finish_reason=_first(said, "candidates").get("finishReason", ""),
                    num_tokens=said.get("statistics", {}).get("generated_tokens", 0),
                    elapsed_ms=filling.elapsed_ms,
                )
            )
            advance()
        messages = tuple(server.connection.messages)
    return PathAnswers("server", status.get("engine") or {}, tuple(answered), messages)


def ask_model(
    gaps: Sequence[Gap],
    settings: Settings,
    report: ProgressCallback,
    on_ready: Callable[[], Advance],
    *,
    heals: bool = False,
) -> PathAnswers:
    """Ask the engine in this process, as plain plugins do.

    The text around the cursor, greedily, in the server's prompt order; no context, no
    healing (unless it ``heals``, and then nothing else), nothing done to the answer.
    The rest of a line ends at the line's end.
    """
    name: PathName = "healed" if heals else "raw"
    tokens = max(settings.context_tokens or 0, _RAW_CONTEXT_TOKENS)
    engine = load_engine(
        model_options(replace(settings, context_tokens=tokens)), report
    )
    answered = []
    try:
        advance = on_ready()
        for gap in gaps:
            lines = gap.prefix.split("\n")
            is_body = gap.place in BODY_PLACES
            request = FillRequest(
                prefix="\n".join(lines[-RAW_LINES_BEFORE:]),
                suffix="\n".join(gap.suffix.split("\n")[: RAW_LINES_AFTER + 1]),
                max_new_tokens=_RAW_NEW_TOKENS,
                fim_order=settings.fim_order,
                stop_rule=None if is_body else stop_at_line_end,
                prefix_start_line=max(0, len(lines) - RAW_LINES_BEFORE),
                heal=heals,
            )
            started = time.perf_counter()
            result = engine.fill(request)
            elapsed_ms = (time.perf_counter() - started) * 1000
            best = result.candidates[0]
            answered.append(
                _judged(
                    gap,
                    Suggestion(best.text) if best.text.strip() else None,
                    said={},
                    outcome=name,
                    finish_reason=best.finish_reason,
                    num_tokens=result.statistics.generated_tokens,
                    elapsed_ms=elapsed_ms,
                )
            )
            advance()
        return PathAnswers(name, asdict(engine.info), tuple(answered))
    finally:
        engine.close()


@dataclass(slots=True)
class _Desk:
    """The documents that are open beside the gap's."""

    server: Filler
    buffers: dict[str, Buffer]

    def lay_out(self, files: Sequence[SourceFile]) -> None:
        """Open these and close all others."""
        wanted = {one.path.as_uri(): one for one in files}
        for uri in set(self.buffers) - set(wanted):
            self.server.close(self.buffers.pop(uri))
        for uri, file in wanted.items():
            reading = read_source(file)
            if uri not in self.buffers and reading is not None:
                self.buffers[uri] = self.server.open(
                    uri, file.language_id, reading.text
                )


def _judged(
    gap: Gap,
    suggestion: Suggestion | None,
    *,
    said: Mapping[str, Any],
    outcome: str,
    finish_reason: str,
    num_tokens: int,
    elapsed_ms: float,
) -> Answered:
    shape = said.get("shape") or {}
    confidence = _first(said, "suggestions").get("confidence")
    removed = _first(said, "suggestions").get("removed", ())
    return Answered(
        gap=gap,
        suggestion=suggestion,
        outcome=outcome,
        finish_reason=finish_reason,
        shape=f"{shape['kind']}: {shape['reason']}" if shape else "",
        num_tokens=num_tokens,
        elapsed_ms=elapsed_ms,
        confidence=float(confidence) if isinstance(confidence, int | float) else None,
        explanation=said,
        measures=measure(gap, suggestion),
        defects=find_defects(
            gap,
            suggestion,
            finish_reason=finish_reason,
            is_cut_off=finish_reason == "length"
            and (outcome in ("raw", "healed") or "cut-partial-word" in removed),
        ),
    )


def _first(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the first of a list in what the server said, empty where none is."""
    found = said.get(name) or [{}]
    first: Mapping[str, Any] = found[0]
    return first
