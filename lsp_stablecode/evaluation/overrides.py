"""Settings given on the command line as ``--set KEY=VALUE``, for evaluations."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lsp_stablecode.errors import SettingsError
from lsp_stablecode.settings import Settings, parse_settings


def with_overrides(settings: Settings, given: Sequence[str]) -> Settings:
    """Return ``settings`` with each ``KEY=VALUE``, names and values as on the wire.

    A value that is no JSON is a text. Raises ``SettingsError`` for whatever does not
    hold: a measurement under other settings than asked for is worth nothing.
    """
    values: dict[str, object] = {}
    for one in given:
        key, equals, text = one.partition("=")
        if not equals or not key.strip():
            raise SettingsError(
                f"--set takes KEY=VALUE, not {one!r}.", hint="As in --set context=false"
            )
        try:
            values[key.strip()] = json.loads(text)
        except ValueError:
            values[key.strip()] = text
    changed, problems = parse_settings(values, settings)
    if problems:
        what = problems[0].message.partition("; using ")[0].rstrip(".")
        raise SettingsError(f"{what}.", hint="See the README's table of settings.")
    return changed
