"""The models that are loaded, each on a thread of its own, and who uses them.

Sessions that want the same model with the same options share one. Its weights are
released when nobody has asked for a while, and it is forgotten with its last session.
Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from lsp_stablecode.metrics import Metrics
from lsp_stablecode.worker import EngineWorker
from model import Engine, EngineInfo, EngineOptions, LoadProgress, StablecodeError

logger = logging.getLogger(__name__)

_LOOK_S = 5.0
_CLOSE_TIMEOUT_S = 2.0


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
        """Show how loading goes on, with ``None`` at its end."""
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
    """One model, its thread and its users."""

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        self.worker = EngineWorker()
        self.state = ModelState()
        self.users: list[ModelUser] = []
        self._loading: Future[Engine] | None = None
        self._settling: set[asyncio.Task[None]] = set()
        self._num_loads = 0
        self._settled = asyncio.Event()
        self._latest: LoadProgress | None = None

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
        this_load = self._num_loads
        self.state = ModelState("loading")
        self._settled.clear()
        loop = asyncio.get_running_loop()
        self._show(LoadProgress("start"))
        if self._loading is not None:
            # One that still waits its turn is not needed any more.
            self._loading.cancel()

        def report(progress: LoadProgress) -> None:
            loop.call_soon_threadsafe(self._show, progress)

        self._loading = self.worker.load(self.options, report)
        # Whoever asked may be gone before it is loaded; others wait for it too.
        task = asyncio.ensure_future(self._settle(this_load, self._loading))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle(self, this_load: int, loading: Future[Engine]) -> None:
        try:
            state = await _state_after(loading)
        except asyncio.CancelledError:
            # Another load has taken its place.
            if this_load == self._num_loads:
                raise
            return
        if this_load == self._num_loads:
            self.state = state
            self._show(None)
            self._settled.set()

    def rest_if_idle(self) -> None:
        """Release the weights if nobody has used them for as long as users say."""
        waits = [user.rest_after_s for user in self.users]
        longest_s = None if None in waits else max(filter(None, waits), default=0.0)
        if longest_s is None or self.state.name != "ready":
            return
        if self.worker.idle_s(time.monotonic()) > longest_s:
            logger.info("%s rests", self.options.model)
            self.state = ModelState("resting")
            self.worker.unload()

    def close(self, timeout_s: float) -> bool:
        """Release everything; return whether that was done in time."""
        if self.state.name == "loading":
            # Loading cannot be stopped; what it brings is released afterwards.
            self.worker.unload()
            return False
        return self.worker.close(timeout_s)

    def _show(self, progress: LoadProgress | None) -> None:
        self._latest = progress
        for user in list(self.users):
            user.show_progress(progress)


class ModelPool:
    """The models of this process, found by their options.

    ``keeps_unused`` leaves a model that has lost its last session to its next one, for
    the time that users usually let it rest after. ``sessions`` are those of the
    process, whether or not they use a model.
    """

    def __init__(self, *, keeps_unused: bool = False) -> None:
        self.sessions: list[Member] = []
        self._keeps_unused = keeps_unused
        self._models: dict[EngineOptions, SharedModel] = {}
        self._watch: asyncio.Task[None] | None = None

    def __iter__(self) -> Iterator[SharedModel]:
        return iter(list(self._models.values()))

    def join(self, user: ModelUser, options: EngineOptions) -> SharedModel:
        """Return the model with these options, which now has this user too."""
        model = self._models.get(options)
        if model is None:
            model = self._models[options] = SharedModel(options)
        model.join(user)
        if self._watch is None:
            self._watch = asyncio.ensure_future(self._watch_idle())
        return model

    def leave(
        self, user: ModelUser, model: SharedModel, *, for_another: bool = False
    ) -> bool:
        """Take a user from a model; return whether what had to end has ended.

        A model that was left ``for_another`` gives its memory to that one at once.
        """
        model.leave(user)
        if model.users or (self._keeps_unused and not for_another):
            return True
        if self._models.get(model.options) is model:
            del self._models[model.options]
        return model.close(_CLOSE_TIMEOUT_S)

    def close(self) -> bool:
        """Release all models; return whether that was done in time."""
        if self._watch is not None:
            self._watch.cancel()
        closed = [model.close(_CLOSE_TIMEOUT_S) for model in self]
        self._models.clear()
        return all(closed)

    async def _watch_idle(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            for model in self:
                model.rest_if_idle()


async def _state_after(loading: Future[Engine]) -> ModelState:
    try:
        engine = await asyncio.wrap_future(loading)
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
