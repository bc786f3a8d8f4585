"""``bench keys``: from a key to its suggestion, while a real file is typed.

We are asked through the real server over stdio; peers get the same text in token ids,
without any server or transport, which is in their favour.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal

from lsp_stablecode.bench.field import Advance
from lsp_stablecode.bench.report import OURS, Figure, Report
from lsp_stablecode.bench.samples import Samples
from lsp_stablecode.bench.scripts import Script
from lsp_stablecode.client.connection import Connection
from lsp_stablecode.client.editor import Editor
from model import Peer, PeerUnavailableError, Prompts

Kind = Literal["computed", "type-through", "nothing"]


@dataclass(frozen=True, slots=True)
class Key:
    """What came of one key; counts are tokens, ``ms`` from the key to the answer.

    ``type-through`` is an answer from the last suggestion, into which was typed, and
    ``nothing`` one for which nothing was computed either.
    """

    ms: float
    kind: Kind
    outcome: str
    prompt_tokens: int = 0
    reused_tokens: int = 0
    generated_tokens: int = 0
    forwards: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    first_line_ms: float | None = None
    text: str = ""

    @property
    def computed_tokens(self) -> int:
        """Tokens of the prompt that were not in the cache."""
        return self.prompt_tokens - self.reused_tokens


@dataclass(frozen=True, slots=True)
class KeysPlan:
    """How much is typed. ``card_every`` is how seldom transformers gets a key.

    ``time_limit_ms`` is llama-server's ``t_max_predict_ms``; ``None`` has no limit.
    """

    prompt_tokens: int = 1500
    characters: int = 48
    card_every: int = 12
    batch_tokens: int = 2048
    time_limit_ms: float | None = None


QUICK_KEYS = KeysPlan(prompt_tokens=128, characters=6, card_every=3)


@dataclass(slots=True)
class PeerTypist:
    """A peer while a script is typed: what it suggested last is typed into first."""

    peer: Peer
    prompts: Prompts
    plan: KeysPlan
    _suggested: str = ""

    def begin(self) -> None:
        """Start on another text."""
        self._suggested = ""
        self.peer.forget()

    def press(self, key: str, prefix: str, suffix: str) -> Key:
        """Return what comes of a key, after which ``prefix`` is before the cursor.

        Raises ``PeerUnavailableError``.
        """
        started = time.perf_counter()
        is_llama = self.peer.name == "llama.cpp"
        rest = self._suggested.removeprefix(key)
        if is_llama and key and rest and rest != self._suggested:
            # llama.vim looks into its own memory of completions first.
            self._suggested = rest
            ms = (time.perf_counter() - started) * 1000
            return Key(ms, "type-through", "type-through", text=rest)
        if is_llama:
            prompt = self.prompts.llama_vim(prefix, suffix, self.plan.batch_tokens)
        else:
            prompt = self.prompts.card(prefix, suffix)
        done = self.peer.complete(
            prompt, self.prompts.stop_ids, self.plan.time_limit_ms
        )
        self._suggested = done.text
        return Key(
            ms=done.total_ms,
            kind="computed",
            outcome=done.finish_reason,
            prompt_tokens=done.prompt_tokens,
            reused_tokens=done.reused_tokens,
            generated_tokens=done.generated_tokens,
            forwards=done.generated_tokens,
            first_line_ms=done.first_line_ms,
            text=done.text,
        )


@dataclass(slots=True)
class Typing:
    """A session of typing: one column of keys for each that takes part."""

    connection: Connection
    peers: Sequence[Peer]
    prompts: Prompts
    plan: KeysPlan
    report: Report
    columns: dict[str, list[Key | None]] = field(init=False)
    _failed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.columns = {name: [] for name in (OURS, *(one.name for one in self.peers))}

    async def play(self, script: Script, advance: Advance) -> None:
        """Type a script, each key being everybody's before the next one is.

        The text before the first key is computed beforehand, which does not count.
        """
        typists = [PeerTypist(one, self.prompts, self.plan) for one in self.peers]
        editor = Editor(self.connection)
        uri = f"file:///bench/{len(self.columns[OURS])}/{script.name}"
        text = script.before + script.after
        buffer = editor.open_text(uri, script.language_id, text)
        buffer.cursor = len(script.before)
        await editor.suggest(buffer)
        for typist in typists:
            self._peer_key(typist, typist.begin)
            if typist.peer.name == "llama.cpp":
                self._peer_key(
                    typist, partial(typist.press, "", script.before, script.after)
                )
        for number, key in enumerate(script.keys):
            started = time.perf_counter()
            editor.replace(buffer, buffer.cursor, buffer.cursor, key)
            answer = await editor.suggest(buffer)
            ms = (answer.arrived_s - started) * 1000
            ghost = answer.ghosts[0].text if answer.ghosts else ""
            self.columns[OURS].append(our_key(ms, answer.explained, ghost))
            prefix = buffer.text[: buffer.cursor]
            for typist in typists:
                pressed = None
                if typist.peer.name == "llama.cpp" or not number % self.plan.card_every:
                    pressed = self._peer_key(
                        typist, partial(typist.press, key, prefix, script.after)
                    )
                self.columns[typist.peer.name].append(pressed)
            advance()
        editor.close(buffer)

    def _peer_key(
        self, typist: PeerTypist, press: Callable[[], Key | None]
    ) -> Key | None:
        """Press; a peer that fails gets no further keys, and a note says so."""
        if typist.peer.name in self._failed:
            return None
        try:
            return press()
        except PeerUnavailableError as error:
            self._failed.add(typist.peer.name)
            self.report.note(str(error))
            return None


def our_key(ms: float, explained: dict[str, Any] | None, text: str) -> Key:
    """Return a key of ours from the server's own account of it."""
    said = explained or {}
    costs = said.get("statistics") or {}
    outcome = str(said.get("outcome", "none"))
    is_computed = costs.get("forwards", 0) > 0
    kind: Kind = "computed"
    if not is_computed:
        kind = "type-through" if outcome == "type-through" else "nothing"
    names = ("prompt", "reused", "generated", "drafted", "accepted")
    counts = {f"{name}_tokens": int(costs.get(f"{name}_tokens", 0)) for name in names}
    return Key(
        ms=ms,
        kind=kind,
        outcome=outcome,
        forwards=int(costs.get("forwards", 0)),
        text=text,
        **counts if is_computed else {},
    )


def key_figures(columns: dict[str, list[Key | None]]) -> list[Figure]:
    """Return the figures of all keys: times, and tokens per computed key."""

    def figure(
        key: str,
        title: str,
        unit: str,
        read: Callable[[Key], float | None],
        *,
        is_compared: bool = True,
    ) -> Figure:
        samples = {
            name: Samples(tuple(read(one) if one else None for one in column))
            for name, column in columns.items()
        }
        return Figure(key, title, unit, samples, is_compared=is_compared)

    def computed(
        read: Callable[[Key], float | None],
    ) -> Callable[[Key], float | None]:
        return lambda key: read(key) if key.kind == "computed" else None

    return [
        # A peer's answer from memory goes through no server and no pipe.
        figure("key", "key to suggestion", "ms", lambda key: key.ms, is_compared=False),
        figure(
            "key-computed",
            "key to suggestion, computed only",
            "ms",
            computed(lambda key: key.ms),
        ),
        figure(
            "key-first-line",
            "key to its first line, computed only",
            "ms",
            computed(
                lambda key: key.ms if key.first_line_ms is None else key.first_line_ms
            ),
        ),
        figure(
            "tokens-computed",
            "prompt tokens computed a key",
            "tokens",
            computed(lambda key: key.computed_tokens),
            is_compared=False,
        ),
        figure(
            "tokens-reused",
            "prompt tokens reused a key",
            "tokens",
            computed(lambda key: key.reused_tokens),
            is_compared=False,
        ),
        figure(
            "tokens-generated",
            "tokens generated a key",
            "tokens",
            computed(lambda key: key.generated_tokens),
            is_compared=False,
        ),
    ]


def key_totals(columns: dict[str, list[Key | None]]) -> dict[str, Any]:
    """Return sums over all keys: kinds, tokens, drafts, and the tail of the times."""
    totals: dict[str, Any] = {}
    for name, column in columns.items():
        keys = [one for one in column if one is not None]
        if not keys:
            continue
        drafted = sum(one.drafted_tokens for one in keys)
        accepted = sum(one.accepted_tokens for one in keys)
        times = Samples(tuple(one.ms for one in keys if one.kind == "computed"))
        totals[name] = {
            "keys": len(keys),
            "computed": sum(one.kind == "computed" for one in keys),
            "type_through": sum(one.kind == "type-through" for one in keys),
            "empty": sum(not one.text for one in keys),
            "drafted_tokens": drafted,
            "accepted_tokens": accepted,
            "acceptance": accepted / drafted if drafted else None,
            "p95_by_median": times.at(0.95) / times.median if times else None,
        }
    return totals


def keys_json(columns: dict[str, list[Key | None]]) -> dict[str, Any]:
    """Return every key of everybody as JSON data; no text of the suggestions."""
    return {
        name: [_key_json(one) if one else None for one in column]
        for name, column in columns.items()
    }


def _key_json(key: Key) -> dict[str, Any]:
    data = asdict(key)
    data["characters"] = len(data.pop("text"))
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in data.items()
    }
