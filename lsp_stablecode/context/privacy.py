"""Which files never enter a prompt: excluded, ignored by git, or secret by name."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pathspec

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


def _pattern(globs: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, globs)), re.IGNORECASE)


_SECRET, _PLAIN = _pattern(_SECRET_GLOBS), _pattern(_PLAIN_GLOBS)


def is_secret(path: Path) -> bool:
    """Tell whether a file is one that holds keys or passwords, by its name."""
    name = path.name
    if not _SECRET_FOLDERS.isdisjoint(path.parent.parts):
        return True
    return _SECRET.match(name) is not None and _PLAIN.match(name) is None


@dataclass(slots=True)
class _IgnoreFile:
    """A ``.gitignore`` as it was when its time and size were as here."""

    stamp: _Stamp
    spec: pathspec.GitIgnoreSpec | None


class Privacy:
    """Says of each path whether it may enter a prompt.

    ``exclude`` are the user's globs, as in ``.gitignore``, of the workspace's folders
    or of the whole file system. What git ignores is read from the repository of each
    file, nearer files above farther ones; files are read again when they change. One
    thread at a time may ask.
    """

    def __init__(
        self, folders: Sequence[Path] = (), exclude: Sequence[str] = ()
    ) -> None:
        self.folders = tuple(folders)
        self.exclude = tuple(exclude)
        self._exclude = pathspec.GitIgnoreSpec.from_lines(self.exclude)
        # ``/home/me/keys/**`` is of the workspace's folder to git; whoever writes it
        # in an editor's settings may as well mean the file system's.
        self._exclude_absolute = pathspec.GitIgnoreSpec.from_lines(
            one for one in self.exclude if Path(one).is_absolute()
        )
        self._ignore_files: dict[str, _IgnoreFile] = {}
        self._roots: dict[str, str | None] = {}
        self._known: dict[str, tuple[_Stamps, bool]] = {}
        self._sources: dict[str, tuple[str, ...]] = {}

    def reason(self, path: Path | None) -> str:
        """Return why a file stays out: ``excluded``, ``ignored``, ``secret`` or ``''``.

        A document without a path stays in: nothing is known of it but its text.
        """
        if path is None:
            return ""
        if self.is_excluded(path):
            return "excluded"
        if is_secret(path) or (path.is_symlink() and is_secret(path.resolve())):
            return "secret"
        return "ignored" if self._is_ignored(path) else ""

    def is_excluded(self, path: Path) -> bool:
        """Tell whether the user's globs name a file."""
        if not self.exclude:
            return False
        whole = path.as_posix().lstrip("/")
        for folder in self.folders:
            if path.is_relative_to(folder):
                relative = path.relative_to(folder).as_posix()
                return self._exclude.match_file(
                    relative
                ) or self._exclude_absolute.match_file(whole)
        return self._exclude.match_file(whole)

    def _is_ignored(self, path: Path) -> bool:
        text = os.fspath(path)
        sources = self._sources.get(text)
        if sources is None:
            sources = self._sources[text] = self._ignore_sources(path)
        stamps = tuple(_stamp(source) for source in sources)
        known = self._known.get(text)
        if known is not None and known[0] == stamps:
            return known[1]
        ignored = self._ask(path, sources, stamps)
        self._known[text] = (stamps, ignored)
        return ignored

    def _ignore_sources(self, path: Path) -> tuple[str, ...]:
        """Return the files that may ignore a path, the farthest first."""
        root = self._root_of(path.parent)
        if root is None:
            return ()
        sources = [os.path.join(root, ".git", "info", "exclude")]
        folder = root
        sources.append(os.path.join(folder, ".gitignore"))
        for part in path.parent.relative_to(root).parts:
            folder = os.path.join(folder, part)
            sources.append(os.path.join(folder, ".gitignore"))
        return tuple(sources)

    def _root_of(self, folder: Path) -> str | None:
        """Return the nearest folder above with ``.git``, else the workspace's."""
        key = os.fspath(folder)
        if key not in self._roots:
            found = next(
                (one for one in (folder, *folder.parents) if (one / ".git").exists()),
                next((one for one in self.folders if folder.is_relative_to(one)), None),
            )
            self._roots[key] = None if found is None else os.fspath(found)
        return self._roots[key]

    def _ask(
        self,
        path: Path,
        sources: tuple[str, ...],
        stamps: _Stamps,
    ) -> bool:
        """Ask as git does: a folder that is ignored keeps all that is in it."""
        if not sources:
            return False
        root = Path(sources[1]).parent
        specs = [
            (Path(source).parent if number else root, self._spec(source, stamp))
            for number, (source, stamp) in enumerate(zip(sources, stamps, strict=True))
        ]
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
                text = Path(source).read_text("utf-8", "replace")
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
