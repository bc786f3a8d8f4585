"""llama.cpp through llama-cpp-python, driven as llama-server drives it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

from model.benchmark import Completed, ModelCosts, PeerOptions
from model.gguf_configs import Header
from model.gguf_reader import GgufFile
from model.kv_cache import common_prefix_length
from model.peers_prompts import breaks_indent, find_moved

_CACHE_REUSE_TOKENS = 256
"""llama-server's ``--cache-reuse``, as llama.vim's documentation sets it."""

_CACHE_ELEMENT_BYTES = 2


class LlamaRunner:
    """A GGUF file on the processor, its cache kept from prompt to prompt."""

    def __init__(self, options: PeerOptions) -> None:
        self._llama: Any = llama_cpp.Llama(
            model_path=str(options.path),
            n_gpu_layers=0,
            n_ctx=options.context_tokens,
            n_batch=options.batch_tokens,
            n_ubatch=options.micro_batch_tokens,
            n_threads=options.num_threads,
            n_threads_batch=options.num_threads,
            flash_attn=True,
            verbose=False,
        )
        self._vocabulary_size: int = self._llama.n_vocab()
        self._held: list[int] = []
        self._batch_tokens = options.batch_tokens
        self.description = (
            f"{options.path.name}, {options.num_threads} threads, flash attention, "
            f"batch {options.batch_tokens}/{options.micro_batch_tokens}, "
            f"cache reuse {_CACHE_REUSE_TOKENS}"
        )
        self.costs: ModelCosts | None = costs_of_gguf(options.path)

    def prefill(self, token_ids: list[int]) -> float:
        """Return the ms from an empty cache to the next token."""
        self.forget()
        started = time.perf_counter()
        self._compute(token_ids)
        return (time.perf_counter() - started) * 1000

    def decode(self, token_ids: list[int], num_tokens: int) -> float:
        """Return the ms per token of single steps."""
        next_id = self._hold(token_ids)[0]
        started = time.perf_counter()
        for _ in range(num_tokens):
            next_id = self._compute([next_id])
        elapsed_ms = (time.perf_counter() - started) * 1000
        self._rewind(len(token_ids))
        return elapsed_ms / num_tokens

    def verify(
        self, token_ids: list[int], draft_ids: list[int], num_passes: int
    ) -> float:
        """Return the ms of a pass with logits at every position."""
        self._hold(token_ids)
        elapsed_s = 0.0
        for _ in range(num_passes):
            started = time.perf_counter()
            self._decode(draft_ids, every_position=True)
            self._logits(len(draft_ids)).argmax(axis=1)
            elapsed_s += time.perf_counter() - started
            self._rewind(len(token_ids))
        return elapsed_s * 1000 / num_passes

    def complete(
        self,
        token_ids: list[int],
        max_new_tokens: int,
        stop_ids: list[int],
        least_indent: int,
        time_limit_ms: float | None,
    ) -> Completed:
        """Complete greedily, as a slot of llama-server does."""
        started = time.perf_counter()
        next_id, num_reused = self._hold(token_ids)
        prefilled = time.perf_counter()
        stops = frozenset(stop_ids)
        generated: list[int] = []
        written, text, reason, first_line_s = b"", "", "length", 0.0
        while True:
            if next_id in stops:
                reason = "eos"
                break
            generated.append(next_id)
            written += self._llama.detokenize([next_id])
            text = written.decode("utf-8", "replace")
            if not first_line_s and "\n" in text.lstrip("\n"):
                first_line_s = time.perf_counter()
            if breaks_indent(text, least_indent):
                text, reason = text[: text.rindex("\n")], "indent"
                break
            if len(generated) >= max_new_tokens:
                break
            elapsed_ms = (time.perf_counter() - prefilled) * 1000
            if time_limit_ms and "\n" in text and elapsed_ms > time_limit_ms:
                reason = "time"
                break
            next_id = self._compute([next_id])
        ended = time.perf_counter()
        return Completed(
            text=text,
            prompt_tokens=len(token_ids),
            reused_tokens=num_reused,
            generated_tokens=len(generated) + (reason == "eos"),
            prefill_ms=(prefilled - started) * 1000,
            first_line_ms=((first_line_s or ended) - started) * 1000,
            total_ms=(ended - started) * 1000,
            finish_reason=reason,
        )

    def forget(self) -> None:
        """Drop the cache."""
        self._rewind(0)

    def _hold(self, token_ids: list[int]) -> tuple[int, int]:
        """Bring the cache to a prompt; return the next token and how many were kept.

        The last token is always computed, for its logits.
        """
        kept = min(common_prefix_length(self._held, token_ids), len(token_ids) - 1)
        moved = find_moved(self._held, token_ids[:-1], kept, _CACHE_REUSE_TOKENS)
        memory = llama_cpp.llama_get_memory(self._llama.ctx)
        if moved and not llama_cpp.llama_memory_can_shift(memory):
            moved = []
        held = self._held[:kept]
        for piece in moved:
            # What lies between has gone; then the piece slides to where it belongs.
            llama_cpp.llama_memory_seq_rm(memory, 0, piece.target, piece.source)
            llama_cpp.llama_memory_seq_add(
                memory,
                0,
                piece.source,
                piece.source + piece.num_tokens,
                piece.target - piece.source,
            )
            held += token_ids[piece.target : piece.target + piece.num_tokens]
        num_kept = len(held)
        self._held = held
        self._rewind(num_kept)
        return self._compute(token_ids[num_kept:]), num_kept

    def _compute(self, token_ids: list[int]) -> int:
        """Append tokens; return the most probable next one."""
        for begin in range(0, len(token_ids), self._batch_tokens):
            self._decode(token_ids[begin : begin + self._batch_tokens])
        return int(self._logits(1)[0].argmax())

    def _decode(self, token_ids: list[int], *, every_position: bool = False) -> None:
        batch = self._llama._batch
        batch.set_batch(
            batch=token_ids, n_past=len(self._held), logits_all=every_position
        )
        self._llama._ctx.decode(batch)
        self._held += token_ids

    def _logits(self, num_positions: int) -> npt.NDArray[np.float32]:
        """Return the last pass's logits, ``[positions, vocabulary]``, not copied."""
        pointer = self._llama._ctx.get_logits()
        shape = (num_positions, self._vocabulary_size)
        logits: npt.NDArray[np.float32] = np.ctypeslib.as_array(pointer, shape=shape)
        return logits

    def _rewind(self, num_tokens: int) -> None:
        memory = llama_cpp.llama_get_memory(self._llama.ctx)
        llama_cpp.llama_memory_seq_rm(memory, 0, num_tokens, -1)
        del self._held[num_tokens:]


def costs_of_gguf(path: Path) -> ModelCosts:
    """Return what llama.cpp reads of a GGUF file for a token.

    Its products are of 8-bit integers; its cache is of 16-bit numbers.
    """
    with GgufFile(path) as file:
        header = Header(file)
        cache_numbers = 2 * header.count("block_count") * header.num_kv_heads
        cache_numbers *= header.head_dim
        sizes = {one.name: one.num_bytes for one in file.tensors.values()}
        counts = {
            one.name: one.num_rows * one.row_elements for one in file.tensors.values()
        }
    num_bytes, num_products = sum(sizes.values()), sum(counts.values())
    if "output.weight" in sizes:
        num_bytes -= sizes.get("token_embd.weight", 0)
        num_products -= counts["output.weight"]
    num_products -= counts.get("token_embd.weight", 0)
    return ModelCosts(
        weight_bytes_per_pass=num_bytes,
        cache_bytes_per_token=cache_numbers * _CACHE_ELEMENT_BYTES,
        operations_per_token=2 * num_products,
        compute_format="int8",
    )
