"""The memory of suggestions: found again by text, and never wrongly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lsp_stablecode.suggestions import Suggested, SuggestionMemory

_URI = "file:///a.py"
_HEAD = "import os\n\ndef area(width):\n    ret"
_TAIL = "\n\nprint(area(2))\n"
_TEXT = st.text(st.sampled_from("ab(\n é😀"), min_size=1, max_size=30)


def _remember(
    text: str, head: str = _HEAD, tail: str = _TAIL, **options: int
) -> SuggestionMemory:
    memory = SuggestionMemory()
    suggested = (Suggested(text, "line"),) if text else ()
    memory.remember(_URI, head, tail, suggested, options.get("num_candidates", 1))
    return memory


@given(text=_TEXT, data=st.data(), above=st.integers(0, 3))
def test_typing_any_beginning_leaves_the_rest(
    text: str, data: st.DataObject, above: int
) -> None:
    """Whatever part was typed, the rest is known, also after edits far above."""
    head = "# far above\n" * 60 + _HEAD
    memory = _remember(text, head)
    typed = data.draw(st.integers(0, len(text) - 1))
    known = memory.recall(_URI, "new\n" * above + head + text[:typed], _TAIL)
    assert known is not None
    assert [one.text for one in known.rest] == [text[typed:]]
    assert known.num_typed == typed


@given(removed=st.integers(1, 7))
def test_backspacing_before_it_puts_the_removed_in_front(removed: int) -> None:
    """What was taken back on the line stands before the suggestion."""
    known = _remember("urn 1").recall(_URI, _HEAD[:-removed], _TAIL)
    assert known is not None
    assert known.rest[0].text == _HEAD[-removed:] + "urn 1"
    assert known.num_typed == -removed


def test_backspacing_does_not_cross_the_line() -> None:
    """A suggestion belongs to its line: the line above is another place."""
    assert _remember("urn 1").recall(_URI, "import os\n\ndef area(width):", _TAIL) is (
        None
    )


def test_other_text_is_unknown() -> None:
    """A key that diverges, another line above, another text below: ask the model."""
    memory = _remember("urn 1")
    assert memory.recall(_URI, _HEAD + "x", _TAIL) is None
    assert memory.recall(_URI, _HEAD.replace("area", "size"), _TAIL) is None
    assert memory.recall(_URI, _HEAD, "\nelse\n") is None
    assert memory.recall("file:///b.py", _HEAD, _TAIL) is None


def test_the_whole_suggestion_typed_is_news() -> None:
    """After accepting everything the model is asked for what comes next."""
    assert _remember("urn 1").recall(_URI, _HEAD + "urn 1", _TAIL) is None


def test_a_closer_added_by_the_editor_is_no_change() -> None:
    """Typing ``(`` brings ``)`` in most editors; the suggestion still fits."""
    known = _remember("urn f(x)").recall(_URI, _HEAD + "urn f(", ")" + _TAIL)
    assert known is not None
    assert known.rest[0].text == "x)"


def test_silence_is_known_only_for_the_same_text() -> None:
    """An empty answer is repeated only where nothing at all has changed."""
    memory = _remember("")
    known = memory.recall(_URI, _HEAD, _TAIL)
    assert known is not None
    assert known.rest == ()
    assert memory.recall(_URI, "# new\n" + _HEAD, _TAIL) is None


def test_the_suggestion_of_this_very_place_wins() -> None:
    """Not the newest one counts but the one made for the same text."""
    memory = _remember("urn width")
    memory.remember(_URI, _HEAD + "u", _TAIL, (Suggested("nless", "line"),), 1)
    exact = memory.recall(_URI, _HEAD, _TAIL)
    typed = memory.recall(_URI, _HEAD + "u", _TAIL)
    assert exact is not None
    assert typed is not None
    assert exact.rest[0].text == "urn width"
    assert typed.rest[0].text == "nless"


def test_memory_is_bounded() -> None:
    """The oldest documents' suggestions go, and ``clear`` leaves nothing."""
    memory = _remember("urn 1")
    for number in range(100):
        memory.remember(f"file:///{number}", "a", "b", (Suggested("c", "line"),), 1)
    assert memory.recall(_URI, _HEAD, _TAIL) is None
    assert memory.recall("file:///99", "a", "b") is not None
    memory.clear()
    assert memory.recall("file:///99", "a", "b") is None
