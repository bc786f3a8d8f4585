"""What of an editor's workspace reaches a prompt, and what never does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from conftest import Start, plain
from lsprotocol import types
from test_server import _TEXT, _place

from lsp_stablecode.workspace import Workspace


def make_workspace(
    folder: Path, *names: str, exclude: tuple[str, ...] = ()
) -> Workspace:
    workspace = Workspace(exclude)
    workspace.folders = [folder]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"name = {name!r}\n", "utf-8")
        workspace.documents.open(path.as_uri(), "python", 1, path.read_text("utf-8"))
    return workspace


@pytest.mark.parametrize(
    ("name", "outcome"),
    [(".env", "empty:secret"), ("é/ignored.py", "empty:ignored"), ("a.py", "shown")],
)
async def test_a_private_document_gets_no_suggestions(
    name: str, outcome: str, start: Start, tmp_path: Path
) -> None:
    """What git ignores and what holds secrets stays out, though it is open."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("ignored.*\n", "utf-8")
    editor = await start(
        workspace_folders=[types.WorkspaceFolder(tmp_path.as_uri(), "a")]
    )
    uri = editor.open(_TEXT, uri=(tmp_path / name).as_uri())
    shown = await editor.texts(uri, *_place(_TEXT))
    assert bool(shown) == (outcome == "shown")
    assert plain(await editor.command("explain", uri))["outcome"] == outcome


def test_surroundings_name_the_other_documents_newest_first(tmp_path: Path) -> None:
    """A notebook's own cells and the document itself are not among them."""
    workspace = make_workspace(tmp_path, "a.py", "b.py", "c.py")
    uris = [(tmp_path / name).as_uri() for name in ("a.py", "b.py", "c.py")]
    workspace.documents.open_notebook(
        (tmp_path / "n.ipynb").as_uri(),
        "jupyter",
        [("cell:1", "python", 1, "x = 1"), ("cell:2", "python", 1, "y = 2")],
    )
    document = workspace.documents.get(uris[1])
    workspace.note_edit(document, [(((0, 0), (0, 0)), "z = 1\n")])
    around = workspace.surroundings(document, 0, "", "", explicit=False)
    assert [one.uri for one in around.others] == ["cell:2", "cell:1", uris[2], uris[0]]
    assert around.folders == (tmp_path,)
    assert [(one.uri, one.first_line) for one in around.edits] == [(uris[1], 0)]
    cell = workspace.documents.get("cell:1")
    around = workspace.surroundings(cell, 0, "", "", explicit=False)
    assert {one.uri for one in around.others} == set(uris)


def test_globs_and_folders_may_change(tmp_path: Path) -> None:
    """What is private is asked anew when the settings or the folders change."""
    workspace = make_workspace(tmp_path, "a.py")
    document = workspace.documents.get((tmp_path / "a.py").as_uri())
    assert workspace.why_private(document)() == ""
    workspace.exclude(("a.*",))
    assert workspace.why_private(document)() == "excluded"
    workspace.exclude(())
    assert workspace.why_private(document)() == ""


@pytest.mark.parametrize(
    ("uri", "reason", "is_other"),
    [
        ("fugitive:///{}/.git//0/.env", "secret", False),
        ("git:/{}/keys/a.py?%7B%7D", "excluded", False),
        ("git:/{}/a.py?%7B%7D", "", False),
        ("vscode-remote://ssh-remote%2Bhost/home/me/.env", "secret", False),
        ("untitled:.env", "secret", False),
        ("untitled:Untitled-1", "", True),
        ("output:server", "", False),
    ],
)
def test_documents_of_other_schemes(
    uri: str, reason: str, is_other: bool, tmp_path: Path
) -> None:
    """Old versions and the like are judged by name, and stay out of other prompts."""
    workspace = make_workspace(tmp_path, "a.py", exclude=("/keys/",))
    uri = uri.format(tmp_path.as_posix().strip("/"))
    opened = workspace.documents.open(uri, "python", 1, "KEY = 1")
    assert workspace.why_private(opened)() == reason
    document = workspace.documents.get((tmp_path / "a.py").as_uri())
    around = workspace.surroundings(document, 0, "", "", explicit=False)
    shown = [one for one in around.others if not one.why_private(around.privacy)]
    assert bool(shown) == is_other


def test_a_long_notebook_costs_little(tmp_path: Path) -> None:
    """At every key all documents are gone through: each may be asked one thing."""
    workspace = make_workspace(tmp_path, "a.py")
    cells = [f"vscode-notebook-cell:/n%20b.ipynb#{one}%3D" for one in range(500)]
    workspace.documents.open_notebook(
        (tmp_path / "n.ipynb").as_uri(),
        "jupyter",
        [(cell, "python", 1, "x = 1") for cell in cells],
    )
    document = workspace.documents.get(cells[0])
    started = time.process_time()
    for _ in range(10):
        around = workspace.surroundings(document, 0, "", "", explicit=False)
    assert time.process_time() - started < 1.5
    assert [one.path for one in around.others] == [tmp_path / "a.py"]
