"""The open documents and notebooks of a session, found by URI."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote

from lsp_stablecode.documents import Document, PositionEncoding, Range
from lsp_stablecode.errors import DocumentNotOpenError

Change: TypeAlias = tuple[Range | None, str]
"""The range to replace (``None``: the whole document) and its new text."""

DocumentItem: TypeAlias = tuple[str, str, int | None, str]
"""``(uri, language_id, version, text)`` of a document or a cell, as it is opened."""


@dataclass
class Notebook:
    """An open notebook: its cells, in order, are documents of the store."""

    uri: str
    notebook_type: str
    cell_uris: list[str]


class DocumentStore:
    """The open documents and notebooks, found by any spelling of their URI.

    Iterating gives the documents, cells included, the most recently opened, changed
    or asked for first.
    """

    def __init__(self, encoding: PositionEncoding = PositionEncoding.UTF16) -> None:
        self.encoding = encoding
        self._documents: dict[str, Document] = {}
        self._notebooks: dict[str, Notebook] = {}
        # By the keys of the cells: it is asked of every document at every key typed.
        self._notebook_of_cell: dict[str, Notebook] = {}

    def __len__(self) -> int:
        return len(self._documents)

    def __contains__(self, uri: str) -> bool:
        return uri_key(uri) in self._documents

    def __iter__(self) -> Iterator[Document]:
        # A copy, since whoever iterates may well ``get``, which changes the order.
        return reversed(list(self._documents.values()))

    def open(
        self, uri: str, language_id: str, version: int | None, text: str
    ) -> Document:
        """Take in a document; one that is open already is replaced."""
        self.close(uri)
        document = Document(uri, language_id, version, text, self.encoding)
        self._documents[uri_key(uri)] = document
        return document

    def get(self, uri: str) -> Document:
        """Return an open document, which becomes the most recently used.

        Raises ``DocumentNotOpenError``.
        """
        key = uri_key(uri)
        document = self._documents.pop(key, None)
        if document is None:
            raise _not_open(uri)
        self._documents[key] = document
        return document

    def change(
        self, uri: str, version: int | None, changes: Iterable[Change]
    ) -> Document:
        """Apply changes in their order; any ``version`` is accepted and recorded.

        Raises ``DocumentNotOpenError``.
        """
        document = self.get(uri)
        for range_, text in changes:
            document.apply_change(range_, text)
        document.version = version
        return document

    def close(self, uri: str) -> Document | None:
        """Forget a document and return it; one that is not open is no error."""
        return self._documents.pop(uri_key(uri), None)

    def open_notebook(
        self, uri: str, notebook_type: str, cells: Iterable[DocumentItem]
    ) -> Notebook:
        """Take in a notebook and its cells, in order."""
        self.close_notebook(uri)
        cell_uris = [self.open(*cell).uri for cell in cells]
        notebook = Notebook(uri, notebook_type, cell_uris)
        self._notebooks[uri_key(uri)] = notebook
        self._note_cells(notebook)
        return notebook

    def change_cells(
        self,
        uri: str,
        start: int,
        delete_count: int,
        cell_uris: Sequence[str] = (),
        *,
        opened: Iterable[DocumentItem] = (),
        closed: Iterable[str] = (),
    ) -> None:
        """Replace ``delete_count`` cells from ``start`` by ``cell_uris``.

        As in LSP's ``NotebookDocumentCellChangeStructure``, a cell that only moves is
        neither in ``opened`` nor in ``closed``. Raises ``DocumentNotOpenError``.
        """
        notebook = self.notebook(uri)
        start = max(start, 0)
        self._forget_cells(notebook)
        notebook.cell_uris[start : start + max(delete_count, 0)] = cell_uris
        self._note_cells(notebook)
        for cell_uri in closed:
            self.close(cell_uri)
        for cell in opened:
            self.open(*cell)

    def close_notebook(self, uri: str) -> None:
        """Forget a notebook and its cells; one that is not open is no error."""
        notebook = self._notebooks.pop(uri_key(uri), None)
        if notebook is None:
            return
        self._forget_cells(notebook)
        for cell_uri in notebook.cell_uris:
            self.close(cell_uri)

    def notebook(self, uri: str) -> Notebook:
        """Return an open notebook. Raises ``DocumentNotOpenError``."""
        notebook = self._notebooks.get(uri_key(uri))
        if notebook is None:
            raise _not_open(uri)
        return notebook

    def notebook_of(self, cell_uri: str) -> Notebook | None:
        """Return the notebook that a document is a cell of."""
        return self._notebook_of_cell.get(uri_key(cell_uri))

    def _note_cells(self, notebook: Notebook) -> None:
        for cell_uri in notebook.cell_uris:
            self._notebook_of_cell[uri_key(cell_uri)] = notebook

    def _forget_cells(self, notebook: Notebook) -> None:
        for cell_uri in notebook.cell_uris:
            key = uri_key(cell_uri)
            if self._notebook_of_cell.get(key) is notebook:
                del self._notebook_of_cell[key]

    def notebook_context(self, cell_uri: str) -> tuple[list[str], list[str]]:
        """Texts of the cells before and after a cell, in the notebook's order.

        Only cells in the cell's own language: prose and, say, SQL would end up in
        the middle of the program. A document that is no cell has no such context.
        Raises ``DocumentNotOpenError``.
        """
        document = self.get(cell_uri)
        notebook = self.notebook_of(cell_uri)
        if notebook is None:
            return [], []
        keys = [uri_key(uri) for uri in notebook.cell_uris]
        index = keys.index(uri_key(cell_uri))

        def texts(keys: list[str]) -> list[str]:
            cells = [self._documents[key] for key in keys if key in self._documents]
            return [c.text for c in cells if c.language_id == document.language_id]

        return texts(keys[:index]), texts(keys[index + 1 :])


def uri_key(uri: str) -> str:
    """Make one key of a URI's spellings: VS Code sends ``c%3A`` here, ``c:`` there."""
    return unquote(uri, errors="surrogateescape")


def _not_open(uri: str) -> DocumentNotOpenError:
    return DocumentNotOpenError(
        f"{uri} is not open.", hint="Close it in the editor and open it again."
    )
