"""The kernels' structures and functions, as ``kernels/*.[ch]`` declare them."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_float, c_int, c_int32, c_int64, c_void_p
from typing import Any

from model.errors import KernelsUnavailableError

FORMAT_CODES = {"q4": 0, "q5": 1, "q6": 2, "q8": 3, "f32": 4}
CACHE_CODES = {"float32": 0, "bfloat16": 1, "int8": 2}
NORM_CODES = {"layer": 0, "rms": 1}
ACTIVATION_CODES = {"silu": 0, "gelu": 1, "gelu_tanh": 2}


class CMatrix(Structure):
    """``Matrix`` of matrix.h."""

    _fields_ = (
        ("blocks", c_void_p),
        ("bias", c_void_p),
        ("block_bytes", c_int64),
        ("rows", c_int32),
        ("columns", c_int32),
        ("format", c_int32),
        ("unused", c_int32),
    )


class CNorm(Structure):
    """``Norm`` of decoder.c."""

    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class CLayer(Structure):
    """``Layer`` of decoder.c."""

    _fields_ = (
        ("attention_norm", CNorm),
        ("mlp_norm", CNorm),
        ("query_norm", c_void_p),
        ("key_norm", c_void_p),
        ("qkv", CMatrix),
        ("out", CMatrix),
        ("up", CMatrix),
        ("down", CMatrix),
        ("window", c_int32),
        ("unused", c_int32),
    )


class CModel(Structure):
    """``Model`` of decoder.c."""

    _fields_ = (
        ("layers", POINTER(CLayer)),
        ("rotary", c_void_p),
        ("final_norm", CNorm),
        ("head", CMatrix),
        ("num_layers", c_int32),
        ("hidden", c_int32),
        ("intermediate", c_int32),
        ("num_heads", c_int32),
        ("num_cache_heads", c_int32),
        ("dimensions", c_int32),
        ("rotary_dimensions", c_int32),
        ("norm", c_int32),
        ("parallel_residual", c_int32),
        ("activation", c_int32),
        ("gated", c_int32),
        ("vocabulary", c_int32),
        ("epsilon", c_float),
        ("most_tokens", c_int32),
    )


class CCache(Structure):
    """``Cache`` of attention.h."""

    _fields_ = (
        ("keys", c_void_p),
        ("values", c_void_p),
        ("key_scales", c_void_p),
        ("value_scales", c_void_p),
        ("capacity", c_int64),
        ("kind", c_int32),
        ("unused", c_int32),
    )


def declare(library: ctypes.CDLL) -> None:
    """Give the library's functions their types.

    Raises ``KernelsUnavailableError`` if its structures are not as long as ours.
    """
    layout = ctypes.sizeof(CModel) + CModel.epsilon.offset
    layout += 1000 * ctypes.sizeof(CLayer) + 1_000_000 * ctypes.sizeof(CMatrix)
    layout += 10_000_000 * ctypes.sizeof(CCache)
    functions: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "decoder_layout": (c_int, ()),
        "decoder_threads": (c_int, (c_int,)),
        "decoder_make_room": (c_void_p, (POINTER(CModel),)),
        "decoder_free_room": (None, (c_void_p,)),
        "decoder_pass": (
            None,
            (
                POINTER(CModel),
                POINTER(CCache),
                c_void_p,
                c_void_p,
                c_int,
                c_int,
                c_int,
                c_int,
                c_int,
                c_void_p,
            ),
        ),
        "decoder_greedy": (
            None,
            (c_void_p, c_int, c_int64, c_int, c_void_p, c_void_p),
        ),
        "decoder_multiply": (
            None,
            (POINTER(CMatrix), c_void_p, c_void_p, c_int, c_void_p),
        ),
        "decoder_read_all": (ctypes.c_uint32, (c_void_p, c_int64)),
    }
    for name, (result, arguments) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    if library.decoder_layout() != layout:
        raise KernelsUnavailableError(
            "The compiled kernels and this program disagree on their structures.",
            hint="Delete the folder kernels in the cache; it is made again.",
        )
