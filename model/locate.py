"""Where a model's weights are: a name, a path or a repository to a place on disk."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model.catalog import CATALOG, CatalogEntry, find_entry
from model.errors import (
    DownloadNotAllowedError,
    UnknownModelError,
    UnsafeWeightsError,
)
from model.hub import cached_snapshot, is_repo_id, pull
from model.interface import ProgressCallback

PICKLE_SUFFIXES = frozenset((".bin", ".pt", ".pth", ".ckpt", ".pkl"))


@dataclass(frozen=True, slots=True)
class Located:
    """A model's weights. ``path`` is a directory or a GGUF file; None: the starter."""

    kind: Literal["starter", "directory", "gguf"]
    path: Path | None
    entry: CatalogEntry | None
    source: str


def is_path(name: str) -> bool:
    """Return whether ``name`` is meant as a path rather than as a model's name."""
    return (
        name.startswith(("~", ".", "/", "\\"))
        or os.path.isabs(name)
        or name.lower().endswith(".gguf")
        or os.path.exists(name)
    )


def locate(
    name: str, allow_download: bool = False, progress: ProgressCallback | None = None
) -> Located:
    """Find a model's weights: catalogue, local path, hub cache, and then the hub.

    A catalogue name wins over a directory of that name, so that what lies in the
    current directory cannot stand in for a model. Connects only with
    ``allow_download``. Raises ``UnknownModelError``, ``DownloadNotAllowedError``, and
    what ``pull`` raises.
    """
    if not name.strip():
        raise _unknown(name)
    entry = find_entry(name)
    if entry is not None and entry.source == "starter":
        return Located("starter", None, entry, "starter packages")
    if entry is None and is_path(name):
        return _local(Path(os.path.expanduser(name)))
    repo_id = entry.repo_id if entry else name if is_repo_id(name) else None
    if repo_id is None:
        raise _unknown(name)
    snapshot = cached_snapshot(repo_id)
    if snapshot is not None:
        source = f"hub cache, {repo_id}@{snapshot.name[:8]}"
        return Located("directory", snapshot, entry, source)
    if not allow_download:
        raise DownloadNotAllowedError(
            f"The weights of {name} are not on this machine, "
            "and downloading them was not allowed.",
            hint=f"Run `lsp-stablecode models pull {name}`, or set allowDownload.",
        )
    snapshot = pull(repo_id, progress)
    source = f"hub, {repo_id}@{snapshot.name[:8]}"
    return Located("directory", snapshot, entry, source)


def _local(path: Path) -> Located:
    """Return what is at ``path``; raises ``UnknownModelError`` if it is no model."""
    path = path.absolute()
    # Unlike Path's own, these answer for names that no file can have.
    if os.path.isdir(path):
        return Located("directory", path, None, f"directory {path}")
    if not os.path.isfile(path):
        raise UnknownModelError(
            f"There is no file or directory {path}.", hint="Check the path."
        )
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise UnsafeWeightsError(
            f"{path} is a pickle, which can run code and is never loaded.",
            hint="Use the model's safetensors, or a GGUF file.",
        )
    if path.suffix.lower() != ".gguf":
        raise UnknownModelError(
            f"{path} is neither a directory nor a GGUF file.",
            hint="Name the model's directory, or a file that ends with .gguf.",
        )
    return Located("gguf", path, entry_of_file(path), f"file {path}")


def entry_of_file(path: Path) -> CatalogEntry | None:
    """Return the entry whose name a file's or directory's name begins with."""
    name = path.name.lower().replace("_", "-")
    fitting = [entry for entry in CATALOG if name.startswith(entry.name)]
    return max(fitting, key=lambda entry: len(entry.name), default=None)


def _unknown(name: str) -> UnknownModelError:
    """Return the error for a name that means nothing, with the nearest that does."""
    names = [entry.name for entry in CATALOG]
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}? " if near else ""
    return UnknownModelError(
        f"There is no model {name!r}.",
        hint=f"{hint}Name a model of `lsp-stablecode models list`, a directory, "
        "a GGUF file, or a hub repository owner/name.",
    )
