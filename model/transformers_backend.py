"""Any causal language model that transformers knows, with a cache that rewinds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache
from transformers.utils import logging as transformers_logging

from model.device import Placement, flash_attention_available
from model.errors import (
    OutOfMemoryError,
    TooManyBranchesError,
    UnsupportedArchitectureError,
    WeightsCorruptError,
)
from model.logits import NumpyLogits
from model.tokenizer_errors import check_token_ids

logger = logging.getLogger(__name__)

# Its bars and its advice are not for our users; ours are.
transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]

_CPU_CHUNK_TOKENS = 128
_GPU_CHUNK_TOKENS = 1024
# The document somebody writes, and the one they look things up in.
_NUM_SESSIONS = 2


class TransformersBackend:
    """A ``Backend`` over ``AutoModelForCausalLM``, a ``DynamicCache`` per session."""

    def __init__(
        self,
        model: Any,
        *,
        attention: str,
        chunk_tokens: int | None = None,
        num_sessions: int = _NUM_SESSIONS,
    ) -> None:
        self._model = model.eval()
        self._device: torch.device = model.device
        self._attention = attention
        # Made without the configuration: the layers it would make for sliding
        # windows forget old keys and so cannot be rewound.
        self._caches = [DynamicCache() for _ in range(num_sessions)]
        self._session = 0
        default = _CPU_CHUNK_TOKENS if self._device.type == "cpu" else _GPU_CHUNK_TOKENS
        self._chunk_tokens = chunk_tokens or default

    @property
    def name(self) -> str:
        """Backend and attention kernel."""
        return f"transformers ({self._attention})"

    @property
    def chunk_tokens(self) -> int:
        """Tokens per prefill chunk."""
        return self._chunk_tokens

    @property
    def num_sessions(self) -> int:
        """How many caches there are."""
        return len(self._caches)

    def most_branches(self, num_shared: int, num_steps: int) -> int:
        """Return one: a ``DynamicCache`` has no shared part."""
        return 1

    @property
    def vocab_size(self) -> int:
        """How many ids the model knows."""
        return int(self._model.get_input_embeddings().num_embeddings)

    @property
    def pass_costs_ms(self) -> tuple[tuple[int, float], ...]:
        """Nothing: not measured."""
        return ()

    @property
    def num_cached_tokens(self) -> int:
        """Positions held by the selected session's cache."""
        return int(self._caches[self._session].get_seq_length())

    def select(self, session: int) -> None:
        """Work on another session's cache from now on."""
        self._session = session

    @torch.inference_mode()
    def forward(self, token_ids: Sequence[int], num_logits: int = 1) -> NumpyLogits:
        """Append ``token_ids``; return logits after each of the last ``num_logits``.

        Raises ``OutOfMemoryError``.
        """
        num_logits = max(1, num_logits)  # 0 would mean all
        check_token_ids(token_ids, self.vocab_size)
        ids = torch.tensor([list(token_ids)], device=self._device)
        try:
            output = self._model(
                input_ids=ids,
                past_key_values=self._caches[self._session],
                use_cache=True,
                logits_to_keep=num_logits,
            )
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not _is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"The device ran out of memory at {self.num_cached_tokens} tokens of "
                "context.",
                hint="Lower contextTokens, or choose a smaller model.",
            ) from error
        # Some families know nothing of logits_to_keep and return all.
        return NumpyLogits(output.logits[0, -num_logits:].float().cpu().numpy())

    def branch(self, token_ids: Sequence[int], num_shared: int) -> NumpyLogits:
        """Append one token to the one continuation there can be.

        Raises ``TooManyBranchesError`` for more, and ``OutOfMemoryError``.
        """
        if len(token_ids) > 1:
            raise TooManyBranchesError(f"{len(token_ids)} continuations at once.")
        return self.forward(token_ids)

    def truncate(self, num_tokens: int) -> None:
        """Keep the first ``num_tokens`` positions."""
        excess = self.num_cached_tokens - num_tokens
        if num_tokens == 0:
            self._caches[self._session] = DynamicCache()
        elif excess > 0:
            self._caches[self._session].crop(-excess)

    def release(self, session: int) -> None:
        """Empty a session."""
        self._caches[session] = DynamicCache()

    def resize(self, context_tokens: int, num_sessions: int) -> None:
        """Drop all caches and give device memory back; new ones grow as they must."""
        self._session = 0
        self._caches = [DynamicCache() for _ in range(num_sessions)]
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def close(self) -> None:
        """Drop weights and caches and give device memory back."""
        self._model = None
        self._caches = [DynamicCache() for _ in self._caches]
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def load_transformers_backend(
    directory: Path, placement: Placement, num_sessions: int = _NUM_SESSIONS
) -> tuple[TransformersBackend, tuple[str, ...]]:
    """Load a Hugging Face directory; return the backend and notes for the user.

    Raises ``UnsupportedArchitectureError``, ``WeightsCorruptError`` or
    ``OutOfMemoryError``.
    """
    notes: list[str] = []
    config = read_config(directory)
    for attention in _attention_choices(placement, notes):
        try:
            model, problems = _load(directory, config, placement, attention)
        except _AttentionUnavailableError as error:
            notes.append(f"attention: not {attention} ({error})")
            logger.warning("%s", notes[-1])
            continue
        lacking = sorted(problems["missing_keys"]) + sorted(problems["mismatched_keys"])
        if lacking:
            # transformers would fill them with random numbers and go on.
            raise WeightsCorruptError(
                f"The weights in {directory} lack {lacking[0]} "
                f"({len(lacking)} such tensors).",
                hint="Fetch or convert the model again.",
            )
        backend = TransformersBackend(
            model, attention=attention, num_sessions=min(num_sessions, _NUM_SESSIONS)
        )
        return backend, tuple(notes)
    raise UnsupportedArchitectureError(
        f"No kind of attention works for the model in {directory}.",
        hint="Choose another model, or update transformers.",
    )


def read_config(directory: Path) -> Any:
    """Return the text model's transformers configuration.

    Raises ``UnsupportedArchitectureError`` or ``WeightsCorruptError``.
    """
    try:
        config = AutoConfig.from_pretrained(
            directory, trust_remote_code=False, local_files_only=True
        )
        return config.get_text_config()
    except (KeyError, ValueError) as error:
        raise UnsupportedArchitectureError(
            f"The model in {directory} is of a kind that transformers does not know.",
            hint="Choose a model of a known family: lsp-stablecode models list.",
        ) from error
    except Exception as error:  # its validation raises classes of many libraries
        raise _invalid(directory, error) from error


def _invalid(directory: Path, error: Exception) -> WeightsCorruptError:
    return WeightsCorruptError(
        f"The configuration in {directory} is not valid "
        f"({type(error).__name__}: {_first_line(error)}).",
        hint="Fetch the model again.",
    )


class _AttentionUnavailableError(Exception):
    """The kernel does not work for this model here; another may."""


def _attention_choices(placement: Placement, notes: list[str]) -> tuple[str, ...]:
    """Return the kernels to try, best first; tell the user where it is not the best."""
    if not placement.device.startswith("cuda"):
        return ("sdpa", "eager")
    if placement.dtype == "float32":
        notes.append("attention: torch SDPA, because flash-attn has no float32")
    elif flash_attention_available():
        return ("flash_attention_2", "sdpa", "eager")
    else:
        notes.append("attention: torch SDPA, because flash-attn is not installed")
    return ("sdpa", "eager")


def _load(
    directory: Path, config: Any, placement: Placement, attention: str
) -> tuple[Any, dict[str, Any]]:
    """Return the model on its device, and what transformers missed in the files."""
    try:
        # use_safetensors: a pickle is never opened, whatever the directory holds.
        load: Any = AutoModelForCausalLM.from_pretrained
        model, problems = load(
            directory,
            config=config,
            dtype=getattr(torch, placement.dtype),
            attn_implementation=attention,
            trust_remote_code=False,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        model.to(torch.device(placement.device))
        return model, problems
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(placement.device) from error
    except ImportError as error:
        # An installed flash-attn may still not fit this torch or this GPU.
        raise _AttentionUnavailableError(_first_line(error)) from error
    except Exception as error:  # torch, safetensors and transformers each have theirs
        if _is_out_of_memory(error):
            raise _out_of_memory(placement.device) from error
        if "attn_implementation" in str(error):
            raise _AttentionUnavailableError("not supported by the family") from error
        raise WeightsCorruptError(
            f"The weights in {directory} cannot be loaded "
            f"({type(error).__name__}: {_first_line(error)}).",
            hint="Fetch or convert the model again.",
        ) from error


def _out_of_memory(device: str) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"The model does not fit into the memory of {device}.",
        hint="Free memory, choose another device, or a smaller model.",
    )


def _is_out_of_memory(error: Exception) -> bool:
    """Recognise the plain RuntimeErrors by which CPU and Apple GPU say so."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


def count_parameters(directory: Path) -> int:
    """Return how many numbers a model of this configuration is; allocates none.

    What a directory's files lack would be made up, however much memory that takes.
    Raises ``UnsupportedArchitectureError`` or ``WeightsCorruptError``.
    """
    config = read_config(directory)
    try:
        with torch.device("meta"):
            build: Any = AutoModelForCausalLM.from_config
            model = build(config, trust_remote_code=False)
    except Exception as error:  # whatever a family's own code stumbles over
        raise _invalid(directory, error) from error
    return sum(one.numel() for one in model.parameters())


def cache_numbers_per_token(directory: Path) -> int:
    """Return how many numbers the keys and values of a token are, all layers.

    0 for a family that keeps something else: then nothing is known beforehand.
    Raises ``WeightsCorruptError``.
    """
    config = read_config(directory)
    layers: Any = getattr(config, "num_hidden_layers", None)
    num_heads: Any = getattr(config, "num_attention_heads", None)
    hidden: Any = getattr(config, "hidden_size", None)
    if not all(isinstance(one, int) and one > 0 for one in (layers, num_heads, hidden)):
        return 0
    head_dim = getattr(config, "head_dim", None) or hidden // num_heads
    default = 1 if getattr(config, "multi_query", False) else num_heads
    num_kv_heads = getattr(config, "num_key_value_heads", None) or default
    return int(2 * layers * num_kv_heads * head_dim)
