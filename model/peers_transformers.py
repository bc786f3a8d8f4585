"""transformers' ``generate`` as model cards call it: bfloat16, greedy, no reuse."""

from __future__ import annotations

import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from model.benchmark import Completed, ModelCosts, PeerOptions
from model.benchmark_engine import costs_of_directory
from model.tokenizer import CodeTokenizer
from model.transformers_backend import cache_numbers_per_token

_ELEMENT_BYTES = 2


class TransformersRunner:
    """A Hugging Face directory and ``generate``; every call begins from nothing."""

    def __init__(self, options: PeerOptions) -> None:
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        if options.device == "cpu":
            torch.set_num_threads(options.num_threads)
        load: Any = AutoModelForCausalLM.from_pretrained
        self._model: Any = load(
            options.path,
            dtype=torch.bfloat16,
            trust_remote_code=False,
            local_files_only=True,
            use_safetensors=True,
        )
        self._model.to(torch.device(options.device)).eval()
        self._tokenizer = CodeTokenizer.from_file(options.path / "tokenizer.json")
        self.description = (
            f"generate, bfloat16 on {options.device}, {torch.get_num_threads()} threads"
        )
        cache_bytes = cache_numbers_per_token(options.path) * _ELEMENT_BYTES
        self.costs: ModelCosts | None = costs_of_directory(
            options.path, "bfloat16", cache_bytes
        )

    def prefill(self, token_ids: list[int]) -> float:
        """Return the ms until the first token."""
        return self._generate(token_ids, 1)[0][0]

    def decode(self, token_ids: list[int], num_tokens: int) -> float:
        """Return the ms per token from the first to the last of ``generate``."""
        arrivals_ms, _ = self._generate(token_ids, num_tokens + 1)
        return (arrivals_ms[-1] - arrivals_ms[0]) / num_tokens

    def verify(
        self, token_ids: list[int], draft_ids: list[int], num_passes: int
    ) -> float:
        """Refuse: ``generate`` has no such pass."""
        raise NotImplementedError("generate computes one token a pass")

    def complete(
        self,
        token_ids: list[int],
        max_new_tokens: int,
        stop_ids: list[int],
        least_indent: int,
        time_limit_ms: float | None,
    ) -> Completed:
        """Generate until a stop token; the last two arguments are llama-server's."""
        started = time.perf_counter()
        arrivals_ms, generated = self._generate(token_ids, max_new_tokens, stop_ids)
        total_ms = (time.perf_counter() - started) * 1000
        is_ended = bool(generated) and generated[-1] in stop_ids
        text = self._tokenizer.decode(generated[: len(generated) - is_ended])
        first_line_ms = arrivals_ms[-1]
        for index, arrival_ms in enumerate(arrivals_ms):
            part = self._tokenizer.decode(generated[: index + 1])
            if "\n" in part.lstrip("\n"):
                first_line_ms = arrival_ms
                break
        return Completed(
            text=text,
            prompt_tokens=len(token_ids),
            reused_tokens=0,
            generated_tokens=len(generated),
            prefill_ms=arrivals_ms[0],
            first_line_ms=first_line_ms,
            total_ms=total_ms,
            finish_reason="eos" if is_ended else "length",
        )

    def forget(self) -> None:
        """Do nothing: nothing is kept."""

    @torch.inference_mode()
    def _generate(
        self, token_ids: list[int], num_tokens: int, stop_ids: list[int] | None = None
    ) -> tuple[list[float], list[int]]:
        """Generate; return when each token came, in ms, and the tokens.

        Without ``stop_ids`` exactly ``num_tokens`` are generated.
        """
        clock = _Clock()
        ids = torch.tensor([token_ids], device=self._model.device)
        limits: dict[str, Any] = {"eos_token_id": stop_ids}
        if stop_ids is None:
            limits = {"min_new_tokens": num_tokens}
        output = self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=num_tokens,
            do_sample=False,
            pad_token_id=0,
            streamer=clock,
            **limits,
        )
        generated: list[int] = output[0, len(token_ids) :].tolist()
        return clock.arrivals_ms, generated


class _Clock:
    """A streamer that keeps the time of each token; the first call has the prompt."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._has_prompt = False
        self.arrivals_ms: list[float] = []

    def put(self, value: Any) -> None:
        """Note the time."""
        if self._has_prompt:
            self.arrivals_ms.append((time.perf_counter() - self._started) * 1000)
        self._has_prompt = True

    def end(self) -> None:
        """Nothing is left to do."""
