"""Where packed weights are kept: each model packed once per precision."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from model import starter
from model.conversions import cache_directory
from model.convert import build_once, read_conversion
from model.decoder_config import DecoderConfig
from model.errors import WeightsCorruptError
from model.interface import ProgressCallback
from model.packed_weights import (
    PACKER_VERSION,
    PackedWeights,
    Precision,
)
from model.packer import write_packed
from model.safetensors_files import check_directory
from model.weight_sources import GgufSource, SafetensorsSource
from model.weights import PreparedModel

# Per weight, the embedding's bfloat16 included; for the free space of the disk.
_BYTES_PER_WEIGHT = {"held": 1.3, "int8": 1.3, "int4": 0.9, "float32": 4.3}


def packed_weights(
    prepared: PreparedModel,
    config: DecoderConfig,
    precision: Precision,
    num_weights: int,
    progress: ProgressCallback | None = None,
) -> PackedWeights:
    """Return a model's packed weights, packing them the first time.

    Raises ``UnsupportedArchitectureError``, ``WeightsCorruptError``, or ``ModelError``
    when the cache cannot be written.
    """
    made_from = _identity(prepared)
    directory = packed_directory(prepared, precision)

    def is_current() -> bool:
        try:
            return PackedWeights(directory, config).made_from == made_from
        except WeightsCorruptError:
            return False

    def build(partial: Path) -> None:
        with _source(prepared, partial, progress) as source:
            write_packed(source, config, partial, precision, made_from, progress)
            source.check_unchanged()
        (partial / "starter.gguf").unlink(missing_ok=True)

    if not is_current():
        num_bytes = int(num_weights * _BYTES_PER_WEIGHT[precision])
        if prepared.is_starter:
            num_bytes += starter.STARTER_BYTES
        build_once(directory, num_bytes, is_current, build, progress)
    return PackedWeights(directory, config)


def packed_directory(prepared: PreparedModel, precision: Precision) -> Path:
    """Return where a model's packed weights are kept."""
    if prepared.is_starter:
        digest = starter.STARTER_SHA256[:12]
        name = f"starter-{digest}-{precision}-v{PACKER_VERSION}"
        return cache_directory() / "packed" / name
    place = prepared.gguf or prepared.directory
    stem = place.stem
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem)[:60].strip(".-") or "model"
    digest = hashlib.sha256(os.fsencode(place.resolve())).hexdigest()[:12]
    return (
        cache_directory() / "packed" / f"{stem}-{digest}-{precision}-v{PACKER_VERSION}"
    )


def _source(
    prepared: PreparedModel, partial: Path, progress: ProgressCallback | None
) -> GgufSource | SafetensorsSource:
    """Open what is nearest to the original."""
    if not prepared.has_gguf:
        return SafetensorsSource(prepared.directory)
    gguf = prepared.gguf
    if gguf is None:
        gguf = partial / "starter.gguf"
        starter.assemble(gguf, progress)
    return GgufSource(gguf)


def _identity(prepared: PreparedModel) -> str:
    """Say which files the weights come from, so that a change is seen."""
    conversion = read_conversion(prepared.directory)
    if conversion is not None:
        return f"{conversion.source.sha256} converter {conversion.converter_version}"
    stats = [(path.name, path.stat()) for path in check_directory(prepared.directory)]
    listing = [f"{name} {one.st_size} {one.st_mtime_ns}" for name, one in stats]
    config = (prepared.directory / "config.json").read_bytes()
    digest = hashlib.sha256(config + "\n".join(listing).encode())
    return digest.hexdigest()
