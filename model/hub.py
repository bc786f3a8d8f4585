"""The Hugging Face hub: its cache on this machine, and downloads on request.

Nothing here touches the network but ``pull``, which callers run only when the user
said yes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from model.errors import (
    DownloadFailedError,
    ModelError,
    UnknownModelError,
    UnsafeWeightsError,
    WeightsCorruptError,
)
from model.interface import LoadProgress, ProgressCallback
from model.safetensors_files import INDEX_NAME, read_index

# Weights that are data, and what describes them: never pickles, never code.
ALLOW_PATTERNS = ("*.safetensors", "*.json", "tokenizer*", "merges.txt", "LICENSE*")
IGNORE_PATTERNS = (
    "*.bin",
    "*.pt",
    "*.pth",
    "*.ckpt",
    "*.pkl",
    "*.py",
    "*.gguf",
    "*.onnx*",
    "consolidated*",  # Mistral's second copy of the same weights
    "*/*",
)
# Windows has no quota error.
_DISK_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_NETWORK_BAR = "Downloading bytes"
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w][\w.-]{0,95}")


def is_repo_id(name: str) -> bool:
    """Return whether ``name`` has the form ``owner/name``."""
    return _REPO_ID.fullmatch(name) is not None and ".." not in name


def hub_cache() -> Path:
    """Return the hub's cache directory as its own environment variables say.

    Read at every call, which the hub's package does not do, and without importing it.
    """
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if value := os.environ.get(variable):
            return Path(value).expanduser()
    if value := os.environ.get("HF_HOME"):
        return Path(value).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "hub"


def cached_snapshot(repo_id: str) -> Path | None:
    """Return a repository's complete snapshot in the cache, or None. Never connects.

    Complete means: a config and every weight file it needs, in safetensors.
    """
    return next((path for path in _snapshots(repo_id) if _is_complete(path)), None)


def cached_files(repo_id: str, names: Sequence[str]) -> Path | None:
    """Return a snapshot in the cache that holds these files, or None."""
    return next(
        (
            path
            for path in _snapshots(repo_id)
            if all((path / name).is_file() for name in names)
        ),
        None,
    )


def _snapshots(repo_id: str) -> list[Path]:
    """Return a repository's snapshots, the one that counts first."""
    repository = hub_cache() / f"models--{repo_id.replace('/', '--')}"
    try:
        commit = (repository / "refs" / "main").read_text("utf-8").strip()
        is_name = Path(commit).name == commit != ""
        candidates = [repository / "snapshots" / commit] if is_name else []
    except (OSError, ValueError):
        candidates = []
    with contextlib.suppress(OSError):
        others = (repository / "snapshots").iterdir()
        by_age = sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)
        candidates += [path for path in by_age if path not in candidates]
    return candidates


def _is_complete(snapshot: Path) -> bool:
    """Return whether a snapshot has its config and all its shards."""
    if not (snapshot / "config.json").is_file():
        return False
    if (snapshot / "model.safetensors").is_file():
        return True
    try:
        shards = set(read_index(snapshot).values())
    except WeightsCorruptError:
        return False
    return all(os.path.isfile(snapshot / shard) for shard in shards)


def pull(repo_id: str, progress: ProgressCallback | None = None) -> Path:
    """Download a repository's weights and tokenizer; return the snapshot.

    What is already in the cache is not fetched again. ``progress`` is called from the
    threads that download. Raises ``UnknownModelError``,
    ``DownloadFailedError``, or ``UnsafeWeightsError`` when the repository has no
    safetensors.
    """
    from huggingface_hub import snapshot_download

    wanted: dict[str, Any] = {
        "cache_dir": hub_cache(),
        "allow_patterns": list(ALLOW_PATTERNS),
        "ignore_patterns": list(IGNORE_PATTERNS),
    }
    with _named_errors(repo_id):
        if progress is not None:
            progress(LoadProgress("download"))
        # Without knowing the sum first, progress would jump back with every file.
        plan = snapshot_download(
            repo_id, **wanted, dry_run=True, tqdm_class=_progress_bar(None, 0)
        )
        num_bytes = sum(file.file_size or 0 for file in plan if file.will_download)
        _check_room(repo_id, num_bytes)
        bar = _progress_bar(progress, num_bytes)
        path = Path(snapshot_download(repo_id, **wanted, tqdm_class=bar))
    if progress is not None:
        progress(LoadProgress("download", 1.0))
    if not (path / "model.safetensors").is_file() and not (path / INDEX_NAME).is_file():
        raise UnsafeWeightsError(
            f"{repo_id} has no weights in safetensors, and pickled ones are never "
            "loaded.",
            hint="Convert them with the model's own tools, or choose another model.",
        )
    if not _is_complete(path):
        raise DownloadFailedError(
            f"The download of {repo_id} is incomplete.", hint="Run it again."
        )
    return path


def pull_files(
    repo_id: str, names: Sequence[str], progress: ProgressCallback | None = None
) -> Path:
    """Download some small files of a repository; return the snapshot.

    Raises ``UnknownModelError`` or ``DownloadFailedError``.
    """
    from huggingface_hub import snapshot_download

    with _named_errors(repo_id):
        if progress is not None:
            progress(LoadProgress("download"))
        return Path(
            snapshot_download(
                repo_id,
                cache_dir=hub_cache(),
                allow_patterns=list(names),
                tqdm_class=_progress_bar(None, 0),
            )
        )


def _check_room(repo_id: str, num_bytes: int) -> None:
    """Raise OSError when the cache's disk has no room for a download."""
    existing = hub_cache()
    while not existing.exists():
        existing = existing.parent
    if shutil.disk_usage(existing).free < num_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), repo_id)


def _progress_bar(progress: ProgressCallback | None, num_bytes: int) -> type[Any]:
    """Return a silent tqdm class that reports the share of ``num_bytes`` on disk."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # no thread that redraws what is never drawn

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # One more bar counts files, and one what came over the network.
            counts = kwargs.get("unit") == "B" and kwargs.get("desc") != _NETWORK_BAR
            self._counts_bytes = counts and num_bytes > 0
            super().__init__(*args, **{**kwargs, "disable": False, "file": _NOWHERE})

        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            """Draw nothing."""

        def update(self, n: float | None = 1) -> bool | None:
            """Count and report."""
            drawn: bool | None = super().update(n)
            if progress is not None and self._counts_bytes:
                progress(LoadProgress("download", min(1.0, self.n / num_bytes)))
            return drawn

    return Bar


class _Nowhere:
    """A text stream that keeps nothing; stdout belongs to the protocol."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


_NOWHERE = _Nowhere()


@contextlib.contextmanager
def _named_errors(repo_id: str) -> Iterator[None]:
    """Turn what the hub's package raises into our errors, in one sentence each."""
    try:
        yield
    except Exception as error:  # whatever the hub's package or HTTP raises
        raise _named(repo_id, error) from error


def _named(repo_id: str, error: Exception) -> ModelError:
    """Return our error for one of the hub's."""
    from huggingface_hub.errors import (
        DryRunError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    if isinstance(error, (DryRunError, LocalEntryNotFoundError)):
        # These only say that there is nothing in the cache either.
        if isinstance(error.__cause__, (HfHubHTTPError, OfflineModeIsEnabled)):
            return _named(repo_id, error.__cause__)
        return DownloadFailedError(
            f"{repo_id} cannot be fetched: the hub does not answer.",
            hint="Check the network connection and run it again.",
        )
    if isinstance(error, OfflineModeIsEnabled):
        return DownloadFailedError(
            f"{repo_id} cannot be fetched: HF_HUB_OFFLINE forbids it.",
            hint="Unset HF_HUB_OFFLINE and run it again.",
        )
    if isinstance(error, GatedRepoError):
        return DownloadFailedError(
            f"The hub gives {repo_id} only to those who accepted its licence.",
            hint="Accept it on the model's page and run `hf auth login`.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return UnknownModelError(
            f"The hub has no model {repo_id}, or it is private.",
            hint="Check the name; for a private model run `hf auth login`.",
        )
    if isinstance(error, HFValidationError):
        return UnknownModelError(
            f"{repo_id!r} is no name of a hub repository.",
            hint="It should look like owner/name.",
        )
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        licence = "Accept its licence on the model's page and run `hf auth login`."
        return DownloadFailedError(
            f"The hub refused {repo_id} (status {status}).",
            hint=licence if status in (401, 403) else "Try again later.",
        )
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return DownloadFailedError(
            f"{repo_id} does not fit on the disk of {hub_cache()}.",
            hint="Free some space, or set HF_HOME to a directory elsewhere.",
        )
    return DownloadFailedError(
        f"The download of {repo_id} broke off ({_first_line(error)}).",
        hint="Check the network connection and run it again.",
    )


def _first_line(error: Exception) -> str:
    """Return an error's first line, or its kind when it says nothing."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__
