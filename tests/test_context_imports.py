"""What documents import, and which files of the workspace that is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lsp_stablecode.context.imported import ImportFinder
from lsp_stablecode.context.imports import imports_of
from lsp_stablecode.context.place import OpenText, Surroundings
from lsp_stablecode.context.privacy import Privacy
from lsp_stablecode.languages import language_of

# language: statement, module, names, aliases
STATEMENTS = [
    ("python", "from a.b import (c as d,\n    e)\n", "a.b", "c d e", ""),
    ("python", "import a.b as c", "a.b", "", "c"),
    ("python", "from . import x", ".", "x", ""),
    ("python", "from ..y import z  # why", "..y", "z", ""),
    ("javascript", "import a, { b as c } from './m';", "./m", "a b c", "a"),
    ("typescript", "import type { T } from '../t'", "../t", "T", ""),
    ("typescript", "import * as ns from './m'", "./m", "ns", "ns"),
    ("javascript", "const { a, b: c } = require('./m')", "./m", "a b c", ""),
    ("javascript", "const m = require('./m')", "./m", "m", "m"),
    ("typescript", "export { a } from './m'", "./m", "a", ""),
    ("go", 'import (\n\tx "e/f"\n)', "e/f", "", "x"),
    ("go", 'import "e/f"', "e/f", "", "f"),
    ("java", "import a.b.Shape;", "a.b.Shape", "Shape", "Shape"),
    ("java", "import static a.b.Shape.*;", "a.b.Shape", "Shape", "Shape"),
    ("kotlin", "import a.b.Shape as S", "a.b.Shape", "Shape S", "S"),
    ("scala", "import a.b.{C => D}", "a.b.C", "C D", ""),
    ("csharp", "using A.B;", "A.B", "B", "B"),
    ("rust", "use crate::a::{b::C};", "crate::a::b::C", "C", "C"),
    ("rust", "mod shapes;", "mod shapes", "", "shapes"),
    ("php", "use A\\B\\C as D;", "A.B.C", "C D", ""),
    ("php", "require_once __DIR__ . '/x.php';", "/x.php", "", ""),
    ("ruby", "require_relative 'x/y'", "x/y", "", ""),
    ("lua", "local m = require('a.b')", "a.b", "", "m"),
    ("c", '#include "x.h"', "x.h", "", ""),
    ("shellscript", '. "$DIR/lib.sh"', "lib.sh", "", ""),
    ("css", '@import "x.css";', "x.css", "", ""),
    ("html", '<script src="x.js"></script>', "x.js", "", ""),
]


@pytest.mark.parametrize(
    ("language_id", "text", "module", "names", "aliases"), STATEMENTS
)
def test_statements(
    language_id: str, text: str, module: str, names: str, aliases: str
) -> None:
    """A module, what is taken of it, and what it is called here."""
    (one,) = imports_of(f"\n{text}\n", language_id)
    assert one.module == module
    assert one.names == set(names.split())
    assert one.aliases >= set(aliases.split())


# the importing file: its text; the files that are there; those it leads to
WORKSPACES = [
    ("src/a/main.py", "from a.b import c", "src/a/b.py src/a/x.py", "src/a/b.py"),
    ("a/main.py", "from .b import c", "a/b.py b.py", "a/b.py"),
    ("a/main.py", "from . import b", "a/b.py a/__init__.py", "a/b.py a/__init__.py"),
    ("a/c/main.py", "from ..b import c", "a/b/__init__.py", "a/b/__init__.py"),
    ("src/main.ts", "import { x } from './x'", "src/x.ts", "src/x.ts"),
    ("src/main.ts", "import { x } from './x.js'", "src/x.ts", "src/x.ts"),
    ("src/main.tsx", "import X from './x'", "src/x/index.tsx", "src/x/index.tsx"),
    ("src/p/main.ts", "import X from '@/x'", "src/x.ts", "src/x.ts"),
    ("main.js", "const x = require('../x')", "../x.js", ""),
    ("main.js", "import x from 'x'", "x.js", ""),
    ("cmd/main.go", 'import "m.org/p/q"', "q/a.go q/a_test.go", "q/a.go"),
    ("p/main.go", "package p", "p/other.go", "p/other.go"),
    (
        "src/main/java/a/b/Main.java",
        "import a.c.Shape;",
        "src/main/java/a/c/Shape.java",
        "src/main/java/a/c/Shape.java",
    ),
    ("a/b/Main.kt", "import a.c.Shape", "a/c/Shape.kt", "a/c/Shape.kt"),
    ("App/Main.cs", "using App.Shapes;", "App/Shapes/Area.cs", "App/Shapes/Area.cs"),
    ("src/main.rs", "mod x;", "src/x/mod.rs", "src/x/mod.rs"),
    ("src/a.rs", "use crate::b::c::D;", "src/b/c.rs src/lib.rs", "src/b/c.rs"),
    ("src/a/b.rs", "use super::c::D;", "src/a/c.rs", "src/a/c.rs"),
    ("src/a.c", '#include "b.h"', "include/b.h", "include/b.h"),
    ("src/A/Main.php", "use App\\B\\C;", "src/B/C.php", "src/B/C.php"),
    ("lib/main.rb", "require_relative 'a/b'", "lib/a/b.rb", "lib/a/b.rb"),
    ("lua/p/main.lua", "local x = require 'p.x'", "lua/p/x.lua", "lua/p/x.lua"),
    ("index.html", '<link href="css/a.css">', "css/a.css", "css/a.css"),
    ("bin/run.sh", ". ./lib.sh", "bin/lib.sh", "bin/lib.sh"),
]


def _write(root: Path, names: str, text: str = "text\n") -> None:
    for name in names.split():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _here(root: Path, name: str, text: str, **options: object) -> Surroundings:
    path = root / name
    return Surroundings(
        uri=path.as_uri(),
        path=path,
        language_id=language_of(path),
        prefix=text + "\n",
        suffix="",
        line=1,
        folders=(root,),
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(("name", "text", "files", "expected"), WORKSPACES)
def test_resolution(
    name: str, text: str, files: str, expected: str, tmp_path: Path
) -> None:
    """Imports lead to files inside the workspace, and to no others."""
    root = tmp_path / "workspace"
    _write(root, f"{name} {files}")
    (root / "go.mod").write_text("module m.org/p\n")
    finder = ImportFinder()
    here = _here(root, name, text)
    found = finder.find(here, ())
    assert set(found) == {root / one for one in expected.split()}
    read = finder.closed(found, here, ())
    assert {one.path for one in read} == set(found)


def test_a_front_file_is_followed(tmp_path: Path) -> None:
    """`from package import name` leads to where the name is defined."""
    _write(tmp_path, "p/__init__.py", "from .shape import Shape\nfrom .x import y\n")
    _write(tmp_path, "p/shape.py p/x.py")
    found = ImportFinder().find(_here(tmp_path, "a.py", "from p import Shape"), ())
    assert set(found) == {tmp_path / "p/__init__.py", tmp_path / "p/shape.py"}
    assert found[tmp_path / "p/shape.py"].names == {"Shape"}


def test_private_and_large_files_are_not_read(tmp_path: Path) -> None:
    """What must not enter a prompt is not even opened; nor is what is too long."""
    _write(tmp_path, "ignored.py secrets.py fine.py gone.py")
    _write(tmp_path, "large.py", "x = 1\n" * 100_000)
    (tmp_path / "binary.py").write_bytes(b"\0")
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    privacy = Privacy([tmp_path], ["gone.*"])
    text = "import ignored, secrets, fine, gone, large, binary"
    here = _here(tmp_path, "a.py", text, privacy=privacy)
    finder = ImportFinder()
    read = finder.closed(finder.find(here, ()), here, ())
    assert [one.path for one in read] == [tmp_path / "fine.py"]


def test_open_documents_count_as_files(tmp_path: Path) -> None:
    """A document that nobody saved yet is found, and not read from disk."""
    path = tmp_path / "b.py"
    other = OpenText(path.as_uri(), path, "python", 1, "def f(): ...\n")
    here = _here(tmp_path, "a.py", "from b import f", others=(other,))
    finder = ImportFinder()
    found = finder.find(here, (other,))
    assert set(found) == {path}
    assert finder.closed(found, here, (other,)) == []


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """As long as it does not change it is read once."""
    _write(tmp_path, "b.py", "one\n")
    here = _here(tmp_path, "a.py", "import b")
    finder = ImportFinder()
    found = finder.find(here, ())
    (first,) = finder.closed(found, here, ())
    assert finder.closed(found, here, ())[0] is first
    _write(tmp_path, "b.py", "another\n")
    assert finder.closed(found, here, ())[0].text == "another\n"


# What patterns may stumble over, again and again: words, blanks, beginnings of imports.
_PIECES = [
    *("a", "a.", "a ", "a\n", " ", "\n", "  \n", "{", "(", '"', "'", "x="),
    *(
        "import ",
        "import\n",
        "import a\n",
        "import a as ",
        "import type ",
        "import {a,",
    ),
    *("import (", "import a.{\n", "from a import ", "from a import (a\n", "export\n"),
    *("const a ", "const {", "await ", "require ", "require(", "using\n", "global "),
    *("pub(", "use x\n", "use a::{", "use a\\", "mod a ", "include ", "#include "),
    *("@import ", "<link ", '<script a src="', "source ", ". $(\n", "require\n"),
]


@pytest.mark.parametrize("language", sorted({one[0] for one in STATEMENTS}))
def test_any_text_is_read_in_linear_time(language: str) -> None:
    """Nothing else runs while a pattern searches: it must not take seconds."""
    for piece in _PIECES:
        for text in (piece * (16_000 // len(piece)), piece * (900 // len(piece))):
            for start in ("", "import {", "from a import (a", "import (", "require"):
                started = time.process_time()
                imports_of(start + text, language)
                assert time.process_time() - started < 1.5, (start, piece)


def test_long_lines_are_passed_over() -> None:
    """What a tool put on one line hides no import of another line."""
    text = f"const data = '{'x' * 5000}'\nimport {{ a }} from './m';\n"
    assert [one.module for one in imports_of(text, "javascript")] == ["./m"]


@pytest.mark.parametrize("language", sorted({one[0] for one in STATEMENTS}))
def test_modules_that_no_file_can_be_named_after(language: str, tmp_path: Path) -> None:
    """A name that the file system refuses is no import, and breaks no request."""
    long = "Aa" * 200
    for statement in (one[1] for one in STATEMENTS if one[0] == language):
        for name in (long, f"{long}.b", f"./{long}/b", "nul\0", "\ud800"):
            for was in ("a", "m", "x", "./m", "a.b", "e/f", "A"):
                here = Surroundings(
                    uri=(tmp_path / "here").as_uri(),
                    path=tmp_path / "here",
                    language_id=language,
                    prefix=statement.replace(was, name),
                    suffix="",
                    line=0,
                    folders=(tmp_path,),
                )
                assert not ImportFinder().find(here, ())
