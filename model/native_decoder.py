"""The kernels' decoder over packed weights: token ids in, logits out.

Everything a pass needs is in memory of fixed place before the first pass; a pass is
one call into C, without Python's lock.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model.compiler import load_kernels
from model.decoder_config import DecoderConfig
from model.errors import OutOfMemoryError
from model.logits import check_number
from model.native_structures import (
    ACTIVATION_CODES,
    CACHE_CODES,
    FORMAT_CODES,
    NORM_CODES,
    CCache,
    CLayer,
    CMatrix,
    CModel,
    CNorm,
    declare,
)
from model.packed_weights import PackedWeights
from model.packing import ROWS, block_bytes
from model.tokenizer_errors import check_token_ids

CacheKind = Literal["float32", "bfloat16", "int8"]
_MORE_SLOTS = 2048
_SLOTS = 128  # the kernels' chunk of slots; a cache holds whole ones
_NUMBER_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}


@dataclass(frozen=True, slots=True)
class Branching:
    """Where interleaved continuations begin, and how many there are."""

    num_branches: int = 1
    num_shared: int = 0


LINEAR = Branching()
# The kernels' threads are the process's, and serve one pass at a time.
_one_caller = threading.Lock()


class NativeCache:
    """Keys and values of one session, in untouched memory until they are used."""

    def __init__(self, config: DecoderConfig, capacity: int, kind: CacheKind) -> None:
        slots = -(-capacity // _SLOTS) * _SLOTS
        heads = config.num_layers * config.num_kv_heads
        num_bytes = heads * slots * config.head_dim * _NUMBER_BYTES[kind]
        try:
            self._keys = _aligned(num_bytes)
            self._values = _aligned(num_bytes)
            scales = heads * slots * 4 if kind == "int8" else 0
            self._scales = [_aligned(scales) for _ in range(2)]
        except MemoryError as error:
            raise OutOfMemoryError(
                f"There is no room for {capacity} tokens of context.",
                hint="Lower contextTokens, or choose a smaller model.",
            ) from error
        self.capacity = slots
        self._config, self._kind = config, kind
        self.structure = CCache(
            _address(self._keys),
            _address(self._values),
            _address(self._scales[0]),
            _address(self._scales[1]),
            slots,
            CACHE_CODES[kind],
        )

    @property
    def num_bytes(self) -> int:
        """Memory it takes once it is full."""
        return sum(one.nbytes for one in (self._keys, self._values, *self._scales))

    def larger(self, num_used: int) -> NativeCache:
        """Return one with more room, and the first slots' contents."""
        copy = NativeCache(self._config, self.capacity + _MORE_SLOTS, self._kind)
        heads = self._config.num_layers * self._config.num_kv_heads
        for old, new in zip(
            (self._keys, self._values, *self._scales),
            (copy._keys, copy._values, *copy._scales),
            strict=True,
        ):
            if old.nbytes:
                per_slot = old.nbytes // heads // self.capacity
                # Keys lie in blocks of 16 slots.
                used = per_slot * (-(-num_used // 16) * 16)
                new.reshape(heads, -1)[:, :used] = old.reshape(heads, -1)[:, :used]
        return copy


class NativeDecoder:
    """A model whose passes the kernels compute.

    ``most_tokens`` bounds one pass, ``context_tokens`` the positions.
    """

    def __init__(
        self,
        weights: PackedWeights,
        config: DecoderConfig,
        *,
        context_tokens: int,
        most_tokens: int,
        num_threads: int,
    ) -> None:
        self._library = load_kernels()
        declare(self._library)
        self.num_threads = int(self._library.decoder_threads(num_threads))
        self.most_tokens = most_tokens
        self.vocab_size = config.vocab_size
        self.padded_vocab_size = -(-config.vocab_size // ROWS) * ROWS
        self._kept: list[Any] = [weights]
        self.weights = weights
        self._layers = (CLayer * config.num_layers)(
            *(self._layer(number, config) for number in range(config.num_layers))
        )
        self._model = CModel(
            self._layers,
            self._keep(_rotary_table(config, context_tokens)),
            self._norm("final_norm"),
            self._matrix("head"),
            config.num_layers,
            config.hidden_size,
            config.intermediate_size,
            config.num_heads,
            config.num_kv_heads,
            config.head_dim,
            config.rotary_dim,
            NORM_CODES[config.norm],
            config.parallel_residual,
            ACTIVATION_CODES[config.activation],
            config.gated,
            config.vocab_size,
            config.norm_eps,
            most_tokens,
        )
        self._room = self._library.decoder_make_room(ctypes.byref(self._model))
        if not self._room:
            raise OutOfMemoryError(
                "There is no room for the model's activations.",
                hint="Free memory, or choose a smaller model.",
            )
        self._free = weakref.finalize(self, self._library.decoder_free_room, self._room)

    def run(
        self,
        token_ids: Sequence[int],
        cache: NativeCache,
        first_slot: int,
        num_logits: int,
        branching: Branching = LINEAR,
    ) -> npt.NDArray[np.float32]:
        """Append ids at a slot; return ``[num_logits, padded vocabulary]``."""
        if self._room is None:
            raise RuntimeError("the decoder is closed")
        check_token_ids(token_ids, self.vocab_size)
        embedded = self.weights.embedded(token_ids)
        logits = np.empty((num_logits, self.padded_vocab_size), np.float32)
        with _one_caller:
            self._library.decoder_pass(
                self._model,
                cache.structure,
                self._room,
                embedded.ctypes.data,
                len(embedded),
                first_slot,
                branching.num_branches,
                branching.num_shared,
                num_logits,
                logits.ctypes.data,
            )
        if num_logits:
            check_number(float(logits[:, 0].sum()))
        return logits

    def greedy(self, logits: npt.NDArray[np.float32]) -> list[tuple[int, float]]:
        """Return each row's best token and its log-probability."""
        ids = np.empty(len(logits), np.int32)
        logprobs = np.empty(len(logits), np.float32)
        self._library.decoder_greedy(
            logits.ctypes.data,
            len(logits),
            self.padded_vocab_size,
            self.vocab_size,
            ids.ctypes.data,
            logprobs.ctypes.data,
        )
        return list(zip(ids.tolist(), logprobs.tolist(), strict=True))

    def close(self) -> None:
        """Release memory; the decoder cannot be used after that."""
        self._room = None
        self._free()
        self._kept.clear()
        self.weights.close()

    def _layer(self, number: int, config: DecoderConfig) -> CLayer:
        prefix = f"layers.{number}."
        return CLayer(
            self._norm(f"{prefix}attention_norm"),
            self._norm(f"{prefix}mlp_norm"),
            self._pointer(f"{prefix}query_norm.weight"),
            self._pointer(f"{prefix}key_norm.weight"),
            self._matrix(f"{prefix}qkv"),
            self._matrix(f"{prefix}out"),
            self._matrix(f"{prefix}up"),
            self._matrix(f"{prefix}down"),
            config.sliding_windows[number] or 0,
        )

    def _norm(self, name: str) -> CNorm:
        return CNorm(self._pointer(f"{name}.weight"), self._pointer(f"{name}.bias"))

    def _matrix(self, name: str) -> CMatrix:
        matrix = self.weights.matrices[name]
        return CMatrix(
            self._pointer(name),
            self._pointer(f"{name}.bias"),
            block_bytes(matrix.format, matrix.num_columns),
            -(-matrix.num_rows // ROWS) * ROWS,
            matrix.num_columns,
            FORMAT_CODES[matrix.format],
        )

    def _pointer(self, name: str) -> int | None:
        array = self.weights.array(name)
        return None if array is None else self._keep(array)

    def _keep(self, array: npt.NDArray[Any]) -> int:
        """Keep an array alive as long as the kernels may read it."""
        self._kept.append(array)
        return int(array.ctypes.data)


def kernel_reader(num_threads: int) -> Callable[[int, int], object]:
    """Return a function that reads so many bytes at an address, with all threads.

    Raises ``KernelsUnavailableError``.
    """
    library = load_kernels()
    declare(library)
    library.decoder_threads(num_threads)
    read_all: Callable[[int, int], object] = library.decoder_read_all
    return read_all


def _rotary_table(
    config: DecoderConfig, context_tokens: int
) -> npt.NDArray[np.float32]:
    """Return cosine and sine per position and frequency, as transformers rounds."""
    frequencies = np.array(config.inverse_frequencies, np.float32)
    positions = np.arange(-(-context_tokens // _SLOTS) * _SLOTS, dtype=np.float32)
    angles = np.outer(positions, frequencies)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _aligned(num_bytes: int) -> npt.NDArray[np.uint8]:
    """Return fresh bytes that begin at a multiple of 64."""
    raw = np.empty(num_bytes + 64, np.uint8)
    start = -int(raw.ctypes.data) % 64
    return raw[start : start + num_bytes]


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.ctypes.data)
