"""The model's loading as LSP work-done progress."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING

from lsprotocol import types

from model import LoadProgress

if TYPE_CHECKING:
    from lsp_stablecode.server import StablecodeServer

logger = logging.getLogger(__name__)

_CREATE_TIMEOUT_S = 3.0
_LEAST_GAP_S = 0.1
_TITLE = "lsp-stablecode: loading the model"


class ProgressReporter:
    """One progress bar at a time, for clients that can show one."""

    def __init__(self, server: StablecodeServer) -> None:
        self._server = server
        self._token: str | None = None
        self._refused = False
        self._sent_s = 0.0
        self._shown = False
        self._latest: LoadProgress | None = None

    def show(self, progress: LoadProgress | None) -> None:
        """Begin, go on, or with ``None`` end. Call it on the event loop."""
        is_new_stage = _stage(progress) != _stage(self._latest)
        self._latest = progress
        if progress is None:
            self._refused = False
        if self._token is None:
            window = self._server.client_capabilities.window
            can_show = window and window.work_done_progress and not self._refused
            if progress is not None and can_show:
                self._token = str(uuid.uuid4())
                self._server.spawn(self._begin(self._token))
        elif self._shown:
            is_due = time.monotonic() - self._sent_s > _LEAST_GAP_S
            if is_new_stage or is_due:
                self._send(self._token)

    async def _begin(self, token: str) -> None:
        try:
            await asyncio.wait_for(
                self._server.work_done_progress.create_async(token), _CREATE_TIMEOUT_S
            )
        except Exception as error:
            logger.warning("no progress bar (%s)", type(error).__name__)
            self._token = None
            self._refused = True
            return
        self._server.work_done_progress.begin(
            token, types.WorkDoneProgressBegin(title=_TITLE, cancellable=False)
        )
        self._shown = True
        self._send(token)

    def _send(self, token: str) -> None:
        self._sent_s = time.monotonic()
        progress = self._latest
        bar = self._server.work_done_progress
        if progress is None:
            bar.end(token, types.WorkDoneProgressEnd())
            self._token, self._shown = None, False
            return
        percentage = (
            None if progress.fraction is None else round(100 * progress.fraction)
        )
        bar.report(
            token,
            types.WorkDoneProgressReport(message=progress.stage, percentage=percentage),
        )


def _stage(progress: LoadProgress | None) -> str | None:
    return None if progress is None else progress.stage
