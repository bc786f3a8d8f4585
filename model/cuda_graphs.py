"""Steps captured once as CUDA graphs and replayed: a launch instead of hundreds.

A graph's shapes are fixed, so there is one for each of a few numbers of tokens and
lengths of cache; a step takes the smallest that holds it. What it is padded with
goes to slots after its own, which no token sees before they are written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from model.attention import KvTensors
from model.torch_steps import FIRST_TOKEN, DecoderSteps

# A typed character, a drafted line, the last chunk of a prompt.
TOKEN_BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16)
_LEAST_SLOTS = 1024


class GraphDevice(Protocol):
    """What records work on tensors so that it can be done again."""

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        """Return what does ``step`` again, on the same tensors."""
        ...


class CudaGraphDevice:
    """CUDA graphs that share their intermediate memory: one runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        """See ``GraphDevice``. Raises RuntimeError for work that cannot be captured."""
        with torch.cuda.device(self._device):
            # Libraries allocate and choose kernels when first used; not in a graph.
            side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                step()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):
                step()
        replay: Callable[[], None] = graph.replay
        return replay


@dataclass(frozen=True, slots=True)
class StepShape:
    """What one graph was captured for; ``num_slots`` bounds the slots it reads."""

    session: int
    is_branch: bool
    num_tokens: int
    num_slots: int


class CapturedSteps:
    """All graphs of a backend, captured by the constructor.

    ``caches`` are the sessions' own; ``max_branches`` is the most that can go on
    side by side. ``reads_all`` says that attention looks at whole buffers, so that
    graphs for shorter ones pay.
    """

    def __init__(
        self,
        steps: DecoderSteps,
        caches: Sequence[KvTensors],
        device: GraphDevice,
        *,
        max_branches: int,
        reads_all: bool,
    ) -> None:
        self._steps = steps
        self._caches = caches
        decoder = steps.decoder
        most = max(TOKEN_BUCKETS[-1], max_branches)
        self._inputs = torch.zeros(
            FIRST_TOKEN + most, dtype=torch.int64, device=decoder.device
        )
        # One for all graphs: each would keep its own otherwise.
        self._logits = torch.zeros(
            (most, decoder.config.vocab_size),
            dtype=torch.float32,
            device=decoder.device,
        )
        self._append_slots = slot_buckets(caches[0].num_slots, reads_all=reads_all)
        # No kernel but SDPA has masks, and that reads the whole buffer.
        self._branch_slots = slot_buckets(caches[0].num_slots, reads_all=True)
        self._graphs = {
            shape: device.capture(self._step(shape))
            for shape in self._shapes(max_branches)
        }

    @property
    def num_graphs(self) -> int:
        """How many steps were captured."""
        return len(self._graphs)

    def append(
        self, session: int, token_ids: Sequence[int], start: int
    ) -> Tensor | None:
        """Append tokens after ``start`` slots; return ``[tokens, vocabulary]``.

        None where no graph fits.
        """
        num_tokens = smallest(TOKEN_BUCKETS, len(token_ids))
        if num_tokens is None:
            return None
        num_slots = smallest(self._append_slots, start + num_tokens)
        if num_slots is None:
            return None
        shape = StepShape(session, False, num_tokens, num_slots)
        return self._replay(shape, token_ids, start, 0)

    def branch(
        self, session: int, token_ids: Sequence[int], num_shared: int, step: int
    ) -> Tensor | None:
        """Append a token to each branch; return ``[branches, vocabulary]`` or None."""
        used = num_shared + (step + 1) * len(token_ids)
        num_slots = smallest(self._branch_slots, used)
        if num_slots is None:
            return None
        # Exact numbers of branches: a padded one would need slots in every step.
        shape = StepShape(session, True, len(token_ids), num_slots)
        return self._replay(shape, token_ids, num_shared, step)

    def _shapes(self, max_branches: int) -> list[StepShape]:
        """Return all shapes, largest first, so that the others reuse its memory."""
        sessions = range(len(self._caches))
        appends = [
            StepShape(session, False, num_tokens, num_slots)
            for num_slots in reversed(self._append_slots)
            for num_tokens in reversed(TOKEN_BUCKETS)
            for session in sessions
        ]
        branches = [
            StepShape(session, True, num_branches, num_slots)
            for num_slots in reversed(self._branch_slots)
            for num_branches in range(max_branches, 1, -1)
            for session in sessions
        ]
        return appends + branches

    def _step(self, shape: StepShape) -> Callable[[], None]:
        """Return the work of a shape, from ``_inputs`` to ``_logits``."""
        run = self._steps.branch_at if shape.is_branch else self._steps.append_at
        cache = self._caches[shape.session]

        def step() -> None:
            logits = run(cache, self._inputs, shape.num_tokens, shape.num_slots)
            self._logits[: shape.num_tokens].copy_(logits)

        return step

    def _replay(
        self, shape: StepShape, token_ids: Sequence[int], start: int, step: int
    ) -> Tensor | None:
        replay = self._graphs.get(shape)
        if replay is None:
            return None
        padding = [0] * (shape.num_tokens - len(token_ids))
        values = torch.tensor([start, step, *token_ids, *padding])
        self._inputs[: len(values)].copy_(values, non_blocking=True)
        replay()
        # The next replay writes there again.
        return self._logits[: len(token_ids)].clone()


def smallest(buckets: Sequence[int], needed: int) -> int | None:
    """Return the first of ascending ``buckets`` that holds ``needed``, or None."""
    return next((bucket for bucket in buckets if bucket >= needed), None)


def slot_buckets(num_slots: int, *, reads_all: bool) -> tuple[int, ...]:
    """Return the lengths of cache to capture for, ascending, the whole one last."""
    buckets = []
    length = _LEAST_SLOTS
    while reads_all and length < num_slots:
        buckets.append(length)
        length *= 2
    return (*buckets, num_slots)
