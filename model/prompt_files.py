"""What prompts need of a model that is computed elsewhere: config and tokenizer.

The weights may be missing. Looked for where ``model.weights`` looks: the starter's
packages, a directory, a GGUF file, the hub's cache, and the hub itself if allowed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from model.catalog import find_entry
from model.conversions import prepare_gguf
from model.errors import DownloadNotAllowedError, TokenizerError
from model.hub import cached_files, pull_files
from model.interface import ProgressCallback
from model.locate import Located, locate
from model.weights import PreparedModel, confirmed_entry, describe, prepare

_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")
_NEEDED = _FILES[:2]


def find_prompt_files(
    name: str,
    *,
    allow_download: bool = False,
    progress: ProgressCallback | None = None,
) -> PreparedModel:
    """Return a directory with a model's config and tokenizer.

    Raises a ``ModelError`` that says what is wrong and what to do.
    """
    entry = find_entry(name)
    if entry is not None and entry.source == "starter":
        return prepare(name, weights=False, progress=progress)
    try:
        located = locate(name)
    except DownloadNotAllowedError:
        located = _without_weights(name, allow_download, progress)
    assert located.path is not None
    directory = located.path
    if located.kind == "gguf":
        directory = prepare_gguf(directory, located.entry, progress, weights=False)
    if not (directory / "tokenizer.json").is_file():
        raise TokenizerError(
            f"{directory} holds no tokenizer.json.",
            hint="Put it there, with the model's config.json; weights are not needed.",
        )
    prepared = describe(directory, located, confirmed_entry(directory, located))
    return replace(prepared, gguf=None)


def _without_weights(
    name: str, allow_download: bool, progress: ProgressCallback | None
) -> Located:
    entry = find_entry(name)
    repo_id = (entry.repo_id if entry else None) or name
    snapshot: Path | None = cached_files(repo_id, _NEEDED)
    if snapshot is None and allow_download:
        snapshot = pull_files(repo_id, _FILES, progress)
    if snapshot is None:
        raise DownloadNotAllowedError(
            f"The tokenizer of {name} is not on this machine, and downloading it was "
            "not allowed.",
            hint="Set allowDownload, or name a directory that holds its config.json "
            "and tokenizer.json as model; weights are not needed.",
        )
    source = f"hub cache, {repo_id}@{snapshot.name[:8]}"
    return Located("directory", snapshot, entry, source)
