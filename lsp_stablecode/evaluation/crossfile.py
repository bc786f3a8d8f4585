"""Uses of names that only another open file defines: what context is there for.

The name stands nowhere in the cut document, but perhaps where it is imported. So a
model that sees this document alone has to guess it.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tree_sitter import Node

from lsp_stablecode import trees
from lsp_stablecode.evaluation.gaps import Gap, Place
from lsp_stablecode.evaluation.places import cut_rest
from lsp_stablecode.evaluation.reading import Reading
from lsp_stablecode.evaluation.selection import FindGaps, read_source, usual_gaps
from lsp_stablecode.evaluation.sources import SourceFile

# `format`, `setup`, `__init__`: many things are called so, here and elsewhere.
_COMMON = re.compile(r"[a-z]{1,8}|.{1,4}|__\w*")
_MOST_TYPED = 2
_DEFINITION = re.compile(
    r"(?:function|class|method|struct|interface|enum|trait|object|module|protocol"
    r"|record|type|union|constructor)\w*_(?:definition|declaration|item|specifier"
    r"|spec|signature)$|^(?:class|module|method|singleton_method|type_spec)$"
)
_IMPORT = re.compile(r"import|use_declaration|using_directive|preproc_include|include")


def cross_file_finder(neighbours: Mapping[str, Sequence[SourceFile]]) -> FindGaps:
    """Return what finds gaps of all kinds, those across files among them.

    ``neighbours`` are the files that are open beside each file, by its name.
    """

    def find(
        file: SourceFile, reading: Reading, place: Place, shuffler: random.Random
    ) -> Iterator[Gap]:
        if place != "cross-file":
            return usual_gaps(file, reading, place, shuffler)
        return _gaps(file, reading, neighbours.get(file.name, ()), shuffler)

    return find


def _gaps(
    file: SourceFile,
    reading: Reading,
    others: Sequence[SourceFile],
    shuffler: random.Random,
) -> Iterator[Gap]:
    names: set[str] = set()
    for other in others:
        found = read_source(other)
        if found is not None:
            names |= defined_names(found)
    # What the document defines itself it does not use from there.
    uses = uses_of(reading, names - defined_names(reading))
    shuffler.shuffle(uses)
    for start, end in uses:
        offset = start + shuffler.randint(0, _MOST_TYPED)
        name = reading.text[start:end]
        gap = cut_rest(reading, file.name, offset, shuffler, "cross-file", name)
        if gap is not None and gap.truth.startswith(reading.text[offset:end]):
            yield gap


def defined_names(reading: Reading) -> set[str]:
    """Return the names of functions, classes and methods that a text defines."""
    if reading.tree is None:
        return set()
    found = set()
    for node in trees.walk(reading.tree.root_node):
        if not node.is_named or not _DEFINITION.search(node.type):
            continue
        name = _name_of(node)
        if name is not None:
            start, end = reading.span(name)
            found.add(reading.text[start:end])
    return {name for name in found if re.fullmatch(r"[^\W\d]\w*", name)}


def _is_telling(name: str) -> bool:
    return not _COMMON.fullmatch(name)


def _name_of(node: Node) -> Node | None:
    name = node.child_by_field_name("name")
    while name is None:
        # C and its kin hide the name in declarators.
        declarator = node.child_by_field_name("declarator")
        if declarator is None:
            return None
        node = declarator
        name = node.child_by_field_name("name")
        if node.child_count == 0:
            return node
    return name


def uses_of(reading: Reading, names: set[str]) -> list[tuple[int, int]]:
    """Return where the text uses one of the names, for those it uses just once.

    What it imports does not count as a use.
    """
    imported = _imports(reading)
    uses = []
    counts: Counter[str] = Counter()
    for start, end in reading.names:
        name = reading.text[start:end]
        if name not in names or not _is_telling(name):
            continue
        if any(begin <= start < stop for begin, stop in imported):
            continue
        counts[name] += 1
        uses.append((start, end))
    # A comment that names it gives it away as well.
    words = Counter(re.findall(r"\w+", reading.text))
    return [
        (start, end)
        for start, end in uses
        if counts[name := reading.text[start:end]] == 1
        and words[name] == 1 + _num_within(reading, name, imported)
    ]


def _num_within(reading: Reading, name: str, spans: Sequence[tuple[int, int]]) -> int:
    return sum(
        len(re.findall(rf"\b{re.escape(name)}\b", reading.text[start:end]))
        for start, end in spans
    )


def _imports(reading: Reading) -> list[tuple[int, int]]:
    if reading.tree is None:
        return []
    found = []
    pending = [reading.tree.root_node]
    while pending:
        node = pending.pop()
        if node.is_named and _IMPORT.search(node.type):
            found.append(reading.span(node))
        else:
            pending.extend(node.children)
    return found
