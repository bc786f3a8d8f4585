"""What is filler, and what of a block its syntax tree can read."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_stablecode.judgement.filler import filler_reason
from lsp_stablecode.judgement.tree import trim_to_syntax
from lsp_stablecode.shape import decide_shape


def reason(document: str, text: str, language_id: str = "python") -> str:
    prefix, _, suffix = document.partition("¦")
    shape = decide_shape(prefix, suffix, language_id, "auto")
    return filler_reason(text, prefix, suffix, shape)


@pytest.mark.parametrize(
    ("document", "text", "language_id", "expected"),
    [
        # placeholders
        ("def f(x):\n    ¦", "pass", "python", "filler"),
        ("def f(x):\n    ¦", "...", "python", "filler"),
        ("def f(x):¦", "\n    pass", "python", "filler"),
        ("def f(x):\n    ¦", "# TODO: implement this\n    pass", "python", "filler"),
        ("def f(x):\n    ¦", "# Your code here", "python", "filler"),
        ("int f() {\n    ¦\n}", "// ...", "c", "filler"),
        ("int f() {\n    ¦\n}", "/* implementation */", "c", "filler"),
        ("f() {\n  ¦\n}", "// Add your code here", "javascript", "filler"),
        ("a();\n¦", "// ... rest of the code ...", "javascript", "filler"),
        ("a()\n¦", "# TODO", "ruby", "filler"),
        # ... which are none
        ("class Error(Exception):\n    ¦", "pass", "python", ""),
        ("try:\n    a()\nexcept E:\n    ¦", "pass", "python", ""),
        ("@overload\ndef f(x: int) -> int:\n    ¦", "...", "python", ""),
        ("def f(x):\n    ¦", "# TODO: drop after 3.0\n    return x", "python", ""),
        ("def f(x):\n    ¦", "# TODO: what if x is negative?", "python", ""),
        ("a();\n¦", "// The rest is in the other file.", "c", ""),
        ("# Example:\n# f()\n¦", "# your code here", "python", ""),
        ("Put it there:\n\n¦", "Your code here", "markdown", ""),
        ("x = ¦", "...", "python", ""),
        # licences out of the blue
        ("import os\n\n¦", "# Copyright (c) 2020 John Doe", "python", "licence"),
        ("a();\n¦", "/**\n * @author: John Doe\n */", "java", "licence"),
        ("¦", "# Copyright (c) 2020 John Doe", "python", ""),
        ("#!/bin/sh\n¦", "# Copyright (c) 2020 John Doe", "shellscript", ""),
        ("# Sums.\n#\n¦", "# Copyright (c) 2020 John Doe", "python", ""),
        ("x = 1\n¦", 'copyright = "2014 Pallets"', "python", ""),
        ("x = 1\n# Copyright ¦", "(c) 2020 John Doe", "python", ""),
        # echoes
        (
            "# Sum up all the numbers\n¦",
            "# Sum up all the numbers\ntotal = 0",
            "python",
            "echo",
        ),
        (
            "// Sort by name,\n// then by age\n¦",
            "// Sort by name,\nsort();",
            "c",
            "echo",
        ),
        ("# Sum up the numbers\n¦", "# of all the rows\n", "python", ""),
        ("# Sum up the numbers\n¦", "total = sum(numbers)", "python", ""),
        ("# f(1, 2, 3)\n¦", "# f(1, 2, 3)", "python", ""),
        ("# Sum up the numbers\na()\n¦", "# Sum up the numbers", "python", ""),
        # repetitions
        (
            "first = read(a)\nsecond = read(b)\n¦",
            "first = read(a)\nsecond = read(b)\nthird = read(c)",
            "python",
            "repeats-above",
        ),
        (
            "  first  = read(a)\n  second = read(b)\n\n¦",
            "first = read(a)\nsecond = read(b)",
            "python",
            "repeats-above",
        ),
        ("a = 1\nb = 2\n¦", "a = 1\nb = 2", "python", ""),
        ("first = read(a)\n¦", "first = read(a)\nsecond = read(b)", "python", ""),
        ("    {1, 2, 3},\n    {1, 2, 3},\n    ¦", "{1, 2, 3},\n    {2},", "c", ""),
        ("first = read(a)\n}\n¦", "second = read(b)\n}", "c", ""),
    ],
)
def test_what_nobody_wants_has_a_name(
    document: str, text: str, language_id: str, expected: str
) -> None:
    assert reason(document, text, language_id) == expected


@given(st.text("ab# \n./", max_size=40), st.text("ab# \n./", max_size=40))
def test_any_text_is_judged(prefix: str, text: str) -> None:
    found = reason(prefix + "¦\nx = 1\n", text)
    assert found in ("", "filler", "echo", "repeats-above", "licence")


# --- the tree -------------------------------------------------------------------------


def trim(document: str, text: str, language_id: str) -> tuple[str, str]:
    prefix, _, suffix = document.partition("¦")
    return trim_to_syntax(prefix, text, suffix, 0, language_id)


BLOCKS = [
    ("python", "def f(a):\n    ¦\n\n\ndef g():\n    return 2\n", "b = a + 1", "    "),
    ("javascript", "function f(a) {\n  ¦\n}\n\ng();\n", "const b = a + 1;", "  "),
    ("typescript", "function f(a: number) {\n  ¦\n}\n\ng();\n", "let b = a;", "  "),
    ("java", "class A {\n  int f() {\n    ¦\n  }\n}\n", "int b = 1;", "    "),
    ("go", "package a\n\nfunc f() {\n\t¦\n}\n", "b := 1", "\t"),
    ("rust", "fn f() {\n    ¦\n}\n\nfn g() {}\n", "let b = 1;", "    "),
    ("c", "int f(void) {\n    ¦\n}\n\nint g(void);\n", "int b = 1;", "    "),
    ("ruby", "def f(a)\n  ¦\nend\n\nputs f(1)\n", "b = a + 1", "  "),
    ("lua", "local function f(a)\n  ¦\nend\n\nf(1)\n", "local b = a + 1", "  "),
]


@pytest.mark.parametrize(("language_id", "document", "good", "indent"), BLOCKS)
def test_a_last_line_that_breaks_the_document_goes(
    language_id: str, document: str, good: str, indent: str
) -> None:
    good = f"{good}\n{indent}{good}"
    for bad in ("foo(bar, {", "foo(bar))", "foo([1, 2"):
        text = f"{good}\n{indent}{bad}"
        assert trim(document, text, language_id) == (good, "syntax"), bad


@pytest.mark.parametrize(("language_id", "document", "good", "indent"), BLOCKS)
def test_a_good_block_stays(
    language_id: str, document: str, good: str, indent: str
) -> None:
    text = f"{good}\n{indent}{good}"
    assert trim(document, text, language_id) == (text, "")


def test_nothing_is_left_that_only_begins_something() -> None:
    document = "def f(a):\n    ¦\n\n\ndef g():\n    return 2\n"
    text = "b = 1\n    if a:\n        foo([1,"
    assert trim(document, text, "python") == ("b = 1", "syntax")


def test_brackets_that_the_text_itself_closes_stay_closed() -> None:
    document = "int f(int a) {\n    ¦\n"
    text = "if (a) {\n        b();\n    }"
    assert trim(document, text, "c") == (text, "")


@pytest.mark.parametrize(
    ("document", "text", "language_id"),
    [
        # one line is not ours to judge
        ("def f():\n    ¦\n", "foo(bar, {", "python"),
        # nor is a first line that breaks it already
        ("def f():\n    ¦\n", "foo(bar, {\n    baz", "python"),
        # text right of the cursor
        ("f(¦)\n", "a,\n  b, {\n", "javascript"),
        # no grammar
        ("f(\n¦", "a\n  b, {\n", "fortran"),
        # another dialect: it cannot be read as it is
        ("<% } ( %> ) [\n" * 9 + "¦\n", "a();\nfoo(bar, {", "javascript"),
        ("¦", "", "python"),
        ("¦", "\n\n", "python"),
    ],
)
def test_what_cannot_be_judged_stays(
    document: str, text: str, language_id: str
) -> None:
    assert trim(document, text, language_id) == (text, "")


@given(st.text("a=(){}[]:\n ", max_size=60), st.sampled_from(["python", "c"]))
def test_what_is_kept_is_the_beginning(text: str, language_id: str) -> None:
    kept, why = trim("def f():\n    ¦\n\ng(é)\n", text, language_id)
    assert text.startswith(kept)
    assert bool(why) == (kept != text)
    assert kept.strip() or not text.strip()


def test_a_long_document_takes_no_time() -> None:
    above = "".join(f"def f{n}(a):\n    return [a, {n}, 'é']\n\n\n" for n in range(600))
    document = above + "def f(a):\n    ¦\n\n\n" + above
    text = "b = 1\n    " + "c = 2\n    " * 8 + "foo(bar, {"
    assert trim(document, text, "python")[1] == "syntax"
    started = time.perf_counter()
    for _ in range(5):
        trim(document, text, "python")
    # 5 to 15 ms each where nothing else runs
    assert (time.perf_counter() - started) / 5 < 0.15
