"""Where the user edited lately, in line numbers that later edits keep right."""

from __future__ import annotations

from dataclasses import dataclass, replace

_MOST_REGIONS = 16
_NEAR_LINES = 2
_MOST_LINES_AROUND = 20


@dataclass(frozen=True, slots=True)
class EditedRegion:
    """Lines that were edited; they count from 0 and include the last."""

    uri: str
    first_line: int
    last_line: int


class RecentEdits:
    """The regions that were edited last, of all documents."""

    def __init__(self) -> None:
        self._regions: list[EditedRegion] = []

    @property
    def regions(self) -> tuple[EditedRegion, ...]:
        """The regions, the newest first."""
        return tuple(self._regions)

    def note(
        self, uri: str, first_line: int, last_line: int, num_lines_added: int
    ) -> None:
        """Take in one change: it replaced lines of the document as it was before.

        ``num_lines_added`` is by how many the document has more lines now. Regions
        that the change touches, or that are nearly next to it, become one with it, as
        far as they are near; those below it move.
        """
        last_now = max(first_line, last_line + num_lines_added)
        new = EditedRegion(uri, first_line, last_now)
        kept: list[EditedRegion] = []
        for one in self._regions:
            if one.uri != uri or one.last_line < first_line - _NEAR_LINES:
                kept.append(one)
            elif one.first_line > last_line + _NEAR_LINES:
                kept.append(
                    replace(
                        one,
                        first_line=one.first_line + num_lines_added,
                        last_line=one.last_line + num_lines_added,
                    )
                )
            else:
                last = one.last_line + num_lines_added
                new = replace(
                    new,
                    first_line=min(new.first_line, one.first_line),
                    last_line=max(new.last_line, last),
                )
        new = replace(
            new,
            first_line=max(new.first_line, first_line - _MOST_LINES_AROUND),
            last_line=min(new.last_line, last_now + _MOST_LINES_AROUND),
        )
        self._regions = [new, *kept][:_MOST_REGIONS]

    def forget(self, uri: str) -> None:
        """Forget a document's regions: it was closed, or replaced as a whole."""
        self._regions = [one for one in self._regions if one.uri != uri]
