"""A session that was recorded is played again, and compared."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from completion_server import CompletionServer
from conftest import Start, stop_editor
from remote import write_prompt_files

from lsp_stablecode import replay
from lsp_stablecode.errors import RecordingError
from lsp_stablecode.recorded_settings import without_settings
from lsp_stablecode.recording import Recorder, read_recording
from lsp_stablecode.replay import Compared, Replay

_TEXT = "def one(width):\n    value = compute(width)\n\ndef two(width):\n    va"
_REST = "lue = compute(width)"


def serve(*arguments: str, model: str = "echo") -> list[str]:
    command = [sys.executable, "-m", "lsp_stablecode", "serve", "--model", model]
    return [*command, *arguments]


async def record(start: Start, path: Path, *arguments: str) -> None:
    """Type two characters, asking for a suggestion at each."""
    editor = await start("--record", str(path), *arguments)
    uri = editor.open(_TEXT)
    assert (await editor.texts(uri, 4, 6))[0] == _REST
    for count, character in enumerate("lu"):
        editor.change(uri, character, (4, 6 + count))
        assert await editor.texts(uri, 4, 7 + count, invoked=False)
    await stop_editor(editor)


@pytest.mark.parametrize("arguments", [(), ("--shared",)])
async def test_a_session_is_recorded_and_played_again(
    start: Start,
    tmp_path: Path,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LSP_STABLECODE_RUNTIME", str(tmp_path / "run"))
    path = tmp_path / "session.jsonl"
    await record(start, path, *arguments)
    assert os.name == "nt" or stat.S_IMODE(path.stat().st_mode) == 0o600
    compared = Replay(read_recording(path), serve(), speed=20).play()
    assert [one.verdict for one in compared] == ["same"] * 3
    assert compared[0].then[0] == _REST
    assert compared[0].place == "a.py:5:7"
    assert all(one.then_ms and one.now_ms for one in compared)


async def test_what_differs_is_told(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    await record(start, path)
    text = path.read_text().replace("compute(width)", "measure(height)", 1)
    path.write_text(text)
    command = [sys.executable, "-m", "lsp_stablecode", "replay", str(path)]
    command += ["--speed", "20", "--check", "--model", "echo"]
    played = subprocess.run(command, capture_output=True, text=True)
    assert played.returncode == 1, played.stderr
    assert "3 different" in played.stdout
    assert "measure(height)" in played.stdout
    command.insert(command.index("--check"), "--json")
    rows = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    assert {row["verdict"] for row in rows} == {"different"}


_SECTION = "lsp-stablecode"
_ITEM = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": _TEXT}


def write_session(
    path: Path,
    *,
    initial: Any = None,
    pulled: Any = None,
    pushed: Any = None,
    completions: int = 1,
) -> None:
    """Write a session in which an editor says its settings in all three ways."""
    configuration = {"workspace": {"configuration": pulled is not None}}
    asked = {"id": "c", "method": "workspace/configuration"}
    messages: list[dict[str, Any]] = [
        {
            "id": 0,
            "method": "initialize",
            "params": {"capabilities": configuration, "initializationOptions": initial},
        },
        {"method": "initialized", "params": {}},
        {"id": "c", "result": [pulled]},
        {
            "method": "workspace/didChangeConfiguration",
            "params": {"settings": pushed or {}},
        },
        {"method": "textDocument/didOpen", "params": {"textDocument": _ITEM}},
    ]
    place = {
        "textDocument": {"uri": _ITEM["uri"]},
        "position": {"line": 4, "character": 6},
        "context": {"triggerKind": 1},
    }
    for number in range(completions):
        ask = {"id": f"i{number}", "method": "textDocument/inlineCompletion"}
        messages.append({**ask, "params": place})
    lines: list[Any] = [{_SECTION: "1"}, {"at": 0, "from": "server", "message": asked}]
    for one in messages:
        message = {"jsonrpc": "2.0", **one}
        lines.append({"at": 0, "from": "editor", "message": message})
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))


@pytest.mark.parametrize("way", ["initial", "pulled", "pushed"])
def test_a_recording_does_not_choose_where_text_goes(way: str, tmp_path: Path) -> None:
    """Neither text nor key go to the server that it names, unless that is wanted."""
    files = write_prompt_files(tmp_path / "tiny")
    path = tmp_path / "session.jsonl"
    with CompletionServer() as server:
        key_file = tmp_path / "key"
        key_file.write_text("sk-0")
        told = {
            "backend": "openai",
            "endpoint": server.endpoint,
            "remoteModel": "tiny",
            "apiKeyFile": str(key_file),
            "allowDownload": True,
            "model": str(files),
        }
        wrapped = told if way == "pulled" else {_SECTION: told}
        write_session(path, **{way: wrapped})
        command = [sys.executable, "-m", "lsp_stablecode", "replay", str(path)]
        plain = [*command, "--json", "--model", "echo"]
        played = subprocess.run(plain, capture_output=True, text=True, timeout=60)
        assert played.returncode == 0, played.stderr
        assert json.loads(played.stdout)[0]["now"][0] == _REST
        assert server.asked == []
        command.append("--with-recorded-server")
        played = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert played.returncode == 0, played.stderr
        assert server.completions[0].headers["Authorization"] == "Bearer sk-0"


@pytest.mark.parametrize("way", ["initial", "pulled", "pushed"])
def test_the_command_line_outranks_a_recording(way: str, tmp_path: Path) -> None:
    """Also where a recording names a server, and another one is given."""
    path = tmp_path / "session.jsonl"
    files = write_prompt_files(tmp_path / "tiny")
    with CompletionServer() as given, CompletionServer() as other:
        told = {"backend": "openai", "endpoint": other.endpoint, "model": "echo"}
        write_session(path, **{way: told})
        command = [sys.executable, "-m", "lsp_stablecode", "replay", str(path)]
        command += ["--backend", "openai", "--endpoint", given.endpoint]
        command += ["--model", str(files), "--with-recorded-server"]
        played = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert played.returncode == 0, played.stderr
        assert given.completions
        assert other.asked == []


def test_a_menu_of_models_is_a_setting(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    copilot = {"github": {"copilot": {"selectedCompletionModel": "starter", "x": 1}}}
    write_session(path, pushed=copilot)
    recorded = read_recording(path)
    assert without_settings(recorded, {"device"}) == recorded
    kept = json.dumps([one.message for one in without_settings(recorded, {"model"})])
    assert "starter" not in kept
    assert '"x": 1' in kept


_ODD_SERVER = """
import json, os, pathlib, sys
pathlib.Path(sys.argv[1]).write_text(os.environ["LSP_STABLECODE_STATE"])
from lsp_stablecode.shared.framing import frame, read_message
while (body := read_message(sys.stdin.buffer)) is not None:
    message = json.loads(body)
    if "id" in message and message.get("method") != "workspace/executeCommand":
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": None}
        sys.stdout.buffer.write(frame(json.dumps(answer).encode()))
        sys.stdout.buffer.flush()
"""


def test_a_server_that_does_not_say_how_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for once. And it knows nothing of what the user accepts."""
    monkeypatch.setattr(replay, "_MODEL_TIMEOUT_S", 1.0)
    monkeypatch.setattr(replay, "_ANSWERS_TIMEOUT_S", 0.5)
    path, state = tmp_path / "session.jsonl", tmp_path / "state"
    write_session(path, completions=5)
    started_s = time.monotonic()
    played = Replay(
        read_recording(path), [sys.executable, "-c", _ODD_SERVER, str(state)]
    ).play()
    assert len(played) == 5
    assert time.monotonic() - started_s < 4
    assert state.read_text() != os.environ["LSP_STABLECODE_STATE"]
    assert not Path(state.read_text()).exists()


async def test_nothing_is_recorded_unless_asked_for(
    start: Start, tmp_path: Path
) -> None:
    """A trace holds no source text."""
    trace = tmp_path / "trace.jsonl"
    editor = await start("--trace", str(trace))
    uri = editor.open(_TEXT)
    assert (await editor.texts(uri, 4, 6))[0] == _REST
    await stop_editor(editor)
    assert "compute" not in trace.read_text()


@pytest.mark.parametrize(
    "text", ["", "no json", "{}", '{"lsp-stablecode": "1"}\n{"at": 0}', "[]", "1\n2"]
)
def test_what_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "no.jsonl"
    path.write_text(text)
    with pytest.raises(RecordingError):
        read_recording(path)


def test_a_recording_needs_a_place(tmp_path: Path) -> None:
    command = serve("--record", str(tmp_path / "no" / "such" / "folder"))
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "recording" in ended.stderr


def test_what_is_no_recording_is_not_overwritten(tmp_path: Path) -> None:
    """Nor is what a link points to; an older recording makes room."""
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    with pytest.raises(RecordingError, match="no recording"):
        Recorder(path)
    assert path.read_text() == "x = 1\n"
    older = tmp_path / "session.jsonl"
    write_session(older)
    before = older.read_text()
    link = tmp_path / "link"
    link.symlink_to(older)
    (tmp_path / "nowhere").symlink_to(tmp_path / "new")
    for one in (link, tmp_path / "nowhere", tmp_path):
        with pytest.raises(RecordingError):
            Recorder(one)
    assert older.read_text() == before
    assert not (tmp_path / "new").exists()
    older.chmod(0o644)
    command = serve("--record", str(older))
    subprocess.run(command, stdin=subprocess.DEVNULL, timeout=60)
    assert read_recording(older) == []
    assert os.name == "nt" or stat.S_IMODE(older.stat().st_mode) == 0o600


def test_a_socket_is_not_recorded_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    command = serve("--tcp", "127.0.0.1:0", "--record", str(path))
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "--tcp" in ended.stderr
    assert not path.exists()


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [
        (("a",), ("a",), "same"),
        (("a",), ("b",), "different"),
        ((), ("b",), "only now"),
        (("a",), (), "only then"),
        ((), (), "both empty"),
    ],
)
def test_answers_are_compared(then: Any, now: Any, verdict: str) -> None:
    assert Compared(0, "", "", then, now, 1, 1).verdict == verdict
