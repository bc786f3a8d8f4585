"""The models that are loaded, each on a thread of its own, and who uses them.

Sessions that want the same model with the same options share one. Its weights are
released when nobody has asked for a while, and it is forgotten with its last session.
Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from lsp_stablecode.metrics import Metrics, together
from lsp_stablecode.worker import EngineWorker
from model import Engine, EngineInfo, EngineOptions, LoadProgress, StablecodeError

logger = logging.getLogger(__name__)

_LOOK_S = 5.0
_CLOSE_TIMEOUT_S = 2.0
# Longer than loading takes, but not as long as a download.
_END_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class ModelState:
    """What a model is at, and what is to be said of it.

    ``resting`` is a model whose weights were released because nobody used it.
    """

    name: Literal["idle", "loading", "ready", "failed", "resting"] = "idle"
    message: str = ""


class ModelUser(Protocol):
    """A session, as its model sees it."""

    @property
    def rest_after_s(self) -> float | None:
        """How long nobody must ask until the weights are released; ``None``: never."""
        ...

    def show_progress(self, progress: LoadProgress | None) -> None:
        """Show how loading goes on; ``None`` is its end, or the beginning of rest."""
        ...


class Member(Protocol):
    """A session, as whoever looks at the whole process sees it."""

    @property
    def metrics(self) -> Metrics:
        """What its requests cost and came to."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return its state and counts as JSON data."""
        ...

    def report(self) -> dict[str, Any]:
        """Return what a bug report should hold of it, without source text."""
        ...


class SharedModel:
    """One model, its thread and its users.

    Each load waits for ``room`` first: what others release may be needed.
    """

    def __init__(
        self, options: EngineOptions, room: Callable[[], Awaitable[None]]
    ) -> None:
        self.options = options
        self._room = room
        self.worker = EngineWorker()
        self.state = ModelState()
        self.users: list[ModelUser] = []
        self._loading: Future[Engine] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._num_loads = 0
        self._settled = asyncio.Event()
        self._latest: LoadProgress | None = None
        self._rest_after_s: float | None = None

    @property
    def info(self) -> EngineInfo | None:
        """What is loaded, if anything."""
        engine = self.worker.engine
        return engine.info if engine is not None else None

    def join(self, user: ModelUser) -> None:
        """Take in a user, who is shown at once what is being loaded."""
        self.users.append(user)
        if self.state.name == "loading":
            user.show_progress(self._latest)

    def leave(self, user: ModelUser) -> None:
        """Forget a user."""
        self.users.remove(user)
        # The last one's wish stands until there is another.
        self._rest_after_s = user.rest_after_s
        if self.state.name == "loading":
            user.show_progress(None)

    async def load(self, *, again: bool = False) -> ModelState:
        """Load the model, unless that is done or being done, and return its state.

        With ``again`` it is loaded anew; whoever waits for the load before waits on.
        """
        if again or self.state.name not in ("loading", "ready"):
            self._begin_load()
        while self.state.name == "loading":
            await self._settled.wait()
        return self.state

    def _begin_load(self) -> None:
        self._num_loads += 1
        self.state = ModelState("loading")
        self._settled.clear()
        self._show(LoadProgress("start"))
        if self._loading is not None:
            # One that still waits its turn is not needed any more.
            self._loading.cancel()
        # Whoever asked may be gone before it is loaded; others wait for it too.
        task = asyncio.ensure_future(self._load(self._num_loads))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self, this_load: int) -> None:
        await self._room()
        if this_load != self._num_loads:
            return
        state = ModelState()
        if self.users:  # else nobody wants it any more
            loop = asyncio.get_running_loop()

            def report(progress: LoadProgress) -> None:
                loop.call_soon_threadsafe(self._show, progress)

            def load() -> Future[Engine]:
                self._loading = self.worker.load(self.options, report)
                return self._loading

            try:
                state = await _state_after(load)
            except asyncio.CancelledError:
                # Another load has taken its place.
                if this_load == self._num_loads:
                    raise
                return
        if this_load == self._num_loads:
            self.state = state
            self._settled.set()
            self._show(None)

    def rest_if_idle(self) -> None:
        """Release the weights if nobody has used them for as long as users say."""
        waits = [user.rest_after_s for user in self.users] or [self._rest_after_s]
        if None in waits or self.state.name != "ready":
            return
        longest_s = max(filter(None, waits))
        if self.worker.idle_s(time.monotonic()) > longest_s:
            logger.info("%s rests", self.options.model)
            self.state = ModelState("resting")
            self.worker.unload()
            self._show(None)

    def close(self) -> bool:
        """Release everything; return whether that was done in time."""
        # Loading cannot be stopped; what it brings is released afterwards.
        is_loading = self.state.name == "loading"
        return self.worker.close(0.0 if is_loading else _CLOSE_TIMEOUT_S)

    def _show(self, progress: LoadProgress | None) -> None:
        self._latest = progress
        for user in list(self.users):
            user.show_progress(progress)


class ModelPool:
    """The models of this process, found by their options.

    ``keeps_unused`` leaves a model that has lost its last session to its next one, for
    the time that users usually let it rest after. ``sessions`` are those of the
    process, whether or not they use a model, and ``departed`` is what those cost and
    came to that have left.
    """

    def __init__(self, *, keeps_unused: bool = False) -> None:
        self.sessions: list[Member] = []
        self.departed = Metrics()
        self._counting = threading.Lock()
        self._keeps_unused = keeps_unused
        self._models: dict[EngineOptions, SharedModel] = {}
        self._endings: set[asyncio.Future[Any]] = set()
        self._watch: asyncio.Task[None] | None = None

    def __iter__(self) -> Iterator[SharedModel]:
        return iter(list(self._models.values()))

    def join(self, user: ModelUser, options: EngineOptions) -> SharedModel:
        """Return the model with these options, which now has this user too."""
        model = self._models.get(options)
        if model is None:
            if options.memory_gib is not None:
                # The ceiling is for all models, those kept for nobody among them.
                for unused in [one for one in self if not one.users]:
                    self._end(unused)
            model = self._models[options] = SharedModel(options, self._until_room)
        model.join(user)
        if self._watch is None:
            self._watch = asyncio.ensure_future(self._watch_idle())
        return model

    def exchange(
        self, user: ModelUser, old: SharedModel, options: EngineOptions
    ) -> SharedModel:
        """Return another model for a user; the old one's memory is for that."""
        model = self.join(user, options)
        old.leave(user)
        if not old.users:
            self._end(old)
        return model

    def leave(self, user: ModelUser, model: SharedModel) -> bool:
        """Take a user from a model; return whether what had to end has ended."""
        model.leave(user)
        if model.users or self._keeps_unused:
            return True
        self._forget(model)
        return model.close()

    def close(self) -> bool:
        """Release all models; return whether that was done in time."""
        if self._watch is not None:
            self._watch.cancel()
        closed = [model.close() for model in self]
        self._models.clear()
        return all(closed)

    def all_metrics(self) -> Metrics:
        """Return what all sessions, also those that have left, cost and came to."""
        with self._counting:
            return together([self.departed, *(one.metrics for one in self.sessions)])

    def depart(self, session: Member) -> None:
        """Take in that a session has ended."""
        if session in self.sessions:
            # Whoever asks from another thread must not see counts fall.
            with self._counting:
                self.sessions.remove(session)
                self.departed = together([self.departed, session.metrics])

    async def _watch_idle(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            for model in self:
                model.rest_if_idle()
                # One that is being loaded is somebody's who may come back.
                if not model.users and model.state.name not in ("loading", "ready"):
                    self._end(model)

    async def _until_room(self) -> None:
        """Wait for all that ends, each as long as that may take."""
        if self._endings:
            await asyncio.wait(list(self._endings))

    def _end(self, model: SharedModel) -> None:
        """Let a model release everything, when what it is at has ended."""
        self._forget(model)
        finishing = asyncio.wrap_future(model.worker.finish())
        # Whoever loads something waits for it until then, and nobody any more after.
        ending = asyncio.ensure_future(
            asyncio.wait([finishing], timeout=_END_TIMEOUT_S)
        )
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    def _forget(self, model: SharedModel) -> None:
        if self._models.get(model.options) is model:
            del self._models[model.options]


async def _state_after(load: Callable[[], Future[Engine]]) -> ModelState:
    try:
        engine = await asyncio.wrap_future(load())
    except StablecodeError as error:
        return ModelState("failed", str(error))
    except Exception as error:
        logger.exception("the model could not be loaded")
        return ModelState(
            "failed",
            f"The model could not be loaded ({type(error).__name__}: {error}). "
            "Run lsp-stablecode doctor.",
        )
    for note in engine.info.notes:
        logger.info("%s", note)
    logger.info("loaded in %.0f ms", engine.info.load_ms)
    return ModelState("ready")
