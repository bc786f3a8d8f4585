"""Requests for suggestions, as ghost text and for a menu, and their answers."""

from __future__ import annotations

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from lsp_stablecode.copilot import indent_unit
from lsp_stablecode.items import Selected
from lsp_stablecode.protocol import InlineCompletionParams
from lsp_stablecode.session import Session
from lsp_stablecode.wire import (
    completion_item,
    inline_list,
    position_of,
    wants_plain_completion,
)


def register_inline_completion(server: LanguageServer, session: Session) -> None:
    """Answer ``textDocument/inlineCompletion``."""

    # Without options pygls would not advertise it.
    @server.feature(
        types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions()
    )
    async def inline_completion(
        params: InlineCompletionParams,
    ) -> types.InlineCompletionList:
        info = params.context.selected_completion_info
        selected = None
        if info is not None:
            selected = Selected(
                info.text, position_of(info.range.start), position_of(info.range.end)
            )
        items = await session.complete(
            params.text_document.uri,
            position_of(params.position),
            explicit=params.context.trigger_kind
            == types.InlineCompletionTriggerKind.Invoked,
            selected=selected,
            indent_unit=indent_unit(params.formatting_options),
        )
        return inline_list(items)


def register_plain_completion(server: LanguageServer, session: Session) -> None:
    """Answer ``textDocument/completion``; advertised before ``initialize`` ends."""

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions())
    async def completion(params: types.CompletionParams) -> types.CompletionList:
        if not wants_plain_completion(server.client_capabilities, session.settings):
            return types.CompletionList(is_incomplete=True, items=[])
        explicit = (
            params.context is None
            or params.context.trigger_kind == types.CompletionTriggerKind.Invoked
        )
        uri = params.text_document.uri
        items = await session.complete(
            uri, position_of(params.position), explicit=explicit, kind="menu"
        )
        if not items:
            return types.CompletionList(is_incomplete=True, items=[])
        document = session.documents.get(uri)
        return types.CompletionList(
            is_incomplete=True, items=[completion_item(one, document) for one in items]
        )
