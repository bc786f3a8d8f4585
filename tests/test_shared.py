"""One engine process for several editors, which survive whatever happens to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Editor, Start, stop_editor

from lsp_stablecode.shared.framing import frame, read_message
from lsp_stablecode.shared.greeting import greet_hub, proof
from lsp_stablecode.shared.rendezvous import (
    Rendezvous,
    open_connection,
    read_address,
)
from tests.hubs import SHORT_FOLDERS, Hubs

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs Unix signals")

_TEXT = "def one(width):\n    value = compute(width)\n\ndef two(width):\n    va"
_REST = "lue = compute(width)"
_WAIT_S = 60.0


@pytest.fixture
def join(hubs: Hubs, start: Start) -> Callable[..., Awaitable[Editor]]:
    """Return a function that starts an editor which shares."""

    async def one(*arguments: str, **options: Any) -> Editor:
        return await start("--shared", *arguments, **options)

    return one


async def until(condition: Callable[[], Any]) -> None:
    """Wait until something is so."""
    deadline_s = time.monotonic() + _WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        await asyncio.sleep(0.02)


async def suggestion(editor: Editor, uri: str, line: int, character: int) -> str:
    """Ask until there is an answer: a hub may just be starting."""
    deadline_s = time.monotonic() + _WAIT_S
    while True:
        texts = await editor.texts(uri, line, character)
        if texts:
            return str(texts[0])
        assert time.monotonic() < deadline_s, "no suggestion came"
        await asyncio.sleep(0.05)


Join = Callable[..., Awaitable[Editor]]


async def test_two_editors_share_a_process(join: Join, hubs: Hubs) -> None:
    """Each has its own documents, under the same names too."""
    one, other = await join(), await join()
    first = one.open(_TEXT)
    second = other.open(_TEXT.replace("compute", "measure"))
    assert await suggestion(one, first, 4, 6) == _REST
    assert await suggestion(other, second, 4, 6) == _REST.replace("compute", "measure")
    assert len(hubs.processes()) == 1


async def test_the_usual_folder_is_found(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody names one, both sides come to the same."""
    monkeypatch.delenv("LSP_STABLECODE_RUNTIME", raising=False)
    with tempfile.TemporaryDirectory(dir=SHORT_FOLDERS) as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        hubs = Hubs(Path(folder, "lsp-stablecode"))
        editor = await start("--shared")
        try:
            assert await suggestion(editor, editor.open(_TEXT), 4, 6) == _REST
            assert hubs.process().is_running()
        finally:
            hubs.process().kill()


@pytest.mark.parametrize("more", [("--stdio",), ("--log-level=error",)])
async def test_what_is_the_editors_alone_does_not_part_them(
    join: Join, hubs: Hubs, more: tuple[str, ...]
) -> None:
    await join("--threads", "1")
    await join("--threads=1", *more)
    assert len(hubs.processes()) == 1


async def test_a_projects_modules_are_not_run(
    join: Join, hubs: Hubs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor's working folder is often a project that somebody else wrote."""
    for name in ("psutil", "json", "torch", "filelock"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run!')")
    command = shutil.which("lsp-stablecode", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("the command is not installed")
    monkeypatch.chdir(tmp_path)
    with subprocess.Popen(
        [command, "serve", "--shared", "--model", "echo"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as front:
        assert front.stdin is not None
        assert front.stdout is not None
        request = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
        params = {"params": {"processId": None, "capabilities": {}, "rootUri": None}}
        front.stdin.write(frame(json.dumps({**request, **params}).encode()))
        front.stdin.flush()
        assert b"capabilities" in (read_message(front.stdout) or b"")
        assert hubs.process().cwd() == str(hubs.folder)
        front.stdin.close()


async def test_who_leaves_takes_everything_along(join: Join, hubs: Hubs) -> None:
    """An engine process that serves many editors in turn does not grow."""
    await join()
    hub = hubs.process()
    sizes = []
    for _ in range(6):
        editor = await join()
        uri = editor.open(_TEXT + "\n# " + "x" * 8_000_000)
        assert await suggestion(editor, uri, 4, 6) == _REST
        await stop_editor(editor)
        sizes.append(hub.memory_info().rss)
    # With a leak it would be four documents and what is made of them: 500 MB.
    assert sizes[-1] - sizes[1] < 100e6


async def test_editors_that_start_at_once_share_too(join: Join, hubs: Hubs) -> None:
    editors = await asyncio.gather(*(join() for _ in range(4)))
    answers = [suggestion(one, one.open(_TEXT), 4, 6) for one in editors]
    assert set(await asyncio.gather(*answers)) == {_REST}
    await until(lambda: len(hubs.processes()) == 1)


async def test_other_options_have_another_process(join: Join, hubs: Hubs) -> None:
    await join()
    await join("--threads", "1")
    assert len(hubs.processes()) == 2


async def test_a_killed_engine_costs_one_empty_answer(join: Join, hubs: Hubs) -> None:
    """What was typed meanwhile is not lost, and both editors go on."""
    one, other = await join(model="echo:60"), await join(model="echo:60")
    first, second = one.open(_TEXT), other.open(_TEXT)
    waiting = asyncio.ensure_future(one.ask(first, 4, 6))
    await asyncio.sleep(0.3)
    hub = hubs.process()
    hub.kill()
    assert not (await asyncio.wait_for(waiting, _WAIT_S)).items
    one.change(first, "l", (4, 6))
    assert await suggestion(one, first, 4, 7) == _REST[1:]
    assert await suggestion(other, second, 4, 6) == _REST
    assert hubs.process() != hub


async def test_a_stopped_engine_hangs_nobody(join: Join, hubs: Hubs) -> None:
    editor = await join()
    uri = editor.open(_TEXT)
    assert await suggestion(editor, uri, 4, 6) == _REST
    hub = hubs.process()
    hub.suspend()
    started_s = time.monotonic()
    assert await editor.texts(uri, 4, 6) == []
    assert time.monotonic() - started_s < 30
    # It is known by now, so nobody waits again.
    editor.change(uri, "l", (4, 6))
    assert await editor.texts(uri, 4, 7) == []
    hub.resume()
    assert await suggestion(editor, uri, 4, 7) == _REST[1:]
    assert hubs.process() == hub


async def test_a_removed_socket_is_made_again(join: Join, hubs: Hubs) -> None:
    one = await join()
    hub = hubs.process()
    for file in hubs.folder.iterdir():
        if file.suffix in (".sock", ".json"):
            file.unlink()
    other = await join()
    assert await suggestion(other, other.open(_TEXT), 4, 6) == _REST
    assert await suggestion(one, one.open(_TEXT), 4, 6) == _REST
    await until(lambda: hubs.processes() == [hub])


async def test_a_killed_front_leaves_the_others_alone(join: Join, hubs: Hubs) -> None:
    one, other = await join(), await join()
    server = one.client._server
    assert server is not None
    server.kill()
    await server.wait()
    assert await suggestion(other, other.open(_TEXT), 4, 6) == _REST
    await until(lambda: len(hubs.process().children()) == 0)


async def test_what_was_switched_off_stays_off(join: Join, hubs: Hubs) -> None:
    editor = await join()
    uri = editor.open(_TEXT)
    assert await editor.command("toggle") is False
    hubs.process().kill()
    await until(lambda: len(hubs.processes()) == 1)

    async def status() -> Any:
        with contextlib.suppress(Exception):
            return await editor.status()

    while (told := await status()) is None or told["state"] != "ready":
        await asyncio.sleep(0.05)
    assert told["enabled"] is False
    assert await editor.texts(uri, 4, 6) == []
    assert await editor.command("toggle") is True
    assert await suggestion(editor, uri, 4, 6) == _REST


async def test_an_engine_that_keeps_dying_is_reported(join: Join, hubs: Hubs) -> None:
    """Once, and the editor is answered all the while."""
    editor = await join()
    uri = editor.open(_TEXT)
    messages: list[str] = []

    def shown() -> bool:
        messages[:] = [one.message for one in editor.client.messages]
        return bool(messages)

    for _ in range(3):
        # Only one that the editor has joined is one it can lose.
        assert await suggestion(editor, uri, 4, 6) == _REST
        hubs.process().kill()
    await until(shown)
    assert len(messages) == 1
    assert "3 times" in messages[0]
    started_s = time.monotonic()
    assert await editor.texts(uri, 4, 6) == []
    assert time.monotonic() - started_s < 5


@pytest.mark.parametrize("secret", ["", "0" * 64, "ü"])
async def test_whoever_does_not_know_the_secret_is_refused(
    join: Join, hubs: Hubs, secret: str
) -> None:
    await join()
    (file,) = hubs.folder.glob("*.json")
    address = read_address(file)
    assert address is not None
    question = {"question": "overview"}
    with open_connection(address, _WAIT_S) as knowing:
        answer, _ = greet_hub(knowing, address.secret, question)
        assert answer["processId"] == address.process_id
    # Neither side believes the other.
    with (
        open_connection(address, _WAIT_S) as stranger,
        pytest.raises(ConnectionRefusedError),
    ):
        greet_hub(stranger, secret, question)
    with open_connection(address, _WAIT_S) as stranger:
        stranger.sendall(frame(json.dumps({"nonce": "1"}).encode()))
        stream = stranger.makefile("rb")
        nonce = json.loads(read_message(stream) or b"")["nonce"]
        proved = {**question, "proof": proof(secret, nonce, "front")}
        stranger.sendall(frame(json.dumps(proved).encode()))
        assert stream.read() == b""


_CONNECT = (
    "socket(S, PF_UNIX, SOCK_STREAM, 0); "
    "exit(connect(S, sockaddr_un($ARGV[0])) ? 0 : 7)"
)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("perl"),
    reason="needs root, to be somebody else, and perl",
)
async def test_other_users_cannot_connect(join: Join, hubs: Hubs) -> None:
    await join()
    (file,) = hubs.folder.glob("*.json")
    command = ["perl", "-MSocket", "-e", _CONNECT, json.loads(file.read_text())["path"]]
    assert subprocess.run(command).returncode == 0
    nobody = 65534
    assert subprocess.run(command, user=nobody, cwd="/").returncode == 7
    read = subprocess.run(["cat", str(file)], user=nobody, cwd="/", capture_output=True)
    assert read.returncode != 0


async def test_noise_on_the_socket_disturbs_nobody(join: Join, hubs: Hubs) -> None:
    editor = await join()
    (file,) = hubs.folder.glob("*.json")
    path = json.loads(file.read_text())["path"]
    for noise in (b"\0" * 70_000, b"Content-Length: -5\r\n\r\n", frame(b"[]"), b""):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(path)
            with contextlib.suppress(OSError):
                stranger.sendall(noise)
    assert await suggestion(editor, editor.open(_TEXT), 4, 6) == _REST


async def test_a_front_is_light(join: Join, hubs: Hubs) -> None:
    """No model, no pygls: their imports take longer than a front may."""
    editor = await join()
    server = editor.client._server
    assert server is not None
    front = psutil.Process(server.pid)
    assert front.memory_info().rss < 80e6
    program = (
        "import sys, lsp_stablecode.shared.serving as s;"
        "print([one for one in ('torch', 'pygls', 'lsprotocol', 'numpy', 'asyncio')"
        " if one in sys.modules])"
    )
    imported = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert imported.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_front_starts_soon(hubs: Hubs) -> None:
    """From the process's beginning to the editor's first answer, an engine running."""
    command = [sys.executable, "-m", "lsp_stablecode", "serve", "--shared"]
    params = {"processId": None, "rootUri": None, "capabilities": {}}
    begin = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    times_ms = []
    with contextlib.ExitStack() as fronts:
        for _ in range(12):
            started_s = time.perf_counter()
            front = fronts.enter_context(
                subprocess.Popen(
                    [*command, "--model", "echo"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            fronts.callback(front.kill)
            assert front.stdin is not None
            assert front.stdout is not None
            front.stdin.write(frame(json.dumps(begin).encode()))
            front.stdin.flush()
            assert read_message(front.stdout) is not None
            times_ms.append(1000 * (time.perf_counter() - started_s))
            assert psutil.Process(front.pid).memory_info().rss < 80e6
    # The first one starts the engine's process too.
    median_ms = statistics.median(times_ms[1:])
    print(f"first {times_ms[0]:.0f} ms, others' median {median_ms:.0f} ms")
    assert median_ms < 200


@pytest.mark.parametrize("arguments", [("--no-such-option",), ("--device", "toaster")])
def test_wrong_options_are_told(hubs: Hubs, arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "lsp_stablecode", "serve", "--shared", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as front:
        # An editor keeps the pipe open.
        assert front.wait(_WAIT_S) == 2
        assert front.stderr is not None
        assert arguments[-1] in front.stderr.read()


def test_an_id_that_waits_is_refused_a_second_time(hubs: Hubs) -> None:
    """Both are answered: else whoever asked the second time would wait for ever."""
    command = [sys.executable, "-m", "lsp_stablecode", "serve", "--shared"]
    params = {"processId": None, "rootUri": None, "capabilities": {}}
    begin = {"jsonrpc": "2.0", "id": 7, "method": "initialize", "params": params}
    status = {"command": "lsp-stablecode.status"}
    ask = {**begin, "method": "workspace/executeCommand", "params": status}
    with subprocess.Popen(
        [*command, "--model", "echo"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as front:
        assert front.stdin is not None
        assert front.stdout is not None
        for message in (begin, ask):
            front.stdin.write(frame(json.dumps(message).encode()))
        front.stdin.flush()
        answers: list[dict[str, Any]] = []
        while len(answers) < 2:
            body = read_message(front.stdout)
            assert body is not None
            message = json.loads(body)
            if "method" not in message:
                answers.append(message)
        front.stdin.close()
    assert [one["id"] for one in answers] == [7, 7]
    assert answers[0]["error"]["code"] == -32600
    assert "capabilities" in answers[1]["result"]


def test_the_hub_ends_after_its_last_editor(hubs: Hubs) -> None:
    """It cleans up behind itself, and a second one never begins."""
    command = [sys.executable, "-m", "lsp_stablecode", "hub", "--linger", "1.5"]
    hub = subprocess.Popen(command)
    deadline_s = time.monotonic() + _WAIT_S
    while not list(hubs.folder.glob("*.json")) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    second = subprocess.run(command, timeout=_WAIT_S)
    assert second.returncode == 0
    assert hub.poll() is None
    assert hub.wait(_WAIT_S) == 0
    assert {one.suffix for one in hubs.folder.iterdir()} <= {".lock"}


def test_a_dead_hubs_address_is_no_hindrance(hubs: Hubs) -> None:
    rendezvous = Rendezvous([], hubs.folder)
    rendezvous.listen().close()
    address = json.loads(rendezvous.address_file.read_text())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    address["process_id"] = gone.pid
    rendezvous.address_file.write_text(json.dumps(address))
    command = [sys.executable, "-m", "lsp_stablecode", "serve", "--shared"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as front:
        assert front.stdin is not None
        assert front.stdout is not None
        request = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
        params = {"params": {"processId": None, "capabilities": {}, "rootUri": None}}
        front.stdin.write(frame(json.dumps({**request, **params}).encode()))
        front.stdin.flush()
        assert front.stdout.readline().startswith(b"Content-Length")
        front.stdin.close()
