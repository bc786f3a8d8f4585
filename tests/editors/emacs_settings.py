"""The server's settings as Lisp, for the option ``lsp-stablecode-settings``.

``python tests/editors/emacs_settings.py`` writes them into the Emacs package, between
two comments; a test holds them against the server's.
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from lsp_stablecode.settings_schema import settings_schema

PACKAGE = Path(__file__).parents[2] / "editors/emacs/lsp-stablecode.el"
_BLOCK = re.compile(r"(?<=;; settings:begin\n).*?(?=;; settings:end\n)", re.S)
_COLUMNS = 78
_TYPES = {
    "array": "(repeat string)",
    "boolean": "boolean",
    "integer": "natnum",
    "number": "number",
    "string": "string",
}


def written_settings() -> str:
    """Return what the package holds."""
    found = _BLOCK.search(PACKAGE.read_text("utf-8"))
    assert found is not None
    return found[0]


def settings_as_lisp() -> str:
    """Return what it should hold."""
    entries = [
        f"    (:{name} {_type(one)}\n     {_text(one['description'])})"
        for name, one in settings_schema()["properties"].items()
    ]
    return (
        "(defconst lsp-stablecode--settings\n  '("
        + "\n".join(entries).lstrip()
        + ')\n  "The server\'s settings: what each may hold, and what it is for.")\n'
    )


def _type(setting: dict[str, Any]) -> str:
    """Return the type that Customize offers."""
    if "enum" in setting:
        choices = " ".join(f"(const {json.dumps(one)})" for one in setting["enum"])
        return _filled(f"(choice {choices})")
    kinds = setting["type"]
    if isinstance(kinds, str):
        return _TYPES[kinds]
    return f'(choice (const "auto") {_TYPES[kinds[0]]})'


def _filled(choices: str) -> str:
    lines = textwrap.wrap(
        choices.replace("const ", "const\0"),
        _COLUMNS,
        initial_indent=" " * 14,
        subsequent_indent=" " * 14,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace("\0", " ").strip()


def _text(description: str) -> str:
    lines = textwrap.wrap(description, _COLUMNS - 6, break_on_hyphens=False)
    # A newline behind a backslash is none.
    return json.dumps("\n".join(lines), ensure_ascii=False).replace("\\n", " \\\n")


if __name__ == "__main__":
    text = PACKAGE.read_text("utf-8")
    PACKAGE.write_text(_BLOCK.sub(lambda _: settings_as_lisp(), text), "utf-8")
