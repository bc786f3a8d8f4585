"""Any causal language model that transformers knows, with a cache that rewinds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from model.device import Placement, flash_attention_available
from model.errors import (
    OutOfMemoryError,
    UnsupportedArchitectureError,
    WeightsCorruptError,
)

logger = logging.getLogger(__name__)

_CPU_CHUNK_TOKENS = 128
_GPU_CHUNK_TOKENS = 1024


class TransformersBackend:
    """A ``Backend`` over ``AutoModelForCausalLM`` and a ``DynamicCache``."""

    def __init__(
        self, model: Any, *, attention: str, chunk_tokens: int | None = None
    ) -> None:
        self._model = model.eval()
        self._device: torch.device = model.device
        self._attention = attention
        # Made without the configuration: the layers it would make for sliding
        # windows forget old keys and so cannot be rewound.
        self._cache = DynamicCache()
        default = _CPU_CHUNK_TOKENS if self._device.type == "cpu" else _GPU_CHUNK_TOKENS
        self._chunk_tokens = chunk_tokens or default

    @property
    def name(self) -> str:
        """Backend and attention kernel."""
        return f"transformers ({self._attention})"

    @property
    def num_cached_tokens(self) -> int:
        """Positions held by the cache."""
        return int(self._cache.get_seq_length())

    @property
    def chunk_tokens(self) -> int:
        """Tokens per prefill chunk."""
        return self._chunk_tokens

    @torch.inference_mode()
    def forward(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Append ``token_ids``; return the last one's logits ``[vocabulary]``, fp32."""
        ids = torch.tensor([list(token_ids)], device=self._device)
        try:
            output = self._model(
                input_ids=ids,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"The device ran out of memory at {self.num_cached_tokens} tokens of "
                "context.",
                hint="Lower contextTokens, or choose a smaller model.",
            ) from error
        logits: torch.Tensor = output.logits[0, -1].float().cpu()
        return logits

    def truncate(self, num_tokens: int) -> None:
        """Keep the first ``num_tokens`` positions."""
        excess = self.num_cached_tokens - num_tokens
        if num_tokens == 0:
            self._cache = DynamicCache()
        elif excess > 0:
            self._cache.crop(-excess)

    def close(self) -> None:
        """Drop weights and cache and give device memory back."""
        self._model = None
        self._cache = DynamicCache()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def load_transformers_backend(
    directory: Path, placement: Placement
) -> tuple[TransformersBackend, tuple[str, ...]]:
    """Load a Hugging Face directory; return the backend and notes for the user.

    Raises ``UnsupportedArchitectureError``, ``WeightsCorruptError`` or
    ``OutOfMemoryError``.
    """
    notes: list[str] = []
    attention = "sdpa"
    if placement.device.startswith("cuda"):
        if placement.dtype == "float32":
            notes.append("attention: torch SDPA, because flash-attn has no float32")
        elif flash_attention_available():
            attention = "flash_attention_2"
        else:
            notes.append("attention: torch SDPA, because flash-attn is not installed")
    try:
        config = AutoConfig.from_pretrained(
            directory, trust_remote_code=False, local_files_only=True
        )
    except (ValueError, KeyError) as error:
        raise UnsupportedArchitectureError(
            f"The model in {directory} is of a kind that transformers does not know.",
            hint="Choose a model of a known family: lsp-stablecode models list.",
        ) from error
    try:
        # use_safetensors: a pickle is never opened, whatever the directory holds.
        model = AutoModelForCausalLM.from_pretrained(
            directory,
            config=config,
            dtype=getattr(torch, placement.dtype),
            attn_implementation=attention,
            trust_remote_code=False,
            local_files_only=True,
            use_safetensors=True,
        )
        model.to(torch.device(placement.device))  # type: ignore[arg-type]
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemoryError(
            f"The model does not fit into the memory of {placement.device}.",
            hint="Free memory, choose another device, or a smaller model.",
        ) from error
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise WeightsCorruptError(
            f"The weights in {directory} cannot be loaded "
            f"({str(error).splitlines()[0]}).",
            hint="Fetch or convert them again.",
        ) from error
    return TransformersBackend(model, attention=attention), tuple(notes)
