"""The decoder: token ids in, logits out; keys and values are the caller's.

Every operation, its number format and its order are those of transformers' modules
of the same family, so that greedy text is the same in any format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from model.attention import Attend, RotaryTable, rotate
from model.decoder_config import DecoderConfig
from model.torch_linear import Linear

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
}


@dataclass(frozen=True, slots=True)
class NormWeights:
    """Weight ``[hidden]`` and, of a LayerNorm, bias ``[hidden]``."""

    weight: Tensor
    bias: Tensor | None = None


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer.

    ``head_norm`` ``[heads + kv_heads, head_dim]`` normalises queries and keys, where
    the family does. ``qkv`` gives ``[tokens, (heads + 2 * kv_heads) * head_dim]``,
    ``up`` the gate before the up projection.
    """

    attention_norm: NormWeights
    mlp_norm: NormWeights
    head_norm: Tensor | None
    qkv: Linear
    out: Linear
    up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class DecoderWeights:
    """A whole decoder; ``embedding`` is ``[vocabulary, hidden]``."""

    embedding: Tensor
    final_norm: NormWeights
    head: Linear
    layers: tuple[LayerWeights, ...]


class Decoder:
    """A decoder's weights and the pass through them."""

    def __init__(
        self, config: DecoderConfig, weights: DecoderWeights, num_positions: int
    ) -> None:
        self.config = config
        self._weights = weights
        self._activation = _ACTIVATIONS[config.activation]
        self._rotary = RotaryTable(
            config.inverse_frequencies, num_positions, self.dtype, self.device
        )

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the residual stream, of keys and of values."""
        return self._weights.embedding.dtype

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._weights.embedding.device

    def forward(
        self, token_ids: Tensor, positions: Tensor, attend: Attend, num_logits: int
    ) -> Tensor:
        """Return fp32 logits after the last tokens, ``[num_logits, vocabulary]``.

        ``token_ids`` and ``positions`` are ``[tokens]``; ``attend`` stores and reads
        keys and values.
        """
        hidden = functional.embedding(token_ids, self._weights.embedding)
        rotation = self._rotary.rows(positions)
        for number, layer in enumerate(self._weights.layers):
            normed = self._norm(hidden, layer.attention_norm)
            heads = self._heads(layer, normed, rotation)
            attended = layer.out(attend(number, *heads))
            if self.config.parallel_residual:
                mlp = self._mlp(layer, self._norm(hidden, layer.mlp_norm))
                hidden = mlp + attended + hidden
            else:
                hidden = hidden + attended
                hidden = hidden + self._mlp(layer, self._norm(hidden, layer.mlp_norm))
        wanted = self._norm(hidden[-num_logits:], self._weights.final_norm)
        return self._weights.head(wanted).float()

    def _heads(
        self, layer: LayerWeights, normed: Tensor, rotation: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries and keys, rotated, and values, ``[tokens, …, head_dim]``."""
        config = self.config
        every = layer.qkv(normed).view(normed.shape[0], -1, config.head_dim)
        turning = every[:, : config.num_heads + config.num_kv_heads]
        values = every[:, config.num_heads + config.num_kv_heads :]
        if layer.head_norm is not None:
            turning = _rms_norm(turning, layer.head_norm, config.norm_eps)
        rotate(turning, *rotation)
        return turning[:, : config.num_heads], turning[:, config.num_heads :], values

    def _mlp(self, layer: LayerWeights, normed: Tensor) -> Tensor:
        inner = layer.up(normed)
        if self.config.gated:
            gate, up = inner.chunk(2, dim=-1)
            return layer.down(self._activation(gate) * up)
        return layer.down(self._activation(inner))

    def _norm(self, hidden: Tensor, weights: NormWeights) -> Tensor:
        if self.config.norm == "rms":
            return _rms_norm(hidden, weights.weight, self.config.norm_eps)
        return functional.layer_norm(
            hidden,
            weights.weight.shape,
            weights.weight,
            weights.bias,
            self.config.norm_eps,
        )


def _rms_norm(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Normalise in fp32, round, and only then multiply, as the models were trained."""
    precise = hidden.float()
    variance = precise.square().mean(-1, keepdim=True)
    return weight * (precise * torch.rsqrt(variance + eps)).to(hidden.dtype)
