from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_stablecode.shape import decide_shape
from lsp_stablecode.stops import MAX_BLOCK_LINES, make_stop_rule
from model import Cut


def generate(
    document: str, text: str, language_id: str = "python", step: int = 1
) -> tuple[str, str, str]:
    """Feed ``text`` at the ``¦``; return what is kept, why, and what had been seen."""
    prefix, _, suffix = document.partition("¦")
    shape = decide_shape(prefix, suffix, language_id, "auto")
    rule = make_stop_rule(shape, prefix, suffix)
    for end in range(step, len(text) + step, step):
        cut = rule(text[:end])
        if cut is not None:
            return text[: cut.end], cut.reason, text[:end]
    return text, "", text


PYTHON = [
    # a line ends with its line
    ("x = ¦\n", "5\ny = 6", "5", "line"),
    ("x = 5¦\n", "\ny = 6", "", "line"),
    ("x = 5¦\n", "  \ny = 6", "", "line"),
    ("a = 1\n¦\nb = 2\n", "c = 3\nd = 4\n", "c = 3", "line"),
    ("a = 1\n¦\nb = 2\n", "\nc = 3\n", "\nc = 3", "line"),
    # it does not say again what stands below
    ("a = 1\n¦\nb = foo(2)\n", "b = foo(2)\n", "", "suffix"),
    ("    a = 1\n    ¦return foo(2)\n", "return foo(2)\n", "", "suffix"),
    # a body ends where the indentation does
    ("def f():\n    ¦", "return 1\n\ndef g():", "return 1", "dedent"),
    ("def f():\n    ¦", "return 1\n\n\ndef g():", "return 1", "blank-lines"),
    ("def f():\n¦", "    return 1\nx = 1", "    return 1", "dedent"),
    ("def f():¦", "\n    return 1\nx = 1", "\n    return 1", "dedent"),
    ("def f():¦", " return 1\nx = 1", " return 1", "dedent"),
    ("def f():\n¦", "x = 1", "", "dedent"),
    ("def f():\n    ¦", "a = 1\n\n    b = 2\nc", "a = 1\n\n    b = 2", "dedent"),
    ("if a:\n    ¦", "b()\nelse:\n    c()\n", "b()", "dedent"),
    (
        "try:\n    ¦",
        "b()\nexcept E:\n    c()\nd()",
        "b()\nexcept E:\n    c()",
        "dedent",
    ),
    # a paragraph in the middle of a body is enough
    ("def f():\n    a = 1\n    ¦", "b = 2\n\n    c = 3", "b = 2", "blank-lines"),
    (
        "import os\n\n\n¦",
        "def f():\n    x\n\n    y\n\nz",
        "def f():\n    x\n\n    y",
        "blank-lines",
    ),
    # brackets belong to who opened them
    ("rows = [\n    ¦", "1,\n    2,\n]\nx", "1,\n    2,\n]", "closed"),
    ("rows = [\n    ¦\n]\n", "1,\n    2,\n]\nx", "1,\n    2,", "suffix"),
    ("rows = call(¦\n", "a, b)\nc", "a, b)", "closed"),
    ("def f(\n    ¦", "a,\n):\n    b()\nc", "a,\n):\n    b()", "dedent"),
    # meeting the suffix
    (
        "def f():\n    ¦\n\n    return total\n",
        "a = 1\n    return total\n",
        "a = 1",
        "suffix",
    ),
    ("def f():\n    ¦\n\n    b\n    c\n", "a = 1\n    b\n    c\n", "a = 1", "suffix"),
    # a short statement counts, a short element of a list does not
    (
        "while a:\n    if b:\n        c()\n¦\n    j -= 1\nd()\n",
        "    i += 1\n    j -= 1\nd",
        "    i += 1",
        "suffix",
    ),
    ("rows = [\n    ¦\n    0,\n", "1,\n    0,\n    2,\n]\n", "1,", "line"),
    # a header in a gap comes with its body, where nothing below is it
    (
        "def f():\n    a = 1\n¦\n    return a\n",
        "    if b:\n        a = 2\n    return a\n",
        "    if b:\n        a = 2",
        "dedent",
    ),
    (
        "def f():\n    a = 1\n¦\n        a = 2\n",
        "    if b:\n        a = 2\n",
        "    if b:",
        "line",
    ),
    # what ends the lines above, or heads those below, is all that is missing
    (
        "values = {\n    'a': 1,\n¦\nprint(values)\n",
        "}\nx = 1\n",
        "}",
        "closed",
    ),
    (
        "for i in n:\n    if i:\n            a += 1\n¦\n        b += 1\n",
        "    elif j:\n            b += 1\n",
        "    elif j:",
        "suffix",
    ),
    # Markdown's fence ends an answer
    ("def f():\n    return 1\n\n\n¦", "# e.g. f()\n```\nx", "# e.g. f()", "fence"),
    # the same line in another column is another line
    ("if a:\n    ¦\nreturn found\n", "return found\nx", "return found", "dedent"),
    # loops
    ("def f():\n    ¦", "call(a)\n    call(a)\n    call(a)\n", "call(a)", "repetition"),
    (
        "def f():\n    ¦",
        "call(a)\n    call(b)\n" + "    call(a)\n    call(b)\n" * 2,
        "call(a)\n    call(b)",
        "repetition",
    ),
    ("call(a)\ncall(b)\n\n¦", "call(a)\ncall(b)\n", "", "repetition"),
    ("x = '¦", "abc" * 7, "", "repetition"),
    ("x = [¦", "0x00, " * 12, "", "repetition"),
    ("def f():\n    ¦", "a = 1\n    b = [" + "0, " * 12, "a = 1", "repetition"),
    # text inside a string has columns of its own
    (
        "def f():\n    ¦",
        's = """\na\n"""\n    b\nc',
        's = """\na\n"""\n    b',
        "dedent",
    ),
]

BRACES = [
    ("javascript", "function f() {¦", "\n  a();\n}\nb", "\n  a();\n}", "closed"),
    ("javascript", "function f() {\n  ¦\n}\n", "a();\n}\n", "a();", "suffix"),
    ("javascript", "function f() {\n  ¦", "a();\n}\n", "a();\n}", "closed"),
    ("javascript", "f(() => {\n  ¦", "a();\n});\nb", "a();\n});", "closed"),
    ("javascript", "f(() => {\n  ¦\n});\n", "a();\n});\nb", "a();", "suffix"),
    (
        "javascript",
        "if (a) {\n  ¦",
        "b();\n} else {\n  c();\n}\nd",
        "b();\n} else {\n  c();\n}",
        "closed",
    ),
    (
        "javascript",
        "if (a) {\n  ¦\n}\n",
        "b();\n} else {\n  c();\n}\nd",
        "b();",
        "suffix",
    ),
    (
        "java",
        "  void f() {\n    ¦\n  }\n\n  int g() {",
        "a();\n  }\n\n  v",
        "a();",
        "suffix",
    ),
    ("go", "func f() {\n\tif a {\n\t\t¦", "b()\n\t}\n}\n", "b()\n\t}", "closed"),
    (
        "go",
        "func f() {\n\tswitch x {\n\t¦",
        "case 1:\n\t\ta()\n\tcase 2:\n\t\tb()\n\t}\n}",
        "case 1:\n\t\ta()\n\tcase 2:\n\t\tb()\n\t}",
        "dedent",
    ),
    (
        "c",
        "int f(void) {\n    ¦",
        "a();\n#ifdef B\n    b();\n#endif\n}\nc",
        "a();\n#ifdef B\n    b();\n#endif\n}",
        "closed",
    ),
    ("ruby", "def f\n  ¦", "a\nend\nb", "a\nend", "closed"),
    ("ruby", "def f\n  ¦\nend\n", "a\nend\nb", "a", "suffix"),
    ("ruby", "def f\n  ¦\nend\n", "a\nelephant", "a", "dedent"),
    (
        "shellscript",
        "if a; then\n  ¦",
        "b\nelse\n  c\nfi\nd",
        "b\nelse\n  c\nfi",
        "closed",
    ),
    ("lua", "for a in b do\n  ¦", "c()\nend\nd", "c()\nend", "closed"),
    ("html", "<ul>\n  ¦\n</ul>\n", "<li>a</li>\n</ul>\n", "<li>a</li>", "suffix"),
    ("css", ".a {\n  ¦", "color: red;\n}\n.b", "color: red;\n}", "closed"),
    ("yaml", "a:\n  ¦\n", "b: 1\n  c: 2\nd: 3", "b: 1\n  c: 2", "dedent"),
]


@pytest.mark.parametrize(("document", "text", "kept", "reason"), PYTHON)
def test_python(document: str, text: str, kept: str, reason: str) -> None:
    """What is finished is kept whole, and nothing after it."""
    assert generate(document, text)[:2] == (kept, reason)


@pytest.mark.parametrize(("language_id", "document", "text", "kept", "reason"), BRACES)
def test_closers(
    language_id: str, document: str, text: str, kept: str, reason: str
) -> None:
    """A body comes with its closer unless the suffix brings it."""
    assert generate(document, text, language_id)[:2] == (kept, reason)


@pytest.mark.parametrize(
    "text",
    [
        "x = [0, 0, 0, 0, 0, 0]\n    y = 1\n",
        "# ---------------------------------------------\n    y = 1\n",
        "assert f(1) == 1\n    assert f(2) == 2\n    assert f(3) == 3\n",
        "a = foofoo + barbar\n    b = 1\n",
        "}\n    }\n    }\n",
    ],
)
def test_harmless_repeats_stay(text: str) -> None:
    """Tables, rulers and lines that differ are no loops."""
    assert generate("def f():\n    ¦", text)[1] == ""


def test_long_block_ends_at_a_paragraph() -> None:
    """A block that does not end by itself is cut at its last blank line."""
    lines = [f"    a{i} = {i}" for i in range(40)]
    lines.insert(20, "")
    kept, reason, _ = generate("def f():\n¦", "\n".join(lines))
    assert reason == "max-lines"
    assert len(kept.split("\n")) == 20


def test_long_block_without_a_paragraph() -> None:
    """And else after the largest number of lines."""
    lines = [f"    a{i} = {i}" for i in range(40)]
    kept, reason, _ = generate("def f():\n¦", "\n".join(lines))
    assert reason == "max-lines"
    assert len(kept.split("\n")) == MAX_BLOCK_LINES


@pytest.mark.parametrize(
    ("document", "text", "seen"),
    [
        ("x = ¦\n", "5\ny = 6", "5\n"),
        ("def f():\n    ¦", "return 1\nx = 1", "return 1\nx"),
        ("f(¦\n", "a)\nb", "a)\n"),
        ("def f():\n    ¦", "a = 1\n\n\n\n\n", "a = 1\n\n\n"),
    ],
)
def test_no_token_is_spent_on_what_is_cut(document: str, text: str, seen: str) -> None:
    """The verdict falls with the first character that allows it."""
    assert generate(document, text)[2] == seen


@pytest.mark.parametrize(("document", "text", "kept", "reason"), PYTHON)
@pytest.mark.parametrize("step", [2, 3, 5, 200])
def test_tokens_do_not_matter(
    document: str, text: str, kept: str, reason: str, step: int
) -> None:
    """However the text comes in pieces, it ends at the same place."""
    assert generate(document, text, step=step)[:2] == (kept, reason)


@pytest.mark.parametrize(("document", "text", "kept", "reason"), PYTHON)
def test_carriage_returns(document: str, text: str, kept: str, reason: str) -> None:
    """A text with the other line ends ends at the same place."""
    document, text, kept = (s.replace("\n", "\r\n") for s in (document, text, kept))
    assert generate(document, text)[:2] == (kept, reason)


marks = [*"(){}:'#é \n\r", "\r\n", "\n  ", "\n    ", "\n        ", "    ", '"""']
words = ["else", "end", "el", "return x", "foo(a)", "bar"]
pieces = st.sampled_from([*marks, *words])
patient = settings(deadline=None)  # other work may share the machine
texts = st.lists(pieces, max_size=25).map("".join)
languages = st.sampled_from(
    ["python", "javascript", "ruby", "go", "c", "html", "yaml", "lua", "plaintext"]
)


@patient
@given(texts, texts, texts, languages, st.sampled_from(["auto", "always", "never"]))
def test_a_verdict_is_final(
    prefix: str, suffix: str, text: str, language_id: str, multi_line: str
) -> None:
    """Once the rule cuts a text it cuts every longer text alike, and inside it."""
    shape = decide_shape(prefix, suffix, language_id, multi_line)  # type: ignore[arg-type]
    rule = make_stop_rule(shape, prefix, suffix)
    final: Cut | None = None
    for end in range(len(text) + 1):
        cut = rule(text[:end])
        assert cut == rule(text[:end])
        if final is not None:
            assert cut == final
        elif cut is not None:
            assert 0 <= cut.end <= end
            assert cut.reason
            assert text[: cut.end] == text[: cut.end].rstrip()
            final = cut


def test_is_cheap() -> None:
    """A rule costs far less than a token, however long the block is."""
    prefix = "def f():\n    "
    text = "\n".join(f"    alpha_{i} = compute(beta[{i}], 'c')" for i in range(22))
    rule = make_stop_rule(decide_shape(prefix, "", "python", "auto"), prefix, "")
    rule(text)
    start = time.perf_counter()
    for _ in range(100):
        rule(text[4:])
    assert (time.perf_counter() - start) / 100 < 0.001
