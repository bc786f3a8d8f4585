"""Where is typed: regions of real files, chosen by seed and language.

The files are copied into a folder of their own, with the regions taken out there as
well: whatever the server reads beside the open documents, it finds no text that is
yet to be typed.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lsp_stablecode.bench.scripts import Script, read_text
from lsp_stablecode.errors import DocumentError
from lsp_stablecode.languages import language_of

_NO_CODE = frozenset({"plaintext", "markdown", "json", "toml", "yaml"})
_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "venv", "build", "dist"})
_LEAST_BYTES, _MOST_BYTES = 600, 200_000
_LEAST_LINES, _MOST_LINES = 6, 40
_MOST_FILES = 20_000
_MOST_COPIED = 400


@dataclass(frozen=True, slots=True)
class Place:
    """A region of a file that is typed anew; lines count from 1.

    ``related`` are files of the same language, the nearest by path first.
    """

    path: Path
    script: Script
    first_line: int
    num_lines: int
    related: tuple[Path, ...]


def find_files(path: Path, language_id: str | None) -> tuple[Path, list[Path]]:
    """Return the folder of the work and its files of one language, in order.

    Without a language, of the most frequent one. A file stands for itself. Raises
    ``DocumentError`` where there is nothing, or no text.
    """
    path = path.absolute()
    if path.is_file():
        read_text(path)
        return path.parent, [path]
    found = [one for one in _walk(path) if language_of(one) not in _NO_CODE]
    counts = Counter(map(language_of, found))
    if language_id is None and counts:
        language_id = min(counts, key=lambda one: (-counts[one], one))
    files = [one for one in found if language_of(one) == language_id]
    if not files:
        raise DocumentError(
            f"{path} holds no {language_id or 'source'} files to type in.",
            hint="Name a file or a folder with source code.",
        )
    return path, files


def choose_places(
    path: Path, *, language_id: str | None, seed: int, num_characters: int
) -> tuple[Path, list[Place]]:
    """Return the folder, and places with at least that much to type, if there are.

    At most one in a file, so that none shows the text of another. The same seed and
    files give the same places. Raises ``DocumentError``.
    """
    folder, files = find_files(path, language_id)
    chances = {
        one: random.Random(f"{seed} {one.relative_to(folder).as_posix()}")
        for one in files
    }
    ranks = {one: chance.random() for one, chance in chances.items()}
    places: list[Place] = []
    missing = num_characters
    for one in sorted(files, key=ranks.__getitem__):
        place = _place_in(folder, one, chances[one], files)
        if place is None:
            continue
        places.append(place)
        missing -= len(place.script.typed)
        if missing <= 0:
            break
    if not places:
        raise DocumentError(
            f"{path} has no block of {_LEAST_LINES} indented lines.",
            hint="Name another file or folder.",
        )
    return folder, places


def copy_work(folder: Path, places: Sequence[Place], target: Path) -> None:
    """Copy the places' files, without the regions, and those around them."""
    typed = {place.path: place.script for place in places}
    share = max(1, _MOST_COPIED // len(places))
    nearest = [one for place in places for one in place.related[:share]]
    for path in dict.fromkeys((*typed, *nearest)):
        script = typed.get(path)
        try:
            text = script.before + script.after if script else read_text(path)
        except DocumentError:
            continue
        copy = target / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text, "utf-8")


def find_region(text: str, chance: random.Random) -> tuple[int, int] | None:
    """Return the first line and the line after the last of a block to type.

    That is a body: lines deeper than the line before them, at most 40 of a longer one;
    20 of them and more are preferred to fewer. ``None`` if there is none of 6.
    """
    lines = text.split("\n")
    bodies = []
    last_indent = 0
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        indent = _indent(line)
        if indent > last_indent and number:
            end = _body_end(lines, number, indent)
            if end - number >= _LEAST_LINES:
                bodies.append((number, min(end, number + _MOST_LINES)))
        last_indent = indent
    long = [(start, end) for start, end in bodies if end - start >= _MOST_LINES // 2]
    chosen = long or bodies
    if not chosen:
        return None
    start, end = chosen[int(chance.random() * len(chosen))]
    while not lines[end - 1].strip():
        end -= 1
    return start, end


def _place_in(
    folder: Path, path: Path, chance: random.Random, files: Sequence[Path]
) -> Place | None:
    """Return a place in a file; ``None`` if it has none, or cannot be read."""
    try:
        text = read_text(path)
    except DocumentError:
        return None
    region = find_region(text, chance)
    if region is None:
        return None
    lines = text.split("\n")
    start, end = region
    # Nobody types blanks at a line's end.
    typed = "\n".join(line.rstrip() for line in lines[start:end])
    indent = typed[: _indent(typed)]
    others = files if len(files) > 1 else list(_walk(folder))
    script = Script(
        name=path.relative_to(folder).as_posix(),
        language_id=language_of(path),
        before="".join(f"{one}\n" for one in lines[:start]) + indent,
        typed=typed[len(indent) :],
        after="".join(f"\n{one}" for one in lines[end:]) or "\n",
    )
    related = sorted(
        (
            one
            for one in others
            if one != path and language_of(one) == script.language_id
        ),
        key=lambda one: (_distance(path, one), one.as_posix()),
    )
    return Place(path, script, start + 1, end - start, tuple(related[:_MOST_COPIED]))


def _walk(folder: Path) -> list[Path]:
    """Return readable files of a usual size below a folder, hidden ones left out."""
    files: list[Path] = []
    for place, names, leaves in os.walk(folder):
        names[:] = sorted(
            one for one in names if one[0] != "." and one not in _SKIPPED_FOLDERS
        )
        for leaf in sorted(leaves):
            path = Path(place, leaf)
            try:
                size = path.stat().st_size
            except OSError:
                continue
            if _LEAST_BYTES <= size <= _MOST_BYTES and leaf[0] != ".":
                files.append(path)
        if len(files) >= _MOST_FILES:
            break
    return files


def _body_end(lines: Sequence[str], start: int, indent: int) -> int:
    """Return the line after the last that is as deep, blank ones at the end apart."""
    end = start + 1
    for number in range(start + 1, len(lines)):
        if not lines[number].strip():
            continue
        if _indent(lines[number]) < indent:
            break
        end = number + 1
    return end


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def _distance(one: Path, other: Path) -> int:
    """Return how many folders up and down lie between two files."""
    common = len(os.path.commonpath((one.parent, other.parent)).split(os.sep))
    return len(one.parent.parts) + len(other.parent.parts) - 2 * common
