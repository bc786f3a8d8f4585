"""Ghost text in a real Emacs with lsp-mode: typed with keys, seen on the screen."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from tests.editors.emacs import (
    BUFFER_END,
    GREY,
    LINE,
    NEXT,
    PREFIX,
    PREVIOUS,
    RETURN,
    TAB,
    UNDO,
    WORD,
    Emacs,
    StartEmacs,
)
from tests.editors.samples import SHAPES

pytest_plugins = ["tests.editors.emacs_fixtures"]
pytestmark = pytest.mark.editor

# Typing ``si`` at its end is answered with the line above and what follows it.
REST = "ze = width * height"
BLOCK = REST + '\n    print("the area is", size)\n    return size'


def test_typing_shows_grey_text_and_tab_inserts_it(
    emacs: Emacs, emacs_project: Path
) -> None:
    """The documented lines are all that it takes."""
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("    si")
    buffer = emacs.wait_ghost(REST)
    assert buffer.before == SHAPES + "    si"
    emacs.wait(lambda: REST in emacs.terminal.coloured(GREY).split("\n"), "it is grey")
    row, column = emacs.terminal.cursor
    assert emacs.terminal.text.split("\n")[row].strip() == "size = width * height"
    assert emacs.terminal.rows()[row][column].data == "z"
    emacs.type(TAB)
    emacs.wait_text(SHAPES + "    size = width * height")
    emacs.wait(
        lambda: [
            one
            for one in emacs.messages("workspace/executeCommand")
            if one["command"] == "lsp-stablecode.accepted"
        ],
        "the server hears of the acceptance",
    )
    shown = [one["item"] for one in emacs.messages("textDocument/didShowCompletion")]
    assert [one["insertText"] for one in shown if one["insertText"] == REST] == [REST]


def test_what_is_typed_as_suggested_is_taken_off_without_flicker(
    emacs: Emacs, emacs_project: Path
) -> None:
    """No request, and no moment in which the line is not whole."""
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("    si")
    emacs.wait_ghost(REST)
    requests = emacs.num_requests()
    with emacs.terminal.watched() as screens:
        for typed in range(1, 8):
            emacs.type_text(REST[typed - 1])
            emacs.wait_ghost(REST[typed:])
        emacs.type("\x7f")
        emacs.wait_ghost(REST[6:])
    assert emacs.num_requests() == requests
    assert screens
    for screen in screens:
        assert screen.count("    size = width * height") == 2, screen


def test_other_text_takes_the_suggestion_away(
    emacs: Emacs, emacs_project: Path
) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("    si")
    emacs.wait_ghost(REST)
    emacs.type_text("x")
    emacs.wait_ghost("pass")
    emacs.type("\x02")  # Left: a suggestion belongs to its place.
    emacs.wait_ghost("")


def test_undo_takes_back_one_acceptance(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.lisp('(lsp-stablecode-set :multiLine "always")')
    emacs.type("    si")
    emacs.wait_ghost(BLOCK)
    emacs.type(TAB)
    emacs.wait_text(SHAPES + "    si" + BLOCK)
    emacs.type(UNDO)
    emacs.wait_text(SHAPES + "    si")
    emacs.settle()
    assert emacs.buffer().ghost == ""


def test_words_and_lines_are_accepted_one_by_one(
    emacs: Emacs, emacs_project: Path
) -> None:
    """The rest stays on the screen; each is a step of undo and known to the server."""
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.lisp('(lsp-stablecode-set :multiLine "always")')
    emacs.type("    si")
    emacs.wait_ghost(BLOCK)
    requests = emacs.num_requests()
    texts = [SHAPES + "    si"]
    for keys, accepted in [
        (WORD, "ze"),
        (WORD, "ze = width"),
        (LINE, "ze = width * height"),
        (LINE, 'ze = width * height\n    print("the area is", size)'),
    ]:
        emacs.type(keys)
        assert emacs.wait_ghost(BLOCK[len(accepted) :]).text == texts[0] + accepted
        texts.append(texts[0] + accepted)
    # Behind a line that is whole the cursor stays there.
    whole = 'print("the area is", size)'
    emacs.wait(
        lambda: (
            emacs.terminal.text.split("\n")[emacs.terminal.cursor[0]].strip() == whole
        ),
        "the cursor is there",
    )
    method = "textDocument/didPartiallyAcceptCompletion"
    emacs.wait(lambda: len(emacs.messages(method)) >= 4, "the server hears of them")
    reported = emacs.messages(method)[-4:]
    assert [one["acceptedLength"] for one in reported] == [2, 10, 19, 50]
    assert {one["item"]["insertText"] for one in reported} == {BLOCK}
    for text in reversed(texts[:-1]):
        emacs.type(UNDO)
        emacs.wait_text(text)
    emacs.wait_ghost(BLOCK)
    assert emacs.num_requests() == requests
    for _ in range(3):
        emacs.type(LINE)
    emacs.wait_text(SHAPES + "    si" + BLOCK)


def test_the_last_word_is_the_whole_acceptance(
    emacs: Emacs, emacs_project: Path
) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("    size = width * h")
    emacs.wait_ghost("eight")
    emacs.type(WORD)
    emacs.wait_text(SHAPES + "    size = width * height")
    emacs.wait(
        lambda: (
            emacs.messages("workspace/executeCommand")[-1]["command"]
            == "lsp-stablecode.accepted"
        ),
        "the server hears of the acceptance",
    )


def test_tab_is_tab_where_nothing_is_shown(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("si")
    emacs.wait_ghost(REST)
    emacs.dismiss()
    assert emacs.wait_ghost("").text == SHAPES + "si"
    assert emacs.lisp('(key-binding (kbd "M-f"))') == "forward-word"
    assert emacs.lisp('(key-binding (kbd "C-g"))') == "keyboard-quit"
    emacs.type(TAB)  # Python mode indents.
    emacs.wait_text(SHAPES + "    si")


def test_return_types_through_a_line_end(emacs: Emacs, emacs_project: Path) -> None:
    """Emacs indents the new line as suggested, so the rest of the block stays."""
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.lisp('(lsp-stablecode-set :multiLine "always")')
    emacs.type("    size = width * heigh")
    emacs.wait_ghost(BLOCK[18:])
    requests = emacs.num_requests()
    emacs.type("t" + RETURN)
    emacs.wait_ghost('print("the area is", size)\n    return size')
    assert emacs.num_requests() == requests


def test_asked_by_hand_there_are_others(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.lisp("(setq lsp-stablecode-automatic nil)")
    emacs.type_text("    si")
    emacs.settle()
    assert emacs.buffer().ghost == ""
    emacs.type(PREFIX + "+")
    emacs.wait_ghost(REST)
    emacs.type(NEXT)
    emacs.wait_ghost("pass")
    assert "Suggestion 2 of 3" in emacs.terminal.text
    emacs.type(NEXT)
    emacs.wait_ghost("return")
    emacs.type(NEXT)
    emacs.wait_ghost(REST)
    emacs.type(PREVIOUS)
    emacs.wait_ghost("return")
    emacs.type(TAB)
    emacs.wait_text(SHAPES + "    sireturn")


def test_next_asks_for_more_where_there_is_one(
    emacs: Emacs, emacs_project: Path
) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("    si")
    emacs.wait_ghost(REST)
    emacs.type(NEXT)
    emacs.wait_ghost("pass")


def test_nothing_is_left_in_another_window(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("\x183")  # C-x 3: the buffer in two windows
    emacs.type("    si")
    emacs.wait_ghost(REST)
    emacs.wait(lambda: REST in emacs.terminal.coloured(GREY), "it is grey")
    assert emacs.terminal.coloured(GREY).count(REST) == 1
    emacs.type("\x18o")
    emacs.wait_ghost("")
    emacs.lisp('(progn (switch-to-buffer "*scratch*") t)')
    assert emacs.lisp('(key-binding (kbd "TAB"))') == "indent-for-tab-command"


def test_commands_find_it_by_name_too(emacs: Emacs, emacs_project: Path) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("    si")
    emacs.wait_ghost(REST)
    emacs.command("lsp-stablecode-accept-line")
    emacs.wait_text(SHAPES + "    si" + REST)


def test_an_edit_by_something_else_takes_it_away(
    emacs: Emacs, emacs_project: Path
) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("    si")
    emacs.wait_ghost(REST)
    emacs.lisp('(save-excursion (goto-char (point-min)) (insert "# ") t)')
    assert emacs.buffer().ghost == ""


def test_it_goes_when_point_goes_back_into_it(
    emacs: Emacs, emacs_project: Path
) -> None:
    """What was typed of it is the user's own, in another window, too."""
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("    si")
    emacs.wait_ghost(REST)
    emacs.type("\x183\x18o")  # C-x 3, C-x o: here is another window's point.
    emacs.wait(
        lambda: emacs.lisp("(length (get-buffer-window-list))") == 2, "two windows"
    )
    emacs.type("z")
    emacs.wait_ghost(REST[1:])
    emacs.type("\x18o")
    emacs.wait_ghost("")
    emacs.type("\x18o")
    emacs.type_text("e")
    emacs.wait_ghost(REST[2:])
    emacs.type("\x02")
    emacs.wait_ghost("")


def test_keys_are_others_where_nothing_can_be_inserted(
    emacs: Emacs, emacs_project: Path
) -> None:
    emacs.open_copy(emacs_project / "shapes.py")
    for switch, is_on in [
        ("\x18\x11", "buffer-read-only"),
        ("\x1bxoverwrite-mode\r", "overwrite-mode"),
    ]:
        emacs.type("    si")
        emacs.wait_ghost(REST)
        emacs.type(switch)
        emacs.wait(lambda variable=is_on: emacs.lisp(f"(and {variable} t)"), is_on)
        emacs.wait_ghost("")
        assert emacs.lisp('(key-binding (kbd "TAB"))') == "indent-for-tab-command"
        emacs.type(switch)
        emacs.wait(lambda variable=is_on: not emacs.lisp(variable), "off again")
        emacs.type("\x01\x0b")


def test_a_clone_has_suggestions_of_its_own(emacs: Emacs, emacs_project: Path) -> None:
    """And nothing of what was shown when it was made, which would stay there."""
    emacs.open_copy(emacs_project / "shapes.py")
    name = emacs.buffer().name
    emacs.type("    si")
    emacs.wait_ghost(REST)
    emacs.type("\x184c")  # C-x 4 c
    emacs.wait(lambda: emacs.buffer().name != name, "the clone")
    emacs.wait_ghost("")
    emacs.type_text("z")
    emacs.wait_ghost(REST[1:])
    emacs.type(TAB)
    emacs.wait_text(SHAPES + "    size = width * height")
    emacs.type("\x18o")
    emacs.wait(lambda: emacs.buffer().name == name, "the first buffer")
    assert REST not in emacs.buffer().ghost
    emacs.type(BUFFER_END + RETURN)
    emacs.type_text("si")
    emacs.wait_ghost(REST)
    emacs.type(TAB)
    line = "    size = width * height"
    emacs.wait_text(SHAPES + line + "\n" + line)
    emacs.lisp("(progn (kill-buffer (other-buffer)) t)")


def test_keyboard_macros_have_no_suggestions(emacs: Emacs, emacs_project: Path) -> None:
    """Else keys would be recorded that do something else when they are replayed."""
    emacs.open_copy(emacs_project / "shapes.py")
    emacs.type("si")
    emacs.wait_ghost(REST)
    emacs.type("\x18(")  # C-x (
    emacs.wait_ghost("")
    requests = emacs.num_requests()
    emacs.type(TAB)
    emacs.wait_text(SHAPES + "    si")
    emacs.type_text("z")
    emacs.settle()
    assert emacs.num_requests() == requests
    emacs.type(PREFIX + "+")
    emacs.wait(lambda: "No suggestions in keyboard" in emacs.terminal.text, "it says")
    emacs.type("\x18)")
    emacs.wait(lambda: not emacs.lisp("defining-kbd-macro"), "the macro is defined")
    emacs.type("e")
    emacs.wait_ghost(REST[2:])


def test_the_starter_model_suggests(start_emacs: StartEmacs, tmp_path: Path) -> None:
    path = tmp_path / "fibonacci.py"
    text = 'def fibonacci(n: int) -> int:\n    """Return the n-th number."""\n'
    path.write_text(text + "    if n < 2:\n        return n\n")
    emacs = start_emacs(
        model="starter",
        file=path,
    )
    emacs.wait_ready("fibonacci.py")
    emacs.type(BUFFER_END)
    emacs.type("    return fib")
    emacs.wait(lambda: emacs.buffer().ghost.startswith("onacci(n"), "a suggestion")
    ghost = emacs.buffer().ghost
    emacs.type(TAB)
    emacs.wait(
        lambda: emacs.buffer().before.endswith("    return fib" + ghost), "accepted"
    )


def test_the_client_adds_little_time(
    start_emacs: StartEmacs, emacs_project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a key to the grey text, less what the server takes: milliseconds."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    path = emacs_project / "lines.py"
    path.write_text("".join(f"{one}_name = compute({one})\n" for one in letters))
    emacs = start_emacs(file=path)
    emacs.wait_ready("lines.py")
    emacs.type(BUFFER_END)
    added_ms = []
    for letter in letters:
        emacs.type("\x01\x0b")
        emacs.wait(lambda: emacs.lisp("(and (bolp) (eolp))"), "an empty line")
        emacs.settle()
        pressed = time.perf_counter()
        emacs.type(letter)

        def is_shown(line: str = f"{letter}_name = compute({letter})") -> bool:
            row, _ = emacs.terminal.cursor
            return emacs.terminal.text.split("\n")[row].strip() == line

        shown = emacs.wait(is_shown, "the suggestion")
        emacs.settle()
        asked = emacs.exchanges()[-1]
        assert pressed < asked.asked_s < asked.answered_s < shown
        added_ms.append(1000 * (asked.asked_s - pressed + shown - asked.answered_s))
    median_ms = statistics.median(added_ms)
    with capsys.disabled():
        print(f"\n  Emacs adds {median_ms:.1f} ms from key to ghost text (median)")
    assert len(added_ms) > 20
    assert median_ms < 150
