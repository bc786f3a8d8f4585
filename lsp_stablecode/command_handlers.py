"""What clients run with ``workspace/executeCommand``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer

from lsp_stablecode.session import Session
from lsp_stablecode.wire import ACCEPTED, SECTION

EXPLAIN = f"{SECTION}.explain"
STATUS = f"{SECTION}.status"
TOGGLE = f"{SECTION}.toggle"
SNOOZE = f"{SECTION}.snooze"
RELOAD = f"{SECTION}.reload"
OVERVIEW = f"{SECTION}.overview"
REPORT = f"{SECTION}.report"
_SNOOZE_MINUTES = 15
_LONGEST_SNOOZE_MINUTES = 24 * 60


def register_commands(server: LanguageServer, session: Session) -> None:
    """Offer the commands; docs/editors/commands.md lists them for client authors."""

    @server.command(ACCEPTED)
    def accepted(*arguments: Any) -> bool:
        # Never null: clients written in Lua and Vim script lose an answer of that.
        identifier = str(arguments[0]) if arguments else ""
        length = arguments[1] if len(arguments) > 1 else None
        return session.accepted(identifier, length if isinstance(length, int) else None)

    @server.command(EXPLAIN)
    def explain(*arguments: Any) -> Any:
        uri = arguments[0] if arguments and isinstance(arguments[0], str) else None
        return session.explain(uri)

    @server.command(STATUS)
    def status(*arguments: Any) -> Any:
        return session.describe()

    @server.command(OVERVIEW)
    def overview(*arguments: Any) -> Any:
        return session.overview()

    @server.command(REPORT)
    def report(*arguments: Any) -> Any:
        return session.bug_report()

    @server.command(TOGGLE)
    def toggle(*arguments: Any) -> bool:
        language_id = _first(arguments)
        if language_id is None:
            return session.switch.toggle()
        if not isinstance(language_id, str) or not language_id.strip():
            raise JsonRpcInvalidParams(
                f"{TOGGLE} takes a language identifier, such as python, or nothing."
            )
        return session.switch.toggle_language(language_id)

    @server.command(SNOOZE)
    def snooze(*arguments: Any) -> int:
        minutes = _first(arguments)
        if minutes is None:
            minutes = _SNOOZE_MINUTES
        is_number = isinstance(minutes, int | float) and not isinstance(minutes, bool)
        if not is_number or not 0 <= minutes <= _LONGEST_SNOOZE_MINUTES:
            raise JsonRpcInvalidParams(
                f"{SNOOZE} takes minutes from 0 to {_LONGEST_SNOOZE_MINUTES}, "
                "where 0 ends the pause."
            )
        return session.switch.snooze(minutes)

    @server.command(RELOAD)
    async def reload(*arguments: Any) -> Any:
        await session.load_model(again=True)
        return session.describe()


def _first(arguments: Sequence[Any]) -> Any:
    return arguments[0] if arguments else None
