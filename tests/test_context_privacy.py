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

from lsp_stablecode.context.privacy import Privacy, is_secret

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
