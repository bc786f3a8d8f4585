"""One session's status: what is told of it, and how seldom."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from lsp_stablecode import answering, status
from lsp_stablecode.session import Session
from lsp_stablecode.settings import Settings
from lsp_stablecode.status import Status
from model import LoadProgress

_URI = "file:///work/a.py"
_TEXT = "def one(width):\n    value = compute(width)\n    pass\n\ndef two():\n    value"
_READY = Status("Normal", False, "echo on cpu")


class Bar:
    """An editor with a status bar, and nothing else."""

    def __init__(self) -> None:
        self.told: list[Status] = []

    def show_message(self, text: str, level: str) -> None: ...

    def show_progress(self, progress: Any) -> None: ...

    def show_status(self, now: Status) -> None:
        self.told.append(now)

    async def until(self, wanted: Status) -> None:
        async with asyncio.timeout(20):
            while self.told[-1:] != [wanted]:
                await asyncio.sleep(0.01)


@pytest.fixture
def bar() -> Bar:
    return Bar()


@pytest_asyncio.fixture
async def session(bar: Bar) -> AsyncIterator[Session]:
    session = Session(Settings(model="echo", debounce_ms=0, look_ahead="never"), bar)
    session.documents.open(_URI, "python", 1, _TEXT)
    yield session
    session.close()


async def test_each_state_is_told_once(session: Session, bar: Bar) -> None:
    """Whatever is noted, the bar hears of it when something is different."""
    await session.load_model()
    for _ in range(3):
        session.note_focus(_URI)
        await session.complete(_URI, (5, 9), explicit=True)
    await bar.until(_READY)
    assert all(one != other for one, other in itertools.pairwise(bar.told))


async def test_a_stage_of_loading_is_told_some_times_a_second(
    session: Session, bar: Bar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at each percent; another stage at once."""
    loading = asyncio.ensure_future(session.load_model())
    await asyncio.sleep(0)  # it has begun, and cannot end while nothing is awaited
    assert bar.told[-1] == Status("Inactive", True, "Loading the model")
    monkeypatch.setattr(status, "_LEAST_GAP_S", 60.0)
    bar.told.clear()
    for percent in range(100):
        session.status.note_progress(LoadProgress("pack weights", percent / 100))
    session.status.note_progress(LoadProgress("load weights"))
    assert [one.message for one in bar.told] == [
        "Loading the model: pack weights, 0%",
        "Loading the model: load weights",
    ]
    assert {(one.kind, one.busy) for one in bar.told} == {("Inactive", True)}
    await loading
    assert bar.told[-1] == _READY


async def test_short_work_is_not_told(
    session: Session, bar: Bar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that are done, or superseded, before anybody could see it."""
    await session.load_model()
    monkeypatch.setattr(status, "_SHORT_WORK_S", 60.0)
    bar.told.clear()
    for _ in range(20):
        with session.status.computing():
            await asyncio.sleep(0.001)
    assert bar.told == []


async def test_short_rests_are_not_told(
    session: Session, bar: Bar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key by key a request is superseded by the next: that is one time of work."""
    await session.load_model()
    monkeypatch.setattr(status, "_SHORT_WORK_S", 0.0)
    monkeypatch.setattr(status, "_SHORT_REST_S", 60.0)
    busy = Status("Normal", True, _READY.message)
    bar.told.clear()
    with session.status.computing():
        await bar.until(busy)
    for _ in range(5):
        await asyncio.sleep(0.001)
        with session.status.computing():
            await asyncio.sleep(0.001)
    assert bar.told == [busy]


async def test_rest_is_told_when_it_begins(session: Session, bar: Bar) -> None:
    await session.load_model()
    session.model.rest_after_s = 0.01
    await asyncio.sleep(0.05)
    for model in session.pool:
        model.rest_if_idle()
    rest = Status("Inactive", False, "The model rests until it is asked.")
    assert bar.told[-1] == rest


async def test_a_failed_computation_is_a_warning(
    session: Session, bar: Bar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the next one succeeds."""
    await session.load_model()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patched:
        patched.setattr(answering, "generate", fail)
        assert await session.complete(_URI, (5, 9), explicit=True) == []
    warning = bar.told[-1]
    assert warning.kind == "Warning"
    assert "RuntimeError" in warning.message
    assert await session.complete(_URI, (5, 9), explicit=True)
    await bar.until(_READY)


async def test_no_status_after_the_end(session: Session, bar: Bar) -> None:
    await session.load_model()
    session.switch.snooze(5)
    session.close()
    num_told = len(bar.told)
    session.switch.toggle()
    assert len(bar.told) == num_told
