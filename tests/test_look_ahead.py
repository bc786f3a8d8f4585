"""Looking ahead: the next answer is there before it is asked for; nobody waits."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import pytest_asyncio
from conftest import Start, plain

from lsp_stablecode.items import Item
from lsp_stablecode.look_ahead import after_accepting
from lsp_stablecode.postprocess import Finished
from lsp_stablecode.query import Query
from lsp_stablecode.session import Session
from lsp_stablecode.settings import Settings

_URI = "file:///work/a.py"
_TEXT = "def one(width):\n    value = compute(width)\n    pass\n\ndef two():\n    value"
_LINE, _CHARACTER = 5, 9
_SUGGESTION = " = compute(width)"


class SilentClient:
    """An editor that shows nothing."""

    def show_message(self, text: str, level: str) -> None: ...

    def show_progress(self, progress: Any) -> None: ...

    def show_status(self, status: Any) -> None: ...


class Typist:
    """Somebody at a session in this process."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def open(self, text: str = _TEXT, uri: str = _URI) -> None:
        self.session.documents.open(uri, "python", 1, text)

    def type(self, text: str, line: int, character: int) -> None:
        place = (line, character)
        edits = [((place, place), text)]
        changed = self.session.documents.change(_URI, 2, edits)
        self.session.note_edit(changed, edits)

    async def ask(
        self, line: int, character: int, *, explicit: bool = False, uri: str = _URI
    ) -> list[Item]:
        return await self.session.complete(uri, (line, character), explicit=explicit)

    @property
    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.session.describe()["lookAhead"]
        return counts

    async def until(self, **counts: int) -> None:
        async with asyncio.timeout(10):
            while {name: self.counts[name] for name in counts} != counts:
                await asyncio.sleep(0.01)


Sit = Callable[..., Awaitable[Typist]]


@pytest_asyncio.fixture
async def sit() -> AsyncIterator[Sit]:
    """Start sessions with the echo engine, 20 ms a step; they end with the test."""
    sessions: list[Session] = []

    async def sit_down(**settings: Any) -> Typist:
        values = {"model": "echo:20", "debounce_ms": 0, "look_ahead": "always"}
        session = Session(Settings(**(values | settings)), SilentClient())
        sessions.append(session)
        await session.load_model()
        return Typist(session)

    yield sit_down
    for session in sessions:
        session.close()


def _query(prefix: str, suffix: str = "", *, explicit: bool = False) -> Query:
    return Query(prefix, suffix, 0, "python", explicit)


@pytest.mark.parametrize(
    ("prefix", "text", "suffix", "replace_right", "expected"),
    [
        # Ends its line: what is below. The document's own line end, its blanks too.
        ("x = 1\ny", " = 2", "\n", 0, ("x = 1\ny = 2\n", "\n")),
        ("x = 1\r\ny", " = 2", "", 0, ("x = 1\r\ny = 2\r\n", "")),
        ("y", " = f(x)", ")\r\nz", 1, ("y = f(x)\r\n", "\r\nz")),
        ("y", " = 2", "", 0, ("y = 2\n", "")),
        # Goes on in its line: there.
        ("y = f(", "x", ")\n", 0, ("y = f(x", ")\n")),
        # Opens a block: its end, since what comes begins with the line end.
        ("def f", "(x):", "\n\n", 0, ("def f(x):", "\n\n")),
    ],
)
def test_the_place_after_accepting(
    prefix: str, text: str, suffix: str, replace_right: int, expected: tuple[str, str]
) -> None:
    """Where the user will most likely ask next, and not by hand."""
    query = _query(prefix, suffix, explicit=True)
    ahead = after_accepting(query, Finished(text, replace_right), Settings())
    assert (ahead.prefix, ahead.suffix) == expected
    assert not ahead.explicit


async def test_the_next_line_is_known_when_it_is_reached(start: Start) -> None:
    """Accepted, Enter, indentation: answered from memory; typing on counts once."""
    editor = await start(model="echo:20", settings={"lookAhead": "always"})
    uri = editor.open(_TEXT)
    texts = await editor.texts(uri, _LINE, _CHARACTER, invoked=False)
    assert texts == [_SUGGESTION]
    async with asyncio.timeout(10):
        while not (await editor.status())["lookAhead"]["computed"]:
            await asyncio.sleep(0.02)
    editor.change(uri, _SUGGESTION, (_LINE, _CHARACTER))
    end = _CHARACTER + len(_SUGGESTION)
    editor.change(uri, "\n    ", (_LINE, end))
    assert await editor.texts(uri, _LINE + 1, 4, invoked=False) == ["pass"]
    assert plain(await editor.command("explain", uri))["outcome"] == "type-through"
    editor.change(uri, "p", (_LINE + 1, 4))
    assert await editor.texts(uri, _LINE + 1, 5, invoked=False) == ["ass"]
    status = await editor.status()
    assert status["outcomes"] == {"shown": 1, "type-through": 2}
    # The line that was looked ahead is a suggestion, and the rest of it is none.
    assert status["shown"] == 2
    assert status["lookAhead"]["used"] == 1


async def test_in_the_middle_of_a_line(sit: Sit) -> None:
    """What ends before other text is followed at its end, also by silence."""
    typist = await sit()
    typist.open("call(alpha, beta)\ncall(al) + 1")
    [item] = await typist.ask(1, 7)
    await typist.until(computed=1)
    typist.type(item.text, 1, 7)
    await typist.ask(1, 7 + len(item.text))
    assert typist.counts["used"] == 1


@pytest.mark.parametrize("by_hand", [False, True])
async def test_a_request_is_not_delayed(by_hand: bool, sit: Sit) -> None:
    """With the engine looking ahead, an answer takes a step longer at most."""
    other = "file:///work/b.py"
    times_s = {}
    for look_ahead in ("never", "always"):
        typist = await sit(model="echo:50", look_ahead=look_ahead)
        typist.open()
        typist.open("alpha = 1\nx = 2\nal", other)
        await typist.ask(_LINE, _CHARACTER)
        await asyncio.sleep(0.08)
        started = time.perf_counter()
        assert await typist.ask(2, 2, explicit=by_hand, uri=other)
        times_s[look_ahead] = time.perf_counter() - started
        if look_ahead == "always":
            assert typist.counts["stopped"] == 1
            assert typist.counts["computed"] == 0
    assert times_s["always"] - times_s["never"] < 0.15


async def test_an_edit_stops_it_and_the_next_answer_resumes(sit: Sit) -> None:
    """Typed into, it is computed all the same, once, and then left alone."""
    typist = await sit()
    typist.open()
    await typist.ask(_LINE, _CHARACTER)
    await asyncio.sleep(0.05)
    typist.type(" =", _LINE, _CHARACTER)
    await typist.until(stopped=1)
    [item] = await typist.ask(_LINE, _CHARACTER + 2)
    assert item.text == _SUGGESTION[2:]
    await typist.until(computed=1)
    typist.type(" ", _LINE, _CHARACTER + 2)
    await typist.ask(_LINE, _CHARACTER + 3)
    await asyncio.sleep(0.3)
    assert typist.counts == {"computed": 1, "used": 0, "stopped": 1}


async def test_silence_at_the_end_of_what_was_accepted_resumes_it(sit: Sit) -> None:
    """Editors ask there at once; that must not cost the line below its answer."""
    typist = await sit(model="echo:40")
    typist.open("z = compute(a)\n\nz = compute(a)\nz")
    [item] = await typist.ask(3, 1)
    await asyncio.sleep(0.05)
    typist.type(item.text, 3, 1)
    # The echo engine has always something to say, so that is taken from it.
    end = 1 + len(item.text)
    query = _query("z = compute(a)\n\nz = compute(a)\nz" + item.text)
    typist.session._answerer._memory.remember(_URI, query.prefix, query.suffix, (), 1)
    assert await typist.ask(3, end) == []
    await typist.until(computed=1)
    typist.type("\n", 3, end)
    assert await typist.ask(4, 0)
    assert typist.counts["used"] == 1


async def test_accepting_starts_what_was_stopped(sit: Sit) -> None:
    """The command comes after the edit that stopped it; another candidate is new."""
    typist = await sit()
    typist.open()
    first, second, *_ = await typist.ask(_LINE, _CHARACTER, explicit=True)
    await asyncio.sleep(0.05)
    typist.type(first.text, _LINE, _CHARACTER)
    await typist.until(stopped=1)
    typist.session.accepted(first.identifier, None)
    await typist.until(computed=1)
    typist.session.accepted(first.identifier, None)
    typist.session.accepted(second.identifier, None)
    await typist.until(computed=2)
    for identifier in ("", "1", "0.0", "1.9", "1.x"):
        typist.session.accepted(identifier, None)
    await asyncio.sleep(0.1)
    assert typist.counts == {"computed": 2, "used": 0, "stopped": 1}


async def test_nothing_while_somebody_waits(sit: Sit) -> None:
    """A request that runs elsewhere keeps the engine to itself."""
    typist = await sit(model="echo:30")
    other = "file:///work/b.py"
    typist.open()
    typist.open("x = compute(a, b, c, d, e, f)\nx", other)
    await typist.ask(_LINE, _CHARACTER)
    await typist.until(computed=1)
    waiting = asyncio.ensure_future(typist.ask(1, 1, explicit=True, uri=other))
    await asyncio.sleep(0.05)
    typist.type(_SUGGESTION[:2], _LINE, _CHARACTER)
    await typist.ask(_LINE, _CHARACTER + 2)
    assert not waiting.done()
    assert typist.counts == {"computed": 1, "used": 0, "stopped": 0}
    await waiting


@pytest.mark.parametrize("how", ["never", "toggled", "settings", "closed", "again"])
async def test_off(how: str, sit: Sit) -> None:
    """Off by setting; stopped by whatever makes its outcome worthless."""
    typist = await sit(look_ahead="never" if how == "never" else "always")
    typist.open()
    [item] = await typist.ask(_LINE, _CHARACTER)
    await asyncio.sleep(0.05)
    session = typist.session
    if how == "toggled":
        session.switch.toggle()
    elif how == "settings":
        session.apply_settings("pushed", {"temperature": 1})
    elif how == "closed":
        session.note_close(_URI)
    elif how == "again":
        await session.load_model(again=True)
    if how in ("never", "toggled", "settings"):
        session.accepted(item.identifier, None)
    await asyncio.sleep(0.3)
    stopped = 0 if how == "never" else 1
    assert typist.counts == {"computed": 0, "used": 0, "stopped": stopped}


@pytest.mark.parametrize(
    ("setting", "battery", "is_computed"),
    [
        ("auto", SimpleNamespace(power_plugged=False), False),
        ("auto", SimpleNamespace(power_plugged=True), True),
        ("auto", SimpleNamespace(power_plugged=None), True),
        ("auto", None, True),
        ("auto", OSError(5, "no such battery"), True),
        ("always", SimpleNamespace(power_plugged=False), True),
    ],
)
async def test_on_battery(
    setting: str,
    battery: object,
    is_computed: bool,
    sit: Sit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not on battery unless told to; the battery is asked once, beside the loop."""
    threads: list[int] = []

    def sensors_battery() -> object:
        threads.append(threading.get_ident())
        if isinstance(battery, Exception):
            raise battery
        return battery

    monkeypatch.setattr(psutil, "sensors_battery", sensors_battery, raising=False)
    typist = await sit(model="echo", look_ahead=setting)
    typist.open()
    for typed in range(2):
        await typist.ask(_LINE, _CHARACTER + typed)
        await asyncio.sleep(0.2)
        typist.type(_SUGGESTION[typed], _LINE, _CHARACTER + typed)
    assert typist.counts["computed"] == is_computed
    assert len(threads) == (setting == "auto")
    assert threading.get_ident() not in threads


_FILE = '''\
import json


def load_users(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def save_users(path, users):
    """Write users to path as JSON."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(users, file)


def add_user(path, user):
    """Add a user to the file at path."""
    users = load'''


@pytest.mark.model
@pytest.mark.timeout(300)
async def test_a_real_model_looks_ahead(start: Start, tmp_path: Path) -> None:
    """Only the new line end is computed, and the text is what it would have been."""
    text = _FILE + '\n\n\ndef main():\n    add_user("users.json", {"name": "Ada"})\n'
    line = _FILE.count("\n")
    character = len(_FILE) - _FILE.rfind("\n") - 1
    trace = tmp_path / "trace"
    answers: dict[str, list[str]] = {}
    for look_ahead in ("never", "always"):
        settings = {"lookAhead": look_ahead, "debounceMs": 0, "fimOrder": "spm"}
        editor = await start("--trace", str(trace), model="starter", settings=settings)
        # Editors without and with automatic indentation.
        for number, enter in enumerate(("\n", "\n    "), 1):
            uri = editor.open(text, f"file:///work/{number}.py")
            [shown] = await editor.texts(uri, line, character, invoked=False)
            async with asyncio.timeout(60):
                while look_ahead == "always" and (
                    (await editor.status())["lookAhead"]["computed"] < number
                ):
                    await asyncio.sleep(0.02)
            editor.change(uri, shown, (line, character))
            editor.change(uri, enter, (line, character + len(shown)))
            below = await editor.texts(uri, line + 1, len(enter) - 1, invoked=False)
            answers.setdefault(look_ahead, []).extend([shown, *below])
        status = await editor.status()
        used = 2 if look_ahead == "always" else 0
        assert status["outcomes"].get("type-through", 0) == used
        assert status["lookAhead"] == {"computed": used, "used": used, "stopped": 0}
    assert len(answers["always"]) == 4
    assert answers["always"] == answers["never"]
    events = [json.loads(one) for one in trace.read_text().splitlines()]
    ahead = [one["statistics"] for one in events if one["event"] == "look-ahead"]
    assert len(ahead) == 2
    for statistics in ahead:
        assert statistics["prompt_tokens"] > 100
        assert statistics["prompt_tokens"] - statistics["reused_tokens"] <= 2
