"""GGUF to a directory that transformers and our own decoder can map.

The result holds ``config.json``, ``tokenizer.json``, ``conversion.json`` and, unless
the file itself will be read, ``model.safetensors``. It is built in a hidden sibling
directory and renamed when it is whole, under a file lock: a killed conversion leaves
nothing that could be taken for a model, and the next one sweeps up.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.errors import ModelError, WeightsCorruptError
from model.gguf_configs import Header
from model.gguf_families import Target, family_of, map_tensors
from model.gguf_reader import GgufFile, Piece
from model.gguf_tokenizer import save_tokenizer
from model.interface import LoadProgress, ProgressCallback
from model.regular_files import read_json
from model.safetensors_files import SafetensorsWriter, read_header

_LOG = logging.getLogger(__name__)
CONVERTER_VERSION = 1
_DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
_WEIGHTS = "model.safetensors"
NO_WEIGHTS = "none"
_FILES = (
    "config.json",
    _WEIGHTS,
    "tokenizer.json",
    "tokenizer_config.json",
)
_SPARE_BYTES = 64 << 20  # tokenizer, configs, and room for the rest of the system
_NUM_THREADS = 2
_MAX_PENDING = 16  # pieces in flight: bounds the memory
_LOCK_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Source:
    """What a conversion was made from. ``mtime_ns`` is 0 where only bytes count."""

    description: str
    sha256: str
    num_bytes: int
    mtime_ns: int = 0


@dataclass(frozen=True, slots=True)
class Conversion:
    """The contents of ``conversion.json``. ``file_bytes`` has each file's size."""

    source: Source
    dtype: str
    file_bytes: dict[str, int]
    converter_version: int = CONVERTER_VERSION
    notes: tuple[str, ...] = ()


def read_conversion(directory: Path) -> Conversion | None:
    """Return what a directory says it was converted from, or None."""
    try:
        raw = read_json(directory / "conversion.json")
        source = Source(**raw.pop("source"))
        conversion = Conversion(source, **{**raw, "notes": tuple(raw["notes"])})
        names = set(conversion.file_bytes.keys())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    texts = (source.sha256, *conversion.notes)
    if not names <= set(_FILES) or not all(isinstance(one, str) for one in texts):
        return None
    return conversion


def usable(directory: Path, dtype: str = "bfloat16") -> Conversion | None:
    """Return a finished, current and undamaged conversion's record, or None.

    Reads headers and sizes only.
    """
    conversion = read_conversion(directory)
    if conversion is None or conversion.dtype != dtype:
        return None
    if conversion.converter_version != CONVERTER_VERSION:
        return None
    try:
        for name, num_bytes in conversion.file_bytes.items():
            if (directory / name).stat().st_size != num_bytes:
                raise OSError(f"{name} is not as long as it was")
        if _WEIGHTS in conversion.file_bytes:
            read_header(directory / _WEIGHTS)
    except FileNotFoundError:
        return None  # somebody wanted the room
    except (WeightsCorruptError, OSError) as error:
        _LOG.warning("conversion in %s is damaged, redoing it: %s", directory, error)
        return None
    return conversion


def convert_gguf(
    gguf: Path,
    directory: Path,
    source: Source,
    *,
    dtype: str = "bfloat16",
    rope_theta: float | None = None,
    progress: ProgressCallback | None = None,
) -> None:
    """Write the converted model into an existing empty ``directory``.

    With the dtype ``NO_WEIGHTS`` all but the weights: who packs them reads the file.
    ``rope_theta`` replaces the file's assumed value where the file states none.
    Raises ``WeightsCorruptError``, ``UnsupportedArchitectureError``,
    ``TokenizerError``; OSError passes through.
    """
    with GgufFile(gguf) as file:
        header = Header(file)
        family = family_of(header)
        config = family.config(header)
        targets = map_tensors(header, family)
        stated = f"{header.architecture}.rope.freq_base" in file.metadata
        if rope_theta is not None and not stated and "rope_parameters" in config:
            config["rope_parameters"]["rope_theta"] = rope_theta
            config["rope_theta"] = rope_theta
        files: tuple[str, ...] = _FILES
        if dtype == NO_WEIGHTS:
            files = tuple(name for name in _FILES if name != _WEIGHTS)
        else:
            config["dtype"] = dtype
            _write_weights(file, targets, directory / _WEIGHTS, dtype, progress)
        if progress is not None:
            progress(LoadProgress("convert tokenizer"))
        architecture = header.architecture
        notes = save_tokenizer(file, architecture, directory / "tokenizer.json")
        _write_json(directory / "config.json", config)
        _write_json(directory / "tokenizer_config.json", _tokenizer_config(file))
        file.check_unchanged()
    written = {name: (directory / name).stat().st_size for name in files}
    record = Conversion(source, dtype, written, notes=notes)
    _write_json(directory / "conversion.json", asdict(record))


def count_gguf_weights(path: Path) -> int:
    """Return how many numbers a GGUF file's tensors are; reads the header only."""
    with GgufFile(path) as file:
        return sum(one.num_rows * one.row_elements for one in file.tensors.values())


def _tokenizer_config(file: GgufFile) -> dict[str, Any]:
    """Return the few settings by which transformers loads ``tokenizer.json`` as is."""
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    tokens = tokens if isinstance(tokens, list) else []
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    for key, name in (("bos", "bos"), ("eos", "eos"), ("padding", "pad")):
        token_id = file.metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(token_id, int) and 0 <= token_id < len(tokens):
            settings[f"{name}_token"] = tokens[token_id]
    return settings


def _write_json(path: Path, content: Any) -> None:
    """Write readable JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _write_weights(
    file: GgufFile,
    targets: dict[str, Target],
    path: Path,
    dtype: str,
    progress: ProgressCallback | None,
) -> None:
    """Dequantise, reorder, round and write all tensors, a few pieces at a time."""
    import torch

    torch_dtype = getattr(torch, dtype)
    tensors = {name: file.tensors[name] for name in targets}
    shapes = {targets[name].name: tensor.shape for name, tensor in tensors.items()}
    total = sum(tensor.num_bytes for tensor in tensors.values())
    done = 0
    with (
        SafetensorsWriter(path, shapes, _DTYPES[dtype]) as writer,
        ThreadPoolExecutor(_NUM_THREADS, "convert") as pool,
    ):

        def work(piece: Piece, target: Target) -> None:
            array = piece.values()
            # Plain float32 comes as a view of the bytes that were read.
            values = torch.from_numpy(array if array.flags.writeable else array.copy())
            if target.shift:
                values += target.shift
            rounded = values.to(torch_dtype).view(torch.uint8).numpy()
            writer.write(target.name, piece.first_element, rounded.data.cast("B"))

        pending: deque[Future[None]] = deque()
        try:
            for name, tensor in tensors.items():
                target = targets[name]
                for piece in file.pieces(tensor, target.rows):
                    pending.append(pool.submit(work, piece, target))
                    if len(pending) >= _MAX_PENDING:
                        pending.popleft().result()
                done += tensor.num_bytes
                if progress is not None:
                    progress(LoadProgress("convert weights", done / total))
            while pending:
                pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def sha256_of(
    path: Path, progress: ProgressCallback | None = None, stage: str = "check weights"
) -> str:
    """Return a file's SHA-256 as hexadecimal; OSError passes through."""
    digest = hashlib.sha256()
    total = max(1, path.stat().st_size)
    done = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(LoadProgress(stage, min(1.0, done / total)))
    return digest.hexdigest()


Build = Callable[[Path], None]


def build_once(
    directory: Path,
    num_bytes: int,
    is_current: Callable[[], bool],
    build: Build,
    progress: ProgressCallback | None = None,
) -> None:
    """Make ``directory`` with ``build`` unless ``is_current`` says it is there.

    ``build`` fills a temporary sibling, which needs ``num_bytes`` of disk; several
    processes may ask at once and one of them builds. Raises ``ModelError`` when the
    disk is full or the cache cannot be written.
    """
    from filelock import FileLock, Timeout

    if is_current():
        return
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory.parent / f"{directory.name}.lock")
        while True:
            try:
                lock.acquire(timeout=_LOCK_POLL_SECONDS)
                break
            except Timeout:
                if progress is not None:
                    progress(LoadProgress("wait for another conversion"))
        try:
            if not is_current():
                _build_locked(directory, num_bytes, build)
        finally:
            lock.release()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _no_room(directory, num_bytes) from error
        raise ModelError(
            f"The model cache {directory.parent} cannot be written ({error}).",
            hint="Make it writable, or set LSP_STABLECODE_CACHE to another directory.",
        ) from error


def _build_locked(directory: Path, num_bytes: int, build: Build) -> None:
    """Build in a sibling and rename; the caller holds the lock."""
    prefix = f".{directory.name}."
    # Whoever made these is dead: the lock is ours.
    for leftover in directory.parent.glob(f"{prefix}*"):
        _LOG.info("removing what a killed conversion left: %s", leftover)
        shutil.rmtree(leftover, ignore_errors=True)
    if shutil.disk_usage(directory.parent).free < num_bytes + _SPARE_BYTES:
        raise _no_room(directory, num_bytes)
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=directory.parent))
    try:
        build(partial)
        partial.chmod(0o755)  # mkdtemp makes it private; a cache may be shared
        if directory.exists():
            # Windows and POSIX alike refuse to rename onto a directory with files.
            os.replace(directory, partial.with_name(f"{partial.name}.old"))
        os.replace(partial, directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(partial.with_name(f"{partial.name}.old"), ignore_errors=True)


def _no_room(directory: Path, num_bytes: int) -> ModelError:
    """Return the error for a full disk."""
    return ModelError(
        f"Converting the model needs {(num_bytes + _SPARE_BYTES) / 2**30:.1f} GiB of "
        f"disk in {directory.parent}, and there is less.",
        hint="Free some space, or set LSP_STABLECODE_CACHE to a directory elsewhere.",
    )
