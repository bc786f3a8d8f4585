"""What a node of a syntax tree is called, and whose member that makes it."""

from __future__ import annotations

import re

from tree_sitter import Node

from lsp_stablecode.context.words import word_set

_NAME_HOLDERS = word_set(
    "variable_declarator variable_declaration assignment_statement const_element "
    "property_element object_reference const_spec variable_list identifier constant "
    "simple_identifier type_identifier name word argument_list simple_symbol "
    "simple_enum_case variable_name type_spec variable_assignment"
)
_WHOLE_NAMES = ("identifier", "_name", "member_expression", "index_expression")
_LAST_NAME = re.compile(r"[#\w$?!-]+$|[^\W\d][\w$]*(?=\W*$)")


def text_of(node: Node | None) -> str:
    """Return a node's text; nothing for no node."""
    if node is None or node.text is None:
        return ""
    return node.text.decode("utf-8", "replace")


def last_name(qualified: str) -> str:
    """Return the name alone of one that may be qualified or decorated."""
    match = _LAST_NAME.search(qualified.strip())
    return match[0] if match else ""


def name_of(node: Node, language_id: str) -> str:
    """Return a definition's name as it stands there, perhaps qualified."""
    if language_id == "css":
        return text_of(node.named_children[0]) if node.named_children else ""
    if language_id == "html":
        return _attribute(text_of(node))
    if node.type == "init_declaration":
        return "init"
    for _ in range(8):
        named = None
        for field in ("name", "declarator", "left", "pattern", "property"):
            named = node.child_by_field_name(field)
            if named is not None:
                break
        if named is None:
            named = next(
                (one for one in node.named_children if one.type in _NAME_HOLDERS),
                None,
            )
        if named is None:
            break
        node = named
        if node.type.endswith(_WHOLE_NAMES) or not node.named_children:
            break
    else:
        return ""
    return text_of(node).split("(")[0].split("<")[0]


def owner_of(node: Node, qualified: str, language_id: str) -> str:
    """Return the type that a definition outside of it says it belongs to."""
    receiver = node.child_by_field_name("receiver")
    if receiver is not None and language_id == "go":
        return last_name(re.sub(r"\[.*", "", text_of(receiver)).rstrip(") "))
    if language_id in ("css", "html"):
        return ""
    parts = [one for one in re.split(r"::|[.:]", qualified) if one]
    if len(parts) > 1 and language_id != "sql":
        parts = [one for one in parts[:-1] if one != "prototype"]
        return "" if parts[-1:] == ["exports"] else last_name(parts[-1])
    return ""


def _attribute(tag: str) -> str:
    match = re.search(r"\bid=[\"']?([\w-]+)", tag) or re.search(
        r"\bclass=[\"']?([\w-]+)", tag
    )
    return match[1] if match else ""
