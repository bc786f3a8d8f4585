"""Captured steps equal the others: on the processor by calling, on a GPU for real."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import make_model

from model.cuda_graphs import TOKEN_BUCKETS, slot_buckets, smallest
from model.device import Placement
from model.errors import TooManyBranchesError
from model.torch_backend import TorchBackend, load_torch_backend
from model.torch_logits import TensorLogits

_CONTEXT_TOKENS = 1100
_TEXT = [int(one) for one in np.random.default_rng(0).integers(4, 600, 1100)]


class RecordingDevice:
    """Keeps each step as it is; doing it again is calling it."""

    def __init__(self) -> None:
        self.num_replays = 0
        self.num_captures = 0

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        step()
        self.num_captures += 1

        def replay() -> None:
            self.num_replays += 1
            # Inference mode is a state of the thread, as it is for a real graph.
            step()

        return replay


def load_pair(
    directory: Path, family: str
) -> tuple[TorchBackend, TorchBackend, RecordingDevice]:
    """Return the same model without and with captured steps, on the processor."""
    make_model(family, max_position_embeddings=2048).save_pretrained(directory)
    placement = Placement("cpu", "float32")
    plain, captured = (
        load_torch_backend(directory, placement, _CONTEXT_TOKENS, 2)[0]
        for _ in range(2)
    )
    device = RecordingDevice()
    captured.capture(device)
    return plain, captured, device


def assert_same(ours: TensorLogits, theirs: TensorLogits) -> None:
    assert len(ours) == len(theirs)
    for position in range(len(ours)):
        row: npt.NDArray[np.float32] = theirs.row(position)
        spread = float(row.std())
        np.testing.assert_allclose(ours.row(position), row, atol=2e-5 * spread, rtol=0)


@pytest.mark.parametrize("family", ["stablelm", "qwen2", "starcoder2"])
def test_captured_steps_equal_the_others(family: str, tmp_path: Path) -> None:
    """Every number of tokens, at every depth, padded or not, after any other."""
    plain, captured, device = load_pair(tmp_path, family)
    assert captured.name == "native torch (sdpa, graphs)"
    backends = (plain, captured)
    random = np.random.default_rng(0)
    replays = 0
    for start in (0, 3, 57, 1000, 1015, 1024, 1060):
        for num_tokens in (*range(1, 18), 30):
            for backend in backends:
                backend.select(num_tokens % 2)
                backend.truncate(start)
                if backend.num_cached_tokens < start:
                    backend.truncate(0)
                    backend.forward(_TEXT[:start])
            device.num_replays = 0
            text = [int(one) for one in random.integers(4, 600, num_tokens)]
            wanted = int(random.integers(1, num_tokens + 1))
            results = [backend.forward(text, wanted) for backend in backends]
            assert_same(results[1], results[0])
            assert captured.num_cached_tokens == start + num_tokens
            # What a bucket was padded with is not seen by what comes next.
            follow = [backend.forward(_TEXT[5:8], 3) for backend in backends]
            assert_same(follow[1], follow[0])
            replays += device.num_replays
    assert replays > 7 * 16


@pytest.mark.parametrize("family", ["stablelm", "starcoder2"])
def test_captured_branches_equal_the_others(family: str, tmp_path: Path) -> None:
    """Any number of branches, in either session, up to the cache's end."""
    plain, captured, device = load_pair(tmp_path, family)
    backends = (plain, captured)
    for num_branches in range(1, 9):
        for num_shared, num_steps in ((0, 3), (40, 5), (1010, 6), (1050, 50)):
            if num_steps == 50 and num_branches not in (3, 8):
                continue
            for backend in backends:
                backend.select(num_branches % 2)
                backend.truncate(0)
                backend.forward(_TEXT[: num_shared + 1])
            for step in range(num_steps):
                ids = _TEXT[step : step + num_branches]
                if plain.most_branches(num_shared, step + 1) < num_branches:
                    for backend in backends:
                        with pytest.raises(TooManyBranchesError):
                            backend.branch(ids, num_shared)
                    break
                device.num_replays = 0
                results = [backend.branch(ids, num_shared) for backend in backends]
                assert_same(results[1], results[0])
                if num_branches > 1 and num_steps < 50:
                    assert device.num_replays == 1
            for backend in backends:
                backend.truncate(num_shared)
            results = [backend.forward(_TEXT[9:14], 5) for backend in backends]
            assert_same(results[1], results[0])


def test_results_outlive_the_next_step(tmp_path: Path) -> None:
    """Logits are the caller's, although all graphs write to one place."""
    _, captured, _ = load_pair(tmp_path, "stablelm")
    first = captured.forward(_TEXT[:3], 3)
    before = first.row(1).copy()
    captured.forward(_TEXT[3:6], 3)
    assert np.array_equal(first.row(1), before)


@given(needed=st.integers(1, 20))
def test_the_smallest_bucket_is_taken(needed: int) -> None:
    """No step is padded more than it must be."""
    bucket = smallest(TOKEN_BUCKETS, needed)
    fitting = [one for one in TOKEN_BUCKETS if one >= needed]
    assert bucket == (min(fitting) if fitting else None)


@given(num_slots=st.integers(1, 40_000), reads_all=st.booleans())
def test_lengths_end_with_the_whole_cache(num_slots: int, reads_all: bool) -> None:
    """Every depth has a graph, and no graph reads more than twice what it must."""
    buckets = slot_buckets(num_slots, reads_all=reads_all)
    assert buckets[-1] == num_slots
    assert list(buckets) == sorted(set(buckets))
    if reads_all:
        pairs = itertools.pairwise(buckets)
        assert all(longer <= 2 * shorter for shorter, longer in pairs)
    else:
        assert len(buckets) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "int4"])
@pytest.mark.parametrize("family", ["stablelm", "gpt_neox", "qwen2", "starcoder2"])
def test_graphs_agree_with_eager_steps(family: str, dtype: str, tmp_path: Path) -> None:
    """On a GPU: replayed steps and branches equal those launched one by one."""
    shape = {"max_position_embeddings": 2048, "hidden_size": 128}
    make_model(family, **shape).save_pretrained(tmp_path)
    placement = Placement("cuda:0", dtype)
    captured, notes = load_torch_backend(tmp_path, placement, _CONTEXT_TOKENS, 2)
    assert not [note for note in notes if "CUDA graphs" in note]
    assert "graphs" in captured.name
    plain, _ = load_torch_backend(tmp_path, placement, _CONTEXT_TOKENS, 2)
    plain._captured = None
    tolerance = 1e-3 if dtype == "float32" else 0.1
    for start in (0, 40, 1020):
        for num_tokens in range(1, 17):
            for backend in (plain, captured):
                backend.truncate(0)
                if start:
                    backend.forward(_TEXT[:start])
            text = _TEXT[:num_tokens]
            ours, theirs = (
                captured.forward(text, num_tokens),
                plain.forward(text, num_tokens),
            )
            for position in range(num_tokens):
                row = theirs.row(position)
                error = np.abs(ours.row(position) - row).max()
                assert error <= tolerance * row.std()
        for step in range(3):
            ours, theirs = (
                backend.branch(_TEXT[step : step + 3], start)
                for backend in (captured, plain)
            )
            for position in range(3):
                row = theirs.row(position)
                error = np.abs(ours.row(position) - row).max()
                assert error <= tolerance * row.std()
    torch.cuda.synchronize()
