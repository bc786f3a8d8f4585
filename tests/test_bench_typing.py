"""Typing at human speed: the typist, his places, and a short run at the echo.

Nothing here asserts how long anything takes.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_stablecode.bench import typing_strokes
from lsp_stablecode.bench.keys import Key
from lsp_stablecode.bench.report import OURS
from lsp_stablecode.bench.scripts import Script, standard_paths
from lsp_stablecode.bench.typing_habits import find_partners, indentation_unit
from lsp_stablecode.bench.typing_places import (
    choose_places,
    copy_work,
    find_region,
)
from lsp_stablecode.bench.typing_report import (
    typing_figures,
    typing_json,
    typing_summary,
    typing_totals,
)
from lsp_stablecode.bench.typing_run import Pressed, Sitting, TypingPlan, TypingRun
from lsp_stablecode.bench.typing_strokes import Stroke, make_strokes, median_gap_ms
from lsp_stablecode.bench.typing_typist import Press, Typist, count_keys
from lsp_stablecode.cli import main
from lsp_stablecode.errors import DocumentError
from lsp_stablecode.evaluation.client import start_server

PYTHON = Script(
    "shapes.py",
    "python",
    "import math\n\n\ndef area(shapes, unit):\n    ",
    "total = 0\n"
    "    for shape in shapes:\n"
    "        if shape.kind == 'circle':\n"
    "            total += math.pi * (shape.radius ** 2)\n"
    "\n"
    "    names = [\n"
    "        f\"it's {one['name']}\",  # :-)\n"
    "        call(a,\n"
    "             b),\n"
    "    ]\n"
    "    return {'total': total, \"names\": names}",
    "\n\n\nprint(area([], None))\n",
)
GO = Script(
    "main.go",
    "go",
    'package main\n\nfunc main() {\n\tprintln("hello")\n\t',
    "for i := 0; i < 10; i++ {\n"
    "\t\tif ok(i, []int{1, 2}) {\n"
    '\t\t\tprintln("a(b", i)\n'
    "\t\t}\n"
    "\t}\n"
    "\trun(func() {\n"
    "\t\treturn\n"
    "\t})",
    "\n}\n",
)
PLAIN = Stroke(150, "", 200, 400)


def plain_strokes(script: Script) -> list[Stroke]:
    return [PLAIN] * (len(script.typed) + 1)


class Paper:
    """A document that is told of keys as the server is."""

    def __init__(self, script: Script) -> None:
        self.text = script.before + script.after
        self.cursor = len(script.before)

    def press(self, press: Press) -> None:
        start = self.cursor - press.left
        self.text = (
            self.text[:start] + press.text + self.text[self.cursor + press.right :]
        )
        self.cursor = start + len(press.text) - press.behind + press.move


def written(
    script: Script, typist: Typist, offer: Callable[[Typist], None] | None = None
) -> tuple[str, list[Press]]:
    """Type all of a script; return the document's text and the keys."""
    paper = Paper(script)
    presses = []
    while not typist.is_done:
        presses.append(typist.press())
        paper.press(presses[-1])
        assert paper.text[paper.cursor :] == typist.pending + script.after
    return paper.text, presses


# --- strokes ------------------------------------------------------------------


def test_the_same_seed_gives_the_same_strokes() -> None:
    """A stroke for each character and one for the end; another seed, other ones."""
    strokes = make_strokes(PYTHON.typed, "1 shapes.py")
    assert strokes == make_strokes(PYTHON.typed, "1 shapes.py")
    assert strokes != make_strokes(PYTHON.typed, "2 shapes.py")
    assert len(strokes) == len(PYTHON.typed) + 1


def test_gaps_are_log_normal_about_their_medians() -> None:
    """Inner letters are the quickest, what follows a line end is the slowest."""
    text = "word words\n" * 3000
    strokes = make_strokes(text, "0")
    by_place: dict[str, list[float]] = {"\n": [], " ": [], "r": []}
    for before, stroke in zip(text, strokes[1:], strict=True):
        if before in by_place:
            by_place[before].append(stroke.gap_ms)
    for before, median_ms in (
        ("\n", typing_strokes.LINE_MS),
        (" ", typing_strokes.WORD_MS),
        ("r", typing_strokes.INNER_MS),
    ):
        # A pause now and then lifts the median a little.
        assert statistics.median(by_place[before]) == pytest.approx(median_ms, rel=0.1)
    short = [math.log(gap) for gap in by_place["r"] if gap < 900]
    assert statistics.stdev(short) == pytest.approx(typing_strokes.SPREAD, rel=0.1)
    assert 140 < median_gap_ms(make_strokes(standard_text(), "0")) < 170


def standard_text() -> str:
    return standard_paths()[0].read_text("utf-8")[:20_000]


def test_slips_and_pauses_are_as_frequent_as_meant() -> None:
    """Two letters of a hundred slip to a neighbour; three keys of a hundred wait."""
    strokes = make_strokes("abcdefghij" * 3000, "0")
    slips = [one.slip for one in strokes if one.slip]
    assert len(slips) / len(strokes) == pytest.approx(0.02, rel=0.15)
    assert all(one.isalpha() and len(one) == 1 for one in slips)
    pauses = sum(one.gap_ms > 1000 for one in strokes)
    assert pauses / len(strokes) == pytest.approx(0.03, rel=0.15)
    assert not any(one.slip for one in make_strokes("({[ ]})" * 500, "0"))


# --- the typist ---------------------------------------------------------------


@pytest.mark.parametrize("script", [PYTHON, GO], ids=lambda one: one.name)
@pytest.mark.parametrize("seed", ["plain", "0", "1", "2"])
def test_the_text_is_right_in_the_end(script: Script, seed: str) -> None:
    """Whatever the editor adds by itself, and with slips taken back."""
    strokes = (
        plain_strokes(script) if seed == "plain" else make_strokes(script.typed, seed)
    )
    text, presses = written(script, Typist(script, strokes))
    assert text == script.before + script.typed + script.after
    assert len(presses) == count_keys(script, strokes, len(script.typed))
    slips = sum(one.name == "slip" for one in presses)
    assert slips == sum(bool(one.slip) for one in strokes[:-1])


def test_keys_are_those_of_an_editor() -> None:
    """Closers come by themselves and are typed over; Enter indents and opens up."""
    _, presses = written(GO, Typist(GO, plain_strokes(GO)))
    brace = presses[GO.typed.index("{")]
    assert (brace.text, brace.behind) == ("{}", 1)
    enter = next(one for one in presses if one.name == "enter")
    # Between brackets: a line of its own, and the closer below it.
    assert (enter.text, enter.behind) == ("\n\t\t\n\t", 2)
    assert [one.name for one in presses].count("move") == 3
    assert Press("character", text='"', right=1) in presses
    names = {one.name for one in presses}
    assert names == {"character", "enter", "move"}


def test_indentation_is_taken_back_and_made_up() -> None:
    """Tab and Backspace go by levels; blanks fill up what is less."""
    script = Script(
        "a.py", "python", "def f():\n    ", "if x:\n        y\n    z(\n      1)", "\n"
    )
    text, presses = written(script, Typist(script, plain_strokes(script)))
    assert text == script.before + script.typed + script.after
    assert [one.left for one in presses if one.name == "backspace"] == [4, 2]
    enters = [one.text for one in presses if one.name == "enter"]
    assert enters == ["\n        ", "\n        ", "\n        \n    "]


def test_partners_are_of_code_and_of_short_strings() -> None:
    """No partner in a comment, in a string, or beyond the text."""
    script = Script("a.py", "python", "", 'f(x)  # (y)\n\'(\' + [\n"""("""', "\n]\n")
    partners = find_partners(script)
    assert {script.typed[one] for one in partners} == {"(", "'"}
    assert partners == {1: 3, 12: 14}


def test_a_level_of_indentation_is_what_the_file_uses() -> None:
    """Tabs, two blanks, or four where nothing is indented."""
    assert indentation_unit("a {\n\tb\n\t\tc\n}") == "\t"
    assert indentation_unit("a\n  b\n    c") == "  "
    assert indentation_unit("a\nb") == "    "


def at(script: Script, place: str) -> Typist:
    """Return a typist who has typed up to a place."""
    typist = Typist(script, plain_strokes(script))
    while typist.index < script.typed.index(place):
        typist.press()
    return typist


@pytest.mark.parametrize(
    ("place", "text", "part", "taken"),
    [
        ("for shape", "for shape in shapes:", "whole", "for shape in shapes:"),
        ("for shape", "for shape in", "whole", "for shape in"),
        (
            "for shape",
            "for shape in shapes:\n        pass",
            "line",
            "for shape in shapes:",
        ),
        ("shape in", "shape of", "word", "shape"),
        # Four characters are a key less than four saved, with the key that accepts.
        ("for shape", "for x in shapes", None, ""),
        ("shape in", "shap", None, ""),
        ("shape in", "shapes", None, ""),
        ("for shape", "while True:", None, ""),
        ("for shape", "", None, ""),
    ],
)
def test_what_is_right_and_long_enough_is_taken(
    place: str, text: str, part: str | None, taken: str
) -> None:
    """All of a suggestion, else the line, else the word; nothing that is wrong."""
    found = at(PYTHON, place).consider(text, 0)
    assert (found.part if found else None) == part
    assert (found.text if found else "") == taken
    if found is not None:
        assert found.keys_saved == len(taken) - 1


def test_closers_right_of_the_cursor_count() -> None:
    """A suggestion with closers is right only if it replaces those that are there."""
    typist = at(PYTHON, "shape.radius")
    assert typist.pending == ")"
    text = "shape.radius ** 2)"
    for wrong, num_replaced in ((text, 0), (text[:-1], 1), (text, 2)):
        word = typist.consider(wrong, num_replaced)
        assert word is not None
        assert (word.part, word.text, word.num_replaced) == ("word", "shape", 0)
    inner = typist.consider(text[:-1], 0)
    assert inner is not None
    assert inner.part == "whole"
    whole = typist.consider(text, 1)
    assert whole is not None
    assert whole.part == "whole"
    assert typist.accept(whole) == Press("accept", text=text, right=1)
    assert typist.pending == ""


def test_nobody_accepts_before_a_slip_is_taken_back() -> None:
    """What stands there is wrong, whatever is suggested after it."""
    slip = Stroke(150, "g", 200, 400)
    strokes = [slip, *plain_strokes(PYTHON)[1:]]
    typist = Typist(PYTHON, strokes)
    assert typist.press() == Press("slip", text="g")
    assert typist.gap_ms == 200
    assert typist.consider("total = 0", 0) is None
    assert typist.press() == Press("backspace", left=1)
    assert typist.gap_ms == 150
    assert typist.consider("total = 0", 0) is not None
    assert typist.press() == Press("character", text="t")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([PYTHON, GO]))
def test_no_suggestion_spoils_the_text(seed: int, script: Script) -> None:
    """Right ones and half right ones, with and without closers replaced."""
    chance = random.Random(seed)
    typist = Typist(script, make_strokes(script.typed, str(seed)))
    paper = Paper(script)
    while not typist.is_done:
        paper.press(typist.press())
        rest = script.typed[typist.index :][: chance.randint(0, 60)]
        text = rest + chance.choice(["", "", "zz", "\nzz", ")"])
        taken = typist.consider(text, chance.randint(0, 3))
        if taken is not None and not typist.is_done:
            paper.press(typist.accept(taken))
        assert paper.text[paper.cursor :] == typist.pending + script.after
    assert paper.text == script.before + script.typed + script.after


# --- places -------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Make a small tree of Python, with other things beside it."""
    body = "".join(f"    number_{n} = compute(number, {n})  \n" for n in range(24))
    for name in ("a/one.py", "a/two.py", "b/three.py", "b/c/four.py"):
        path = tmp_path / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f'"""{name}: {"some words " * 40}"""\n\n\ndef f(number):\n{body}\n'
        path.write_text(f"{text}\nF = f\n", "utf-8")
    (tmp_path / "work" / ".hidden.py").write_text("x = 1\n" * 500, "utf-8")
    (tmp_path / "work" / "readme.md").write_text("words\n" * 500, "utf-8")
    (tmp_path / "work" / "bad.py").write_bytes(b"\xff" * 3000)
    return tmp_path / "work"


def test_places_are_chosen_by_seed(work: Path) -> None:
    """One in a file, the same for the same seed, and as many as are needed."""
    folder, places = choose_places(
        work, language_id=None, seed=0, num_characters=100_000
    )
    assert folder == work
    assert len(places) == 4
    assert all(one.script.language_id == "python" for one in places)
    again = choose_places(work, language_id="python", seed=0, num_characters=1)[1]
    assert again == places[:1]
    orders = {
        choose_places(work, language_id=None, seed=seed, num_characters=1)[1][0].path
        for seed in range(12)
    }
    assert len(orders) > 1
    script = places[0].script
    assert not script.typed[0].isspace()
    assert script.typed.count("\n") == places[0].num_lines - 1 == 23
    assert "  \n" not in script.typed
    assert script.after.startswith("\n")


def test_related_files_are_the_nearest(work: Path) -> None:
    """Those of the same folder first, never the file itself."""
    _, places = choose_places(work, language_id=None, seed=0, num_characters=10**6)
    by_name = {one.path.name: one for one in places}
    assert by_name["one.py"].related[0].name == "two.py"
    assert by_name["four.py"].related[0].name == "three.py"
    assert all(one.path not in one.related for one in places)
    _, alone = choose_places(
        work / "a" / "one.py", language_id=None, seed=0, num_characters=1
    )
    assert [one.name for one in alone[0].related] == ["two.py"]


def test_copies_do_not_hold_what_is_typed(work: Path, tmp_path: Path) -> None:
    """Neither the files' own text on disk nor another place's neighbour shows it."""
    folder, places = choose_places(work, language_id=None, seed=0, num_characters=10**6)
    copy_work(folder, places[:2], tmp_path / "copy")
    names = {one.name for one in (tmp_path / "copy").rglob("*.py")}
    assert names == {"one.py", "two.py", "three.py", "four.py"}
    for place in places[:2]:
        copy = tmp_path / "copy" / place.path.relative_to(folder)
        assert copy.read_text("utf-8") == place.script.before + place.script.after
        assert place.script.typed.rpartition("\n")[2] not in copy.read_text("utf-8")


def test_a_region_is_a_body() -> None:
    """Six lines at least, forty at most; the blank lines at its end stay."""
    short = "def f():\n    a\n    b\n"
    assert find_region(short, random.Random(0)) is None
    body = "def f():\n" + "    a\n\n" * 10 + "\nx = 1\n"
    assert find_region(body, random.Random(0)) == (1, 20)
    long = "def f():\n" + "    a\n" * 100
    assert find_region(long, random.Random(0)) == (1, 41)


def test_nowhere_to_type_is_a_named_error(tmp_path: Path) -> None:
    """One sentence about the folder or file."""
    with pytest.raises(DocumentError, match="no source files"):
        choose_places(tmp_path, language_id=None, seed=0, num_characters=1)
    with pytest.raises(DocumentError, match="no rust files"):
        choose_places(tmp_path, language_id="rust", seed=0, num_characters=1)
    path = tmp_path / "short.py"
    path.write_text("x = 1\n", "utf-8")
    with pytest.raises(DocumentError, match="no block of 6"):
        choose_places(path, language_id=None, seed=0, num_characters=1)
    path.write_bytes(b"\xff")
    with pytest.raises(DocumentError, match="cannot be read"):
        choose_places(path, language_id=None, seed=0, num_characters=1)


# --- the run and its report ---------------------------------------------------


async def test_a_run_ends_with_the_text(work: Path) -> None:
    """Through the real server: every key told, every request's fate known."""
    _, places = choose_places(work, language_id=None, seed=0, num_characters=1)
    place = places[0]
    script = Script(
        place.script.name,
        "python",
        place.script.before,
        place.script.typed[:140].rstrip(),
        place.script.after,
    )
    async with start_server(["--model", "echo"], {"debounceMs": 0}) as server:
        await server.wait_until_ready()
        ticks: list[None] = []
        run = TypingRun(
            server.connection,
            TypingPlan(speed=20, num_keys=10_000),
            lambda: ticks.append(None),
        )
        await run.play(script, 5, place.path, place.related[:1])
    sitting = run.sittings[0]
    assert sitting.text == script.before + script.typed + script.after
    assert sitting.num_typed == len(script.typed)
    assert len(ticks) == len(sitting.pressed) <= sitting.num_plain_keys
    assert all(one.fate != "waiting" for one in sitting.pressed)
    assert any(one.answer is not None for one in sitting.pressed)
    for one in sitting.pressed:
        assert (one.taken is not None) == (one.name == "accept")
        if one.answer is not None:
            assert one.fate == "answered"


def test_totals_count_keys_requests_and_reuse() -> None:
    """Shares are of what they say they are of; JSON holds no text."""
    computed = Key(80.0, "computed", "shown", 200, 190, 6, 5, text="secret")
    through = Key(3.0, "type-through", "type-through", text="secret"[1:])
    nothing = Key(40.0, "nothing", "empty:blank")
    pressed = [
        Pressed("character", 1.0, "answered", computed),
        Pressed("character", 1.2, "answered", through),
        Pressed("enter", 1.4, "answered", nothing),
        Pressed("character", 1.6, "superseded"),
        Pressed("move", 1.8, "unasked"),
    ]
    script = Script("a.py", "python", "", "secret text", "\n")
    sitting = Sitting(script, 1, pressed, num_typed=8, num_plain_keys=10)
    before = {"outcomes": {"shown": 1}, "generations": {"forwards": 3}}
    after = {
        "outcomes": {"shown": 2, "type-through": 1, "superseded": 1},
        "generations": {"forwards": 13},
    }
    totals = typing_totals([sitting], before, after)
    assert totals["keys_saved_share"] == 0.5
    assert totals["requests"] == {
        "sent": 4,
        "answered": 3,
        "superseded": 1,
        "cancelled": 0,
        "late": 0,
        "waiting": 0,
    }
    assert totals["shown_share"] == 0.4
    assert totals["from_memory_share"] == pytest.approx(1 / 3)
    assert totals["reuse_median"] == totals["reuse_mean"] == 0.95
    assert totals["tokens_computed_a_key"] == 2
    assert totals["passes_a_key"] == 2
    assert totals["outcomes"] == {"shown": 1, "type-through": 1, "superseded": 1}
    figures = {one.key: one.samples[OURS].present for one in typing_figures([sitting])}
    assert figures["key"] == (80.0, 3.0)
    assert figures["key-memory"] == (3.0,)
    assert figures["key-computed"] == (80.0,)
    assert figures["reuse"] == (95.0,)
    assert figures["tokens-computed"] == (10,)
    data = json.dumps(typing_json([sitting]))
    assert "secret" not in data
    assert "50% saved" in typing_summary(totals)[0]


def test_nothing_typed_is_no_division(work: Path) -> None:
    """Without any key the sentences still stand."""
    status: dict[str, Any] = {"outcomes": {}, "generations": {}}
    totals = typing_totals([], status, status)
    assert "– saved" in typing_summary(totals)[0]


def test_from_the_command_line(work: Path, tmp_path: Path) -> None:
    """The table aside: JSON with every key, and a picture."""
    picture = tmp_path / "typing.svg"
    arguments = ["--model", "echo", "--speed", "40", "--keys", "90", "--seed", "3"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lsp_stablecode", "bench", "typing", str(work)),
            *arguments,
            *("--json", "-", "--picture", str(picture)),
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "90 keys" in done.stderr
    report = json.loads(done.stdout)
    assert report["model"]["model"] == "echo"
    assert report["settings"]["plan"]["speed"] == 40
    assert report["settings"]["learnFromUse"] is False
    totals = report["details"]["totals"]
    keys = [one for place in report["details"]["places"] for one in place["keys"]]
    assert totals["keys"] == len(keys) == 90
    assert totals["requests"]["waiting"] == 0
    assert {one["fate"] for one in keys} <= {
        "answered",
        "superseded",
        "cancelled",
        "late",
        "unasked",
    }
    assert "number_1" not in done.stdout
    ElementTree.parse(picture)


def test_a_missing_path_is_a_named_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, exit code 1."""
    missing = str(tmp_path / "nothing")
    assert main(["bench", "typing", missing, "--model", "echo"]) == 1
    assert "holds no source files" in capsys.readouterr().err
