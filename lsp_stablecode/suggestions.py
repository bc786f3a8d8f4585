"""What was suggested where, so that typing it is answered without the model.

A remembered suggestion is found again by the text around the cursor and not by
positions or versions, so an edit elsewhere does not lose it, and the same text at
the same place gets the same suggestion.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

_HEAD_CHARACTERS = 400
_TAIL_CHARACTERS = 200
_REMEMBERED_PER_DOCUMENT = 32
_REMEMBERED_DOCUMENTS = 32
_CLOSERS = ")]}>\"'`"


@dataclass(frozen=True, slots=True)
class Suggested:
    """A text that was offered, how it came to its end, and how sure it was.

    ``origin`` is the identifier that it was first offered with.
    """

    text: str
    finish_reason: str
    confidence: float | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What is left of remembered suggestions at this place.

    ``num_typed`` is how many of their characters the user typed since; negative
    after backspacing before the place they were made for.
    """

    rest: tuple[Suggested, ...]
    num_typed: int
    num_candidates: int


@dataclass(frozen=True, slots=True)
class _Remembered:
    head: str
    tail: str
    suggested: tuple[Suggested, ...]
    num_candidates: int
    fingerprint: int

    def at(self, prefix: str, suffix: str) -> Known | None:
        """Return what is left if this was made for (a place close to) this one."""
        if not self.suggested:
            # Silence is only right while nothing at all has changed.
            same = self.fingerprint == hash((prefix, suffix))
            return Known((), 0, self.num_candidates) if same else None
        if not self._same_tail(suffix):
            return None
        longest = max((len(one.text) for one in self.suggested), default=0)
        for num_typed in range(longest - 1, -1, -1):
            # The head is the same for all and rarely there, so it is looked at first:
            # this runs on the event loop, and suggestions may be long.
            if not _ends_with_head(prefix, num_typed, self.head):
                continue
            rest = tuple(
                replace(one, text=one.text[num_typed:])
                for one in self.suggested
                if len(one.text) > num_typed and prefix.endswith(one.text[:num_typed])
            )
            if rest:
                return Known(rest, num_typed, self.num_candidates)
        return self._after_backspace(prefix)

    def _same_tail(self, suffix: str) -> bool:
        """Accept one closer more: editors add it when its opener is typed."""
        if _starts_alike(suffix, self.tail):
            return True
        return (
            suffix[:1] != ""
            and suffix[0] in _CLOSERS
            and any(suffix[0] in one.text for one in self.suggested)
            and _starts_alike(suffix[1:], self.tail)
        )

    def _after_backspace(self, prefix: str) -> Known | None:
        """Match where the user took back characters before the suggestion."""
        for num_removed in range(1, min(len(self.head), 80) + 1):
            removed = self.head[-num_removed:]
            if removed[0] in "\r\n":
                return None
            if _ends_with_head(prefix, 0, self.head[:-num_removed]):
                rest = tuple(
                    replace(one, text=removed + one.text) for one in self.suggested
                )
                return Known(rest, -num_removed, self.num_candidates)
        return None


def _ends_with_head(prefix: str, num_typed: int, head: str) -> bool:
    """Whether ``prefix``, less what was typed, ends with ``head``.

    A head shorter than the window begins the file, so it must be all there is.
    """
    end = len(prefix) - num_typed
    if len(head) < _HEAD_CHARACTERS // 2:
        return end == len(head) and prefix.startswith(head)
    return prefix.endswith(head, 0, end)


def _starts_alike(suffix: str, tail: str) -> bool:
    if len(tail) < _TAIL_CHARACTERS:
        return suffix == tail
    return suffix.startswith(tail)


def _distance(known: Known) -> tuple[bool, int]:
    """Rank: made for this very place, then typed into, then backspaced out of."""
    return known.num_typed < 0, abs(known.num_typed)


class SuggestionMemory:
    """The last suggestions of the last documents, newest first.

    A closed document's stay for a while: opened again, the same text at the same
    place gets the same suggestion.
    """

    def __init__(self) -> None:
        self._by_document: dict[str, deque[_Remembered]] = {}

    def remember(
        self,
        uri: str,
        prefix: str,
        suffix: str,
        suggested: tuple[Suggested, ...],
        num_candidates: int,
    ) -> None:
        """Record what was suggested between ``prefix`` and ``suffix``.

        An empty answer is worth remembering too: it costs as much to compute.
        """
        remembered = self._by_document.pop(uri, None)
        if remembered is None:
            remembered = deque(maxlen=_REMEMBERED_PER_DOCUMENT)
        self._by_document[uri] = remembered
        while len(self._by_document) > _REMEMBERED_DOCUMENTS:
            del self._by_document[next(iter(self._by_document))]
        remembered.appendleft(
            _Remembered(
                prefix[-_HEAD_CHARACTERS:],
                suffix[:_TAIL_CHARACTERS],
                suggested,
                num_candidates,
                hash((prefix, suffix)),
            )
        )

    def recall(self, uri: str, prefix: str, suffix: str) -> Known | None:
        """Return what is still to be suggested here, or ``None`` if unknown."""
        best: Known | None = None
        for remembered in self._by_document.get(uri, ()):
            known = remembered.at(prefix, suffix)
            if known is not None and (
                best is None or _distance(known) < _distance(best)
            ):
                best = known
        return best

    def clear(self) -> None:
        """Drop everything: another model or other settings answer from now on."""
        self._by_document.clear()
