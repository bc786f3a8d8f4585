"""From what a model wrote to what is worth showing: pure functions on text.

The document after accepting is ``prefix + text + suffix[replace_right:]``; the
replaced part never spans a line end. Everything that was taken away has a name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsp_stablecode.finishing.beginning import strip_line_ends, tidy_beginning
from lsp_stablecode.finishing.below import cut_lines_below, drop_closers_below
from lsp_stablecode.finishing.draft import Draft
from lsp_stablecode.finishing.right import cut_overlap
from lsp_stablecode.finishing.whole import join_whole
from lsp_stablecode.lexis import indent_width, unify_line_ends
from lsp_stablecode.shape import Shape
from lsp_stablecode.stops import is_trivial, make_stop_rule, normal_line

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
    text: str,
    prefix: str,
    suffix: str,
    shape: Shape,
    finish_reason: str,
    *,
    is_remembered: bool = False,
) -> Finished:
    """Return what to show of ``text``, generated between ``prefix`` and ``suffix``.

    One that ``is_remembered`` was finished when it was made, and its beginning typed
    since, exactly: what it begins with now is what comes next.

    ``finish_reason`` is the candidate's own; ``length`` and ``cancelled`` mean that
    the text stops somewhere, so its unfinished end is cut off.
    """
    draft = Draft(text, prefix, suffix, shape, finish_reason)
    if not text.strip():
        return _empty(draft, _NOTHING.get(finish_reason, "blank"))
    _cut_control_tokens(draft)
    draft.text = unify_line_ends(draft.text)
    _cut_unfinished_end(draft)
    if not is_remembered:
        _stop_late(draft, prefix, suffix)
    _cut_control_tokens(draft)  # half of one may have come to stand at the end
    draft.ended_line = _ends_with_line_end(draft)
    if not is_remembered:
        tidy_beginning(draft)
    strip_line_ends(draft)
    if not draft.right.strip():
        cut_lines_below(draft)
        drop_closers_below(draft)
    elif draft.has_text_right:
        cut_overlap(draft)
    join_whole(draft)
    if _CONTROL_TOKEN.search(draft.text):  # what closed behind half of one is gone
        _cut_control_tokens(draft)
        draft.text = draft.text.rstrip()
    return _verdict(draft, _line_end(prefix, suffix))


# Also half of one at the end, where the token limit struck inside it.
_CONTROL_TOKEN = re.compile(
    r"<[|｜][^\n<>|｜]{1,48}[|｜]>|<[|｜][A-Za-z][\w▁-]*[|｜]?\s*\Z"
    r"|<(?:fim|FIM)[_-]\w+>|<fim_\w*\s*\Z"
    r"|<(?:repo_name|file_sep|jupyter_(?:start|text|code|output)|empty_output"
    r"|issue_(?:start|comment|closed)|commit_(?:before|msg|after))>"
    r"|<(?:EOT|SUF|MID|EOM|EOS|unk|eos|bos|pad|reponame|gh_stars|endoftext)>|</s>\s*\Z|\[(?:PREFIX|MIDDLE|SUFFIX)\]|[\x00\ufffd]"
)

# Scripts written without blanks between words have no word end to cut back to.
_PARTIAL_WORD = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff]+$")
# What it means that the rule, or the user, stopped before there was anything.
_NOTHING = {
    "line": "line-complete",
    "suffix": "already-there",
    "dedent": "dedent",
    "fence": "fence",
    "repetition": "repetition",
    "cancelled": "cancelled",
}


# What the generation left at the ends ----------------------------------------------


def _cut_control_tokens(draft: Draft) -> None:
    while match := _CONTROL_TOKEN.search(draft.text):
        draft.set(draft.text[: match.start()], "control-token")


def _cut_unfinished_end(draft: Draft) -> None:
    """Cut what a limit or a user stopped back to whole lines, or words."""
    if draft.finish_reason not in ("length", "cancelled"):
        return
    head, newline, tail = draft.text.rpartition("\n")
    if not tail.strip():
        return
    if newline and head.strip():
        draft.set(head + "\n", "cut-partial-line")
    elif draft.finish_reason == "length":
        draft.set("", "token-limit")  # half a line is worth nothing
    else:
        # also where the last word happens to be whole, so that it is on record
        draft.text = _PARTIAL_WORD.sub("", draft.text).rstrip()
        draft.removed.append("cut-partial-word")


def _stop_late(draft: Draft, prefix: str, suffix: str) -> None:
    """Let the rule see the last line whole, as the model has ended it."""
    text = draft.text
    if draft.finish_reason != "eos" or draft.has_text_right or not text.strip():
        return
    cut = make_stop_rule(draft.shape, prefix, suffix)(text + "\n")
    if cut is not None and text[cut.end :].strip():
        draft.set(text[: cut.end], cut.reason)


def _ends_with_line_end(draft: Draft) -> bool:
    tail = draft.text[len(draft.text.rstrip()) :]
    return "\n" in tail or draft.finish_reason not in ("eos", "length", "cancelled")


# The verdict -----------------------------------------------------------------------


def _verdict(draft: Draft, line_end: str) -> Finished:
    if not draft.text.strip():
        name = draft.removed[-1] if draft.removed else "blank"
        is_there = name in ("suffix-lines", "suffix-overlap", "suffix")
        return _empty(draft, "already-there" if is_there else name)
    if draft.text == draft.right[: draft.replace_right]:
        return _empty(draft, "already-there")
    if _repeats_above(draft):
        return _empty(draft, "repeats-line-above")
    text = draft.text
    if draft.is_above:
        text += "\n" + draft.before
    text = text.replace("\n", line_end)
    return Finished(text, draft.replace_right, tuple(draft.removed))


def _repeats_above(draft: Draft) -> bool:
    if not draft.is_blank:
        return False  # who begins a line again means to have it again
    above = [line for line in draft.prefix.split("\n")[:-1] if line.strip()]
    lines = (draft.before + draft.text).split("\n")
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


def _empty(draft: Draft, why: str) -> Finished:
    return Finished("", 0, tuple(draft.removed), f"empty:{why}")


def _line_end(prefix: str, suffix: str) -> str:
    """Return the line end that the document uses nearest to the cursor."""
    ends = re.findall(r"\r\n|\n|\r", prefix[-4000:]) or re.findall(
        r"\r\n|\n|\r", suffix[:4000]
    )
    return ends[-1] if ends else "\n"
