"""Write the server's settings into the extension's ``package.json``.

Run it after a change to ``lsp_stablecode/settings.py``; a test says when that was
forgotten. The extension's own settings stand there beside them, written by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from lsp_stablecode.settings_schema import settings_schema

PACKAGE: Final = Path(__file__).parents[1] / "package.json"
TITLE: Final = "Suggestions"
"""Of the group that holds them; the other groups are left alone."""

_SECTION: Final = "lsp-stablecode"
# Settings synchronized between computers must not carry these along.
_MACHINE_KEYS: Final = frozenset(
    {
        "model",
        "device",
        "dtype",
        "cacheDtype",
        "threads",
        "contextTokens",
        "memoryGib",
        "allowDownload",
        "backend",
        "endpoint",
        "remoteModel",
        "apiKeyFile",
    }
)
# `"[markdown]": { "lsp-stablecode.enable": false }` is what users try first.
_LANGUAGE_KEYS: Final = frozenset({"enable"})


def server_settings() -> dict[str, Any]:
    """Return what ``contributes.configuration`` says of the server's settings."""
    return {
        f"{_SECTION}.{key}": {
            "scope": _scope(key),
            **_editable(schema),
        }
        for key, schema in settings_schema()["properties"].items()
    }


def with_settings(package: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest with these settings in their group, which comes first."""
    contributes = package["contributes"]
    groups = contributes["configuration"]
    others = [group for group in groups if group["title"] != TITLE]
    group = {"title": TITLE, "properties": server_settings()}
    return {
        **package,
        "contributes": {**contributes, "configuration": [group, *others]},
    }


def _scope(key: str) -> str:
    if key in _MACHINE_KEYS:
        return "machine-overridable"
    return "language-overridable" if key in _LANGUAGE_KEYS else "window"


def _editable(schema: dict[str, Any]) -> dict[str, Any]:
    """Make a number that may be ``auto`` one that may be left empty.

    The settings page has a field for ``null`` or a number, and only a link to
    settings.json for a text or a number. The server takes null for its default.
    """
    if not isinstance(schema["type"], list):
        return schema
    kept = {key: value for key, value in schema.items() if key != "pattern"}
    hint = "Empty is `auto`."
    return {
        **kept,
        "type": [schema["type"][0], "null"],
        "default": None,
        "description": f"{schema['description']} {hint.replace('`', '')}",
        "markdownDescription": f"{schema['markdownDescription']} {hint}",
    }


def main() -> None:
    """Write the file; what is right already stays as it is."""
    package = json.loads(PACKAGE.read_text(encoding="utf-8"))
    text = json.dumps(with_settings(package), indent=2, ensure_ascii=False)
    PACKAGE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
