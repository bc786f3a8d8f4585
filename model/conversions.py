"""Our own cache: the starter and GGUF files, each converted once."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from model import starter
from model.catalog import CatalogEntry
from model.convert import (
    NO_WEIGHTS,
    Conversion,
    Source,
    build_once,
    convert_gguf,
    count_gguf_weights,
    sha256_of,
    usable,
)
from model.interface import ProgressCallback

DTYPE = "bfloat16"
_ELEMENT_BYTES = 2
_STARTER_WEIGHT_BYTES = 1_260_400_000


def cache_directory() -> Path:
    """Return where conversions are kept; ``LSP_STABLECODE_CACHE`` overrides it."""
    if value := os.environ.get("LSP_STABLECODE_CACHE"):
        return Path(value).expanduser().absolute()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("lsp-stablecode", appauthor=False))


def starter_directory(*, weights: bool = True) -> Path:
    """Return where the converted starter is kept, with or without its weights."""
    name = f"starter-{starter.STARTER_SHA256[:12]}"
    return cache_directory() / "models" / (name if weights else f"{name}-bare")


def prepare_starter(progress: ProgressCallback | None, *, weights: bool = True) -> Path:
    """Return the converted starter, converting it the first time."""
    directory = starter_directory(weights=weights)
    dtype = DTYPE if weights else NO_WEIGHTS

    def is_current() -> bool:
        conversion = usable(directory, dtype)
        sha256 = starter.STARTER_SHA256
        return conversion is not None and conversion.source.sha256 == sha256

    def build(partial: Path) -> None:
        gguf = partial / "starter.gguf"
        starter.assemble(gguf, progress)
        source = Source("starter", starter.STARTER_SHA256, starter.STARTER_BYTES)
        convert_gguf(gguf, partial, source, dtype=dtype, progress=progress)
        gguf.unlink()

    if not is_current():
        starter.find_parts()
        num_bytes = starter.STARTER_BYTES + _STARTER_WEIGHT_BYTES * weights
        build_once(directory, num_bytes, is_current, build, progress)
    return directory


def gguf_directory(path: Path, *, weights: bool = True) -> Path:
    """Return where the conversion of a GGUF file is kept: one place per path."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)[:60].strip(".-") or "model"
    digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]
    name = f"{stem}-{digest}"
    return cache_directory() / "models" / (name if weights else f"{name}-bare")


def current_conversion(path: Path) -> Conversion | None:
    """Return the record of a GGUF file's conversion, if there is a usable one."""
    return _current(path, weights=True) or _current(path, weights=False)


def _current(path: Path, *, weights: bool) -> Conversion | None:
    """Return the record of what was made from the file as it is now."""
    directory = gguf_directory(path, weights=weights)
    conversion = usable(directory, DTYPE if weights else NO_WEIGHTS)
    if conversion is None:
        return None
    stat = path.stat()
    made_from = (conversion.source.num_bytes, conversion.source.mtime_ns)
    return conversion if made_from == (stat.st_size, stat.st_mtime_ns) else None


def prepare_gguf(
    path: Path,
    entry: CatalogEntry | None,
    progress: ProgressCallback | None,
    *,
    weights: bool = True,
) -> Path:
    """Return the converted GGUF file, converting it if it is new or has changed.

    Where the weights are there already, that will do for who wants none.
    """
    if not weights and _current(path, weights=True) is not None:
        return gguf_directory(path)
    directory = gguf_directory(path, weights=weights)
    dtype = DTYPE if weights else NO_WEIGHTS

    def build(partial: Path) -> None:
        stat = path.stat()
        digest = sha256_of(path, progress, "read weights")
        source = Source(str(path), digest, stat.st_size, stat.st_mtime_ns)
        convert_gguf(
            path,
            partial,
            source,
            dtype=dtype,
            rope_theta=entry.rope_theta if entry else None,
            progress=progress,
        )

    def is_current() -> bool:
        return _current(path, weights=weights) is not None

    if not is_current():
        num_bytes = _ELEMENT_BYTES * count_gguf_weights(path) if weights else 0
        build_once(directory, num_bytes, is_current, build, progress)
    return directory
