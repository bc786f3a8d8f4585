"""``report``: see ``status``, which knows how to ask."""

from __future__ import annotations

from lsp_stablecode.commands.status import run_report as run

__all__ = ["run"]
