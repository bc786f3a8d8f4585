"""Where the last few tokens of a text stood before."""

from __future__ import annotations

from collections.abc import Sequence

from model.kv_cache import common_prefix_length

LONGEST_INDEXED = 4
LONGEST_MATCH = 8

SEPARATOR = -1
"""Stands between texts; no token has this id, and no draft goes beyond it."""


class NgramIndex:
    """Token ids, and after which runs of 1 to 4 of them which token came last.

    Appending and removing a token take a few dictionary operations each, so an index
    follows a prompt that is typed at: only what changed is touched. A run is known
    from when the token after it is, so the end of the text never finds itself.
    """

    def __init__(self) -> None:
        self._token_ids: list[int] = []
        # For every run: where the token after its latest occurrence stands.
        self._after: dict[tuple[int, ...], int] = {}
        # For every token: what its runs pointed to before, by length.
        self._replaced: list[tuple[int | None, ...]] = []

    def __len__(self) -> int:
        return len(self._token_ids)

    @property
    def token_ids(self) -> Sequence[int]:
        """The text, to be read only."""
        return self._token_ids

    def extend(self, token_ids: Sequence[int]) -> None:
        """Append tokens, which end runs that are found from now on."""
        if not token_ids:
            return
        held, after, get = self._token_ids, self._after, self._after.get
        num_short = max(0, min(LONGEST_INDEXED - len(held), len(token_ids)))
        for token_id in token_ids[:num_short]:
            runs = self._runs_at_end()
            self._replaced.append(tuple(map(get, runs)))
            after.update(dict.fromkeys(runs, len(held)))
            held.append(token_id)
        if num_short == len(token_ids):
            return
        # The same, spelled out: a prompt's thousands of tokens come this way.
        first, second, third, fourth = held[-LONGEST_INDEXED:]
        for end, token_id in enumerate(token_ids[num_short:], start=len(held)):
            one, two = (fourth,), (third, fourth)
            three, four = (second, third, fourth), (first, second, third, fourth)
            self._replaced.append((get(one), get(two), get(three), get(four)))
            after[one] = after[two] = after[three] = after[four] = end
            first, second, third, fourth = second, third, fourth, token_id
        held.extend(token_ids[num_short:])

    def truncate(self, num_tokens: int) -> None:
        """Forget everything after the first ``num_tokens``, exactly."""
        held, after = self._token_ids, self._after
        while len(held) > num_tokens:
            held.pop()
            replaced = self._replaced.pop()
            for run, before in zip(self._runs_at_end(), replaced, strict=True):
                if before is None:
                    del after[run]
                else:
                    after[run] = before

    def become(self, token_ids: list[int]) -> None:
        """Hold ``token_ids``, keeping what is the same at the front."""
        shared = common_prefix_length(self._token_ids, token_ids)
        if 2 * shared < len(self._token_ids):
            # Starting anew is quicker than undoing.
            self.clear()
        self.truncate(shared)
        self.extend(token_ids[len(self._token_ids) :])

    def clear(self) -> None:
        """Forget everything."""
        self._token_ids.clear()
        self._after.clear()
        self._replaced.clear()

    def find(self, tail: Sequence[int]) -> tuple[int, int]:
        """Return where the longest match of ``tail``'s end goes on, and its length.

        The latest of equally long ones; length 0 where there is none. A match of 4
        is followed back to up to 8 tokens.
        """
        for length in range(min(LONGEST_INDEXED, len(tail)), 0, -1):
            position = self._after.get(tuple(tail[-length:]))
            if position is None:
                continue
            most = min(LONGEST_MATCH, len(tail), position)
            while (
                length < most
                and self._token_ids[position - length - 1] == tail[-length - 1]
            ):
                length += 1
            return position, length
        return 0, 0

    def read(self, position: int, count: int) -> list[int]:
        """Return up to ``count`` ids from ``position``, ending at a separator.

        At the end of the text it goes on with what it has read: a repetition whose
        second round has just begun is taken to be going on.
        """
        found = self._token_ids[position : position + count]
        if SEPARATOR in found:
            return found[: found.index(SEPARATOR)]
        period = len(found)
        while found and len(found) < count:
            found.append(found[-period])
        return found

    def _runs_at_end(self) -> list[tuple[int, ...]]:
        """Return the runs that the last tokens are, shortest first."""
        held = self._token_ids
        most = min(LONGEST_INDEXED, len(held))
        return [tuple(held[-length:]) for length in range(1, most + 1)]
