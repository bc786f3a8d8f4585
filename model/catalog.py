"""Known models: where their weights come from and how they were trained.

Facts only, no behaviour: the fill-in-the-middle formats themselves are in
``model.dialects`` and are named here by their dialect.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

DefaultFimOrder = Literal["psm", "spm"]
Source = Literal["hub", "starter"]


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One known model.

    ``num_parameters`` counts weights as Hugging Face does; where only the model card's
    rounded figure is known it has three digits. ``rope_theta`` is set where weights in
    GGUF are known to lack it. ``repo_id`` is None where no hub repository is used.
    """

    name: str
    title: str
    repo_id: str | None
    source: Source
    dialect: str
    stop_tokens: tuple[str, ...]
    context_tokens: int
    licence: str
    num_parameters: int
    default_fim_order: DefaultFimOrder = "psm"
    rope_theta: float | None = None
    notes: tuple[str, ...] = ()


_END = ("<|endoftext|>",)
_QWEN_STOPS = (
    "<|endoftext|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
_STARCODER2_STOPS = ("<|endoftext|>", "<file_sep>")
_DEEPSEEK_STOPS = ("<｜end▁of▁sentence｜>", "<|EOT|>")
_LLAMA_STOPS = ("▁<EOT>", "</s>")
_OPENRAIL = "BigCode OpenRAIL-M v1"
_WINDOW_NOTE = (
    "trained with a sliding window of 4,096 tokens; GGUF files do not say so, and "
    "longer contexts then attend to everything"
)
_GATED_NOTE = "the hub asks to accept the licence first"


def _hub(
    name: str,
    title: str,
    repo_id: str,
    dialect: str,
    stop_tokens: tuple[str, ...],
    context_tokens: int,
    licence: str,
    num_parameters: int,
    *,
    default_fim_order: DefaultFimOrder = "psm",
    rope_theta: float | None = None,
    notes: tuple[str, ...] = (),
) -> CatalogEntry:
    """Return an entry whose weights are on the hub."""
    return CatalogEntry(
        name,
        title,
        repo_id,
        "hub",
        dialect,
        stop_tokens,
        context_tokens,
        licence,
        num_parameters,
        default_fim_order,
        rope_theta,
        notes,
    )


CATALOG: tuple[CatalogEntry, ...] = (
    CatalogEntry(
        "starter",
        "Qwen2.5-Coder 0.5B Instruct (Q4_K_M)",
        None,
        "starter",
        "qwen2.5-coder",
        _QWEN_STOPS,
        32768,
        "Apache-2.0",
        630_167_424,
        default_fim_order="spm",
        notes=("comes with the extra [starter]; needs no hub",),
    ),
    _hub(
        "stable-code-3b",
        "Stable Code 3B",
        "stabilityai/stable-code-3b",
        "stable-code",
        _END,
        16384,
        "Stability AI Community License",
        2_795_443_200,
        rope_theta=1_000_000.0,
        notes=("the default on a GPU",),
    ),
    _hub(
        "stablecode-completion-alpha-3b-4k",
        "StableCode Completion Alpha 3B 4k",
        "stabilityai/stablecode-completion-alpha-3b-4k",
        "stablecode-alpha",
        _END,
        4096,
        "Apache-2.0",
        2_769_310_720,
        notes=("completes from the prefix alone",),
    ),
    _hub(
        "stable-code-instruct-3b",
        "Stable Code Instruct 3B",
        "stabilityai/stable-code-instruct-3b",
        "stable-code",
        (*_END, "<|im_end|>"),
        16384,
        "Stability AI Community License",
        2_795_443_200,
        rope_theta=1_000_000.0,
    ),
    _hub(
        "starcoderbase-1b",
        "StarCoderBase 1B",
        "bigcode/starcoderbase-1b",
        "starcoder",
        _END,
        8192,
        _OPENRAIL,
        1_137_207_296,
        notes=(_GATED_NOTE,),
    ),
    _hub(
        "starcoderbase-3b",
        "StarCoderBase 3B",
        "bigcode/starcoderbase-3b",
        "starcoder",
        _END,
        8192,
        _OPENRAIL,
        3_040_000_000,
        notes=(_GATED_NOTE,),
    ),
    _hub(
        "starcoderbase-7b",
        "StarCoderBase 7B",
        "bigcode/starcoderbase-7b",
        "starcoder",
        _END,
        8192,
        _OPENRAIL,
        7_330_000_000,
        notes=(_GATED_NOTE,),
    ),
    _hub(
        "starcoderbase",
        "StarCoderBase 15.5B",
        "bigcode/starcoderbase",
        "starcoder",
        _END,
        8192,
        _OPENRAIL,
        15_500_000_000,
        notes=(_GATED_NOTE,),
    ),
    _hub(
        "starcoder2-3b",
        "StarCoder2 3B",
        "bigcode/starcoder2-3b",
        "starcoder2",
        _STARCODER2_STOPS,
        16384,
        _OPENRAIL,
        3_030_371_328,
        notes=(_WINDOW_NOTE,),
    ),
    _hub(
        "starcoder2-7b",
        "StarCoder2 7B",
        "bigcode/starcoder2-7b",
        "starcoder2",
        _STARCODER2_STOPS,
        16384,
        _OPENRAIL,
        7_173_923_840,
        notes=(_WINDOW_NOTE,),
    ),
    _hub(
        "starcoder2-15b",
        "StarCoder2 15B",
        "bigcode/starcoder2-15b",
        "starcoder2",
        _STARCODER2_STOPS,
        16384,
        _OPENRAIL,
        15_960_000_000,
        notes=(_WINDOW_NOTE,),
    ),
    _hub(
        "granite-3b-code-base",
        "Granite 3B Code Base 2k",
        "ibm-granite/granite-3b-code-base-2k",
        "granite",
        _END,
        2048,
        "Apache-2.0",
        3_480_000_000,
    ),
    _hub(
        "granite-8b-code-base",
        "Granite 8B Code Base 4k",
        "ibm-granite/granite-8b-code-base-4k",
        "granite",
        _END,
        4096,
        "Apache-2.0",
        8_050_000_000,
    ),
    _hub(
        "refact-1.6b",
        "Refact 1.6B",
        "smallcloudai/Refact-1_6B-fim",
        "refact",
        _END,
        4096,
        "BigScience OpenRAIL-M v1",
        1_590_000_000,
        default_fim_order="spm",
        notes=(
            "its repository needs its own code, which is never run here; "
            "a conversion to a known architecture works",
        ),
    ),
    _hub(
        "codellama-7b",
        "Code Llama 7B",
        "codellama/CodeLlama-7b-hf",
        "codellama",
        _LLAMA_STOPS,
        16384,
        "Llama 2 Community License",
        6_738_546_688,
    ),
    _hub(
        "codellama-13b",
        "Code Llama 13B",
        "codellama/CodeLlama-13b-hf",
        "codellama",
        _LLAMA_STOPS,
        16384,
        "Llama 2 Community License",
        13_000_000_000,
    ),
    _hub(
        "deepseek-coder-1.3b-base",
        "DeepSeek Coder 1.3B Base",
        "deepseek-ai/deepseek-coder-1.3b-base",
        "deepseek-coder",
        _DEEPSEEK_STOPS,
        16384,
        "DeepSeek License",
        1_346_471_936,
    ),
    _hub(
        "deepseek-coder-6.7b-base",
        "DeepSeek Coder 6.7B Base",
        "deepseek-ai/deepseek-coder-6.7b-base",
        "deepseek-coder",
        _DEEPSEEK_STOPS,
        16384,
        "DeepSeek License",
        6_740_512_768,
    ),
    _hub(
        "qwen2.5-coder-0.5b",
        "Qwen2.5-Coder 0.5B",
        "Qwen/Qwen2.5-Coder-0.5B",
        "qwen2.5-coder",
        _QWEN_STOPS,
        32768,
        "Apache-2.0",
        494_032_768,
    ),
    _hub(
        "qwen2.5-coder-1.5b",
        "Qwen2.5-Coder 1.5B",
        "Qwen/Qwen2.5-Coder-1.5B",
        "qwen2.5-coder",
        _QWEN_STOPS,
        32768,
        "Apache-2.0",
        1_543_714_304,
    ),
    _hub(
        "qwen2.5-coder-3b",
        "Qwen2.5-Coder 3B",
        "Qwen/Qwen2.5-Coder-3B",
        "qwen2.5-coder",
        _QWEN_STOPS,
        32768,
        "Qwen Research License",
        3_085_938_688,
    ),
    _hub(
        "qwen2.5-coder-7b",
        "Qwen2.5-Coder 7B",
        "Qwen/Qwen2.5-Coder-7B",
        "qwen2.5-coder",
        _QWEN_STOPS,
        32768,
        "Apache-2.0",
        7_615_616_512,
    ),
    _hub(
        "codegemma-2b",
        "CodeGemma 2B",
        "google/codegemma-2b",
        "codegemma",
        ("<eos>", "<|file_separator|>"),
        8192,
        "Gemma Terms of Use",
        2_506_172_416,
        notes=(_GATED_NOTE,),
    ),
    _hub(
        "codestral-22b",
        "Codestral 22B v0.1",
        "mistralai/Codestral-22B-v0.1",
        "codestral",
        ("</s>",),
        32768,
        "Mistral AI Non-Production License",
        22_200_000_000,
        default_fim_order="spm",
        notes=(_GATED_NOTE,),
    ),
    _hub(
        "smollm2-135m",
        "SmolLM2 135M",
        "HuggingFaceTB/SmolLM2-135M",
        "none",
        _END,
        8192,
        "Apache-2.0",
        134_515_008,
        notes=("completes from the prefix alone",),
    ),
    _hub(
        "smollm2-1.7b",
        "SmolLM2 1.7B",
        "HuggingFaceTB/SmolLM2-1.7B",
        "none",
        _END,
        8192,
        "Apache-2.0",
        1_711_376_384,
        notes=("completes from the prefix alone",),
    ),
)

_BY_NAME = {entry.name: entry for entry in CATALOG}
_BY_REPO = {entry.repo_id.lower(): entry for entry in CATALOG if entry.repo_id}


def find_entry(name: str) -> CatalogEntry | None:
    """Return the entry of a catalogue name or hub repository, any case, or None."""
    key = name.lower()
    return _BY_NAME.get(key) or _BY_REPO.get(key)


_BIGCODE = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")

# Most particular first: a dialect's tokens may all occur in a later one's vocabulary.
DIALECT_MARKERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "codegemma",
        (
            "<|fim_prefix|>",
            "<|fim_suffix|>",
            "<|fim_middle|>",
            "<|file_separator|>",
        ),
    ),
    ("qwen2.5-coder", ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")),
    ("deepseek-coder", ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>")),
    ("codellama", ("▁<PRE>", "▁<SUF>", "▁<MID>")),
    ("codestral", ("[PREFIX]", "[SUFFIX]")),
    ("starcoder2", (*_BIGCODE, "<repo_name>", "<file_sep>")),
    # Only GPT-NeoX vocabularies, such as Stable Code's, hold this padding token.
    ("stable-code", (*_BIGCODE, "<|padding|>")),
    ("starcoder", _BIGCODE),
)

DIALECT_STOPS: dict[str, tuple[str, ...]] = {
    "starcoder": _END,
    "stable-code": _END,
    "stablecode-alpha": _END,
    "starcoder2": _STARCODER2_STOPS,
    "granite": _END,
    "refact": _END,
    "codellama": _LLAMA_STOPS,
    "deepseek-coder": _DEEPSEEK_STOPS,
    "qwen2.5-coder": _QWEN_STOPS,
    "codegemma": ("<eos>", "<|file_separator|>"),
    "codestral": ("</s>",),
    "none": (),
}
"""What to stop on, besides the model's own end token, where no entry says more."""

CONTROL_TOKENS: frozenset[str] = frozenset(
    token
    for tokens in (
        *(markers for _, markers in DIALECT_MARKERS),
        *DIALECT_STOPS.values(),
        ("<fim_pad>", "<|fim_pad|>", "<|repo_name|>", "<reponame>", "<filename>"),
        ("<s>", "<bos>", "<｜begin▁of▁sentence｜>"),
    )
    for token in tokens
)
"""Spellings that are control tokens in every vocabulary that holds them."""


def guess_dialect(tokens: Collection[str]) -> str:
    """Name the dialect whose control tokens a vocabulary holds, else ``none``.

    Granite and Refact share StarCoder's vocabulary and are taken for it.
    """
    held = tokens if isinstance(tokens, (set, frozenset, dict)) else frozenset(tokens)
    for dialect, markers in DIALECT_MARKERS:
        if all(marker in held for marker in markers):
            return dialect
    return "none"


def speaks(dialect: str, tokens: Collection[str]) -> bool:
    """Return whether a vocabulary holds every control token ``dialect`` needs."""
    needed = {"granite": _BIGCODE, "refact": _BIGCODE, **dict(DIALECT_MARKERS)}
    return all(marker in tokens for marker in needed.get(dialect, ()))
