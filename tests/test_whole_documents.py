"""What a suggestion leaves behind: brackets that pair, lines that end."""

from __future__ import annotations

import pytest

from lsp_stablecode.finishing.closers import Document, cut_surplus
from lsp_stablecode.postprocess import Finished, finish
from lsp_stablecode.shape import decide_shape
from lsp_stablecode.stops import make_stop_rule


def complete(
    document: str, generated: str, language_id: str, finish_reason: str = "eos"
) -> Finished:
    """Return what is shown of ``generated`` at the ``¦``."""
    prefix, _, suffix = document.partition("¦")
    shape = decide_shape(prefix, suffix, language_id, "auto")
    rule = make_stop_rule(shape, prefix, suffix)
    for end in range(1, len(generated) + 1):
        cut = rule(generated[:end])
        if cut is not None:
            generated, finish_reason = generated[: cut.end], cut.reason
            break
    return finish(generated, prefix, suffix, shape, finish_reason)


SURPLUS = [
    # a closer that the suffix has, with members between
    (
        "csharp",
        "enum Side\n{\n    Right,\n    ¦\n    Top,\n    Bottom\n}\n",
        "Left\n}\n",
        "Left",
    ),
    (
        "java",
        "class A {\n    int a;\n    ¦\n    int c;\n}\n",
        "int b;\n}\n",
        "int b;",
    ),
    (
        "javascript",
        "if (a) {\n  b();\n  ¦\n  d();\n}\nf();\n",
        "c();\n}\n",
        "c();",
    ),
    ("go", "func f() {\n\ta()\n\t¦\n\tc()\n}\n", "b()\n}\n\nfunc g() {\n", "b()"),
    ("rust", "fn f() {\n    a();\n    ¦\n    c();\n}\n", "b();\n}\n", "b();"),
    ("css", ".a {\n  top: 0;\n  ¦\n  left: 0;\n}\n", "right: 0;\n}\n", "right: 0;"),
    ("python", "a = [\n    1,\n    ¦\n    3,\n]\n", "2,\n]\n", "2,"),
    # a block goes on below, whose end is far away
    ("c", "int f() {\n  a();\n  ¦\n  c();\n", "b();}\n", "b();"),
    ("java", "class A {\n    ¦\n\n    int b;\n", "int a;\n    }\n", "int a;"),
    # one closer more than there is to close
    ("python", "x = ¦\n", "foo(a))\n", "foo(a)"),
    ("c", "int x = ¦\n", "foo(a));\n", "foo(a)"),
    ("python", "foo(¦)\n", "a, b))\n", "a, b)"),
    ("typescript", "f(() => {\n  g(¦)\n})\n", "a))\n", "a)"),
    ("kotlin", "fun f() {\n    val x = ¦\n}\n", "listOf(1)}\n", "listOf(1)"),
    # several, and in the middle of a line
    ("swift", "func f() {\n    g(¦)\n}\n", "a) })\n", "a)"),
    # block words
    ("lua", "it('a', function()¦\n  b()\nend)\n", " end\n", ""),
    ("lua", "it('a', ¦\n  b()\nend)\n", "function() end\n", "function()"),
    (
        "ruby",
        "class A\n  def a\n    1\n    ¦\n    3\n  end\nend\n",
        "two\n  end\n",
        "two",
    ),
    (
        "shellscript",
        "if a; then\n  b\n  ¦\n  d\nfi\n",
        "c\nfi\n",
        "c",
    ),
    ("lua", "if a then\n  ¦\nend\n", "end\n", ""),
    ("lua", "f(function()\n  a()\n  ¦\n  b()\nend)\n", "end\n", ""),
    ("shellscript", "if a; then¦\nfi\n", "\n  b\n  fi\n", "\n  b"),
    (
        "lua",
        "a('b', function()\n  c('d', function()\n    ¦\n    f()\n  end)\n",
        "e())\n",
        "e()",
    ),
    # templates
    (
        "html",
        '<a {% url(\n  "b",\n  ¦\n) %}>\n',
        '"c",\n) %}>\n',
        '"c",',
    ),
    (
        "html",
        "<ul>\n  <li>a</li>\n  ¦\n  <li>c</li>\n</ul>\n",
        "<li>b</li>\n</ul>\n",
        "<li>b</li>",
    ),
]

OWN = [
    # what nobody has closed yet
    ("java", "class A {\n    void f() {\n        ¦\n}\n", "a();\n    }\n"),
    ("javascript", "if (a) {\n  ¦\n", "b();\n} else {\n  c();\n}\n"),
    ("javascript", "if (a) {\n  ¦\n}\n", "if (b) {\n    c();\n  }\n"),
    ("javascript", "if (a) {\n  b();\n  ¦\n}\n", "c({\n    d,\n  });\n"),
    ("python", "x = ¦\n", "foo(bar(a), [b])\n"),
    ("c", "void f(int a,\n       int b) {\n  ¦\n}\n", "if (a) {\n    b();\n  }\n"),
    ("c", "    a();\n  ¦\n", "}\n"),
    ("shellscript", "case $a in\n  b)\n    c ;;\n  ¦\nesac\n", "d)\n    e ;;\n"),
    ("rust", "fn f() {\n    let a = ¦\n}\n", "b('\"', '}');\n"),
    ("lua", "local a = ¦\n", "function() return 1 end\n"),
    ("ruby", "a = if b\n      c\n    ¦\n", "end\n"),
    ("ruby", "def a\n  b do\n    c\n¦\nend\n", "  end\n"),
    ("ruby", "def a\n  ¦\nend\n", "b.each do |c|\n    d\n  end\n"),
    ("scala", "import a.{b, ¦\n\nobject C {\n  d\n}\n}\n", "c}\n"),
    ("markdown", "Choose ¦\n", "a) or b)\n"),
]

UNFINISHED = [
    ("csharp", "    var test = ¦;\n", '@"a\n'),
    ("javascript", "const a = ¦\nfoo();\n", "`b\n"),
    ("python", "a = ¦\nb = 1\n", "'c\n"),
    ("python", "a = ¦\nb = 1\n", "foo(c\n"),
    ("python", "a = foo(¦\nb = 1\n", "c\n"),
    ("go", "\tx := ¦\n\ty()\n", '"a\n'),
    ("rust", "    let a = ¦;\n", 'foo("b\n'),
    ("cpp", "f(¦)\n", "if (a) {\n"),
    ("c", "int f() {\n  ¦\n}\n", "a ="),
    ("csharp", "    [Theory]\n    [Data(¦\n    [Data(2)]\n", "/// <summary>\n"),
]


@pytest.mark.parametrize(("language_id", "document", "generated", "text"), SURPLUS)
def test_what_the_suffix_closes_is_not_closed(
    language_id: str, document: str, generated: str, text: str
) -> None:
    """A closer that would take the opener of one below goes, with all behind it."""
    assert complete(document, generated, language_id).text == text


@pytest.mark.parametrize(("language_id", "document", "generated"), OWN)
def test_what_is_open_may_be_closed(
    language_id: str, document: str, generated: str
) -> None:
    """Closers of the text's own openers, and of those that nothing closes, stay."""
    done = complete(document, generated, language_id)
    assert done.text == generated.rstrip()


@pytest.mark.parametrize(("language_id", "document", "generated"), UNFINISHED)
def test_a_line_that_does_not_end_is_not_shown(
    language_id: str, document: str, generated: str
) -> None:
    """A string, bracket or statement begun and left open is no suggestion."""
    done = complete(document, generated, language_id)
    assert (done.text, done.reason) == ("", "empty:unfinished")


@pytest.mark.parametrize(
    ("language_id", "document", "generated"),
    [
        ("javascript", "a();\n¦\n", "if (b) {\n"),
        ("python", "x = ¦\n    1,\n)\n", "foo(\n"),
        ("python", "x = foo(¦\n        b)\n", "a,\n"),
        ("c", "if (¦\n    && b)\n", "a ||\n"),
        ("python", 'def f():\n    ¦\n    What it does.\n    """\n', '"""\n'),
        ("rust", 'let a = ¦\n    b";\n', '"a \\\n'),
        ("python", "print('¦')\n", "hello\n"),
    ],
)
def test_a_line_that_goes_on_is_shown(
    language_id: str, document: str, generated: str
) -> None:
    """What is open at a line's end as usual, or closed below, is no defect."""
    assert complete(document, generated, language_id).text == generated.rstrip()


def test_unfinished_lines_are_cut_off_blocks() -> None:
    """A block keeps the lines before the one that does not end."""
    done = complete("def f():\n    ¦", "a = 1\n    b = foo('c", "python")
    assert (done.text, done.removed) == ("a = 1", ("unfinished",))


@pytest.mark.parametrize(
    ("document", "generated", "language_id", "text"),
    [
        ("fmt::print(¦);\n", "fmt::format( // clang-format off", "cpp", ""),
        ("f(¦)\n", "a  # why\n", "python", "a"),
        ("f(¦)\n", "a)  # why\n", "python", "a)  # why"),
        ("f() {¦}\n", "\n  a(); // why", "javascript", "\n  a(); // why\n"),
        ("¦f()\n", "# why\n", "python", "# why\n"),
    ],
)
def test_comments_swallow_nothing(
    document: str, generated: str, language_id: str, text: str
) -> None:
    """A comment does not begin left of what the line still has."""
    assert complete(document, generated, language_id).text == text


def test_strings_over_lines_are_whole() -> None:
    """A line that begins a long string goes on to the string's end."""
    document = "def f():\n    a = 1\n    ¦\n    return b\n"
    text = 'b = """\nc\n"""'
    assert complete(document, f"{text}\n    return b\n", "python").text == text
    document = "class A {\n    void B() {\n        ¦\n    }\n}\n"
    text = 'var a = @"\nb ""c""\n";\n        d();'
    assert complete(document, f"{text}\n    }}\n}}\n", "csharp").text == text


def test_blanks_make_no_other_line() -> None:
    """What stands below is met, also spaced and indented otherwise."""
    document = "f() {\n  ¦\n  b(1, c);\n  d = e;\n}\n"
    assert complete(document, "a();\n    b( 1,c );\n    d=e;\n", "c").text == "a();"


@pytest.mark.parametrize(
    ("prefix", "text", "suffix", "kept"),
    [
        ("f(", "a)", ")", "a"),
        ("f(", "a) + g(", ")", "a) + g("),
        ("{\n  {\n    ", "a\n  }\n}", "\n}", "a\n  }"),
        ("{\n  {\n    ", "a\n  }", "\n    b\n  }\n}", "a"),
        ("f(a, [b", "])", "\n)", "]"),
        ("x = ", "'))' + y", "", "'))' + y"),
        ("x = ", "y  # :)", "", "y  # :)"),
    ],
)
def test_brackets_are_accounted_for(
    prefix: str, text: str, suffix: str, kept: str
) -> None:
    """Each closer of the suffix keeps an opener."""
    assert cut_surplus(Document(prefix, suffix, "python"), text, 0) == kept
