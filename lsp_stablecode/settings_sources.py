"""Where a session's settings come from, and which source is believed."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

from lsp_stablecode.settings import Problem, Settings, parse_settings

SettingsSource = Literal["initialization", "pulled", "pushed"]
"""In the order of their precedence, the strongest last."""


class SettingsSources:
    """What each source said last, and the settings that follow from it.

    ``current`` is another object whenever anything changed.
    """

    def __init__(self, base: Settings) -> None:
        self.current = base
        self._base = base
        self._untoggled = base
        self._raw: dict[SettingsSource, object] = {}
        self._toggled: bool | None = None

    def take(self, source: SettingsSource, raw: object) -> list[Problem]:
        """Take what a source says, in place of what it said before.

        Each source is read on top of the one before it; what was taken out of the
        editor's settings so falls back to the default.
        """
        self._raw[source] = raw
        settings = self._base
        problems: list[Problem] = []
        for name in get_args(SettingsSource):
            settings, more = parse_settings(self._raw.get(name), settings)
            problems += more
        if settings.enable != self._untoggled.enable:
            self._toggled = None
        self._untoggled = settings
        if self._toggled is not None:
            settings = replace(settings, enable=self._toggled)
        if settings != self.current:
            self.current = settings
        return problems

    def toggle(self) -> bool:
        """Switch suggestions off or on until a source says otherwise; whether on."""
        self._toggled = not self.current.enable
        self.current = replace(self.current, enable=self._toggled)
        return self._toggled
