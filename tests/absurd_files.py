"""Model files that promise more than any memory holds."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

_INDEX = "model.safetensors.index.json"
_MIB = 1 << 20


def _gguf(num_tensors: int, num_entries: int, rest: bytes = b"") -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", 3, num_tensors, num_entries) + rest


def _entry(key: bytes, kind: int, rest: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + rest


# Names, how they begin, and how long they are made without taking room on the disk.
ABSURD: tuple[tuple[str, Callable[[], bytes], int], ...] = (
    ("config.json", lambda: b"", 1 << 40),
    ("config.json", lambda: b"[" * 15 * _MIB, 0),
    ("config.json", lambda: b"[" + b"[]," * _MIB + b"0]", 0),
    ("tokenizer.json", lambda: b"9" * 15 * _MIB, 0),
    ("tokenizer.json", lambda: b"[" + b"[]," * _MIB + b"0]", 0),
    (_INDEX, lambda: b"{" + b'"":{},' * 2 * _MIB + b'"":0', 0),
    ("m.safetensors", lambda: b"\xff" * 7 + b"\x7f", 1 << 40),
    ("m.safetensors", lambda: struct.pack("<Q", 1 << 39), 1 << 40),
    ("m.safetensors", lambda: struct.pack("<Q", 100_000_000) + b"{", 1 << 40),
    (
        "m.safetensors",
        lambda: struct.pack("<Q", 15 * _MIB) + b'{"":[' + b"[]," * 5 * _MIB,
        1 << 40,
    ),
    (
        "m.safetensors",
        lambda: _header({"x": ("F32", [1 << 62] * 8, 0, 4)}),
        1 << 40,
    ),
    (
        "m.safetensors",
        lambda: _header({"x": ("F32", [7] * 3_000_000, 0, 4)}),
        1 << 40,
    ),
    ("m.gguf", lambda: _gguf((1 << 64) - 1, 0), 1 << 40),
    ("m.gguf", lambda: _gguf(1 << 30, 0), 1 << 40),
    ("m.gguf", lambda: _gguf(0, 1 << 30), 1 << 40),
    ("m.gguf", lambda: _gguf(1 << 16, 0), 1 << 40),
    ("m.gguf", lambda: _gguf(0, 1 << 16), 1 << 40),
    *(
        (
            "m.gguf",
            lambda kind=kind, count=count: _gguf(
                0, 2, _entry(b"x", 9, struct.pack("<IQ", kind, count))
            ),
            1 << 40,
        )
        for kind, count in (
            (8, 8_000_000),  # empty strings
            (8, 2_000_000),
            (8, 1 << 60),
            (0, 60 << 20),
            (3, 30 << 20),
            (12, 1 << 40),
            (9, 1 << 20),  # arrays of arrays
        )
    ),
    (
        "m.gguf",
        lambda: _gguf(1, 0, _tensor(b"x", ((1 << 40), 1 << 40), 0)),
        1 << 40,
    ),
    ("m.gguf", lambda: _gguf(1, 0, _tensor(b"x", (1 << 63,), 24)), 1 << 40),
    ("m.gguf", lambda: _gguf(1, 0, _tensor(b"x", (1,) * 200, 0)), 1 << 40),
)


def _tensor(name: bytes, shape: tuple[int, ...], kind: int) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    head = struct.pack("<Q", len(name)) + name
    return head + sizes + struct.pack("<IQ", kind, 0)


def _header(tensors: dict[str, tuple[str, list[int], int, int]]) -> bytes:
    items = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        for name, (dtype, shape, start, end) in tensors.items()
    }
    raw = json.dumps(items).encode()
    return struct.pack("<Q", len(raw)) + raw
