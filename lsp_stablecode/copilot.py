"""The dialect of Copilot's clients: what they say beside LSP, and how they want it.

They introduce themselves by ``editorInfo`` and ``editorPluginInfo``, push settings of
Copilot's own server, count in UTF-16 whatever else they can, and draw ghost text by
themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lsp_stablecode.items import Item, Position
from lsp_stablecode.settings import SECTIONS
from lsp_stablecode.settings_sources import SettingsSource
from lsp_stablecode.status import Status
from model import CATALOG, weights_present

USER = "local"
"""The account that everybody has here."""

_INTRODUCTION = ("editorInfo", "editorPluginInfo")
# What else they put beside it into ``initializationOptions``.
_BESIDE_IT = frozenset(
    {
        "copilotCapabilities",
        "copilotIntegrationId",
        "editorConfiguration",
        "github-enterprise",
        "githubAppId",
        "http",
        "networkProxy",
        "telemetry",
        "trace",
    }
)
# In the name of every client of this server's own, whatever its editor puts before it.
_OUR_NAME = "lsp-stablecode"
_LONGEST_TAB = 16


def field(data: object, *keys: str | int) -> Any:
    """Return what lies at a path through objects and lists, or ``None``."""
    for key in keys:
        if isinstance(data, Mapping):
            data = data.get(key)
        elif isinstance(data, Sequence) and not isinstance(data, str):
            is_there = isinstance(key, int) and key < len(data)
            data = data[key] if is_there and isinstance(key, int) else None
        else:
            return None
    return data


# Who speaks ------------------------------------------------------------------------


class Dialect:
    """What is known of a client's way to speak. Lives on the event loop."""

    def __init__(self) -> None:
        self._is_introduced = False
        self._is_made_for_copilot = False
        self._is_older = False

    def introduce(self, options: object) -> bool:
        """Take in who a client says it is; return whether that is news."""
        if not is_introduction(options):
            return False
        is_news = not self._is_introduced
        self._is_introduced = True
        self._is_made_for_copilot = is_made_for_copilot(options)
        return is_news

    def speak_older(self) -> bool:
        """Take in that a client asks for ``getCompletions``; return whether news."""
        was_older, self._is_older = self._is_older, True
        return not was_older

    def settings_in(self, source: SettingsSource, raw: object) -> object:
        """Return what a client says of our settings."""
        if source == "initialization":
            return settings_beside_introduction(raw)
        if source == "pushed" and self._is_made_for_copilot:
            return pushed_settings(raw)
        return raw

    def status_messages(self, now: Status) -> list[tuple[str, dict[str, Any]]]:
        """Return the notifications that tell a client the status, if any do.

        Others would warn their users of a method that they do not know.
        """
        messages: list[tuple[str, dict[str, Any]]] = []
        if self._is_introduced:
            told = {"kind": now.kind, "busy": now.busy, "message": now.message}
            messages.append(("didChangeStatus", told))
        if self._is_older:
            messages.append(older_status(now))
        return messages


def older_status(now: Status) -> tuple[str, dict[str, Any]]:
    """Return the notification that told a client the status before."""
    kind = "InProgress" if now.busy else now.kind
    return "statusNotification", {"status": kind, "message": now.message}


def is_introduction(options: object) -> bool:
    """Tell whether a client says who it is, in ``initializationOptions`` or later."""
    return any(isinstance(field(options, key), Mapping) for key in _INTRODUCTION)


def is_made_for_copilot(options: object) -> bool:
    """Tell whether a client was written for Copilot's server, and not for this one."""
    name = field(options, "editorPluginInfo", "name")
    is_ours = isinstance(name, str) and _OUR_NAME in name
    return is_introduction(options) and not is_ours


def correct_capabilities(initialize: Any) -> None:
    """Make what a client made for Copilot's server announces what it means.

    It counts in UTF-16 as that server does, where it announces what its editor can;
    and it draws ghost text without announcing that.
    """
    options = field(initialize, "initializationOptions")
    capabilities = field(initialize, "capabilities")
    if not is_made_for_copilot(options) or not isinstance(capabilities, dict):
        return
    for group, key, value in (
        ("general", "positionEncodings", ["utf-16"]),
        ("textDocument", "inlineCompletion", {}),
    ):
        known = capabilities.get(group)
        capabilities[group] = {**(known if isinstance(known, dict) else {}), key: value}


# Settings --------------------------------------------------------------------------


def settings_beside_introduction(options: object) -> object:
    """Return ``initializationOptions`` without what is no setting in this dialect."""
    if not isinstance(options, Mapping) or not is_introduction(options):
        return options
    strange = _BESIDE_IT.union(_INTRODUCTION)
    return {key: value for key, value in options.items() if key not in strange}


def pushed_settings(settings: object) -> object:
    """Return what is ours of what a client made for Copilot's server pushes.

    That is what stands under our section. The rest is for Copilot's, but for the model
    that was chosen with the client's menu.
    """
    if not isinstance(settings, Mapping) or any(one in settings for one in SECTIONS):
        return settings
    model = field(settings, "github", "copilot", "selectedCompletionModel")
    is_ours = isinstance(model, str) and model in _model_names()
    return {"model": model} if is_ours else None


def models() -> list[dict[str, Any]]:
    """Return the models that can be chosen, the default first."""
    return [
        {
            "id": name,
            "modelName": title,
            "scopes": ["completion"],
            "preview": False,
            "default": name == "auto",
        }
        for name, title in [
            ("auto", "The best one that is here"),
            *((one.name, one.title) for one in CATALOG if weights_present(one.name)),
        ]
    ]


def _model_names() -> set[str]:
    return {"auto", *(one.name for one in CATALOG)}


# Suggestions -----------------------------------------------------------------------


def indent_unit(options: object) -> str:
    """Return by what an editor indents, of its ``formattingOptions``; perhaps nothing.

    Where it uses tabs their width does not matter.
    """
    spaces, size = field(options, "insertSpaces"), field(options, "tabSize")
    if spaces is False:
        return "\t"
    is_size = isinstance(size, int) and not isinstance(size, bool)
    return " " * size if spaces is True and is_size and 0 < size <= _LONGEST_TAB else ""


def identifier_of(item: object) -> str:
    """Return the identifier in an item's command; nothing where there is none."""
    identifier = field(item, "command", "arguments", 0)
    return identifier if isinstance(identifier, str) else ""


def older_completion(item: Item, line_before: str, version: int) -> dict[str, Any]:
    """Return an item as ``getCompletions`` answers it.

    Its text and its range begin with the line; ``displayText`` begins at the cursor.
    ``version`` is that of the document as the client knows it: some compare it.
    """
    return {
        "uuid": item.identifier,
        "text": line_before + item.text,
        "displayText": item.text,
        "position": _position(*item.start),
        "range": _range((item.start[0], 0), item.end),
        "docVersion": version,
    }


def solution(item: Item, line_before: str) -> dict[str, Any]:
    """Return an item as a panel was told of it, to be inserted at the cursor."""
    return {
        "solutionId": item.identifier,
        "completionText": item.text,
        "displayText": line_before + item.text,
        "range": _range(item.start, item.end),
    }


def _range(start: Position, end: Position) -> dict[str, dict[str, int]]:
    return {"start": _position(*start), "end": _position(*end)}


def _position(line: int, character: int) -> dict[str, int]:
    return {"line": line, "character": character}
