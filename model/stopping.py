"""Stop rules on text, which therefore may span token boundaries."""

from __future__ import annotations

from collections.abc import Sequence

from model.interface import Cut, StopRule


def stop_at_strings(strings: Sequence[str]) -> StopRule:
    """Cut before the earliest occurrence of any of ``strings``.

    The rule sees all text generated so far, so a string that arrives in pieces of
    several tokens is found with the last piece.
    """

    def rule(text: str) -> Cut | None:
        hits = [
            (position, string)
            for string in strings
            if (position := text.find(string)) >= 0
        ]
        if not hits:
            return None
        position, string = min(hits)
        return Cut(position, f"stop-string:{string}")

    return rule
