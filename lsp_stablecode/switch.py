"""Whether there are suggestions: the settings, with what was toggled, and the pause."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lsp_stablecode.settings_sources import SettingsSources
from lsp_stablecode.snooze import Snooze


class Switch:
    """What the user turns on and off while the server runs. Lives on the event loop.

    ``on_change`` is called after each turn, and when a pause ends by itself.
    """

    def __init__(
        self, sources: SettingsSources, on_change: Callable[[], object]
    ) -> None:
        self._sources = sources
        self._on_change = on_change
        self._snooze = Snooze(on_change)
        self._to_restore: Mapping[str, Any] = {}

    @property
    def is_on(self) -> bool:
        """Whether there are suggestions now, in some language at least."""
        return self._sources.current.enable and not self._snooze.is_on

    @property
    def snooze_seconds(self) -> int:
        """How long a pause still lasts; 0 where there is none."""
        return self._snooze.seconds_left

    @property
    def snoozed_until_s(self) -> float | None:
        """When the pause ends that keeps them off, in seconds since the epoch."""
        return self._snooze.until_s if self._sources.current.enable else None

    def why_off(self, language_id: str) -> str:
        """Name why there are no suggestions in a language, or return nothing."""
        settings = self._sources.current
        if not settings.enable:
            return "disabled"
        if self._snooze.is_on:
            return "snoozed"
        if language_id in settings.disabled_languages:
            return "language-disabled"
        return ""

    def toggle(self) -> bool:
        """Switch suggestions off or on; return whether on.

        A pause counts as off: who toggles then wants suggestions.
        """
        is_on = not self.is_on
        self._snooze.end()
        if self._sources.current.enable != is_on:
            self._sources.toggle()
        self._on_change()
        return is_on

    def toggle_language(self, language_id: str) -> bool:
        """Switch them off or on for a language; return whether on for it."""
        is_on = self._sources.toggle_language(language_id)
        self._on_change()
        return is_on

    def snooze(self, minutes: float) -> int:
        """Suggest nothing for so long; at 0 suggest again. Return the seconds left."""
        self._snooze.end()
        if minutes:
            self._snooze.begin(minutes)
        self._on_change()
        return self._snooze.seconds_left

    def restore_later(self, state: object) -> None:
        """Keep what was switched at a server before this one, for ``restore``."""
        self._to_restore = state if isinstance(state, Mapping) else {}

    def restore(self) -> None:
        """Bring that about, now that the editor's settings are known."""
        state, self._to_restore = self._to_restore, {}
        enabled, languages = state.get("enabled"), state.get("languages")
        if isinstance(enabled, bool) and enabled != self._sources.current.enable:
            self._sources.toggle()
        for language_id, is_on in (languages or {}).items():
            off = language_id in self._sources.current.disabled_languages
            if is_on == off:
                self._sources.toggle_language(language_id)
        minutes = state.get("snoozeMinutes")
        if isinstance(minutes, int | float) and minutes > 0:
            self._snooze.begin(minutes)
        if state:
            self._on_change()

    def close(self) -> None:
        """End a pause, so that nothing is called any more."""
        self._snooze.end()
