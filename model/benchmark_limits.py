"""What this machine reaches at best: bytes read and products computed a second."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable

import torch

from model.benchmark import MachineLimits
from model.errors import KernelsUnavailableError
from model.native_decoder import kernel_reader

# Far beyond any cache that a processor or GPU has today.
_READ_BYTES = 1 << 30
_QUICK_READ_BYTES = 1 << 26
_MATRIX_SIZES = (1024, 2048, 4096)
_QUICK_MATRIX_SIZES = (256,)
_NUM_REPETITIONS = 5


def measure_limits(
    device: str, num_threads: int, *, quick: bool = False
) -> MachineLimits:
    """Measure with as many threads; some 10 s on two cores.

    Each is the best of several ways, and each way's figure its median.
    """
    torch.set_num_threads(num_threads)
    return MachineLimits(
        read_gb_per_s=measure_read_gb_per_s(
            device, num_threads, _QUICK_READ_BYTES if quick else _READ_BYTES
        ),
        matrix_gops=measure_matrix_gops(
            device, _QUICK_MATRIX_SIZES if quick else _MATRIX_SIZES
        ),
        num_threads=num_threads,
        device=device,
    )


@torch.inference_mode()
def measure_read_gb_per_s(device: str, num_threads: int, num_bytes: int) -> float:
    """Return 10⁹ bytes read a second, from a buffer of ``num_bytes``."""
    side = 1 << ((num_bytes // 4).bit_length() - 1) // 2
    matrix = torch.ones(num_bytes // 4 // side, side, device=device)
    vector = torch.ones(side, device=device)
    # No single one is the quickest on every processor.
    ways: list[Callable[[], object]] = [
        lambda: matrix.sum(),
        lambda: matrix @ vector,
        lambda: matrix.amax(1),
    ]
    read_bytes = matrix.numel() * matrix.element_size()
    if device == "cpu":
        with contextlib.suppress(KernelsUnavailableError):
            read_all = kernel_reader(num_threads)
            ways.append(lambda: read_all(matrix.data_ptr(), read_bytes))
    return max(read_bytes / _median_s(way, device) for way in ways) / 1e9


@torch.inference_mode()
def measure_matrix_gops(device: str, sizes: tuple[int, ...]) -> dict[str, float]:
    """Return 10⁹ operations a second by format; what torch cannot do here is left out.

    A size is of square matrices; the best one counts.
    """
    best: dict[str, float] = {}
    for size in sizes:
        products = {
            name: _product(size, getattr(torch, name), device)
            for name in ("float32", "bfloat16", "float16")
            # Half precision on a processor goes through code nobody uses.
            if name != "float16" or device != "cpu"
        }
        products["int8"] = _int8_product(size, device)
        for name, product in products.items():
            try:
                gops = 2 * size**3 / _median_s(product, device) / 1e9
            except (RuntimeError, AttributeError):
                continue
            best[name] = max(best.get(name, 0.0), gops)
    return best


def _product(size: int, dtype: torch.dtype, device: str) -> Callable[[], object]:
    left = torch.randn(size, size, device=device).to(dtype)
    right = torch.randn(size, size, device=device).to(dtype)
    return lambda: left @ right


def _int8_product(size: int, device: str) -> Callable[[], object]:
    left = torch.randint(-127, 128, (size, size), dtype=torch.int8, device=device)
    # Column by column, as every library wants its weights.
    right = left.clone().t()
    return lambda: torch._int_mm(left, right)


def _median_s(work: Callable[[], object], device: str) -> float:
    """Return the median time of ``work``, after one run that does not count."""
    times = []
    for _ in range(_NUM_REPETITIONS + 1):
        started = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
