"""What of an editor's workspace reaches a prompt, and what never does."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Start
from lsprotocol import types
from test_server import _TEXT, _place, plain

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
    assert workspace.why_private(document) == ""
    workspace.exclude(("a.*",))
    assert workspace.why_private(document) == "excluded"
    workspace.exclude(())
    assert workspace.why_private(document) == ""
