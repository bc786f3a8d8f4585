"""What an editor has open, where the user edits, and what of it a prompt may hold.

Lives on the event loop and looks at no file. A request takes a frozen picture of it,
``Surroundings``, to the thread that does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from lsp_stablecode.context.edits import RecentEdits
from lsp_stablecode.context.place import OpenText, Surroundings
from lsp_stablecode.context.privacy import Privacy, path_within, scheme_of
from lsp_stablecode.document_store import Change, DocumentStore
from lsp_stablecode.documents import Document
from lsp_stablecode.files import path_of

_MOST_OTHERS = 64
# New documents, and cells whose notebook was not announced.
_SCHEMES_WRITTEN = frozenset({"untitled", "vscode-notebook-cell"})


class Workspace:
    """The folders and open documents of one editor."""

    def __init__(self, exclude: tuple[str, ...] = ()) -> None:
        self.documents = DocumentStore()
        self.folders: list[Path] = []
        self._edits = RecentEdits()
        self._exclude = exclude
        self._privacy = Privacy((), exclude)

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

    def why_private(self, document: Document) -> Callable[[], str]:
        """Return what finds out, on the files' thread, why a document stays out.

        Of prompts, that is; it returns nothing for one that may enter them.
        """
        self._renew_privacy()
        uri, privacy = self._uri_of_file(document), self._privacy
        path = path_of(uri)
        if path is None:
            return lambda: privacy.reason_by_name(path_within(uri))
        return lambda: privacy.reason(path)

    def surroundings(
        self, document: Document, line: int, prefix: str, suffix: str, *, explicit: bool
    ) -> Surroundings:
        """Return what is known of a place, for the files' thread."""
        self._renew_privacy()
        return Surroundings(
            uri=document.uri,
            path=path_of(self._uri_of_file(document)),
            language_id=document.language_id,
            prefix=prefix,
            suffix=suffix,
            line=line,
            explicit=explicit,
            others=tuple(islice(self._others(document), _MOST_OTHERS)),
            edits=self._edits.regions,
            folders=self._privacy.folders,
            privacy=self._privacy,
        )

    def _others(self, document: Document) -> Iterator[OpenText]:
        """Yield the documents that may tell something of another one's surroundings.

        Whether their names or files are private is asked where they are gathered.
        """
        own = self.documents.notebook_of(document.uri)
        for one in self.documents:
            notebook = self.documents.notebook_of(one.uri)
            if one.uri == document.uri or (own is not None and notebook is own):
                continue
            uri = notebook.uri if notebook else one.uri
            path = path_of(uri)
            # Old versions, answers of servers and other machines' files stay out:
            # nobody knows what is in them, and they were opened to be looked at.
            is_cell = uri != one.uri
            if path is None and not is_cell and scheme_of(uri) not in _SCHEMES_WRITTEN:
                continue
            name = path_within(uri) if path is None else path
            yield OpenText(one.uri, path, one.language_id, one.version, one.text, name)

    def _uri_of_file(self, document: Document) -> str:
        """Return the URI of a document, of a cell that of its notebook."""
        notebook = self.documents.notebook_of(document.uri)
        return notebook.uri if notebook else document.uri

    def _renew_privacy(self) -> None:
        wanted = tuple(self.folders), self._exclude
        if (self._privacy.folders, self._privacy.exclude) != wanted:
            self._privacy = Privacy(*wanted)
