"""The server behind Emacs: switched off and on, lost, slow, missing, not alone."""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path

import psutil
import pytest

from tests.editors.emacs import (
    ALONE,
    BUFFER_END,
    PREFIX,
    RETURN,
    TAB,
    Emacs,
    StartEmacs,
)
from tests.editors.samples import EMOJI, SHAPES

pytest_plugins = ["tests.editors.emacs_fixtures"]
pytestmark = pytest.mark.editor

# Typing ``si`` at its end is answered with the line above and what follows it.
REST = "ze = width * height"

SERVERS = """(seq-some (lambda (one) (eq '{} (lsp--client-server-id
 (lsp--workspace-client one)))) lsp--buffer-workspaces)"""
"""Whether a server runs in the buffer."""


def test_switched_off_and_on_everywhere(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("    si")
    emacs.wait_ghost(REST)
    emacs.type(PREFIX + "t")
    emacs.wait(lambda: "Suggestions are off" in emacs.terminal.text, "it says so")
    assert emacs.buffer().ghost == ""
    emacs.wait(lambda: "Stablecode[inactive]" in emacs.terminal.text, "the mode line")
    emacs.type_text("z")
    emacs.settle()
    assert emacs.buffer().ghost == ""
    emacs.type(PREFIX + "t")
    emacs.wait(lambda: "Suggestions are on" in emacs.terminal.text, "it says so")
    emacs.type("e")
    emacs.wait_ghost(REST[2:])
    emacs.wait(lambda: "[inactive]" not in emacs.terminal.text, "the mode line")


def test_switched_off_and_on_for_a_language(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type(PREFIX + "l")
    emacs.wait(lambda: "are off for python" in emacs.terminal.text, "it says so")
    emacs.type_text("    si")
    emacs.settle()
    assert emacs.buffer().ghost == ""
    emacs.type(PREFIX + "l")
    emacs.wait(lambda: "are on for python" in emacs.terminal.text, "it says so")
    emacs.type("z")
    emacs.wait_ghost(REST[1:])


def test_switched_off_and_on_in_a_buffer(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("    si")
    emacs.wait_ghost(REST)
    requests = emacs.num_requests()
    emacs.type(PREFIX + "b")
    emacs.wait_ghost("")
    emacs.type_text("z")
    emacs.settle()
    assert emacs.num_requests() == requests
    emacs.command("lsp-stablecode-mode")
    emacs.wait(lambda: emacs.lisp("lsp-stablecode-mode"), "the mode is on")
    emacs.type("e")
    emacs.wait_ghost(REST[2:])


def test_snoozed(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type(PREFIX + "z")
    emacs.wait(lambda: "are off for 15 minutes" in emacs.terminal.text, "it says so")
    emacs.type_text("    si")
    emacs.settle()
    assert emacs.buffer().ghost == ""
    emacs.type("\x150" + PREFIX + "z")  # C-u 0
    emacs.wait(lambda: "Suggestions are on" in emacs.terminal.text, "it says so")
    emacs.type("z")
    emacs.wait_ghost(REST[1:])


def test_settings_reach_a_running_server(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.lisp('(lsp-stablecode-set :disabledLanguages \'("python"))')
    emacs.type_text("    si")
    emacs.settle()
    assert emacs.buffer().ghost == ""
    emacs.lisp("(lsp-stablecode-set :disabledLanguages nil)")
    emacs.type("z")
    emacs.wait_ghost(REST[1:])


def test_a_setting_that_is_none_is_reported(emacs: Emacs, emacs_project: Path) -> None:
    """Our own option does not swallow what the server would complain about."""
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.lisp("(lsp-stablecode-set :maxNewToken 7)")
    emacs.wait(
        lambda: (
            "`maxNewToken`"
            in emacs.lisp('(with-current-buffer "*Messages*" (buffer-string))')
        ),
        "a message names it",
    )


def test_the_server_dies_and_comes_back(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type_text("    s")
    emacs.settle()
    for one in psutil.Process(emacs.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "lsp_stablecode" in one.cmdline():
                one.kill()
    emacs.wait(lambda: "exited (check" in emacs.terminal.text, "lsp-mode asks")
    emacs.type("y")
    emacs.wait(lambda: emacs.lisp("(minibuffer-depth)") == 0, "it has the answer")
    # lsp-mode waits for idleness, which begins anew with a key.
    emacs.type_text("i")
    emacs.wait_ready(emacs.buffer().name)
    emacs.type("z")
    assert emacs.wait_ghost(REST[1:]).before == SHAPES + "    siz"


def test_a_suggestion_outlives_its_server(
    start_emacs: StartEmacs, emacs_project: Path
) -> None:
    """It can be accepted, and nobody is told, least of all another server."""
    emacs = start_emacs(
        settings=ALONE + "(setq lsp-restart 'ignore)",
        file=emacs_project / "shapes.py",
    )
    emacs.wait_ready("shapes.py")
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("    si")
    emacs.wait_ghost(REST)
    emacs.lisp(
        "(progn (delete-process (lsp--workspace-cmd-proc"
        " (lsp-stablecode--workspace))) t)"
    )
    emacs.wait(lambda: not emacs.lisp("(lsp-stablecode--workspaces)"), "it is gone")
    assert emacs.buffer().ghost == REST
    emacs.type(TAB)
    emacs.wait_text(SHAPES + "    size = width * height")
    messages = emacs.lisp('(with-current-buffer "*Messages*" (buffer-string))')
    assert "No lsp-stablecode runs" not in messages


def test_a_model_that_rests_is_not_switched_off(
    start_emacs: StartEmacs, emacs_project: Path
) -> None:
    """Half an hour later the mode line looks as before; what is off looks off."""
    at_once = "property(lambda settings: 0.1)"
    emacs = start_emacs(
        python="from lsp_stablecode.settings import Settings;"
        f" Settings.rest_after_s = {at_once}",
        file=emacs_project / "shapes.py",
    )
    state = "(gethash (lsp-stablecode--workspace) lsp-stablecode--states)"
    emacs.wait_ready("shapes.py")
    emacs.wait(lambda: emacs.status()["state"] == "resting", "it rests")
    # It is told when something happens next.
    for name in ("emoji.py", "shapes.py"):
        emacs.lisp(f'(progn (find-file "{emacs_project / name}") t)')
    emacs.wait(
        lambda: "rests" in str(emacs.lisp(f"(plist-get {state} :message)")),
        "the server says so",
    )
    emacs.wait(lambda: "Stablecode " in emacs.terminal.text, "the mode line")
    assert "Stablecode[" not in emacs.terminal.text
    emacs.type(PREFIX + "t")
    emacs.wait(lambda: "Stablecode[inactive]" in emacs.terminal.text, "the mode line")
    emacs.type(PREFIX + "t")
    emacs.wait(lambda: "[inactive]" not in emacs.terminal.text, "the mode line")
    emacs.type(BUFFER_END)
    emacs.type("    si")
    emacs.wait_ghost(REST)


def test_restarted_by_hand(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.lisp("(progn (setq tests-before (lsp-stablecode--workspace)) t)")
    emacs.type(PREFIX + "r")
    emacs.wait(
        lambda: emacs.lisp(
            "(and (lsp-stablecode--workspace)"
            " (not (eq tests-before (lsp-stablecode--workspace))))"
        ),
        "another server",
    )
    emacs.wait_ready(emacs.buffer().name)
    emacs.type("    si")
    emacs.wait_ghost(REST)


def test_the_commands_of_the_server(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("    si")
    emacs.wait_ghost(REST)
    emacs.type(PREFIX + "s")
    emacs.wait(lambda: "lsp-stablecode: echo on cpu" in emacs.terminal.text, "status")
    emacs.type(PREFIX + "e")
    emacs.wait(lambda: '"outcome": "' in emacs.terminal.text, "the explanation")
    explanation = json.loads(
        emacs.lisp('(with-current-buffer "*lsp-stablecode explain*" (buffer-string))')
    )
    assert explanation["uri"].endswith(emacs.buffer().name)
    emacs.type(PREFIX + "g")
    emacs.wait(lambda: "::stderr*" in emacs.buffer().name, "the log")
    emacs.lisp("(progn (delete-other-windows) (previous-buffer) t)")


def test_another_model_is_chosen_by_name(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type(PREFIX + "m")
    emacs.wait(lambda: "Model:" in emacs.terminal.text, "it asks")
    emacs.type("starc\t\t")
    emacs.wait(lambda: "starcoder2-3b" in emacs.terminal.text, "the known models")
    emacs.type("\x01\x0becho:1" + RETURN)
    emacs.wait(
        lambda: (emacs.status()["engine"] or {}).get("model") == "echo:1",
        "the other model",
    )
    emacs.type("    si")
    emacs.wait_ghost(REST)


def test_the_doctor_is_called(emacs: Emacs, emacs_project: Path) -> None:
    """For the model in use, whoever named it."""
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.lisp(
        '(progn (setq lsp-stablecode-command \'("lsp-stablecode" "serve"'
        ' "--shared" "--model" "starter" "--threads=3" "--log-level" "debug"'
        ' "--device" "cuda"))'
        ' (lsp-stablecode-set :device "auto") (lsp-stablecode-set :candidates 2)'
        ' (lsp-stablecode-set :contextTokens 1024) (lsp-stablecode-set :model "echo"))'
    )
    try:
        emacs.type(PREFIX + "d")
        report = '(with-current-buffer "*lsp-stablecode doctor*" (buffer-string))'
        emacs.wait(
            lambda: re.search("Compilation (finished|exited)", emacs.lisp(report)),
            "the doctor is done",
        )
    finally:
        emacs.lisp("(custom-reevaluate-setting 'lsp-stablecode-command)")
    called = re.search("^lsp-stablecode doctor (.*)", emacs.lisp(report), re.M)
    assert called is not None
    words = called[1].split()
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options == {
        "--model": "echo",
        "--threads": "3",
        "--context-tokens": "1024",
    }
    assert "echo: asked for" in emacs.lisp(report)


def test_a_slow_model_shows_nothing_that_is_outdated(
    start_emacs: StartEmacs, emacs_project: Path
) -> None:
    """Typed over while it computes: no key is lost, no suggestion is stale."""
    emacs = start_emacs(model="echo:100", file=emacs_project / "shapes.py")
    emacs.wait_ready("shapes.py")
    emacs.open_copy(emacs_project / "shapes.py")
    with emacs.terminal.watched() as screens:
        emacs.type("    si")
        emacs.wait(emacs.num_requests, "it asks")
        for character in "lver = [1, 2]":
            emacs.type(character)
            time.sleep(0.03)  # A fast typist.
        buffer = emacs.wait_ghost("pass")
    assert buffer.before == SHAPES + "    silver = [1, 2]"
    for screen in screens:
        assert screen.count("size = width * height") <= 1, screen
    assert emacs.messages("$/cancelRequest")


def test_the_engine_that_editors_share(
    start_emacs: StartEmacs, emacs_project: Path
) -> None:
    """By default that one is started; killed, it is there again, and nothing lost."""
    emacs = start_emacs(file=emacs_project / "shapes.py", is_shared=True)
    emacs.wait_ready("shapes.py")
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("    si")
    emacs.wait_ghost(REST)
    engine = emacs.hubs.process()
    engine.kill()
    emacs.wait(lambda: engine not in emacs.hubs.processes(), "it ends")
    emacs.type_text("ze")
    emacs.wait(lambda: emacs.hubs.processes() not in ([], [engine]), "another engine")
    emacs.wait_ready(emacs.buffer().name)
    emacs.type(" ")
    emacs.wait_ghost("= width * height")
    emacs.type(TAB)
    emacs.wait_text(SHAPES + "    size = width * height")
    assert "exited (check" not in emacs.terminal.text


def test_a_program_that_is_missing_is_named_once(
    start_emacs: StartEmacs, emacs_project: Path
) -> None:
    emacs = start_emacs(
        settings=ALONE + """(setq lsp-stablecode-command '("no-such" "serve"))""",
        file=emacs_project / "shapes.py",
    )
    told = re.compile("There is no program .no-such., so nothing is suggested")
    emacs.wait(lambda: told.search(emacs.terminal.text), "the warning")
    emacs.lisp(f'(progn (find-file "{emacs_project / "emoji.py"}") t)')
    no_server = "support current file but do not have automatic installation"
    emacs.wait(
        lambda: (
            emacs.lisp('(with-current-buffer "*Messages*" (buffer-string))').count(
                no_server
            )
            == 2
        ),
        "lsp-mode has looked for it again",
    )
    text = emacs.lisp('(with-current-buffer "*Warnings*" (buffer-string))')
    assert len(told.findall(text)) == 1


def test_beside_a_server_that_counts_otherwise(
    start_emacs: StartEmacs, emacs_project: Path
) -> None:
    """Ruff takes columns in UTF-8, where lsp-mode prefers UTF-32 as our server does.

    With columns of the other kind it panics, and we suggest nonsense.
    """
    emacs = start_emacs(
        settings="(setq lsp-client-packages '(lsp-ruff))",
        file=emacs_project / "emoji.py",
    )
    emacs.wait_ready("emoji.py")
    emacs.wait(lambda: emacs.lisp(SERVERS.format("ruff")), "ruff runs")
    emacs.open_copy(emacs_project / "emoji.py")
    emacs.wait(lambda: emacs.lisp(SERVERS.format("ruff")), "ruff runs")
    emacs.type_text('print("🏁 👩‍👩‍👧 xyz')
    for _ in "xyz":
        emacs.type("\x7f")
    emacs.type_text("first")
    emacs.wait_ghost('", flag)')
    emacs.type("\x1b\x7f")  # Meta-Backspace: the last word.
    emacs.type_text("fi")
    emacs.wait_ghost('rst", flag)')
    emacs.type(TAB)
    text = EMOJI + EMOJI.splitlines()[1]
    emacs.wait_text(text)
    emacs.type_text("  # 🏁🏁")
    emacs.type("\x7f\x7f" + RETURN)
    emacs.type_text('y = "🏁" + = 1')
    emacs.wait_text(text + '  #\ny = "🏁" + = 1')
    # Ruff sees the text as it is: the sum without an end has twelve bytes before it.
    emacs.wait(
        lambda: (
            12
            in emacs.lisp(
                "(vconcat (mapcar (lambda (one)"
                " (lsp-get (lsp-get (lsp-get one :range) :end) :character))"
                " (lsp--get-buffer-diagnostics)))"
            )
        ),
        "ruff's diagnostic",
    )
    assert emacs.lisp(SERVERS.format("ruff"))


def test_one_server_for_all_projects(emacs: Emacs, tmp_path: Path) -> None:
    """A model takes much memory."""
    paths = []
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / ".git").mkdir(parents=True)
        paths.append(folder / f"{name}.py")
        paths[-1].write_text(SHAPES)
        emacs.open(paths[-1])
    emacs.type(BUFFER_END)
    emacs.type("    si")
    emacs.wait_ghost(REST)
    assert emacs.lisp("(length (lsp-stablecode--workspaces))") == 1
    added = emacs.messages("workspace/didChangeWorkspaceFolders")
    names = {one["name"] for event in added for one in event["event"]["added"]}
    assert {"one", "two"} <= names


def test_in_place_of_lsp_modes_own_mode(emacs: Emacs, emacs_project: Path) -> None:
    """Else each suggestion would be shown twice."""
    emacs.open_copy(emacs_project / "shapes.py")
    assert emacs.lisp("(fboundp 'lsp-inline-completion-mode)")
    assert emacs.lisp("lsp-stablecode-mode") is True
    emacs.lisp("(progn (lsp-unconfig-buffer) (lsp-configure-buffer) t)")
    assert not emacs.lisp("(bound-and-true-p lsp-inline-completion-mode)")
