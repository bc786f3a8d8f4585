"""What of other documents goes into a prompt: found, ranked, chosen and kept."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cachetools import LRUCache

from lsp_stablecode.context.chunks import MOST_DOCUMENT_CHARACTERS, Chunk, chunks_of
from lsp_stablecode.context.edits import EditedRegion
from lsp_stablecode.context.far import far_parts
from lsp_stablecode.context.imported import Imported, ImportFinder
from lsp_stablecode.context.place import (
    Cursor,
    OpenText,
    Surroundings,
    names_in,
)
from lsp_stablecode.context.ranking import Asked, Index, prepare, rank
from lsp_stablecode.context.rendering import display_path, render, repository_name
from lsp_stablecode.context.selection import Fitting, Look, Ranked, Selection
from lsp_stablecode.context.words import COMMON
from model import ContextChunk

__all__ = [
    "EditedRegion",
    "Gatherer",
    "OpenText",
    "Surroundings",
    "display_path",
    "prepare",
    "repository_name",
]

_MOST_DOCUMENTS_KEPT = 8
# All that a request may look at: what were dropped of it would be cut anew each time.
_MOST_CHARACTERS_CACHED = 20_000_000
_MOST_COUNTS_CACHED = 1024
_MOST_CLOSED = 1024
_CUT_CHARACTERS = 1000  # what even an empty text's chunks take
_WINDOW_CHARACTERS = 12_000
_FAR_CHARACTERS = 40_000
_BELOW_CHARACTERS = 4_000
# The document's own window is about twice its context; a token, about 3 characters.
_REACH_CHARACTERS_PER_TOKEN = 6

_Parts = tuple[tuple[Chunk, ...], ...]


@dataclass(slots=True)
class _Cut:
    """A text and the chunks it was cut into."""

    text: str
    language_id: str
    edited: tuple[tuple[int, int], ...]
    chunks: tuple[Chunk, ...]


@dataclass(slots=True)
class _Kept:
    """What is kept of a document that was typed in."""

    selection: Selection
    parts: _Parts = ()
    index: Index | None = None
    imports: dict[Path, Imported] | None = None
    reach: int = 0


class Gatherer:
    """Gathers context for all documents of a session, on the thread of its files."""

    def __init__(self) -> None:
        self._cuts: LRUCache[str, _Cut] = LRUCache(_MOST_CHARACTERS_CACHED, _size_of)
        self._closed: deque[str] = deque(maxlen=_MOST_CLOSED)
        self._kept: dict[str, _Kept] = {}
        self._finder = ImportFinder()
        self._counts: LRUCache[str, int] = LRUCache(_MOST_COUNTS_CACHED)
        self._counter: weakref.ref[object] | None = None

    def forget(self, uri: str) -> None:
        """Forget what was chosen for a document, and its chunks."""
        self._kept.pop(uri, None)
        self._forget_cuts(uri)

    def note_close(self, uri: str) -> None:
        """Let a closed document's chunks go with the next request; any thread may.

        What was chosen for it stays a while: opened again it has the same prompt.
        """
        self._closed.append(uri)

    def gather(
        self,
        here: Surroundings,
        budget_tokens: int,
        count_tokens: Callable[[str], int],
    ) -> tuple[ContextChunk, ...]:
        """Return the context of a prompt, at most ``budget_tokens`` of it.

        From key to key it stays the same, but for what
        docs/decisions/0011-context.md names.
        """
        while self._closed:
            self._forget_cuts(self._closed.popleft())
        if budget_tokens <= 0:
            return ()
        self._forget_counts_of_others(count_tokens)
        kept = self._kept.pop(here.uri, None) or _Kept(Selection())
        self._kept[here.uri] = kept
        while len(self._kept) > _MOST_DOCUMENTS_KEPT:
            self._kept.pop(next(iter(self._kept)))
        kept.reach = budget_tokens * _REACH_CHARACTERS_PER_TOKEN
        others = self._visible(here)
        cursor = Cursor.at(here.prefix, here.suffix)
        newline = here.suffix.find("\n")
        look = Look(
            line=here.line,
            explicit=here.explicit,
            typed=cursor.typed,
            below=here.suffix[newline:][:_BELOW_CHARACTERS] if newline >= 0 else "",
        )
        fitting = Fitting(budget_tokens, lambda text: self._count(text, count_tokens))
        if here.privacy.reason(here.path):
            kept.selection = Selection()
            return ()
        open_uris = {one.uri for one in others}

        def is_allowed(chunk: Chunk) -> bool:
            if chunk.uri in open_uris or chunk.uri == here.uri:
                return True
            # A path that cannot be looked at has a reason to stay out, so that asking
            # whether its file is still there raises nothing afterwards.
            if chunk.path is None or here.privacy.reason(chunk.path):
                return False
            return os.path.exists(chunk.path)

        kept.selection.update(
            look,
            rank=lambda: self._rank(here, others, cursor, kept),
            named=lambda: self._named(here, others, cursor, kept),
            is_allowed=is_allowed,
            fitting=fitting,
        )
        edits = _edits_by_uri(here.edits)

        def source_of(chunk: Chunk) -> str:
            imported = (kept.imports or {}).get(chunk.path) if chunk.path else None
            if imported is not None and not imported.is_implicit:
                return "import"
            for first, last in edits.get(chunk.uri, ()):
                if chunk.first_line <= last and first <= chunk.last_line:
                    return "edit"
            return "definition" if chunk.kind == "signature" else "open"

        return render(kept.selection.groups, here.folders, source_of)

    def _visible(self, here: Surroundings) -> list[OpenText]:
        """Return the other documents that may enter a prompt."""
        return [
            one
            for one in here.others
            if one.uri != here.uri
            and (one.path is None or one.path != here.path)
            and not one.why_private(here.privacy)
        ]

    def _rank(
        self,
        here: Surroundings,
        others: Sequence[OpenText],
        cursor: Cursor,
        kept: _Kept,
    ) -> Ranked:
        document = here.prefix[-_FAR_CHARACTERS:] + here.suffix[:_FAR_CHARACTERS]
        kept.imports = self._finder.find(here, others)
        asked = Asked(
            uri=here.uri,
            path=here.path,
            language_id=here.language_id,
            cursor=cursor,
            document=document,
            imports=kept.imports,
            recency={one.uri: number for number, one in enumerate(others)},
            edits=_edits_by_uri(here.edits),
        )
        worth = rank(self._index(here, others, kept), asked)
        near = (
            here.prefix[-_WINDOW_CHARACTERS:] + here.suffix[: _WINDOW_CHARACTERS // 3]
        )
        return Ranked(worth, near)

    def _named(
        self,
        here: Surroundings,
        others: Sequence[OpenText],
        cursor: Cursor,
        kept: _Kept,
    ) -> list[Chunk]:
        """Return the definitions whose names begin with what is being typed.

        None where it begins a word of the language, or a name that stands in the
        window: then most likely that is meant, and the model sees it.
        """
        typed = cursor.typed
        window = here.prefix[-_WINDOW_CHARACTERS : -len(typed)]
        known = COMMON | names_in(window + " " + here.suffix[:_BELOW_CHARACTERS])
        if any(one.startswith(typed) for one in known):
            return []
        return [
            chunk
            for chunk in self._index(here, others, kept).chunks
            if chunk.kind == "signature"
            and any(name.startswith(typed) for name in chunk.names)
        ]

    def _index(
        self, here: Surroundings, others: Sequence[OpenText], kept: _Kept
    ) -> Index:
        edits = _edits_by_uri(here.edits)
        texts = [*others, *self._finder.closed(kept.imports or {}, here, others)]
        parts = tuple(
            self._chunks(one, tuple(edits.get(one.uri, ())))
            for one in sorted(texts, key=lambda one: one.uri)
        ) + tuple(
            self._chunks(
                OpenText(here.uri, here.path, here.language_id, None, part.text),
                key=f"{here.uri}#{part.name}",
                first_line=part.first_line,
            )
            for part in far_parts(here.prefix, here.suffix, here.line, kept.reach)
        )
        is_same = len(parts) == len(kept.parts) and all(
            one is other for one, other in zip(parts, kept.parts, strict=True)
        )
        if kept.index is None or not is_same:
            kept.parts = parts
            kept.index = Index([chunk for part in parts for chunk in part])
        return kept.index

    def _chunks(
        self,
        one: OpenText,
        edited: tuple[tuple[int, int], ...] = (),
        *,
        key: str = "",
        first_line: int = 0,
    ) -> tuple[Chunk, ...]:
        key = key or one.uri
        if len(one.text) <= MOST_DOCUMENT_CHARACTERS:
            edited = ()  # all of it is looked at, wherever it was edited
        known = self._cuts.get(key)
        if (
            known is None
            or known.language_id != one.language_id
            or known.edited != edited
            or known.text != one.text
        ):
            chunks = chunks_of(
                one.uri, one.path, one.language_id, one.text, edited, first_line
            )
            known = _Cut(one.text, one.language_id, edited, chunks)
            self._cuts[key] = known
        return known.chunks

    def _forget_cuts(self, uri: str) -> None:
        for key in (uri, f"{uri}#above", f"{uri}#below"):
            self._cuts.pop(key, None)

    def _forget_counts_of_others(self, count_tokens: Callable[[str], int]) -> None:
        """Forget what another model's tokeniser counted.

        The owner is held weakly, so that a model that was replaced can go.
        """
        owner = getattr(count_tokens, "__self__", count_tokens)
        if self._counter is None or self._counter() is not owner:
            self._counts.clear()
            self._counter = weakref.ref(owner)

    def _count(self, text: str, count_tokens: Callable[[str], int]) -> int:
        known = self._counts.get(text)
        if known is None:
            known = self._counts[text] = count_tokens(text)
        return known


def _size_of(cut: _Cut) -> int:
    # No more of a text is cut.
    return _CUT_CHARACTERS + min(len(cut.text), MOST_DOCUMENT_CHARACTERS)


def _edits_by_uri(
    regions: Iterable[EditedRegion],
) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for one in regions:
        found.setdefault(one.uri, []).append((one.first_line, one.last_line))
    return found
