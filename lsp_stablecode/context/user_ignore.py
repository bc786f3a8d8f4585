"""The file of what a user ignores in all repositories."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys

logger = logging.getLogger(__name__)

_TIMEOUT_S = 2.0
# A server that was started by a git command would be told of that one's repository.
_OF_A_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_CONFIG")


def user_ignore_file(folder: str) -> str:
    """Return the file that git reads in ``folder``; it need not exist.

    ``core.excludesFile``, or ``git/ignore`` in the user's configuration folder (git's
    manual, gitignore(5)). Only git itself knows where its configuration is and what
    that includes, so it is asked: some milliseconds. Where it does not answer, which is
    logged, the second one counts.
    """
    named = _excludes_file(folder)
    if named is None:
        home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        return os.path.join(home, "git", "ignore")
    return os.path.join(folder, named)


def _excludes_file(folder: str) -> str | None:
    """Return what ``core.excludesFile`` is; ``None`` where it is not set."""
    git = shutil.which("git")
    # One that is found relative to where we run may be the workspace's own.
    if git is None or not os.path.isabs(git):
        return None
    try:
        if _is_apples_offer(git):
            return None
        # The older spelling of --type=path, which all versions know.
        done = _run(
            [git, "config", "--null", "--path", "--get", "core.excludesFile"], folder
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        _warn(str(error))
        return None
    # 1 is its way to say that there is none.
    if done.returncode not in (0, 1):
        _warn(done.stderr.decode("utf-8", "replace").strip())
    if done.returncode != 0:
        return None
    return os.fsdecode(done.stdout.removesuffix(b"\0"))


def _is_apples_offer(git: str) -> bool:
    """Tell whether a Mac's git would only offer, in a window, to be installed."""
    if sys.platform != "darwin" or git != "/usr/bin/git":
        return False
    return _run(["/usr/bin/xcode-select", "--print-path"], "/").returncode != 0


def _run(command: list[str], folder: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        cwd=folder,
        env={
            name: value
            for name, value in os.environ.items()
            if name not in _OF_A_REPOSITORY
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=False,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


def _warn(reason: str) -> None:
    logger.warning(
        "git could not say what you ignore in all repositories, so only what "
        "git/ignore and .gitignore name stays out: %s",
        reason,
    )
