"""How the demo looks: on a terminal, in a log without one, and in a picture."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.style import Style
from rich.syntax import ANSISyntaxTheme, Syntax
from rich.table import Table
from rich.text import Text

from lsp_stablecode.demo.scenes import Played, Scene, Started, View

_LINES_ABOVE = 6
_LINES_BELOW = 3
_LEXERS = {"typescript": "ts"}


# By Pygments' token types, which are tuples. Named colours are the terminal's own, so
# they suit its background.
_THEME = ANSISyntaxTheme(
    {
        ("Comment",): Style(color="green"),
        ("Keyword",): Style(color="magenta"),
        ("Operator", "Word"): Style(color="magenta"),
        ("Literal", "String"): Style(color="cyan"),
        ("Literal", "Number"): Style(color="blue"),
        ("Name", "Function"): Style(bold=True),
        ("Name", "Class"): Style(bold=True),
    }
)
_GHOST = Style(color="bright_black", italic=True, bold=False)
_CURSOR = Style(reverse=True, italic=False)
_ASIDE = "bright_black"


def marks_for(console: Console) -> tuple[str, str]:
    """Return what frames ghost text where colours and italics cannot tell it."""
    if console.is_terminal and console.color_system is not None:
        return "", ""
    return ("{+", "+}") if console.options.ascii_only else ("«", "»")


def legend(marks: tuple[str, str] = ("", "")) -> Text:
    """Return the line that says how to tell a suggestion from the code."""
    if marks[0]:
        return Text(f"Between {marks[0]} and {marks[1]}: what the model suggests.")
    sample = ("Grey and slanted", _GHOST)
    return Text.assemble(sample, ": what the model suggests at the cursor.")


class Screen:
    """Shows scenes as they are played; keys one by one on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._marks = marks_for(console)
        self._live: Live | None = None
        self._view: View | None = None
        self._loading = ""
        self._stages: set[str] = set()
        self._num_scenes = 0

    def begin(self, scene: Scene) -> None:
        """Print a scene's title and start to show it."""
        if not self._num_scenes:
            self._console.print(legend(self._marks), "", sep="\n")
        self._num_scenes += 1
        self._console.print(heading(self._num_scenes, scene))
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()

    def watch(self, view: View) -> None:
        """Show a key."""
        self._view = view
        self._refresh()

    def loading(self, stage: str, percentage: int | None) -> None:
        """Show how far the model is loaded; without a terminal each stage once."""
        percent = "" if percentage is None else f" {percentage} %"
        self._loading = f"loading the model: {stage}{percent}"
        if self._live is not None:
            self._refresh()
        elif stage not in self._stages:
            self._console.print(f"loading the model: {stage}", highlight=False)
        self._stages.add(stage)

    def end(self, played: Played) -> None:
        """Show what came of the scene."""
        shown = Group(code(played.view, self._marks), *outcome(played), "")
        self._loading, self._view = "", None
        if self._live is None:
            self._console.print(shown)
        else:
            self._live.update(shown, refresh=True)
            self.close()

    def close(self) -> None:
        """Give the terminal back."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _refresh(self) -> None:
        if self._live is not None and self._view is not None:
            footer = Text(self._loading, _ASIDE)
            self._live.update(
                Group(code(self._view, self._marks), footer), refresh=True
            )


def heading(number: int, scene: Scene) -> RenderableType:
    """Return the line above a scene."""
    return Rule(Text(f"{number}. {scene.title}", "bold"), align="left", style="dim")


def code(view: View, marks: tuple[str, str] = ("", "")) -> RenderableType:
    """Return the lines around the cursor as an editor shows them.

    Further lines of ghost text have no numbers, since they are not in the file.
    """
    ghost = view.ghosts[0] if view.ghosts else None
    opening, closing = marks if ghost else ("", "")
    before = _spaced(view.text[: view.cursor])
    inside = opening + _spaced(ghost.text if ghost else "") + closing
    num_replaced = ghost.num_replaced if ghost else 0
    after = _spaced(view.text[view.cursor + num_replaced :])
    lexer = _LEXERS.get(view.language_id, view.language_id)
    # A block cursor at the end of a line needs a cell of its own.
    gap = " " if not marks[0] and (inside + after)[:1] in ("", "\n") else ""
    whole = before + gap + inside + after
    text = Syntax(whole, lexer, theme=_THEME, background_color="default").highlight(
        whole
    )
    start = len(before)
    text.stylize(_GHOST, start + len(gap), start + len(gap) + len(inside))
    if not marks[0]:
        text.stylize(_CURSOR, start, start + 1)
    lines = text.split("\n", allow_blank=True)
    at = before.count("\n")
    num_ghost = inside.count("\n")
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", style=_ASIDE, no_wrap=True)
    grid.add_column(overflow="fold")
    first = max(0, at - _LINES_ABOVE)
    end = before.count("\n") + num_ghost + after.rstrip("\n").count("\n") + 1
    for index in range(first, min(end, at + num_ghost + _LINES_BELOW + 1)):
        is_ghost = at < index <= at + num_ghost
        number = index + 1 - (num_ghost if index > at else 0)
        grid.add_row("" if is_ghost else str(number), lines[index])
    return Group(Text(view.name, _ASIDE), grid)


def outcome(played: Played) -> list[RenderableType]:
    """Return the lines below a scene: what came, when, and what it cost."""
    answer = played.answer
    line = Text.assemble(
        (answer.outcome, "green" if answer.ghosts else "yellow"),
        f" in {played.ms:.{1 if played.ms < 100 else 0}f} ms",
    )
    if answer.count("generated"):
        line.append(
            f", {answer.count('generated')} tokens generated"
            f", prompt {answer.count('prompt')} tokens"
            f", {answer.count('reused')} of them reused"
        )
    lines: list[RenderableType] = [line]
    if played.remark:
        lines.append(Text(played.remark))
    for number, ghost in enumerate(answer.ghosts[1:], 2):
        lines.append(Text(f"suggestion {number}: {ghost.text}", no_wrap=False))
    return lines


def timings(started: Started) -> RenderableType:
    """Return how long the start took."""
    engine = started.engine
    cache = (
        "cold cache: the model was converted first, once and for all"
        if started.was_cold
        else "warm cache: nothing had to be converted"
    )
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right")
    grid.add_column()
    rows = [
        (
            f"{started.initialize_ms / 1000:.2f} s",
            "from the start of the process to the answer of initialize",
        ),
        (
            f"{started.first_ms / 1000:.2f} s",
            f"from there to the first suggestion ({cache})",
        ),
    ]
    if started.loading_ms is not None:
        answered = "the longest wait for an (empty) answer while the model loaded"
        rows.append((f"{started.loading_ms:.0f} ms", answered))
    rows.append(
        (
            "model",
            f"{engine['model']}, {engine['dtype']} on {engine['device']}, "
            f"{engine['context_tokens']} tokens of context",
        )
    )
    for value, text in rows:
        grid.add_row(Text(value, "bold"), Text(text))
    return grid


def table(all_played: Sequence[Played]) -> RenderableType:
    """Return the closing table."""
    result = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    result.add_column("scene")
    result.add_column("outcome")
    for name in ("ms", "prompt", "reused", "generated"):
        result.add_column(name, justify="right", no_wrap=True)
    for number, played in enumerate(all_played, 1):
        answer = played.answer
        counts = ["", "", ""]
        if answer.count("forwards") or answer.count("generated"):
            counts = [
                str(answer.count(name)) for name in ("prompt", "reused", "generated")
            ]
        digits = 1 if played.ms < 100 else 0
        result.add_row(
            f"{number}. {played.scene.title}",
            answer.outcome,
            f"{played.ms:.{digits}f}",
            *counts,
        )
    return result


NEXT = """\
What next:
  - your editor: the section "Editors" of the README
  - your own file: lsp-stablecode complete PATH:LINE:COLUMN --explain
  - this machine: lsp-stablecode doctor"""


def _spaced(text: str) -> str:
    return text.replace("\t", "    ")
