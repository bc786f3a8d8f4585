"""What a document imports, read from its text.

By patterns and not by a tree: an import stands on lines of its own in nearly every
language, and is to be found in a text that is being typed and does not parse.

The patterns take linear time: all other threads wait while ``re`` searches. Blanks and
names are taken whole, what begins at a line's start does not run over empty lines, and
what may span lines is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

_MOST_IN_LINE = 1000


@dataclass(frozen=True, slots=True)
class Import:
    """A module as it is written, and what the document takes of it.

    ``names`` are those taken one by one, by their own name and by the one they get
    here; ``aliases`` are what the module itself is called here.
    """

    module: str
    names: frozenset[str] = frozenset()
    aliases: frozenset[str] = frozenset()


def imports_of(text: str, language_id: str) -> tuple[Import, ...]:
    """Return a document's imports, in its order; none for an unknown language."""
    reader = _READERS.get(language_id)
    return () if reader is None else tuple(reader(_without_long_lines(text)))


def _without_long_lines(text: str) -> str:
    """Empty the lines that nobody wrote by hand: data, and bundles made small."""
    lines = text.split("\n")
    return "\n".join(one if len(one) <= _MOST_IN_LINE else "" for one in lines)


_PYTHON = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<module>\.*[\w.]*)[ \t]+import[ \t]*"
    r"(?:\((?P<block>[^()]*)\)?|(?P<names>[^\n#]*))"
    r"|import[ \t]+(?P<modules>[\w. ,\t]+))",
    re.MULTILINE,
)


def _python(text: str) -> Iterator[Import]:
    for match in _PYTHON.finditer(text):
        if match["modules"]:
            for module, alias in _pairs(match["modules"], r"\s+as\s+"):
                last = alias.rpartition(".")[2]
                yield Import(module, aliases=frozenset({alias, last}))
            continue
        block = re.sub(r"#[^\n]*", "", match["block"] or match["names"] or "")
        yield Import(match["module"], _names(block, r"\s+as\s+"))


_SCRIPT = re.compile(
    r"(?:^|[;\s])(?:import|export)\s++(?:type\s++)?"
    r"(?P<clause>(?=[\w$*{])[\w$*,\s]{0,200}?(?:\{[^{};'\"()=]*+\})?)\s{0,99}+"
    r"from\s*+['\"](?P<module>[^'\"\n]+)['\"]"
    r"|(?:(?:const|let|var)\s++(?P<bound>[\w$]++|\{[^{}]*+\})\s*+=\s*+)?"
    r"(?:await\s++)?\b(?:require|import)\s*+\(\s*+"
    r"['\"](?P<required>[^'\"\n]+)['\"]\s*+\)"
    r"|^[ \t]*+import\s++['\"](?P<bare>[^'\"\n]+)['\"]",
    re.MULTILINE,
)


def _script(text: str) -> Iterator[Import]:
    for match in _SCRIPT.finditer(text):
        module = match["module"] or match["required"] or match["bare"]
        clause = match["clause"] or match["bound"] or ""
        braces = re.search(r"\{([^{}]*)\}?", clause)
        names = _names(braces[1], r"\s+as\s+|\s*:\s*") if braces else frozenset()
        rest = re.sub(r"\{[^{}]*\}?", "", clause)
        whole = frozenset(re.findall(r"[\w$]+", rest)) - {"as", "type"}
        # The default export has its own name there, most often the same.
        yield Import(module, names | whole, whole)


_GO_BLOCK = re.compile(
    r"^import\s*(?:\((?P<block>[^()]*)\)?|(?P<one>[^\n(]+))", re.MULTILINE
)
_GO_LINE = re.compile(r"(?:(?<![\w.])(?P<alias>[\w.]++)\s++)?\"(?P<module>[^\"\n]+)\"")


def _go(text: str) -> Iterator[Import]:
    for block in _GO_BLOCK.finditer(text):
        for match in _GO_LINE.finditer(block["block"] or block["one"] or ""):
            alias = (match["alias"] or match["module"].rpartition("/")[2]).strip()
            yield Import(match["module"], aliases=frozenset({alias}))


_DOTTED = re.compile(
    r"^[ \t]*(?:import|using|global\s+using)\s+(?:static\s+)?(?:(?P<named>\w+)\s*=\s*)?"
    r"(?P<module>\w+(?:\.\w+)*)(?:\.(?P<star>\*)|\.\{(?P<block>[^{}]*)\})?"
    r"(?:\s+as\s+(?P<alias>\w+))?",
    re.MULTILINE,
)


def _dotted(text: str) -> Iterator[Import]:
    for match in _DOTTED.finditer(text):
        module = match["module"].removesuffix("._")
        if match["block"] is not None:
            for name, alias in _pairs(match["block"], r"\s*=>\s*|\s+as\s+"):
                yield Import(f"{module}.{name}", frozenset({name, alias}))
            continue
        last = module.rpartition(".")[2]
        alias = match["alias"] or match["named"] or last
        # By custom a type's name is written large; of one with ``.*`` come the members.
        names = frozenset({last, alias}) if last[:1].isupper() else frozenset[str]()
        yield Import(module, names, frozenset({alias}))


_RUST = re.compile(
    r"^[ \t]*+(?:pub(?:\([\w ]+\))?\s++)?"
    r"(?:mod\s++(?P<mod>\w+)\s*+;|use\s++(?P<use>[^;]{1,3000}+);)",
    re.MULTILINE,
)


def _rust(text: str) -> Iterator[Import]:
    for match in _RUST.finditer(text):
        if match["mod"]:
            yield Import("mod " + match["mod"], aliases=frozenset({match["mod"]}))
            continue
        for path, alias in _rust_paths("".join(match["use"].split("\n"))):
            module, _, name = path.rpartition("::")
            taken = frozenset({name, alias}) - {"*", "self"}
            yield Import(path if name != "*" else module, taken, taken)


def _rust_paths(
    tree: str, prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, str]]:
    """Yield the paths of ``a::{b, c::{d, e as f}}``, each with its name here."""
    for part in _split_outside(tree, ","):
        part = part.strip()
        head, brace, inner = part.partition("{")
        if brace and depth < 5:
            yield from _rust_paths(
                inner.rpartition("}")[0] or inner, prefix + head.strip(), depth + 1
            )
        elif part:
            path, _, alias = part.partition(" as ")
            path = (prefix + path.strip()).removesuffix("::self")
            yield path, alias.strip() or path.rpartition("::")[2]


def _split_outside(text: str, mark: str) -> Iterator[str]:
    depth, start = 0, 0
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if character == mark and depth == 0:
            yield text[start:place]
            start = place + 1
    yield text[start:]


_PHP = re.compile(
    r"^[ \t]*+use\s++(?:function\s++|const\s++)?(?P<use>[\w\\]+)"
    r"(?:\\\{(?P<block>[^{}]*)\})?"
    r"(?:\s+as\s+(?P<alias>\w+))?\s*;"
    r"|\b(?:require|include)(?:_once)?\b[^;'\"\n]{0,200}+['\"](?P<file>[^'\"\n]+)['\"]",
    re.MULTILINE,
)


def _php(text: str) -> Iterator[Import]:
    for match in _PHP.finditer(text):
        if match["file"]:
            yield Import(match["file"])
            continue
        module = match["use"].strip("\\").replace("\\", ".")
        if match["block"] is not None:
            for name, alias in _pairs(match["block"], r"\s+as\s+"):
                name = name.replace("\\", ".")
                yield Import(f"{module}.{name}", frozenset({name, alias}))
        else:
            last = module.rpartition(".")[2]
            yield Import(module, frozenset({last, match["alias"] or last}))


def _by_pattern(pattern: str) -> Callable[[str], Iterator[Import]]:
    """Make a reader of ``module`` and, perhaps, ``alias`` in a pattern."""
    compiled = re.compile(pattern, re.MULTILINE)
    has_alias = "alias" in compiled.groupindex

    def read(text: str) -> Iterator[Import]:
        for match in compiled.finditer(text):
            alias = match["alias"] if has_alias else None
            yield Import(match["module"], aliases=frozenset([alias] if alias else []))

    return read


_include = _by_pattern(r"^[ \t]*#[ \t]*include[ \t]*[\"<](?P<module>[^\">\n]+)[\">]")
_lua = _by_pattern(
    r"(?:\b(?P<alias>\w++)\s*+=\s*+)?\brequire\s*+\(?\s*+['\"](?P<module>[\w./-]+)['\"]"
)
_ruby = _by_pattern(
    r"^[ \t]*+(?:require|require_relative|load)[ (]+['\"](?P<module>[\w./-]+)['\"]"
)
_shell = _by_pattern(
    r"^[ \t]*+(?:source|\.)[ \t]++[\"']?"
    r"(?:\$\{?\w++\}?/|\$\([^)\n]*+\)/)?(?P<module>[\w./-]+)"
)
_css = _by_pattern(r"@(?:import|use|forward)\s+(?:url\()?['\"](?P<module>[^'\"\n]+)")
_html = _by_pattern(
    r"<(?:link|script)\b[^<>]*?\b(?:href|src)=[\"'](?P<module>[^\"'?#]+)"
)


def _pairs(text: str, separator: str) -> Iterable[tuple[str, str]]:
    """Yield (name, name here) of ``a as b, c``."""
    for part in text.split(","):
        # A blank for each run of them: the separators begin with any number.
        words = re.split(separator, " ".join(part.split()), maxsplit=1)
        name = words[0].strip().removeprefix("type ").strip("() \t\n\\")
        if name:
            yield name, words[-1].strip("() \t\n\\")


def _names(text: str, separator: str) -> frozenset[str]:
    pairs = _pairs(text, separator)
    return frozenset(name for pair in pairs for name in pair) - {"*", "default"}


_READERS: dict[str, Callable[[str], Iterator[Import]]] = {
    "python": _python,
    "javascript": _script,
    "javascriptreact": _script,
    "typescript": _script,
    "typescriptreact": _script,
    "vue": _script,
    "svelte": _script,
    "go": _go,
    "java": _dotted,
    "kotlin": _dotted,
    "scala": _dotted,
    "csharp": _dotted,
    "rust": _rust,
    "php": _php,
    "c": _include,
    "cpp": _include,
    "lua": _lua,
    "ruby": _ruby,
    "shellscript": _shell,
    "bash": _shell,
    "sh": _shell,
    "zsh": _shell,
    "css": _css,
    "scss": _css,
    "html": _html,
}
