"""``bench typing``: a typist at the real server, key by key, at his own speed.

After each key the editor tells the change, gives up the request before it and asks
anew. He reads a suggestion that comes before his next key, and takes what is right
and long enough; else he types on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from lsp_stablecode.bench.field import Advance
from lsp_stablecode.bench.keys import Key, our_key
from lsp_stablecode.bench.scripts import Script
from lsp_stablecode.bench.typing_strokes import make_strokes
from lsp_stablecode.bench.typing_typist import (
    Acceptance,
    KeyName,
    Press,
    Typist,
    count_keys,
)
from lsp_stablecode.client.connection import Connection
from lsp_stablecode.client.editor import Answer, Asked, Buffer, Editor

Fate = Literal["waiting", "answered", "superseded", "cancelled", "late", "unasked"]

_LAST_ANSWERS_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class TypingPlan:
    """How much is typed, and how fast.

    ``minutes`` are by the clock; with ``speed`` 2 all waiting is halved. ``num_open``
    related files are open beside the one that is typed in.
    """

    seed: int = 0
    speed: float = 1.0
    num_keys: int | None = 400
    minutes: float | None = None
    num_open: int = 3


@dataclass(slots=True)
class Pressed:
    """A key and what came of it; ``answer`` is there if it came before the next key.

    A request's fate is ``superseded`` if the server gave it up for the next change,
    ``cancelled`` if the editor did first, and ``late`` if its answer was under way.
    """

    name: KeyName
    at_s: float
    fate: Fate = "waiting"
    answer: Key | None = None
    taken: Acceptance | None = None


@dataclass(slots=True)
class Sitting:
    """One place and the keys pressed there.

    ``num_typed`` characters of it were there at the end, for which ``num_plain_keys``
    are needed without suggestions.
    """

    script: Script
    first_line: int
    pressed: list[Pressed] = field(default_factory=list)
    num_typed: int = 0
    num_plain_keys: int = 0
    text: str = ""


@dataclass(slots=True)
class TypingRun:
    """A run over several places, until the plan's keys or minutes are over."""

    connection: Connection
    plan: TypingPlan
    advance: Advance
    sittings: list[Sitting] = field(default_factory=list)
    _num_pressed: int = 0
    _started_s: float = field(default_factory=time.perf_counter)
    _commands: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        """Whether there are no keys or minutes left."""
        plan = self.plan
        if plan.minutes is not None:
            return time.perf_counter() - self._started_s >= plan.minutes * 60
        return self._num_pressed >= (plan.num_keys or 0)

    async def play(
        self, script: Script, first_line: int, path: Path, related: Sequence[Path]
    ) -> None:
        """Type a script into a file that lies at ``path`` without it.

        Raises ``ServerFailedError``.
        """
        editor = Editor(self.connection)
        others = [editor.open(one) for one in related]
        strokes = make_strokes(script.typed, f"{self.plan.seed} {script.name}")
        typist = Typist(script, strokes)
        text = script.before + script.after
        buffer = editor.open_text(path.as_uri(), script.language_id, text)
        buffer.cursor = len(script.before)
        sitting = Sitting(script, first_line)
        self.sittings.append(sitting)
        asked: list[asyncio.Future[Any]] = []
        due_s = time.perf_counter() + self._seconds(typist.gap_ms)
        while not typist.is_done and not self.is_over:
            await _sleep_until(due_s)
            request = self._press(editor, buffer, typist.press(), sitting)
            while request is not None:
                asked.append(request.answer)
                due_s = sitting.pressed[-1].at_s + self._seconds(typist.gap_ms)
                request = await self._read(
                    editor, buffer, typist, request, sitting, due_s
                )
            due_s = sitting.pressed[-1].at_s + self._seconds(typist.gap_ms)
        await _sleep_until(due_s)
        editor.cancel(buffer.uri)
        sitting.text = buffer.text
        sitting.num_typed = typist.index
        sitting.num_plain_keys = count_keys(script, strokes, typist.index)
        for one in (buffer, *others):
            editor.close(one)
        waiting = [*asked, *self._commands]
        if waiting:
            await asyncio.wait(waiting, timeout=_LAST_ANSWERS_TIMEOUT_S)

    async def _read(
        self,
        editor: Editor,
        buffer: Buffer,
        typist: Typist,
        asked: Asked,
        sitting: Sitting,
        due_s: float,
    ) -> Asked | None:
        """Wait for an answer while there is time, and take what is worth it.

        Returns the request after the key that took it.
        """
        timeout_s = max(0.0, due_s - time.perf_counter())
        done, _ = await asyncio.wait([asked.answer], timeout=timeout_s)
        pressed = sitting.pressed[-1]
        if not done:
            return None
        answer = await editor.read(buffer, asked, pressed.at_s)
        ghost = answer.ghosts[0] if answer.ghosts else None
        pressed.answer = our_key(
            answer.ms, answer.explained, ghost.text if ghost else ""
        )
        if ghost is None or typist.is_done or self.is_over:
            return None
        taken = typist.consider(ghost.text, ghost.num_replaced)
        if taken is None:
            return None
        await _sleep_until(answer.arrived_s + self._seconds(typist.reaction_ms))
        request = self._press(editor, buffer, typist.accept(taken), sitting)
        sitting.pressed[-1].taken = taken
        self._announce(editor, answer, taken)
        return request

    def _press(
        self, editor: Editor, buffer: Buffer, press: Press, sitting: Sitting
    ) -> Asked | None:
        """Change, give up the request before, and ask. A mere move asks nothing."""
        pressed = Pressed(press.name, time.perf_counter())
        sitting.pressed.append(pressed)
        self._num_pressed += 1
        self.advance()
        if press.is_change:
            cursor = buffer.cursor
            editor.replace(
                buffer, cursor - press.left, cursor + press.right, press.text
            )
        buffer.cursor += press.move - press.behind
        editor.cancel(buffer.uri)
        if not press.is_change or press.move:
            pressed.fate = "unasked"
            return None
        asked = editor.ask(buffer, explicit=False)
        num_pressed = len(sitting.pressed)

        def note(answer: asyncio.Future[Any]) -> None:
            is_last = len(sitting.pressed) == num_pressed
            pressed.fate = _fate_of(answer, is_in_time=is_last)

        asked.answer.add_done_callback(note)
        return asked

    def _announce(self, editor: Editor, answer: Answer, taken: Acceptance) -> None:
        """Run the suggestion's command; nobody waits for it."""
        length = None if taken.part == "whole" else len(taken.text)
        command = asyncio.create_task(editor.announce(answer.ghosts[0], length))
        self._commands.add(command)
        command.add_done_callback(self._commands.discard)

    def _seconds(self, ms: float) -> float:
        return ms / 1000 / self.plan.speed


def _fate_of(answer: asyncio.Future[Any], *, is_in_time: bool) -> Fate:
    """Return what became of a request whose answer has come."""
    if answer.cancelled():
        return "cancelled"
    error = answer.exception()
    if error is not None:
        is_cancelled = (
            isinstance(error, JsonRpcException)
            and error.code == types.LSPErrorCodes.RequestCancelled
        )
        return "cancelled" if is_cancelled else "late"
    if is_in_time:
        return "answered"
    items = getattr(answer.result(), "items", answer.result())
    return "late" if items else "superseded"


async def _sleep_until(due_s: float) -> None:
    await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
