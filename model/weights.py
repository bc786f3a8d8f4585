"""From a model's name to a directory that can be mapped: find, check, convert once.

Safetensors and GGUF only: a pickle is never opened and no repository's code is run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from model import starter
from model.catalog import (
    DIALECT_STOPS,
    CatalogEntry,
    DefaultFimOrder,
    find_entry,
    guess_dialect,
    speaks,
)
from model.conversions import (
    DTYPE,
    cache_directory,
    current_conversion,
    prepare_gguf,
    prepare_starter,
    starter_directory,
)
from model.convert import read_conversion, sha256_of, usable
from model.directory import (
    check_model,
    end_token,
    is_model,
    read_config,
    vocabulary,
)
from model.errors import ModelError, WeightsCorruptError
from model.gguf_configs import Header
from model.gguf_families import family_of, map_tensors
from model.gguf_reader import GgufFile
from model.interface import LoadProgress, ProgressCallback
from model.locate import Located, entry_of_file, locate
from model.safetensors_files import check_directory

__all__ = [
    "Located",
    "PreparedModel",
    "cache_directory",
    "confirmed_entry",
    "describe",
    "locate",
    "prepare",
    "verify",
    "weights_present",
]

_DEFAULT_CONTEXT_TOKENS = 2048
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model ready to load.

    ``directory`` holds config.json, tokenizer.json and safetensors, unless these were
    left in ``gguf``, the file they come from, if it was one. ``stop_tokens`` are
    spellings, ``source`` says in words where the weights came from, ``notes`` what was
    assumed on the way.
    """

    directory: Path
    entry: CatalogEntry | None
    dialect: str
    stop_tokens: tuple[str, ...]
    context_tokens: int
    default_fim_order: DefaultFimOrder
    source: str
    notes: tuple[str, ...] = ()
    gguf: Path | None = None

    @property
    def is_starter(self) -> bool:
        """Whether this is the model that comes in packages."""
        return self.entry is not None and self.entry.source == "starter"

    @property
    def has_gguf(self) -> bool:
        """Whether the GGUF file that it was converted from is at hand."""
        if self.is_starter:
            return starter.starter_available()
        return self.gguf is not None


def prepare(
    name: str,
    *,
    allow_download: bool = False,
    weights: bool = True,
    progress: ProgressCallback | None = None,
) -> PreparedModel:
    """Return a model's directory, downloading if allowed and converting if need be.

    Without ``weights`` those of the starter and of a GGUF file are left where they
    are, for whoever packs them. ``name`` is a catalogue name, a directory, a GGUF file
    or a hub repository. Raises a ``ModelError`` that says what is wrong and what to do.
    """
    located = locate(name, allow_download, progress)
    if located.kind == "starter":
        weights = weights or not starter.starter_available()
        directory = prepare_starter(progress, weights=weights)
        return describe(directory, located, located.entry)
    assert located.path is not None
    if located.kind == "gguf":
        directory = prepare_gguf(located.path, located.entry, progress, weights=weights)
    else:
        directory = located.path
    check_model(directory, weights=weights or located.kind != "gguf")
    described = describe(directory, located, confirmed_entry(directory, located))
    gguf = located.path if located.kind == "gguf" else None
    return replace(described, gguf=gguf)


def weights_present(name: str) -> bool:
    """Return whether a model's weights are on this machine. Cheap, never connects."""
    entry = find_entry(name)
    if entry is not None and entry.source == "starter":
        present = read_conversion(starter_directory()) is not None
        return present or starter.starter_available()
    try:
        located = locate(name, allow_download=False)
    except ModelError:
        return False
    return located.kind == "gguf" or is_model(located.path)


def verify(name: str, progress: ProgressCallback | None = None) -> str:
    """Check a model's files thoroughly; return what was checked, in a sentence.

    Reads every byte where a SHA-256 is known. Raises ``WeightsCorruptError``,
    ``WeightsNotFoundError`` or what ``locate`` raises; never connects.
    """
    located = locate(name, allow_download=False)
    if located.kind == "starter":
        return _verify_starter(progress)
    assert located.path is not None
    if located.kind == "gguf":
        return _verify_gguf(located.path, progress)
    check_model(located.path)
    paths = check_directory(located.path)
    num_hashed = 0
    for path in paths:
        # The hub's cache names large files by their SHA-256.
        digest = path.resolve().name
        if path.is_symlink() and _SHA256.fullmatch(digest):
            if sha256_of(path, progress) != digest:
                raise WeightsCorruptError(
                    f"{path} does not have the SHA-256 that the hub gave.",
                    hint=f"Delete it and run `lsp-stablecode models pull {name}`.",
                )
            num_hashed += 1
    return (
        f"{name}: {len(paths)} weight file(s) whole, {num_hashed} of them by SHA-256."
    )


def confirmed_entry(directory: Path, located: Located) -> CatalogEntry | None:
    """Return the catalogue entry, if the vocabulary agrees with a guess by name."""
    entry = located.entry
    if entry is not None and located.kind == "directory":
        return entry
    guess = entry or (located.path and entry_of_file(located.path)) or None
    if guess is not None and speaks(guess.dialect, vocabulary(directory)):
        return guess
    return None


def describe(
    directory: Path, located: Located, entry: CatalogEntry | None
) -> PreparedModel:
    """Put together what the engine needs to know, from the catalogue or by looking."""
    config = read_config(directory)
    notes: tuple[str, ...] = ()
    conversion = read_conversion(directory)
    if conversion is not None:
        notes = conversion.notes
    lengths = [config[key] for key in _CONTEXT_KEYS if isinstance(config.get(key), int)]
    if entry is not None:
        return PreparedModel(
            directory,
            entry,
            entry.dialect,
            entry.stop_tokens,
            min([entry.context_tokens, *lengths[:1]]),
            entry.default_fim_order,
            located.source,
            notes,
        )
    held = vocabulary(directory)
    dialect = guess_dialect(held)
    if dialect == "starcoder" and config.get("model_type") == "gpt_neox":
        # Only StableCode Alpha joins the two, and it was not taught to infill.
        dialect = "stablecode-alpha"
    stops = tuple(token for token in DIALECT_STOPS[dialect] if token in held)
    notes += (f"fill-in-the-middle format {dialect}, told by the vocabulary",)
    if not lengths:
        notes += (f"context length unknown, {_DEFAULT_CONTEXT_TOKENS} assumed",)
    return PreparedModel(
        directory,
        None,
        dialect,
        stops or end_token(directory),
        lengths[0] if lengths else _DEFAULT_CONTEXT_TOKENS,
        "spm" if dialect in ("refact", "codestral") else "psm",
        located.source,
        notes,
    )


def _verify_starter(progress: ProgressCallback | None) -> str:
    """Check the starter's parts and its conversion."""
    directory = starter_directory()
    converted = directory.exists()
    if converted and usable(directory, DTYPE) is None:
        raise WeightsCorruptError(
            f"The converted starter in {directory} is damaged.",
            hint="It is converted again at the next start.",
        )
    if not starter.starter_available() and converted:
        return "starter: its conversion is whole; the data packages are gone."
    starter.verify_parts(progress)
    also = " and its conversion is whole" if converted else ""
    return f"starter: {starter.NUM_PARTS} parts match their SHA-256{also}."


def _verify_gguf(path: Path, progress: ProgressCallback | None) -> str:
    """Check a GGUF file's header, and its SHA-256 if it was converted before."""
    if progress is not None:
        progress(LoadProgress("check weights"))
    with GgufFile(path) as file:
        header = Header(file)
        num_tensors = len(map_tensors(header, family_of(header)))
    conversion = current_conversion(path)
    if conversion is None:
        return f"{path.name}: {num_tensors} tensors, all within the file."
    if sha256_of(path, progress) != conversion.source.sha256:
        raise WeightsCorruptError(
            f"{path} has changed since it was converted.",
            hint="Fetch the file again.",
        )
    return f"{path.name}: {num_tensors} tensors, SHA-256 as when it was converted."
