"""A text on its way to being shown, and what stands around it."""

from __future__ import annotations

from lsp_stablecode.brackets import Brackets, match_brackets
from lsp_stablecode.finishing.closers import Document
from lsp_stablecode.lexis import is_closers_only, split_at_cursor, unify_line_ends
from lsp_stablecode.shape import Shape

__all__ = ["Draft"]

_MOST_LINES_BELOW = 40


class Draft:
    """What became of a text so far. All of it has line feeds as line ends.

    ``before`` and ``right`` are the cursor's line; ``below`` are the next lines that
    are not blank. ``removed`` names what was taken away, in order.
    """

    def __init__(
        self, text: str, prefix: str, suffix: str, shape: Shape, finish_reason: str
    ) -> None:
        self.text = text
        self.shape = shape
        self.finish_reason = finish_reason
        self.prefix = unify_line_ends(prefix)
        self.before, self.right = split_at_cursor(prefix, suffix)
        rest = unify_line_ends(suffix[len(self.right) :])
        self.suffix = self.right + rest
        self.document = Document(self.prefix, self.suffix, shape.language_id)
        lines = [line for line in rest.split("\n")[1:] if line.strip()]
        self.below = lines[:_MOST_LINES_BELOW]
        self.replace_right = 0
        self.removed: list[str] = []
        self.is_joined = False
        self.is_above = False
        self.ended_line = False
        self._brackets: dict[str, Brackets] = {}

    @property
    def is_blank(self) -> bool:
        """Whether nothing but blanks stands left of the cursor on its line."""
        return not self.before.strip()

    @property
    def has_text_right(self) -> bool:
        """Whether more than closers stands right of the cursor."""
        return bool(self.right.strip()) and not is_closers_only(self.right)

    def set(self, text: str, name: str) -> None:
        """Take ``text`` from now on; ``name`` says what was done."""
        if text != self.text:
            self.text = text
            if name not in self.removed:
                self.removed.append(name)

    def brackets(self, text: str | None = None) -> Brackets:
        """Return how the brackets of the text, or another, stand to the prefix's."""
        text = self.text if text is None else text
        if text not in self._brackets:
            language_id = self.shape.language_id
            self._brackets[text] = match_brackets(self.prefix, text, language_id)
        return self._brackets[text]
