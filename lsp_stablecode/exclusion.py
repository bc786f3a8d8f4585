"""Which files the user keeps out of every prompt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pathspec


class Exclusion:
    """Globs as in ``.gitignore``, relative to the workspace's folders."""

    def __init__(self, globs: tuple[str, ...]) -> None:
        self._globs = globs
        self._spec = pathspec.GitIgnoreSpec.from_lines(globs)
        # ``/home/me/keys/**`` is of the workspace's folder to git; whoever writes it
        # in an editor's settings may as well mean the file system's.
        self._absolute = pathspec.GitIgnoreSpec.from_lines(
            one for one in globs if Path(one).is_absolute()
        )

    def covers(self, path: Path | None, folders: Iterable[Path]) -> bool:
        """Return whether a glob matches; what has no path matches none."""
        if path is None or not self._globs:
            return False
        whole = path.as_posix().lstrip("/")
        for folder in folders:
            if path.is_relative_to(folder):
                relative = path.relative_to(folder).as_posix()
                return self._spec.match_file(relative) or self._absolute.match_file(
                    whole
                )
        return self._spec.match_file(whole)
