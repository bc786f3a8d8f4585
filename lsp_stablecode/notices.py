"""What a session may say to its editor, and that it says a thing once."""

from __future__ import annotations

from typing import Literal, Protocol

from lsp_stablecode.status import Status
from model import LoadProgress

Level = Literal["info", "error"]


class Client(Protocol):
    """The editor's side, called from the event loop."""

    def show_message(self, text: str, level: Level) -> None:
        """Show the user a sentence."""
        ...

    def show_progress(self, progress: LoadProgress | None) -> None:
        """Show that the model loads; ``None`` when it is done."""
        ...

    def show_status(self, status: Status) -> None:
        """Show what is the matter, in a status bar."""
        ...


class Notices:
    """Sentences for the user, each one once in a session."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._said: set[str] = set()

    def say(self, text: str, level: Level = "info", *, again: bool = False) -> None:
        """Show a sentence; one that was shown before only ``again``."""
        if again or text not in self._said:
            self._said.add(text)
            self._client.show_message(text, level)
