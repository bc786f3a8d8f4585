"""What a source defines: names, line ranges and signatures, read from its tree.

A *signature* is what somebody who only uses a definition needs of it: a function's
header, a type's header and its public members' signatures. It is made of the
source's own words, so that a model that has read much code reads it as code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tree_sitter import Node

from lsp_stablecode.context.names import last_name, name_of, owner_of, text_of
from lsp_stablecode.context.node_types import NODE_TYPES, NodeTypes
from lsp_stablecode.context.signatures import (
    MOST_TYPE_CHARACTERS,
    dedented,
    doc_line,
    docstring,
    header_of,
    value_of,
)
from lsp_stablecode.context.words import word_set
from lsp_stablecode.trees import parse

_MOST_DEPTH = 10


@dataclass(frozen=True, slots=True)
class Definition:
    """One definition; lines count from 0 and include the last.

    ``kind`` is ``function``, ``type`` or ``value``. ``container`` is the type it is a
    member of, or the namespace it stands in; ``is_member`` tells which. ``header`` is
    the first part of the signature: for a type, without its members. ``doc`` is the
    first line of what its comment or docstring says, perhaps nothing.
    """

    name: str
    kind: str
    container: str
    first_line: int
    last_line: int
    header: str
    signature: str
    doc: str = ""
    is_member: bool = False
    is_public: bool = True


def definitions(text: str, language_id: str) -> tuple[Definition, ...]:
    """Return what a source defines, in its order, members after their type.

    Nothing where the language has no grammar. Functions inside functions are not
    looked for: nobody else can use them.
    """
    types = NODE_TYPES.get(language_id)
    tree = parse(text, language_id) if types is not None else None
    if types is None or tree is None:
        return ()
    reader = _Reader(language_id, types)
    return tuple(reader.read(tree.root_node, "", is_member=False))


class _Reader:
    """Reads one tree."""

    def __init__(self, language_id: str, types: NodeTypes) -> None:
        self._language_id = language_id
        self._types = types

    def read(
        self, parent: Node, container: str, *, is_member: bool, depth: int = 0
    ) -> Iterator[Definition]:
        """Yield the definitions among a node's children and what they hold."""
        types, is_public, doc_node = self._types, True, None
        for node in parent.named_children:
            kind = node.type
            if "comment" in kind:
                follows = doc_node is not None and _touches(doc_node, node)
                doc_node = doc_node if follows else node
                continue
            if is_member:
                is_public = self._visibility(node, is_public)
            start = node
            while kind in types.wrappers:
                inner = self._wrapped(node)
                if inner is None:
                    break
                node, kind = inner, inner.type
            if kind in types.wrappers:
                # `const (A = 1; B = 2)`, `let a = 1, b = 2`
                keyword = text_of(start).split(None, 1)[0] + " "
                for one in node.named_children:
                    for found in self._definition(
                        one, one, container, is_member, is_public
                    ):
                        header = keyword + found.header
                        yield replace(found, header=header, signature=header)
            elif kind in types.through or kind == "ERROR":
                if depth < _MOST_DEPTH:
                    within = container
                    if kind in _NAMESPACES:
                        named = node.child_by_field_name("name")
                        within = last_name(text_of(named)) or container
                    body = node.child_by_field_name("body") or node
                    yield from self.read(
                        body, within, is_member=is_member, depth=depth + 1
                    )
            else:
                doc = doc_line(text_of(doc_node)) if doc_node is not None else ""
                yield from self._definition(
                    node, start, container, is_member, is_public, doc, depth
                )
            doc_node = None

    def _wrapped(self, node: Node) -> Node | None:
        """Return the one definition that a wrapper stands around."""
        inner = [
            one
            for one in node.named_children
            if one.type in self._known and "comment" not in one.type
        ]
        return inner[0] if len(inner) == 1 else None

    @property
    def _known(self) -> frozenset[str]:
        types = self._types
        return (
            types.functions
            | types.types
            | types.values
            | types.wrappers
            | types.through
            | types.lambda_values
        )

    def _definition(
        self,
        node: Node,
        start: Node,
        container: str,
        is_member: bool,
        is_public: bool,
        doc: str = "",
        depth: int = 0,
    ) -> Iterator[Definition]:
        types, kind = self._types, node.type
        if kind in types.types:
            yield from self._type(node, start, container, is_public, doc, depth)
            return
        body, name = self._body(node), ""
        if kind in types.functions:
            role = "function"
        elif kind in types.values or kind in types.lambda_values:
            holder = self._lambda(node)
            if holder is not None:
                role, body = "function", self._body(holder)
            elif kind in types.values and self._is_worth_it(node):
                role = "function" if _is_prototype(node) else "value"
            else:
                return
        else:
            return
        qualified = name_of(node, self._language_id)
        name = last_name(qualified)
        if not name:
            return
        owner = owner_of(node, qualified, self._language_id)
        header = (
            header_of(start, node, body, self._language_id, types)
            if role == "function"
            else value_of(start, node)
        )
        if self._language_id == "python" and role == "function" and body is not None:
            doc = docstring(body)
        yield Definition(
            name=name,
            kind=role,
            container=owner or container,
            first_line=start.start_point.row,
            last_line=_last_line(node),
            header=header,
            signature=header,
            doc=doc,
            is_member=is_member or bool(owner),
            is_public=is_public and not self._is_private(name, header),
        )

    def _type(
        self,
        node: Node,
        start: Node,
        container: str,
        is_public: bool,
        doc: str,
        depth: int,
    ) -> Iterator[Definition]:
        body = self._body(node)
        if body is None and self._language_id in ("c", "cpp"):
            return  # `struct shape *next;` only mentions it
        field = node.child_by_field_name("type") if node.type == "impl_item" else None
        name = last_name(
            text_of(field) if field is not None else name_of(node, self._language_id)
        )
        if node.type == "companion_object":
            name = container
        header = header_of(start, node, body, self._language_id, self._types)
        members: list[Definition] = []
        if body is not None and depth < _MOST_DEPTH:
            members = list(self.read(body, name, is_member=True, depth=depth + 1))
            if self._language_id == "python":
                doc = docstring(body)
        if name:
            yield Definition(
                name=name,
                kind="type",
                container=container,
                first_line=start.start_point.row,
                last_line=_last_line(node),
                header=header,
                signature=_type_signature(node, start, name, header, members),
                doc=doc,
                is_public=is_public and not self._is_private(name, header),
            )
        yield from members

    def _body(self, node: Node) -> Node | None:
        body = node.child_by_field_name("body")
        if body is not None:
            return body
        for child in reversed(node.named_children):
            if child.type in self._types.bodies:
                return child
        return None

    def _lambda(self, node: Node) -> Node | None:
        """Return the function without a name that a value is, if it is one."""
        if not self._types.lambdas:
            return None
        for _ in range(3):
            value = node.child_by_field_name("value") or node.child_by_field_name(
                "right"
            )
            if value is None and node.named_children:
                value = node.named_children[-1]
            if value is None:
                return None
            if value.type in self._types.lambdas:
                return value
            node = value
        return None

    def _is_worth_it(self, node: Node) -> bool:
        """Tell whether a value is one that others may use."""
        match self._language_id, node.type:
            case "html", _:
                return re.search(rb"\b(?:id|class)=", node.text or b"") is not None
            case "ruby", "call":
                return (node.text or b"").startswith(b"attr_")
            case "ruby" | "python", "assignment":
                left = node.child_by_field_name("left")
                return left is not None and left.type in ("identifier", "constant")
            case "c" | "cpp", "preproc_def":
                # what guards a header has no value
                return node.child_by_field_name("value") is not None
        return True

    def _visibility(self, node: Node, is_public: bool) -> bool:
        """Follow the marks that make what comes after them public or private."""
        if node.type == "access_specifier":
            return (node.text or b"").strip() == b"public"
        if self._language_id == "ruby" and node.type == "identifier":
            return node.text not in (b"private", b"protected")
        return is_public

    def _is_private(self, name: str, header: str) -> bool:
        if name.startswith(("_", "#")) and self._language_id in _UNDERSCORED:
            return not (name.startswith("__") and name.endswith("__"))
        return re.match(r"(?:\w+ )*?(?:private|fileprivate)\b", header) is not None


_UNDERSCORED = word_set(
    "python javascript javascriptreact typescript typescriptreact lua"
)
_NAMESPACES = word_set(
    "namespace_definition namespace_declaration internal_module module mod_item "
    "file_scoped_namespace_declaration package_object"
)


def _last_line(node: Node) -> int:
    row, column = node.end_point
    return row - (column == 0 and row > node.start_point.row)


def _is_prototype(node: Node) -> bool:
    declarator = node.child_by_field_name("declarator")
    while declarator is not None:
        if declarator.type == "function_declarator":
            return True
        declarator = declarator.child_by_field_name("declarator")
    return False


def _touches(above: Node, below: Node) -> bool:
    return below.start_point.row - above.end_point.row <= 1


def _type_signature(
    node: Node,
    start: Node,
    name: str,
    header: str,
    members: list[Definition],
) -> str:
    """Return a type's header and its public members', or all of it if it is short."""
    own = [one for one in members if one.container == name]
    size = node.end_byte - start.start_byte
    computes = any(one.kind == "function" for one in own)
    if size <= MOST_TYPE_CHARACTERS and not computes:
        return dedented(start, node)
    lines = [header]
    length = len(header)
    for one in own:
        line = "    " + one.header.replace("\n", "\n    ")
        length += len(line)
        if length > MOST_TYPE_CHARACTERS:
            lines.append("    ...")
            break
        if one.is_public:
            lines.append(line)
    return "\n".join(lines)
