"""Neovim with the starter model; how long a key takes to become ghost text."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import pytest

from tests.editors.neovim_editing import VARIANTS, VERSIONS, Editing, Variant, start

pytestmark = pytest.mark.editor

_NUM_KEYS = 24


@pytest.mark.model
@pytest.mark.parametrize("variant", VERSIONS, ids=str)
def test_the_starter_model(variant: Variant, tmp_path: Path) -> None:
    """Its loading is shown; its suggestion comes without another key, and is right."""
    progress = """
    vim.o.laststatus = 2
    vim.o.statusline = "[%{v:lua.require'lsp-stablecode'.status()}]"
    progress = {}
    vim.api.nvim_create_autocmd('LspProgress', {
      callback = function(event)
        table.insert(progress, event.data.params.value.kind)
      end,
    })
    """
    with start(variant, tmp_path, model="starter", after=progress) as editing:
        neovim = editing.neovim
        # However unsure the model is: this is about what comes, not about whether.
        editing.change_settings(leastConfidence=0)
        neovim.edit(editing.project / "shapes.py")
        neovim.type("Go<C-u><CR>print(volume(width=2, he")
        frame = neovim.see(
            lambda frame: "".join(frame.ghost).startswith("ight="), "a suggestion", 200
        )
        assert frame.row_with("print(volume(width=2, height=")
        neovim.type("<Tab>")
        neovim.until(lambda: "height=" in neovim.line, "it is accepted")
        frames = neovim.frames_since(0)
        assert any(one.row_with("[stablecode: loading") for one in frames)
        assert neovim.lua("return progress[1]") == "begin"
        assert neovim.lua("return progress[#progress]") == "end"


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_key_becomes_ghost_text_soon(variant: Variant, tmp_path: Path) -> None:
    """The client adds little to the server's time, which the trace holds.

    Beside other work the median was 7.5 to 9.6 ms; it must be less than 30 for people
    not to notice. Here any machine must do.
    """
    with start(variant, tmp_path) as editing:
        editing.open("shapes.py")
        added_ms = _measure(editing, tmp_path / "trace.jsonl")
    added_ms.sort()
    median_ms = statistics.median(added_ms)
    print(
        f"\nNeovim {variant}: {median_ms:.1f} ms added in the median of "
        f"{len(added_ms)} keys (from {added_ms[0]:.1f} to {added_ms[-1]:.1f})"
    )
    assert median_ms < 150


def _measure(editing: Editing, trace: Path) -> list[float]:
    """Return what the client added for each key, in milliseconds.

    Each key is one that the ghost text on the screen says nothing of, so that it comes
    from an answer to that very key.
    """
    neovim = editing.neovim
    added_ms: list[float] = []
    neovim.type("Go<C-u>x")
    for number in range(_NUM_KEYS):
        key = "sp"[number % 2]
        rest = ("ize = width * height", 'rint("the area is", size)')[number % 2]
        num_traced = len(_answers(trace))
        typed_s = neovim.type(f"<BS>{key}")
        frame = neovim.see(lambda frame, rest=rest: frame.ghost == (rest,), rest)
        drawn_s = next(
            one.time_s
            for one in neovim.frames_since(typed_s)
            if one.ghost == frame.ghost
        )
        answers = neovim.until(
            lambda before=num_traced: _answers(trace)[before:], "the trace"
        )
        added_ms.append(1000 * (drawn_s - typed_s) - answers[-1])
        time.sleep(0.05)  # For the server not to take it for one burst of keys.
    return added_ms


def _answers(trace: Path) -> list[float]:
    """Return the server's milliseconds for each answer that suggested something."""
    lines = map(json.loads, trace.read_text("utf-8").splitlines())
    return [
        one["latencyMs"]
        for one in lines
        if one["event"] == "completion" and one["suggestions"]
    ]
