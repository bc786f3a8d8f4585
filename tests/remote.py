"""What the tests of completion servers share: a tokenizer's directory and engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from completion_server import NAME, CompletionServer
from tiny import make_model, make_tokenizer

from model import Engine, EngineOptions, FillRequest, FillResult, load_engine


def write_prompt_files(directory: Path) -> Path:
    """Write the small model's config and tokenizer, and no weights."""
    directory.mkdir(exist_ok=True)
    make_model("stablelm").config.save_pretrained(directory)
    make_tokenizer().save(str(directory / "tokenizer.json"))
    return directory


def options_for(server: CompletionServer, files: Path, **options: Any) -> EngineOptions:
    """Return options that name a server and the small model's files."""
    given: dict[str, Any] = {
        "model": str(files),
        "backend": "openai",
        "endpoint": server.endpoint,
        "remote_model": NAME,
        "remote_timeout_ms": 20_000,
        **options,
    }
    return EngineOptions(**given)


@contextmanager
def engine_for(
    server: CompletionServer, files: Path, **options: Any
) -> Iterator[Engine]:
    """Load an engine that asks a server, and close it."""
    engine = load_engine(options_for(server, files, **options))
    try:
        yield engine
    finally:
        engine.close()


def request(prefix: str, suffix: str = "", **options: Any) -> FillRequest:
    """Return a small request."""
    options.setdefault("max_new_tokens", 12)
    return FillRequest(prefix, suffix, **options)


def text_of(result: FillResult) -> str:
    """Return the text of the one candidate there is."""
    [candidate] = result.candidates
    return candidate.text
