"""What an editor has open, where the user edits, and what of it a prompt may hold.

Lives on the event loop. A request takes a frozen picture of it, ``Surroundings``, to
the engine's thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lsp_stablecode.context.edits import RecentEdits
from lsp_stablecode.context.place import OpenText, Surroundings
from lsp_stablecode.context.privacy import Privacy
from lsp_stablecode.document_store import Change, DocumentStore
from lsp_stablecode.documents import Document
from lsp_stablecode.files import path_of

_MOST_OTHERS = 64


class Workspace:
    """The folders and open documents of one editor."""

    def __init__(self, exclude: tuple[str, ...] = ()) -> None:
        self.documents = DocumentStore()
        self.folders: list[Path] = []
        self._edits = RecentEdits()
        self._exclude = exclude
        # One for this thread and one for the engine's: they keep what they read.
        self._privacy = Privacy((), exclude)
        self._privacy_elsewhere = Privacy((), exclude)

    def exclude(self, globs: tuple[str, ...]) -> None:
        """Keep what matches the user's globs out of every prompt from now on."""
        self._exclude = globs

    def note_edit(self, document: Document, changes: Iterable[Change]) -> None:
        """Take in where a document was edited."""
        for range_, text in changes:
            if range_ is None:
                self._edits.forget(document.uri)
                continue
            (first, _), (last, _) = sorted(range_)
            added = text.count("\n") - (last - first)
            self._edits.note(document.uri, first, last, added)

    def note_close(self, uri: str) -> None:
        """Forget where a closed document was edited."""
        self._edits.forget(uri)

    def why_private(self, document: Document) -> str:
        """Return why a document stays out of prompts, or nothing."""
        self._renew_privacy()
        return self._privacy.reason(self._path_of(document))

    def surroundings(
        self, document: Document, line: int, prefix: str, suffix: str, *, explicit: bool
    ) -> Surroundings:
        """Return what is known of a place, for the engine's thread."""
        self._renew_privacy()
        notebook = self.documents.notebook_of(document.uri)
        own_uris = {document.uri, *(notebook.cell_uris if notebook else ())}
        others = [one for one in self.documents if one.uri not in own_uris]
        return Surroundings(
            uri=document.uri,
            path=self._path_of(document),
            language_id=document.language_id,
            prefix=prefix,
            suffix=suffix,
            line=line,
            explicit=explicit,
            others=tuple(
                OpenText(
                    one.uri, self._path_of(one), one.language_id, one.version, one.text
                )
                for one in others[:_MOST_OTHERS]
            ),
            edits=self._edits.regions,
            folders=self._privacy.folders,
            privacy=self._privacy_elsewhere,
        )

    def _path_of(self, document: Document) -> Path | None:
        notebook = self.documents.notebook_of(document.uri)
        return path_of(notebook.uri if notebook else document.uri)

    def _renew_privacy(self) -> None:
        wanted = tuple(self.folders), self._exclude
        if (self._privacy.folders, self._privacy.exclude) != wanted:
            self._privacy = Privacy(*wanted)
            self._privacy_elsewhere = Privacy(*wanted)
