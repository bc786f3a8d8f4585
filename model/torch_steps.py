"""Steps through a decoder over one session's cache: of a text, or of branches.

Each comes twice: with its place as numbers, for a pass made once, and with its place
in a tensor on the device, for a pass captured once and replayed anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.attention import KvTensors
from model.attention_factory import AttentionFactory
from model.decoder import Decoder

# Where ``inputs`` of a captured step hold what; token ids come last.
START, STEP, FIRST_TOKEN = 0, 1, 2


class DecoderSteps:
    """A decoder with its kind of attention. All logits are fp32."""

    def __init__(self, decoder: Decoder, attention: AttentionFactory) -> None:
        self.decoder = decoder
        self._attention = attention

    def new_cache(self, num_slots: int) -> KvTensors:
        """Return an empty cache of one session."""
        config, decoder = self.decoder.config, self.decoder
        shape = (config.num_layers, num_slots, config.num_kv_heads, config.head_dim)
        # Zeros: what a mask hides is still multiplied, and must not be a NaN.
        keys, values = (
            torch.zeros(shape, dtype=decoder.dtype, device=decoder.device)
            for _ in range(2)
        )
        return KvTensors(keys, values)

    def append(
        self, cache: KvTensors, token_ids: Sequence[int], start: int, num_logits: int
    ) -> Tensor:
        """Append tokens after ``start`` slots; return ``[num_logits, vocabulary]``."""
        device = self.decoder.device
        ids = torch.tensor(token_ids, device=device)
        positions = torch.arange(start, start + len(token_ids), device=device)
        attend = self._attention.append(cache, start, len(token_ids))
        return self.decoder.forward(ids, positions, attend, num_logits)

    def append_at(
        self, cache: KvTensors, inputs: Tensor, num_tokens: int, num_slots: int
    ) -> Tensor:
        """Do the same at ``inputs[START]``, below ``num_slots``, with all logits."""
        ids = inputs[FIRST_TOKEN : FIRST_TOKEN + num_tokens]
        positions = inputs[START] + torch.arange(num_tokens, device=inputs.device)
        attend = self._attention.append_at(cache, positions, num_slots)
        return self.decoder.forward(ids, positions, attend, num_tokens)

    def branch(
        self, cache: KvTensors, token_ids: Sequence[int], num_shared: int, step: int
    ) -> Tensor:
        """Append a token to each branch; return ``[branches, vocabulary]``."""
        inputs = torch.tensor(
            [num_shared, step, *token_ids], device=self.decoder.device
        )
        num_slots = num_shared + (step + 1) * len(token_ids)
        return self.branch_at(cache, inputs, len(token_ids), num_slots)

    def branch_at(
        self, cache: KvTensors, inputs: Tensor, num_branches: int, num_slots: int
    ) -> Tensor:
        """Do the same after ``inputs[START]`` shared slots, as ``inputs[STEP]``."""
        ids = inputs[FIRST_TOKEN : FIRST_TOKEN + num_branches]
        shared, step = inputs[START], inputs[STEP]
        positions = (shared + step).expand(num_branches)
        attend = self._attention.branch(cache, num_branches, shared, step, num_slots)
        return self.decoder.forward(ids, positions, attend, num_branches)
