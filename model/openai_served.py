"""Which of a server's models is asked, and what the server says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.catalog import CatalogEntry, find_entry
from model.errors import ContextTooLargeError
from model.locate import entry_of_file
from model.openai_client import Json
from model.remote_errors import NoSuchModelError

_USUAL_CONTEXT_TOKENS = 8192
# Where nobody says how many there are.
_SAFE_CONTEXT_TOKENS = 4096
_SHOWN_NAMES = 8


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model by the server's name for it.

    ``origin`` is the directory or repository it was loaded from and ``context_tokens``
    how many it takes, where the server says so.
    """

    name: str
    origin: str = ""
    context_tokens: int | None = None

    @property
    def entry(self) -> CatalogEntry | None:
        """The catalogue's entry that its name or origin stands for, if any."""
        for name in filter(None, (self.name, self.origin)):
            entry = find_entry(name) or entry_of_file(Path(name))
            if entry is not None:
                return entry
        return None


def choose_served(listed: Sequence[Json], wanted: str, host: str) -> ServedModel:
    """Return the model to ask: the ``wanted`` one, or for ``auto`` the first listed.

    Raises ``NoSuchModelError``.
    """
    names = [str(one["id"])[:200] for one in listed]
    if wanted == "auto":
        if not listed:
            raise NoSuchModelError(
                f"The completion server at {host} lists no models.",
                hint="Name the one to ask in remoteModel.",
            )
        return _served(listed[0])
    if not listed:
        return ServedModel(wanted)
    for one in listed:
        if one["id"] == wanted:
            return _served(one)
    raise NoSuchModelError(
        f"The completion server at {host} has no model {wanted!r}.",
        hint=f"Set remoteModel to one that it has: {', '.join(names[:_SHOWN_NAMES])}.",
    )


def context_tokens_of(
    served: ServedModel, wanted: int | None, model_limit: int | None
) -> int:
    """Return how many tokens prompt and completion may hold together.

    Raises ``ContextTooLargeError`` when more are wanted than the server takes.
    """
    limit = served.context_tokens
    if wanted is None:
        if limit is None:
            return min(_SAFE_CONTEXT_TOKENS, model_limit or _SAFE_CONTEXT_TOKENS)
        return min(_USUAL_CONTEXT_TOKENS, limit)
    if limit is not None and wanted > limit:
        raise ContextTooLargeError(
            f"{wanted} context tokens were asked for, and the completion server takes "
            f"{limit}.",
            hint=f"Set contextTokens to {limit} or less.",
        )
    return wanted


def _served(listed: Json) -> ServedModel:
    meta = listed.get("meta")
    told = (
        listed.get("max_model_len"),  # vLLM, SGLang
        meta.get("n_ctx") if isinstance(meta, dict) else None,  # llama.cpp
    )
    counts = [one for one in told if isinstance(one, int) and one > 0]
    origin = listed.get("root")
    return ServedModel(
        str(listed["id"]),
        origin if isinstance(origin, str) else "",
        counts[0] if counts else None,
    )
