"""``complete PATH:LINE:COLUMN``: one completion, as an editor would ask for it."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from lsp_stablecode.commands.console import load_with_progress
from lsp_stablecode.completion import generate
from lsp_stablecode.context.gather import Gatherer
from lsp_stablecode.context.place import Surroundings
from lsp_stablecode.documents import Document
from lsp_stablecode.errors import PositionError
from lsp_stablecode.explanation import explain, explanation_lines
from lsp_stablecode.files import read_document
from lsp_stablecode.gathering import gather
from lsp_stablecode.languages import language_of
from lsp_stablecode.outcome import Outcome
from lsp_stablecode.postprocess import Finished
from lsp_stablecode.query import Query, make_query
from lsp_stablecode.settings import Settings, model_options
from lsp_stablecode.trace import describe, open_tracer
from model import EngineInfo


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Complete, print, and return the exit code."""
    path, line, column = parse_place(options.place)
    document = read_document(path, language_of(path))
    check_position(document, path, line, column)
    tracer = open_tracer(options.trace)
    started = time.perf_counter()
    engine = load_with_progress(model_options(settings))
    load_ms = (time.perf_counter() - started) * 1000
    query = make_query(document, line - 1, column - 1, explicit=True)
    query = replace(query, surroundings=surroundings_of(path, query, line - 1))
    if not options.json:
        # Only JSON has room for more than the best one.
        settings = replace(settings, candidates=1)
    gathered = gather(engine, query, settings, Gatherer())
    outcome = generate(engine, query, settings, gathered=gathered)
    tracer.record("completion", uri=document.uri, explicit=True, **describe(outcome))
    if options.json:
        result = to_json(outcome, engine.info, line, column, load_ms)
        if options.explain:
            result["explain"] = {"notes": engine.info.notes, **explain(outcome)}
        print(json.dumps(result))
        return 0
    if outcome.suggestions:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # The document's own line ends, on Windows too.
            sys.stdout.reconfigure(newline="")
        # Not print: its line end would look like part of the completion.
        sys.stdout.write(outcome.suggestions[0].text)
        sys.stdout.write("\n" if sys.stdout.isatty() else "")
        sys.stdout.flush()
    else:
        print(f"nothing to suggest ({outcome.name})", file=sys.stderr)
    if options.explain:
        info = engine.info
        model = f"{info.model} ({info.dtype} on {info.device}, {info.backend})"
        for key, value in (
            ("model", model),
            *(("note", note) for note in info.notes),
            *explanation_lines(outcome),
        ):
            print(f"{key:>14}  {value}", file=sys.stderr)
    return 0


def surroundings_of(path: Path, query: Query, line: int) -> Surroundings:
    """Return what is known of a place in a file: its repository, no open documents."""
    path = path.absolute()
    folder = next((one for one in path.parents if (one / ".git").exists()), path.parent)
    return Surroundings(
        uri=path.as_uri(),
        path=path,
        language_id=query.language_id,
        prefix=query.prefix,
        suffix=query.suffix,
        line=line,
        explicit=True,
        folders=(folder,),
    )


def parse_place(text: str) -> tuple[Path, int, int]:
    """Split ``PATH:LINE:COLUMN`` from its end, since a path may hold colons.

    Raises ``PositionError``.
    """
    path, *numbers = text.rsplit(":", 2)
    if not path or len(numbers) != 2 or not all(one.isdecimal() for one in numbers):
        raise PositionError(
            f"{text!r} is no PATH:LINE:COLUMN.", hint="For example main.py:12:5."
        )
    return Path(path), int(numbers[0]), int(numbers[1])


def check_position(document: Document, path: Path, line: int, column: int) -> None:
    """Raise ``PositionError`` for a 1-based position outside the document."""
    if not 1 <= line <= document.num_lines:
        raise PositionError(
            f"{path} has {document.num_lines} lines, and no line {line}.",
            hint="Lines count from 1.",
        )
    length = len(document.line_text(line - 1))
    if not 1 <= column <= length + 1:
        raise PositionError(
            f"Line {line} of {path} has {length} characters, and no column {column}.",
            hint=f"Columns count from 1; {length + 1} is the line's end.",
        )


def to_json(
    outcome: Outcome, info: EngineInfo, line: int, column: int, load_ms: float
) -> dict[str, Any]:
    """Return the object that ``--json`` prints; positions count from 1."""
    statistics = outcome.statistics
    return {
        "items": [
            {"insert_text": one.text, "range": _range(one, line, column)}
            for one in outcome.suggestions
        ],
        "outcome": outcome.name,
        "model": info.model,
        "device": info.device,
        "tokens": {
            "prompt": statistics.prompt_tokens,
            "reused": statistics.reused_tokens,
            "generated": statistics.generated_tokens,
            "forwards": statistics.forwards,
        },
        "timings_ms": {
            "load": round(load_ms, 1),
            "prefill": round(statistics.prefill_ms, 1),
            "decode": round(statistics.decode_ms, 1),
            "total": round(outcome.total_ms, 1),
        },
    }


def _range(suggestion: Finished, line: int, column: int) -> dict[str, dict[str, int]]:
    return {
        "start": {"line": line, "column": column},
        "end": {"line": line, "column": column + suggestion.replace_right},
    }
