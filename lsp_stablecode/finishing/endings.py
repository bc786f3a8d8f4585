"""Where a text may not end, and the words and marks at its end that are not its own.

Pure functions on text with line feeds as line ends.
"""

from __future__ import annotations

import re

from lsp_stablecode.brackets import PAIRS
from lsp_stablecode.finishing.closers import Reading
from lsp_stablecode.lexis import (
    TAB_WIDTH,
    Span,
    indent_width,
    mask,
    num_quoted_definitions,
)
from lsp_stablecode.syntax import syntax_of

__all__ = ["comment_start", "cut_end_words", "ends_unfinished"]

# A line that ends so goes on below it.
_GOES_ON = re.compile(
    r"(?:[(\[{,;:\\+\-*/%&|<=^]|[-=\s]>|\b(?:do|then|and|or|not|in|is|as|if|else|for|of"
    r"|return|yield|await|new|instanceof|typeof|lambda|when|unless|async|throw))$"
)
_OPERATOR = re.compile(r"(?:\w\s*[-+*/|&]?=|\w\.|&&|\|\|)$")
_BEFORE_OPENING = re.compile(r"[=(:,\[{]$|\breturn$")
_BEHIND_CLOSING = re.compile(r"[ \t]*(?:[)\]},;.:%+]|\n|$)")


def ends_unfinished(reading: Reading) -> bool:
    """Return whether the text ends inside of a string or bracket of its last line.

    What the rest of the cursor's line closes is closed, and a bracket may stay open
    where the line ends as lines do that go on.
    """
    return (
        _ends_in_string(reading) or _ends_in_bracket(reading) or _lacks_operand(reading)
    )


def _ends_in_string(reading: Reading) -> bool:
    document, end = reading.document, reading.end
    whole = document.prefix + reading.text + document.suffix[reading.replaced :]
    line_start = document.prefix.rfind("\n") + 1
    line_end = whole.find("\n", end)
    line_end = len(whole) if line_end < 0 else line_end
    has_right = bool(whole[end:line_end].strip())
    for span in reading.pairing.spans:
        if span.kind != "string" or span.start < line_start:
            continue
        if not span.start < end <= span.end or (span.closed and span.end == end):
            continue
        if span.closed and span.end <= line_end:
            return False
        is_own = span.start >= len(document.prefix)
        if not is_own and span.close_length != 1:
            return False
        return has_right or not (span.closed and _lacks_quote(reading, span))
    return False


def _lacks_quote(reading: Reading, span: Span) -> bool:
    """Return whether what stands below is the rest of a string without a beginning.

    It is if, read as code, it would hold more definitions inside of strings, or else
    if the next quote looks as those do that end one.
    """
    if reading.text.endswith("\\"):
        return True  # the line goes on
    document = reading.document
    quote = reading.text[span.start - len(document.prefix) :][: span.close_length]
    below = document.suffix[reading.replaced :]
    as_code = num_quoted_definitions(below, document.language_id)
    as_string = num_quoted_definitions(quote + below, document.language_id)
    if as_code != as_string:
        return as_string < as_code
    inner, _, behind = below.partition(quote)
    is_opening = _BEFORE_OPENING.search(inner.rstrip()) is not None
    return not is_opening and _BEHIND_CLOSING.match(behind) is not None


def _ends_in_bracket(reading: Reading) -> bool:
    document = reading.document
    whole = document.prefix + reading.text
    line_start = whole.rfind("\n") + 1
    left = [
        one for one in reading.pairing.left if line_start <= one.position < reading.end
    ]
    if not left:
        return False
    right, _, below = document.suffix[reading.replaced :].partition("\n")
    if right.strip():
        return True  # the line does not end here
    code = _last_code(reading)
    num_typed = 0 if "\n" in reading.text else len(document.prefix) - line_start
    if not code[num_typed:].strip():
        return True  # no more than a remark
    if _is_header(code, document.language_id) or code.endswith(("(", "[", "{")):
        return False
    closers = [closer for closer in ")]}" if below.lstrip()[:1] == closer]
    if closers and PAIRS[closers[0]] != left[-1].character and code[-1] != ",":
        return True  # nothing goes on below
    return _GOES_ON.search(code) is None


def _lacks_operand(reading: Reading) -> bool:
    """Return whether the text ends with an operator, and the next line closes."""
    document = reading.document
    right, _, below = document.suffix[reading.replaced :].partition("\n")
    if right.strip() or below.lstrip()[:1] not in (")", "]", "}"):
        return False
    return _OPERATOR.search(_last_code(reading)) is not None


def _last_code(reading: Reading) -> str:
    """Return the line that the text ends, without what is right of it."""
    whole = reading.document.prefix + reading.text
    code = mask(whole, reading.document.language_id)[0]
    return code[code.rfind("\n") + 1 :].rstrip()


def _is_header(code: str, language_id: str) -> bool:
    syntax = syntax_of(language_id)
    return any(
        pattern is not None and pattern.search(code)
        for pattern in (syntax.header, syntax.label)
    )


def comment_start(reading: Reading) -> int:
    """Return where in the text a comment begins that swallows what is right of it.

    -1 where there is none.
    """
    start, end = len(reading.document.prefix), reading.end
    rest = reading.document.suffix[reading.replaced :].split("\n")[0]
    if not rest.strip():
        return -1
    for span in reading.pairing.spans:
        is_own = span.kind == "comment" and start <= span.start < end
        if is_own and span.end > end and not span.closed:
            return span.start - start
    return -1


def cut_end_words(prefix: str, text: str, suffix: str, language_id: str) -> str:
    """Cut ``text`` before a word or tag that ends a body which is not its to end.

    The suffix ends it where its next line that is not deeper is in the same column
    and ends or continues a body; and there may be none in that column.
    """
    closers = syntax_of(language_id).closers
    if not any(word in text for word in ("</", *closers)):
        return text
    words = "|".join(sorted(closers)) or r"\b\B"
    end_word = re.compile(rf"(?<![\w.:@$-])(?:{words})\b(?![?!:=(\w-])")
    lines = mask(prefix + text, language_id)[0].split("\n")
    below = suffix.partition("\n")[2].split("\n")
    cursor_line = prefix.count("\n")
    num_typed = len(prefix) - (prefix.rfind("\n") + 1)
    if lines[cursor_line][:num_typed].strip():
        place = _end_word_in_line(lines[cursor_line], num_typed, end_word, below)
        head = lines[cursor_line][: num_typed + max(place, 0)].rstrip()
        if place >= 0 and _is_header(lines[cursor_line][:num_typed], language_id):
            return ""
        if place >= 0 and _is_header(head, language_id):
            return text[:place].rstrip()
        first = cursor_line + 1
    else:
        first = cursor_line
    opened: set[int] = set()  # the columns of the text's own lines
    for number in range(first, len(lines)):
        line, column = lines[number], indent_width(lines[number])
        is_tag = line.lstrip().startswith("</")
        is_end = is_tag or end_word.match(line, len(line) - len(line.lstrip()))
        is_theirs = column not in opened and _ends_below(below, column, language_id)
        if is_end and (
            is_theirs or not (is_tag or _may_open(lines[:number], column, language_id))
        ):
            kept = text.split("\n")[: number - cursor_line]
            return "\n".join(kept).rstrip()
        if line.strip():
            opened.add(column)
    return text


def _end_word_in_line(
    line: str, num_typed: int, end_word: re.Pattern[str], below: list[str]
) -> int:
    """Return where right of what is typed a body ends that goes on below, or -1."""
    found = end_word.search(line, num_typed)
    column = indent_width(line)
    following = next(
        (one for one in below if one.strip() and indent_width(one) <= column), ""
    )
    if found is None or indent_width(following) != column:
        return -1
    is_ended = end_word.match(following, len(following) - len(following.lstrip()))
    return found.start() - num_typed if is_ended else -1


def _may_open(above: list[str], column: int, language_id: str) -> bool:
    """Return whether a word that ends a body at ``column`` has a body to end."""
    for num_deeper, line in enumerate(one for one in reversed(above) if one.strip()):
        if indent_width(line) > column:
            continue
        bare = line.rstrip()
        if indent_width(line) < column:
            # `a = if b` may have its `end` below the `if`
            return (
                re.match(r"\s\w", line.expandtabs(TAB_WIDTH)[column - 1 :]) is not None
            )
        return num_deeper > 0 or _is_header(bare, language_id) or bare[-1:] in ",("
    return True


def _ends_below(below: list[str], column: int, language_id: str) -> bool:
    """Return whether the next line that is not deeper ends a body at ``column``."""
    syntax = syntax_of(language_id)
    for line in below:
        if not line.strip() or indent_width(line) > column:
            continue
        if indent_width(line) < column:
            return False
        if line.lstrip().startswith("</"):
            return True
        word = re.match(r"\s*(\w*)", line)
        return word is not None and word[1] in syntax.closers | syntax.middles
    return False
