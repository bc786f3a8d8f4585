"""What is asked of the model: a place in a document, with the text around it."""

from __future__ import annotations

from dataclasses import dataclass

from lsp_stablecode.context.place import Surroundings
from lsp_stablecode.documents import Document
from lsp_stablecode.indentation import is_indented
from lsp_stablecode.judgement.judge import Thresholds

_PREFIX_LINES = 3000
_SUFFIX_LINES = 1000
_NEAR_CHARACTERS = 12_000


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: the text around the cursor and how it came to be asked.

    ``surroundings`` is what else is known of the place, in other documents too;
    ``thresholds`` say how sure a suggestion must be that nobody asked for by hand;
    ``indent_unit`` is by what to indent, where the document does not say so itself.
    """

    prefix: str
    suffix: str
    prefix_start_line: int
    language_id: str
    explicit: bool
    surroundings: Surroundings | None = None
    thresholds: Thresholds | None = None
    indent_unit: str = ""

    @property
    def near(self) -> tuple[str, str]:
        """The text that shape, stops and postprocessing look at, cut at a line."""
        prefix, suffix = self.prefix[-_NEAR_CHARACTERS:], self.suffix
        if len(self.prefix) > _NEAR_CHARACTERS:
            prefix = prefix[prefix.find("\n") + 1 :]
        return prefix, suffix[:_NEAR_CHARACTERS]


def make_query(
    document: Document,
    line: int,
    character: int,
    *,
    explicit: bool,
    cells: tuple[list[str], list[str]] = ([], []),
    selected: str | None = None,
    selected_start: tuple[int, int] | None = None,
    indent_unit: str = "",
) -> Query:
    """Take the windows before and after a wire position.

    ``cells`` are the texts of a notebook's cells around the document. ``selected``
    is the text of the pop-up menu's selected item, which would replace everything
    from ``selected_start`` to the position. ``indent_unit`` is the editor's own.
    """
    prefix, start_line = document.prefix_window(
        *(selected_start or (line, character)), _PREFIX_LINES
    )
    suffix = document.suffix_window(line, character, _SUFFIX_LINES)
    before, after = cells
    if before:
        prefix = "".join(f"{cell.rstrip()}\n\n" for cell in before) + prefix
    if after:
        suffix = suffix + "".join(f"\n\n{cell.rstrip()}" for cell in after)
    return Query(
        prefix=prefix + (selected or ""),
        suffix=suffix,
        prefix_start_line=start_line,
        language_id=document.language_id,
        explicit=explicit,
        indent_unit=_own_unit(prefix + suffix, indent_unit),
    )


def _own_unit(text: str, unit: str) -> str:
    """Return the editor's unit of indentation, unless the text has one itself."""
    return unit if unit and not is_indented(text) else ""
