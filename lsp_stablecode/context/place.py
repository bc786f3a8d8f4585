"""The place that is typed at, and the documents around it, as gathering gets them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from lsp_stablecode.context.edits import EditedRegion
from lsp_stablecode.context.privacy import Privacy
from lsp_stablecode.context.words import identifiers
from lsp_stablecode.lexis import unify_line_ends

_LINES_BEFORE = 30
_LINES_AFTER = 10
_LINES_CLOSE = 5
_TYPED = re.compile(r"[^\W\d][\w$]*$")
_RECEIVER = re.compile(
    r"([^\W\d][\w$]*)(?:\([^()]*\)|\[[^\[\]]*\])?\s*(?:\??\.|::|->)$"
)


@dataclass(frozen=True, slots=True)
class OpenText:
    """An open document. ``name`` is what it is called where it has no file."""

    uri: str
    path: Path | None
    language_id: str
    version: int | None
    text: str
    name: Path | None = None

    def why_private(self, privacy: Privacy) -> str:
        """Return why it stays out of prompts, or nothing."""
        if self.path is None and self.name is not None:
            return privacy.reason_by_name(self.name)
        return privacy.reason(self.path)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A place in a document, and what is around that document.

    ``line`` is the cursor's. ``others`` are the other open documents, the most
    recently used first; ``edits`` are the newest first.
    """

    uri: str
    path: Path | None
    language_id: str
    prefix: str
    suffix: str
    line: int
    explicit: bool = False
    others: tuple[OpenText, ...] = ()
    edits: tuple[EditedRegion, ...] = ()
    folders: tuple[Path, ...] = ()
    privacy: Privacy = field(default_factory=Privacy)


@dataclass(frozen=True, slots=True)
class Cursor:
    """What the text near the cursor says about what is wanted there.

    ``typed`` is the part of an identifier left of the cursor, and ``receiver`` the
    name whose member it is; ``receiver_type`` is what that name seems to be made of.
    ``near`` are the lines around, ``close`` the last few and the cursor's own.
    """

    typed: str
    receiver: str
    receiver_type: str
    near: str
    close: str

    @staticmethod
    def at(prefix: str, suffix: str) -> Cursor:
        """Read the place between two texts."""
        prefix = unify_line_ends(prefix[-40_000:])
        suffix = unify_line_ends(suffix[:4_000])
        match = _TYPED.search(prefix[-200:])
        typed = match[0] if match else ""
        before = prefix[: len(prefix) - len(typed)]
        receiver = _RECEIVER.search(before[-200:])
        name = receiver[1] if receiver else ""
        above = before.split("\n")[-_LINES_BEFORE:]
        below = suffix.split("\n")[:_LINES_AFTER]
        return Cursor(
            typed=typed,
            receiver=name,
            receiver_type=_type_of(name, before),
            near="\n".join((*above, *below)),
            close="\n".join(above[-_LINES_CLOSE:]),
        )


def _type_of(name: str, text: str) -> str:
    """Guess the type of a variable from how it was made or declared."""
    if not name or name in ("self", "this"):
        return ""
    word = re.escape(name)
    # Names and blanks are taken whole and begin where one begins: to try every end of
    # every tail of a long word takes seconds, and all other threads wait for ``re``.
    made = re.compile(
        rf"\b{word}\b\s*+(?::=|=|:)\s*+(?:await\s++|new\s++|&)*+"
        r"(?:[\w$]++(?:\.|::))*([^\W\d_a-z][\w$]*+)"
    )
    declared = re.compile(
        rf"(?<![\w$])([^\W\d_a-z][\w$]*+)(?:<[^<>]*+>)?[\s*&]++{word}\b"
    )
    for pattern in (made, declared):
        found = pattern.findall(text)
        if found:
            return str(found[-1])
    return ""


def names_in(text: str) -> frozenset[str]:
    """Return the identifiers of a text."""
    return frozenset(identifiers(text))
