"""The pieces of a document that a prompt may show: outlines, definitions, lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lsp_stablecode.context.definitions import Definition, definitions
from lsp_stablecode.context.words import subwords, words_of
from lsp_stablecode.lexis import unify_line_ends

MOST_DOCUMENT_CHARACTERS = 256 * 1024
_LINES_PER_CHUNK = 20
_MOST_LINES_PER_CHUNK = 30
_MOST_LINE_CHARACTERS = 300
_MOST_WHOLE_LINES = 80
_MOST_OUTLINE_CHARACTERS = 400
_MOST_CHUNKS = 600

Kind = Literal["signature", "whole", "lines"]


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A piece of a document; its lines count from 0 and include the last.

    Two are equal if they show the same text of the same document: an edit above only
    moves it.

    A ``signature`` is a line or a few about a definition, ``whole`` is all of it,
    ``lines`` are neither. ``names`` are the definition's and those of the members that
    its signature shows; ``container`` is the type that it is a member of, whose header
    is ``heading``. ``words`` are what it is found by. ``weight`` is below 1 for what
    is rarely wanted.
    """

    uri: str
    path: Path | None
    language_id: str
    first_line: int
    last_line: int
    kind: Kind
    text: str
    names: tuple[str, ...] = ()
    container: str = ""
    heading: str = ""
    words: tuple[str, ...] = ()
    weight: float = 1.0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Chunk):
            return NotImplemented
        return self is other or (self.text == other.text and self.uri == other.uri)

    def __hash__(self) -> int:
        return hash(self.text)

    def overlaps(self, other: Chunk) -> bool:
        """Tell whether two chunks show some of the same lines."""
        return (
            self.uri == other.uri
            and self.first_line <= other.last_line
            and other.first_line <= self.last_line
        )


def chunks_of(
    uri: str,
    path: Path | None,
    language_id: str,
    text: str,
    edited: Sequence[tuple[int, int]] = (),
    first_line: int = 0,
) -> tuple[Chunk, ...]:
    """Cut a document, or its part from ``first_line`` on, into chunks, in its order.

    Of one that is very long, only the part around the lines ``edited`` last, or its
    beginning, is looked at.
    """
    offset, text = _part(unify_line_ends(text), edited)
    offset += first_line
    lines = text.split("\n")
    defined = definitions(text, language_id)
    chunks: list[Chunk] = []

    def add(
        first: int,
        last: int,
        kind: Kind,
        text: str,
        one: Definition | None = None,
        members: Iterable[str] = (),
    ) -> None:
        is_member = one is not None and one.is_member
        searched = f"{text} {one.doc}" if one is not None else text
        heading = headings.get(one.container, "") if one and is_member else ""
        chunks.append(
            Chunk(
                uri=uri,
                path=path,
                language_id=language_id,
                first_line=first + offset,
                last_line=last + offset,
                kind=kind,
                text=text.rstrip() + "\n",
                names=() if one is None else (one.name, *members),
                container=one.container if one else "",
                heading=heading,
                words=_words(searched, path),
                weight=_weight(one, kind),
            )
        )

    headings = {one.name: one.header for one in defined if one.kind == "type"}
    listed: set[str] = set()
    covered = bytearray(len(lines))
    for one in defined:
        first, last = one.first_line, min(one.last_line, len(lines) - 1)
        covered[first : last + 1] = b"\1" * (last + 1 - first)
        is_listed = one.is_member and one.container in listed
        if one.kind == "type" and len(one.signature) <= _MOST_OUTLINE_CHARACTERS:
            listed.add(one.name)
            members = (two.name for two in defined if two.container == one.name)
            add(first, last, "signature", one.signature, one, members)
        elif one.kind == "type":
            add(first, last, "signature", one.header, one)
        elif not is_listed:
            indent = "    " if one.is_member and one.container in headings else ""
            text = indent + one.signature.replace("\n", "\n" + indent)
            add(first, last, "signature", text, one)
        num_lines = last + 1 - first
        if one.kind != "value" and 2 < num_lines <= _MOST_WHOLE_LINES:
            whole = "\n".join(lines[first : last + 1])
            if len(whole) > len(one.signature):
                add(first, last, "whole", whole, one)
    for first, last in _gaps(lines, covered, bool(defined)):
        add(first, last, "lines", "\n".join(lines[first : last + 1]))
    return tuple(_most(chunks, edited))


def _most(chunks: list[Chunk], edited: Sequence[tuple[int, int]]) -> list[Chunk]:
    """Return no more chunks than there should be, those around the newest edit."""
    if len(chunks) <= _MOST_CHUNKS or not edited:
        return chunks[:_MOST_CHUNKS]
    line = edited[0][0]
    here = sum(one.last_line < line for one in chunks)
    start = max(0, min(here - _MOST_CHUNKS // 2, len(chunks) - _MOST_CHUNKS))
    return chunks[start : start + _MOST_CHUNKS]


def _weight(one: Definition | None, kind: Kind) -> float:
    if one is None:
        return 0.7
    weight = 0.75 if kind == "whole" else 1.0
    if one.kind == "value":
        weight *= 0.6
    if not one.is_public:
        weight *= 0.5
    if re.match(r"(?:test_|Test|__)", one.name):
        weight *= 0.6
    return weight


def _words(text: str, path: Path | None) -> tuple[str, ...]:
    """Return what a chunk is found by: its subwords, and the file's name."""
    words = words_of(text)
    if path is not None:
        words += subwords(path.stem)
    return tuple(words)


def _part(text: str, edited: Sequence[tuple[int, int]]) -> tuple[int, str]:
    """Cut a long document; return the number of the part's first line, and it."""
    if len(text) <= MOST_DOCUMENT_CHARACTERS:
        return 0, text
    start = 0
    first = next((first for first, _ in edited), 0)
    if first:
        lines = text.split("\n", first)
        here = len(text) - len(lines[-1]) if len(lines) > first else 0
        start = text.rfind("\n", 0, max(0, here - MOST_DOCUMENT_CHARACTERS // 2)) + 1
    end = text.rfind("\n", start, start + MOST_DOCUMENT_CHARACTERS)
    if end <= start:
        end = start + MOST_DOCUMENT_CHARACTERS
    return text.count("\n", 0, start), text[start:end]


def _gaps(
    lines: list[str], covered: bytearray, has_definitions: bool
) -> Iterable[tuple[int, int]]:
    """Yield runs of lines that no definition covers, cut at blank lines.

    Between definitions, a run of two lines or less is a comment or a stray brace.
    """
    least = 3 if has_definitions else 1
    first, end = 0, len(lines)
    while first < end:
        if covered[first] or not lines[first].strip():
            first += 1
            continue
        last = cut = first
        while last + 1 < end and not covered[last + 1]:
            if last + 1 - first >= _MOST_LINES_PER_CHUNK:
                break
            last += 1
            if not lines[last].strip():
                cut = last
                if last - first >= _LINES_PER_CHUNK:
                    break
        is_cut = last + 1 < end and not covered[last + 1]
        last = cut if is_cut and cut > first else last
        run = lines[first : last + 1]
        is_data = any(len(line) > _MOST_LINE_CHARACTERS for line in run)
        if sum(bool(line.strip()) for line in run) >= least and not is_data:
            yield first, last
        first = last + 1
