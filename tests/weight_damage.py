"""Damage to model files that follows from a seed: JSON, bytes, other kinds of file."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

_NUMBERS: tuple[Any, ...] = (
    *(-1, 0, 1, 2, 3, 7, 63, 64, 255, 4096, 1 << 16, 1 << 24),
    *(1 << 31, (1 << 32) - 1, 1 << 53, 1 << 62, 1 << 63, (1 << 64) - 1, 10**30),
    *(0.5, 1.0, -0.0, 1e-300, 1e308, float("inf"), float("-inf"), float("nan")),
)
_TEXTS: tuple[Any, ...] = (
    *("", "x", "F32", "U8", "I64", "F4", "\ud800", "\x00", "../../etc/passwd", "/"),
    *("<fim_prefix>", "gelu", "llama3", "default", "é" * 50, "a" * 5000),
)
_OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [1, 2, 3], {"a": {"b": 1}})


class Chooser(random.Random):
    """Random choices of what is hostile."""

    def value(self) -> Any:
        """Return something that may stand in JSON."""
        kind = self.random()
        if kind < 0.6:
            return self.choice(_NUMBERS)
        if kind < 0.8:
            return self.choice(_TEXTS)
        if kind < 0.97:
            return _copy(self.choice(_OTHERS))
        nested: Any = self.value()
        for _ in range(self.choice((3, 50, 3000))):
            nested = [nested]
        return nested

    def near(self, number: int) -> int:
        """Return a number not far off, or far off."""
        if self.random() < 0.5:
            return number + self.choice((-64, -8, -1, 1, 8, 64))
        return int(self.choice([one for one in _NUMBERS if type(one) is int]))


def damage_json(content: Any, chooser: Chooser) -> Any:
    """Return JSON data with a value, a key or an item changed somewhere."""
    content = _copy(content)
    for _ in range(chooser.choice((1, 1, 1, 2, 4))):
        places = list(_places(content))
        if not places:
            return chooser.value()
        holder, key = chooser.choice(places)
        what = chooser.random()
        if what < 0.55:
            holder[key] = chooser.value()
        elif what < 0.65 and type(holder[key]) is int:
            holder[key] = chooser.near(holder[key])
        elif what < 0.8:
            del holder[key]
        elif isinstance(holder, dict):
            other = chooser.choice([one for one, _ in _named(places)] or [holder])
            name = chooser.choice(list(other) or ["x"])
            name = chooser.choice([name, chooser.choice(_TEXTS)])
            holder[name] = _copy(holder[key])
        else:
            holder.append(chooser.value())
    return content


def _copy(content: Any) -> Any:
    try:
        return json.loads(json.dumps(content))
    except RecursionError:
        return []


def _places(content: Any) -> list[tuple[Any, Any]]:
    """Return every (holder, key) of an object or list, nested ones too."""
    found: list[tuple[Any, Any]] = []
    pending = [content]
    while pending:
        holder = pending.pop()
        keys = holder.keys() if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                pending.append(holder[key])
    return found


def _named(places: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    return [(holder, key) for holder, key in places if isinstance(holder, dict)]


def json_text(content: Any, chooser: Chooser) -> bytes:
    """Return JSON as text, now and then with a key twice or not quite JSON."""
    try:
        raw = json.dumps(content).encode()
    except RecursionError:
        raw = b"[" * 3000 + b"]" * 3000
    kind = chooser.random()
    if kind < 0.05 and raw.startswith(b"{") and b":" in raw:
        first = raw[1:].split(b", ", 1)[0].rstrip(b"}")
        raw = b"{" + first + b", " + raw[1:]
    elif kind < 0.08:
        raw = chooser.choice((b"[" * 100_000, b'{"a":' * 50_000, b"9" * 6000, b"\xff"))
    elif kind < 0.12:
        raw = damage_bytes(raw, chooser)
    return raw


def damage_bytes(raw: bytes, chooser: Chooser, reach: int | None = None) -> bytes:
    """Return bytes changed within the first ``reach``: flipped, cut, grown, moved."""
    data = bytearray(raw)
    reach = min(reach or len(data), len(data))
    for _ in range(chooser.choice((1, 1, 2, 5))):
        at = chooser.randrange(max(1, reach))
        what = chooser.random()
        if what < 0.4:
            data[at : at + 1] = bytes([chooser.randrange(256)])
        elif what < 0.55:
            number = chooser.choice((0, 1, 1 << 31, 1 << 40, (1 << 63) - 1, -1))
            data[at : at + 8] = struct.pack("<q", number)
        elif what < 0.7:
            del data[at : at + chooser.choice((1, 8, 100))]
        elif what < 0.8:
            data[at:at] = chooser.randbytes(chooser.choice((1, 8, 100)))
        elif what < 0.9:
            del data[chooser.randrange(len(data) + 1) :]
        else:
            other = chooser.randrange(max(1, reach))
            data[at : at + 16] = data[other : other + 16]
    return bytes(data)


def disguised(chooser: Chooser) -> bytes:
    """Return a file of another kind."""
    pickle = b"\x80\x04cos\nsystem\n(S'exit 1'\ntR."
    return chooser.choice(
        (
            b"",
            pickle,
            b"PK\x03\x04" + chooser.randbytes(200),
            b"GGUF" + chooser.randbytes(200),
            b"\x93NUMPY" + chooser.randbytes(60),
            struct.pack("<Q", 2) + b"{}" + pickle,
            chooser.randbytes(chooser.choice((1, 7, 8, 9, 500))),
        )
    )
