"""Fixtures of the tests in Emacs; ``pytest_plugins`` names this module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.editors.emacs import ALONE, Emacs, StartEmacs, documented_init
from tests.editors.emacs_install import Installation, debian_emacs, newest_emacs
from tests.editors.installing import NotInstallableError
from tests.editors.samples import make_project

_RESET = """
(progn (setq lsp-stablecode-automatic t lsp-stablecode-beside-menus t)
       (customize-set-variable 'lsp-stablecode-settings nil)
       (dolist (buffer (buffer-list))
         (when (buffer-file-name buffer)
           (with-current-buffer buffer (set-buffer-modified-p nil))
           (kill-buffer buffer)))
       (delete-other-windows)
       t)"""


@pytest.fixture(scope="module", params=["28", "newest"])
def emacs_installation(request: pytest.FixtureRequest) -> Installation:
    """Return the Emacs of Debian, and that of Debian testing, with lsp-mode 10."""
    is_newest = request.param == "newest"
    try:
        return newest_emacs() if is_newest else debian_emacs()
    except NotInstallableError as error:
        release = "Debian testing" if is_newest else "Debian"
        pytest.skip(f"Emacs of {release}: {error}")


@pytest.fixture(scope="module")
def emacs_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the samples."""
    return make_project(tmp_path_factory.mktemp("emacs"))


@pytest.fixture(scope="module")
def shared_emacs(emacs_installation: Installation) -> Iterator[list[Emacs]]:
    """Hold the Emacs of all tests that need no other, while there is one."""
    shared: list[Emacs] = []
    yield shared
    for one in shared:
        one.close()


@pytest.fixture
def emacs(
    request: pytest.FixtureRequest,
    shared_emacs: list[Emacs],
    emacs_installation: Installation,
    emacs_project: Path,
) -> Iterator[Emacs]:
    """Lend the shared Emacs, set up as the page says, and clear up after the test.

    What a test that failed has left is nobody else's: the next one gets a new Emacs.
    """
    num_failed = request.session.testsfailed
    if not shared_emacs:
        one = Emacs(
            emacs_installation,
            init=documented_init("Install"),
            settings=ALONE,
            file=emacs_project / "shapes.py",
        )
        try:
            one.wait_ready("shapes.py")
        except BaseException:
            one.close()
            raise
        shared_emacs.append(one)
    [one] = shared_emacs
    yield one
    shared_emacs.remove(one)
    if request.session.testsfailed > num_failed:
        one.close()
        return
    try:
        if one.lisp("(minibuffer-depth)") > 0:
            one.dismiss()
        one.lisp(_RESET)
    except BaseException:
        one.close()
        raise
    shared_emacs.append(one)


@pytest.fixture
def start_emacs(emacs_installation: Installation) -> Iterator[StartEmacs]:
    """Start an Emacs that ends with the test."""
    started: list[Emacs] = []

    def start_one(**options: Any) -> Emacs:
        options.setdefault("init", documented_init("Install"))
        options.setdefault("settings", ALONE)
        started.append(Emacs(emacs_installation, **options))
        return started[-1]

    yield start_one
    for one in started:
        one.close()
