"""Which chunks stand in the prompts, and that they stay there from key to key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_stablecode.context.chunks import Chunk
from lsp_stablecode.context.selection import (
    FAR_LINES,
    LEAST_REQUESTS_BETWEEN,
    Fitting,
    Look,
    Ranked,
    Selection,
)

_BELOW = "\nprint()\n"


def _chunk(name: str, file: str = "a", line: int = 0) -> Chunk:
    return Chunk(
        uri=f"file:///{file}.py",
        path=Path(f"/{file}.py"),
        language_id="python",
        first_line=line,
        last_line=line + 3,
        kind="signature",
        text=f"def {name}(): ...\n",
        names=(name,),
    )


CHUNKS = [_chunk(f"name_{n}", "abc"[n % 3], 10 * n) for n in range(12)]


def _update(
    selection: Selection,
    worth: dict[Chunk, float],
    line: int = 0,
    *,
    typed: str = "",
    below: str = _BELOW,
    explicit: bool = False,
    named: Sequence[Chunk] = (),
    gone: Sequence[Chunk] = (),
    budget: int = 60,
    window: str = "",
) -> list[str]:
    selection.update(
        Look(line, explicit, typed, below),
        rank=lambda: Ranked(worth, window),
        named=lambda: named,
        is_allowed=lambda chunk: chunk not in gone,
        fitting=Fitting(budget, lambda text: 5 if "(" in text else 1),
    )
    return [chunk.names[0] for chunk in selection.chunks]


def _worth(*best: int) -> dict[Chunk, float]:
    """Return a worth of 1 for some chunks, and of next to nothing for the others."""
    return {one: 1.0 if n in best else 0.01 for n, one in enumerate(CHUNKS)}


def test_the_first_choice_is_by_file_and_the_best_is_last() -> None:
    """The most relevant file stands nearest to the document; files are not mixed."""
    selection = Selection()
    worth = {CHUNKS[0]: 0.5, CHUNKS[4]: 1.0, CHUNKS[3]: 0.4, CHUNKS[1]: 0.9}
    names = _update(selection, worth)
    assert names == ["name_0", "name_3", "name_1", "name_4"]


@given(st.lists(st.integers(0, 11), min_size=1), st.integers(0, 99))
def test_a_typed_line_changes_nothing(best: list[int], line: int) -> None:
    """Whatever ranking would say, the chunks and their order stay."""
    selection = Selection()
    first = _update(selection, _worth(0, 1), line)
    for one in best:
        assert _update(selection, _worth(one), line, typed="na") == first


def test_typing_on_changes_only_for_a_clear_gain_and_not_often() -> None:
    """On the next lines the set is replaced where another is clearly worth more."""
    selection = Selection()
    first = _update(selection, _worth(0, 1, 2, 4, 5, 7), 0)
    for line in range(1, 30):
        worth = {**_worth(0, 1, 2, 4, 5, 7), CHUNKS[3]: 1.2}
        assert _update(selection, worth, line) == first
    changed = _update(selection, _worth(3, 4, 5), 30)
    assert changed != first
    for line in range(31, 31 + LEAST_REQUESTS_BETWEEN - 1):
        assert _update(selection, _worth(6, 7, 8), line) == changed
    assert _update(selection, _worth(6, 7, 8), 50) != changed


def test_after_a_move_chunks_are_added_at_the_end() -> None:
    """The text below changes then anyway, and what stands before it can stay."""
    selection = Selection()
    first = _update(selection, _worth(0, 1, 2), 0, budget=90)
    worth = _worth(0, 1, 2, 3)
    assert _update(selection, worth, 1, budget=90) == first
    added = _update(selection, worth, 2, below="\nother\n", budget=90)
    assert added == [*first, "name_3"]


def test_a_name_being_typed_is_added_once_in_a_line() -> None:
    """From three letters on, a definition that nothing shows is worth its tokens."""
    selection = Selection()
    first = _update(selection, _worth(0, 1), 0, budget=90)
    options = {"named": [CHUNKS[7]], "budget": 90}
    assert _update(selection, _worth(0), 0, typed="na", **options) == first
    selection.groups = [
        [one for one in group if one != CHUNKS[7]] for group in selection.groups
    ]
    worth = {CHUNKS[7]: 0.01}
    assert _update(selection, worth, 0, typed="xyz", named=[], budget=90) == first
    helped = _update(selection, worth, 0, typed="xyz", **options)
    assert helped == [*first, "name_7"]
    again = _update(
        selection, {CHUNKS[8]: 1}, 0, typed="abc", named=[CHUNKS[8]], budget=90
    )
    assert again == helped


def test_asked_by_hand_the_best_is_chosen() -> None:
    """But for what is as good, nothing is computed again."""
    selection = Selection()
    first = _update(selection, _worth(0, 1, 2), 0)
    assert _update(selection, _worth(0, 1, 2), 0, explicit=True) == first
    assert _update(selection, _worth(3, 4, 5), 0, explicit=True) != first


def test_far_away_it_is_chosen_anew() -> None:
    """A jump to another part of the document computes everything again anyway."""
    selection = Selection()
    first = _update(selection, _worth(0, 1, 2), 0)
    far = _update(selection, _worth(0, 1, 4), FAR_LINES + 1, below="\nfar\n")
    assert far != first


def test_what_is_gone_or_private_leaves_at_once() -> None:
    """A chunk that may not be shown any more is not shown once more."""
    selection = Selection()
    first = _update(selection, _worth(0, 1), 0)
    assert "name_1" in first
    assert "name_1" not in _update(selection, _worth(0, 1), 0, gone=[CHUNKS[1]])


def test_nothing_is_shown_twice() -> None:
    """Neither what the window holds, nor the same lines in another form."""
    whole = Chunk(
        uri="file:///a.py",
        path=Path("/a.py"),
        language_id="python",
        first_line=0,
        last_line=3,
        kind="lines",
        text="def name_0():\n    return 0\n",
        names=("name_0",),
    )
    worth = {CHUNKS[0]: 1.0, whole: 0.9, CHUNKS[1]: 0.8}
    names = _update(Selection(), worth, budget=200)
    assert sorted(names) == ["name_0", "name_1"]
    assert _update(Selection(), worth, budget=200, window=CHUNKS[0].text) == [
        "name_1",
        "name_0",
    ]


@given(
    st.lists(st.tuples(st.integers(0, 11), st.floats(0, 2)), max_size=12),
    st.integers(0, 200),
)
def test_never_more_than_the_budget(
    pairs: list[tuple[int, float]], budget: int
) -> None:
    """Whatever is chosen fits, and the same is chosen every time."""
    worth = {CHUNKS[n]: value for n, value in pairs}
    fitting = Fitting(budget, lambda text: len(text) // 3)
    groups = fitting.best(Ranked(worth, ""))
    assert fitting.fits(groups)
    assert groups == fitting.best(Ranked(dict(reversed(worth.items())), ""))


@pytest.mark.parametrize("budget", [20, 40])
def test_a_smaller_budget_chooses_anew(budget: int) -> None:
    """Another model, or a longer document, may leave less room."""
    selection = Selection()
    before = _update(selection, _worth(0, 1, 2, 3), budget=100)
    assert len(_update(selection, _worth(0, 1), budget=budget)) < len(before)
