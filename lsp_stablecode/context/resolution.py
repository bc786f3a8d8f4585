"""Where imports lead: from a module's name to the workspace's files.

Only names of paths are looked at, never the contents of a configuration that a build
would read; one exception is ``go.mod``, whose first words name the module.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsp_stablecode.context.imports import Import

_MOST_IN_FOLDER = 16
_SCRIPT_ENDINGS = (
    ".ts",
    ".tsx",
    ".d.ts",
    ".js",
    ".jsx",
    ".mjs",
    ".cjs",
    ".vue",
    ".svelte",
)
_DOTTED_ENDINGS = {
    "java": (".java", ".kt", ".scala"),
    "kotlin": (".kt", ".java"),
    "scala": (".scala", ".java"),
    "csharp": (".cs",),
    "php": (".php",),
}
# Files of one folder see each other without an import.
_FOLDER_ENDINGS = {
    "go": (".go",),
    "java": (".java",),
    "kotlin": (".kt",),
    "scala": (".scala",),
    "csharp": (".cs",),
    "swift": (".swift",),
}
_SOURCE_FOLDERS = ("src", "lib", "app", "include", "inc", "lua", "python")


@dataclass(frozen=True, slots=True)
class Target:
    """A file that an import leads to; ``name`` if it is one of the names taken."""

    path: Path
    name: str = ""


@dataclass(frozen=True, slots=True)
class Resolver:
    """Resolves the imports of one file.

    ``is_file`` knows open files too, those that nobody saved yet among them.
    """

    path: Path
    language_id: str
    folders: Sequence[Path]
    is_file: Callable[[Path], bool]
    open_paths: Sequence[Path] = ()

    def resolve(self, one: Import) -> Iterator[Target]:
        """Yield the files that an import leads to, inside the workspace only."""
        for target in self._resolve(one):
            if target.path != self.path and self._is_inside(target.path):
                yield target

    def implicit(self) -> Iterator[Path]:
        """Yield the files that this one sees without importing them."""
        endings = _FOLDER_ENDINGS.get(self.language_id, ())
        if endings:
            yield from self._in_folder(self.path.parent, endings)
        if self.language_id in ("c", "cpp"):
            for ending in (".h", ".hpp", ".hh"):
                header = self.path.with_suffix(ending)
                if header != self.path and self.is_file(header):
                    yield header

    @property
    def root(self) -> Path:
        """The workspace's folder, or where the file's package begins."""
        for folder in self.folders:
            if self.path.is_relative_to(folder):
                return folder
        root = self.path.parent
        while self.is_file(root / "__init__.py") and root.parent != root:
            root = root.parent
        return root

    def _is_inside(self, path: Path) -> bool:
        return any(path.is_relative_to(one) for one in (*self.folders, self.root))

    def _resolve(self, one: Import) -> Iterator[Target]:
        match self.language_id:
            case "python":
                yield from self._python(one)
            case "go":
                yield from self._go(one)
            case "rust":
                yield from self._rust(one)
            case "java" | "kotlin" | "scala" | "csharp":
                yield from self._dotted(one)
            case "php":
                is_file = one.module.endswith((".php", ".inc"))
                bases = [self.path.parent, self.root]
                found = self._relative(one, bases, ("",)) if is_file else None
                yield from self._dotted(one) if found is None else found
            case "c" | "cpp":
                bases = [self.path.parent, *self._ancestors(), *self._sources()]
                yield from self._relative(one, bases, ("",))
            case "lua":
                module = one.module
                if "/" not in module:
                    module = module.replace(".", "/")
                bases = [self.path.parent, *self._ancestors(), *self._sources()]
                endings = (".lua", "/init.lua")
                yield from self._relative(Import(module), bases, endings)
            case "ruby":
                bases = [self.path.parent, *self._sources(), self.root]
                yield from self._relative(one, bases, (".rb", ""))
            case "css" | "scss" | "html" | "shellscript" | "bash" | "sh" | "zsh":
                one = Import(one.module.lstrip("/"))
                bases = [self.path.parent, *self._ancestors()]
                yield from self._relative(one, bases, ("", ".css", ".scss"))
            case _:
                yield from self._script(one)

    def _first(self, *paths: Path) -> Iterator[Target]:
        for path in paths:
            if self.is_file(path):
                yield Target(path)
                return

    def _ancestors(self) -> Iterator[Path]:
        """Yield the folders above the file's own, the nearest first, to the root."""
        folder, root = self.path.parent, self.root
        while folder != root and folder.is_relative_to(root):
            folder = folder.parent
            yield folder

    def _sources(self) -> Iterator[Path]:
        """Yield the workspace's folders and those in them where sources begin."""
        for folder in dict.fromkeys((self.root, *self.folders)):
            yield folder
            for name in _SOURCE_FOLDERS:
                yield folder / name

    def _relative(
        self, one: Import, bases: Sequence[Path], endings: Sequence[str]
    ) -> Iterator[Target]:
        if "\0" in one.module:
            return
        yield from self._first(
            *(_joined(base, one.module + end) for base in bases for end in endings)
        )

    def _python(self, one: Import) -> Iterator[Target]:
        dots = len(one.module) - len(one.module.lstrip("."))
        parts = [part for part in one.module.split(".") if part]
        bases = [self.path.parent, *self._ancestors(), *self._sources()]
        if dots:
            bases = [self.path.parent]
            for _ in range(dots - 1):
                bases = [bases[0].parent]
        for base in dict.fromkeys(bases):
            place = base.joinpath(*parts)
            module = place.parent / (place.name + ".py")
            if parts and self.is_file(module):
                yield Target(module)
                return
            package = place / "__init__.py"
            names = [
                Target(place / (name + ".py"), name)
                for name in sorted(one.names)
                if self.is_file(place / (name + ".py"))
            ]
            if self.is_file(package) or names:
                yield from names
                if self.is_file(package):
                    yield Target(package)
                return

    def _script(self, one: Import) -> Iterator[Target]:
        module = one.module
        if module.startswith("."):
            bases = [self.path.parent]
        elif module.startswith(("@/", "~/")):
            # What bundlers agree on most often.
            module = module[2:]
            bases = [self.root / "src", self.root, *self._ancestors()]
        else:
            return
        for base in bases:
            place = _joined(base, module)
            candidates = [place]
            stem = re.sub(r"\.[cm]?jsx?$", "", str(place))
            for text in dict.fromkeys((str(place), stem)):
                candidates += [Path(text + ending) for ending in _SCRIPT_ENDINGS]
            candidates += [place / ("index" + ending) for ending in _SCRIPT_ENDINGS]
            found = list(self._first(*candidates))
            if found:
                yield from found
                return

    def _go(self, one: Import) -> Iterator[Target]:
        for folder in (self.path.parent, *self._ancestors()):
            module = _go_module(folder / "go.mod")
            if module:
                if one.module == module or one.module.startswith(module + "/"):
                    place = folder / one.module[len(module) :].lstrip("/")
                    for path in self._in_folder(place, (".go",)):
                        yield Target(path)
                return

    def _rust(self, one: Import) -> Iterator[Target]:
        if one.module.startswith("mod "):
            name = one.module[4:]
            own = self.path.parent
            if self.path.stem not in ("mod", "lib", "main"):
                own = own / self.path.stem
            yield from self._first(own / f"{name}.rs", own / name / "mod.rs")
            return
        parts = [part for part in one.module.split("::") if part]
        if parts[0] == "crate":
            base = next(
                (
                    one
                    for one in (self.path.parent, *self._ancestors())
                    if self.is_file(one / "lib.rs") or self.is_file(one / "main.rs")
                ),
                self.root / "src",
            )
            parts = parts[1:]
        elif parts[0] in ("super", "self"):
            is_root = self.path.stem in ("mod", "lib", "main")
            base = self.path.parent if is_root else self.path.parent / self.path.stem
            while parts and parts[0] in ("super", "self"):
                base = base.parent if parts[0] == "super" else base
                parts = parts[1:]
        else:
            base = self.path.parent
        # The last parts may name something in the module, and not a module.
        for length in range(len(parts), -1, -1):
            place = base.joinpath(*parts[:length])
            files = [place / "mod.rs"]
            files += [place.parent / f"{place.name}.rs"] if length else []
            files += [place / "lib.rs", place / "main.rs"] if not length else []
            found = list(self._first(*files))
            if found:
                yield from found
                return

    def _dotted(self, one: Import) -> Iterator[Target]:
        """Find ``a.b.C`` as the end of a path below a root of sources."""
        parts = tuple(one.module.split("."))
        endings = _DOTTED_ENDINGS[self.language_id]
        wanted = [parts, parts[:-1]]
        for names in wanted:
            for path in self.open_paths:
                stem = (*path.parent.parts, path.stem)
                if path.suffix in endings and len(names) > 1 and _ends(stem, names):
                    yield Target(path)
                    return
        for base in (self.path.parent, *self._ancestors(), *self._sources()):
            # A file's namespace may begin below the folder that stands for it.
            for skip in (0, 1, 2):
                for names in wanted:
                    rest = names[skip:]
                    if len(rest) < 1 or (skip and len(rest) < 2):
                        continue
                    place = base.joinpath(*rest)
                    for ending in endings:
                        path = place.parent / (place.name + ending)
                        if self.is_file(path):
                            yield Target(path)
                            return
            place = base.joinpath(*parts)
            if len(parts) > 1 and os.path.isdir(place) and place != self.path.parent:
                for path in self._in_folder(place, endings[:1]):
                    yield Target(path)
                return

    def _in_folder(self, folder: Path, endings: tuple[str, ...]) -> Iterator[Path]:
        try:
            names = sorted(os.listdir(folder))
        except (OSError, ValueError):
            return
        found = [
            folder / name
            for name in names
            if name.endswith(endings) and not name.endswith("_test.go")
        ]
        found = [path for path in found if path != self.path]
        yield from found[:_MOST_IN_FOLDER]


def _joined(base: Path, module: str) -> Path:
    return Path(os.path.normpath(os.path.join(base, module)))


def _ends(parts: tuple[str, ...], end: tuple[str, ...]) -> bool:
    return parts[-len(end) :] == end


def _go_module(path: Path) -> str:
    try:
        text = path.read_text("utf-8", "replace")[:10_000]
    except OSError:
        return ""
    match = re.search(r"^module\s+\"?([^\s\"]+)", text, re.MULTILINE)
    return match[1] if match else ""
