"""Between LSP's types and ours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lsprotocol import types
from pygls.capabilities import ServerCapabilitiesBuilder

from lsp_stablecode.documents import Document, PositionEncoding
from lsp_stablecode.files import path_of
from lsp_stablecode.items import Item, Position
from lsp_stablecode.settings import Settings

SECTION = "lsp-stablecode"
ACCEPTED = f"{SECTION}.accepted"

_LAST_WORD = re.compile(r"\w*\Z")


def choose_encoding(capabilities: types.ClientCapabilities) -> PositionEncoding:
    """Return the encoding pygls will advertise: the client's first that we know."""
    chosen = ServerCapabilitiesBuilder.choose_position_encoding(capabilities)
    return PositionEncoding(str(getattr(chosen, "value", chosen)))


def wants_plain_completion(
    capabilities: types.ClientCapabilities, settings: Settings
) -> bool:
    """Whether ``textDocument/completion`` should be offered to this client."""
    if settings.completion_fallback != "auto":
        return settings.completion_fallback == "always"
    document = capabilities.text_document
    return document is None or document.inline_completion is None


def workspace_folders(params: types.InitializeParams) -> list[Path]:
    """Return the folders that exclude globs are relative to."""
    uris = [one.uri for one in params.workspace_folders or ()]
    if not uris and params.root_uri:
        uris = [params.root_uri]
    return [path for uri in uris if (path := path_of(uri)) is not None]


def position_of(position: types.Position) -> Position:
    """Return a wire position as a pair."""
    return position.line, position.character


def range_of(item: Item) -> types.Range:
    """Return the range an item replaces, on one line."""
    return types.Range(start=types.Position(*item.start), end=types.Position(*item.end))


def accepted_command(item: Item) -> types.Command:
    """Return the command an editor runs when the item was accepted."""
    return types.Command(
        title="Suggestion accepted", command=ACCEPTED, arguments=[item.identifier]
    )


def inline_list(items: Sequence[Item]) -> types.InlineCompletionList:
    """Return items as ghost text is answered."""
    return types.InlineCompletionList(
        items=[
            types.InlineCompletionItem(
                insert_text=one.text, range=range_of(one), command=accepted_command(one)
            )
            for one in items
        ]
    )


def completion_item(item: Item, document: Document) -> types.CompletionItem:
    """Return an item for a pop-up menu.

    Menus filter by the word before the cursor, so the item brings that word along.
    """
    line, column = document.locate(*item.start)
    word = _LAST_WORD.findall(document.line_text(line)[:column])[0]
    start = types.Position(line, document.character_at(line, column - len(word)))
    text = word + item.text
    first_line = text.strip().splitlines()[0] if text.strip() else text
    return types.CompletionItem(
        label=first_line,
        kind=types.CompletionItemKind.Text,
        detail="lsp-stablecode",
        documentation=text if "\n" in text else None,
        filter_text=text,
        # After other servers' items only when equal: a menu sorts by its own score.
        sort_text="~",
        insert_text_format=types.InsertTextFormat.PlainText,
        insert_text_mode=types.InsertTextMode.AsIs,
        text_edit=types.TextEdit(
            range=types.Range(start=start, end=types.Position(*item.end)), new_text=text
        ),
        command=accepted_command(item),
    )
