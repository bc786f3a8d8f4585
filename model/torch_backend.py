"""The native decoder in torch, as a ``Backend``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from model.attention_factory import AttentionFactory
from model.cuda_graphs import (
    TOKEN_BUCKETS,
    CapturedSteps,
    CudaGraphDevice,
    GraphDevice,
)
from model.decoder import Decoder
from model.decoder_config import read_decoder_config
from model.device import Placement
from model.directory import read_config
from model.errors import ContextTooLargeError, TooManyBranchesError
from model.flash_attention import flash_kernel
from model.pass_costs import measure_pass_costs
from model.tokenizer_errors import check_token_ids
from model.torch_errors import first_line, naming_out_of_memory
from model.torch_linear import WeightFormat
from model.torch_logits import TensorLogits
from model.torch_sessions import Branching, TorchSession
from model.torch_steps import DecoderSteps
from model.torch_weights import TensorFiles, WeightLoader

logger = logging.getLogger(__name__)

_CPU_CHUNK_TOKENS = 128
_GPU_CHUNK_TOKENS = 1024
_MAX_BRANCHES = 8
# Slots after the context: for what pads a captured step, and for branches, which
# take several slots per position. Branches that need more get a cache of their own.
_SPARE_SLOTS = 256
_SLOT_MULTIPLE = 64
_FORMATS: dict[str, WeightFormat] = {"int8": "int8", "int4": "int4"}


class TorchBackend:
    """A ``Backend`` over a ``Decoder``, with a fixed cache per session.

    Raises ``OutOfMemoryError`` where the caches do not fit.
    """

    def __init__(
        self,
        steps: DecoderSteps,
        context_tokens: int,
        num_sessions: int,
        *,
        attention: str,
        chunk_tokens: int | None = None,
    ) -> None:
        self._steps = steps
        self._attention = attention
        self._device_type = steps.decoder.device.type
        default = _GPU_CHUNK_TOKENS
        if self._device_type == "cpu":
            default = _CPU_CHUNK_TOKENS
        self._chunk_tokens = chunk_tokens or default
        self._sessions: list[TorchSession] = []
        self._captured: CapturedSteps | None = None
        self._graph_device: GraphDevice | None = None
        self.resize(context_tokens, num_sessions)
        self._pass_costs_ms: tuple[tuple[int, float], ...] = ()

    @property
    def name(self) -> str:
        """Backend and attention kernel."""
        graphs = ", graphs" if self._captured is not None else ""
        return f"native torch ({self._attention}{graphs})"

    @property
    def chunk_tokens(self) -> int:
        """Tokens per prefill chunk."""
        return self._chunk_tokens

    @property
    def num_sessions(self) -> int:
        """How many caches there are."""
        return len(self._sessions)

    def most_branches(self, num_shared: int, num_steps: int) -> int:
        """Return how many continuations of so many tokens a session has room for.

        Room for more would be a copy of the whole cache, which a GPU may not have.
        """
        room = num_cache_slots(self._context_tokens) - num_shared
        return max(1, min(_MAX_BRANCHES, room // max(1, num_steps)))

    @property
    def vocab_size(self) -> int:
        """How many ids the model knows."""
        return self._steps.decoder.config.vocab_size

    @property
    def pass_costs_ms(self) -> tuple[tuple[int, float], ...]:
        """What ``measure`` found: (tokens, ms), ascending."""
        return self._pass_costs_ms

    @property
    def num_cached_tokens(self) -> int:
        """Positions held by the selected cache; each branch's tokens count."""
        session = self._sessions[self._selected]
        if session.branching is None:
            return session.num_tokens
        branching = session.branching
        return branching.num_shared + branching.num_steps * branching.num_branches

    def select(self, session: int) -> None:
        """Work on another session's cache from now on."""
        if not 0 <= session < len(self._sessions):
            raise ValueError(f"no session {session}")
        self._selected = session

    @torch.inference_mode()
    def forward(self, token_ids: Sequence[int], num_logits: int = 1) -> TensorLogits:
        """Append ``token_ids``; return logits after each of the last ``num_logits``.

        Raises ``OutOfMemoryError`` or ``ContextTooLargeError``.
        """
        session = self._sessions[self._selected]
        if session.branching is not None:
            raise ValueError("forward while branches are under way")
        num_logits = max(1, num_logits)
        if num_logits > len(token_ids):
            raise ValueError(f"{num_logits} logits of {len(token_ids)} tokens")
        check_token_ids(token_ids, self.vocab_size)
        start = session.num_tokens
        self._check_context(start + len(token_ids))
        logits: Tensor | None = None
        with self._naming_out_of_memory():
            if self._captured is not None:
                logits = self._captured.append(self._selected, token_ids, start)
            if logits is None:
                logits = self._steps.append(session.cache, token_ids, start, num_logits)
        session.num_tokens += len(token_ids)
        return TensorLogits(logits[-num_logits:])

    @torch.inference_mode()
    def branch(self, token_ids: Sequence[int], num_shared: int) -> TensorLogits:
        """Append one token to each of several continuations; return their logits.

        Raises ``OutOfMemoryError``, ``ContextTooLargeError`` or
        ``TooManyBranchesError``.
        """
        session = self._sessions[self._selected]
        if not 1 <= len(token_ids) <= _MAX_BRANCHES:
            raise ValueError(f"{len(token_ids)} branches")
        branching = session.branching
        if branching is None:
            if not 0 <= num_shared <= session.num_tokens:
                raise ValueError(f"{num_shared} shared of {session.num_tokens}")
            branching = Branching(len(token_ids), num_shared)
        elif (branching.num_branches, branching.num_shared) != (
            len(token_ids),
            num_shared,
        ):
            raise ValueError("other branches are under way")
        step = branching.num_steps
        self._check_context(num_shared + step + 1)
        if num_shared + (step + 1) * len(token_ids) > session.cache.num_slots:
            raise TooManyBranchesError(f"{len(token_ids)} continuations at once.")
        session.branching, session.num_tokens = branching, num_shared
        logits: Tensor | None = None
        with self._naming_out_of_memory():
            if self._captured is not None:
                logits = self._captured.branch(
                    self._selected, token_ids, num_shared, step
                )
            if logits is None:
                logits = self._steps.branch(session.cache, token_ids, num_shared, step)
        branching.num_steps += 1
        return TensorLogits(logits)

    def truncate(self, num_tokens: int) -> None:
        """Keep the first ``num_tokens`` positions; costs nothing."""
        session = self._sessions[self._selected]
        session.branching = None
        session.num_tokens = min(session.num_tokens, num_tokens)

    def release(self, session: int) -> None:
        """Empty a session. Its tensors stay: captured steps are bound to them."""
        self._sessions[session].branching = None
        self._sessions[session].num_tokens = 0

    @torch.inference_mode()
    def resize(self, context_tokens: int, num_sessions: int) -> None:
        """Drop caches and graphs, give device memory back, and make empty caches.

        Steps are captured again where they were. Raises ``OutOfMemoryError``; then
        there is no session.
        """
        self._captured, self._sessions = None, []
        self._selected = 0
        self._context_tokens = context_tokens
        self._give_back()
        num_slots = num_cache_slots(context_tokens)
        with naming_out_of_memory("The caches do not fit into the memory."):
            sessions = [
                TorchSession(self._steps.new_cache(num_slots))
                for _ in range(num_sessions)
            ]
        self._sessions = sessions
        if self._graph_device is not None:
            try:
                self.capture(self._graph_device)
            except RuntimeError as error:  # out of memory among them
                logger.warning("CUDA graphs: none (%s)", first_line(error))
                self._give_back()

    def close(self) -> None:
        """Drop weights, caches and graphs, and give device memory back."""
        self._captured, self._sessions = None, []
        vars(self).pop("_steps", None)
        self._give_back()

    def _give_back(self) -> None:
        if self._device_type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def capture(self, device: GraphDevice) -> None:
        """Capture steps of few tokens. Raises RuntimeError where that cannot be."""
        self._graph_device = device
        self._captured = CapturedSteps(
            self._steps,
            [session.cache for session in self._sessions],
            device,
            max_branches=_MAX_BRANCHES,
            reads_all=self._attention == "sdpa",
        )

    def measure(self) -> None:
        """Find out what passes cost; empties the selected cache."""
        self._pass_costs_ms = measure_pass_costs(self)

    def _check_context(self, num_positions: int) -> None:
        if num_positions > self._context_tokens:
            raise ContextTooLargeError(
                f"{num_positions} tokens do not fit into a context of "
                f"{self._context_tokens}.",
                hint="Raise contextTokens, or lower maxNewTokens.",
            )

    @contextmanager
    def _naming_out_of_memory(self) -> Iterator[None]:
        message = (
            f"The device ran out of memory at {self.num_cached_tokens} tokens of "
            "context."
        )
        with naming_out_of_memory(message):
            yield


def load_torch_backend(
    directory: Path, placement: Placement, context_tokens: int, num_sessions: int
) -> tuple[TorchBackend, tuple[str, ...]]:
    """Load a Hugging Face directory; return the backend and notes for the user.

    Raises ``UnsupportedArchitectureError``, ``WeightsCorruptError`` or
    ``OutOfMemoryError``.
    """
    config = read_decoder_config(read_config(directory))
    device = torch.device(placement.device)
    dtype = compute_dtype(placement)
    kind = _FORMATS.get(placement.dtype, "plain")
    kernel = flash_kernel(device, dtype, config.head_dim)
    attention = AttentionFactory(
        config.sliding_windows, config.num_heads // config.num_kv_heads, dtype, kernel
    )
    notes: list[str] = []
    if kernel is None and device.type == "cuda":
        notes.append("attention: torch SDPA, because flash-attn does not serve here")
    with naming_out_of_memory(
        f"The model does not fit into the memory of {placement.device}."
    ):
        with TensorFiles(directory) as files:
            weights = WeightLoader(config, files, device, dtype, kind).load()
        decoder = Decoder(config, weights, num_cache_slots(context_tokens))
        backend = TorchBackend(
            DecoderSteps(decoder, attention),
            context_tokens,
            num_sessions,
            attention="sdpa" if kernel is None else "flash",
        )
    if device.type == "cuda":
        try:
            backend.capture(CudaGraphDevice(device))
        except RuntimeError as error:  # out of memory among them
            notes.append(f"CUDA graphs: none ({first_line(error)})")
    backend.measure()
    return backend, tuple(notes)


def compute_dtype(placement: Placement) -> torch.dtype:
    """Return the number format of activations, caches and unquantised weights."""
    if placement.dtype not in _FORMATS:
        dtype: torch.dtype = getattr(torch, placement.dtype)
        return dtype
    if placement.device == "mps" or (
        placement.device.startswith("cuda") and not torch.cuda.is_bf16_supported()
    ):
        return torch.float16
    return torch.bfloat16


def num_cache_slots(context_tokens: int) -> int:
    """Return how many slots a session's cache has, and positions the rotation."""
    needed = context_tokens + max(_SPARE_SLOTS, TOKEN_BUCKETS[-1])
    return -(-needed // _SLOT_MULTIPLE) * _SLOT_MULTIPLE
