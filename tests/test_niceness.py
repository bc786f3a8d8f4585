"""What somebody else at this machine notices of a model that computes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from model import EngineOptions, FillRequest, load_engine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.model,
    pytest.mark.skipif(
        sys.platform != "linux", reason="threads have no niceness there"
    ),
]

_SECONDS = 10
_LEVELS = (0, 2, 3, 5, 10)
# Wakes like an editor that draws, does a few milliseconds of work, and says how late
# that was done; in a process of its own.
_NEIGHBOUR = """
import sys, time
delays, wake = [], time.perf_counter()
end = wake + float(sys.argv[1])
while wake < end:
    wake += 0.016
    time.sleep(max(0.0, wake - time.perf_counter()))
    for _ in range(80_000): pass
    delays.append(1000 * (time.perf_counter() - wake))
delays.sort()
for share in (0.5, 0.95, 0.99):
    print(delays[int(share * len(delays))])
"""
_BUSY = [sys.executable, "-c", "while True: pass"]
# In a process too: niceness cannot be taken back.
_ENGINE = """
import sys
from tests.test_niceness import compute
compute(int(sys.argv[1]))
"""


def compute(niceness: int) -> None:
    """Compute without a pause; tell after each answer how many tokens there were."""
    engine = load_engine(EngineOptions("starter", device="cpu", niceness=niceness))
    is_over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), is_over.set())).start()
    body = "def f(x):\n    y = x + 1\n" * 20
    for number in range(1_000_000):
        if is_over.is_set():
            return
        request = FillRequest(f"# {number}\n{body}", "\n", max_new_tokens=48)
        done = engine.fill(request).statistics
        new = done.prompt_tokens - done.reused_tokens + done.generated_tokens
        print(new, flush=True)


class Computing:
    """An engine in a process of its own that never rests."""

    def __init__(self, niceness: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ENGINE, str(niceness)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.num_tokens = 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        while not self.num_tokens:
            assert self._process.poll() is None, "it does not compute"
            time.sleep(0.05)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.num_tokens += int(line)

    def rate(self) -> float:
        """Return the tokens per second of some seconds."""
        before, started_s = self.num_tokens, time.monotonic()
        time.sleep(_SECONDS)
        return (self.num_tokens - before) / (time.monotonic() - started_s)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._reader.join(10)
        self._process.stdout.close()


@contextmanager
def busy() -> Iterator[None]:
    """Keep every core busy, as a build does."""
    programs = [subprocess.Popen(_BUSY) for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for one in programs:
            one.kill()
            one.wait()


def neighbour() -> list[float]:
    """Return how late a neighbour was: the median, 95 and 99 %, in milliseconds."""
    command = [sys.executable, "-c", _NEIGHBOUR, str(_SECONDS)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [float(line) for line in said.split()]


def test_a_neighbour_of_a_model() -> None:
    """It is hardly later than alone, and a build gets more the nicer the model is."""
    alone = neighbour()
    print(f"\n            alone: neighbour {_shown(alone)}")
    rates = []
    for niceness in _LEVELS:
        computing = Computing(niceness)
        try:
            delays, rate = neighbour(), computing.rate()
            with busy():
                beside = computing.rate()
        finally:
            computing.close()
        rates.append(beside)
        print(
            f"  niceness {niceness:2}: neighbour {_shown(delays)}; "
            f"{rate:.0f} tokens/s alone, {beside:.0f} beside a build"
        )
    assert rates[-1] < rates[0]


def _shown(delays_ms: list[float]) -> str:
    return "/".join(f"{one:.1f}" for one in delays_ms) + " ms"
