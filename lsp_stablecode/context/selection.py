"""Which chunks stand in a document's prompts, kept stable from key to key.

The context stands first in a prompt, so a change in it makes the model compute
everything after it again: docs/decisions/0011-context.md has the rule that this file
follows, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lsp_stablecode.context.chunks import Chunk

FIRST_SHARE = 0.85
"""How much of the budget the first choice takes; the rest is for names that come."""
LEAST_SHARE_OF_BEST = 0.1
APPEND_SHARE_OF_BEST = 0.7
MOST_APPENDED = 4
MOST_MEANT = 8
"""Of more definitions than this, the few letters typed say too little."""
REPLACE_GAIN = 1.1
KEEP_GAIN = 1.05
LEAST_REQUESTS_BETWEEN = 16
FAR_LINES = 120
TYPED_CHARACTERS = 3
_PATH_TOKENS = 6
_MOST_SHARE = {"signature": 1.0, "whole": 0.2, "lines": 0.35}


@dataclass(frozen=True, slots=True)
class Ranked:
    """Candidates and their worth at one place, and what stands in the window there."""

    worth: Mapping[Chunk, float]
    window: str


@dataclass(frozen=True, slots=True)
class Look:
    """A request as the selection sees it.

    ``below`` is the text after the cursor's line. While somebody types it stays the
    same, and with it the prompt's part that stands right after the context.
    """

    line: int
    explicit: bool
    typed: str
    below: str


@dataclass(slots=True)
class Selection:
    """The chosen chunks of one document, in groups that are shown one after another."""

    groups: list[list[Chunk]] = field(default_factory=list)
    line: int = -1
    chosen_at: int = -1
    below: str | None = None
    requests: int = 0
    num_changes: int = 0
    helped_line: int = -1

    @property
    def chunks(self) -> list[Chunk]:
        """All chosen chunks, in their order."""
        return [chunk for group in self.groups for chunk in group]

    def update(
        self,
        look: Look,
        rank: Callable[[], Ranked],
        named: Callable[[], Sequence[Chunk]],
        is_allowed: Callable[[Chunk], bool],
        fitting: Fitting,
    ) -> None:
        """Take in a request; the chunks change only as the rule says.

        ``rank`` costs milliseconds and is called when it matters. ``named`` returns
        definitions of what seems to be typed, where nothing in the window is it.
        """
        self.requests += 1
        is_first = self.below is None
        if not all(is_allowed(chunk) for chunk in self.chunks):
            self.groups = [
                kept for group in self.groups if (kept := [*filter(is_allowed, group)])
            ]
            self.num_changes += 1
        is_far = abs(look.line - self.chosen_at) > FAR_LINES
        has_moved = look.below != self.below
        try:
            if is_first or (has_moved and is_far) or fitting.has_shrunk(self):
                self._choose(look, rank(), fitting)
            elif look.explicit:
                self._replace(look, rank(), fitting, KEEP_GAIN)
            elif look.line != self.line:
                self._look_again(look, rank(), fitting, has_moved)
            else:
                self._help_typing(look, named, rank, fitting)
        finally:
            self.line, self.below = look.line, look.below

    def _choose(self, look: Look, ranked: Ranked, fitting: Fitting) -> None:
        self._take(look, fitting.best(ranked))

    def _take(self, look: Look, groups: list[list[Chunk]]) -> None:
        self.groups = groups
        self.chosen_at = look.line
        self.requests = 0
        self.num_changes += 1

    def _replace(
        self, look: Look, ranked: Ranked, fitting: Fitting, gain: float
    ) -> bool:
        best = fitting.best(ranked)
        new = sum(ranked.worth.get(one, 0.0) for group in best for one in group)
        old = sum(ranked.worth.get(one, 0.0) for one in self.chunks)
        if new < old * gain or new <= 0:
            return False
        self._take(look, best)
        return True

    def _look_again(
        self, look: Look, ranked: Ranked, fitting: Fitting, has_moved: bool
    ) -> None:
        is_due = self.requests >= LEAST_REQUESTS_BETWEEN
        if not (is_due or has_moved):
            return
        if is_due and self._replace(look, ranked, fitting, REPLACE_GAIN):
            return
        if has_moved:
            best = max(ranked.worth.values(), default=0.0)
            least = best * APPEND_SHARE_OF_BEST
            self._append(ranked, fitting, least)

    def _append(
        self, ranked: Ranked, fitting: Fitting, least: float, most: int = MOST_APPENDED
    ) -> bool:
        chosen = self.chunks
        added: list[Chunk] = []
        for chunk, worth in fitting.ordered(ranked):
            if worth < least or len(added) >= most:
                break
            if fitting.is_new(chunk, [*chosen, *added], ranked) and fitting.fits(
                [*self.groups, [*added, chunk]]
            ):
                added.append(chunk)
        if added:
            self.groups = [*self.groups, added]
            self.num_changes += 1
        return bool(added)

    def _help_typing(
        self,
        look: Look,
        named: Callable[[], Sequence[Chunk]],
        rank: Callable[[], Ranked],
        fitting: Fitting,
    ) -> None:
        """Show the definition of the name that is being typed, once per line."""
        typed = look.typed
        if len(typed) < TYPED_CHARACTERS or self.helped_line == look.line:
            return
        if any(name.startswith(typed) for one in self.chunks for name in one.names):
            return
        wanted = set(named())
        if not 0 < len(wanted) <= MOST_MEANT:
            return
        self.helped_line = look.line
        ranked = rank()
        worth = {one: value for one, value in ranked.worth.items() if one in wanted}
        if not self._append(Ranked(worth, ranked.window), fitting, 0.0, MOST_MEANT):
            self._replace(look, ranked, fitting, KEEP_GAIN)


class Fitting:
    """The budget: which chunks fit into so many tokens together."""

    def __init__(self, budget_tokens: int, count_tokens: Callable[[str], int]) -> None:
        self._budget = budget_tokens
        self._count = count_tokens

    def tokens_of(self, groups: Sequence[Sequence[Chunk]]) -> int:
        """Return what groups of chunks cost, a little more rather than less."""
        total = 0
        for group in groups:
            heading, uri = "", ""
            for chunk in group:
                if chunk.uri != uri:
                    uri = chunk.uri
                    total += _PATH_TOKENS + self._count(str(chunk.path or uri)[-40:])
                if chunk.heading and chunk.heading != heading:
                    total += self._count(chunk.heading + "\n")
                heading = chunk.heading
                # One more for a blank line above what is no outline.
                total += self._count(chunk.text) + (chunk.kind != "signature")
        return total

    def fits(self, groups: Sequence[Sequence[Chunk]]) -> bool:
        """Tell whether groups fit into the whole budget."""
        return self.tokens_of(groups) <= self._budget

    def has_shrunk(self, selection: Selection) -> bool:
        """Tell whether what was chosen does not fit into the budget any more."""
        return not self.fits(selection.groups)

    def ordered(self, ranked: Ranked) -> list[tuple[Chunk, float]]:
        """Return the candidates, the best first; equals in a fixed order."""
        return sorted(
            ranked.worth.items(),
            key=lambda pair: (-pair[1], pair[0].uri, pair[0].first_line, pair[0].kind),
        )

    def is_new(self, chunk: Chunk, chosen: Sequence[Chunk], ranked: Ranked) -> bool:
        """Tell whether a chunk shows what neither the others nor the window do."""
        for one in chosen:
            if one.text == chunk.text or (
                one.overlaps(chunk) and not _is_member_of(chunk, one)
            ):
                return False
        return chunk.text.strip() not in ranked.window

    def best(self, ranked: Ranked) -> list[list[Chunk]]:
        """Return the best set, by file, the least relevant file first."""
        room = int(self._budget * FIRST_SHARE)
        ordered = self.ordered(ranked)
        least = (ordered[0][1] if ordered else 0.0) * LEAST_SHARE_OF_BEST
        files: dict[str, list[Chunk]] = {}
        used = misses = 0
        for chunk, worth in ordered:
            if worth <= least or misses > 40 or used >= room:
                break
            tokens = self._count(chunk.text)
            if tokens > self._budget * _MOST_SHARE[chunk.kind]:
                continue
            group = files.get(chunk.uri, [])
            if not self.is_new(chunk, group, ranked):
                continue
            before = self.tokens_of([group]) if group else 0
            after = self.tokens_of([_in_order([*group, chunk])])
            if used + after - before > room:
                misses += 1
                continue
            used += after - before
            files[chunk.uri] = _in_order([*group, chunk])
        # The file with the best chunk stands last, next to the document itself.
        return list(reversed(files.values()))


def _is_member_of(chunk: Chunk, other: Chunk) -> bool:
    """Tell whether a chunk stands inside a type of which only the header is shown."""
    return (
        other.kind == "signature"
        and other.names[:1] == (chunk.container,)
        and not set(chunk.names[:1]) <= set(other.names)
    )


def _in_order(chunks: Sequence[Chunk]) -> list[Chunk]:
    return sorted(chunks, key=lambda one: (one.first_line, -one.last_line))
