"""The files that a document imports: found, and read from disk when not open."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cachetools import LRUCache

from lsp_stablecode.context.imports import Import, imports_of
from lsp_stablecode.context.place import OpenText, Surroundings
from lsp_stablecode.context.resolution import Resolver
from lsp_stablecode.context.words import word_set
from lsp_stablecode.languages import language_of

_MOST_FILES = 64
_MOST_FILE_BYTES = 256 * 1024
_MOST_BYTES = 1024 * 1024
_MOST_FOLLOWED = 2
_READ_CHARACTERS = 1000  # what even an empty file takes
_MOST_CHARACTERS_KEPT = _MOST_FILES * (_MOST_FILE_BYTES + _READ_CHARACTERS)
_MOST_DOCUMENTS = 8
# After so many uses the disk is looked at again: a file may have come.
_MOST_USES = 20
_OUTSIDE = word_set("node_modules site-packages dist-packages .venv venv .git")
_HUBS = frozenset({"__init__.py", "index.ts", "index.js", "index.tsx", "mod.rs"})


@dataclass(frozen=True, slots=True)
class Imported:
    """What a document takes of one file.

    ``names`` and ``aliases`` are as in `Import`. An ``is_implicit`` file is seen
    without an import, as those of one folder are in Go.
    """

    path: Path
    names: frozenset[str] = frozenset()
    aliases: frozenset[str] = frozenset()
    is_implicit: bool = False


@dataclass(frozen=True, slots=True)
class _Read:
    stamp: tuple[int, int]
    text: OpenText


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found for these imports, with these documents open."""

    asked: tuple[object, ...]
    found: dict[Path, Imported]
    num_uses: int = 0


class ImportFinder:
    """Finds imported files; reads each once as long as it does not change."""

    def __init__(self) -> None:
        self._read: LRUCache[Path, _Read] = LRUCache(_MOST_CHARACTERS_KEPT, _size_of)
        self._found: dict[Path, _Found] = {}

    def find(
        self, here: Surroundings, others: Sequence[OpenText]
    ) -> dict[Path, Imported]:
        """Return what a document imports, by file, in the document's order.

        A package's front file that only passes names on is followed to where they
        are defined.
        """
        if here.path is None or not here.path.is_absolute():
            return {}
        texts = {one.path: one for one in others if one.path is not None}
        statements = imports_of(here.prefix + here.suffix, here.language_id)
        asked = (statements, frozenset(texts), here.folders)
        known = self._found.pop(here.path, None)
        if known is not None and known.asked == asked and known.num_uses < _MOST_USES:
            self._found[here.path] = replace(known, num_uses=known.num_uses + 1)
            return known.found
        found: dict[Path, Imported] = {}
        self._follow(
            here, here.path, here.language_id, statements, texts, found, None, 0
        )
        resolver = self._resolver(here, here.path, here.language_id, texts)
        for path in resolver.implicit():
            if len(found) < _MOST_FILES:
                found.setdefault(path, Imported(path, is_implicit=True))
        self._found[here.path] = _Found(asked, found)
        while len(self._found) > _MOST_DOCUMENTS:
            self._found.pop(next(iter(self._found)))
        return found

    def closed(
        self,
        imports: Mapping[Path, Imported],
        here: Surroundings,
        others: Sequence[OpenText],
    ) -> list[OpenText]:
        """Return the imported files that are not open, as they are on disk."""
        open_paths = {one.path for one in others} | {here.path}
        room = _MOST_BYTES
        texts = []
        for path in imports:
            if path in open_paths:
                continue
            read = self._text_of(path, here)
            if read is not None and len(read.text) <= room:
                room -= len(read.text)
                texts.append(read)
        return texts

    def _follow(
        self,
        here: Surroundings,
        path: Path,
        language_id: str,
        statements: tuple[Import, ...],
        texts: Mapping[Path, OpenText],
        found: dict[Path, Imported],
        wanted: frozenset[str] | None,
        depth: int,
    ) -> None:
        resolver = self._resolver(here, path, language_id, texts)
        for one in statements:
            if wanted is not None and one.names and one.names.isdisjoint(wanted):
                continue
            names = one.names if wanted is None else one.names & wanted
            for target in resolver.resolve(one):
                if len(found) >= _MOST_FILES or _is_foreign(target.path):
                    continue
                taken = Imported(target.path, names, one.aliases)
                if target.name:
                    # The name taken is the file itself.
                    called = frozenset({target.name}) | _called(one, target.name)
                    taken = Imported(target.path, frozenset(), called)
                _add(found, taken)
                if target.path.name in _HUBS and depth < _MOST_FOLLOWED and taken.names:
                    hub = texts.get(target.path) or self._text_of(target.path, here)
                    if hub is not None:
                        self._follow(
                            here,
                            target.path,
                            language_id,
                            imports_of(hub.text, language_id),
                            texts,
                            found,
                            taken.names,
                            depth + 1,
                        )

    def _resolver(
        self,
        here: Surroundings,
        path: Path,
        language_id: str,
        texts: Mapping[Path, OpenText],
    ) -> Resolver:
        def is_file(path: Path) -> bool:
            return path in texts or os.path.isfile(path)  # which never raises

        return Resolver(path, language_id, here.folders, is_file, tuple(sorted(texts)))

    def _text_of(self, path: Path, here: Surroundings) -> OpenText | None:
        """Read a file, if it may be read and is a text of bearable size."""
        try:
            status = path.stat()
            stamp = status.st_mtime_ns, status.st_size
            if status.st_size > _MOST_FILE_BYTES or here.privacy.reason(path):
                return None
            known = self._read.get(path)
            if known is None or known.stamp != stamp:
                data = path.read_bytes()
                if b"\0" in data:
                    return None
                text = data.decode("utf-8", "replace").removeprefix("\ufeff")
                one = OpenText(path.as_uri(), path, language_of(path), None, text)
                known = self._read[path] = _Read(stamp, one)
        except (OSError, ValueError):
            return None
        return known.text


def _size_of(read: _Read) -> int:
    return _READ_CHARACTERS + len(read.text.text)


def _called(one: Import, name: str) -> frozenset[str]:
    # With a single name and its alias, the alias is what the file is called here.
    return one.names if len(one.names) <= 2 else frozenset({name})


def _add(found: dict[Path, Imported], one: Imported) -> None:
    known = found.get(one.path)
    if known is not None:
        one = replace(
            known, names=known.names | one.names, aliases=known.aliases | one.aliases
        )
    found[one.path] = one


def _is_foreign(path: Path) -> bool:
    """Tell whether a path is among what was installed, and is not the user's own."""
    return not _OUTSIDE.isdisjoint(path.parts)
