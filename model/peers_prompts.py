"""How peers are asked: llama.vim's habits with llama-server's, and the model card's.

llama.vim sends up to 256 lines before the cursor's, the line up to the cursor, and the
rest of it with up to 64 lines after; llama-server's ``/infill`` tokenises the three
apart, cuts them to what fits a batch at 3 to 1, and puts the suffix between (PSM).
Its cache keeps the longest common prefix, and with ``--cache-reuse`` longer pieces
that moved. Pure functions, but for the tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model.benchmark import PeerUnavailableError, PromptForPeer
from model.dialects import DIALECTS, Slot
from model.directory import vocabulary
from model.fim import PromptBuilder
from model.kv_cache import common_prefix_length
from model.tokenizer import CodeTokenizer
from model.weights import prepare

LINES_BEFORE = 256
LINES_AFTER = 64
NEW_TOKENS = 128
CARD_NEW_TOKENS = 48
"""As the cards of StableCode models generate."""


@dataclass(frozen=True, slots=True)
class LineWindows:
    """What llama.vim sends: whole lines before, the line's start, and what follows."""

    before: str
    line_start: str
    after: str

    @property
    def indent(self) -> int:
        """Blanks that the cursor's line begins with."""
        return len(self.line_start) - len(self.line_start.lstrip(" \t"))


def line_windows(prefix: str, suffix: str) -> LineWindows:
    """Cut what is before and after the cursor as llama.vim does."""
    *lines, line_start = prefix.split("\n")
    before = "".join(f"{line}\n" for line in lines[-LINES_BEFORE:])
    rest, *following = suffix.split("\n")
    after = "\n".join([rest, *following[:LINES_AFTER]])
    return LineWindows(before, line_start, f"{after}\n")


@dataclass(frozen=True, slots=True)
class Moved:
    """A piece of a cached prompt that the next prompt has elsewhere, in tokens."""

    source: int
    target: int
    num_tokens: int


def find_moved(
    held: Sequence[int], wanted: Sequence[int], start: int, least_tokens: int
) -> list[Moved]:
    """Return the pieces after ``start`` that llama-server would move, in order.

    ``held`` is gone through from its front; a piece counts from ``least_tokens`` on,
    and goes where the last one ended.
    """
    moved = []
    source = target = start
    while source < len(held) and target < len(wanted):
        length = common_prefix_length(held[source:], wanted[target:])
        if length >= least_tokens:
            moved.append(Moved(source, target, length))
            source += length
            target += length
        else:
            source += 1
    return moved


def breaks_indent(text: str, least_indent: int) -> bool:
    """Return whether the last line begins further left than ``least_indent``.

    An empty line does as well. The first line continues the cursor's, and never does.
    """
    if least_indent <= 0:
        return False
    further = text.split("\n")[1:]
    for number, line in enumerate(further, 1):
        num_blanks = len(line) - len(line.lstrip(" \t"))
        # Blanks alone say nothing of a line until what follows them has come.
        is_known = len(line) > num_blanks or number < len(further)
        if is_known and num_blanks < least_indent:
            return True
    return False


class PeerPrompts:
    """Prompts in a model's own tokens, for its peers."""

    def __init__(self, name: str) -> None:
        """Read the tokenizer. Raises what ``prepare`` raises."""
        prepared = prepare(name, weights=False)
        self._vocabulary_size = len(vocabulary(prepared.directory))
        self._tokenizer = CodeTokenizer.from_file(prepared.directory / "tokenizer.json")
        self._dialect = DIALECTS[prepared.dialect]
        builder = PromptBuilder(
            self._tokenizer,
            self._dialect,
            prepared.default_fim_order,
            prepared.stop_tokens,
        )
        self._stop_ids = tuple(sorted(builder.stop_ids))

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The tokens that end a completion."""
        return self._stop_ids

    @property
    def vocabulary_size(self) -> int:
        """How many different tokens there are."""
        return self._vocabulary_size

    def count(self, text: str) -> int:
        """Return how many tokens a text is."""
        return len(self._tokenizer.encode(text))

    def encode(self, text: str) -> list[int]:
        """Return a text's ids."""
        return self._tokenizer.encode(text)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of ids."""
        return self._tokenizer.decode(token_ids)

    def llama_vim(self, prefix: str, suffix: str, batch_tokens: int) -> PromptForPeer:
        """Return the prompt that llama-server makes of llama.vim's request."""
        windows = line_windows(prefix, suffix)
        line_start = self.encode(windows.line_start)
        before = self.encode(windows.before)[-(3 * (batch_tokens // 4)) :]
        room = max(0, batch_tokens // 4 - (2 + len(line_start)))
        return PromptForPeer(
            self._psm([*before, *line_start], self.encode(windows.after)[:room]),
            NEW_TOKENS,
            windows.indent,
        )

    def card(self, prefix: str, suffix: str) -> PromptForPeer:
        """Return the prompt as the model card writes it: prefix, suffix, middle."""
        token_ids = self._psm(self.encode(prefix), self.encode(suffix))
        return PromptForPeer(token_ids, CARD_NEW_TOKENS)

    def _psm(self, prefix: Sequence[int], suffix: Sequence[int]) -> tuple[int, ...]:
        """Raise ``PeerUnavailableError`` for a model without this order."""
        if self._dialect.psm is None:
            raise PeerUnavailableError(
                f"Models of the kind {self._dialect.name} have no PSM prompt."
            )
        slots = {Slot.PREFIX: prefix, Slot.SUFFIX: suffix}
        token_ids: list[int] = []
        for part in self._dialect.psm:
            if isinstance(part, Slot):
                token_ids.extend(slots[part])
            else:
                token_ids.append(self._tokenizer.control_id(part))
        return tuple(token_ids)
