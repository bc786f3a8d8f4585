"""How much each chunk is worth at a place: BM25 over subwords, and what names say.

A score is about 1 for a chunk that only reads alike, and above 1 where a name says that
it is wanted. BM25 after Robertson and Zaragoza, "The Probabilistic Relevance Framework:
BM25 and Beyond" (2009), by the library bm25s.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsp_stablecode.context.chunks import Chunk
from lsp_stablecode.context.imported import Imported
from lsp_stablecode.context.place import Cursor, names_in
from lsp_stablecode.context.words import words_of

# What each sign is worth, in units of the best BM25 score among the candidates.
IMPORTED_NAME = 1.2
IMPORTED_FILE = 0.4
USED_NEAR = 0.6
USED_FAR = 0.2
TYPED = 1.5
MEMBER = 1.2
EDITED = 0.3
RECENT = 0.15
NEAR_PATH = 0.15
OTHER_LANGUAGE = 0.4

_FAMILIES = (
    "javascript javascriptreact typescript typescriptreact vue svelte",
    "c cpp objective-c cuda-cpp",
    "html css scss less javascript typescript vue svelte php",
    "java kotlin scala groovy",
    "shellscript bash sh zsh",
    "sql python java php ruby go csharp javascript typescript",
)
_RELATED = {
    word: frozenset(
        one for family in _FAMILIES if word in family.split() for one in family.split()
    )
    for family in _FAMILIES
    for word in family.split()
}


@dataclass(frozen=True, slots=True)
class Asked:
    """All that ranking looks at besides the chunks themselves."""

    uri: str
    path: Path | None
    language_id: str
    cursor: Cursor
    document: str
    imports: Mapping[Path, Imported] = field(default_factory=dict)
    recency: Mapping[str, int] = field(default_factory=dict)
    edits: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)


@cache
def _bm25s() -> Any:
    # Imported when it is first needed: it may bring numba, which takes its time.
    module = importlib.import_module("bm25s")
    # It sets its own level when it is imported, and tells of every index.
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    return module


def prepare() -> None:
    """Import what ranking needs, so that the first request need not wait for it."""
    # The first index is the slowest: it sets up what shows progress, unseen as it is.
    _bm25s().BM25(backend="numpy").index([["first"]], show_progress=False)


class Index:
    """BM25 over chunks; made once for chunks that stay the same."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.chunks = tuple(chunks)
        self._retriever: Any = None
        documents = [list(one.words) for one in self.chunks]
        if any(documents):
            self._retriever = _bm25s().BM25(backend="numpy")
            self._retriever.index(documents, show_progress=False)

    def scores(self, words: Sequence[str]) -> NDArray[np.float32]:
        """Return each chunk's score, 1 for the best, 0 for one without the words."""
        scores = np.zeros(len(self.chunks), dtype=np.float32)
        if self._retriever is None:
            return scores
        known = self._retriever.vocab_dict
        wanted = sorted({word for word in words if word in known})
        if not wanted:
            return scores
        scores = np.asarray(self._retriever.get_scores(wanted), dtype=np.float32)
        best = float(scores.max(initial=0.0))
        return scores / best if best > 0 else scores


def rank(index: Index, asked: Asked) -> dict[Chunk, float]:
    """Return what each chunk is worth; the order is the index's."""
    cursor = asked.cursor
    near, far = names_in(cursor.near), names_in(asked.document)
    # What stands in the last lines counts twice: for itself, and among all lines near.
    similar = index.scores(words_of(cursor.near)) / 2
    similar += index.scores(words_of(cursor.close)) / 2
    related = _RELATED.get(asked.language_id, frozenset()) | {asked.language_id}
    is_test = _is_test(asked.path)
    per_file: dict[str, tuple[float, float, Imported | None]] = {}
    worth: dict[Chunk, float] = {}
    for number, chunk in enumerate(index.chunks):
        known = per_file.get(chunk.uri)
        if known is None:
            imported = asked.imports.get(chunk.path) if chunk.path else None
            imported = None if imported and imported.is_implicit else imported
            factor = 1.0 if chunk.language_id in related else OTHER_LANGUAGE
            if not is_test and _is_test(chunk.path):
                factor *= 0.5
            known = per_file[chunk.uri] = (factor, _file_worth(chunk, asked), imported)
        factor, file_worth, imported = known
        score = float(similar[number]) * factor + file_worth
        score += _name_worth(chunk, cursor, near, far, imported)
        for first, last in asked.edits.get(chunk.uri, ()):
            if chunk.first_line <= last and first <= chunk.last_line:
                score += EDITED
                break
        score = round(score * chunk.weight * factor, 4)
        worth[chunk] = max(score, worth.get(chunk, 0.0))
    return worth


def _file_worth(chunk: Chunk, asked: Asked) -> float:
    worth = 0.0
    if chunk.uri == asked.uri:
        return NEAR_PATH + RECENT
    if chunk.uri in asked.recency and asked.recency:
        worth += RECENT * (1 - asked.recency[chunk.uri] / len(asked.recency))
    if chunk.path is not None and asked.path is not None:
        ours, theirs = asked.path.parent.parts, chunk.path.parent.parts
        shared = 0
        for one, other in zip(ours, theirs, strict=False):
            if one != other:
                break
            shared += 1
        worth += NEAR_PATH * shared / max(len(ours), len(theirs), 1)
    return worth


def _name_worth(
    chunk: Chunk,
    cursor: Cursor,
    near: frozenset[str],
    far: frozenset[str],
    imported: Imported | None,
) -> float:
    """Return what the names that a chunk defines say about it."""
    if not chunk.names:
        return IMPORTED_FILE / 2 if imported is not None else 0.0
    name, worth = chunk.names[0], 0.0
    known_as = {name, chunk.container} - {""}
    if imported is not None:
        is_named = not known_as.isdisjoint(imported.names)
        worth += IMPORTED_NAME if is_named else IMPORTED_FILE
        if cursor.receiver and cursor.receiver in imported.aliases:
            worth += MEMBER
    if cursor.receiver and (
        cursor.receiver in known_as or cursor.receiver_type in known_as
    ):
        worth += MEMBER
    elif name in near and name != cursor.typed:
        worth += USED_NEAR
    elif name in far and name != cursor.typed:
        worth += USED_FAR
    if len(cursor.typed) >= 2:
        names = chunk.names if cursor.receiver else chunk.names[:1]
        if any(one.startswith(cursor.typed) for one in names):
            worth += TYPED
    return worth


def _is_test(path: Path | None) -> bool:
    if path is None:
        return False
    name = path.stem.lower()
    return (
        name.startswith("test")
        or name.endswith(("_test", ".test", ".spec", "_spec", "tests"))
        or not {"tests", "test", "spec", "__tests__"}.isdisjoint(path.parts)
    )
