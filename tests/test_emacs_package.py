"""The Emacs package as a file: in step with the server and its page, and clean."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from lsp_stablecode import __version__
from lsp_stablecode.settings_schema import settings_schema
from tests.editors.emacs import DOCUMENTATION, PACKAGE
from tests.editors.emacs_install import (
    Installation,
    debian_emacs,
    newest_emacs,
    package_lint,
)
from tests.editors.emacs_settings import settings_as_lisp, written_settings
from tests.editors.installing import NotInstallableError

LISP = PACKAGE.read_text("utf-8")
PAGE = DOCUMENTATION.read_text("utf-8")

# A finding that only a public address of the project can mend.
_KNOWN = "Package should have a Homepage or URL header."


def test_every_setting_of_the_server_can_be_set() -> None:
    """If not: ``python tests/editors/emacs_settings.py``."""
    assert written_settings() == settings_as_lisp()


def test_the_versions_are_one() -> None:
    header = re.search(r"^;; Version: (.+)$", LISP, re.M)
    constant = re.search(r'defconst lsp-stablecode-version "(.+?)"', LISP)
    assert header is not None
    assert constant is not None
    assert {header[1], constant[1]} == {__version__}


def test_the_page_names_every_option_and_its_default() -> None:
    defined = dict(re.findall(r"\(defcustom ([\w-]+)\s+(.+)\n", LISP))
    documented = dict(re.findall(r"^\| `([\w-]+)` \| `?(.+?)`? \|", PAGE, re.M))
    options = {name for name in documented if name in defined or "--" in name}
    assert options | {"lsp-stablecode-settings"} == set(defined)
    for name in options:
        default = defined[name].removeprefix("'")
        assert documented[name] == default or "`" not in f"`{documented[name]}`"[1:-1]


def test_the_page_names_every_key() -> None:
    """And the file binds what the page says."""
    prefixed = dict(re.findall(r"^\| `C-c \+ (.)` \| `([\w-]+)` \|", PAGE, re.M))
    bound = re.findall(r'\(define-key map "(.)" #\'([\w-]+)\)', LISP)
    assert prefixed == dict(bound)
    shown = re.search(r"\(defvar lsp-stablecode-suggestion-map\n(.*?)\n\n", LISP, re.S)
    assert shown is not None
    keys = set(re.findall(r'\(kbd "(.+?)"\)', shown[1])) - {"<tab>"}
    section = PAGE.split("## Keys")[1].split("Or go on typing")[0]
    assert {
        key
        for row in re.findall(r"^\| (`.+?`) \|", section, re.M)
        for key in re.findall("`(.+?)`", row)
    } == keys


@pytest.fixture(params=["28", "newest"])
def installation(request: pytest.FixtureRequest) -> Installation:
    try:
        return debian_emacs() if request.param == "28" else newest_emacs()
    except NotInstallableError as error:
        pytest.skip(f"Emacs ({request.param}): {error}")


@pytest.mark.editor
def test_it_compiles_without_warnings(
    installation: Installation, tmp_path: Path
) -> None:
    copy = shutil.copy(PACKAGE, tmp_path)
    strict = ["--eval", "(setq byte-compile-error-on-warn t)"]
    said = installation.batch(*strict, "-f", "batch-byte-compile", copy)
    assert Path(copy).with_suffix(".elc").exists(), said
    assert "Warning" not in said


@pytest.mark.editor
def test_checkdoc_and_package_lint_find_nothing(installation: Installation) -> None:
    script = Path(__file__).parent / "editors/emacs_lint.el"
    try:
        folder = package_lint()
    except NotInstallableError as error:
        pytest.skip(f"package-lint: {error}")
    said = installation.batch("-L", folder, "-l", script, PACKAGE)
    findings = [one.partition(": ")[2] for one in said.splitlines() if one]
    assert findings == [_KNOWN], said


@pytest.mark.editor
def test_customize_offers_every_setting(installation: Installation) -> None:
    said = installation.batch(
        *("-l", PACKAGE, "--eval"),
        "(progn (customize-option 'lsp-stablecode-settings) (princ (buffer-string)))",
    )
    for name in settings_schema()["properties"]:
        assert f"[ ] Key: {name}\n" in said, f"{name}\n{said}"
