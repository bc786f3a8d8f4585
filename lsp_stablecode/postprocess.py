"""From what a model wrote to what is worth showing: pure functions on text.

The document after accepting is ``prefix + text + suffix[replace_right:]``; the
replaced part never spans a line end. Everything that was taken away has a name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsp_stablecode.brackets import (
    PAIRS,
    Brackets,
    Closer,
    leading_unopened,
    match_brackets,
)
from lsp_stablecode.closers import Document, cut_surplus
from lsp_stablecode.endings import comment_start, cut_end_words, ends_unfinished
from lsp_stablecode.lexis import (
    TAB_WIDTH,
    indent_width,
    is_closers_only,
    split_at_cursor,
    unify_line_ends,
)
from lsp_stablecode.shape import Shape
from lsp_stablecode.stops import is_trivial, make_stop_rule, normal_line
from lsp_stablecode.syntax import syntax_of

if TYPE_CHECKING:
    from lsp_stablecode.judgement.confidence import Features

__all__ = ["Finished", "dedupe", "finish"]


@dataclass(frozen=True, slots=True)
class Finished:
    """A suggestion, or the reason that there is none.

    ``replace_right`` counts the code points right of the cursor that ``text`` brings
    itself. ``removed`` names what was done to the text, in order. ``reason`` is
    ``empty:<why>`` where ``text`` is empty, else empty. ``confidence`` is the
    probability that its first line is right, ``None`` where nothing says so.
    ``origin`` is the identifier of the suggestion that this is the rest of.
    """

    text: str
    replace_right: int = 0
    removed: tuple[str, ...] = ()
    reason: str = ""
    confidence: float | None = None
    features: Features | None = None
    origin: str = ""

    def is_surer_than(self, threshold: float) -> bool:
        """Whether it may be shown where so much confidence is asked for."""
        return self.confidence is None or self.confidence >= threshold


def dedupe(finished: Sequence[Finished]) -> tuple[Finished, ...]:
    """Return the distinct suggestions, first ones first, without the empty ones."""
    seen: set[str] = set()
    kept = []
    for one in finished:
        key = normal_line(one.text)
        if key and key not in seen:
            seen.add(key)
            kept.append(one)
    return tuple(kept)


def finish(
    text: str, prefix: str, suffix: str, shape: Shape, finish_reason: str
) -> Finished:
    """Return what to show of ``text``, generated between ``prefix`` and ``suffix``.

    ``finish_reason`` is the candidate's own; ``length`` and ``cancelled`` mean that
    the text stops somewhere, so its unfinished end is cut off.
    """
    return _Work(text, prefix, suffix, shape, finish_reason).finish()


# Also half of one at the end, where the token limit struck inside it.
_CONTROL_TOKEN = re.compile(
    r"<[|｜][^\n<>|｜]{1,48}[|｜]>|<[|｜][A-Za-z][\w▁-]*[|｜]?\s*\Z"
    r"|<(?:fim|FIM)[_-]\w+>|<fim_\w*\s*\Z"
    r"|<(?:repo_name|file_sep|jupyter_(?:start|text|code|output)|empty_output"
    r"|issue_(?:start|comment|closed)|commit_(?:before|msg|after))>"
    r"|<(?:EOT|SUF|MID|EOM|EOS|unk|eos|bos|pad|reponame|gh_stars|endoftext)>|</s>\s*\Z|\[(?:PREFIX|MIDDLE|SUFFIX)\]|[\x00\ufffd]"
)

_LEADING_BLANK_LINES = re.compile(r"(?:[ \t]*\n)+")
# Scripts written without blanks between words have no word end to cut back to.
_PARTIAL_WORD = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff]+$")
_ONE_BLANK = re.compile(r" (?![ \t])")
_ONE_BLANK_END = re.compile(r"(?<![ \t]) $")
_JOINS_NEXT = " \t([{.=!-+*/&|~@<,:?%^\\$#"

# What it means that the rule, or the user, stopped before there was anything.
_NOTHING = {
    "line": "line-complete",
    "suffix": "already-there",
    "dedent": "dedent",
    "fence": "fence",
    "repetition": "repetition",
    "cancelled": "cancelled",
}

_TERMINATORS = ";,:"


class _Work:
    """One text on its way through the steps."""

    def __init__(
        self, text: str, prefix: str, suffix: str, shape: Shape, finish_reason: str
    ) -> None:
        self.text = text
        self.shape = shape
        self.finish_reason = finish_reason
        self.prefix = unify_line_ends(prefix)
        self.line_end = _line_end(prefix, suffix)
        self.before, self.right = split_at_cursor(prefix, suffix)
        rest = unify_line_ends(suffix[len(self.right) :])
        self.suffix = self.right + rest
        self.document = Document(self.prefix, self.suffix, shape.language_id)
        self.below = [line for line in rest.split("\n")[1:] if line.strip()][:40]
        self.original = (prefix, suffix)
        self.replace_right = 0
        self.removed: list[str] = []
        self.brackets: dict[str, Brackets] = {}
        self.is_joined = False
        self.is_above = False
        self.ended_line = False

    @property
    def is_blank(self) -> bool:
        """Whether nothing but blanks stands left of the cursor on its line."""
        return not self.before.strip()

    @property
    def has_text_right(self) -> bool:
        return bool(self.right.strip()) and not is_closers_only(self.right)

    def finish(self) -> Finished:
        if not self.text.strip():
            return self._empty(_NOTHING.get(self.finish_reason, "blank"))
        self._cut_control_tokens()
        self.text = unify_line_ends(self.text)
        self._cut_unfinished_end()
        self._stop_late()
        self._cut_control_tokens()  # half of one may have come to stand at the end
        self.ended_line = self._ends_with_line_end()
        self._tidy_beginning()
        self._strip_line_ends()
        if not self.right.strip():
            self._cut_lines_below()
            self._drop_closers_below()
        elif self.has_text_right:
            self._cut_overlap()
        self._settle()
        return self._verdict()

    def _set(self, text: str, name: str) -> None:
        if text != self.text:
            self.text = text
            if name not in self.removed:
                self.removed.append(name)

    # What the generation left at the ends ------------------------------------------

    def _cut_control_tokens(self) -> None:
        while match := _CONTROL_TOKEN.search(self.text):
            self._set(self.text[: match.start()], "control-token")

    def _cut_unfinished_end(self) -> None:
        if self.finish_reason not in ("length", "cancelled"):
            return
        head, newline, tail = self.text.rpartition("\n")
        if not tail.strip():
            return
        if newline and head.strip():
            self._set(head + "\n", "cut-partial-line")
        elif self.finish_reason == "length":
            self._set("", "token-limit")  # half a line is worth nothing
        else:
            bare = _PARTIAL_WORD.sub("", self.text)
            # also where the last word happens to be whole, so that it is on record
            self.text = bare.rstrip()
            self.removed.append("cut-partial-word")

    def _stop_late(self) -> None:
        """Let the rule see the last line whole, as the model has ended it."""
        if self.finish_reason != "eos" or self.has_text_right:
            return
        if not self.text.strip():
            return
        prefix, suffix = self.original
        cut = make_stop_rule(self.shape, prefix, suffix)(self.text + "\n")
        if cut is not None and self.text[cut.end :].strip():
            self._set(self.text[: cut.end], cut.reason)

    def _ends_with_line_end(self) -> bool:
        tail = self.text[len(self.text.rstrip()) :]
        return "\n" in tail or self.finish_reason not in ("eos", "length", "cancelled")

    # The beginning -----------------------------------------------------------------

    def _tidy_beginning(self) -> None:
        match = _LEADING_BLANK_LINES.match(self.text)
        if not self.is_blank:
            if match and self.shape.kind == "line":
                self._set("", "line-complete")
            elif match:
                self._set("\n" + self.text[match.end() :], "leading-blank-lines")
            elif self._doubles_blank():
                self._set(self.text[1:], "leading-blanks")
            elif self._pads_bracket():
                self._set(self.text.lstrip(" "), "leading-blanks")
            return
        if match:
            rest = self.text[match.end() :]
            self._set(self._without_typed(rest), "leading-blank-lines")
            is_doubled = self.shape.indent_fixed
        else:
            is_doubled = bool(self.before)
        if is_doubled and self.text[:1] in (" ", "\t"):
            self._undouble_indentation()

    def _doubles_blank(self) -> bool:
        # more than one is an alignment; in a string any is content
        is_double = _ONE_BLANK_END.search(self.before) and _ONE_BLANK.match(self.text)
        return bool(is_double) and self.shape.reason != "string"

    def _pads_bracket(self) -> bool:
        """Return whether a blank follows a bracket, in code that has none there."""
        opener = self.before[-1:]
        if opener not in ("(", "[") or not self.text.startswith(" "):
            return False
        return self.shape.reason != "string" and opener + " " not in self.prefix

    def _without_typed(self, text: str) -> str:
        """Return ``text``, whose first line starts at column 0, less what is typed."""
        if text.startswith(self.before):
            return text[len(self.before) :]
        typed, content = indent_width(self.before), text.lstrip(" \t")
        deeper = max(0, indent_width(text) - typed)
        if "\t" in self.before:
            return "\t" * (deeper // TAB_WIDTH) + content
        return " " * deeper + content

    def _undouble_indentation(self) -> None:
        typed, lead = indent_width(self.before), indent_width(self.text)
        if not self.shape.indent_fixed:
            # the rest of an indentation begun, or all of it once more
            if lead > typed:
                self._set(self._without_typed(self.text), "leading-indentation")
            return
        first, newline, rest = self.text.lstrip(" \t").partition("\n")
        columns = [indent_width(line) for line in rest.split("\n") if line.strip()]
        opens = first.rstrip().endswith((":", "{", "(", "["))
        if columns and self._is_shifted(typed, lead, min(columns), opens):
            width = len(self.text) - len(self.text.lstrip(" \t"))
            rest = "\n".join(
                line[width:] if not line[:width].strip() else line
                for line in rest.split("\n")
            )
        self._set(first + newline + rest, "leading-indentation")

    @staticmethod
    def _is_shifted(typed: int, lead: int, least: int, opens: bool) -> bool:
        """Return whether the lines after the first are indented by ``lead`` too much.

        A model often begins with one blank more than the user typed and keeps to it;
        one that repeats the whole indentation means the other lines as they are.
        """
        if not opens:
            return least == typed + lead
        return least > typed + lead or (lead != typed and least == typed + lead)

    def _strip_line_ends(self) -> None:
        """Take the blanks off all lines but the last, and blank lines off the end."""
        lines = self.text.split("\n")
        while len(lines) > 1 and not lines[-1].strip():
            lines.pop()
            lines[-1] = lines[-1].rstrip()
        stripped = [line.rstrip() for line in lines[:-1]]
        self._set("\n".join([*stripped, lines[-1]]), "trailing-blanks")

    # What stands below the cursor's line -------------------------------------------

    def _cut_lines_below(self) -> None:
        """Cut lines off the end that the suffix already has as its next ones."""
        lines = self.text.split("\n")
        first = 0 if self.is_blank else 1
        spots = [i for i in range(first, len(lines)) if lines[i].strip()]
        for at, spot in enumerate(spots):
            tail = [self._indented(lines, i) for i in spots[at:]][: len(self.below)]
            if self._goes_on_below(tail, lines, spots[at:]):
                self._set("\n".join(lines[:spot]).rstrip(), "suffix-lines")
                return

    def _goes_on_below(
        self, tail: list[str], lines: list[str], spots: list[int]
    ) -> bool:
        """Return whether lines are the next ones of the document."""
        below = self.below[: len(tail)]
        if len(tail) > len(below):
            return False
        if list(map(normal_line, tail)) != list(map(normal_line, below)):
            return False
        num_telling = sum(map(self._is_telling, tail))
        if num_telling > 1:
            return True  # in whatever column
        if len(tail) < len(spots) or not self._is_in_place(tail, below):
            return False
        return self._may_cut(tail, lines, spots[0])

    def _is_in_place(self, tail: list[str], below: list[str]) -> bool:
        is_layout = syntax_of(self.shape.language_id).layout
        return all(
            indent_width(a) == indent_width(b)
            or (not is_layout and (len(tail) > 1 or self._is_telling(a)))
            for a, b in zip(tail, below, strict=True)
        )

    def _is_telling(self, line: str) -> bool:
        closers = syntax_of(self.shape.language_id).closers
        return not is_trivial(line) and line.strip(" \t();,") not in closers

    def _indented(self, lines: list[str], index: int) -> str:
        return self.before + lines[0] if index == 0 else lines[index]

    def _may_cut(self, tail: list[str], lines: list[str], index: int) -> bool:
        if any(map(self._is_telling, tail)):
            return True
        if not is_closers_only(tail[0]):
            return len(tail) > 1
        start = sum(len(line) + 1 for line in lines[:index])
        brackets = self._brackets()
        return any(c.position >= start for c in brackets.closers)

    def _drop_closers_below(self) -> None:
        """Drop closers off the end that the next line holds for the same opener."""
        if not self.below:
            return
        following = self.below[0].strip()
        while run := self._closers_at_end():
            for number in range(len(run), 0, -1):
                characters = "".join(one.character for one in run[-number:])
                if following.startswith(characters) and self._is_for(
                    run[-number].opener, indent_width(self.below[0])
                ):
                    bare = self.text.rstrip()
                    self._set(bare[:-number].rstrip(), "duplicate-closer")
                    break
            else:
                return

    def _closers_at_end(self) -> list[Closer]:
        """Return the run of closers that ends the text, for openers of lines above."""
        run: list[Closer] = []
        position = len(self.text.rstrip()) - 1
        line_start = len(self.prefix) - len(self.before)
        for closer in reversed(self._brackets().closers):
            if closer.position != position or not 0 <= closer.opener < line_start:
                break
            run.insert(0, closer)
            position -= 1
        return run

    def _is_for(self, opener: int, column: int) -> bool:
        """Return whether a closer at ``column`` is the one of the prefix's opener."""
        start = self.prefix.rfind("\n", 0, opener) + 1
        if indent_width(self.prefix[start:]) != column:
            return False
        others = self._brackets().outside
        # two openers on one line: the text's closer and the suffix's are one each
        return not (others and others[-1][0] >= start)

    def _brackets(self, text: str | None = None) -> Brackets:
        text = self.text if text is None else text
        if text not in self.brackets:
            language_id = self.shape.language_id
            self.brackets[text] = match_brackets(self.prefix, text, language_id)
        return self.brackets[text]

    # What stands right of the cursor -----------------------------------------------

    def _cut_overlap(self) -> None:
        """Cut off what repeats the beginning of the text right of the cursor."""
        right = "".join(self.right.split())
        head, newline, line = self.text.rpartition("\n")
        places = [i for i, c in enumerate(line) if not c.isspace()]
        bare = "".join(line[i] for i in places)
        offset = len(head) + len(newline)
        # before a whole line, its first word at the text's end is no overlap
        least = len(right) if self.is_blank else 1
        for length in range(min(len(bare), len(right)), least - 1, -1):
            if not bare.endswith(right[:length]):
                continue
            start = offset + places[-length]
            # all of it: then the text's line is the whole line, token or not
            is_all = length == len(right) and not self.is_blank
            is_token = self._is_token_start(start) and self._ends_token(length, right)
            if (is_all or is_token) and self._cut_at_right(start):
                return
        found = bare.find(right) if len(right) >= 3 else -1
        if found >= 0 and self._is_token_start(offset + places[found]):
            self._cut_at_right(offset + places[found])

    def _is_token_start(self, index: int) -> bool:
        left = self.text[index - 1] if index else self.prefix[-1:]
        return not (_is_word(left) and _is_word(self.text[index]))

    @staticmethod
    def _ends_token(length: int, right: str) -> bool:
        if length == len(right):
            return True
        return not (_is_word(right[length - 1]) and _is_word(right[length]))

    def _cut_at_right(self, start: int) -> bool:
        if not self._repeats_right(start):
            return False
        kept = self.text[:start]
        if self.right[:1].isspace():
            kept = kept.rstrip(" \t")
        self._set(kept, "suffix-overlap")
        self.is_joined = True
        return True

    def _repeats_right(self, start: int) -> bool:
        """Return whether the closers from ``start`` on are not the text's own.

        The text may bring as many of its own as it closes of the prefix's.
        """
        kept = self._brackets(self.text[:start])
        own = len(kept.inside) - len(self._brackets().inside)
        return own <= len(kept.closers)

    def _join_right(self) -> None:
        """Settle how the text's end meets the rest of the line."""
        if not self.text.strip() or not self.right.strip():
            self._set(self.text.rstrip(), "trailing-blanks")
            return
        self.is_above = self._is_line_above()
        if not self.is_above and not self.is_joined:
            self.replace_right = self._covered()
            if not self.replace_right:
                self._drop_closers_right()
            elif self.is_blank and self._is_other_closing_line():
                self.replace_right = 0
        if self.is_blank and not self.has_text_right and not self.replace_right:
            self.is_above = self.ended_line
        rest = self.right[self.replace_right :]
        is_closed = not rest.strip() or is_closers_only(rest)
        if self.is_above or is_closed or rest[0].isspace():
            self._set(self.text.rstrip(), "trailing-blanks")
        if self.text.startswith("\n") and rest[:1] in PAIRS and rest:
            column = len(self.before) - len(self.before.lstrip())
            self.text += "\n" + self.before[:column]

    def _is_line_above(self) -> bool:
        """Return whether the text is a line of its own above the code to its right."""
        if not self.is_blank or not self.has_text_right or self.is_joined:
            return False
        if self.ended_line or self.finish_reason != "eos":
            return True
        return self.text[-1] not in _JOINS_NEXT and not self._brackets().inside

    def _is_other_closing_line(self) -> bool:
        """Return whether text and right are two lines of closers, in two columns."""
        column = indent_width(self.before + self.right)
        return (
            is_closers_only(self.text)
            and indent_width(self.before + self.text) != column
        )

    def _covered(self) -> int:
        """Return how much of the closers right of the cursor the text brings."""
        brackets = self._brackets()
        bare = self.text.rstrip()
        if not brackets.in_code and not brackets.closers:
            return _textual_overlap(bare, self.right)
        whole = self.right.strip()
        is_all = not self.has_text_right and bare.endswith(whole)
        if is_all and self._repeats_right(len(bare) - len(whole)):
            return len(self.right.rstrip())
        queue = self._closing_marks(bare, brackets)
        opened = [character for _, character in brackets.inside]
        covered = 0
        for index, character in enumerate(self.right):
            if character.isspace():
                continue
            if opened and opened[-1] == PAIRS.get(character, character):
                break  # it closes what the text opens
            if character not in _TERMINATORS:
                while queue and queue[0] in _TERMINATORS:
                    queue.pop(0)
            if not queue or queue[0] != character:
                break
            queue.pop(0)
            covered = index + 1
        return covered

    @staticmethod
    def _closing_marks(text: str, brackets: Brackets) -> list[str]:
        """Return the closers of what the prefix opened, and the marks after them."""
        closers = {closer.position for closer in brackets.closers}
        tail = len(text.rstrip(_TERMINATORS))
        marks = []
        follows = False
        for position, character in enumerate(text):
            is_mark = character in _TERMINATORS and (follows or position >= tail)
            if position in closers or is_mark:
                marks.append(character)
                follows = True
            elif not character.isspace():
                follows = False
        return marks

    def _drop_closers_right(self) -> None:
        """Drop closers off the end that the rest of the line holds already."""
        while True:
            bare = self.text.rstrip()
            brackets = self._brackets()
            closers = brackets.closers
            if not closers or closers[-1].position != len(bare) - 1:
                return
            kind = closers[-1].character
            if kind not in PAIRS:
                return
            held = leading_unopened(self.right, kind)
            opened = 0
            for _, character in reversed(self._brackets("").outside):
                if character != PAIRS[kind]:
                    break
                opened += 1
            used = sum(closer.character == kind for closer in closers)
            if not held or used + held <= opened:
                return
            self._set(bare[:-1].rstrip(), "duplicate-closer")

    # The document as a whole -------------------------------------------------------

    def _settle(self) -> None:
        """Join the text with what is right of it; cut until the document is whole."""
        while self.text.strip():
            text = self.text
            self._join_right()
            kept, name = self._whole(self.text)
            if kept == self.text:
                return
            # what was covered or added at the end is not any more
            self._set(kept[: len(text)] if text.startswith(kept) else kept, name)
            self.replace_right = 0
            self.is_above = False

    def _whole(self, text: str) -> tuple[str, str]:
        """Return what of ``text`` leaves the document whole, and what the rest did."""
        replaced, document = self.replace_right, self.document
        if self.is_above:
            document = Document(
                self.prefix, "\n" + self.before + self.suffix, self.shape.language_id
            )
        kept = cut_surplus(document, text, replaced)
        if kept != text:
            head, _, line = kept.rpartition("\n")
            is_end = line.strip() in syntax_of(self.shape.language_id).closers
            return head.rstrip() if is_end else kept, "duplicate-closer"
        kept = cut_end_words(
            self.prefix, text, document.suffix[replaced:], self.shape.language_id
        )
        if kept != text:
            return kept, "duplicate-closer"
        reading = document.reading(text, replaced)
        place = comment_start(reading)
        if place >= 0:
            return text[:place].rstrip(), "line-comment"
        if ends_unfinished(reading):
            return text.rpartition("\n")[0].rstrip(), "unfinished"
        return text, ""

    # The verdict -------------------------------------------------------------------

    def _verdict(self) -> Finished:
        if not self.text.strip():
            name = self.removed[-1] if self.removed else "blank"
            is_there = name in ("suffix-lines", "suffix-overlap", "suffix")
            return self._empty("already-there" if is_there else name)
        if self.text == self.right[: self.replace_right]:
            return self._empty("already-there")
        if self._repeats_above():
            return self._empty("repeats-line-above")
        if self.is_above:
            self.text += "\n" + self.before
        return Finished(
            self.text.replace("\n", self.line_end),
            self.replace_right,
            tuple(self.removed),
        )

    def _repeats_above(self) -> bool:
        if not self.is_blank:
            return False  # who begins a line again means to have it again
        above = [line for line in self.prefix.split("\n")[:-1] if line.strip()]
        lines = (self.before + self.text).split("\n")
        ours = [line for line in lines if line.strip()]
        if len(ours) > len(above):
            return False
        tail = above[len(above) - len(ours) :]
        is_same = all(
            normal_line(a) == normal_line(b) and indent_width(a) == indent_width(b)
            for a, b in zip(ours, tail, strict=True)
        )
        longest = max((normal_line(line) for line in ours), key=len)
        return is_same and len(longest) >= 8 and not is_trivial(longest)

    def _empty(self, why: str) -> Finished:
        return Finished("", 0, tuple(self.removed), f"empty:{why}")


def _line_end(prefix: str, suffix: str) -> str:
    """Return the line end that the document uses nearest to the cursor."""
    ends = re.findall(r"\r\n|\n|\r", prefix[-4000:]) or re.findall(
        r"\r\n|\n|\r", suffix[:4000]
    )
    return ends[-1] if ends else "\n"


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _textual_overlap(text: str, right: str) -> int:
    for length in range(min(len(text), len(right.rstrip())), 0, -1):
        if text.endswith(right[:length]) and right[:length].strip():
            return length
    return 0
