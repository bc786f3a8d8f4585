from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_stablecode.lexis import _lexer, _spans, lex, mask
from lsp_stablecode.shape import Shape, decide_shape
from lsp_stablecode.syntax import SYNTAXES


def shape_at(document: str, language_id: str) -> Shape:
    """Decide for a document whose cursor is written ``¦``."""
    prefix, _, suffix = document.partition("¦")
    return decide_shape(prefix, suffix, language_id, "auto")


BLOCKS = [
    ("python", "def f(x):¦", "below-header"),
    ("python", "def f(x):\n    ¦\n", "below-header"),
    ("python", "def f(x):\n¦", "below-header"),
    ("python", "def f(x):\n    ¦\n\n\ndef g():\n    pass\n", "below-header"),
    ("python", "def f(\n    x,\n) -> int:\n    ¦", "below-header"),
    ("python", "def f(x,\n      y):\n    ¦", "below-header"),
    ("python", 'def f(x):\n    """What.\n\n    More.\n    """\n    ¦', "below-header"),
    ("python", "def f(x):\n    # first sort\n    ¦", "below-header"),
    ("python", "if a:\n    b()\n    ¦\nc()\n", "end-of-body"),
    ("python", "if a:\n    b()\n    ¦\nelse:\n    c()\n", "end-of-body"),
    ("python", "x = 1\n\n¦\n\n\ndef f():\n    pass\n", "before-blank"),
    ("python", "import os\n\n\n¦", "end-of-text"),
    ("python", "¦", "end-of-text"),
    ("python", "rows = [\n    ¦\n]\n", "below-bracket"),
    ("python", "call(¦", "below-bracket"),
    ("javascript", "function f(a) {¦", "below-bracket"),
    ("javascript", "function f(a) {¦}", "open-brace"),
    ("javascript", "items.map((a) => {¦})", "open-brace"),
    ("javascript", "if (a) {\n  ¦\n}\n", "below-bracket"),
    ("javascript", "// don't\nif (a) {\n¦\n}\n", "below-bracket"),
    ("typescript", "class A {\n  run(): void {\n    ¦\n  }\n}\n", "below-bracket"),
    (
        "java",
        "class A {\n    void run() {\n        a();\n        ¦\n    }\n}\n",
        "end-of-body",
    ),
    ("c", "int main(void)\n{\n    ¦\n}\n", "below-bracket"),
    ("cpp", "switch (a) {\n  case 1:¦\n", "below-label"),
    ("cpp", "class A {\n public:\n  ¦\n};\n", "below-label"),
    ("csharp", "void Run()\n{\n    ¦\n}\n", "below-bracket"),
    ("go", "func f() {\n\tswitch x {\n\t¦\n\t}\n}\n", "below-label"),
    ("rust", "fn first<'a>(x: &'a str) -> &'a str {¦", "below-bracket"),
    ("ruby", "def total(items)¦", "below-header"),
    ("ruby", "def total\n  ¦\nend\n", "below-header"),
    ("ruby", "items.each do |item|\n  ¦\nend\n", "below-header"),
    ("shellscript", "if true; then¦", "below-header"),
    ("shellscript", "for a in *; do\n  ¦\ndone\n", "below-header"),
    ("shellscript", "case $1 in\n  start)\n    ¦\nesac\n", "below-header"),
    ("lua", "local function f(a)\n  ¦\nend\n", "below-header"),
    ("lua", "if a then¦", "below-header"),
    ("kotlin", "fun f(a: Int): Int {\n    ¦\n}\n", "below-bracket"),
    ("swift", "func f(a: Int) -> Int {¦", "below-bracket"),
    ("php", "<?php\nfunction f($a) {\n    ¦\n}\n", "below-bracket"),
    ("html", "<ul>\n  ¦\n</ul>\n", "below-label"),
    ("css", ".card {¦}", "open-brace"),
    ("css", ".card {\n  ¦\n}\n", "below-bracket"),
    ("sql", "SELECT\n    ¦", "below-header"),
    ("yaml", "services:\n  ¦\n", "below-label"),
    ("markdown", "# Title\n\n¦\n", "end-of-text"),
]

LINES = [
    ("python", "x = ¦", "mid-line"),
    ("python", "x = 1¦\ny = 2\n", "mid-line"),
    ("python", "total = first + ¦\n", "mid-line"),
    ("python", "x = {'a':¦", "mid-line"),
    ("python", "x: ¦", "mid-line"),
    ("python", "a[1:¦", "mid-line"),
    ("python", "call(¦)", "closers-right"),
    ("python", "call(¦, b)", "text-right"),
    ("python", "x = ¦  # note", "text-right"),
    ("python", "# sort the ¦", "comment"),
    ("python", 'x = "abc ¦', "string"),
    ("python", 'x = "abc ¦"', "string"),
    ("python", 'def f():\n    """Return the ¦', "string"),
    ("python", 'def f():\n    """Return.\n\n    ¦\n    """\n', "string"),
    ("python", "while a:\n    if b:\n        return 1\n¦\n    c()\n", "gap"),
    ("python", "def f():\n    ¦\n    return x\n", "gap"),
    ("python", "a = 1\n¦\nb = 2\n", "gap"),
    ("python", "if a:\n    b()\n¦\n    c()\n", "gap"),
    ("python", "def f():¦\n    return 1\n", "body-below"),
    ("python", "¦import os\n", "insert-line"),
    ("python", "def f():\n    ¦return x\n", "insert-line"),
    ("javascript", "const a = {¦}", "closers-right"),
    ("javascript", "const a = {\n  b:¦", "mid-line"),
    ("javascript", "const s = `one ${two} ¦", "string"),
    ("javascript", "/* what\n * it ¦", "comment"),
    ("javascript", "const r = /['\"]/; call(a, ¦", "mid-line"),
    ("java", "        a();\n        ¦\n        b();\n", "gap"),
    ("c", "int x = ¦;", "closers-right"),
    ("ruby", "def tot¦", "mid-line"),
    ("ruby", 'puts "#{a} ¦', "string"),
    ("shellscript", "echo $# ¦", "mid-line"),
    ("lua", "-- what ¦", "comment"),
    ("html", "<p>don't ¦</p>", "text-right"),
    ("html", "<br>¦", "mid-line"),
    ("css", "  color:¦", "mid-line"),
    ("sql", "SELECT a, ¦", "mid-line"),
    ("yaml", "- a: 1\n  ¦\n  c: 2\n", "gap"),
    ("markdown", "It isn't ¦", "mid-line"),
]


@pytest.mark.parametrize(("language_id", "document", "reason"), BLOCKS)
def test_block(language_id: str, document: str, reason: str) -> None:
    """A body that is not there yet gets a block, in every language's own way."""
    shape = shape_at(document, language_id)
    assert (shape.kind, shape.reason) == ("block", reason)


@pytest.mark.parametrize(("language_id", "document", "reason"), LINES)
def test_line(language_id: str, document: str, reason: str) -> None:
    """A thought under way, or a gap in running code, gets one line."""
    shape = shape_at(document, language_id)
    assert (shape.kind, shape.reason) == ("line", reason)


@pytest.mark.parametrize(
    ("document", "indent", "indent_fixed", "opener_indent"),
    [
        ("def f():\n    ¦", 4, True, 0),
        ("def f():\n¦", 1, False, 0),
        ("def f():\n    for a in b:\n    ¦", 5, False, 4),
        ("class A:\n\tdef f(self):\n\t\t¦", 8, True, 4),
        ("def f(a,\n      b):\n    ¦", 4, True, 0),
        ("def f():\n    a = 1\n    ¦", 4, True, 0),
        ("def f():\n    a = 1\n¦", 0, False, -1),
    ],
)
def test_indentation(
    document: str, indent: int, indent_fixed: bool, opener_indent: int
) -> None:
    """The block keeps to what is typed, where that can be a body's column."""
    shape = shape_at(document, "python")
    assert shape.indent == indent
    assert shape.indent_fixed == indent_fixed
    assert shape.opener_indent == opener_indent


def test_settings_win() -> None:
    """``always`` and ``never`` are taken at their word."""
    assert decide_shape("x = ", " + y", "python", "always").kind == "block"
    assert decide_shape("def f():\n    ", "", "python", "never").kind == "line"


@pytest.mark.parametrize("line_end", ["\r\n", "\r"])
@pytest.mark.parametrize(("language_id", "document", "reason"), [*BLOCKS, *LINES])
def test_line_ends_do_not_matter(
    language_id: str, document: str, reason: str, line_end: str
) -> None:
    """A document with other line ends has the same shapes."""
    shape = shape_at(document.replace("\n", line_end), language_id)
    assert shape == shape_at(document, language_id)


def test_window_that_begins_inside_a_docstring() -> None:
    """Half a docstring at the window's start does not make code a string."""
    document = 'the rest of it.\n    """\n\n\ndef f():\n    a = 1\n    ¦'
    assert shape_at(document, "python").reason == "end-of-text"


fragments = st.sampled_from(
    [*"()[]{}\"'`:;,#/\\*- \t\n\r<>=|.", "\r\n", '"""', "def f", "if", "x", "/*", "é"]
)
patient = settings(deadline=None)  # other work may share the machine
texts = st.lists(fragments, max_size=40).map("".join)
languages = st.sampled_from([*SYNTAXES, "unknown"])


@patient
@given(texts, texts, languages)
def test_never_raises(prefix: str, suffix: str, language_id: str) -> None:
    """Any text at all has a shape, and the same one every time."""
    shape = decide_shape(prefix, suffix, language_id, "auto")
    assert shape == decide_shape(prefix, suffix, language_id, "auto")
    assert shape.kind in ("line", "block")
    assert shape.reason
    assert shape.indent >= 0


@patient
@given(texts, languages)
def test_mask_keeps_length_and_line_ends(text: str, language_id: str) -> None:
    """A masked text has every character's place, and its lines."""
    masked, _ = mask(text, language_id)
    assert len(masked) == len(text)
    for ours, theirs in zip(masked, text, strict=True):
        assert (ours in "\r\n") == (theirs in "\r\n")


@patient
@given(texts, languages)
def test_spans_are_in_order(text: str, language_id: str) -> None:
    """Strings and comments follow each other without overlap."""
    position = 0
    for span in lex(text, language_id):
        assert position <= span.start < span.end <= len(text)
        position = span.end


@patient
@given(texts, languages, st.integers(0, 20))
def test_spans_are_those_of_one_search(text: str, language_id: str, start: int) -> None:
    """To look first where a string or comment may begin skips none of them."""
    lexer = _lexer(language_id)
    if lexer is None:
        return
    found = [one.span() for one in lexer.pattern.finditer(text, start)]
    assert [(one.start, one.end) for one in _spans(lexer, text, start)] == found
