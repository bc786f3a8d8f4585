"""Definitions said in few words: headers, the beginnings of values, what docs say."""

from __future__ import annotations

import re

from tree_sitter import Node

from lsp_stablecode.context.names import text_of
from lsp_stablecode.context.node_types import NodeTypes
from lsp_stablecode.context.words import word_set

MOST_TYPE_CHARACTERS = 800
_MOST_SIGNATURE_CHARACTERS = 300
_MOST_VALUE_CHARACTERS = 100
_MOST_DOC_CHARACTERS = 100
_LONG_VALUES = word_set(
    "type_definition type_alias_declaration type_alias rule_set type_item"
)
_INITIALISERS = re.compile(r"\)\s*(?:noexcept\s*)?:\s.*$")
_ANNOTATIONS = re.compile(r"^(?:@[\w.]+(?:\([^()]*\))?\s+)+")
_ATTRIBUTES = re.compile(r"^(?:#?\[[^\]]*\]\s*)+")
_HEADER_END = re.compile(r"\s*(?:=>|=|\{|:)?\s*$")
_EMPTY_END = re.compile(r"(?:;|(?<=\)))\s*end$")
_BLANKS = re.compile(r"\s+")
_PADDING = re.compile(r"(?<=[(\[]) | (?=[)\]])|,(?= ?[)\]])")


def header_of(
    start: Node, node: Node, body: Node | None, language_id: str, types: NodeTypes
) -> str:
    """Return what stands before the body, on one line after its decorators."""
    end = node.end_byte
    if body is not None:
        last = body.prev_sibling
        while last is not None and "comment" in last.type:
            last = last.prev_sibling
        is_inside = last is not None and last.start_byte >= node.start_byte
        end = last.end_byte if last and is_inside else body.start_byte
    whole = _slice(start, end)
    decorators = ""
    if start.type == "decorated_definition":
        head = _slice(start, node.start_byte)
        whole = whole[len(head) :]
        short = (one.strip() for one in head.splitlines() if len(one) <= 40)
        decorators = "".join(
            f"{one}\n" for one in short if re.fullmatch(r"@[\w.]+", one)
        )
    elif language_id in ("java", "kotlin", "swift", "scala"):
        whole = _ANNOTATIONS.sub("", whole)
    elif language_id in ("csharp", "php"):
        whole = _ATTRIBUTES.sub("", whole)
    line = _one_line(whole)
    if body is not None:
        line = _HEADER_END.sub("", line)
        if language_id == "cpp" and node.type == "function_definition":
            line = _INITIALISERS.sub(")", line)
        line += ":" + types.end if language_id == "python" else ""
    elif language_id in ("ruby", "lua"):
        line = _EMPTY_END.sub("", line)
    if len(line) > _MOST_SIGNATURE_CHARACTERS:
        line = line[:_MOST_SIGNATURE_CHARACTERS] + "..."
    if node.type in types.types:
        line = line.removesuffix(types.end)
    return decorators + line


def value_of(start: Node, node: Node) -> str:
    """Return the beginning of a value's definition, on one line."""
    whole = _one_line(_slice(start, node.end_byte))
    most = _MOST_VALUE_CHARACTERS
    if node.type in _LONG_VALUES:
        most = _MOST_SIGNATURE_CHARACTERS
    return whole if len(whole) <= most else whole[:most] + "..."


def dedented(start: Node, node: Node) -> str:
    """Return the text from one node's start to another's end, at the left margin."""
    indent = start.start_point.column
    lines = _slice(start, node.end_byte).rstrip().splitlines()
    return "\n".join(
        line if not line[:indent].isspace() else line[indent:] for line in lines
    )


def docstring(body: Node) -> str:
    """Return the first line of the docstring in a body of Python."""
    first = body.named_children[0] if body.named_children else None
    if first is None or first.type != "expression_statement":
        return ""
    text = text_of(first).lstrip("rRbBuUfF")
    return doc_line(text) if text[:1] in "\"'" else ""


def doc_line(comment: str) -> str:
    """Return the first line that says something in a comment or docstring."""
    for line in comment.splitlines():
        said = re.sub(r"</?\w[^>]*>", "", line).strip().strip("/*#-\"'!<> \t")
        if said and not line.startswith("#!"):
            return said[:_MOST_DOC_CHARACTERS]
    return ""


def _slice(start: Node, end_byte: int) -> str:
    """Return the text from a node's start to a byte of the same source."""
    length = end_byte - start.start_byte
    node: Node | None = start
    while node is not None and node.end_byte < end_byte:
        node = node.parent
    if node is None or node.text is None:
        return text_of(start)
    offset = start.start_byte - node.start_byte
    return node.text[offset : offset + length].decode("utf-8", "replace")


def _one_line(text: str) -> str:
    return _PADDING.sub("", _BLANKS.sub(" ", text).strip())
