"""Suggestions for users of eglot: in their menu, and in grey where Emacs can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.editors.emacs import Emacs, documented_init
from tests.editors.emacs_install import Installation, emacs_with, newest_emacs
from tests.editors.installing import NotInstallableError

pytestmark = pytest.mark.editor

TEXT = 'server_name = "example"\nserver_port = 8080\n'
BUFFER_END, MENU, TAB = "\x1b>", "\x1b\t", "\t"
STATE = """(and (fboundp 'eglot-current-server) (eglot-current-server)
 (plist-get (jsonrpc-request (eglot-current-server) :workspace/executeCommand
             '(:command "lsp-stablecode.status" :arguments [])) :state))"""
INSTALLATIONS = {"28": partial(emacs_with, "eglot"), "newest": newest_emacs}
Start = Callable[[Installation, str], Emacs]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an Emacs with eglot in a file that only our server serves."""
    started: list[Emacs] = []

    def start_one(installation: Installation, init: str) -> Emacs:
        (tmp_path / ".git").mkdir()
        path = tmp_path / "app.conf"
        path.write_text(TEXT)
        emacs = Emacs(installation, init=init, file=path)
        started.append(emacs)
        emacs.wait(lambda: emacs.lisp(STATE) == "ready", "the model is loaded")
        emacs.type(BUFFER_END)
        return emacs

    yield start_one
    for one in started:
        one.close()


def installed(version: str) -> Installation:
    try:
        return INSTALLATIONS[version]()
    except NotInstallableError as error:
        pytest.skip(f"Emacs ({version}) with eglot: {error}")


@pytest.mark.parametrize("version", INSTALLATIONS)
def test_the_menu_lists_suggestions(version: str, start: Start) -> None:
    emacs = start(installed(version), documented_init("eglot"))
    emacs.type("server_p")
    emacs.wait(lambda: emacs.buffer().text == TEXT + "server_p", "it is typed")
    emacs.type(MENU)
    emacs.wait(lambda: "server_port = 8080 lsp-" in emacs.terminal.text, "the menu")
    emacs.type("o" + MENU)
    emacs.wait(
        lambda: emacs.buffer().text == TEXT + "server_port = 8080", "it is inserted"
    )
    assert not emacs.lisp("(featurep 'lsp-mode)")


@pytest.mark.parametrize("version", INSTALLATIONS)
def test_a_single_suggestion_is_inserted_at_once(version: str, start: Start) -> None:
    init = documented_init("eglot") + documented_init("eglot", block=1).split("\n")[0]
    emacs = start(installed(version), init)
    emacs.type("server_p" + MENU)
    emacs.wait(
        lambda: emacs.buffer().text == TEXT + "server_port = 8080", "it is inserted"
    )


def test_emacs_30_shows_it_in_grey(start: Start) -> None:
    init = documented_init("eglot") + documented_init("eglot", block=1)
    emacs = start(installed("newest"), init)
    emacs.type("server_p")
    emacs.wait(
        lambda: "server_port = 8080" in emacs.terminal.text.split("\n")[3],
        "the suggestion is shown",
    )
    assert emacs.buffer().text == TEXT + "server_p"
    emacs.type(TAB)
    emacs.wait(
        lambda: emacs.buffer().text == TEXT + "server_port = 8080", "it is inserted"
    )
