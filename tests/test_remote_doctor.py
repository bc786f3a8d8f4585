"""``doctor``, ``complete`` and ``serve`` with a model on a server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from completion_faults import echoes, refuses, tells
from completion_server import NAME, CompletionServer
from conftest import Start, plain
from remote import write_prompt_files

from lsp_stablecode.commands.doctor import Finding, examine
from lsp_stablecode.settings import parse_settings

KEY = "sk-not-for-your-eyes"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prompt_files(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def server() -> Iterator[CompletionServer]:
    with CompletionServer() as one:
        yield one


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lsp_stablecode", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def examined(server: CompletionServer, files: Path, **raw: Any) -> dict[str, Finding]:
    settings, problems = parse_settings(
        {"backend": "openai", "endpoint": server.endpoint, "model": str(files), **raw}
    )
    assert problems == ()
    return {one.subject: one for one in examine(settings)}


def test_all_is_well(
    server: CompletionServer, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Address, key, server, model, tokens, and a completion made there."""
    monkeypatch.setenv("LSP_STABLECODE_API_KEY", KEY)
    server.key = KEY
    found = examined(server, files)
    assert "on this machine" in found["endpoint"].text
    assert found["key"].text == "from LSP_STABLECODE_API_KEY"
    assert NAME in found["server"].text
    assert "takes 512 tokens" in found["model there"].text
    assert "the same tokens" in found["tokens"].text
    assert "the first token after" in found["test"].text
    assert not any(one.fatal for one in found.values())
    assert KEY not in repr(found)


def test_what_is_wrong_is_named(server: CompletionServer, files: Path) -> None:
    server.key = KEY
    found = examined(server, files)
    assert found["model"].fatal
    assert "wants a key" in found["model"].text
    assert found["endpoint"].text
    server.key = ""
    found = examined(server, files, remoteModel="other")
    assert found["model"].fatal
    assert NAME in found["model"].advice
    found = examined(server, files, endpoint="http://127.0.0.1:9/v1")
    assert found["model"].fatal
    assert "no connection" in found["model"].text


def test_another_models_tokens_are_noticed(
    server: CompletionServer, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same vocabulary, cut otherwise: ids still agree, and text does not."""
    tokenizer = server.brain.tokenizer
    others = tokenizer.encode("something else").ids
    monkeypatch.setattr(server, "tokens_of", lambda text: others)
    found = examined(server, files)
    assert "other tokens" in found["tokens"].text
    assert found["tokens"].advice


def test_a_plain_server_says_no_tokens(files: Path) -> None:
    with CompletionServer("plain") as server:
        found = examined(server, files)
        assert "tokens" not in found
        assert "contextTokens" in found["model there"].advice


def test_complete_from_the_command_line(
    server: CompletionServer, files: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.py"
    path.write_text("def add(a, b):\n    return \n")
    remote = ["--backend", "openai", "--endpoint", server.endpoint]
    model = ["--model", str(files), "--remote-model", NAME]
    done = run("complete", f"{path}:2:12", "--json", *remote, *model)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["device"] == f"127.0.0.1:{server.port}"
    assert server.completions
    done = run("complete", f"{path}:2:12", *remote, *model[:2], "--remote-model", "x")
    assert done.returncode == 1
    assert "has no model 'x'" in done.stderr


async def test_an_editor_is_told_once_and_served_again(
    server: CompletionServer, files: Path, start: Start
) -> None:
    """What goes wrong is said once; the next request is answered as if nothing was."""
    settings = {
        "backend": "openai",
        "endpoint": server.endpoint,
        "model": str(files),
        "debounceMs": 0,
        "lookAhead": "never",
    }
    editor = await start(settings=settings)
    status = await editor.status()
    assert status["state"] == "ready"
    assert status["engine"]["device"] == f"127.0.0.1:{server.port}"
    assert "is sent to" in " ".join(status["engine"]["notes"])
    uri = editor.open("def add(a, b):\n    return \n")
    for _ in range(3):
        server.faults.append(refuses(401))
        assert await editor.texts(uri, 1, 11) == []
    shown = [one.message for one in editor.client.messages]
    assert len([one for one in shown if "wants a key" in one]) == 1
    server.faults.append(tells(" a + b\n"))
    assert "a + b" in await editor.texts(uri, 1, 11)


@pytest.mark.parametrize("status", [400, 422])
async def test_a_server_that_repeats_a_document_is_not_quoted_to_anybody(
    status: int, server: CompletionServer, files: Path, start: Start
) -> None:
    """Not in a message, in the status or in a report."""
    settings = {
        "backend": "openai",
        "endpoint": server.endpoint,
        "model": str(files),
        "debounceMs": 0,
        "lookAhead": "never",
    }
    editor = await start(settings=settings)
    await editor.ready()
    uri = editor.open("launch_code = 'platypus'\nx = \n")
    server.faults.append(echoes(status))
    assert await editor.texts(uri, 1, 4) == []
    told = [await editor.status(), plain(await editor.command("report"))]
    shown = [one.message for one in editor.client.messages]
    assert any("refuses the request" in one for one in shown)
    assert "platypus" not in json.dumps([*told, shown])
