"""The scenes: where to type what, and what to ask for; no suggestion is among it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from lsp_stablecode.client.connection import Connection, ServerFailedError
from lsp_stablecode.client.editor import Answer, Buffer, Editor, Ghost

KEY_GAP_S = 0.06
_CANCEL_AFTER_S = 0.4
_POLL_S = 0.2
_NUM_TYPED_THROUGH = 3

Way = Literal["automatic", "type-through", "by-hand", "cancel"]


@dataclass(frozen=True, slots=True)
class Scene:
    """What the editor does: find ``after``, select ``over``, type ``keys``, and ask.

    ``closer`` is what an editor puts right of the cursor with the last key. A
    type-through goes on where the scene before it ended.
    """

    title: str
    file: str
    way: Way = "automatic"
    after: str = ""
    over: str = ""
    keys: str = ""
    closer: str = ""
    in_picture: bool = False


SCENES = (
    Scene(
        "A line, in the middle of an expression",
        "inventory.py",
        after="        return sum(",
        over="0",
        keys="one.",
        in_picture=True,
    ),
    Scene("Typing on, into the suggestion", "inventory.py", "type-through"),
    Scene(
        "A block, below a header and its docstring",
        "inventory.py",
        after='cost; ValueError if too few."""',
        over="\n        raise NotImplementedError",
        keys="\n        ",
        in_picture=True,
    ),
    Scene(
        "A bracket that the editor closed already",
        "cart.ts",
        after="const sum = ",
        over="0",
        keys="this.lines.reduce((sum, line) => ",
        closer=")",
        in_picture=True,
    ),
    Scene(
        "Asked by hand: up to three suggestions",
        "inventory.py",
        "by-hand",
        after="field(default_factory=dict)",
        keys="\n\n    def __",
    ),
    Scene(
        "A function's body in C",
        "ring.c",
        after="bool ring_get(ring_t *ring, uint8_t *byte)\n{",
        keys="\n    ",
    ),
    Scene(
        "Cancelled while it is generated",
        "words.go",
        "cancel",
        after="sort.Slice(counts, func(i, j int) bool {",
        keys="\n\t\t",
    ),
)


@dataclass(frozen=True, slots=True)
class View:
    """What an editor shows: a text with its cursor, and what is suggested there."""

    name: str
    language_id: str
    text: str
    cursor: int
    ghosts: tuple[Ghost, ...] = ()


@dataclass(frozen=True, slots=True)
class Played:
    """A scene's outcome. ``ms`` is what the user waited for it."""

    scene: Scene
    view: View
    ms: float
    remark: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Started:
    """How the server started; the first suggestion is the first scene's.

    ``first_ms`` runs from the answer of ``initialize`` to that suggestion, and
    ``loading_ms`` is the longest wait for an (empty) answer while the model loads.
    """

    initialize_ms: float
    first_ms: float
    loading_ms: float | None
    was_cold: bool
    engine: dict[str, Any]


class Audience(Protocol):
    """Who watches."""

    def begin(self, scene: Scene) -> None:
        """Hear that a scene begins."""
        ...

    def watch(self, view: View) -> None:
        """See the text after a key."""
        ...


class Play:
    """All scenes, one after another, in one editor."""

    def __init__(
        self, connection: Connection, samples: Path, audience: Audience
    ) -> None:
        self._connection = connection
        self._editor = Editor(connection)
        self._samples = samples
        self._audience = audience
        self._buffers: dict[str, Buffer] = {}
        self._last: Answer | None = None

    async def first(self) -> tuple[Started, Played]:
        """Type while the model loads, wait for it, and play the first scene.

        Raises ``ServerFailedError`` if the model suggests nothing: then nothing works.
        """
        scene, editor, server = SCENES[0], self._editor, self._connection
        buffer = await self._type(scene)
        waits_ms = []
        while (status := await server.model_state(_POLL_S))["state"] != "ready":
            waits_ms.append((await editor.suggest(buffer)).ms)
        answer = await editor.suggest(buffer)
        if not answer.ghosts:
            raise ServerFailedError(
                f"The model suggested nothing ({answer.outcome}).",
                hint="Try another --model, and see lsp-stablecode doctor.",
            )
        started = Started(
            initialize_ms=server.initialize_ms,
            first_ms=(answer.arrived_s - server.initialized_s) * 1000,
            loading_ms=max(waits_ms, default=None),
            was_cold=any(stage.startswith("convert") for stage in server.stages),
            engine=status["engine"],
        )
        return started, self._played(scene, buffer, answer)

    async def rest(self) -> AsyncIterator[Played]:
        """Play the other scenes."""
        for scene in SCENES[1:]:
            if scene.way == "type-through":
                yield await self._type_through(scene)
                continue
            buffer = await self._type(scene)
            if scene.way == "cancel":
                answer = await self._editor.suggest_and_cancel(buffer, _CANCEL_AFTER_S)
            else:
                by_hand = scene.way == "by-hand"
                answer = await self._editor.suggest(buffer, explicit=by_hand)
            yield self._played(scene, buffer, answer)

    async def _type(self, scene: Scene) -> Buffer:
        """Open the scene's file and type its keys."""
        self._audience.begin(scene)
        if scene.file not in self._buffers:
            self._buffers[scene.file] = self._editor.open(self._samples / scene.file)
        buffer = self._buffers[scene.file]
        start = buffer.text.index(scene.after) + len(scene.after)
        buffer.cursor = start
        if scene.over:
            self._editor.replace(buffer, start, start + len(scene.over), "")
        await self._editor.type(
            buffer,
            scene.keys,
            closer=scene.closer,
            gap_s=KEY_GAP_S,
            on_key=lambda: self._audience.watch(_view(buffer)),
        )
        return buffer

    async def _type_through(self, scene: Scene) -> Played:
        """Type what is suggested, and accept the rest."""
        self._audience.begin(scene)
        buffer = self._buffers[scene.file]
        last = self._last
        line = last.ghosts[0].text.split("\n")[0] if last and last.ghosts else ""
        typed = line[: min(_NUM_TYPED_THROUGH, len(line) - 1)]
        if last is None or not typed:
            return Played(scene, _view(buffer), 0, "nothing to type into", _NOTHING)
        answers = []
        for key in typed:
            self._editor.replace(buffer, buffer.cursor, buffer.cursor, key)
            self._audience.watch(_view(buffer))
            answers.append(await self._editor.suggest(buffer))
        slowest = max(answers, key=lambda answer: answer.ms)
        times = ", ".join(f"{answer.ms:.1f}" for answer in answers)
        played = self._played(
            scene, buffer, answers[-1], f"typed {typed!r}: answered in {times} ms"
        )
        if answers[-1].ghosts:
            await self._editor.accept(buffer, answers[-1].ghosts[0])
        return replace(played, ms=slowest.ms)

    def _played(
        self, scene: Scene, buffer: Buffer, answer: Answer, remark: str = ""
    ) -> Played:
        self._last = answer
        view = _view(buffer, answer.ghosts)
        if answer.ghosts and (num := answer.ghosts[0].num_replaced):
            covered = buffer.text[buffer.cursor : buffer.cursor + num]
            remark = (
                f"it brings {covered!r}, and its range covers the one that is there"
            )
        if answer.outcome == "cancelled":
            remark = f"cancelled after {_CANCEL_AFTER_S * 1000:.0f} ms of generating"
        elif scene.way == "cancel":
            remark = "answered before it could be cancelled"
        return Played(scene, view, answer.ms, remark, answer)


_NOTHING = Answer((), 0.0, 0.0, "not asked")


def _view(buffer: Buffer, ghosts: tuple[Ghost, ...] = ()) -> View:
    return View(buffer.name, buffer.language_id, buffer.text, buffer.cursor, ghosts)
