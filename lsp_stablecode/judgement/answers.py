"""What ``eval repo`` wrote, read back for fitting."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lsp_stablecode.errors import SettingsError
from lsp_stablecode.judgement.confidence import Features
from lsp_stablecode.judgement.fit import Record


@dataclass(frozen=True, slots=True)
class Answer:
    """One place that was asked at; ``record`` where a suggestion has features.

    Of ``keys_needed`` keys, ``keys_used`` are pressed with the suggestion at hand.
    """

    record: Record | None
    confidence: float | None
    is_right: bool
    keys_needed: int
    keys_used: int


@dataclass(frozen=True, slots=True)
class Operation:
    """What a threshold makes of all places; shares are 0 to 1.

    ``exact`` is of those shown, ``None`` where none is.
    """

    threshold: float
    shown: float
    exact: float | None
    keystrokes_saved: float


def read_answers(paths: Sequence[Path]) -> list[Answer]:
    """Return what the server answered. Raises ``SettingsError``."""
    answers = []
    for path in paths:
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            found = data["paths"]["server"]["answers"]
            answers += [_answer(one, path) for one in found]
        except OSError as error:
            raise SettingsError(
                f"{path} cannot be read ({error.strerror}).",
                hint="Name files that `eval repo --json` wrote.",
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SettingsError(
                f"{path} does not hold answers of the server.",
                hint="Name files that `eval repo --path server --json` wrote.",
            ) from error
    return answers


def _answer(data: Mapping[str, Any], path: Path) -> Answer:
    is_right = bool(data["exact"])
    said = (data["explanation"].get("suggestions") or [{}])[0]
    features = said.get("features") if data["suggestion"] is not None else None
    record = None
    if features is not None:
        named = {one.name: float(features[one.name]) for one in fields(Features)}
        # The folder counts: two evaluations may have files of the same name.
        group = f"{path}:{data['where'].rsplit(':', 2)[0]}"
        record = Record(Features(**named), is_right, group)
    return Answer(
        record=record,
        confidence=said.get("confidence") if record else None,
        is_right=is_right,
        keys_needed=int(data["keys_needed"]),
        keys_used=int(data["keys_used"]),
    )


def operate(
    answers: Sequence[Answer], confidences: Sequence[float | None], threshold: float
) -> Operation:
    """Return what comes of at least one answer if the unsure ones are withheld.

    What has no confidence counts as not shown.
    """
    shown = right = used = 0
    for one, sure in zip(answers, confidences, strict=True):
        is_shown = sure is not None and sure >= threshold
        shown += is_shown
        right += is_shown and one.is_right
        used += one.keys_used if is_shown else one.keys_needed
    needed = sum(one.keys_needed for one in answers)
    return Operation(
        threshold=threshold,
        shown=shown / len(answers),
        exact=right / shown if shown else None,
        keystrokes_saved=1 - used / needed if needed else 0.0,
    )
