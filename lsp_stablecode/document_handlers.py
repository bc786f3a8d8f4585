"""Documents and notebooks, from the protocol into the session's store."""

from __future__ import annotations

from collections.abc import Sequence

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from lsp_stablecode.document_store import DocumentItem
from lsp_stablecode.session import Session
from lsp_stablecode.wire import position_of


def register_documents(server: LanguageServer, session: Session) -> None:
    """Keep the session's documents as the editor has them."""
    documents = session.documents

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenTextDocumentParams) -> None:
        documents.open(*_item(params.text_document))

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeTextDocumentParams) -> None:
        _change(params.text_document, params.content_changes)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        _close(params.text_document.uri)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    def did_open_notebook(params: types.DidOpenNotebookDocumentParams) -> None:
        notebook = params.notebook_document
        cells = {one.uri: _item(one) for one in params.cell_text_documents}
        order = [one.document for one in notebook.cells if one.document in cells]
        documents.open_notebook(
            notebook.uri, notebook.notebook_type, [cells[uri] for uri in order]
        )

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def did_change_notebook(params: types.DidChangeNotebookDocumentParams) -> None:
        cells = params.change.cells
        if cells is None:
            return
        if cells.structure is not None:
            array = cells.structure.array
            # First: a cell whose language changes is closed and opened at once.
            for cell in cells.structure.did_close or ():
                _close(cell.uri)
            documents.change_cells(
                params.notebook_document.uri,
                array.start,
                array.delete_count,
                [one.document for one in array.cells or ()],
                opened=[_item(one) for one in cells.structure.did_open or ()],
            )
        for text in cells.text_content or ():
            _change(text.document, text.changes)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def did_close_notebook(params: types.DidCloseNotebookDocumentParams) -> None:
        for cell in params.cell_text_documents:
            _close(cell.uri)
        documents.close_notebook(params.notebook_document.uri)

    def _item(document: types.TextDocumentItem) -> DocumentItem:
        return (document.uri, document.language_id, document.version, document.text)

    def _change(
        document: types.VersionedTextDocumentIdentifier,
        changes: Sequence[types.TextDocumentContentChangeEvent],
    ) -> None:
        edits = [
            (
                (position_of(change.range.start), position_of(change.range.end))
                if isinstance(change, types.TextDocumentContentChangePartial)
                else None,
                change.text,
            )
            for change in changes
        ]
        changed = documents.change(document.uri, document.version, edits)
        session.note_edit(changed, edits)

    def _close(uri: str) -> None:
        closed = documents.close(uri)
        if closed is not None:
            session.note_close(closed.uri)
