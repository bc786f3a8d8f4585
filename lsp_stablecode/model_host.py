"""The model's life in a session: which one is wanted, loading, ready or failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

from lsp_stablecode.worker import EngineWorker
from model import Engine, EngineInfo, EngineOptions, LoadProgress, StablecodeError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelState:
    """``idle``, ``loading``, ``ready`` or ``failed``, and what is to be said of it."""

    name: Literal["idle", "loading", "ready", "failed"] = "idle"
    message: str = ""


class ModelHost:
    """Loads models on the worker's thread; the last one asked for counts.

    ``show_progress`` is called on the event loop, with ``None`` at the end.
    """

    def __init__(
        self,
        worker: EngineWorker,
        show_progress: Callable[[LoadProgress | None], None],
    ) -> None:
        self.state = ModelState()
        self._worker = worker
        self._show_progress = show_progress
        self._options: EngineOptions | None = None
        self._loading: Future[Engine] | None = None
        self._num_loads = 0

    @property
    def info(self) -> EngineInfo | None:
        """What is loaded, if anything."""
        engine = self._worker.engine
        return engine.info if engine is not None else None

    def has(self, options: EngineOptions) -> bool:
        """Return whether this very model is loaded or loading."""
        return self.state.name in ("loading", "ready") and options == self._options

    async def load(self, options: EngineOptions) -> ModelState | None:
        """Load a model in place of the one there is; return how that ended.

        ``None`` where another load has begun meanwhile: ``state`` is that one's.
        """
        self._options = options
        self._num_loads += 1
        this_load = self._num_loads
        self.state = ModelState("loading")
        loop = asyncio.get_running_loop()

        def report(progress: LoadProgress) -> None:
            loop.call_soon_threadsafe(self._show_progress, progress)

        self._show_progress(LoadProgress("start"))
        if self._loading is not None:
            # One that still waits its turn is not needed any more.
            self._loading.cancel()
        self._loading = self._worker.load(options, report)
        try:
            state = await _state_after(self._loading)
        except asyncio.CancelledError:
            if this_load == self._num_loads:
                raise
            return None
        if this_load != self._num_loads:
            return None
        self.state = state
        self._show_progress(None)
        return state

    def close(self, timeout_s: float) -> bool:
        """Release the engine; return whether that was done in time."""
        if self.state.name == "loading":
            # Loading cannot be stopped, and there is nothing to release yet.
            return False
        return self._worker.close(timeout_s)


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
