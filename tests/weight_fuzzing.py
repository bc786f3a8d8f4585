"""Damaged model files by the thousand, each handed to whoever reads such files.

Run as a program, it works in a process of its own with little memory to spare, so that
a crash, a hang and an allocation without bound are seen by whoever started it::

    python tests/weight_fuzzing.py BASE SEED FIRST COUNT KIND ...

``BASE`` holds the whole files that are damaged. Every case follows from kind, seed and
its number alone. A reader must succeed, and then agree with another reader of the same
format, or raise one of our errors.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from weight_damage import Chooser
from weight_readers import (
    AbsurdFuzzer,
    ConfigFuzzer,
    EngineFuzzer,
    Fuzzer,
    GgufFuzzer,
    IndexFuzzer,
    PackedFuzzer,
    RecordFuzzer,
    SafetensorsFuzzer,
    TokenizerFuzzer,
)

SPARE_BYTES = 1 << 30
_HANG_S = 60
FUZZERS: dict[str, Callable[[Path, Path], Fuzzer]] = {
    "safetensors": SafetensorsFuzzer,
    "index": IndexFuzzer,
    "gguf": GgufFuzzer,
    "config": ConfigFuzzer,
    "tokenizer": TokenizerFuzzer,
    "packed": PackedFuzzer,
    "records": RecordFuzzer,
    "absurd": AbsurdFuzzer,
    "engine": EngineFuzzer,
}


def run(kind: str, base: Path, seed: int, numbers: range) -> dict[str, int | float]:
    """Run cases; return how many were taken for good and how many were refused."""
    from model.errors import StablecodeError

    counts = {"taken": 0, "refused": 0}
    slowest_s = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "case"
        folder.mkdir()
        fuzzer = FUZZERS[kind](base, folder)
        spare_bytes = SPARE_BYTES * (8 if kind == "engine" else 1)
        with bounded_memory(spare_bytes) as grown_bytes:
            for number in numbers:
                fuzzer.damage(Chooser(f"{kind} {seed} {number}"))
                faulthandler.dump_traceback_later(_HANG_S, exit=True)
                started = time.perf_counter()
                try:
                    taken = fuzzer.read()
                except StablecodeError:
                    taken = False
                except BaseException:
                    print(f"CASE {kind} {seed} {number}", file=sys.stderr, flush=True)
                    raise
                slowest_s = max(slowest_s, time.perf_counter() - started)
                counts["taken" if taken else "refused"] += 1
                _empty(folder)
            grown = grown_bytes()
    faulthandler.cancel_dump_traceback_later()
    return {**counts, "slowest_s": round(slowest_s, 2), "grown_bytes": grown}


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def bounded_memory(spare_bytes: int) -> Iterator[Callable[[], int]]:
    """Let this process take so much more memory at most, where that can be done.

    What is given tells how much its memory has grown since, at the most.
    """
    try:
        import resource
    except ImportError:  # Windows
        yield lambda: 0
        return

    unit = 1 if sys.platform == "darwin" else 1024

    def most() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    before = most()
    if sys.platform != "linux":  # macOS bounds nothing
        yield lambda: most() - before
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + spare_bytes
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, old[1]))
    try:
        yield lambda: most() - before
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


def main() -> None:
    base, seed, first, count, *kinds = sys.argv[1:]
    faulthandler.enable()
    logging.disable(logging.CRITICAL)
    numbers = range(int(first), int(first) + int(count))
    found = {kind: run(kind, Path(base), int(seed), numbers) for kind in kinds}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
