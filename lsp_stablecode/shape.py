"""One line or a block: what the cursor's place asks for, from the text alone.

Also the little that is known of each language's lexis (`SYNTAXES`, `lex`, `mask`),
which the stop rules and the postprocessing share. Columns count a tab as reaching
the next multiple of `TAB_WIDTH`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, NamedTuple

__all__ = [
    "CLOSERS",
    "TAB_WIDTH",
    "Shape",
    "Span",
    "Syntax",
    "decide_shape",
    "enclosing",
    "indent_width",
    "is_closers_only",
    "lex",
    "mask",
    "split_at_cursor",
    "syntax_of",
    "unify_line_ends",
]

MultiLine = Literal["auto", "always", "never"]
Inside = Literal["code", "comment", "string"]

TAB_WIDTH = 4
CLOSERS = ")]}\"'`;,:"
"""What an editor or a habit puts right of the cursor without ending the thought."""

_MAX_LOOK_BACK = 60  # lines a logical line or a run of comments may go back


@dataclass(frozen=True, slots=True)
class Shape:
    """What is wanted at the cursor. Columns are counted from 0.

    ``indent`` is the column that the block's lines keep to; where ``indent_fixed``
    is false it is only the least column, and the first generated line sets the rest.
    ``opener_indent`` is the column of the line that opened the surrounding block, -1
    where there is none; ``opener_word`` is that line's first word. ``whole_body``
    says that one blank line does not end the block.
    """

    kind: Literal["line", "block"]
    reason: str
    indent: int = 0
    indent_fixed: bool = True
    opener_indent: int = -1
    opener_word: str = ""
    whole_body: bool = False
    language_id: str = ""


@dataclass(frozen=True, slots=True)
class Syntax:
    """What the shape of a text needs to know of a language.

    ``header`` matches a logical line, comments and strings masked, that opens a body
    below it; ``label`` one whose body may stand in its own column. ``closers`` end a
    body (``end``), ``middles`` continue it (``else``), both at the opener's column.
    ``layout`` says that indentation itself is the syntax.
    """

    comments: tuple[str, ...] = ("//",)
    regions: tuple[tuple[str, str], ...] = (("/*", "*/"),)
    quotes: str = "\"'"
    long_quotes: tuple[tuple[str, str], ...] = ()
    header: re.Pattern[str] | None = None
    label: re.Pattern[str] | None = None
    closers: frozenset[str] = frozenset()
    middles: frozenset[str] = frozenset()
    layout: bool = False


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_C_LABEL = re.compile(
    r"^\s*(?:case\b.*|default|public|private|protected|signals|(?:public\s+)?slots)"
    r"\s*:$|\b(?:switch|select|namespace)\b.*\{$"
)
_TRIPLE = (('"""', '"""'),)
_C = Syntax(label=_C_LABEL)
_C_TRIPLE = replace(_C, long_quotes=_TRIPLE)
_JS = replace(_C, long_quotes=(("`", "`"),))
_HASH = Syntax(comments=("#",), regions=())
_PYTHON = Syntax(
    comments=("#",),
    regions=(),
    long_quotes=(*_TRIPLE, ("'''", "'''")),
    header=re.compile(
        r"^\s*(?:async\s+)?(?:def|class|if|elif|else|for|while|try|except|finally"
        r"|with|match|case)\b.*:$",
        re.DOTALL,
    ),
    middles=_words("except finally"),
    layout=True,
)
_RUBY = Syntax(
    comments=("#",),
    regions=(("\n=begin", "\n=end"),),
    header=re.compile(
        r"\b(?:do|then|else|begin|ensure)(?:\s*\|[^|]*\|)?$"
        r"|^\s*(?:(?:private|public|protected)\s+)?(?:def|class|module|if|unless|while"
        r"|until|for|case|when|in|elsif|rescue)\b(?!.*(?:\bend|\bdef\b[^=]*\s=\s.*)$)"
    ),
    closers=_words("end"),
    middles=_words("else elsif when in rescue ensure"),
)
_SHELL = Syntax(
    comments=("#",),
    regions=(),
    header=re.compile(r"\b(?:then|do|else|in)$|^\s*[^()\s=]+\)$"),
    closers=_words("fi done esac"),
    middles=_words("else elif"),
)
_LUA = Syntax(
    comments=("--",),
    regions=(("--[[", "]]"),),
    long_quotes=(("[[", "]]"),),
    header=re.compile(
        r"\b(?:then|do|else|repeat)$|\bfunction\b[^()]*\([^()]*\)$|\bfunction\b.*\)$"
    ),
    closers=_words("end until"),
    middles=_words("else elseif"),
)
_ELIXIR = Syntax(
    comments=("#",),
    regions=(),
    quotes='"',
    long_quotes=_TRIPLE,
    header=re.compile(r"\b(?:do|else|after|rescue|catch)$|->$"),
    closers=_words("end"),
    middles=_words("else after rescue catch"),
)
_JULIA = Syntax(
    comments=("#", "%"),
    regions=(("#=", "=#"),),
    quotes='"',
    long_quotes=_TRIPLE,
    header=re.compile(
        r"^\s*(?:function|macro|if|elseif|else|for|while|begin|let|quote|try|catch"
        r"|finally|(?:mutable\s+)?struct|module|switch|case|otherwise|classdef"
        r"|properties|methods)\b(?!.*\bend$)|\bdo(?:\s+\w+)?$"
    ),
    closers=_words("end"),
    middles=_words("else elseif catch finally case otherwise"),
)
_ML = Syntax(
    comments=("//", "--"),
    regions=(("{-", "-}"), ("(*", "*)")),
    quotes='"',
    header=re.compile(r"\b(?:where|do|of|let|then|else|begin|struct|sig|with)$|=$|->$"),
    layout=True,
)
_VOID_TAGS = "area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr"
_HTML = Syntax(
    comments=(),
    regions=(("<!--", "-->"), ("/*", "*/")),
    quotes='"',
    # a label: pages often do not indent what a tag holds
    label=re.compile(
        rf"<(?!(?:{_VOID_TAGS})\b)([A-Za-z][\w:.-]*)(?:\s[^<>]*)?(?<!/)>$"
    ),
)
_CSS = Syntax(comments=())
_SQL = Syntax(
    comments=("--",),
    header=re.compile(
        r"\b(?:begin|as|then|else|loop|declare|select|from|where|set|values)$", re.I
    ),
    label=re.compile(r"^\s*(?:begin|declare|then|else|loop|as)$", re.I),
    closers=_words("end END"),
    middles=_words("else ELSE when WHEN exception EXCEPTION"),
)
_YAML = Syntax(
    comments=("#",),
    regions=(),
    header=re.compile(r":(?:\s+[|>][+-]?\d*)?$"),
    label=re.compile(r":$"),
    layout=True,
)
_PROSE = Syntax(comments=(), regions=(), quotes="")
_LISP = Syntax(comments=(";",), regions=(), quotes='"')

SYNTAXES: dict[str, Syntax] = {
    "python": _PYTHON,
    "starlark": _PYTHON,
    "cython": _PYTHON,
    "nim": replace(_PYTHON, header=re.compile(r"[:=]$")),
    "gdscript": replace(_PYTHON, header=re.compile(r":$")),
    "ruby": _RUBY,
    "crystal": _RUBY,
    "shellscript": _SHELL,
    "sh": _SHELL,
    "bash": _SHELL,
    "zsh": _SHELL,
    "fish": replace(
        _SHELL,
        header=re.compile(r"^\s*(?:function|if|for|while|switch|case|else|begin)\b"),
        closers=_words("end"),
        middles=_words("else case"),
    ),
    "lua": _LUA,
    "luau": _LUA,
    "elixir": _ELIXIR,
    "julia": _JULIA,
    "matlab": replace(_JULIA, long_quotes=(), comments=("%",)),
    "octave": replace(_JULIA, long_quotes=()),
    "haskell": replace(_ML, comments=("--",)),
    "ocaml": _ML,
    "fsharp": replace(_ML, comments=("//",)),
    "elm": replace(_ML, comments=("--",)),
    "coffeescript": replace(_ML, comments=("#",), regions=(), quotes="\"'"),
    "html": _HTML,
    "xml": _HTML,
    "vue": _HTML,
    "svelte": _HTML,
    "css": _CSS,
    "scss": replace(_CSS, comments=("//",)),
    "less": replace(_CSS, comments=("//",)),
    "sql": _SQL,
    "yaml": _YAML,
    "dockercompose": _YAML,
    "toml": _HASH,
    "dockerfile": _HASH,
    "cmake": _HASH,
    "r": _HASH,
    "perl": _HASH,
    "powershell": _HASH,
    "nix": _HASH,
    "graphql": _HASH,
    "makefile": replace(_HASH, header=re.compile(r"^[^\s=:#][^=:#]*:(?!=)[^=]*$")),
    "ini": replace(_HASH, comments=("#", ";")),
    "terraform": replace(_C, comments=("//", "#")),
    "clojure": _LISP,
    "lisp": _LISP,
    "scheme": _LISP,
    "javascript": _JS,
    "javascriptreact": _JS,
    "typescript": _JS,
    "typescriptreact": _JS,
    "go": replace(_C, long_quotes=(("`", "`"),)),
    "rust": replace(_C, quotes='"'),
    "java": _C_TRIPLE,
    "kotlin": _C_TRIPLE,
    "swift": _C_TRIPLE,
    "scala": _C_TRIPLE,
    "groovy": _C_TRIPLE,
    "dart": replace(_C_TRIPLE, long_quotes=(*_TRIPLE, ("'''", "'''"))),
    "csharp": _C_TRIPLE,
    "php": replace(
        _C,
        comments=("//", "#"),
        label=re.compile(_C_LABEL.pattern + r"|^\s*(?:if|else|for|while)\b.*:$"),
    ),
    "markdown": _PROSE,
    "plaintext": _PROSE,
    "restructuredtext": _PROSE,
    "latex": replace(_PROSE, comments=("%",)),
    "git-commit": replace(_PROSE, comments=("#",)),
}
_C_LANGUAGES = frozenset({"c", "cpp", "objective-c", "objective-cpp", "cuda-cpp"})


def syntax_of(language_id: str) -> Syntax:
    """Return what is known of a language; the family of C where nothing is."""
    return SYNTAXES.get(language_id, _C)


class Span(NamedTuple):
    """A string or comment at ``start:end``; ``closed`` if its end mark is there."""

    start: int
    end: int
    kind: Inside
    closed: bool
    close_length: int


@lru_cache(maxsize=128)
def _lexer(language_id: str) -> tuple[re.Pattern[str], dict[str, Span]] | None:
    syntax = syntax_of(language_id)
    parts: list[str] = []
    kinds: dict[str, Span] = {}

    def add(kind: Inside, opening: str, inner: str, close: str) -> None:
        name = f"g{len(parts)}"
        parts.append(f"(?P<{name}>{opening}{inner}(?P<c{name}>{re.escape(close)})?)")
        kinds[name] = Span(0, 0, kind, False, len(close))

    for opening, close in syntax.regions:
        mark = re.escape(opening)
        add("comment", mark, rf"(?:(?!{re.escape(close)})[\s\S])*+", close)
    for opening, close in syntax.long_quotes:
        escape = "" if close == "]]" or language_id == "go" else r"\\[\s\S]|"
        inner = rf"(?:{escape}(?!{re.escape(close)})[\s\S])*+"
        add("string", re.escape(opening), inner, close)
    for mark in syntax.comments:
        # elsewhere a number sign is also an operator, a colour or an argument count
        guard = "" if mark != "#" or language_id == "python" else r"(?<!\S)"
        name = f"g{len(parts)}"
        parts.append(rf"(?P<{name}>{guard}{re.escape(mark)}[^\n\r]*)")
        kinds[name] = Span(0, 0, "comment", False, 0)
    for quote in syntax.quotes:
        guard = ""
        if quote == "'":  # an apostrophe in a word, a digit separator
            prefixes = "rRbBfFuU" if language_id == "python" else "LuU"
            guard = rf"(?:(?<!\w)|(?<=(?<!\w)[{prefixes}])|(?<=(?<!\w)[rRbBfF]{{2}}))"
        add("string", guard + quote, rf"(?:\\[\s\S]|[^{quote}\\\n\r])*+", quote)
    if syntax is _JS:
        name = f"g{len(parts)}"
        parts.append(
            rf"(?P<{name}>(?<=[=(,:!&|?;])\s*/(?![*/\s])"
            r"(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/[a-z]*)"
        )
        kinds[name] = Span(0, 0, "string", True, 0)
    if not parts:
        return None
    return re.compile("|".join(parts)), kinds


_DEFINITION = re.compile(
    r"^[ \t]*(?:@\w|(?:(?:async|export|public|private|static|pub)\s+)*"
    r"(?:def|class|func|fn|fun|function|import|const|let)\b).*[:{;(]\s*$",
    re.MULTILINE,
)


def lex(text: str, language_id: str, *, is_window: bool = True) -> list[Span]:
    """Return the strings and comments of ``text``, in order, roughly.

    A window of a document may begin inside a string over several lines. It is taken
    so if fewer definitions then stand inside strings.
    """
    lexer = _lexer(language_id)
    if lexer is None:
        return []
    pattern, kinds = lexer
    spans = _spans(pattern, kinds, text, 0)
    openings = tuple(opening for opening, _ in syntax_of(language_id).long_quotes)
    if not is_window or not openings:
        return spans
    longs = [s for s in spans if s.kind == "string" and text.startswith(openings, s[0])]
    num_defined = _num_definitions(text, longs)
    if not num_defined:
        return spans
    first_end = longs[0].start + longs[0].close_length
    rest = _spans(pattern, kinds, text, first_end)
    if _num_definitions(text, [s for s in rest if s.kind == "string"]) >= num_defined:
        return spans
    return [Span(0, first_end, "string", True, longs[0].close_length), *rest]


def _num_definitions(text: str, strings: list[Span]) -> int:
    return sum(
        len(_DEFINITION.findall(text, span.start, span.end))
        for span in strings
        if span.end - span.start > 10
    )


def _spans(
    pattern: re.Pattern[str], kinds: dict[str, Span], text: str, start: int
) -> list[Span]:
    spans = []
    for match in pattern.finditer(text, start):
        name = match.lastgroup or ""
        kind = kinds[name]
        closed = kind.closed or (
            kind.close_length > 0 and match.group("c" + name) is not None
        )
        spans.append(
            Span(match.start(), match.end(), kind.kind, closed, kind.close_length)
        )
    return spans


def mask(text: str, language_id: str) -> tuple[str, Inside]:
    """Return ``text`` with comments blanked and strings' insides underscored.

    The length and the line ends stay. The second value says what the end of the
    text is inside of.
    """
    pieces: list[str] = []
    position = 0
    inside: Inside = "code"
    for span in lex(text, language_id):
        pieces.append(text[position : span.start])
        piece = text[span.start : span.end]
        if span.kind == "comment":
            pieces.append(re.sub(r"[^\n\r]", " ", piece))
        else:
            close = span.close_length if span.closed else 0
            inner = re.sub(r"[^\n\r]", "_", piece[1 : len(piece) - min(close, 1)])
            pieces.append(piece[0] + inner + (piece[-1] if close else ""))
        position = span.end
        if span.end == len(text) and not span.closed:
            # an unclosed string reaches over a line end only if it is a long one
            inside = span.kind
    pieces.append(text[position:])
    return "".join(pieces), inside


def unify_line_ends(text: str) -> str:
    r"""Return ``text`` with ``\r\n`` and ``\r`` turned into ``\n``."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


_LINE_END = re.compile(r"[\r\n]")


def split_at_cursor(prefix: str, suffix: str) -> tuple[str, str]:
    """Return what stands left and right of the cursor on its own line."""
    start = max(prefix.rfind("\n"), prefix.rfind("\r")) + 1
    end = _LINE_END.search(suffix)
    return prefix[start:], suffix[: end.start()] if end else suffix


def indent_width(line: str) -> int:
    """Return the column of the first character of ``line`` that is not blank."""
    column = 0
    for character in line:
        if character == " ":
            column += 1
        elif character == "\t":
            column += TAB_WIDTH - column % TAB_WIDTH
        else:
            break
    return column


def is_closers_only(right: str) -> bool:
    """Return whether ``right`` holds closers and terminators only, at least one."""
    bare = right.strip()
    return bool(bare) and all(c in CLOSERS or c.isspace() for c in bare)


class _Logical(NamedTuple):
    """A logical line: its masked text, its first line's column and first word."""

    code: str
    last: str
    indent: int
    word: str


def _logical_line(lines: list[str], index: int) -> _Logical:
    """Return the line at ``index`` with the lines above that its closers reach."""
    first = index
    depth = _unopened(lines[index])
    while depth > 0 and first > 0 and index - first < _MAX_LOOK_BACK:
        first -= 1
        depth += _net_closers(lines[first])
    code = " ".join(lines[first : index + 1]).rstrip()
    word = re.match(r"\s*(\w*)", lines[first])
    return _Logical(
        code=code,
        last=lines[index].rstrip(),
        indent=indent_width(lines[first]),
        word=word.group(1) if word else "",
    )


def _unopened(code: str) -> int:
    depth = lowest = 0
    for character in code:
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            lowest = min(lowest, depth)
    return -lowest


def _net_closers(code: str) -> int:
    return sum((c in ")]}") - (c in "([{") for c in code)


Opens = Literal["", "bracket", "header", "label"]


def _opens(line: _Logical, language_id: str) -> Opens:
    """Return how a logical line opens a body below it, if it does."""
    syntax = syntax_of(language_id)
    code = line.code
    if syntax.label is not None and syntax.label.search(code):
        return "label"
    if code.endswith(("(", "[", "{")) and syntax.quotes:
        return "bracket"
    if syntax.header is None:
        return ""
    if syntax.layout:
        is_whole = _net_closers(code) == 0
        return "header" if is_whole and syntax.header.search(code) else ""
    is_header = syntax.header.search(code) or syntax.header.search(line.last)
    return "header" if is_header else ""


_BRACE_HEADER = re.compile(
    r"(?:\)|=>|\b(?:else|do|try|finally|loop|unsafe|init|get|set))[^=(,:\[]*\{$"
    r"|^\s*(?:[\w@]+\s+)*(?:class|struct|interface|enum|impl|trait|namespace|fn|func"
    r"|fun|function|object|module|type|extension|protocol|if|for|while|switch|match"
    r"|when|union|record)\b.*\{$"
)


# a header without an end mark of its own, such as Ruby's, may still be being typed
_HALF_TYPED = re.compile(
    r"(?<!\bdo)(?<!\bthen)(?<!\belse)(?<!\bbegin)(?<!\bin)(?<!\brepeat)(?<!\bof)"
    r"(?<!\bwhere)(?<!\blet)(?<!\bwith)(?<=\w)$"
)


@dataclass(frozen=True, slots=True)
class _Place:
    """The cursor's surroundings, read once."""

    before: str
    right: str
    code: str
    inside: Inside
    above: _Logical | None
    opens: Opens
    below: str | None
    below_gap: int


def _look(prefix: str, suffix: str, language_id: str) -> _Place:
    before, right = split_at_cursor(prefix, suffix)
    masked, inside = mask(unify_line_ends(prefix), language_id)
    lines = masked.split("\n")
    index = len(lines) - 1
    if not before.strip():
        index = _code_line_above(lines, index)
    above = _logical_line(lines, index) if index >= 0 and lines[index].strip() else None
    below, gap = None, 0
    for line in unify_line_ends(suffix[len(right) :]).split("\n")[1:]:
        if line.strip():
            below = line
            break
        gap += 1
    return _Place(
        before=before,
        right=right,
        code=lines[-1],
        inside=inside,
        above=above,
        opens=_opens(above, language_id) if above else "",
        below=below,
        below_gap=gap,
    )


def _code_line_above(lines: list[str], index: int) -> int:
    """Return the index of the code line above, past blanks, comments, docstrings."""
    lowest = max(index - _MAX_LOOK_BACK, -1)
    for above in range(index - 1, lowest, -1):
        line = lines[above]
        if line.strip(" \t_\"'"):
            return above
    return -1


def decide_shape(
    prefix: str, suffix: str, language_id: str, multi_line: MultiLine
) -> Shape:
    """Return what the cursor between ``prefix`` and ``suffix`` asks for.

    Both are windows of the document as it is, with its own line ends.
    """
    place = _look(prefix, suffix, language_id)
    kind, reason = _decide(place, language_id)
    if multi_line == "never":
        kind, reason = "line", "setting-never"
    elif multi_line == "always":
        kind, reason = "block", "setting-always"
    return _with_indentation(place, kind, reason, prefix, language_id)


def _decide(place: _Place, language_id: str) -> tuple[Literal["line", "block"], str]:
    is_blank = not place.before.strip()
    has_right = bool(place.right.strip())
    if has_right and not is_closers_only(place.right):
        return "line", "insert-line" if is_blank else "text-right"
    if place.inside != "code":
        return "line", place.inside
    if is_blank:
        return ("line", "closers-right") if has_right else _decide_blank(place)
    if has_right:
        is_pair = place.code.endswith("{") and place.right.lstrip().startswith("}")
        is_header = syntax_of(language_id) is _CSS or _BRACE_HEADER.search(place.code)
        if is_pair and is_header:
            return "block", "open-brace"
        return "line", "closers-right"
    if not place.opens or place.above is None:
        return "line", "mid-line"
    if place.opens == "header" and _HALF_TYPED.search(place.code):
        return "line", "mid-line"
    if _has_body_below(place, place.above.indent, language_id):
        return "line", "body-below"
    return "block", "below-" + place.opens


def _decide_blank(place: _Place) -> tuple[Literal["line", "block"], str]:
    typed = indent_width(place.before)
    expected = typed
    if place.above is not None and (place.opens or not place.before):
        expected = max(typed, place.above.indent + bool(place.opens))
    is_near = place.below is not None and place.below_gap == 0
    if is_near and _continues(place.below or "", expected):
        return "line", "gap"
    if place.opens:
        return "block", "below-" + place.opens
    if is_near:
        return "block", "end-of-body"
    return "block", "before-blank" if place.below is not None else "end-of-text"


def _continues(line: str, column: int) -> bool:
    """Return whether ``line`` goes on with a body at ``column``."""
    if line.lstrip()[0] in ")]}":
        return indent_width(line) > column
    return indent_width(line) >= column


def _has_body_below(place: _Place, column: int, language_id: str) -> bool:
    if place.below is None or place.below_gap:
        return False
    word = re.match(r"\s*(\w*)", place.below)
    syntax = syntax_of(language_id)
    if word and word.group(1) in syntax.closers | syntax.middles:
        return False
    return _continues(place.below, column + 1)


def _with_indentation(
    place: _Place,
    kind: Literal["line", "block"],
    reason: str,
    prefix: str,
    language_id: str,
) -> Shape:
    typed = indent_width(place.before)
    above_indent = place.above.indent if place.above else 0
    is_blank = not place.before.strip()
    if place.opens:
        least = above_indent + (place.opens != "label")
        indent_fixed = is_blank and typed > above_indent
        indent = typed if indent_fixed else least
        opener_indent = above_indent
        opener_word = place.above.word if place.above else ""
    else:
        indent = typed
        indent_fixed = is_blank and bool(place.before) and typed >= above_indent
        if not is_blank:
            indent, indent_fixed = indent_width(place.before), True
        opener_indent, opener_word = enclosing(prefix, indent)
    return Shape(
        kind=kind,
        reason=reason,
        indent=indent,
        indent_fixed=indent_fixed,
        opener_indent=opener_indent,
        opener_word=opener_word,
        whole_body=bool(place.opens),
        language_id=language_id,
    )


def enclosing(prefix: str, column: int) -> tuple[int, str]:
    """Return column and first word of the nearest line above left of ``column``.

    (-1, "") where there is none.
    """
    for line in reversed(unify_line_ends(prefix).split("\n")[:-1]):
        bare = line.strip()
        if bare and indent_width(line) < column:
            word = re.match(r"\w*", bare)
            return indent_width(line), word.group() if word else ""
    return -1, ""
