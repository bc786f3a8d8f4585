"""The demo: a user's first look, so it must show the real thing and end well."""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from lsprotocol import types
from rich.console import Console

from lsp_stablecode.client.editor import Buffer, Ghost
from lsp_stablecode.commands.demo import server_arguments
from lsp_stablecode.demo.picture import check_place
from lsp_stablecode.demo.scenes import SCENES, Scene, View
from lsp_stablecode.demo.show import code, marks_for
from lsp_stablecode.errors import DocumentError
from lsp_stablecode.items import Item
from lsp_stablecode.languages import language_of
from lsp_stablecode.wire import range_of

SAMPLES = Path(__file__).parents[1] / "lsp_stablecode/demo/samples"


def demo(
    *arguments: str, timeout_s: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "lsp_stablecode", "demo", *arguments],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=timeout_s,
        env={
            **os.environ,
            "PYTHONIOENCODING": "utf-8",
            "COLUMNS": "100",
            **environment,
        },
    )


def ghost(text: str, num_replaced: int = 0) -> Ghost:
    """Return a suggestion as the demo holds it."""
    item = types.InlineCompletionItem(
        text, range=range_of(Item(text, (0, 0), (0, num_replaced), "1.0", ""))
    )
    return Ghost(text, num_replaced, item)


def plain(view: View, *, encoding: str = "utf-8", width: int = 80) -> str:
    """Return how a view looks without a terminal."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    console = Console(file=file, width=width, _environ={})
    console.print(code(view, marks_for(console)))
    file.flush()
    written = file.buffer
    assert isinstance(written, io.BytesIO)
    lines = written.getvalue().decode(encoding).splitlines()
    return "\n".join(line.rstrip() for line in lines)


def test_it_shows_every_scene_and_both_timings(tmp_path: Path) -> None:
    """Without a terminal, and with a small engine: exit 0, and nothing left out."""
    picture = tmp_path / "demo.svg"
    result = demo("--model", "echo", "--picture", str(picture))
    assert result.returncode == 0, result.stderr
    for scene in SCENES:
        assert result.stdout.count(scene.title) == 2, "the scene, and the table"
    assert re.search(r"\d\.\d\d s .*answer of initialize", result.stdout)
    assert re.search(r"\d\.\d\d s .*first suggestion \(warm cache", result.stdout)
    assert "type-through" in result.stdout
    assert "suggestion 2: " in result.stdout
    assert "doctor" in result.stdout
    assert "\x1b" not in result.stdout
    assert result.stderr == ""
    drawn = picture.read_text("utf-8")
    assert len(drawn.encode()) < 300_000
    assert set(re.findall(r"https?://[^\"\s<)]+", drawn)) == {
        "http://www.w3.org/2000/svg"
    }
    assert str(tmp_path) not in drawn


def test_a_generation_is_really_cancelled() -> None:
    """With an engine that needs longer, the last scene is answered at once."""
    result = demo("--model", "echo:100")
    assert result.returncode == 0, result.stderr
    milliseconds = re.search(r"cancelled in ([\d.]+) ms", result.stdout)
    assert milliseconds, result.stdout
    assert float(milliseconds[1]) < 100


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_it_writes_to_narrow_and_old_consoles(encoding: str) -> None:
    """A console of 40 columns without Unicode still gets the whole demo."""
    result = demo("--model", "echo", PYTHONIOENCODING=encoding, COLUMNS="40")
    assert result.returncode == 0, result.stderr
    assert "{+pass+}" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 40


def test_a_model_that_is_not_there_is_a_sentence() -> None:
    """The error is the server's own; its log comes before it, and no traceback."""
    result = demo("--model", "no-such-model")
    assert result.returncode == 1
    assert "server: " in result.stderr
    assert "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("lsp-stablecode: ")
    assert "no-such-model" in last


def test_a_server_that_cannot_start_is_a_sentence(tmp_path: Path) -> None:
    """The exit code is named, and why is in the log above it."""
    result = demo("--model", "echo", "--trace", str(tmp_path / "none" / "trace"))
    assert result.returncode == 1
    assert "The trace cannot be written" in result.stderr
    assert "ended with exit code 1" in result.stderr.splitlines()[-1]


def test_a_server_that_dies_is_a_sentence() -> None:
    """Wherever it happens: no traceback, no hanging."""
    command = [sys.executable, "-m", "lsp_stablecode", "demo", "--model", "echo:50"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("3. "):
                break
        for child in psutil.Process(process.pid).children():
            child.kill()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert "The server ended with exit code" in errors.splitlines()[-1]


def test_a_picture_without_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    """Nobody waits for the demo to learn that the file cannot be written."""
    with pytest.raises(DocumentError, match="picture"):
        check_place(tmp_path / "none" / "demo.svg")
    check_place(tmp_path / "demo.svg")


def test_the_server_gets_the_same_options() -> None:
    """What is said about the model to ``demo`` is said to ``serve``."""
    options = argparse.Namespace(
        model="m",
        device="cpu",
        dtype=None,
        context_tokens=512,
        log_level=None,
        trace=None,
    )
    assert server_arguments(options) == [
        *("--model", "m", "--device", "cpu", "--context-tokens", "512"),
        *("--log-level", "info"),
    ]


@pytest.mark.parametrize("scene", [one for one in SCENES if one.keys or one.over])
def test_every_scene_finds_its_place(scene: Scene) -> None:
    """The anchor is in the sample once, and what is typed over follows it."""
    text = (SAMPLES / scene.file).read_text("utf-8")
    assert text.count(scene.after) == 1
    assert text.partition(scene.after)[2].startswith(scene.over)
    assert language_of(Path(scene.file)) != "plaintext"


def test_positions_count_utf16_units() -> None:
    """Offsets and positions are each other's inverse, also past astral characters."""
    buffer = Buffer("file:///x", "x", "python", "a\n😀b\n\nc")
    assert buffer.position(3).character == 2
    for offset in range(len(buffer.text) + 1):
        assert buffer.offset(buffer.position(offset)) == offset


def test_ghost_text_stands_at_the_cursor_and_has_no_line_numbers() -> None:
    """Its first line goes on at the cursor; the file's own lines keep their numbers."""
    view = View("a.py", "python", "if x:\n    \ny = 1\n", 10, (ghost("a()\n    b()"),))
    assert plain(view) == "a.py\n1  if x:\n2      «a()\n       b()»\n3  y = 1"


def test_what_a_suggestion_replaces_is_not_shown_twice() -> None:
    """A closer that the suggestion brings itself stands there once."""
    view = View("a.py", "python", "print(x)\n", 6, (ghost("x, y)", 2),))
    assert plain(view) == "a.py\n1  print(«x, y)»"


def test_without_unicode_the_marks_are_ascii() -> None:
    """An old console can tell the suggestion from the code too."""
    view = View("a.py", "python", "print()\n", 6, (ghost("1"),))
    assert plain(view, encoding="ascii") == "a.py\n1  print({+1+})"


@pytest.mark.model
def test_the_starter_model_completes_real_files() -> None:
    """The promise of ``make demo``: a real model, through the real server."""
    result = demo("--model", "starter", timeout_s=280)
    assert result.returncode == 0, result.stderr
    assert re.search(r"\d\.\d\d s .*answer of initialize", result.stdout)
    assert re.search(
        r"\d\.\d\d s .*first suggestion \((warm|cold) cache", result.stdout
    )
    assert "starter, " in result.stdout
    assert "loading the model: load weights" in result.stdout
    assert re.search(r"sum\(one\.«\w.*» for one in", result.stdout)
    assert re.search(r"type-through in \d", result.stdout)
    assert re.search(r"cancelled in [\d.]+ ms", result.stdout)
