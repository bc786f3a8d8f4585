"""Who takes part, and turns: one after the other, again and again, in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lsp_stablecode.bench.report import Report
from lsp_stablecode.bench.samples import Samples
from model import (
    Contender,
    ModelError,
    Peer,
    PeerKind,
    PeerOptions,
    PeerUnavailableError,
    peer_path,
    peer_version,
    start_peer,
)

PEERS: tuple[PeerKind, ...] = ("llama.cpp", "transformers")

Advance = Callable[[], None]
Measure = Callable[[Contender], float | None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which peers are asked for, and how they are loaded."""

    kinds: tuple[PeerKind, ...]
    model: str
    device: str
    num_threads: int
    context_tokens: int
    batch_tokens: int

    def options(self, kind: PeerKind) -> PeerOptions:
        """Return what to load. Raises ``PeerUnavailableError``."""
        if kind == "llama.cpp" and peer_version(kind) is None:
            raise PeerUnavailableError(
                "llama.cpp is left out: llama-cpp-python is not installed.",
                hint='Install it: pip install "lsp-stablecode[peers]".',
            )
        if kind == "llama.cpp" and self.device != "cpu":
            raise PeerUnavailableError(
                f"llama.cpp is left out: it is measured on the processor, and the "
                f"model is on {self.device}."
            )
        return PeerOptions(
            kind=kind,
            path=peer_path(kind, self.model),
            num_threads=self.num_threads,
            context_tokens=self.context_tokens,
            device=self.device,
            batch_tokens=self.batch_tokens,
        )


@contextmanager
def started_peers(wanted: Wanted, report: Report) -> Iterator[list[Peer]]:
    """Load the peers that are here; note those that are not. Ends them all."""
    peers: list[Peer] = []
    try:
        for kind in wanted.kinds:
            try:
                peers.append(start_peer(wanted.options(kind)))
            except (ModelError, PeerUnavailableError) as error:
                report.note(str(error))
        yield peers
    finally:
        for peer in peers:
            peer.close()


def alternate(
    contenders: Sequence[Contender],
    num_turns: int,
    measure: Measure,
    report: Report,
    advance: Advance = lambda: None,
) -> dict[str, Samples]:
    """Measure each contender once per turn, in their order.

    ``None`` from ``measure`` is no turn. A contender that fails gets no further turns,
    and a note says so.
    """
    values: dict[str, list[float | None]] = {one.name: [] for one in contenders}
    failed: set[str] = set()
    for _ in range(num_turns):
        for one in contenders:
            value = None
            if one.name not in failed:
                try:
                    value = measure(one)
                except PeerUnavailableError as error:
                    failed.add(one.name)
                    report.note(str(error))
            values[one.name].append(value)
        advance()
    return {name: Samples(tuple(column)) for name, column in values.items()}
