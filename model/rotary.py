"""The frequencies of rotary position embeddings, plain and scaled."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

from model.config_values import ConfigValues, unsupported, wrong

# Far beyond any model's; outside, single precision has no such number.
_LEAST, _MOST = 1e-6, 1e15


def inverse_frequencies(
    parameters: Mapping[str, Any], *, head_dim: int, max_tokens: int, partial: bool
) -> tuple[float, ...]:
    """Return the angle per position of each pair of channels, exact in float32.

    ``parameters`` are transformers 5's ``rope_parameters``; ``partial`` says whether
    the family can rotate a part of each head. Raises ``UnsupportedArchitectureError``
    or ``WeightsCorruptError``.
    """
    values = ConfigValues(parameters)
    kind = parameters.get("rope_type")
    share = 1.0
    if parameters.get("partial_rotary_factor") is not None:
        share = values.positive("partial_rotary_factor")
    if share != 1.0 and not partial:
        raise unsupported(f"partial_rotary_factor {share} of this family")
    rotary_dim = int(head_dim * share)
    if rotary_dim % 2:
        raise unsupported(f"an odd number of rotating channels ({rotary_dim})")
    plain = _plain(values.positive("rope_theta", _MOST, _LEAST), rotary_dim)
    if kind == "default":
        return plain
    if kind == "linear":
        factor = values.positive("factor", _MOST, _LEAST)
        return tuple(_float32(one / factor) for one in plain)
    if kind == "llama3":
        return _llama3(plain, values, max_tokens)
    raise unsupported(f"the rotary scaling {kind!r}")


def _plain(theta: float, rotary_dim: int) -> tuple[float, ...]:
    """Return ``theta ** (-channel / rotary_dim)``, rounded where torch rounds."""
    frequencies = []
    for channel in range(0, rotary_dim, 2):
        power = _float32(theta ** _float32(channel / rotary_dim))
        frequencies.append(_float32(1.0 / power))
    return tuple(frequencies)


def _llama3(
    plain: tuple[float, ...], values: ConfigValues, max_tokens: int
) -> tuple[float, ...]:
    """Stretch the slow frequencies, keep the fast ones, blend between (Llama 3.1)."""
    factor = values.positive("factor", _MOST, _LEAST)
    low = values.positive("low_freq_factor", _MOST, _LEAST)
    high = values.positive("high_freq_factor", _MOST, _LEAST)
    trained = values.count("original_max_position_embeddings", max_tokens)
    if low >= high:
        raise wrong("low_freq_factor", low)
    frequencies = []
    for one in plain:
        wavelength = _float32(2 * math.pi / one)
        if wavelength > trained / low:
            one = _float32(one / factor)
        elif wavelength >= trained / high:
            smooth = _float32((trained / wavelength - low) / (high - low))
            one = _float32((1 - smooth) * one / factor + smooth * one)
        frequencies.append(one)
    return tuple(frequencies)


def _float32(value: float) -> float:
    """Round: models were trained with frequencies that single precision gave."""
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded
