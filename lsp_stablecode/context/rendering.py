"""Chosen chunks as the model is shown them: by file, with paths and headings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from model import ContextChunk

if TYPE_CHECKING:
    from lsp_stablecode.context.chunks import Chunk


def display_path(path: Path | None, folders: Sequence[Path]) -> str:
    """Return a path as a prompt names it: relative to its workspace folder, with ``/``.

    Of a file outside all folders only the name is told; of no file, nothing.
    """
    if path is None:
        return ""
    for folder in folders:
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return path.name


def repository_name(folders: Sequence[Path], path: Path | None) -> str:
    """Return the name of the workspace folder that a file is in, else the first's."""
    holding = (one for one in folders if path is not None and path.is_relative_to(one))
    folder = next(holding, folders[0] if folders else None)
    return folder.name if folder is not None else ""


def render(
    groups: Iterable[Sequence[Chunk]],
    folders: Sequence[Path],
    source_of: Callable[[Chunk], str],
) -> tuple[ContextChunk, ...]:
    """Return groups of chunks as context; neighbours of the same file become one."""
    rendered: list[ContextChunk] = []
    uri = ""
    run: list[Chunk] = []
    for chunk in (chunk for group in groups for chunk in group):
        if chunk.uri != uri and run:
            rendered.append(_joined(run, folders, source_of))
            run = []
        uri = chunk.uri
        run.append(chunk)
    if run:
        rendered.append(_joined(run, folders, source_of))
    return tuple(rendered)


def _joined(
    run: Sequence[Chunk], folders: Sequence[Path], source_of: Callable[[Chunk], str]
) -> ContextChunk:
    pieces: list[str] = []
    heading, before = "", run[0].kind
    for chunk in run:
        if pieces and "signature" not in (before, chunk.kind):
            pieces.append("\n")
        if chunk.heading and chunk.heading != heading:
            pieces.append(chunk.heading + "\n")
        # A type's own header, when it is shown, is its members' heading too.
        heading = chunk.heading or chunk.text.rstrip("\n")
        pieces.append(chunk.text)
        before = chunk.kind
    path = display_path(run[0].path, folders) or unquote(run[0].uri).split(":")[-1]
    return ContextChunk(path, "".join(pieces), source_of(run[0]))
