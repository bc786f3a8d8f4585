"""Where the user edited lately, while lines move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lsp_stablecode.context.edits import EditedRegion, RecentEdits

_URI = "file:///a.py"
_CHANGES = st.lists(
    st.tuples(st.integers(0, 200), st.integers(0, 6), st.integers(0, 6)), max_size=12
)


def test_edits_far_apart_are_several_and_the_newest_is_first() -> None:
    """Two places are two regions; a third edit between them moves the lower one."""
    edits = RecentEdits()
    edits.note(_URI, 10, 10, 0)
    edits.note(_URI, 100, 101, 1)
    edits.note(_URI, 50, 50, 3)
    assert edits.regions == (
        EditedRegion(_URI, 50, 53),
        EditedRegion(_URI, 103, 105),
        EditedRegion(_URI, 10, 10),
    )


def test_adjacent_edits_become_one() -> None:
    """Typing line after line is one region."""
    edits = RecentEdits()
    for line in range(5, 10):
        edits.note(_URI, line, line, 1)
    assert edits.regions == (EditedRegion(_URI, 5, 10),)


def test_other_documents_stay_and_the_oldest_goes() -> None:
    """At most 16 regions are kept; a closed document's are forgotten."""
    edits = RecentEdits()
    for number in range(20):
        edits.note(f"file:///{number}.py", number, number, 0)
    assert len(edits.regions) == 16
    assert edits.regions[0].uri == "file:///19.py"
    edits.forget("file:///19.py")
    assert edits.regions[0].uri == "file:///18.py"


@given(_CHANGES)
def test_lines_move_as_in_the_text(changes: list[tuple[int, int, int]]) -> None:
    """What was edited is found where the text has it, however it moved since."""
    edits = RecentEdits()
    text = ["old"] * 300
    for number, (first, num_removed, num_new) in enumerate(changes):
        last = first + num_removed
        text[first : last + 1] = [f"edit {number}"] * (num_new + 1)
        edits.note(_URI, first, last, num_new - num_removed)
    edited = {line for line, one in enumerate(text) if one != "old"}
    covered = {
        line
        for one in edits.regions
        for line in range(one.first_line, one.last_line + 1)
    }
    # Regions are cut around the newest edit when they grow: no line too many far off.
    assert all(min(abs(line - one) for one in edited) <= 2 for line in covered)
    if changes:
        newest = [n for n, one in enumerate(text) if one == f"edit {len(changes) - 1}"]
        assert set(newest) <= covered
