"""Which files never enter a prompt: excluded, ignored by git, or secret by name."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

import pathspec
from cachetools import LRUCache, TTLCache

from lsp_stablecode.context.user_ignore import user_ignore_file
from lsp_stablecode.context.words import word_set

_SECRET_GLOBS = word_set(
    ".env .env.* .envrc *.pem *.key *.p8 *.p12 *.pfx *.jks *.keystore *.crt "
    "*.cer *.der *.csr *.asc *.gpg *.pgp *.kdbx *.kdb *.ovpn *.ppk "
    "*.mobileprovision id_rsa* id_dsa* id_ecdsa* id_ed25519* authorized_keys "
    "known_hosts .netrc _netrc .pgpass .my.cnf .npmrc .yarnrc.yml .pypirc "
    ".git-credentials .htpasswd .dockercfg .vault-token .boto .s3cfg "
    "credentials* *.credentials service-account*.json secret.* secrets.* "
    "*.secret *.secrets *.tfvars *.tfvars.json *.tfstate *.tfstate.* "
    ".terraformrc kubeconfig *.kubeconfig"
)
_PLAIN_GLOBS = word_set(".env.example .env.sample .env.template .env.dist")
_SECRET_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".kube"})


_Stamp = tuple[int, int] | None
_Stamps = tuple[_Stamp, ...]
# An ignore file, and the folder that its patterns are of.
_Source = tuple[str, Path]


def _pattern(globs: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, globs)), re.IGNORECASE)


_SECRET, _PLAIN = _pattern(_SECRET_GLOBS), _pattern(_PLAIN_GLOBS)


def is_secret(path: Path) -> bool:
    """Tell whether a file is one that holds keys or passwords, by its name."""
    name = path.name
    if not _SECRET_FOLDERS.isdisjoint(one.casefold() for one in path.parent.parts):
        return True
    return _SECRET.match(name) is not None and _PLAIN.match(name) is None


_OTHER_URI = re.compile(r"(?P<scheme>[\w.+-]+):(?://[^/?#]*+)?(?P<path>[^?#]*+)")
# More than any list of patterns holds.
_MOST_BYTES = 1_000_000
_MOST_FILES_KEPT = 512  # more than are open and imported at a time, with their links
_MOST_FOLDERS_KEPT = 1024
_ASK_GIT_AGAIN_S = 60.0  # which file the user's is; and it may have been busy
# An object of a repository, as Vim names it: ``/project/.git//0/src/a.py``.
_GIT_OBJECT = re.compile(r"/\.git//[^/]*+/")


def scheme_of(uri: str) -> str:
    """Return the scheme of a URI, in lower case; nothing for what is no URI."""
    match = _OTHER_URI.match(uri)
    return match["scheme"].lower() if match else ""


def path_within(uri: str) -> Path:
    """Return the path that a URI of any scheme speaks of.

    Its file may not exist, or be another machine's: only the name says something.
    """
    match = _OTHER_URI.match(uri)
    path = unquote(match["path"] if match else uri, errors="surrogateescape")
    return Path(_GIT_OBJECT.sub("/", path))


def glob_of(glob: str, *, windows: bool = os.name == "nt") -> str:
    """Write a glob as in ``.gitignore``: on Windows backslashes separate folders.

    They escape nothing there. A drive is of either case, so it is made small, as
    `_whole` does.
    """
    if not windows:
        return glob
    glob = glob.replace("\\", "/")
    return re.sub(r"^!?[A-Z]:", lambda match: match[0].lower(), glob)


def _whole(path: Path) -> str:
    """Return a path as globs see it that begin at the file system's root."""
    whole = path.as_posix().lstrip("/")
    return whole[:1].lower() + whole[1:] if path.drive else whole


@dataclass(slots=True)
class _IgnoreFile:
    """A ``.gitignore`` as it was when its time and size were as here."""

    stamp: _Stamp
    spec: pathspec.GitIgnoreSpec | None


class Privacy:
    """Says of each path whether it may enter a prompt.

    ``exclude`` are the user's globs, as in ``.gitignore``, of the workspace's folders
    or of the whole file system. What git ignores is read from the repository of each
    file, nearer files above farther ones, and from the file of what the user ignores
    everywhere, which git is asked for once a minute. Files are read again when they
    change. Of a link, and of what lies in a linked folder, both names count. One thread
    asks: that of a session's files.
    """

    def __init__(
        self, folders: Sequence[Path] = (), exclude: Sequence[str] = ()
    ) -> None:
        self.folders = tuple(folders)
        self.exclude = tuple(exclude)
        globs = [glob_of(one) for one in self.exclude]
        self._exclude = pathspec.GitIgnoreSpec.from_lines(globs)
        # ``/home/me/keys/**`` is of the workspace's folder to git; whoever writes it
        # in an editor's settings may as well mean the file system's.
        self._exclude_absolute = pathspec.GitIgnoreSpec.from_lines(
            one for one in globs if Path(one).is_absolute()
        )
        self._ignore_files: LRUCache[str, _IgnoreFile] = LRUCache(_MOST_FOLDERS_KEPT)
        self._roots: LRUCache[str, str | None] = LRUCache(_MOST_FOLDERS_KEPT)
        self._user_ignores: TTLCache[str, str] = TTLCache(
            _MOST_FOLDERS_KEPT, _ASK_GIT_AGAIN_S
        )
        self._known: LRUCache[str, tuple[_Stamps, bool]] = LRUCache(_MOST_FILES_KEPT)
        self._sources: LRUCache[str, tuple[_Source, ...]] = LRUCache(_MOST_FOLDERS_KEPT)

    @cached_property
    def _roofs(self) -> tuple[Path, ...]:
        # Not before somebody asks: that may look at files, and whoever makes one not.
        return tuple(dict.fromkeys((*self.folders, *_reals(self.folders))))

    def reason(self, path: Path | None) -> str:
        """Return why a file stays out, or nothing.

        ``excluded``, ``secret``, ``ignored``, or ``unreadable``: a file of which
        nothing can be found out may be any of these. A document without a path stays
        in: nothing is known of it but its text.
        """
        if path is None:
            return ""
        try:
            return self._reason_of_file(path)
        except (OSError, ValueError, RuntimeError):
            # No rights, too long a name, links in a circle, names that no file has.
            return "unreadable"

    def reason_by_name(self, path: Path) -> str:
        """Return why a path stays out whose file is not to be looked at."""
        try:
            if self.is_excluded(path):
                return "excluded"
            return "secret" if is_secret(path) else ""
        except (OSError, ValueError, RuntimeError):
            return "unreadable"

    def is_excluded(self, path: Path) -> bool:
        """Tell whether the user's globs name a file, from any folder that holds it."""
        if not self.exclude:
            return False
        whole = _whole(path)
        holding = [one for one in self._roofs if path.is_relative_to(one)]
        if not holding:
            return self._exclude.match_file(whole)
        return self._exclude_absolute.match_file(whole) or any(
            self._exclude.match_file(path.relative_to(one).as_posix())
            for one in holding
        )

    def _reason_of_file(self, path: Path) -> str:
        reason = self.reason_by_name(path)
        if reason:
            return reason
        real = _real(path)
        if real is not None and (reason := self.reason_by_name(real)):
            return reason
        ignored = self._is_ignored(path) or (
            real is not None and self._is_ignored(real)
        )
        return "ignored" if ignored else ""

    def _is_ignored(self, path: Path) -> bool:
        text, folder = os.fspath(path), os.fspath(path.parent)
        sources = self._sources.get(folder)
        if sources is None:
            sources = self._sources[folder] = self._ignore_sources(path.parent)
        if sources:
            root = sources[0][1]
            sources = ((self._user_ignore(os.fspath(root)), root), *sources)
        stamps = tuple(_stamp(source) for source, _ in sources)
        known = self._known.get(text)
        if known is not None and known[0] == stamps:
            return known[1]
        ignored = self._ask(path, sources, stamps)
        self._known[text] = (stamps, ignored)
        return ignored

    def _ignore_sources(self, parent: Path) -> tuple[_Source, ...]:
        """Return the files that may ignore what is in a folder, the farthest first.

        Those of its repository: the user's own comes before them.
        """
        root = self._root_of(parent)
        if root is None:
            return ()
        folder = Path(root)
        sources = [
            (_exclude_file(folder), folder),
            (os.path.join(folder, ".gitignore"), folder),
        ]
        for part in parent.relative_to(root).parts:
            folder = folder / part
            sources.append((os.path.join(folder, ".gitignore"), folder))
        return tuple(sources)

    def _user_ignore(self, root: str) -> str:
        known = self._user_ignores.get(root)
        if known is None:
            known = self._user_ignores[root] = user_ignore_file(root)
        return known

    def _root_of(self, folder: Path) -> str | None:
        """Return the nearest folder above with ``.git``, else the workspace's."""
        key = os.fspath(folder)
        root = self._roots.get(key, "")
        if root == "":
            found = next(
                (one for one in (folder, *folder.parents) if (one / ".git").exists()),
                next((one for one in self._roofs if folder.is_relative_to(one)), None),
            )
            root = self._roots[key] = None if found is None else os.fspath(found)
        return root

    def _ask(
        self,
        path: Path,
        sources: tuple[_Source, ...],
        stamps: _Stamps,
    ) -> bool:
        """Ask as git does: a folder that is ignored keeps all that is in it."""
        if not sources:
            return False
        specs = [
            (base, self._spec(source, stamp))
            for (source, base), stamp in zip(sources, stamps, strict=True)
        ]
        root = sources[0][1]
        parts = path.relative_to(root).parts
        for depth in range(1, len(parts) + 1):
            one = root.joinpath(*parts[:depth])
            is_folder = depth < len(parts)
            for base, spec in reversed(specs):
                if spec is None or not one.is_relative_to(base) or one == base:
                    continue
                relative = one.relative_to(base).as_posix() + "/" * is_folder
                verdict = _verdict(spec, relative)
                if verdict is not None:
                    if verdict:
                        return True
                    break
        return False

    def _spec(self, source: str, stamp: _Stamp) -> pathspec.GitIgnoreSpec | None:
        known = self._ignore_files.get(source)
        if known is not None and known.stamp == stamp:
            return known.spec
        spec = None
        if stamp is not None:
            try:
                text = _read_regular(source).decode("utf-8", "replace")
                spec = pathspec.GitIgnoreSpec.from_lines(_valid_lines(text))
            except OSError:
                spec = None
        self._ignore_files[source] = _IgnoreFile(stamp, spec)
        return spec


# The group in which pathspec's patterns match the end of a folder's name.
_FOLDER_MARK = "ps_d"


def _verdict(spec: pathspec.GitIgnoreSpec, relative: str) -> bool | None:
    """Return what the last pattern that matches a path itself says of it.

    pathspec lets a pattern that matches a folder match all that is in it. To git that
    is so of folders that are ignored, which were asked before; ``!folder`` takes back
    the folder only.
    """
    for pattern in reversed(spec.patterns):
        regex = pattern.regex if isinstance(pattern, pathspec.RegexPattern) else None
        if pattern.include is None or regex is None:
            continue
        match = regex.search(relative)
        while match is not None and not _is_exact(match, relative):
            match = regex.search(relative, match.end() or len(relative) + 1)
        if match is not None:
            return pattern.include
    return None


def _is_exact(match: re.Match[str], relative: str) -> bool:
    if match.groupdict().get(_FOLDER_MARK) is not None:
        return match.end(_FOLDER_MARK) == len(relative)
    # ``folder/**`` is what is in it, not the folder.
    return not relative.endswith("/") or match.end() < len(relative)


def _valid_lines(text: str) -> list[str]:
    """Return the lines that are patterns: one bad line must not lose the others."""
    good = []
    for line in text.splitlines():
        try:
            pathspec.GitIgnoreSpec.from_lines([line])
        except (ValueError, re.error):
            continue
        good.append(line)
    return good


def _stamp(source: str) -> _Stamp:
    try:
        status = os.stat(source)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _real(path: Path) -> Path | None:
    """Return where links lead, if that is elsewhere. A file need not exist.

    Raises ``OSError`` and ``ValueError`` for what cannot be looked at.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.stat(path)
    real = Path(os.path.realpath(path))
    return None if real == path else real


def _reals(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):
            yield _real(folder) or folder


def _exclude_file(root: Path) -> str:
    """Return a repository's own list of what to ignore.

    In a worktree or a submodule ``.git`` is a file that names the folder, and a
    worktree's folder names that of the repository it belongs to.
    """
    git = root / ".git"
    if git.is_file():
        git = root / _first_line(git).removeprefix("gitdir:").strip()
    git = git / _first_line(git / "commondir")
    return os.path.join(git, "info", "exclude")


def _first_line(path: Path) -> str:
    try:
        text = _read_regular(path).decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return text.partition("\n")[0].strip()


def _read_regular(path: str | Path) -> bytes:
    """Return what a list of patterns holds, up to a size that none has.

    A pipe would never end, and a link may lead to one, or to a device.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        return b""
    with open(path, "rb") as file:
        return file.read(_MOST_BYTES)
