"""Whose turn it is on the engine's thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lsp_stablecode.worker import EngineWorker, NoEngineError, Priority
from model import Engine, EngineOptions


@pytest.fixture
def worker() -> Iterator[EngineWorker]:
    one = EngineWorker()
    one.load(EngineOptions("echo")).result(10)
    yield one
    one.close()


@pytest.fixture
def order(worker: EngineWorker) -> Callable[..., list[str]]:
    """Return a function that gives jobs at once and returns the order they ran in."""
    ran: list[str] = []

    def run(*jobs: tuple[str, Priority, object]) -> list[str]:
        go_on = threading.Event()
        worker.run(lambda _: go_on.wait(10), Priority.CONTROL)
        futures = [
            worker.run(lambda _, name=name: ran.append(name), priority, owner)
            for name, priority, owner in jobs
        ]
        go_on.set()
        for future in futures:
            future.result(10)
        return ran

    return run


def test_the_most_urgent_job_is_first(order: Callable[..., list[str]]) -> None:
    jobs = [
        ("ahead", Priority.LOOK_AHEAD, "a"),
        ("automatic", Priority.AUTOMATIC, "a"),
        ("explicit", Priority.EXPLICIT, "b"),
    ]
    assert order(*jobs) == ["explicit", "automatic", "ahead"]


def test_owners_take_turns(order: Callable[..., list[str]]) -> None:
    """Whoever asks a lot does not keep the others waiting."""
    jobs = [(f"a{n}", Priority.AUTOMATIC, "a") for n in range(3)]
    jobs += [(f"b{n}", Priority.AUTOMATIC, "b") for n in range(2)]
    jobs += [("c0", Priority.AUTOMATIC, "c")]
    assert order(*jobs) == ["a0", "b0", "c0", "a1", "b1", "a2"]


def test_one_owners_jobs_keep_their_order(order: Callable[..., list[str]]) -> None:
    jobs = [(str(n), Priority.AUTOMATIC, "a") for n in range(5)]
    assert order(*jobs) == list("01234")


def test_work_nobody_waits_for_is_stopped(worker: EngineWorker) -> None:
    stopped, began = threading.Event(), threading.Event()

    def ahead(_: Engine) -> bool:
        began.set()
        return stopped.wait(10)

    spare = worker.run(ahead, Priority.LOOK_AHEAD, "a", stopped.set)
    assert began.wait(10)
    assert worker.run(lambda _: "done", Priority.AUTOMATIC, "b").result(10) == "done"
    assert spare.result(10)


def test_other_such_work_waits_its_turn(worker: EngineWorker) -> None:
    stopped, began, go_on = threading.Event(), threading.Event(), threading.Event()

    def ahead(_: Engine) -> bool:
        began.set()
        return go_on.wait(10)

    running = worker.run(ahead, Priority.LOOK_AHEAD, "a", stopped.set)
    assert began.wait(10)
    asked = worker.run(lambda _: None, Priority.LOOK_AHEAD, "b")
    assert not stopped.is_set()
    go_on.set()
    assert running.result(10)
    asked.result(10)


def test_idleness_is_measured(worker: EngineWorker) -> None:
    now_s = time.monotonic()
    assert 0 <= worker.idle_s(now_s) <= now_s
    go_on = threading.Event()
    running = worker.run(lambda _: go_on.wait(10), Priority.AUTOMATIC)
    assert worker.idle_s(time.monotonic() + 100) == 0
    go_on.set()
    running.result(10)
    # The thread notes the job's end just after its result.
    deadline_s = time.monotonic() + 10
    while not worker.idle_s(time.monotonic() + 100) and time.monotonic() < deadline_s:
        time.sleep(0.001)
    assert worker.idle_s(time.monotonic() + 100) >= 99


def test_an_unloaded_engine_can_be_loaded_again(worker: EngineWorker) -> None:
    worker.unload().result(10)
    assert worker.engine is None
    with pytest.raises(NoEngineError):
        worker.run(lambda _: None, Priority.AUTOMATIC).result(10)
    worker.load(EngineOptions("echo")).result(10)
    assert worker.run(lambda engine: engine.info.model, Priority.AUTOMATIC).result(10)
