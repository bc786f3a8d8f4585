"""The kernels' decoder as a ``Backend``: what a processor serves with."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.benchmark import ModelCosts
from model.decoder_config import DecoderConfig
from model.errors import ContextTooLargeError
from model.logits import NumpyLogits
from model.native_decoder import (
    Branching,
    CacheKind,
    NativeCache,
    NativeDecoder,
)
from model.packed_weights import PackedWeights
from model.pass_costs import measure_pass_costs, read_pass_costs

logger = logging.getLogger(__name__)

_CHUNK_TOKENS = 128
_MAX_BRANCHES = 8
# Branches take several slots per position; a cache grows when it needs more.
_SPARE_SLOTS = 256


class NativeLogits(NumpyLogits):
    """Logits whose best tokens the kernels find, ``[positions, padded vocabulary]``."""

    def __init__(self, decoder: NativeDecoder, padded: npt.NDArray[np.float32]) -> None:
        super().__init__(padded[:, : decoder.vocab_size])
        self._decoder = decoder
        self._padded = padded

    def greedy(self) -> list[tuple[int, float]]:
        """Return each position's most probable token and its log-probability."""
        return self._decoder.greedy(self._padded)


class NativeBackend:
    """A ``Backend`` over a ``NativeDecoder``, with a cache per session.

    Results are the same, bit for bit, however tokens are split into passes.
    """

    def __init__(
        self,
        weights: PackedWeights,
        config: DecoderConfig,
        *,
        context_tokens: int,
        num_sessions: int,
        num_threads: int,
        cache_kind: CacheKind = "bfloat16",
        chunk_tokens: int = _CHUNK_TOKENS,
    ) -> None:
        self._config = config
        self._cache_kind = cache_kind
        self._weight_bytes = weights.num_bytes
        self._formats = weights.formats
        self._chunk_tokens = chunk_tokens
        self._decoder = NativeDecoder(
            weights,
            config,
            context_tokens=context_tokens + _SPARE_SLOTS,
            most_tokens=max(chunk_tokens, 2 * _CHUNK_TOKENS),
            num_threads=num_threads,
        )
        self._caches: list[NativeCache] = []
        self._lengths: list[int] = []
        self._branching: Branching | None = None
        self._num_steps = 0
        self.resize(context_tokens, num_sessions)
        self._pass_costs_ms: tuple[tuple[int, float], ...] = ()

    @property
    def name(self) -> str:
        """Backend and number formats, most bytes first."""
        return f"native C ({'+'.join(self._formats)})"

    @property
    def chunk_tokens(self) -> int:
        """Tokens per prefill chunk."""
        return self._chunk_tokens

    @property
    def num_sessions(self) -> int:
        """How many caches there are."""
        return len(self._caches)

    def most_branches(self, num_shared: int, num_steps: int) -> int:
        """Return how many continuations ``branch`` takes at once: room is made."""
        return _MAX_BRANCHES

    @property
    def vocab_size(self) -> int:
        """How many ids the model knows."""
        return self._decoder.vocab_size

    @property
    def num_threads(self) -> int:
        """How many threads compute."""
        return self._decoder.num_threads

    @property
    def pass_costs_ms(self) -> tuple[tuple[int, float], ...]:
        """What ``measure`` found: (tokens, ms), ascending."""
        return self._pass_costs_ms

    @property
    def costs(self) -> ModelCosts:
        """What a pass must read and compute."""
        numbers = sum(
            one.num_rows * one.num_columns
            for name, one in self._decoder.weights.matrices.items()
            if name != "head"
        )
        return ModelCosts(
            weight_bytes_per_pass=self._weight_bytes,
            cache_bytes_per_token=self._caches[0].num_bytes // self._caches[0].capacity,
            operations_per_token=2 * numbers,
            compute_format="float32" if self._formats == ("f32",) else "int8",
        )

    @property
    def num_cached_tokens(self) -> int:
        """Positions held by the selected cache; each branch's tokens count."""
        if self._branching is None:
            return self._lengths[self._session]
        taken = self._num_steps * self._branching.num_branches
        return self._branching.num_shared + taken

    def select(self, session: int) -> None:
        """Work on another session's cache from now on."""
        self._session = session
        self._branching = None

    def forward(self, token_ids: Sequence[int], num_logits: int = 1) -> NativeLogits:
        """Append ``token_ids``; return logits after each of the last ``num_logits``.

        Raises ``ContextTooLargeError``.
        """
        start = self._lengths[self._session]
        self._check_context(start + len(token_ids))
        # No more at once than there is room for; drafts follow a chunk.
        most = self._decoder.most_tokens
        parts: list[npt.NDArray[np.float32]] = []
        for begin in range(0, len(token_ids), most):
            piece = token_ids[begin : begin + most]
            wanted = max(0, begin + len(piece) - (len(token_ids) - num_logits))
            parts.append(
                self._decoder.run(
                    piece,
                    self._caches[self._session],
                    start + begin,
                    min(wanted, len(piece)),
                )
            )
        self._lengths[self._session] = start + len(token_ids)
        padded = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return NativeLogits(self._decoder, padded)

    def branch(self, token_ids: Sequence[int], num_shared: int) -> NativeLogits:
        """Append one token to each of several continuations; return their logits.

        Raises ``ContextTooLargeError``.
        """
        count = len(token_ids)
        if count == 1:
            return self.forward(token_ids)
        if self._branching is None:
            self._branching = Branching(count, num_shared)
            self._num_steps = 0
            self._lengths[self._session] = num_shared
        if self._branching != Branching(count, num_shared):
            raise ValueError("other branches are under way")
        self._check_context(num_shared + self._num_steps + 1)
        first_slot = num_shared + self._num_steps * count
        cache = self._caches[self._session]
        if first_slot + count > cache.capacity:
            cache = self._caches[self._session] = cache.larger(first_slot)
        padded = self._decoder.run(token_ids, cache, first_slot, count, self._branching)
        self._num_steps += 1
        return NativeLogits(self._decoder, padded)

    def truncate(self, num_tokens: int) -> None:
        """Keep the first ``num_tokens`` positions; costs nothing."""
        self._branching = None
        self._lengths[self._session] = min(self._lengths[self._session], num_tokens)

    def release(self, session: int) -> None:
        """Empty a session; its memory is the system's until it is filled again."""
        self._lengths[session] = 0
        capacity = self._caches[session].capacity
        self._caches[session] = NativeCache(self._config, capacity, self._cache_kind)

    def resize(self, context_tokens: int, num_sessions: int) -> None:
        """Drop all caches and make empty ones; they take memory as they are filled.

        Raises ``OutOfMemoryError``; then there is none.
        """
        self._caches, self._lengths = [], []
        self._session, self._branching = 0, None
        self._context_tokens = context_tokens
        self._caches = [
            NativeCache(self._config, context_tokens + _SPARE_SLOTS, self._cache_kind)
            for _ in range(num_sessions)
        ]
        self._lengths = [0] * num_sessions

    def close(self) -> None:
        """Drop weights and caches."""
        self._caches = []
        self._decoder.close()

    def measure(self, known: Path | None = None) -> None:
        """Find out what passes cost, or read from ``known`` what was found before."""
        found = None if known is None else read_pass_costs(known)
        if found is not None:
            self._pass_costs_ms = found
            return
        self._pass_costs_ms = measure_pass_costs(self)
        if known is not None:
            try:
                known.write_text(json.dumps(self._pass_costs_ms), "utf-8")
            except OSError as error:
                logger.info("the costs of passes cannot be kept: %s", error)

    def _check_context(self, num_positions: int) -> None:
        if num_positions > self._context_tokens:
            raise ContextTooLargeError(
                f"{num_positions} tokens do not fit into a context of "
                f"{self._context_tokens}.",
                hint="Raise contextTokens, or lower maxNewTokens.",
            )


def cache_bytes_per_token(config: DecoderConfig, kind: CacheKind) -> int:
    """Return what keys and values of one position take."""
    numbers = {"float32": 4 * config.head_dim, "bfloat16": 2 * config.head_dim}
    per_head = numbers.get(kind, config.head_dim + 4)
    return 2 * config.num_layers * config.num_kv_heads * per_head
