"""The settings in a recorded session, and the session without some of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from lsp_stablecode.recording import Recorded

SERVER_SETTINGS: Final = frozenset(
    ("backend", "endpoint", "apiKeyFile", "remoteModel", "allowDownload")
)
"""Those that say where text and the key go, and whether anything is fetched."""

# What the menu of a client made for Copilot's server sets.
_CHOSEN_MODEL = "selectedCompletionModel"


def without_settings(
    recorded: Sequence[Recorded], keys: Collection[str]
) -> list[Recorded]:
    """Return a session in which the editor never says anything of some settings.

    Neither at its start, nor when asked, nor later.
    """
    dropped = {*keys, *((_CHOSEN_MODEL,) if "model" in keys else ())}
    return [
        replace(one, message=_without(one.message, dropped))
        if one.sender == "editor" and _may_hold_settings(one.message)
        else one
        for one in recorded
    ]


def _may_hold_settings(message: dict[str, Any]) -> bool:
    """Tell whether it is one of three messages; an answer does not say to what."""
    return message.get("method") in (
        "initialize",
        "workspace/didChangeConfiguration",
        None,
    )


def _without(value: Any, keys: Collection[str]) -> Any:
    """Return JSON without some keys, however deep they are."""
    if isinstance(value, dict):
        return {
            key: _without(one, keys) for key, one in value.items() if key not in keys
        }
    if isinstance(value, list):
        return [_without(one, keys) for one in value]
    return value
