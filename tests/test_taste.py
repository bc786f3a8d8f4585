"""What this user accepts moves what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsp_stablecode.outcome import Outcome
from lsp_stablecode.postprocess import Finished
from lsp_stablecode.shape import decide_shape
from lsp_stablecode.taste import Taste


def _outcome(confidence: float, name: str = "shown", origin: str = "") -> Outcome:
    shape = decide_shape("x = ", "\n", "python", "auto")
    shown = (Finished("1", confidence=confidence, origin=origin),)
    return Outcome(name, shown if name == "shown" else (), shape=shape)


class Clock:
    """Time that passes when a test says so."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def taste(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Taste:
    monkeypatch.setenv("LSP_STABLECODE_STATE", str(tmp_path))
    return Taste(learns=True, clock=clock)


def _answer(taste: Taste, clock: Clock, *args: object, seen_s: float = 1.0) -> None:
    outcome, number = args
    taste.note_outcome(outcome, number, explicit=False)  # type: ignore[arg-type]
    clock.now_s += seen_s
    taste.note_edit()


def test_an_editor_that_says_what_it_shows_is_believed(
    taste: Taste, clock: Clock
) -> None:
    """What it does not mention was not seen; what it does is, from then on."""
    before = taste.thresholds(None)
    taste.note_shown("another")
    for number in range(60):
        _answer(taste, clock, _outcome(0.12), number)
    assert taste.thresholds(None) == before
    for number in range(60):
        taste.note_outcome(_outcome(0.12), 100 + number, explicit=False)
        clock.now_s += 5.0
        taste.note_shown(f"{100 + number}.0")
        clock.now_s += 0.1
        taste.note_edit()
    assert taste.thresholds(None) == before
    for number in range(60):
        taste.note_outcome(_outcome(0.12), 200 + number, explicit=False)
        taste.note_shown(f"{200 + number}.0")
        clock.now_s += 1.0
        taste.note_edit()
    assert taste.thresholds(None).line > before.line


def test_what_is_never_accepted_falls_silent(
    taste: Taste, clock: Clock, tmp_path: Path
) -> None:
    """The threshold rises over unsure suggestions that nobody takes, and is kept."""
    before = taste.thresholds(None)
    for number in range(60):
        _answer(taste, clock, _outcome(0.12), number)
        _answer(taste, clock, _outcome(0.9), 1000 + number)
        taste.note_accepted(f"{1000 + number}.0", in_part=False)
    assert taste.thresholds(None).line > before.line
    assert taste.thresholds(0.3).line == 0.3
    taste.close()
    assert Taste(learns=True).thresholds(None).line > before.line
    assert Taste(learns=False).thresholds(None) == before
    kept = "".join(one.read_text("utf-8") for one in tmp_path.glob("*.json"))
    assert kept.startswith("{")
    assert "x = " not in kept


def test_silence_is_tried_again_now_and_then(taste: Taste, clock: Clock) -> None:
    """After some silences an unsure suggestion is let through, once."""
    usual = taste.thresholds(None)
    for number in range(25):
        _answer(taste, clock, _outcome(0, "empty:unsure"), number)
    assert taste.thresholds(None).line < usual.line
    _answer(taste, clock, _outcome(0.9), 100)
    _answer(taste, clock, _outcome(0, "empty:line"), 101)
    assert taste.thresholds(None).line < usual.line, "that one was no test"
    _answer(taste, clock, _outcome(0.025), 102)
    _answer(taste, clock, _outcome(0, "empty:line"), 103)
    assert taste.thresholds(None) == usual


def test_what_nobody_could_see_is_not_counted(taste: Taste, clock: Clock) -> None:
    """Somebody who types on at once has not decided against anything."""
    before = taste.thresholds(None)
    for number in range(200):
        _answer(taste, clock, _outcome(0.12), number, seen_s=0.2)
    assert taste.thresholds(None) == before


def test_typing_a_suggestion_is_taking_it(taste: Taste, clock: Clock) -> None:
    """Each key of it is another answer, of one suggestion that was shown once."""
    before = taste.thresholds(None)
    for number in range(0, 3000, 100):
        origin = f"{number}.0"
        _answer(taste, clock, _outcome(0.12), number, seen_s=0.2)
        for key in range(1, 20):
            rest = _outcome(0.12, origin=origin)
            _answer(taste, clock, rest, number + key, seen_s=0.2)
    assert taste.thresholds(None).line <= before.line
