"""Sessions share a model; its weights go when nobody wants them, and come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lsp_stablecode import model_pool as pool_module
from lsp_stablecode import worker as worker_module
from lsp_stablecode.model_host import ModelHost
from lsp_stablecode.model_pool import ModelPool, SharedModel
from lsp_stablecode.worker import Priority
from model import Engine, EngineOptions, LoadProgress, load_engine

ECHO = EngineOptions("echo")
SLOW = EngineOptions("echo:1")


class Person:
    """A session's host, and what was shown of loading."""

    def __init__(self, pool: ModelPool) -> None:
        self.shown: list[str | None] = []
        self.host = ModelHost(pool, self._show)

    def _show(self, progress: LoadProgress | None) -> None:
        self.shown.append(progress.stage if progress is not None else None)


def models(pool: ModelPool) -> list[SharedModel]:
    return list(pool)


async def test_equal_options_are_one_model() -> None:
    pool = ModelPool()
    one, other = Person(pool), Person(pool)
    states = await asyncio.gather(one.host.load(ECHO), other.host.load(ECHO))
    assert [state and state.name for state in states] == ["ready", "ready"]
    assert one.host.worker is other.host.worker
    assert len(models(pool)) == 1
    # Whoever joins a load that goes on sees it, and sees its end.
    assert one.shown[-1] is None
    assert other.shown[-1] is None
    assert pool.close()


async def test_other_options_are_another_model() -> None:
    pool = ModelPool()
    one, other = Person(pool), Person(pool)
    await one.host.load(ECHO)
    await other.host.load(SLOW)
    assert one.host.worker is not other.host.worker
    assert {model.options for model in pool} == {ECHO, SLOW}
    pool.close()


async def test_a_model_goes_with_its_last_session() -> None:
    pool = ModelPool()
    one, other = Person(pool), Person(pool)
    await one.host.load(ECHO)
    await other.host.load(ECHO)
    worker = one.host.worker
    assert one.host.close()
    assert worker.engine is not None
    assert other.host.close()
    assert worker.engine is None
    assert models(pool) == []


async def test_a_hub_keeps_a_model_for_the_next_editor() -> None:
    pool = ModelPool(keeps_unused=True)
    one = Person(pool)
    await one.host.load(ECHO)
    worker = one.host.worker
    one.host.close()
    other = Person(pool)
    await other.host.load(ECHO)
    assert other.host.worker is worker
    assert other.shown == []
    pool.close()


async def test_a_model_kept_for_nobody_makes_room_under_a_ceiling() -> None:
    """It has ended before the other one is loaded."""
    pool = ModelPool(keeps_unused=True)
    one, other = Person(pool), Person(pool)
    await one.host.load(ECHO)
    worker = one.host.worker
    one.host.close()
    assert worker.engine is not None
    state = await other.host.load(EngineOptions("echo:1", memory_gib=1.0))
    assert state is not None
    assert state.name == "ready"
    assert worker.engine is None
    assert [model.options.model for model in pool] == ["echo:1"]
    pool.close()


@pytest.mark.parametrize("keeps_unused", [False, True])
async def test_who_switches_frees_the_old_model(keeps_unused: bool) -> None:
    """Two models at once may not fit."""
    pool = ModelPool(keeps_unused=keeps_unused)
    one = Person(pool)
    await one.host.load(ECHO)
    worker = one.host.worker
    await one.host.load(SLOW)
    assert worker.engine is None
    assert [model.options for model in pool] == [SLOW]
    assert one.host.info is not None
    assert one.host.info.model == "echo:1"
    pool.close()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Hold every load until the gate is opened."""
    gate = Gate()
    monkeypatch.setattr(worker_module, "load_engine", gate.load)
    yield gate
    gate.is_open.set()


class Gate:
    """Stands where a model is loaded."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.loading: list[str] = []
        self.loaded: list[str] = []
        self.most_at_once = 0

    def load(self, options: EngineOptions, *rest: Any) -> Engine:
        self.loading.append(options.model)
        self.loaded.append(options.model)
        self.most_at_once = max(self.most_at_once, len(self.loading))
        assert self.is_open.wait(30)
        self.loading.remove(options.model)
        return load_engine(options, *rest)

    async def until_loading(self, number: int) -> None:
        """Wait until so many stand here."""
        while len(self.loading) < number:
            await asyncio.sleep(0.01)


async def test_who_leaves_while_it_loads_finds_it_again(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the same model would be loaded beside itself."""
    monkeypatch.setattr(pool_module, "_LOOK_S", 0.01)
    pool = ModelPool(keeps_unused=True)
    one, other = Person(pool), Person(pool)
    first = asyncio.ensure_future(one.host.load(ECHO))
    await gate.until_loading(1)
    one.host.close()
    await asyncio.sleep(0.1)  # The pool looks around ten times.
    second = asyncio.ensure_future(other.host.load(ECHO))
    await asyncio.sleep(0.1)
    gate.is_open.set()
    state = await second
    await first
    assert state is not None
    assert state.name == "ready"
    assert gate.most_at_once == 1
    assert len(models(pool)) == 1
    pool.close()


async def test_who_switches_while_it_loads_waits_for_that(gate: Gate) -> None:
    """A load cannot be stopped, and two at once may not fit."""
    pool = ModelPool()
    one = Person(pool)
    first = asyncio.ensure_future(one.host.load(ECHO))
    await gate.until_loading(1)
    second = asyncio.ensure_future(one.host.load(SLOW))
    await asyncio.sleep(0.1)
    gate.is_open.set()
    state = await second
    assert state is not None
    assert state.name == "ready"
    assert await first is None
    assert gate.most_at_once == 1
    pool.close()


async def test_who_joins_a_model_that_waits_for_room_waits_too(gate: Gate) -> None:
    pool = ModelPool(keeps_unused=True)
    one, other = Person(pool), Person(pool)
    loads = [asyncio.ensure_future(one.host.load(ECHO))]
    await gate.until_loading(1)
    loads.append(asyncio.ensure_future(one.host.load(SLOW)))
    await asyncio.sleep(0.05)
    loads.append(asyncio.ensure_future(other.host.load(SLOW)))
    await asyncio.sleep(0.1)
    assert gate.loaded == ["echo"]
    assert [each.shown[-1] for each in (one, other)] == ["start", "start"]
    gate.is_open.set()
    _, *states = await asyncio.gather(*loads)
    assert [state and state.name for state in states] == ["ready", "ready"]
    assert gate.loaded == ["echo", "echo:1"]
    assert gate.most_at_once == 1
    assert one.host.worker is other.host.worker
    pool.close()


async def test_who_leaves_while_a_model_waits_for_room_leaves_nothing(
    gate: Gate,
) -> None:
    """What nobody wants any more when there is room is not loaded."""
    pool = ModelPool(keeps_unused=True)
    one = Person(pool)
    loads = [asyncio.ensure_future(one.host.load(ECHO))]
    await gate.until_loading(1)
    loads.append(asyncio.ensure_future(one.host.load(SLOW)))
    await asyncio.sleep(0.05)
    one.host.close()
    gate.is_open.set()
    assert await asyncio.gather(*loads) == [None, None]
    (model,) = models(pool)
    assert model.state.name == "idle"
    assert gate.loaded == ["echo"]
    pool.close()


async def test_what_ends_slowly_is_waited_for_once(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by everybody who loads something for as long as a download takes."""
    monkeypatch.setattr(pool_module, "_END_TIMEOUT_S", 0.2)
    pool = ModelPool()
    one = Person(pool)
    first = asyncio.ensure_future(one.host.load(ECHO))
    await gate.until_loading(1)
    second = asyncio.ensure_future(one.host.load(SLOW))
    await gate.until_loading(2)
    # The first one has not ended yet, and is waited for no more.
    other = Person(pool)
    third = asyncio.ensure_future(other.host.load(EngineOptions("echo:2")))
    await asyncio.sleep(0.05)
    assert gate.loading == ["echo", "echo:1", "echo:2"]
    gate.is_open.set()
    assert await first is None
    states = await asyncio.gather(second, third)
    assert [state and state.name for state in states] == ["ready", "ready"]
    pool.close()


async def test_a_load_that_cannot_begin_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(worker_module.EngineWorker, "load", fail)
    pool = ModelPool()
    state = await asyncio.wait_for(Person(pool).host.load(ECHO), 10)
    assert state is not None
    assert state.name == "failed"
    assert "can't start new thread" in state.message
    pool.close()


async def test_who_changes_his_mind_at_once_gets_what_he_said_last(gate: Gate) -> None:
    """And nobody loads what nobody wants any more."""
    gate.is_open.set()
    pool = ModelPool()
    one = Person(pool)
    await one.host.load(ECHO)
    last = EngineOptions("echo:2")
    loads = [asyncio.ensure_future(one.host.load(each)) for each in (SLOW, last)]
    await asyncio.sleep(0)
    assert one.host.is_wanted
    assert one.host.has(last)
    between, state = await asyncio.gather(*loads)
    assert between is None
    assert state is not None
    assert state.name == "ready"
    assert gate.loaded == ["echo", "echo:2"]
    assert [model.options for model in pool] == [last]
    pool.close()


async def test_the_last_model_asked_for_counts() -> None:
    pool = ModelPool()
    one = Person(pool)
    first = asyncio.ensure_future(one.host.load(ECHO))
    await asyncio.sleep(0)
    second = await one.host.load(SLOW)
    assert await first is None
    assert second is not None
    assert second.name == "ready"
    assert one.host.info is not None
    assert one.host.info.model == "echo:1"
    assert one.shown[-1] is None
    pool.close()


async def test_a_failed_load_says_why_and_can_be_tried_again() -> None:
    pool = ModelPool()
    one = Person(pool)
    state = await one.host.load(EngineOptions("echo:no"))
    assert state is not None
    assert state.name == "failed"
    assert "echo:no" in state.message
    state = await one.host.load(EngineOptions("echo:no"))
    assert state is not None
    assert state.name == "failed"
    pool.close()


async def test_unused_weights_are_released_and_come_back() -> None:
    pool = ModelPool()
    one = Person(pool)
    one.host.rest_after_s = 0.01
    await one.host.load(ECHO)
    (model,) = models(pool)
    await asyncio.sleep(0.05)
    model.rest_if_idle()
    assert one.host.state.name == "resting"
    await asyncio.wrap_future(model.worker.unload())
    assert one.host.info is None
    assert not one.host.has(ECHO)
    one.shown.clear()
    state = await one.host.load(ECHO)
    assert state is not None
    assert state.name == "ready"
    assert one.shown[0] is not None
    assert one.host.info is not None
    pool.close()


@pytest.mark.parametrize("waits", [(0.01, None), (0.01, 1000.0)])
async def test_the_most_patient_user_decides(waits: tuple[float | None, ...]) -> None:
    pool = ModelPool()
    for rest_after_s in waits:
        person = Person(pool)
        person.host.rest_after_s = rest_after_s
        await person.host.load(ECHO)
    (model,) = models(pool)
    await asyncio.sleep(0.05)
    model.rest_if_idle()
    assert model.state.name == "ready"
    pool.close()


async def test_a_model_at_work_does_not_rest() -> None:
    pool = ModelPool()
    one = Person(pool)
    one.host.rest_after_s = 0.01
    await one.host.load(ECHO)
    (model,) = models(pool)
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(_: object) -> None:
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)

    running = model.worker.run(work, Priority.AUTOMATIC)
    await asyncio.sleep(0.05)
    model.rest_if_idle()
    assert model.state.name == "ready"
    go_on.set()
    await asyncio.wrap_future(running)
    pool.close()


async def test_a_reload_is_everybodys() -> None:
    pool = ModelPool()
    one, other = Person(pool), Person(pool)
    await one.host.load(ECHO)
    await other.host.load(ECHO)
    engine = one.host.worker.engine
    await one.host.load(ECHO, again=True)
    assert one.host.worker.engine is not engine
    assert other.shown[-1] is None
    assert len(other.shown) > 1
    pool.close()
