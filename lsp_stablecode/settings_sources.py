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
        self._toggled_languages: dict[str, bool] = {}

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
        if settings.disabled_languages != self._untoggled.disabled_languages:
            self._toggled_languages.clear()
        self._untoggled = settings
        self._apply_toggles()
        return problems

    def toggle(self) -> bool:
        """Switch suggestions off or on until a source says otherwise; whether on."""
        self._toggled = not self.current.enable
        self._apply_toggles()
        return self._toggled

    def toggle_language(self, language_id: str) -> bool:
        """Switch them off or on for a language, likewise; whether it has them now."""
        is_on = language_id in self.current.disabled_languages
        self._toggled_languages[language_id] = is_on
        self._apply_toggles()
        return is_on

    def _apply_toggles(self) -> None:
        settings = self._untoggled
        toggled = self._toggled_languages
        disabled = [one for one in settings.disabled_languages if one not in toggled]
        disabled += [one for one, is_on in toggled.items() if not is_on]
        settings = replace(
            settings,
            enable=settings.enable if self._toggled is None else self._toggled,
            disabled_languages=tuple(disabled),
        )
        if settings != self.current:
            self.current = settings
