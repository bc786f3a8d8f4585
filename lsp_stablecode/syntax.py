"""What is known of each language's syntax, as data: comments, strings, block words."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


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
JAVASCRIPT = replace(_C, long_quotes=(("`", "`"),))
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
CSS = Syntax(comments=())
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
    "css": CSS,
    "scss": replace(CSS, comments=("//",)),
    "less": replace(CSS, comments=("//",)),
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
    "javascript": JAVASCRIPT,
    "javascriptreact": JAVASCRIPT,
    "typescript": JAVASCRIPT,
    "typescriptreact": JAVASCRIPT,
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


def syntax_of(language_id: str) -> Syntax:
    """Return what is known of a language; the family of C where nothing is."""
    return SYNTAXES.get(language_id, _C)
