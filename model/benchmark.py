"""What benchmarks of the model side share: costs, limits, and who is measured.

Figures are taken below the server, in token ids, through one Protocol that the loaded
engine and its peers both follow. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from model.errors import StablecodeError

PeerKind = Literal["llama.cpp", "transformers"]


class BenchmarkError(StablecodeError):
    """What was asked for cannot be measured here."""


class PeerUnavailableError(BenchmarkError):
    """A peer is not installed, has no file to load, or crashed."""


@dataclass(frozen=True, slots=True)
class ModelCosts:
    """What a loaded model must read and compute.

    ``weight_bytes_per_pass`` are the weights that one decoding pass reads, the output
    head included and the embedding's rows not. ``cache_bytes_per_token`` are the keys
    and values of one position. ``operations_per_token`` are additions and
    multiplications of one prefilled token, so without the head and without attention
    to others. ``compute_format`` names the products' format in prefill: a key of
    ``MachineLimits.matrix_gops``.
    """

    weight_bytes_per_pass: int
    cache_bytes_per_token: int
    operations_per_token: int
    compute_format: str


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """What this machine reaches at best.

    ``read_gb_per_s`` is 10⁹ bytes a second, streamed from a buffer far larger than the
    caches. ``matrix_gops`` is 10⁹ additions and multiplications a second in large
    products, by format. ``num_threads`` computed both.
    """

    read_gb_per_s: float
    matrix_gops: dict[str, float]
    num_threads: int
    device: str

    def pass_ms(self, costs: ModelCosts, num_cached_tokens: int) -> float:
        """Return the least time of a pass at that depth: all it reads, read once."""
        num_bytes = costs.weight_bytes_per_pass
        num_bytes += costs.cache_bytes_per_token * num_cached_tokens
        return num_bytes / self.read_gb_per_s / 1e6

    def prefill_ms(self, costs: ModelCosts, num_tokens: int) -> float | None:
        """Return the least time of the products; ``None`` for a format not measured."""
        gops = self.matrix_gops.get(costs.compute_format)
        if not gops:
            return None
        return costs.operations_per_token * num_tokens / gops / 1e6


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """A process's memory in bytes: resident now, resident at most, and its own alone.

    ``unique_bytes`` leaves out what it shares with others, mapped files included.
    """

    resident_bytes: int
    peak_bytes: int
    unique_bytes: int


@dataclass(frozen=True, slots=True)
class Completed:
    """What a peer made of a prompt; counts are tokens.

    ``first_line_ms`` is when its first line was whole, or the end.
    """

    text: str
    prompt_tokens: int
    reused_tokens: int
    generated_tokens: int
    prefill_ms: float
    first_line_ms: float
    total_ms: float
    finish_reason: str


class Contender(Protocol):
    """Who is measured. All times are ms by its own clock, without any transport."""

    @property
    def name(self) -> str:
        """Name for tables."""
        ...

    @property
    def description(self) -> str:
        """Version, format and settings, for the record."""
        ...

    @property
    def costs(self) -> ModelCosts | None:
        """What its model must read and compute, where that is known."""
        ...

    @property
    def num_threads(self) -> int:
        """How many processor threads compute."""
        ...

    @property
    def can_verify(self) -> bool:
        """Whether it computes a pass of several tokens on top of its cache."""
        ...

    def prefill(self, token_ids: Sequence[int]) -> float:
        """Return the ms from an empty cache to the choice of the next token."""
        ...

    def decode(self, token_ids: Sequence[int], num_tokens: int) -> float:
        """Return the ms per token of greedy decoding after ``token_ids``.

        Computing ``token_ids`` is not part of it.
        """
        ...

    def verify(
        self, token_ids: Sequence[int], draft_ids: Sequence[int], num_passes: int
    ) -> float:
        """Return the ms of a pass of ``draft_ids`` after ``token_ids``.

        Each position's next token is chosen. The mean of ``num_passes``.
        """
        ...

    def memory(self) -> ProcessMemory:
        """Return the memory of its process."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


@dataclass(frozen=True, slots=True)
class PeerOptions:
    """What a peer loads. ``path`` is a GGUF file or a Hugging Face directory.

    ``batch_tokens`` and ``micro_batch_tokens`` are llama-server's ``--batch-size`` and
    ``--ubatch-size``, as llama.vim's documentation starts it.
    """

    kind: PeerKind
    path: Path
    num_threads: int
    context_tokens: int
    device: str = "cpu"
    batch_tokens: int = 2048
    micro_batch_tokens: int = 1024


@dataclass(frozen=True, slots=True)
class PromptForPeer:
    """Token ids, and how much may follow.

    ``least_indent`` blanks begin every further line of a completion, or end it.
    """

    token_ids: tuple[int, ...]
    max_new_tokens: int
    least_indent: int = 0


class Peer(Contender, Protocol):
    """A contender that also completes prompts, keeping a cache as it always does."""

    @property
    def started_s(self) -> float:
        """When its process was started, by ``time.perf_counter``."""
        ...

    def complete(
        self,
        prompt: PromptForPeer,
        stop_ids: Sequence[int],
        time_limit_ms: float | None = None,
    ) -> Completed:
        """Complete greedily. ``time_limit_ms`` ends it after its first line."""
        ...

    def forget(self) -> None:
        """Drop the cache."""
        ...


class Prompts(Protocol):
    """A model's tokenizer, and prompts for its peers."""

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The tokens that end a completion."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """How many different tokens there are."""
        ...

    def count(self, text: str) -> int:
        """Return how many tokens a text is."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return a text's ids."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of ids."""
        ...

    def llama_vim(self, prefix: str, suffix: str, batch_tokens: int) -> PromptForPeer:
        """Return llama.vim's request as llama-server's prompt."""
        ...

    def card(self, prefix: str, suffix: str) -> PromptForPeer:
        """Return the model card's prompt."""
        ...


def process_memory(process_id: int | None = None) -> ProcessMemory:
    """Return the memory of a process of ours, this one by default."""
    import psutil

    process = psutil.Process(process_id)
    info = process.memory_info()
    peak = getattr(info, "peak_wset", 0) or _linux_peak_bytes(process.pid)
    try:
        unique = int(process.memory_full_info().uss)
    except (psutil.Error, AttributeError):
        unique = 0
    return ProcessMemory(int(info.rss), max(int(info.rss), peak), unique)


def _linux_peak_bytes(process_id: int) -> int:
    """Return the kernel's high-water mark, 0 where there is none to read."""
    try:
        with open(f"/proc/{process_id}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
