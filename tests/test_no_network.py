"""Serving with a model on this machine opens no connection to anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Start

from tests.hubs import Hubs

# Python calls this for every socket that it connects and every name that it looks up,
# whatever library asks; a Unix socket has a path, and stays on this machine.
_GUARD = """
import sys

def refuse(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], (str, bytes)):
        return
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        with open({record!r}, "a") as file:
            print(event, arguments, file=file)
        raise OSError("no network here")

sys.addaudithook(refuse)
"""
_TEXT = "def one(width):\n    value = compute(width)\n\ndef two(width):\n    va"


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Refuse connections in all Python processes from now on; return what tried."""
    record = tmp_path / "refused"
    (tmp_path / "sitecustomize.py").write_text(_GUARD.format(record=str(record)))
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return record


def test_a_connection_would_be_noticed(refused: Path) -> None:
    connect = "import socket; socket.create_connection(('127.0.0.1', 9))"
    done = subprocess.run(
        [sys.executable, "-c", connect], capture_output=True, text=True, check=False
    )
    assert "no network here" in done.stderr
    assert "127.0.0.1" in refused.read_text()


@pytest.mark.parametrize("arguments", [(), ("--shared",)], ids=["alone", "shared"])
@pytest.mark.parametrize(
    "model", ["echo", pytest.param("starter", marks=pytest.mark.model)]
)
async def test_serving_connects_to_nothing(
    model: str, arguments: tuple[str, ...], refused: Path, hubs: Hubs, start: Start
) -> None:
    """From its start to a suggestion that was accepted, by hand and unasked."""
    editor = await start(*arguments, model=model)
    uri = editor.open(_TEXT)
    items = await editor.items(uri, 4, 6)
    assert items
    await editor.command("accepted", *items[0].command.arguments)
    editor.change(uri, "l", (4, 6))
    await editor.items(uri, 4, 7, invoked=False)
    await editor.status()
    assert len(hubs.processes()) == len(arguments)
    assert not refused.exists(), refused.read_text()
