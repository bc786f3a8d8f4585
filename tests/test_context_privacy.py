"""Which files never enter a prompt."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_stablecode.context import user_ignore
from lsp_stablecode.context.privacy import (
    Privacy,
    glob_of,
    is_secret,
    path_within,
)

_HAS_GIT = shutil.which("git") is not None
needs_git = pytest.mark.skipif(not _HAS_GIT, reason="no git")


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".env.local",
        "server.pem",
        "ID_RSA",
        "id_ed25519.old",
        "cert.crt",
        "keys.p12",
        ".npmrc",
        ".netrc",
        "credentials.json",
        "secrets.yaml",
        "prod.tfvars",
        ".git-credentials",
        ".ssh/config",
    ],
)
def test_secret_by_name(name: str) -> None:
    """Keys, certificates and passwords are known by their names."""
    assert is_secret(Path("/work") / name)
    assert Privacy([Path("/work")]).reason(Path("/work") / name) == "secret"


@pytest.mark.parametrize(
    "name",
    [".env.example", ".env.sample", "environment.py", "keys.py", "key.ts", "a.c"],
)
def test_not_secret(name: str) -> None:
    """Samples of settings and ordinary sources are none."""
    assert not is_secret(Path("/work") / name)


def test_a_link_to_a_secret_is_one(tmp_path: Path) -> None:
    """What a harmless name points to counts."""
    (tmp_path / ".env").write_text("KEY=1")
    link = tmp_path / "settings.txt"
    try:
        link.symlink_to(tmp_path / ".env")
    except OSError:
        pytest.skip("no symbolic links here")
    assert Privacy([tmp_path]).reason(link) == "secret"


@pytest.mark.parametrize("glob", ["/work/keys/**", "/keys/", "**/keys/*.py", "/work"])
def test_excluded_by_a_path_of_workspace_or_disk(glob: str) -> None:
    """A rooted glob may mean the workspace's folder or the file system."""
    privacy = Privacy([Path("/work")], [glob])
    assert privacy.reason(Path("/work/keys/a.py")) == "excluded"
    if glob != "/work":
        assert privacy.reason(Path("/work/work.py")) == ""


def test_a_document_without_a_path_stays_in() -> None:
    """Nothing is known of an untitled document but its text."""
    assert Privacy([], ["*"]).reason(None) == ""


def test_nearer_files_override(tmp_path: Path) -> None:
    """A `.gitignore` further in may take a file back, but not out of a folder."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "src").mkdir()
    (tmp_path / "out" / "src").mkdir(parents=True)
    (tmp_path / ".gitignore").write_text("*.log\nout/\n[\n")
    (tmp_path / "src" / ".gitignore").write_text("!keep.log\n")
    (tmp_path / "out" / ".gitignore").write_text("!*\n")
    privacy = Privacy([tmp_path])
    assert privacy.reason(tmp_path / "a.log") == "ignored"
    assert privacy.reason(tmp_path / "src" / "a.log") == "ignored"
    assert privacy.reason(tmp_path / "src" / "keep.log") == ""
    assert privacy.reason(tmp_path / "out" / "a.py") == "ignored"


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """Who adds a line to `.gitignore` need not restart anything."""
    (tmp_path / ".git" / "info").mkdir(parents=True)
    path = tmp_path / "notes.py"
    privacy = Privacy([tmp_path])
    assert privacy.reason(path) == ""
    (tmp_path / ".gitignore").write_text("notes.py\n")
    assert privacy.reason(path) == "ignored"
    (tmp_path / ".gitignore").write_text("")
    assert privacy.reason(path) == ""
    (tmp_path / ".git" / "info" / "exclude").write_text("notes.*\n")
    assert privacy.reason(path) == "ignored"


def test_asking_costs_little(tmp_path: Path) -> None:
    """It is asked of every open document at every key."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("*.log\n" * 100)
    path = tmp_path / "a" / "b" / "c.py"
    privacy = Privacy([tmp_path], ["*.secret"])
    privacy.reason(path)
    started = time.process_time()
    for _ in range(200):
        privacy.reason(path)
    assert time.process_time() - started < 0.4


_PATTERNS = st.lists(
    st.sampled_from(
        """a|b|*.py|!a|!*.py|a/|!a/|/a|/a/*|!/a/b|a/b|**/b|b/**|a/**/b|#|[ab]|?.py|*||!b/
a/*.py|!a/a.py|\\!a|a |/b/|*/a.py|!*/""".replace("\n", "|").split("|")
    ),
    max_size=4,
)
_PATHS = [
    "a.py",
    "a",
    "b/a.py",
    "a/a.py",
    "a/b/a.py",
    "a/b/b.py",
    "b/a/b/a.py",
    "b/b",
    "a/c.txt",
]


@needs_git
@settings(max_examples=30, deadline=None)
@given(files=st.tuples(_PATTERNS, _PATTERNS, _PATTERNS, _PATTERNS))
def test_ignores_what_git_ignores(
    tmp_path_factory: pytest.TempPathFactory, files: tuple[list[str], ...]
) -> None:
    """`git check-ignore` and we say the same of every path."""
    root = tmp_path_factory.mktemp("repository")
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(
        ["git", "init", "-q", str(root)], check=True, env=environment, timeout=60
    )
    for name, lines in zip(
        (".gitignore", "a/.gitignore", "b/.gitignore", ".git/info/exclude"),
        files,
        strict=True,
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("\n".join(lines) + "\n")
    paths = [one for one in _PATHS if one != "a"]
    for one in paths:
        (root / one).parent.mkdir(parents=True, exist_ok=True)
        if not (root / one).is_dir():
            (root / one).write_text("")
    answer = subprocess.run(
        ["git", "-C", str(root), "check-ignore", "--no-index", "--stdin"],
        input="\n".join(paths),
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    privacy = Privacy([root])
    ours = [one for one in paths if privacy.reason(root / one) == "ignored"]
    assert ours == answer.stdout.split("\n")[:-1]


def _link(link: Path, target: Path) -> None:
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("no symbolic links here")


def test_what_cannot_be_looked_at_stays_out(tmp_path: Path) -> None:
    """A path that raises is private, and breaks no request."""
    privacy = Privacy([tmp_path], ["*.secret"])
    for name in ("a" * 5000, "nul\0.py", "surrogate\ud800.py"):
        assert privacy.reason(tmp_path / name) == "unreadable"
    _link(tmp_path / "circle.py", tmp_path / "circle.py")
    assert privacy.reason(tmp_path / "circle.py") == "unreadable"
    assert privacy.reason(tmp_path / "not_written_yet.py") == ""


def test_a_folder_without_rights_stays_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing may be asked of a file, nothing of it is shown."""

    def refuse(path: object, **_: object) -> None:
        raise PermissionError(13, "no", str(path))

    monkeypatch.setattr(os, "stat", refuse)
    assert Privacy([tmp_path]).reason(tmp_path / "a.py") == "unreadable"


def test_what_is_in_a_linked_folder_counts_by_both_names(tmp_path: Path) -> None:
    """Secrets, globs and ignore files are asked of a path and of where it leads."""
    root, away = tmp_path / "root", tmp_path / "away"
    for folder in (root, away / ".git", away / ".SSH", away / "out"):
        folder.mkdir(parents=True)
    (away / ".gitignore").write_text("out/\n")
    _link(root / "linked", away)
    _link(root / "keys", away / ".SSH")
    privacy = Privacy([root], [f"{away.as_posix()}/private/**"])
    assert privacy.reason(root / "linked" / "out" / "a.py") == "ignored"
    assert privacy.reason(root / "linked" / "private" / "a.py") == "excluded"
    assert privacy.reason(root / "keys" / "config") == "secret"
    assert privacy.reason(root / "linked" / "a.py") == ""
    _link(tmp_path / "workspace", away)
    linked = Privacy([tmp_path / "workspace"], ["/private/"])
    assert linked.reason(away / "private" / "a.py") == "excluded"


def test_all_folders_that_hold_a_file_are_asked() -> None:
    """A glob of an inner workspace folder counts though an outer one is first."""
    privacy = Privacy([Path("/work"), Path("/work/inner")], ["/keys/"])
    assert privacy.reason(Path("/work/inner/keys/a.py")) == "excluded"
    assert privacy.reason(Path("/work/other/keys/a.py")) == ""


def test_the_users_own_ignore_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a user ignores everywhere is ignored; a repository may take it back."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "git").mkdir(parents=True)
    (tmp_path / "config" / "git" / "ignore").write_text("scratch.*\n/only.py\n")
    root = tmp_path / "root"
    (root / ".git").mkdir(parents=True)
    (root / ".gitignore").write_text("!scratch.md\n")
    privacy = Privacy([root])
    assert privacy.reason(root / "a" / "scratch.py") == "ignored"
    assert privacy.reason(root / "a" / "scratch.md") == ""
    assert privacy.reason(root / "only.py") == "ignored"
    assert privacy.reason(root / "a" / "only.py") == ""


@needs_git
@pytest.mark.parametrize("place", ["user", "included", "repository"])
def test_the_ignore_file_that_git_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """``core.excludesFile`` replaces the usual file, wherever git reads it from."""
    home = tmp_path / "hÖme of me"
    root = tmp_path / "root"
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "ignore").write_text("usual.py\n")
    (home / "my ignore").write_text("scratch.py\n")
    root.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    # As in an editor that ``git commit`` has started elsewhere.
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere" / ".git"))
    told = "[core]\n\texcludesFile = ~/my ignore\n"
    subprocess.run(
        ["git", "init", "-q", root],
        check=True,
        env={one: value for one, value in os.environ.items() if one != "GIT_DIR"},
    )
    if place == "user":
        (home / ".gitconfig").write_text(told, "utf-8")
    elif place == "included":
        (home / "work.inc").write_text(told, "utf-8")
        (home / ".gitconfig").write_text(
            f'[includeIf "gitdir:{root.as_posix()}/"]\n\tpath = work.inc\n', "utf-8"
        )
    else:
        with (root / ".git" / "config").open("a", encoding="utf-8") as file:
            file.write(told)
    privacy = Privacy([root])
    assert privacy.reason(root / "a" / "scratch.py") == "ignored"
    assert privacy.reason(root / "usual.py") == ""
    (home / "my ignore").write_text("")
    assert privacy.reason(root / "a" / "scratch.py") == ""


@pytest.mark.skipif(os.name == "nt", reason="programs are found otherwise")
@pytest.mark.parametrize("git", ["none", "sleeps", "fails", "of the workspace"])
def test_without_gits_word_its_usual_file_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    git: str,
) -> None:
    """No git, or one that does not answer: said, and the rest is as usual."""
    monkeypatch.setattr(user_ignore, "_TIMEOUT_S", 2.0 if git == "sleeps" else 60.0)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "git").mkdir(parents=True)
    (tmp_path / "config" / "git" / "ignore").write_text("scratch.py\n")
    root, programs = tmp_path / "root", tmp_path / "bin"
    (root / ".git").mkdir(parents=True)
    programs.mkdir()
    ran = tmp_path / "ran"
    does = "exec /bin/sleep 60" if git == "sleeps" else "echo broken >&2; exit 3"
    if git != "none":
        (programs / "git").write_text(f"#!/bin/sh\n: > '{ran}'\n{does}\n")
        (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", "." if git == "of the workspace" else str(programs))
    monkeypatch.chdir(programs)
    privacy = Privacy([root])
    assert privacy.reason(root / "scratch.py") == "ignored"
    assert privacy.reason(root / "a.py") == ""
    assert ran.exists() == (git in ("sleeps", "fails"))
    warnings = [one for one in caplog.messages if "git could not say" in one]
    assert len(warnings) == (git in ("sleeps", "fails"))
    assert git != "fails" or "broken" in warnings[0]


def test_worktrees_and_submodules(tmp_path: Path) -> None:
    """`.git` may be a file; what a repository excludes holds in its worktrees."""
    common = tmp_path / "main" / ".git"
    (common / "info").mkdir(parents=True)
    (common / "info" / "exclude").write_text("notes.py\n")
    (common / "worktrees" / "w").mkdir(parents=True)
    (common / "worktrees" / "w" / "commondir").write_text("../..\n")
    (common / "modules" / "m" / "info").mkdir(parents=True)
    (common / "modules" / "m" / "info" / "exclude").write_text("own.py\n")
    worktree, module = tmp_path / "w", tmp_path / "main" / "m"
    worktree.mkdir()
    module.mkdir()
    (worktree / ".git").write_text(f"gitdir: {common / 'worktrees' / 'w'}\n")
    (module / ".git").write_text("gitdir: ../.git/modules/m\n")
    privacy = Privacy([tmp_path])
    assert privacy.reason(worktree / "a" / "notes.py") == "ignored"
    assert privacy.reason(worktree / "own.py") == ""
    assert privacy.reason(module / "own.py") == "ignored"
    assert privacy.reason(module / "notes.py") == ""


def test_globs_on_windows() -> None:
    """Folders may be separated as there is usual, and a drive has no case."""
    assert glob_of(r"C:\keys\**", windows=True) == "c:/keys/**"
    assert glob_of(r"\#a", windows=False) == r"\#a"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("fugitive:///home/me/p/.git//0/.env", "/home/me/p/.env"),
        ("git:/home/me/p/.env?%7B%22ref%22%3A%22%22%7D", "/home/me/p/.env"),
        ("vscode-remote://ssh-remote%2Bhost/p/.env", "/p/.env"),
        ("untitled:.env", ".env"),
        ("untitled:%2Eenv", ".env"),
    ],
)
def test_the_path_within_any_uri(uri: str, path: str) -> None:
    """What a URI of another scheme speaks of is judged by its name."""
    assert path_within(uri) == Path(path)
    assert Privacy().reason_by_name(path_within(uri)) == "secret"
