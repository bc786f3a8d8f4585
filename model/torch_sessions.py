"""What is held for one session: its cache, and branches under way."""

from __future__ import annotations

from dataclasses import dataclass

from model.attention import KvTensors


@dataclass(slots=True)
class Branching:
    """Continuations under way: how many, of what, and how far."""

    num_branches: int
    num_shared: int
    num_steps: int = 0


@dataclass(slots=True)
class TorchSession:
    """One cache and how much of it is filled."""

    cache: KvTensors
    num_tokens: int = 0
    branching: Branching | None = None
