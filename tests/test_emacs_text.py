"""Ghost text in Emacs beside what else a buffer holds: files, brackets, menus."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.editors.emacs import (
    LINE,
    SAVE,
    TAB,
    UNDO,
    WORD,
    Emacs,
)
from tests.editors.samples import EMOJI, NUM_LONG_LINES, SHAPES

pytest_plugins = ["tests.editors.emacs_fixtures"]
pytestmark = pytest.mark.editor

# Typing ``si`` at its end is answered with the line above and what follows it.
REST = "ze = width * height"
BLOCK = REST + '\n    print("the area is", size)\n    return size'


def test_crlf_stays_crlf(emacs: Emacs, emacs_project: Path) -> None:
    path = emacs.open_copy(emacs_project / "crlf.py")
    emacs.lisp('(lsp-stablecode-set :multiLine "always")')
    emacs.type("    si")
    emacs.wait_ghost(BLOCK)
    emacs.type(TAB)
    emacs.wait_text(SHAPES + "    si" + BLOCK)
    emacs.type(SAVE)
    whole = (SHAPES + "    si" + BLOCK).replace("\n", "\r\n").encode()
    emacs.wait(lambda: path.read_bytes().startswith(whole), "the file is written")
    assert re.search(rb"(?<!\r)\n", path.read_bytes()) is None


def test_emoji_before_the_cursor(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "emoji.py")
    emacs.type('print("🏁 👩‍👩‍👧 fi')
    buffer = emacs.wait_ghost('rst", flag)')
    assert buffer.before == EMOJI + 'print("🏁 👩‍👩‍👧 fi'
    emacs.type(WORD)
    emacs.wait_ghost('", flag)')
    emacs.type(TAB)
    emacs.wait_text(EMOJI + EMOJI.splitlines()[1])


def test_accepted_lengths_are_in_utf_16(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "emoji.py")
    emacs.type("print(")
    emacs.wait_ghost('"🏁 👩‍👩‍👧 first", flag)')
    whole = emacs.buffer()
    emacs.type(WORD)
    emacs.wait(lambda: emacs.buffer().ghost != whole.ghost, "a word is accepted")
    accepted = emacs.buffer().before.removeprefix(whole.before)
    assert "🏁" in accepted
    reported = emacs.messages("textDocument/didPartiallyAcceptCompletion")[-1]
    assert reported["acceptedLength"] == len(accepted.encode("utf-16-le")) // 2


def test_words_are_those_of_subword_mode(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py", "")
    emacs.lisp("(progn (subword-mode 1) t)")
    emacs.show(("fooBarBaz = 1", 0))
    emacs.type(WORD)
    emacs.wait_ghost("BarBaz = 1")


def test_tabs_stay_tabs(emacs: Emacs, emacs_project: Path) -> None:
    """A line of a makefile, whose mode would insert a tab where nothing is shown."""
    text = "all:\n\tcc -o all all.c\n\techo done\n\nclean:\n"
    emacs.open_copy(emacs_project / "Makefile.mk", text)
    emacs.type("\x11\t")  # C-q TAB
    emacs.type_text("")
    emacs.type("cc ")
    emacs.wait_ghost("-o all all.c")
    emacs.type(TAB)
    emacs.wait_text(text + "\tcc -o all all.c")


def test_a_long_file(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "long.py")
    emacs.type("tot")
    buffer = emacs.wait_ghost("al = sum(range(10))")
    assert buffer.text.count("\n") == NUM_LONG_LINES
    emacs.type(TAB)
    emacs.wait(
        lambda: emacs.buffer().text.endswith("\ntotal = sum(range(10))"), "accepted"
    )


def test_brackets_that_emacs_closes_are_not_doubled(
    emacs: Emacs, emacs_project: Path
) -> None:
    text = "def area(w, h):\n    return w * h\n\n\nshow(area(3, 4), [1])\n"
    emacs.open_copy(emacs_project / "calls.py", text)
    emacs.lisp("(progn (electric-pair-mode 1) t)")
    try:
        emacs.type("show(")
        buffer = emacs.wait_ghost("area(3, 4), [1])")
        assert buffer.text == text + "show()"
        # On the screen, too, the closing bracket is there once.
        emacs.wait(
            lambda: emacs.terminal.text.count("show(area(3, 4), [1])\n") == 2,
            "it is not doubled",
        )
        emacs.type("area(")
        buffer = emacs.wait_ghost("3, 4), [1])")
        assert (buffer.before, buffer.after) == (text + "show(area(", "))")
        emacs.type("3, 4)")
        buffer = emacs.wait_ghost(", [1])")
        assert (buffer.before, buffer.after) == (text + "show(area(3, 4)", ")")
        emacs.type(WORD)
        buffer = emacs.wait_ghost("])")
        assert (buffer.before, buffer.after) == (text + "show(area(3, 4), [1", ")")
        emacs.type(TAB)
        assert emacs.wait_text(text + "show(area(3, 4), [1])").after == ""
        emacs.type(UNDO)
        assert emacs.wait_text(text + "show(area(3, 4), [1)").after == ")"
    finally:
        emacs.lisp("(progn (electric-pair-mode -1) t)")


def test_with_a_menu_of_company(emacs: Emacs, emacs_project: Path) -> None:
    """The menu's keys come first; below it there is one line of the suggestion."""
    text = SHAPES + "    sizes = width\n"
    emacs.open_copy(emacs_project / "shapes.py", text)
    emacs.lisp(
        "(progn (require 'company) (setq-local lsp-completion-provider :none"
        " company-backends '(company-dabbrev-code) company-idle-delay 0"
        " company-minimum-prefix-length 2 company-dabbrev-code-everywhere t)"
        ' (lsp-stablecode-set :multiLine "always") (company-mode 1) t)'
    )
    try:
        emacs.type("    si")
        emacs.wait(lambda: emacs.lisp("company-candidates") is not None, "the menu")
        emacs.wait_ghost("zes = width")
        below = r"    sizes = width\n +sizes = width\n +size *\n +sizes *\n"
        emacs.wait(lambda: re.search(below, emacs.terminal.text), "both on the screen")
        emacs.type(WORD)  # Ours: the menu has no such key.
        emacs.wait_ghost(" = width")
        emacs.type(UNDO)
        emacs.wait_ghost("zes = width")
    finally:
        emacs.lisp("(progn (company-mode -1) t)")


def test_with_the_menu_of_emacs(emacs: Emacs, emacs_project: Path) -> None:
    """While completion-at-point lists its candidates, TAB is its own."""
    emacs.open_copy(emacs_project / "shapes.py", SHAPES + "    sizes = width\n")
    emacs.lisp(
        "(progn (setq-local completion-at-point-functions (list (lambda ()"
        ' (list (save-excursion (skip-syntax-backward "w") (point)) (point)'
        ' \'("sizable" "sizes"))))) t)'
    )
    emacs.type("    si")
    emacs.wait_ghost("zes = width")
    emacs.type("\x1b\t")  # C-M-i
    assert emacs.wait_ghost("es = width").before.endswith("    siz")
    emacs.type("\x1b\t")
    emacs.wait(lambda: "sizable" in emacs.terminal.text, "the candidates")
    emacs.wait(lambda: emacs.lisp("completion-in-region-mode"), "the menu is open")
    assert emacs.lisp('(key-binding (kbd "TAB"))') != "lsp-stablecode-accept"
    assert emacs.lisp('(key-binding (kbd "M-f"))') == "lsp-stablecode-accept-word"
    emacs.type(LINE)
    emacs.wait_text(SHAPES + "    sizes = width\n    sizes = width")
