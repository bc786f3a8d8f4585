"""What is typed where: places in real files, chosen by a fixed rule."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lsp_stablecode.errors import DocumentError
from lsp_stablecode.languages import language_of

# Of different kinds: long and plain, dense, and full of prose. Python's own, so they
# are on every machine.
STANDARD_FILES = ("argparse.py", "json/decoder.py", "textwrap.py")

_LEAST_LINE_CHARACTERS = 20
_PREFIX_SHARE = 0.75
_KEY = re.compile(r"\n[ \t]*|.")


@dataclass(frozen=True, slots=True)
class Script:
    """A text with a gap, and what is typed into it: what stood there.

    ``before`` ends with the indentation of the first line that is typed, and ``after``
    begins with a line's end.
    """

    name: str
    language_id: str
    before: str
    typed: str
    after: str

    @property
    def keys(self) -> list[str]:
        """What is typed, key by key; a line's end brings the indentation with it."""
        return _KEY.findall(self.typed)


def standard_paths() -> list[Path]:
    """Return the files of the running Python that are typed into."""
    library = Path(sysconfig.get_path("stdlib"))
    return [path for name in STANDARD_FILES if (path := library / name).is_file()]


def read_text(path: Path) -> str:
    """Return a file's text with plain line feeds. Raises ``DocumentError``."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(
            f"{path} cannot be read ({error}).", hint="Name a text file in UTF-8."
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def make_script(
    path: Path,
    count_tokens: Callable[[str], int],
    prompt_tokens: int,
    num_characters: int,
) -> Script:
    """Cut a script from a file: its middle, with about ``prompt_tokens`` around it.

    The place is the first indented line from the middle on that is long enough; whole
    lines are taken out until there are ``num_characters`` to type. Three quarters of
    the tokens are before it. Raises ``DocumentError`` for a file without such a line.
    """
    lines = read_text(path).split("\n")
    place = _find_place(lines)
    if place is None:
        raise DocumentError(
            f"{path} has no indented line of {_LEAST_LINE_CHARACTERS} characters.",
            hint="Name another file after --file.",
        )
    line = lines[place]
    indent = line[: len(line) - len(line.lstrip())]
    taken = line[len(indent) :]
    end = place + 1
    while len(taken) < num_characters and end < len(lines) - 1:
        taken += "\n" + lines[end]
        end += 1
    num_before = int(prompt_tokens * _PREFIX_SHARE)
    before = _last_lines(lines[:place], num_before, count_tokens)
    after = _first_lines(lines[end:], prompt_tokens - num_before, count_tokens)
    return Script(
        name=path.name,
        language_id=language_of(path),
        before="".join(f"{one}\n" for one in before) + indent,
        typed=taken[:num_characters].rstrip(),
        after="".join(f"\n{one}" for one in after) or "\n",
    )


def _find_place(lines: Sequence[str]) -> int | None:
    middle = len(lines) // 2
    for index in chain(range(middle, len(lines)), range(middle)):
        line = lines[index]
        if line[:1].isspace() and len(line.strip()) >= _LEAST_LINE_CHARACTERS:
            return index
    return None


def _last_lines(
    lines: Sequence[str], num_tokens: int, count_tokens: Callable[[str], int]
) -> Sequence[str]:
    """Return as many of the last lines as fit."""
    first = _bisect(
        len(lines), lambda taken: count_tokens("\n".join(lines[-taken:])) <= num_tokens
    )
    return lines[len(lines) - first :]


def _first_lines(
    lines: Sequence[str], num_tokens: int, count_tokens: Callable[[str], int]
) -> Sequence[str]:
    """Return as many of the first lines as fit."""
    last = _bisect(
        len(lines), lambda taken: count_tokens("\n".join(lines[:taken])) <= num_tokens
    )
    return lines[:last]


def _bisect(highest: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number from 0 to ``highest`` that fits; 0 always does."""
    low = 0
    while low < highest:
        middle = (low + highest + 1) // 2
        if fits(middle):
            low = middle
        else:
            highest = middle - 1
    return low
