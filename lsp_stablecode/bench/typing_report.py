"""What came of typing, in figures, sentences and JSON. No text of the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from lsp_stablecode.bench.keys import Key
from lsp_stablecode.bench.report import OURS, Figure, Report
from lsp_stablecode.bench.samples import Samples
from lsp_stablecode.bench.show import headings, number
from lsp_stablecode.bench.typing_run import Pressed, Sitting

_PERCENTILES = (0.5, 0.9, 0.99)


def is_shown(key: Key | None) -> bool:
    """Whether a key had a suggestion before the next one."""
    return key is not None and key.text != ""


def is_from_memory(key: Key | None) -> bool:
    """Whether it was shown without a pass of the model."""
    return key is not None and is_shown(key) and key.kind != "computed"


def is_computed(key: Key | None) -> bool:
    """Whether the model was asked, and its answer came before the next key."""
    return key is not None and key.kind == "computed"


def typing_figures(sittings: Sequence[Sitting]) -> list[Figure]:
    """Return times and tokens, one sample for each key that has one."""
    answers = [one.answer for sitting in sittings for one in sitting.pressed]

    def figure(
        key: str,
        title: str,
        unit: str,
        is_wanted: Callable[[Key | None], bool],
        read: Callable[[Key], float],
    ) -> Figure:
        values = tuple(read(one) for one in answers if one and is_wanted(one))
        return Figure(key, title, unit, {OURS: Samples(values)}, is_compared=False)

    return [
        figure("key", "key to suggestion", "ms", is_shown, lambda one: one.ms),
        figure("key-memory", "from memory", "ms", is_from_memory, lambda one: one.ms),
        figure(
            "key-computed",
            "computed",
            "ms",
            lambda one: is_computed(one) and is_shown(one),
            lambda one: one.ms,
        ),
        figure(
            "reuse",
            "prompt reused, a request",
            "%",
            is_computed,
            lambda one: 100 * one.reused_tokens / max(1, one.prompt_tokens),
        ),
        figure(
            "tokens-computed",
            "prompt tokens computed, a request",
            "tokens",
            is_computed,
            lambda one: one.computed_tokens,
        ),
    ]


def typing_totals(
    sittings: Sequence[Sitting], before: dict[str, Any], after: dict[str, Any]
) -> dict[str, Any]:
    """Return counts and shares of all keys.

    ``before`` and ``after`` are the server's status, whose counts know of requests
    that were given up as well.
    """
    pressed = [one for sitting in sittings for one in sitting.pressed]
    answers = [one.answer for one in pressed if one.answer is not None]
    computed = [one for one in answers if is_computed(one)]
    reuse = [one.reused_tokens / max(1, one.prompt_tokens) for one in computed]
    num_plain = sum(one.num_plain_keys for one in sittings)
    num_shown = sum(map(is_shown, answers))
    num_computed_tokens = sum(one.computed_tokens for one in computed)
    taken = [one.taken for one in pressed if one.taken is not None]
    generations = {
        name: count - before["generations"].get(name, 0)
        for name, count in after["generations"].items()
    }
    return {
        "places": len(sittings),
        "keys": len(pressed),
        "key_names": dict(Counter(one.name for one in pressed).most_common()),
        "characters": sum(one.num_typed for one in sittings),
        "keys_without_suggestions": num_plain,
        "keys_saved_share": _share(num_plain - len(pressed), num_plain),
        "accepted": dict(Counter(one.part for one in taken)),
        "accepted_characters": sum(len(one.text) for one in taken),
        "requests": _fates(pressed),
        "shown": num_shown,
        "shown_share": _share(num_shown, len(pressed)),
        "from_memory": sum(map(is_from_memory, answers)),
        "from_memory_share": _share(sum(map(is_from_memory, answers)), len(answers)),
        "reuse_median": Samples(tuple(reuse)).median if reuse else None,
        "reuse_mean": sum(reuse) / len(reuse) if reuse else None,
        "tokens_computed_a_key": _share(num_computed_tokens, len(pressed)),
        "outcomes": dict(Counter(after["outcomes"]) - Counter(before["outcomes"])),
        "generations": generations,
        "passes_a_key": _share(generations.get("forwards", 0), len(pressed)),
    }


def typing_json(sittings: Sequence[Sitting]) -> list[dict[str, Any]]:
    """Return every key of every place; lengths in place of texts."""
    return [
        {
            "file": sitting.script.name,
            "language": sitting.script.language_id,
            "first_line": sitting.first_line,
            "characters": len(sitting.script.typed),
            "typed_characters": sitting.num_typed,
            "keys_without_suggestions": sitting.num_plain_keys,
            "keys": [
                _key_json(one, sitting.pressed[0].at_s) for one in sitting.pressed
            ],
        }
        for sitting in sittings
    ]


def typing_summary(totals: dict[str, Any]) -> list[str]:
    """Return what the table does not say, in sentences."""
    requests = totals["requests"]
    accepted = totals["accepted"]
    lines = [
        f"{totals['keys']} keys in {totals['places']} places for "
        f"{totals['characters']} characters; without suggestions "
        f"{totals['keys_without_suggestions']}: "
        f"{_percent(totals['keys_saved_share'])} saved. Accepted: "
        f"{accepted.get('whole', 0)} whole, {accepted.get('line', 0)} lines, "
        f"{accepted.get('word', 0)} words",
        f"{requests['sent']} requests: {requests['answered']} answered before the next "
        f"key, {requests['superseded']} superseded, {requests['cancelled']} cancelled, "
        f"{requests['late']} late; {totals['shown']} suggestions shown "
        f"({_percent(totals['shown_share'])} of keys)",
        f"answered without the model: {totals['from_memory']} "
        f"({_percent(totals['from_memory_share'])} of answers); "
        f"{totals['generations'].get('forwards', 0)} passes of the model, "
        f"{_number(totals['passes_a_key'])} a key, those of given-up requests included",
        f"prompt reused from key to key: median {_percent(totals['reuse_median'], 1)}, "
        f"mean {_percent(totals['reuse_mean'], 1)}; "
        f"{_number(totals['tokens_computed_a_key'])} prompt tokens computed a key",
    ]
    outcomes = ", ".join(
        f"{count} {name}" for name, count in totals["outcomes"].items()
    )
    return [*lines, f"outcomes: {outcomes}"]


def print_typing(report: Report, console: Console) -> None:
    """Print everything but single keys."""
    for line in headings(report):
        console.print(line, highlight=False, soft_wrap=True)
    console.print()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("figure", no_wrap=True)
    for name in ("n", *(f"p{round(100 * one)}" for one in _PERCENTILES)):
        table.add_column(name, justify="right", no_wrap=True)
    for figure in report.figures:
        samples = figure.samples[OURS]
        cells = [number(samples.at(one)) for one in _PERCENTILES if samples]
        table.add_row(
            f"{figure.title}, {figure.unit}", str(len(samples.present)), *cells
        )
    console.print(table)
    for line in (*report.details["summary"], *report.notes):
        console.print(line, highlight=False, soft_wrap=True)


def _fates(pressed: Sequence[Pressed]) -> dict[str, int]:
    counts: Counter[str] = Counter(one.fate for one in pressed)
    asked = len(pressed) - counts["unasked"]
    names = ("answered", "superseded", "cancelled", "late", "waiting")
    return {"sent": asked, **{name: counts[name] for name in names}}


def _key_json(pressed: Pressed, started_s: float) -> dict[str, Any]:
    data: dict[str, Any] = {
        "key": pressed.name,
        "at_ms": round((pressed.at_s - started_s) * 1000, 1),
        "fate": pressed.fate,
    }
    if pressed.answer is not None:
        answer = asdict(pressed.answer)
        answer["characters"] = len(answer.pop("text"))
        del answer["first_line_ms"]
        data |= answer | {"ms": round(pressed.answer.ms, 3)}
    if pressed.taken is not None:
        data["part"] = pressed.taken.part
        data["taken_characters"] = len(pressed.taken.text)
    return data


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _percent(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:.{digits}%}"


def _number(value: float | None) -> str:
    return "–" if value is None else number(value)
