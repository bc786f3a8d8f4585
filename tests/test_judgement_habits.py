from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_stablecode.judgement.counts import (
    MOST_SHOWN,
    NUM_BUCKETS,
    Counts,
    CountsError,
    bucket_of,
    middle_of,
    read_counts,
)
from lsp_stablecode.judgement.habits import (
    HIGHEST_THRESHOLD,
    LOWEST_THRESHOLD,
    Habits,
)
from lsp_stablecode.judgement.habits_file import HabitsFile, state_directory


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def show(
    habits: Habits, confidence: float, number: int, accepted: int, start: int = 0
) -> None:
    for index in range(start, start + number):
        habits.note_shown(f"{confidence}-{index}", confidence, "line")
        if index - start < accepted:
            habits.note_accepted(f"{confidence}-{index}")


# --- the threshold --------------------------------------------------------------------


def test_the_default_holds_until_something_is_known() -> None:
    habits = Habits()
    assert habits.threshold(0.13, "line") == 0.13
    show(habits, 0.17, 19, 0)
    assert habits.threshold(0.13, "line") == 0.13


def test_what_is_never_accepted_is_silenced() -> None:
    habits = Habits()
    show(habits, 0.17, 60, 0)
    assert habits.threshold(0.12, "line") == 0.2
    assert habits.threshold(0.12, "block") == 0.12
    show(habits, 0.25, 100, 0)
    assert habits.threshold(0.12, "line") == 0.3


def test_what_is_well_accepted_is_shown() -> None:
    habits = Habits()
    show(habits, 0.12, 30, 10)
    assert habits.threshold(0.2, "line") == 0.1
    show(habits, 0.03, 30, 10)
    assert habits.threshold(0.2, "line") == LOWEST_THRESHOLD


def test_one_acceptance_in_twenty_lowers_nothing() -> None:
    habits = Habits()
    show(habits, 0.12, 20, 1)
    assert habits.threshold(0.2, "line") == 0.2


def test_the_threshold_has_an_upper_end() -> None:
    habits = Habits()
    for confidence in (0.03, 0.07, 0.12, 0.17, 0.25, 0.35, 0.45, 0.6, 0.9):
        show(habits, confidence, 300, 0)
    assert habits.threshold(0.1, "line") == HIGHEST_THRESHOLD


def test_a_welcome_bucket_ends_the_silence() -> None:
    habits = Habits()
    show(habits, 0.12, 60, 30)
    show(habits, 0.35, 200, 0)
    assert habits.threshold(0.1, "line") <= 0.1


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 80), st.floats(0, 1)), max_size=12
    ),
    st.floats(LOWEST_THRESHOLD, HIGHEST_THRESHOLD),
)
def test_the_threshold_keeps_to_its_range(
    history: list[tuple[float, int, float]], default: float
) -> None:
    habits = Habits()
    for index, (confidence, number, share) in enumerate(history):
        show(habits, confidence, number, int(share * number), start=index * 1000)
    assert LOWEST_THRESHOLD <= habits.threshold(default, "line") <= HIGHEST_THRESHOLD


def test_a_part_and_typing_count_half() -> None:
    whole, half = Habits(), Habits()
    for index in range(40):
        for habits in (whole, half):
            habits.note_shown(str(index), 0.12, "line")
        if index < 6:
            whole.note_accepted(str(index))
            half.note_accepted(str(index), in_part=True)
        elif index < 8:
            half.note_typed_through(str(index))
    assert whole.threshold(0.2, "line") == 0.1
    assert half.threshold(0.2, "line") == 0.2


# --- one suggestion -------------------------------------------------------------------


def counted(habits: Habits, tmp_path: Path) -> dict[str, float]:
    habits.close()
    data = json.loads((tmp_path / "habits.json").read_text())
    return {what: sum(row) for what, row in data["counts"]["line"].items()}


def test_a_suggestion_counts_once_and_becomes_one_thing(tmp_path: Path) -> None:
    habits = Habits(HabitsFile(tmp_path))
    habits.note_shown("1.0", 0.4, "line", origin="a")
    habits.note_shown("2.0", 0.6, "line", origin="a")
    habits.note_accepted("2.0", in_part=True)
    habits.note_typed_through("1.0")
    habits.note_accepted("1.0")
    habits.note_accepted("1.0")
    habits.note_accepted("nobody knows")
    assert counted(habits, tmp_path) == {
        "shown": 1,
        "accepted": 1,
        "accepted_in_part": 0,
        "typed_through": 0,
    }


def test_memory_of_what_may_be_accepted_is_bounded(tmp_path: Path) -> None:
    habits = Habits(HabitsFile(tmp_path))
    for index in range(1000):
        habits.note_shown(f"{index}", 0.4, "line", origin=f"origin {index}")
    habits.note_accepted("0")
    habits.note_accepted("999")
    assert len(habits._shown) <= 256
    assert counted(habits, tmp_path)["accepted"] < 1  # one, halved by now


def test_once_in_a_while_an_unsure_one_is_shown() -> None:
    habits = Habits()
    for _ in range(20):
        assert not habits.explores
        habits.note_suppressed()
    assert habits.explores
    habits.note_shown("1", 0.9, "line")
    assert habits.explores
    habits.note_shown("2", 0.04, "line", explored=True)
    assert not habits.explores


# --- the file -------------------------------------------------------------------------


def test_the_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSP_STABLECODE_STATE", str(tmp_path / "a b"))
    assert state_directory() == tmp_path / "a b"
    monkeypatch.delenv("LSP_STABLECODE_STATE")
    assert "lsp-stablecode" in str(state_directory())


def test_habits_are_kept_in_a_plain_file_without_text(tmp_path: Path) -> None:
    habits = Habits(HabitsFile(tmp_path / "new" / "folder"))
    habits.note_shown("file:///secret/path.py", 0.17, "line", origin="password = 1")
    habits.close()
    path = tmp_path / "new" / "folder" / "habits.json"
    text = path.read_text()
    assert "secret" not in text
    assert "password" not in text
    data = json.loads(text)
    assert data["counts"]["line"]["shown"][bucket_of(0.17)] == 1
    assert sorted(one.name for one in path.parent.iterdir()) in (
        ["habits.json"],
        ["habits.json", "habits.lock"],
    )


def test_habits_outlive_the_server(tmp_path: Path) -> None:
    first = Habits(HabitsFile(tmp_path))
    show(first, 0.17, 60, 0)
    first.close()
    assert Habits(HabitsFile(tmp_path)).threshold(0.1, "line") == 0.2


def test_it_is_written_now_and_then(tmp_path: Path) -> None:
    clock = Clock()
    habits = Habits(HabitsFile(tmp_path), clock=clock)
    habits.note_shown("1", 0.4, "line")
    assert not (tmp_path / "habits.json").exists()
    clock.now = 31
    habits.note_shown("2", 0.4, "line")
    assert (tmp_path / "habits.json").exists()


def test_nothing_is_written_where_nothing_happened(tmp_path: Path) -> None:
    habits = Habits(HabitsFile(tmp_path))
    habits.threshold(0.1, "line")
    habits.close()
    assert list(tmp_path.iterdir()) == []


def test_switched_off_nothing_is_read_or_written(tmp_path: Path) -> None:
    first = Habits(HabitsFile(tmp_path))
    show(first, 0.17, 60, 0)
    first.close()
    before = (tmp_path / "habits.json").read_bytes()
    habits = Habits(HabitsFile(tmp_path), enabled=False)
    show(habits, 0.17, 60, 60)
    for _ in range(50):
        habits.note_suppressed()
    assert not habits.explores
    assert habits.threshold(0.1, "line") == 0.1
    habits.close()
    assert (tmp_path / "habits.json").read_bytes() == before
    habits.enabled = True
    assert not habits.explores
    assert habits.threshold(0.1, "line") == 0.2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"version": 9, "counts": {}}',
        b'{"version": 1}',
        b'{"version": 1, "counts": {"line": {"shown": [1]}}}',
        b"[" * 200_000,
    ],
)
def test_a_broken_file_is_put_aside(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "habits.json").write_bytes(content)
    habits = Habits(HabitsFile(tmp_path))
    assert habits.threshold(0.1, "line") == 0.1
    habits.note_shown("1", 0.4, "line")
    with caplog.at_level(logging.WARNING):
        habits.close()
    assert caplog.text.count("broken (") == 1
    assert (tmp_path / "habits.broken.json").read_bytes() == content
    assert json.loads((tmp_path / "habits.json").read_text())["version"] == 1


def test_an_unwritable_folder_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    clock = Clock()
    habits = Habits(HabitsFile(tmp_path / "file" / "folder"), clock=clock)
    with caplog.at_level(logging.WARNING):
        for index in range(100):
            clock.now += 31
            habits.note_shown(str(index), 0.17, "line")
        habits.close()
    assert habits.threshold(0.1, "line") == 0.2
    assert len(caplog.records) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no such permissions")
@pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may do anything"
)
def test_an_unreadable_file_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "habits.json").write_text("{}")
    (tmp_path / "habits.json").chmod(0)
    with caplog.at_level(logging.WARNING):
        assert Habits(HabitsFile(tmp_path)).threshold(0.1, "line") == 0.1
    assert len(caplog.records) == 1


def test_no_half_written_file_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    habits = Habits(HabitsFile(tmp_path))
    habits.note_shown("1", 0.4, "line")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        habits.close()
    assert not list(tmp_path.glob(".habits*"))
    # ... and what was not written is written when it can be
    assert counted(habits, tmp_path)["shown"] == 1


def _accept(folder: str, number: int) -> None:
    clock = Clock()
    habits = Habits(HabitsFile(Path(folder)), clock=clock)
    for index in range(number):
        clock.now += 31
        habits.note_shown(f"{index}", 0.17, "line")
        habits.note_accepted(f"{index}")
    habits.close(timeout_s=20)


def test_several_servers_add_up(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_accept, args=(str(tmp_path), 30)) for _ in range(4)
    ]
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
        assert one.exitcode == 0
    data = json.loads((tmp_path / "habits.json").read_text())
    assert data["counts"]["line"]["shown"][bucket_of(0.17)] == 120
    assert data["counts"]["line"]["accepted"][bucket_of(0.17)] == 120
    assert not list(tmp_path.glob(".habits*"))


# --- counts ---------------------------------------------------------------------------


def test_old_habits_fade_in_their_own_bucket() -> None:
    counts = Counts()
    counts.add("line", "shown", 3, MOST_SHOWN + 2)
    counts.add("line", "accepted", 3, 100)
    counts.add("line", "shown", 4, 30)
    total = counts.plus(Counts())
    assert total.rows["line"]["shown"][3] == (MOST_SHOWN + 2) / 2
    assert total.rows["line"]["accepted"][3] == 50
    assert total.rows["line"]["shown"][4] == 30


def test_no_count_is_negative() -> None:
    counts = Counts()
    counts.add("block", "typed_through", 1, -3)
    assert counts.plus(Counts()).rows["block"]["typed_through"][1] == 0


@given(st.floats(0, 1))
def test_each_confidence_has_a_bucket(confidence: float) -> None:
    bucket = bucket_of(confidence)
    assert 0 <= bucket < NUM_BUCKETS
    assert abs(middle_of(bucket) - confidence) <= 0.16


@pytest.mark.parametrize("value", [float("nan"), -1, 1e9, "1", None, True, [1]])
def test_what_is_no_count_is_refused(value: object) -> None:
    data = Counts().to_json()
    data["line"]["shown"][0] = value
    with pytest.raises(CountsError):
        read_counts(data)
