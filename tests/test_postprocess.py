from __future__ import annotations

import inspect
import json.decoder
import textwrap
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lsp_stablecode.lexis import split_at_cursor
from lsp_stablecode.postprocess import Finished, dedupe, finish
from lsp_stablecode.shape import decide_shape
from lsp_stablecode.stops import make_stop_rule
from lsp_stablecode.syntax import SYNTAXES


def complete(
    document: str,
    generated: str,
    language_id: str = "python",
    finish_reason: str = "eos",
    multi_line: str = "auto",
) -> tuple[str, Finished]:
    """Return the document after accepting, the accepted part in ``«»``."""
    prefix, _, suffix = document.partition("¦")
    shape = decide_shape(prefix, suffix, language_id, multi_line)  # type: ignore[arg-type]
    rule = make_stop_rule(shape, prefix, suffix)
    for end in range(1, len(generated) + 1):
        cut = rule(generated[:end])
        if cut is not None:
            generated, finish_reason = generated[: cut.end], cut.reason
            break
    done = finish(generated, prefix, suffix, shape, finish_reason)
    return f"{prefix}«{done.text}»{suffix[done.replace_right :]}", done


CLOSERS = [
    # a closer that the text brings replaces the one that stands there
    ("python", "foo(¦)", "a, b)\n", "foo(«a, b)»"),
    ("python", "foo(¦)", "a, b\n", "foo(«a, b»)"),
    ("c", "foo(¦);", "a, b);\n", "foo(«a, b);»"),
    ("c", "foo(¦);", "a, b)\n", "foo(«a, b)»;"),
    ("c", "foo(¦)", "a, b);\n", "foo(«a, b);»"),
    ("c", "x = ¦;", "1;\n", "x = «1;»"),
    ("c", "x = ¦;", "1\n", "x = «1»;"),
    # its own closers are its own
    ("python", "foo(¦)", "bar(x)\n", "foo(«bar(x)»)"),
    ("python", "foo(¦)", "bar(x))\n", "foo(«bar(x))»"),
    ("python", "foo(bar(¦))", "x)\n", "foo(bar(«x)»)"),
    ("python", "foo(bar(¦))", "x))\n", "foo(bar(«x))»"),
    ("python", "foo(¦)", "x) + bar(y)\n", "foo(«x) + bar(y)»"),
    ("python", "foo(¦)", "x) + bar(\n", "foo(«x) + bar(»)"),
    ("python", "x[len(¦):]\n", "a):]\n", "x[len(«a):]»\n"),
    ("php", "a(\n  b(¦);\n", "$c));\n", "a(\n  b(«$c));»\n"),
    # brackets in strings are text
    ("python", "foo(¦)", '")", a)\n', 'foo(«")", a)»'),
    ("python", "foo(¦)", '")"\n', 'foo(«")"»)'),
    # quotes are closers too
    ("python", 'x = "¦"', 'one two"\n', 'x = "«one two"»'),
    ("python", 'x = "¦"', "one two\n", 'x = "«one two»"'),
    ("python", 'x = ["¦"]', 'a", "b"]\n', 'x = ["«a", "b"]»'),
    ("python", 'foo("¦")', 'a", b)\n', 'foo("«a", b)»'),
    ("python", '"""¦"""', 'What it does."""\n', '"""«What it does."""»'),
    ("json", '{\n  "a": "¦",\n}\n', 'b",\n', '{\n  "a": "«b",»\n}\n'),
    ("python", "# see (¦)", "the docs)\n", "# see («the docs)»"),
    # a header's own end
    ("python", "def f(¦):\n", "self, x):\n", "def f(«self, x):»\n"),
    ("javascript", "const f = (¦) =>", "a, b) => {\n", "const f = («a, b») =>"),
    # a blank after a bracket, where the code has none
    ("python", "foo(¦)", " a, b)\n", "foo(«a, b)»"),
    ("python", "bar( 1 )\nfoo(¦)", " a )\n", "bar( 1 )\nfoo(« a )»"),
    # one blank too many at the beginning is too many in every line
    (
        "python",
        "def f(n):\n    ¦",
        " if n:\n         return 1\n     else:\n         return 2\n",
        "def f(n):\n    «if n:\n        return 1\n    else:\n        return 2»",
    ),
    (
        "python",
        "def f(n):\n    ¦",
        "    if n:\n        return 1\n    return 2\n",
        "def f(n):\n    «if n:\n        return 1\n    return 2»",
    ),
    # a run of closers that stands below, whatever column the text gives it
    (
        "go",
        "sort(a, func() {\n\t¦\n})\n",
        "return 1\n\t})\n",
        "sort(a, func() {\n\t«return 1»\n})\n",
    ),
    # several lines
    ("javascript", "f() {¦}", "\n  a();\n}\n", "f() {«\n  a();\n}»"),
    ("javascript", "f() {¦}", "\n  a();\n", "f() {«\n  a();\n»}"),
    ("javascript", "  f() {¦}", "\n    a();", "  f() {«\n    a();\n  »}"),
    # the closer of the line below
    ("python", "foo(\n    ¦\n)\n", "a, b)\n", "foo(\n    «a, b»\n)\n"),
    ("python", "foo(\n    ¦\n)\n", "a,\n    b\n)\n", "foo(\n    «a,\n    b»\n)\n"),
    ("python", "foo(bar(\n    ¦\n)\n", "a)\n", "foo(bar(\n    «a)»\n)\n"),
    (
        "javascript",
        "if (a) {\n  if (b) {\n    ¦\n  }\n}\n",
        "c();\n  }\n}\n",
        "if (a) {\n  if (b) {\n    «c();»\n  }\n}\n",
    ),
    (
        "javascript",
        "if (a) {\n  if (b) {\n    ¦\n}\n",
        "c();\n  }\n}\n",
        "if (a) {\n  if (b) {\n    «c();\n  }»\n}\n",
    ),
    ("rust", "let v: Vec<¦>;", "u32>;\n", "let v: Vec<«u32»>;"),
]

RIGHT = [
    ("foo(¦, b)", "a, b)\n", "foo(«a», b)"),
    ("foo(¦, b)", "a, b\n", "foo(«a», b)"),
    ("foo(¦, b)", "a\n", "foo(«a», b)"),
    ("foo(¦, b)", "a,b)\n", "foo(«a», b)"),
    ("x = ¦ + y\n", "a + y\n", "x = «a» + y\n"),
    ("bar(¦) + 1\n", "foo()\n", "bar(«foo()») + 1\n"),
    ("bar(¦) + 1\n", "x) + 1\n", "bar(«x») + 1\n"),
    ("return foo¦(y)\n", "_bar(y)\n", "return foo«_bar»(y)\n"),
    ("x = ¦name\n", "first_name\n", "x = «first_»name\n"),
    ("foo(¦bar)\n", "x)\n", "foo(«x»bar)\n"),
    ("x = ¦y\n", "a + ", "x = «a + »y\n"),
    ("x = ¦  # why\n", "1  # why\n", "x = «1»  # why\n"),
    (
        "int (¦)a[0];\n",
        "*f)(b) = (int (*)(c))a[0];\n",
        "int («*f)(b) = (int (*)(c)»)a[0];\n",
    ),
]

INSERTED = [
    ("    ¦return x\n", "y = 2\n", "    «y = 2\n    »return x\n"),
    ("    ¦return x\n", "    y = 2\n", "    «y = 2\n    »return x\n"),
    ("¦    return x\n", "    y = 2\n", "«    y = 2\n»    return x\n"),
    ("¦return x\n", "y = 2\n", "«y = 2\n»return x\n"),
    ("¦return x\n", "y = 2", "«y = 2\n»return x\n"),
    ("¦foo(x)\n", "await ", "«await »foo(x)\n"),
    ("rows = [\n¦]\n", "    1,\n", "rows = [\n«    1,\n»]\n"),
    ("rows = [\n    ¦]\n", "1]\n", "rows = [\n    «1]»\n"),
    ("rows = [\n    ¦]\n", "1", "rows = [\n    «1»]\n"),
    ("a(\n    b(\n¦)\n", "    )\n", "a(\n    b(\n«    )\n»)\n"),
    ("¦i += 1\n", "a = i\n", "«a = i\n»i += 1\n"),
    ("¦foo(x)\n", "a = foo(x)\n", "«a = »foo(x)\n"),
]

INDENTED = [
    ("def f():\n    ¦\n", "    return x\n", "def f():\n    «return x»\n"),
    ("def f():\n    ¦\n", " return x\n", "def f():\n    «return x»\n"),
    ("def f():\n    ¦\n", "\n    return x\n", "def f():\n    «return x»\n"),
    ("def f():\n¦\n", "    return x\n", "def f():\n«    return x»\n"),
    ("if a:\n    for b in c:\n    ¦", "    d", "if a:\n    for b in c:\n    «    d»"),
    (
        "if a:\n    for b in c:\n    ¦",
        "        d",
        "if a:\n    for b in c:\n    «    d»",
    ),
    (
        "def f():\n    ¦",
        "    if a:\n        b\n    return c",
        "def f():\n    «if a:\n        b\n    return c»",
    ),
    (
        "def f():\n    ¦",
        "    if a:\n            b\n        return c",
        "def f():\n    «if a:\n            b\n        return c»",
    ),
    ("def f():\n    ¦", "    a\n        b", "def f():\n    «a\n    b»"),
    ("x = ¦\n", " 5\n", "x = «5»\n"),
    ("x =¦\n", " 5\n", "x =« 5»\n"),
    ("x = '¦\n", " 5'\n", "x = '« 5'»\n"),
    ("def f():¦\n", "\n\n    return x\n", "def f():«\n    return x»\n"),
]


@pytest.mark.parametrize(("language_id", "document", "generated", "after"), CLOSERS)
def test_closers_are_never_doubled(
    language_id: str, document: str, generated: str, after: str
) -> None:
    """What the text closes and the document closes is closed once."""
    assert complete(document, generated, language_id)[0] == after


@pytest.mark.parametrize(("document", "generated", "after"), RIGHT)
def test_the_rest_of_the_line_is_not_repeated(
    document: str, generated: str, after: str
) -> None:
    """A text that runs into what stands right of the cursor ends before it."""
    language_id = "c" if document.startswith("int") else "python"
    assert complete(document, generated, language_id)[0] == after


@pytest.mark.parametrize(("document", "generated", "after"), INSERTED)
def test_a_line_above_keeps_its_line(document: str, generated: str, after: str) -> None:
    """A new line before existing code leaves that code on a line of its own."""
    assert complete(document, generated)[0] == after


@pytest.mark.parametrize(("document", "generated", "after"), INDENTED)
def test_indentation_is_not_doubled(document: str, generated: str, after: str) -> None:
    """Blanks already typed are not typed again."""
    assert complete(document, generated)[0] == after


@pytest.mark.parametrize(
    ("document", "generated", "reason"),
    [
        ("x = ¦", "", "empty:blank"),
        ("x = ¦", "  ", "empty:blank"),
        ("x = 5¦\n", "\nfoo", "empty:line-complete"),
        ("a\n¦foo(x)\n", "foo(x)\n", "empty:already-there"),
        ("a\n¦\nfoo(x)\n", "foo(x)\n", "empty:already-there"),
        ("x = ¦y\n", "y\n", "empty:already-there"),
        ("foo(a¦)", ")\n", "empty:already-there"),
        ("call(one, two)\n¦", "call(one, two)", "empty:repeats-line-above"),
        (
            "call(one)\ncall(two)\n\n¦",
            "call(one)\ncall(two)",
            "empty:repetition",
        ),
        ("x = ¦", "<|endoftext|>", "empty:control-token"),
        ("def f():\n    ¦", "\n\n\n\n", "empty:blank"),
    ],
)
def test_nothing_has_a_name(document: str, generated: str, reason: str) -> None:
    """No suggestion is returned without saying why there is none."""
    done = complete(document, generated)[1]
    assert (done.text, done.replace_right, done.reason) == ("", 0, reason)


@pytest.mark.parametrize(
    ("document", "generated"),
    [
        ("    }\n  ¦", "}"),
        ("a()\n¦", "a()"),
        ("if a:\n        return None\n    ¦", "return None"),
        ("call(one, two)\ncall(¦", "one, two)"),
    ],
)
def test_honest_repeats_stay(document: str, generated: str) -> None:
    """Short lines, other columns and lines begun by the user may repeat."""
    assert complete(document, generated)[1].text == generated


@pytest.mark.parametrize(
    "token",
    [
        "<|endoftext|>",
        "<|fim_middle|>",
        "<fim_middle>",
        "<fim_suffix>",
        "<|file_sep|>",
        "<｜fim▁end｜>",
        "<EOT>",
        "<|endof",
        "<fim_mid",
    ],
)
def test_control_tokens_never_show(token: str) -> None:
    """Text that looks like a control token ends the suggestion."""
    done = complete("x = ¦", f"5{token}")[1]
    assert done.text == "5"
    assert "control-token" in done.removed


@pytest.mark.parametrize(
    "code",
    ["a < b", "f <| x", "List<Map<A, B>>", "<file-list>", "a <b", "Set<file_id>"],
)
def test_code_is_no_control_token(code: str) -> None:
    """Comparison, pipes, generics and tags are left alone."""
    assert complete("x = ¦", code, "fsharp")[1].text == code


@pytest.mark.parametrize(
    ("document", "generated", "text", "name"),
    [
        ("def f():\n    ¦", "a = 1\n    b = fo", "a = 1", "cut-partial-line"),
        ("def f():\n    ¦", "a = 1\n", "a = 1", ""),
        ("x = ¦", "foo(bar, ba", "", "token-limit"),
        ("x = ¦", "foo(bar)", "", "token-limit"),
        ("# ¦", "日本語の説明", "", "token-limit"),
        ("def f():¦", "\n    a = foo", "", "token-limit"),
        (
            "if a:\n    ¦",
            "b(\n        c,\n        d",
            "b(\n        c,",
            "cut-partial-line",
        ),
    ],
)
def test_a_text_cut_by_the_token_limit_says_so(
    document: str, generated: str, text: str, name: str
) -> None:
    """A line struck by the limit goes; the only one goes back to a whole word."""
    done = complete(document, generated, finish_reason="length")[1]
    assert done.text == text
    assert name == "" or name in done.removed


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends_are_the_documents(line_end: str) -> None:
    """A model's line feeds become the document's own line ends."""
    document = "x = 1\n\n\ndef f():\n    ¦\n".replace("\n", line_end)
    done = complete(document, "a = 1\n    return a")[1]
    assert done.text == f"a = 1{line_end}    return a"


def test_distinct_suggestions() -> None:
    """Candidates that differ in blanks only are one; the empty ones are none."""
    first, same, other = Finished("a = 1"), Finished("a  =  1 "), Finished("b")
    assert dedupe([first, Finished(""), same, other, first]) == (first, other)


def cursors(source: str) -> Iterator[tuple[str, str]]:
    """Yield prefix and suffix for each line missing, in whole or in part."""
    start = 0
    for line in source.split("\n"):
        end = start + len(line)
        body = end - len(line.lstrip())
        if line.strip():
            yield source[:start], source[end:]
            yield source[:body], source[end:]
            yield source[: (body + end) // 2], source[end:]
            if source[end + 1 : end + 2] != "\n":
                yield source[:start], source[end + 1 :]
        start = end + 1


@pytest.mark.parametrize("module", [textwrap, json.decoder])
def test_a_perfect_model_gets_the_document_back(module: ModuleType) -> None:
    """Who writes on as the document itself did restores it, line for line."""
    source = inspect.getsource(module)
    missed = []
    num = 0
    for whole_prefix, whole_suffix in cursors(source):
        prefix, suffix = whole_prefix[-2500:], whole_suffix[:1500]
        shape = decide_shape(prefix, suffix, "python", "auto")
        rule = make_stop_rule(shape, prefix, suffix)
        going_on, reason = source[len(whole_prefix) :][:1500], "eos"
        for end in range(4, len(going_on) + 4, 4):
            cut = rule(going_on[:end])
            if cut is not None:
                going_on, reason = going_on[: cut.end], cut.reason
                break
        done = finish(going_on, prefix, suffix, shape, reason)
        num += 1
        after = whole_prefix + done.text + whole_suffix[done.replace_right :]
        if after != source:
            missed.append((prefix[-60:], shape.reason, reason, done))
    assert len(missed) <= num // 200, missed


marks = [*"()[]{}\"';,:.#=+é \t\n\r", "\r\n", "\n    ", "\n        ", "    ", "//"]
words = ["foo", "bar(a)", "return x", "x = 1", "if a:", "else", "end", '"""']
pieces = st.sampled_from([*marks, *words, "<fim_middle>", "<|endof"])
patient = hypothesis_settings(deadline=None)  # other work may share the machine
texts = st.lists(pieces, max_size=14).map("".join)
languages = st.sampled_from([*SYNTAXES, "unknown"])
settings = st.sampled_from(["auto", "always", "never"])
reasons = st.sampled_from(["eos", "length", "line", "dedent", "suffix", "cancelled"])


@patient
@given(texts, texts, texts, languages, settings, reasons)
@example("foo(", ")", "a)", "python", "auto", "eos")
@example("f() {", "}", "\n  a();", "javascript", "auto", "eos")
def test_promises(
    prefix: str,
    suffix: str,
    generated: str,
    language_id: str,
    multi_line: str,
    finish_reason: str,
) -> None:
    """Whatever is generated wherever, a suggestion changes the document, in shape."""
    shape = decide_shape(prefix, suffix, language_id, multi_line)  # type: ignore[arg-type]
    done = finish(generated, prefix, suffix, shape, finish_reason)
    right = split_at_cursor(prefix, suffix)[1]
    assert 0 <= done.replace_right <= len(right)
    assert (done.text == "") == done.reason.startswith("empty:")
    assert done == finish(generated, prefix, suffix, shape, finish_reason)
    if not done.text:
        assert done.replace_right == 0
        return
    assert done.text.strip()
    assert "<fim_middle>" not in done.text
    assert prefix + done.text + suffix[done.replace_right :] != prefix + suffix
    rest = right[done.replace_right :]
    lines = done.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for line in lines[:-1]:
        assert line == line.rstrip()
    if not rest.strip():
        assert done.text == done.text.rstrip()


@patient
@example("", "", "; <|endof)", "python")
@given(texts, texts, texts, languages)
def test_doing_it_again_changes_nothing(
    prefix: str, suffix: str, generated: str, language_id: str
) -> None:
    """A finished text is finished (but for blanks that begin it: whose are they?)."""
    shape = decide_shape(prefix, suffix, language_id, "auto")
    once = finish(generated, prefix, suffix, shape, "eos")
    if shape.reason in ("insert-line", "text-right") or not once.text.strip(" \t"):
        return
    if once.text[0] in " \t":
        return
    again = finish(once.text, prefix, suffix, shape, "eos")
    assert (again.text, again.replace_right) == (once.text, once.replace_right)
