"""Memory: a ceiling that is kept, and what happens when there is no more."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from small_engines import engine_of, native_engine
from tiny import make_model, make_tokenizer, write_model

from lsp_stablecode.load import MachineLoad
from model import (
    EngineOptions,
    FillRequest,
    backends,
    compiler,
    load_engine,
    memory,
    memory_is_short,
)
from model import engine as engine_module
from model.decoder_config import read_decoder_config
from model.device import Placement
from model.directory import read_config
from model.engine import LocalEngine
from model.errors import ContextTooLargeError, OutOfMemoryError
from model.memory import GIB, CachePlan, MemoryBudget, plan_caches
from model.packer import write_packed
from model.tokenizer import CodeTokenizer
from model.torch_backend import load_torch_backend
from model.transformers_backend import TransformersBackend
from model.weight_sources import SafetensorsSource

_ASK = FillRequest("def f(x):\n    return ", "\n", max_new_tokens=6)


def plan(
    *,
    free: float = 64,
    ceiling: float | None = None,
    weights: float = 1.0,
    wanted: int | None = None,
    device: str = "cpu",
    widths: dict[str, int] | None = None,
    most: int = 4,
) -> CachePlan:
    """Plan with sizes in GiB; a token takes 128 KiB, or 72 in bytes."""
    ceiling_bytes = None if ceiling is None else int(ceiling * GIB)
    return plan_caches(
        wanted,
        32768,
        MemoryBudget(device, int(free * GIB), ceiling_bytes),
        weight_bytes=int(weights * GIB),
        widths=widths or {"bfloat16": 128 << 10, "int8": 72 << 10},
        most_sessions=most,
    )


# --- the ceiling ----------------------------------------------------------------------


def test_without_a_ceiling_caches_are_as_they_were() -> None:
    """A quick context, the better format where it is small, a GiB of sessions."""
    assert plan() == CachePlan(2048, 4, "bfloat16", 128 << 10)
    assert plan(weights=0.5) == CachePlan(2048, 4, "int8", 72 << 10)
    assert plan(widths={"16-bit": 1 << 20}).num_sessions == 1
    assert plan(device="cuda:0", weights=8).context_tokens == 8192


@pytest.mark.parametrize(
    ("ceiling", "expected"),
    [
        # 2,048 tokens take 256 MiB, or 144 in bytes.
        (5.0, CachePlan(2048, 8, "bfloat16", 128 << 10)),
        (3.6, CachePlan(2048, 2, "bfloat16", 128 << 10)),
        (3.2, CachePlan(2048, 1, "int8", 72 << 10)),
        (3.1, CachePlan(1456, 1, "int8", 72 << 10)),
        (3.08, CachePlan(1165, 1, "int8", 72 << 10)),
    ],
)
def test_less_memory_costs_sessions_then_precision_then_context(
    ceiling: float, expected: CachePlan
) -> None:
    """In the order in which they are missed least; all stays under the ceiling."""
    found = plan(ceiling=ceiling, weights=3.0, most=8)
    assert found == expected
    assert 3 * GIB + found.num_sessions * found.session_bytes <= ceiling * GIB


def test_a_ceiling_that_holds_not_even_the_least_is_refused() -> None:
    """With the figures, and what to do."""
    with pytest.raises(OutOfMemoryError, match=r"3\.1 GiB .*memoryGib allows 3\.0"):
        plan(ceiling=3.0, weights=3.0)
    with pytest.raises(OutOfMemoryError, match="Raise memoryGib"):
        plan(ceiling=4.0, weights=3.0, wanted=16384)
    # What is free counts too, and is named where it is less.
    with pytest.raises(OutOfMemoryError, match=r"cpu has 2\.0 GiB free"):
        plan(free=2.0, ceiling=3.0, weights=2.5, wanted=1024)
    with pytest.raises(ContextTooLargeError):
        plan(ceiling=4.0, wanted=40_000)


def test_a_wish_for_context_is_kept_under_a_ceiling() -> None:
    """It costs sessions and precision instead."""
    wide, narrow = (
        plan(ceiling=ceiling, weights=3.0, wanted=8192, most=8)
        for ceiling in (4.5, 3.9)
    )
    assert wide == CachePlan(8192, 1, "bfloat16", 128 << 10)
    assert narrow == CachePlan(8192, 1, "int8", 72 << 10)


def _load(directory: Path, **options: Any) -> Any:
    return load_engine(EngineOptions(model=str(directory), device="cpu", **options))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler.load_kernels()  # those that are compiled already
    monkeypatch.setenv("LSP_STABLECODE_CACHE", str(tmp_path / "cache"))


def _sparse_model(directory: Path, hidden: int, vocab_size: int) -> None:
    """Write a model as large as you like, of zeros that take no room on the disk."""
    write_model(directory, "qwen2")
    path = directory / "config.json"
    config = json.loads(path.read_text())
    changes = {
        "vocab_size": vocab_size,
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_attention_heads": hidden // 64,
        "num_key_value_heads": hidden // 64,
    }
    path.write_text(json.dumps({**config, **changes}))
    weights = directory / "model.safetensors"
    raw = weights.read_bytes()
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    sizes = {64: hidden, 128: 4 * hidden, 704: vocab_size, 32: hidden}
    end = 0
    for name, entry in header.items():
        if name != "__metadata__":
            entry["shape"] = [sizes[one] for one in entry["shape"]]
            start, end = end, end + 4 * torch.Size(entry["shape"]).numel()
            entry["data_offsets"] = [start, end]
    text = json.dumps(header).encode()
    weights.write_bytes(struct.pack("<Q", len(text)) + text)
    with weights.open("r+b") as file:
        file.truncate(8 + len(text) + end)


@pytest.mark.skipif(sys.platform == "win32", reason="no sparse files without asking")
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_a_model_beyond_the_ceiling_is_refused_before_the_work(
    dtype: str, tmp_path: Path
) -> None:
    """Whoever computes it: the kernels or torch."""
    directory = tmp_path / "model"
    directory.mkdir()
    _sparse_model(directory, 4096, 151_936)
    with pytest.raises(OutOfMemoryError, match=r"memoryGib allows 1\.0"):
        _load(directory, memory_gib=1.0, dtype=dtype)
    assert not (tmp_path / "cache" / "packed").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no sparse files without asking")
@pytest.mark.usefixtures("cache")
def test_a_model_beyond_all_memory_is_refused_before_the_work(tmp_path: Path) -> None:
    """A file of terabytes that takes no room on the disk."""
    directory = tmp_path / "model"
    directory.mkdir()
    _sparse_model(directory, 65_536, 1 << 20)
    with pytest.raises(OutOfMemoryError, match="GiB free"):
        _load(directory)


@pytest.mark.usefixtures("cache")
def test_the_ceiling_is_in_status(tmp_path: Path) -> None:
    """What was decided, and why; more sessions where there is room for them."""
    write_model(tmp_path, "qwen2")
    plain, bounded = _load(tmp_path), _load(tmp_path, memory_gib=1.0)
    assert plain.backend.num_sessions == 12
    assert bounded.backend.num_sessions == 16
    [note] = [one for one in bounded.info.notes if one.startswith("memory:")]
    assert "16 " in note
    assert "of 1.0 GiB allowed" in note
    assert "allowed" not in " ".join(plain.info.notes)


@pytest.mark.usefixtures("cache")
def test_all_models_are_under_one_ceiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one holds the others lack, until it is closed."""
    write_model(tmp_path, "qwen2")
    first = _load(tmp_path, memory_gib=1.0)
    held = memory.memory_ledger.held_bytes("cpu")
    assert held > 0
    budget = MemoryBudget.of("cpu", 1.0)
    assert budget.ceiling_bytes == GIB - held
    with monkeypatch.context() as context:
        context.setattr(memory.memory_ledger, "held_bytes", lambda _: GIB - 1000)
        with pytest.raises(OutOfMemoryError, match=r"beside other models, which hold"):
            _load(tmp_path, memory_gib=1.0)
    first.close()
    assert memory.memory_ledger.held_bytes("cpu") < held
    second = _load(tmp_path, memory_gib=1.0)
    assert second.backend.num_sessions == 16
    second.close()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness there")
@pytest.mark.usefixtures("cache")
def test_threads_that_compute_stand_back(tmp_path: Path) -> None:
    """And only those: whoever answers the editor does not."""
    write_model(tmp_path, "qwen2")
    script = """
import os, sys, threading
from model import EngineOptions, FillRequest, load_engine

def compute():
    options = EngineOptions(sys.argv[1], device="cpu", niceness=7, threads=3)
    engine = load_engine(options)
    engine.fill(FillRequest("def f(x):", "", max_new_tokens=2))
    everybody = sorted(
        os.getpriority(os.PRIO_PROCESS, int(one))
        for one in os.listdir("/proc/self/task")
    )
    print(os.getpriority(os.PRIO_PROCESS, 0), everybody)

thread = threading.Thread(target=compute)
thread.start()
thread.join()
print(os.getpriority(os.PRIO_PROCESS, os.getpid()))
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first.split(" ")[0] == "7"
    assert first.count("7") >= 1 + 3
    # As whoever started it.
    assert last == str(os.getpriority(os.PRIO_PROCESS, 0))


class FakeCuda:
    """A GPU of 24 GiB, 20 of them free, by what torch says of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shares: list[float] = []
        monkeypatch.setattr(
            torch.cuda, "mem_get_info", lambda device=None: (20 * GIB, 24 * GIB)
        )
        monkeypatch.setattr(
            torch.cuda,
            "set_per_process_memory_fraction",
            lambda share, device=None: self.shares.append(share),
        )


def test_a_gpu_is_held_to_the_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """By our own choices, and by torch's allocator with room for activations."""
    cuda = FakeCuda(monkeypatch)
    budget = MemoryBudget.of("cuda:0", 6.0)
    assert budget.num_bytes == 6 * GIB
    backends.hold_ceiling("cuda:0", budget)
    backends.hold_ceiling("cuda:0", MemoryBudget.of("cuda:0", None))
    backends.hold_ceiling("cuda:0", MemoryBudget.of("cuda:0", 100.0))
    backends.hold_ceiling("cpu", MemoryBudget.of("cpu", 6.0))
    assert cuda.shares == [6.5 / 24, 1.0, 1.0]
    # stable-code-3b: 5.2 GiB in 16 bits leave no room for a context.
    weights, numbers = 2_795_443_200, 163_840
    for ceiling, dtype in ((None, "auto"), (8.0, "auto"), (6.0, "int8"), (3.6, "int4")):
        budget = MemoryBudget.of("cuda:0", ceiling)
        assert backends.gpu_dtype(budget, None, weights, numbers) == dtype
        weight_bytes = int(weights * backends.DTYPE_BYTES.get(dtype, 2.0))
        found = plan_caches(
            None, 16384, budget, weight_bytes=weight_bytes, widths={"": 2 * numbers}
        )
        taken = weight_bytes + found.num_sessions * found.session_bytes
        assert taken <= budget.num_bytes


# --- no more memory -------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    make_tokenizer().save(str(path))
    return CodeTokenizer.from_file(path)


def torch_backend(directory: Path, context_tokens: int = 4096) -> Any:
    model = make_model("stablelm", max_position_embeddings=context_tokens)
    model.save_pretrained(directory)
    placement = Placement("cpu", "float32")
    return load_torch_backend(directory, placement, context_tokens, 2)[0]


@pytest.fixture
def engine(tmp_path: Path, tokenizer: CodeTokenizer) -> LocalEngine:
    """Return one in torch with two caches of 4,096 tokens."""
    return engine_of(torch_backend(tmp_path), tokenizer, 4096)


class SmallDevice:
    """Lets a torch backend have caches of so many slots in all, and no more."""

    def __init__(
        self, backend: Any, most_slots: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.backend, self.most_slots = backend, most_slots
        steps = backend._steps
        self._new_cache, self._forward = steps.new_cache, steps.decoder.forward
        monkeypatch.setattr(steps, "new_cache", self.new_cache)
        monkeypatch.setattr(steps.decoder, "forward", self.forward)

    @property
    def num_slots(self) -> int:
        return sum(one.cache.num_slots for one in self.backend._sessions)

    def new_cache(self, num_slots: int) -> Any:
        if self.num_slots + num_slots > self.most_slots:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate.")
        return self._new_cache(num_slots)

    def forward(self, *arguments: Any) -> Any:
        """Activations need what other programs took meanwhile."""
        if self.num_slots > self.most_slots:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate.")
        return self._forward(*arguments)


def test_a_full_device_costs_context_and_no_completion(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Caches are given back, the context is halved, and the answer is the same."""
    expected = engine.fill(_ASK).candidates[0].text
    SmallDevice(engine.backend, 3000, monkeypatch)
    for _ in range(2):
        assert engine.fill(_ASK).candidates[0].text == expected
        assert engine.info.context_tokens == 2048
        assert engine.backend.num_sessions == 1
    [note] = [one for one in engine.info.notes if one.startswith("memory ran out")]
    assert "2048 tokens" in note


def test_where_half_is_too_much_the_least_is_tried(
    tmp_path: Path, tokenizer: CodeTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one request; a second shortage is said once more in status, not twice."""
    engine = engine_of(torch_backend(tmp_path, 8192), tokenizer, 8192)
    expected = engine.fill(_ASK).candidates[0].text
    SmallDevice(engine.backend, 1500, monkeypatch)
    long = FillRequest("x = 1\n" * 5000 + "y = ", "\n", max_new_tokens=512)
    assert engine.fill(_ASK).candidates[0].text == expected
    assert engine.info.context_tokens == 1024
    assert engine.fill(long).statistics.prompt_tokens <= 512
    assert len([one for one in engine.info.notes if "ran out" in one]) == 1


def test_nothing_left_is_one_sentence_and_the_engine_lives(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same sentence each time, so that it is shown once; later it serves again."""
    expected = engine.fill(_ASK).candidates[0].text
    device = SmallDevice(engine.backend, 0, monkeypatch)
    said = set()
    for prefix in ("a = ", "def g():\n    ", "x" * 900):
        with pytest.raises(OutOfMemoryError) as caught:
            engine.fill(FillRequest(prefix, "", max_new_tokens=6))
        said.add(str(caught.value))
    assert len(said) == 1
    assert "memoryGib" in said.pop()
    device.most_slots = 100_000
    assert engine.fill(_ASK).candidates[0].text == expected


class FakeGraphs:
    """Captures nothing and counts how often it was asked; fails where told to."""

    def __init__(self) -> None:
        self.num_captured = 0
        self.fails = False

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        if self.fails:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.num_captured += 1
        step()
        return step


def test_captured_steps_go_with_their_caches(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captured anew for the smaller caches, or not at all where there is no room."""
    expected = engine.fill(_ASK).candidates[0].text
    backend: Any = engine.backend
    graphs = FakeGraphs()
    backend.capture(graphs)
    before = graphs.num_captured
    SmallDevice(backend, 3000, monkeypatch)
    assert engine.fill(_ASK).candidates[0].text == expected
    assert before < graphs.num_captured < 2 * before
    assert "graphs" in backend.name
    graphs.fails = True
    engine._make_caches(1024, 1)
    assert "graphs" not in backend.name
    assert engine.fill(_ASK).candidates[0].text == expected


def test_text_that_was_heard_is_not_told_twice(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry in the middle of a text goes on in silence."""
    decoder: Any = engine.backend
    decoder = decoder._steps.decoder
    real, calls = decoder.forward, 0

    def fails(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise MemoryError
        return real(*arguments)

    engine.drafting = False
    heard: list[str] = []
    expected = engine.fill(_ASK, on_text=heard.append).candidates[0].text
    whole = "".join(heard)
    heard.clear()
    monkeypatch.setattr(decoder, "forward", fails)
    assert engine.fill(_ASK, on_text=heard.append).candidates[0].text == expected
    assert heard
    assert whole.startswith("".join(heard))


_FOR_REAL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from small_engines import native_engine
from model import FillRequest
ask = FillRequest("def f(x):\\n    return ", "\\n", 6)
engine = native_engine(Path(sys.argv[1]), 2048)
expected = engine.fill(ask).candidates

pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (24 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, -1))
# Branches need more slots than the cache has, and a larger one cannot be had.
long = FillRequest("x = f(a, b)\\n" * 2000, "\\n", 400, num_candidates=8)
assert len(engine.fill(long).candidates) == 8
assert engine.backend.num_sessions == 1
assert engine.fill(ask).candidates == expected
print(engine.info.notes[-1])
"""


def write_native(directory: Path, context_tokens: int) -> Path:
    """Write a small model for the kernels; a token takes 8 KiB in its caches."""
    model = make_model(
        "qwen2",
        hidden_size=256,
        num_hidden_layers=4,
        num_key_value_heads=4,
        max_position_embeddings=context_tokens,
    )
    model.save_pretrained(directory)
    make_tokenizer().save(str(directory / "tokenizer.json"))
    config = read_decoder_config(read_config(directory))
    with SafetensorsSource(directory) as source:
        write_packed(source, config, directory, "int8", "")
    return directory


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process")
def test_an_allocation_that_fails_for_real_is_survived(tmp_path: Path) -> None:
    """A process that may have no more, and kernels whose cache must grow."""
    write_native(tmp_path, 2048)
    done = subprocess.run(
        [sys.executable, "-c", _FOR_REAL, tmp_path, Path(__file__).parent],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "memory ran out: one cache of 1024 tokens" in done.stdout


def test_every_backend_gives_its_caches_back(tmp_path: Path) -> None:
    """Smaller, fewer, and empty."""
    native: Any = native_engine(write_native(tmp_path / "a", 1024), 1024).backend
    plain: Any = torch_backend(tmp_path / "b", 1024)
    other: Any = TransformersBackend(make_model("stablelm"), attention="sdpa")
    for backend in (native, plain, other):
        ids: Sequence[int] = [5, 6, 7]
        expected = backend.forward(ids).greedy()
        backend.select(1)
        backend.forward(ids)
        backend.release(0)
        assert backend.num_cached_tokens == 3
        backend.select(0)
        assert backend.num_cached_tokens == 0
        backend.resize(256, 1)
        assert backend.num_sessions == 1
        assert backend.num_cached_tokens == 0
        assert backend.forward(ids).greedy() == expected
    with pytest.raises(ContextTooLargeError):
        native.forward([5] * 300)


# --- what others need -----------------------------------------------------------------


class FakeMemory:
    """A machine of 16 GiB whose available memory is set by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.available_gib = 8.0
        self.pressure = tmp_path / "pressure"
        monkeypatch.setattr(memory, "memory_watch", memory.MemoryWatch())
        monkeypatch.setattr(engine_module, "memory_watch", memory.memory_watch)
        monkeypatch.setattr(memory, "_PRESSURE", self.pressure)
        monkeypatch.setattr(memory, "_BELIEVED_S", 0.0)
        monkeypatch.setattr(psutil, "virtual_memory", self._read)

    def _read(self) -> Any:
        available = int(self.available_gib * GIB)
        return SimpleNamespace(total=16 * GIB, available=available)

    def stall(self, percent: float) -> None:
        some = f"some avg10={percent:.2f} avg60=0.00 avg300=0.00 total=0"
        self.pressure.write_text(f"{some}\nfull {some[5:]}\n")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeMemory:
    return FakeMemory(monkeypatch, tmp_path)


def test_memory_is_short_where_little_is_left_or_work_waits_for_it(
    machine: FakeMemory,
) -> None:
    """By what is available, and by Linux's own account of stalls."""
    assert not memory_is_short()
    machine.available_gib = 0.7
    assert memory_is_short()
    machine.available_gib = 0.9
    assert not memory_is_short()
    machine.stall(40.0)
    assert memory_is_short()
    machine.stall(0.5)
    assert not memory_is_short()
    machine.pressure.write_text("nonsense")
    assert not memory_is_short()


def test_idle_caches_are_given_back_where_memory_is_short(
    machine: FakeMemory, tmp_path: Path
) -> None:
    """The document somebody writes keeps its own; status says what was done."""
    engine = native_engine(write_native(tmp_path / "m", 1024), 1024)
    other = FillRequest("import os\n" * 90, "\n", max_new_tokens=6)
    engine.fill(other)
    first = engine.fill(_ASK)
    assert engine.fill(other).statistics.reused_tokens > 100
    machine.available_gib = 0.1
    engine.fill(_ASK)
    assert "memory was short: 1 idle caches given back" in engine.info.notes
    machine.available_gib = 8.0
    assert engine.fill(other).statistics.reused_tokens == 0
    again = engine.fill(_ASK)
    assert again.candidates == first.candidates
    assert again.statistics.reused_tokens > 0


# Among all others' memory of a whole run it once saw nothing: it wants a process of its
# own, and until it has one it is not among the fast ones.
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts resident pages")
def test_what_is_given_back_is_the_systems_again(tmp_path: Path) -> None:
    """Not only forgotten: its pages are gone."""
    backend: Any = native_engine(write_native(tmp_path, 4096), 4096).backend
    backend.forward([5] * 4000)
    backend.select(1)
    process = psutil.Process()
    full = process.memory_info().rss
    backend.release(0)
    assert full - process.memory_info().rss > 24 << 20


async def test_look_ahead_spares_a_machine_short_of_memory(
    machine: FakeMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one on its battery; memory is the greater need."""
    monkeypatch.setattr(
        psutil,
        "sensors_battery",
        lambda: SimpleNamespace(power_plugged=False),
        raising=False,
    )
    assert await MachineLoad().need() == "battery"
    machine.available_gib = 0.1
    assert await MachineLoad().need() == "memory"
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None)
    machine.available_gib = 8.0
    assert await MachineLoad().need() == ""
