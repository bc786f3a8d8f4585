"""The model of one session: which one is wanted, and what that one is at."""

from __future__ import annotations

from collections.abc import Callable

from lsp_stablecode.model_pool import ModelPool, ModelState, SharedModel
from lsp_stablecode.worker import EngineWorker
from model import EngineInfo, EngineOptions, LoadProgress


class ModelHost:
    """A session's use of a pool's models; the last model asked for counts.

    ``show_progress`` is called on the event loop, with ``None`` at the end.
    ``rest_after_s`` says how long nobody must ask until the weights are released.
    """

    def __init__(
        self,
        pool: ModelPool,
        show_progress: Callable[[LoadProgress | None], None],
    ) -> None:
        self.rest_after_s: float | None = None
        self._pool = pool
        self._show_progress = show_progress
        self._model: SharedModel | None = None

    @property
    def state(self) -> ModelState:
        """What the model is at."""
        return self._model.state if self._model is not None else ModelState()

    @property
    def info(self) -> EngineInfo | None:
        """What is loaded, if anything."""
        return self._model.info if self._model is not None else None

    @property
    def worker(self) -> EngineWorker:
        """The thread of the model that was asked for last, which there must be."""
        assert self._model is not None
        return self._model.worker

    def show_progress(self, progress: LoadProgress | None) -> None:
        """Show how loading goes on."""
        self._show_progress(progress)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody has asked for a model, however far that has come."""
        return self._model is not None

    def has(self, options: EngineOptions) -> bool:
        """Return whether this very model is there or on its way."""
        if self._model is None or options != self._model.options:
            return False
        return self.state.name in ("loading", "ready")

    async def load(
        self, options: EngineOptions, *, again: bool = False
    ) -> ModelState | None:
        """Load a model in place of the one there is; return how that ended.

        One that is there already stays, unless it is wanted ``again``. ``None`` where
        another model was asked for meanwhile: ``state`` is that one's.
        """
        old = self._model
        if old is None:
            self._model = self._pool.join(self, options)
        elif old.options != options:
            self._model = self._pool.exchange(self, old, options)
        model = self._model
        assert model is not None
        state = await model.load(again=again)
        return state if model is self._model else None

    def close(self) -> bool:
        """Give the model back; return whether what had to end has ended."""
        model, self._model = self._model, None
        return model is None or self._pool.leave(self, model)
