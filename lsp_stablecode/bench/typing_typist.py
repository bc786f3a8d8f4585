"""A typist who knows what he wants: the next key, and which suggestions he takes.

The editor under his hands does what VS Code does: Enter keeps the indentation, and
deepens it after an opener; brackets and quotes come with their closers, which are
typed over; Enter between brackets opens a line of its own between them.

Nothing here knows of time or of a server: keys go out, suggestions are offered.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

from lsp_stablecode.bench.scripts import Script
from lsp_stablecode.bench.typing_habits import OPENERS, find_partners, indentation_unit
from lsp_stablecode.bench.typing_strokes import Stroke

KeyName = Literal[
    "character", "slip", "enter", "tab", "backspace", "delete", "move", "accept"
]
Part = Literal["whole", "line", "word"]

LEAST_KEYS_SAVED = 4
"""Less is typed faster than read."""

_KEY = re.compile(r"\n[ \t]*|.")
_LINE_END = re.compile(r"\n[ \t]*")
_BLANKS = re.compile(r"[ \t]*")
_WORD = re.compile(r"[ \t]*(?:\w+|[^\w\s]+)")


@dataclass(frozen=True, slots=True)
class Press:
    """One key: ``left`` and ``right`` of the cursor are replaced by ``text``.

    The cursor then stands ``behind`` characters before the text's end; ``move`` takes
    it further without any change.
    """

    name: KeyName
    text: str = ""
    left: int = 0
    right: int = 0
    behind: int = 0
    move: int = 0

    @property
    def is_change(self) -> bool:
        """Whether the document changes."""
        return bool(self.text or self.left or self.right)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The part of a suggestion that is taken: all of it, its first line or word."""

    part: Part
    text: str
    num_replaced: int
    keys_saved: int


@dataclass(slots=True)
class Typist:
    """Types a script's text into the place between its halves.

    ``index`` is how much of it stands there. Of the editor's doing are ``pending``,
    closers right of the cursor, and ``surplus``, indentation left of it that the text
    does not have.
    """

    script: Script
    strokes: Sequence[Stroke]
    index: int = 0
    pending: str = ""
    surplus: str = ""
    _unit: str = field(init=False)
    _partners: dict[int, int] = field(init=False)
    _closing: deque[int] = field(default_factory=deque)
    _has_slipped: bool = False
    _slipped_at: int = -1

    def __post_init__(self) -> None:
        script = self.script
        self._unit = indentation_unit(script.before + script.typed + script.after)
        self._partners = find_partners(script)

    @property
    def is_done(self) -> bool:
        """Whether all of the text stands there."""
        return self.index == len(self.script.typed)

    @property
    def gap_ms(self) -> float:
        """How long he waits before the next key."""
        stroke = self.strokes[self.index]
        return stroke.slip_ms if self._has_slipped else stroke.gap_ms

    @property
    def reaction_ms(self) -> float:
        """How long he takes to read and accept a suggestion here."""
        return self.strokes[self.index].reaction_ms

    def press(self) -> Press:
        """Return the next key, and count it as pressed."""
        typed, index = self.script.typed, self.index
        character = typed[index]
        if self._has_slipped:
            self._has_slipped = False
            return Press("backspace", left=1)
        if self.surplus and character != "\n":
            removed = min(len(self.surplus), len(self._unit))
            self.surplus = self.surplus[:-removed]
            return Press("backspace", left=removed)
        if self.strokes[index].slip and self._slipped_at != index:
            self._has_slipped, self._slipped_at = True, index
            return Press("slip", text=self.strokes[index].slip)
        if character == "\n":
            return self._enter()
        if character in " \t" and not self._line().strip():
            return self._tab()
        if self._closing and self._closing[0] == index:
            return self._close()
        self.index += 1
        if index not in self._partners:
            return Press("character", text=character)
        partner = self._partners[index]
        self._closing.appendleft(partner)
        self.pending = typed[partner] + self.pending
        return Press("character", text=character + typed[partner], behind=1)

    def consider(self, text: str, num_replaced: int) -> Acceptance | None:
        """Return what he takes of a suggestion; ``None`` if nothing is worth it.

        That is all of it if it is what he wants, else its first line if that is the
        rest of his, else its first word.
        """
        if self._has_slipped or self.surplus:
            return None
        first_line = text.partition("\n")[0]
        word = _WORD.match(first_line)
        parts: list[tuple[Part, str, int]] = [("whole", text, num_replaced)]
        if self._rest_of_line() == first_line:
            parts.append(("line", first_line, 0))
        if word is not None:
            parts.append(("word", word.group(), 0))
        for part, piece, replaced in parts:
            keys_saved = len(_KEY.findall(piece)) - 1
            if keys_saved >= LEAST_KEYS_SAVED and self._is_right(piece, replaced):
                return Acceptance(part, piece, replaced, keys_saved)
        return None

    def accept(self, taken: Acceptance) -> Press:
        """Return the key that accepts, and count it as pressed."""
        self.index += len(taken.text)
        self.pending = self.pending[taken.num_replaced :]
        while self._closing and self._closing[0] < self.index:
            self._closing.popleft()
        return Press("accept", text=taken.text, right=taken.num_replaced)

    def _is_right(self, piece: str, num_replaced: int) -> bool:
        """Whether a text is what he wants, up to a word's end, closers included."""
        typed, end = self.script.typed, self.index + len(piece)
        if not typed.startswith(piece, self.index) or num_replaced > len(self.pending):
            return False
        cuts_word = end < len(typed) and re.match(r"\w\w", typed[end - 1 : end + 1])
        left = "".join(self.pending[num_replaced:].split())
        wanted = "".join(typed[one] for one in self._closing if one >= end)
        return not cuts_word and left == wanted

    def _rest_of_line(self) -> str:
        return self.script.typed[self.index :].partition("\n")[0]

    def _line(self) -> str:
        """Return what stands left of the cursor on its line, the surplus apart."""
        done = self.script.typed[: self.index]
        head, line_end, line = done.rpartition("\n")
        return (
            line if line_end else self.script.before.rpartition("\n")[2] + head + line
        )

    def _enter(self) -> Press:
        typed, index = self.script.typed, self.index
        line_end = _LINE_END.match(typed, index)
        assert line_end is not None
        left = len(self.surplus)
        if (
            self._closing
            and self._closing[0] == line_end.end()
            and self.pending.startswith(line_end.group())
        ):
            # The editor has put the closer there already: down, and behind the blanks.
            self.surplus = ""
            self.pending = self.pending[len(line_end.group()) :]
            self.index = line_end.end()
            return Press("move", left=left, move=len(line_end.group()))
        line = self._line() + self.surplus
        base = line[: len(line) - len(line.lstrip(" \t"))]
        last = line.rstrip()[-1:]
        opens = last in OPENERS or (last == ":" and self.script.language_id == "python")
        indent = base + self._unit if opens else base
        tail = ""
        if self._closing and self._partners.get(index - 1) == self._closing[0]:
            tail = f"\n{base}"
            self.pending = tail + self.pending
        wanted = line_end.group()[1:]
        kept = _num_alike(indent, wanted)
        self.index = index + 1 + kept
        self.surplus = indent[kept:]
        return Press("enter", text=f"\n{indent}{tail}", left=left, behind=len(tail))

    def _tab(self) -> Press:
        """Deepen by a level, or by one blank where less is missing."""
        blanks = _BLANKS.match(self.script.typed, self.index)
        assert blanks is not None
        missing = blanks.group()
        text = self._unit if missing.startswith(self._unit) else missing[0]
        self.index += len(text)
        return Press("tab", text=text)

    def _close(self) -> Press:
        """Type over a closer; take out the line end before it first, if there is."""
        num_blanks = len(self.pending) - len(self.pending.lstrip())
        if num_blanks:
            self.pending = self.pending[num_blanks:]
            return Press("delete", right=num_blanks)
        self._closing.popleft()
        self.pending = self.pending[1:]
        self.index += 1
        # VS Code replaces it with itself, so the server hears of it.
        return Press("character", text=self.script.typed[self.index - 1], right=1)


def count_keys(script: Script, strokes: Sequence[Stroke], end: int) -> int:
    """Return how many keys the first ``end`` characters take without suggestions."""
    typist = Typist(script, strokes)
    num_keys = 0
    while typist.index < end:
        typist.press()
        num_keys += 1
    return num_keys


def _num_alike(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
