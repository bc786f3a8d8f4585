"""Whatever happens to the processes and files, nobody hangs and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from conftest import Editor, start_editor, stop_editor
from pygls.exceptions import JsonRpcException

from tests.hubs import Hubs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.name == "nt", reason="needs Unix signals"),
]

_SECONDS = float(os.environ.get("LSP_STABLECODE_CHAOS_S", "300"))
_SEED = int(os.environ.get("LSP_STABLECODE_CHAOS_SEED", "0"))
_NUM_EDITORS = 3
# A stopped engine is noticed after some seconds; nothing may take longer than this.
_LONGEST_ANSWER_S = 30.0
_QUIET_S = 120.0


@dataclass
class Typing:
    """Somebody who writes lines, and begins some of them again to see them continued.

    The echo continues a line as the one above that began alike, so that a suggestion
    shows which edits have arrived.
    """

    editor: Editor
    chance: random.Random
    model: str
    uri: str = ""
    lines: list[str] = field(default_factory=lambda: [""])
    num_answers: int = 0
    num_empty: int = 0
    longest_s: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def open(self) -> None:
        self.uri = self.editor.open("\n".join(self.lines))

    def write(self, text: str) -> None:
        """Type at the end of the document."""
        place = (len(self.lines) - 1, len(self.lines[-1]))
        self.editor.change(self.uri, text, place)
        first, *more = text.split("\n")
        self.lines[-1] += first
        self.lines += more

    async def turn(self) -> None:
        """Write a line of its own, begin it again, ask, and finish it by hand."""
        name = f"value_{len(self.lines):06}"
        rest = f" = {self.chance.randrange(10**9)}"
        self.write(f"{name}{rest}\n")
        self.write(name)
        texts = await self.ask()
        if texts and texts[0] != rest:
            self.wrong.append(f"{name}: {texts[0]!r}, not {rest!r}")
        self.write(f"{rest}\n")

    async def ask(self) -> list[str]:
        started_s = time.monotonic()
        with contextlib.suppress(JsonRpcException):
            texts = await asyncio.wait_for(
                self.editor.texts(
                    self.uri, len(self.lines) - 1, len(self.lines[-1]), invoked=True
                ),
                _LONGEST_ANSWER_S,
            )
            self.num_answers += 1
            self.num_empty += not texts
            self.longest_s = max(self.longest_s, time.monotonic() - started_s)
            return texts
        return []


@dataclass
class World:
    """The processes and files that things happen to."""

    folder: Path
    model: str
    chance: random.Random
    typings: list[Typing] = field(default_factory=list)
    happened: dict[str, int] = field(default_factory=dict)

    def hubs(self) -> list[psutil.Process]:
        return Hubs(self.folder / "run").processes()

    async def start_editor(self) -> None:
        editor = await start_editor("--shared", model=self.model, wait=False)
        typing = Typing(editor, self.chance, self.model)
        typing.open()
        self.typings.append(typing)

    async def happen(self) -> None:
        """Let one thing happen."""
        names = ["kill_hub", "stop_hub", "remove_socket", "kill_front", "fill_disk"]
        if self.model == "starter":
            names.append("take_weights")
        name = self.chance.choice(names)
        self.happened[name] = self.happened.get(name, 0) + 1
        with contextlib.suppress(psutil.NoSuchProcess):
            await getattr(self, name)()

    async def kill_hub(self) -> None:
        for hub in self.hubs():
            hub.kill()

    async def stop_hub(self) -> None:
        hubs = self.hubs()
        for hub in hubs:
            hub.suspend()
        await asyncio.sleep(self.chance.uniform(0.5, 6.0))
        for hub in hubs:
            hub.resume()

    async def remove_socket(self) -> None:
        for file in (self.folder / "run").iterdir():
            if file.suffix in (".sock", ".json"):
                file.unlink(missing_ok=True)

    async def kill_front(self) -> None:
        """Kill one editor's process; its user starts another editor."""
        typing = self.typings.pop(0)
        server = typing.editor.client._server
        assert server is not None
        server.kill()
        await server.wait()
        await typing.editor.client.stop()
        await self.start_editor()

    async def fill_disk(self) -> None:
        """Leave no room where states, logs and caches are written."""
        block = self.folder / "small" / "block"
        with contextlib.suppress(OSError), block.open("wb", buffering=0) as file:
            while file.write(b"\0" * 4096):
                pass
        await asyncio.sleep(self.chance.uniform(1.0, 3.0))
        block.unlink()

    async def take_weights(self) -> None:
        """Put the weights elsewhere for a while; whoever loads them finds none."""
        cache = Path(os.environ["LSP_STABLECODE_CACHE"])
        aside = cache.with_name("aside")
        cache.rename(aside)
        await self.kill_hub()
        await asyncio.sleep(self.chance.uniform(1.0, 4.0))
        # Meanwhile somebody may have begun one anew.
        shutil.rmtree(cache, ignore_errors=True)
        aside.rename(cache)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Make a folder with a short path, in it one that is quickly full."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as name:
        small = Path(name, "small")
        small.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)],
            capture_output=True,
        )
        yield Path(name)
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.fixture
async def world(
    request: pytest.FixtureRequest, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setenv("LSP_STABLECODE_RUNTIME", str(small_disk / "run"))
    monkeypatch.setenv("LSP_STABLECODE_STATE", str(small_disk / "small"))
    monkeypatch.setenv("XDG_STATE_HOME", str(small_disk / "small"))
    if request.param == "starter":
        _link_cache(small_disk / "cache")
        monkeypatch.setenv("LSP_STABLECODE_CACHE", str(small_disk / "cache"))
    world = World(small_disk, request.param, random.Random(_SEED))
    yield world
    for typing in world.typings:
        with contextlib.suppress(Exception):
            await stop_editor(typing.editor)
    Hubs(small_disk / "run").kill()


def _link_cache(folder: Path) -> None:
    """Make a cache of our own, in which the usual one's files are linked."""
    from model.conversions import cache_directory

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    shutil.copytree(cache_directory(), folder, copy_function=link)


@pytest.mark.parametrize("world", ["echo:5", "starter"], indirect=True)
async def test_nothing_is_lost_whatever_happens(world: World) -> None:
    """Every request is answered, every edit arrives, nothing is left behind."""
    for _ in range(_NUM_EDITORS):
        await world.start_editor()
    until_s = time.monotonic() + _SECONDS
    longest_s, num_answers, num_empty = 0.0, 0, 0
    wrong: list[str] = []

    async def type_on() -> None:
        nonlocal longest_s, num_answers, num_empty
        while time.monotonic() < until_s:
            typing = world.chance.choice(world.typings)
            typing.num_answers = typing.num_empty = 0
            typing.longest_s = 0.0
            with contextlib.suppress(RuntimeError, asyncio.CancelledError):
                # An editor that is killed just now takes its request with it.
                await typing.turn()
            longest_s = max(longest_s, typing.longest_s)
            num_answers += typing.num_answers
            num_empty += typing.num_empty
            await asyncio.sleep(world.chance.uniform(0.0, 0.3))

    async def let_happen() -> None:
        while time.monotonic() < until_s:
            await asyncio.sleep(world.chance.uniform(1.0, 5.0))
            await world.happen()

    await asyncio.gather(type_on(), let_happen())
    for typing in world.typings:
        wrong += typing.wrong
        assert await _settled(typing), "an edit was lost"
    print(
        f"{num_answers} answers, {num_empty} empty, the longest after "
        f"{longest_s:.1f} s; what happened: {world.happened}"
    )
    assert num_answers > _SECONDS / 10
    if world.model.startswith("echo"):
        assert wrong == []
    await _ends_whole(world)


async def _settled(typing: Typing) -> bool:
    """Tell whether all is well again once nothing happens any more."""
    until_s = time.monotonic() + _QUIET_S
    while time.monotonic() < until_s:
        with contextlib.suppress(JsonRpcException, TimeoutError):
            status = await asyncio.wait_for(typing.editor.status(), 10)
            if status["state"] == "failed":
                await typing.editor.command("reload")
        number = next((n for n, line in enumerate(typing.lines) if " = " in line), None)
        if number is None:
            await typing.turn()
            continue
        # The document's first line shows whether it is the one that was typed.
        name, _, rest = typing.lines[number].partition(" = ")
        typing.write(name)
        texts = await typing.ask()
        typing.write("\n")
        if texts:
            return "echo" not in typing.model or texts[0] == f" = {rest}"
        await asyncio.sleep(0.5)
    return False


async def _ends_whole(world: World) -> None:
    """See that all processes go, and that no file is half written."""
    for typing in world.typings:
        await stop_editor(typing.editor)
    world.typings.clear()
    for file in world.folder.rglob("*.json"):
        if "cache" not in file.parts:
            json.loads(file.read_text())
    assert not list(world.folder.rglob("*.part"))
    until_s = time.monotonic() + 90
    while world.hubs() and time.monotonic() < until_s:
        await asyncio.sleep(0.5)
    assert world.hubs() == []
