"""Which gaps are asked: spread evenly over languages, then places, then files.

The choice follows from the seed, the files' names and their texts alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from lsp_stablecode.errors import SettingsError
from lsp_stablecode.evaluation.gaps import Gap, Place
from lsp_stablecode.evaluation.places import gaps_at
from lsp_stablecode.evaluation.reading import Reading
from lsp_stablecode.evaluation.sources import SourceFile

FindGaps = Callable[[SourceFile, Reading, Place, random.Random], Iterator[Gap]]


def usual_gaps(
    file: SourceFile, reading: Reading, place: Place, shuffler: random.Random
) -> Iterator[Gap]:
    """Yield a file's gaps at places that need no other file."""
    return gaps_at(reading, file.name, place, shuffler)


def choose_gaps(
    files: Sequence[SourceFile],
    num_gaps: int,
    *,
    seed: int,
    places: Sequence[Place],
    most_files: int | None = None,
    find: FindGaps = usual_gaps,
) -> list[Gap]:
    """Return the gaps, fewer where the files hold no more.

    ``most_files`` bounds the files of each language. Raises ``SettingsError`` where
    there is nothing to cut.
    """
    streams: dict[str, list[Iterator[Gap]]] = {}
    languages = sorted({one.language_id for one in files})
    for number, language_id in enumerate(languages):
        own = [one for one in files if one.language_id == language_id]
        own = _shuffled(own, f"{seed}:{language_id}")[:most_files]
        streams[language_id] = [
            _stream(_shuffled(own, f"{seed}:{language_id}:{place}"), place, seed, find)
            # Few gaps a language are not to be of the same kind in each of them.
            for place in (*places[number % len(places) :], *places)[: len(places)]
        ]
    gaps: list[Gap] = []
    while streams and len(gaps) < num_gaps:
        for language_id, kinds in list(streams.items()):
            gap = _next_of(kinds)
            if gap is None:
                del streams[language_id]
            elif len(gaps) < num_gaps:
                gaps.append(gap)
    if not gaps:
        raise SettingsError(
            "There is nothing to cut in these files.",
            hint="Name other files, or other places after --places.",
        )
    return gaps


def _next_of(streams: list[Iterator[Gap]]) -> Gap | None:
    """Take from the first stream and put it last; drop those that are empty."""
    while streams:
        stream = streams.pop(0)
        gap = next(stream, None)
        if gap is not None:
            streams.append(stream)
            return gap
    return None


def _stream(
    files: Sequence[SourceFile], place: Place, seed: int, find: FindGaps
) -> Iterator[Gap]:
    """Yield one gap of each file in turn, then a second one of each."""
    pending: list[tuple[SourceFile, Iterator[Gap] | None]]
    pending = [(one, None) for one in files]
    while pending:
        still: list[tuple[SourceFile, Iterator[Gap] | None]] = []
        for file, gaps in pending:
            if gaps is None:
                reading = read_source(file)
                if reading is None:
                    continue
                shuffler = random.Random(f"{seed}:{file.name}:{place}")
                gaps = find(file, reading, place, shuffler)
            gap = next(gaps, None)
            if gap is not None:
                still.append((file, gaps))
                yield gap
        pending = still


@lru_cache(maxsize=64)
def read_source(file: SourceFile) -> Reading | None:
    """Return a file's reading, ``None`` where it is not to be cut."""
    text = file.read()
    return None if text is None else Reading(text, file.language_id)


def _shuffled(files: Sequence[SourceFile], salt: str) -> list[SourceFile]:
    """Shuffle by name, whatever order the file system has."""
    ordered = sorted(files, key=lambda one: one.name)
    random.Random(salt).shuffle(ordered)
    return ordered
