"""Syntax trees by tree-sitter, from the official grammars, one wheel per language.

Offsets in a tree are bytes of UTF-8, as tree-sitter counts them. A grammar is loaded
when it is first needed; a language without one has no tree, and whoever asks goes by
lines instead.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from functools import cache

from tree_sitter import Language, Node, Parser, Tree

logger = logging.getLogger(__name__)

# LSP's language id to the grammar's module and its function.
_GRAMMARS: dict[str, tuple[str, str]] = {
    "bash": ("tree_sitter_bash", "language"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "css": ("tree_sitter_css", "language"),
    "go": ("tree_sitter_go", "language"),
    "html": ("tree_sitter_html", "language"),
    "java": ("tree_sitter_java", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "javascriptreact": ("tree_sitter_javascript", "language"),
    "kotlin": ("tree_sitter_kotlin", "language"),
    "lua": ("tree_sitter_lua", "language"),
    "php": ("tree_sitter_php", "language_php"),
    "python": ("tree_sitter_python", "language"),
    "ruby": ("tree_sitter_ruby", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "scala": ("tree_sitter_scala", "language"),
    "sh": ("tree_sitter_bash", "language"),
    "shellscript": ("tree_sitter_bash", "language"),
    "sql": ("tree_sitter_sql", "language"),
    "swift": ("tree_sitter_swift", "language"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "typescriptreact": ("tree_sitter_typescript", "language_tsx"),
    "zsh": ("tree_sitter_bash", "language"),
}


@cache
def grammar_of(language_id: str) -> Language | None:
    """Return the grammar of a language, ``None`` where there is none."""
    if language_id not in _GRAMMARS:
        return None
    module, function = _GRAMMARS[language_id]
    try:
        return Language(getattr(importlib.import_module(module), function)())
    except (ImportError, OSError, ValueError) as error:
        # A wheel that this platform lacks costs this language its trees, no more.
        logger.warning("no syntax trees for %s (%s)", language_id, error)
        return None


def parse(text: str, language_id: str) -> Tree | None:
    """Return the tree of a text, ``None`` where its language has no grammar."""
    grammar = grammar_of(language_id)
    if grammar is None:
        return None
    return Parser(grammar).parse(text.encode("utf-8", "replace"))


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all below it, in reading order."""
    cursor = node.walk()
    while True:
        current = cursor.node
        assert current is not None
        yield current
        if cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return


def errors(tree: Tree) -> list[tuple[int, int]]:
    """Return the byte ranges that the grammar could not read, outermost ones.

    What is missing has an empty range, where it should stand.
    """
    found: list[tuple[int, int]] = []
    pending = [tree.root_node]
    while pending:
        node = pending.pop()
        if node.is_error or node.is_missing:
            found.append((node.start_byte, node.end_byte))
        elif node.has_error:
            pending.extend(node.children)
    return sorted(found)
