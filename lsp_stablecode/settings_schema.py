"""The settings as JSON Schema, for editors that check and describe what is written.

Follows `JSON Schema draft 7 <https://json-schema.org/draft-07>`_, with the two words
that VS Code's settings page adds: ``markdownDescription`` and ``order``.
"""

from __future__ import annotations

from typing import Any

from lsp_stablecode.settings import (
    DEFAULTS,
    DEVICE_PATTERN,
    ENDPOINT_PATTERN,
    FILE_PATTERN,
    SETTINGS,
    Setting,
    to_wire,
)


def settings_schema() -> dict[str, Any]:
    """Return the schema of the object that the section ``lsp-stablecode`` holds."""
    defaults = to_wire(DEFAULTS)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Settings of lsp-stablecode",
        "type": "object",
        "properties": {
            setting.key: {
                **_admitted(setting),
                "default": defaults[setting.key],
                "description": setting.description.replace("`", ""),
                "markdownDescription": setting.description,
                "order": order,
            }
            for order, setting in enumerate(SETTINGS.values())
        },
        "additionalProperties": False,
    }


def _admitted(setting: Setting) -> dict[str, Any]:
    """Return what a setting may hold."""
    match setting.kind:
        case "text":
            # Not blank, as ``parse_settings`` wants it.
            return {"type": "string", "pattern": r"\S"}
        case "device":
            return {"type": "string", "pattern": DEVICE_PATTERN}
        case "endpoint":
            return {"type": "string", "pattern": ENDPOINT_PATTERN}
        case "file":
            return {"type": "string", "pattern": FILE_PATTERN}
        case "choice":
            return {"type": "string", "enum": list(setting.choices)}
        case "flag":
            return {"type": "boolean"}
        case "texts":
            return {"type": "array", "items": {"type": "string", "pattern": r"\S"}}
        case "integer" | "number":
            number = {
                "type": setting.kind,
                "minimum": setting.minimum,
                "maximum": setting.maximum,
            }
            if not setting.automatic:
                return number
            # One type with the word beside: settings pages draw no `anyOf`.
            return {
                "type": [setting.kind, "string"],
                "pattern": "^auto$",
                "minimum": setting.minimum,
                "maximum": setting.maximum,
            }
