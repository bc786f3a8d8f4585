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

from lsp_stablecode.context.node_types import NODE_TYPES, NodeTypes
from lsp_stablecode.context.words import word_set
from lsp_stablecode.trees import parse

_MOST_SIGNATURE_CHARACTERS = 300
_MOST_TYPE_CHARACTERS = 800
_MOST_VALUE_CHARACTERS = 100
_MOST_DOC_CHARACTERS = 100
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
                keyword = _text(start).split(None, 1)[0] + " "
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
                        within = _last_name(_text(named)) or container
                    body = node.child_by_field_name("body") or node
                    yield from self.read(
                        body, within, is_member=is_member, depth=depth + 1
                    )
            else:
                doc = _doc_line(_text(doc_node)) if doc_node is not None else ""
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
        qualified = self._name(node)
        name = _last_name(qualified)
        if not name:
            return
        owner = self._owner(node, qualified)
        header = (
            self._header(start, node, body)
            if role == "function"
            else self._value(start, node)
        )
        if self._language_id == "python" and role == "function" and body is not None:
            doc = _docstring(body)
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
        name = _last_name(_text(field) if field is not None else self._name(node))
        if node.type == "companion_object":
            name = container
        header = self._header(start, node, body)
        members: list[Definition] = []
        if body is not None and depth < _MOST_DEPTH:
            members = list(self.read(body, name, is_member=True, depth=depth + 1))
            if self._language_id == "python":
                doc = _docstring(body)
        if name:
            yield Definition(
                name=name,
                kind="type",
                container=container,
                first_line=start.start_point.row,
                last_line=_last_line(node),
                header=header,
                signature=self._type_signature(node, start, name, header, members),
                doc=doc,
                is_public=is_public and not self._is_private(name, header),
            )
        yield from members

    def _type_signature(
        self,
        node: Node,
        start: Node,
        name: str,
        header: str,
        members: list[Definition],
    ) -> str:
        own = [one for one in members if one.container == name]
        size = node.end_byte - start.start_byte
        computes = any(one.kind == "function" for one in own)
        if size <= _MOST_TYPE_CHARACTERS and not computes:
            return _dedented(start, node)
        lines = [header]
        length = len(header)
        for one in own:
            line = "    " + one.header.replace("\n", "\n    ")
            length += len(line)
            if length > _MOST_TYPE_CHARACTERS:
                lines.append("    ...")
                break
            if one.is_public:
                lines.append(line)
        return "\n".join(lines)

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

    def _name(self, node: Node) -> str:
        """Return a definition's name as it stands there, perhaps qualified."""
        if self._language_id == "css":
            return _text(node.named_children[0]) if node.named_children else ""
        if self._language_id == "html":
            return _attribute(_text(node))
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
        return _text(node).split("(")[0].split("<")[0]

    def _owner(self, node: Node, qualified: str) -> str:
        receiver = node.child_by_field_name("receiver")
        if receiver is not None and self._language_id == "go":
            return _last_name(re.sub(r"\[.*", "", _text(receiver)).rstrip(") "))
        if self._language_id in ("css", "html"):
            return ""
        parts = [one for one in re.split(r"::|[.:]", qualified) if one]
        if len(parts) > 1 and self._language_id != "sql":
            parts = [one for one in parts[:-1] if one != "prototype"]
            return "" if parts[-1:] == ["exports"] else _last_name(parts[-1])
        return ""

    def _header(self, start: Node, node: Node, body: Node | None) -> str:
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
        elif self._language_id in ("java", "kotlin", "swift", "scala"):
            whole = _ANNOTATIONS.sub("", whole)
        elif self._language_id in ("csharp", "php"):
            whole = _ATTRIBUTES.sub("", whole)
        line = _one_line(whole)
        if body is not None:
            line = _HEADER_END.sub("", line)
            if self._language_id == "cpp" and node.type == "function_definition":
                line = _INITIALISERS.sub(")", line)
            line += ":" + self._types.end if self._language_id == "python" else ""
        elif self._language_id in ("ruby", "lua"):
            line = _EMPTY_END.sub("", line)
        if len(line) > _MOST_SIGNATURE_CHARACTERS:
            line = line[:_MOST_SIGNATURE_CHARACTERS] + "..."
        if node.type in self._types.types:
            line = line.removesuffix(self._types.end)
        return decorators + line

    def _value(self, start: Node, node: Node) -> str:
        whole = _one_line(_slice(start, node.end_byte))
        most = _MOST_VALUE_CHARACTERS
        if node.type in _LONG_VALUES:
            most = _MOST_SIGNATURE_CHARACTERS
        return whole if len(whole) <= most else whole[:most] + "..."


_NAME_HOLDERS = word_set(
    "variable_declarator variable_declaration assignment_statement const_element "
    "property_element object_reference const_spec variable_list identifier constant "
    "simple_identifier type_identifier name word argument_list simple_symbol "
    "simple_enum_case variable_name type_spec variable_assignment"
)
_WHOLE_NAMES = ("identifier", "_name", "member_expression", "index_expression")
_UNDERSCORED = word_set(
    "python javascript javascriptreact typescript typescriptreact lua"
)
_NAMESPACES = word_set(
    "namespace_definition namespace_declaration internal_module module mod_item "
    "file_scoped_namespace_declaration package_object"
)
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
_LAST_NAME = re.compile(r"[#\w$?!-]+$|[^\W\d][\w$]*(?=\W*$)")


def _slice(start: Node, end_byte: int) -> str:
    """Return the text from a node's start to a byte of the same source."""
    length = end_byte - start.start_byte
    node: Node | None = start
    while node is not None and node.end_byte < end_byte:
        node = node.parent
    if node is None or node.text is None:
        return _text(start)
    offset = start.start_byte - node.start_byte
    return node.text[offset : offset + length].decode("utf-8", "replace")


def _text(node: Node | None) -> str:
    if node is None or node.text is None:
        return ""
    return node.text.decode("utf-8", "replace")


def _last_line(node: Node) -> int:
    row, column = node.end_point
    return row - (column == 0 and row > node.start_point.row)


def _dedented(start: Node, node: Node) -> str:
    indent = start.start_point.column
    lines = _slice(start, node.end_byte).rstrip().splitlines()
    return "\n".join(
        line if not line[:indent].isspace() else line[indent:] for line in lines
    )


def _one_line(text: str) -> str:
    return _PADDING.sub("", _BLANKS.sub(" ", text).strip())


def _last_name(qualified: str) -> str:
    match = _LAST_NAME.search(qualified.strip())
    return match[0] if match else ""


def _attribute(tag: str) -> str:
    match = re.search(r"\bid=[\"']?([\w-]+)", tag) or re.search(
        r"\bclass=[\"']?([\w-]+)", tag
    )
    return match[1] if match else ""


def _is_prototype(node: Node) -> bool:
    declarator = node.child_by_field_name("declarator")
    while declarator is not None:
        if declarator.type == "function_declarator":
            return True
        declarator = declarator.child_by_field_name("declarator")
    return False


def _docstring(body: Node) -> str:
    first = body.named_children[0] if body.named_children else None
    if first is None or first.type != "expression_statement":
        return ""
    text = _text(first).lstrip("rRbBuUfF")
    return _doc_line(text) if text[:1] in "\"'" else ""


def _doc_line(comment: str) -> str:
    """Return the first line that says something in a comment or docstring."""
    for line in comment.splitlines():
        said = re.sub(r"</?\w[^>]*>", "", line).strip().strip("/*#-\"'!<> \t")
        if said and not line.startswith("#!"):
            return said[:_MOST_DOC_CHARACTERS]
    return ""


def _touches(above: Node, below: Node) -> bool:
    return below.start_point.row - above.end_point.row <= 1
