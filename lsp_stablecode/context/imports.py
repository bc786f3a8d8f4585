"""What a document imports, and the workspace's files that this resolves to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lsp_stablecode.context.place import OpenText, Surroundings
from lsp_stablecode.context.ranking import Imported


class ImportFinder:
    """Finds and reads imported files."""

    def find(
        self, here: Surroundings, others: Sequence[OpenText]
    ) -> dict[Path, Imported]:
        """Return what a document imports, by file."""
        return {}

    def closed(
        self,
        imports: Mapping[Path, Imported],
        here: Surroundings,
        others: Sequence[OpenText],
    ) -> list[OpenText]:
        """Return the imported files that are not open, as they are on disk."""
        return []
