"""A ``tokenizer.json`` from the vocabulary in a GGUF file.

Byte-level BPE vocabularies are built directly, which takes two seconds where the
general converter takes twenty. Other kinds, and pre-tokenisers not listed here, go
through transformers.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.catalog import CONTROL_TOKENS
from model.errors import TokenizerError
from model.gguf_reader import GgufFile
from model.tokenizer_errors import naming_damage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_LOG = logging.getLogger(__name__)
_CONTROL, _USER_DEFINED = 3, 4

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _TAIL
_LLAMA3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _TAIL
_DEEPSEEK_CODER = (
    r"[\r\n]",
    r"\s?\p{L}+",
    r"\s?\p{P}+",
    "[一-龥ࠀ-一가-퟿]+",
)
_SPLITS = {
    "qwen2": _QWEN2,
    "stablelm2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama-bpe": _LLAMA3,
}
_DIGITS_APART = frozenset(("starcoder", "refact", "smollm", "command-r", "codeshell"))
_NEOX = frozenset(("mpt", "olmo", "gpt-neox"))
_GPT2 = frozenset(("gpt-2", "gpt2")) | _NEOX
_WHOLE_WORDS_FIRST = frozenset(("llama3", "llama-v3", "llama-bpe"))
# Files from before the key existed: what the family's models are known to use.
_BY_ARCHITECTURE = {
    "qwen2": "qwen2",
    "qwen3": "qwen2",
    "stablelm": "gpt-neox",
    "starcoder": "starcoder",
    "starcoder2": "starcoder",
}


def save_tokenizer(file: GgufFile, architecture: str, path: Path) -> tuple[str, ...]:
    """Write ``tokenizer.json`` for a GGUF file; return notes for the user.

    Raises ``TokenizerError`` when the file has no vocabulary or an unknown kind.
    """
    tokenizer, notes = _build(file, architecture)
    tokenizer.save(str(path), pretty=False)
    return notes


def _build(file: GgufFile, architecture: str) -> tuple[Tokenizer, tuple[str, ...]]:
    """Return the tokenizer and what had to be assumed."""
    notes: tuple[str, ...] = ()
    kind, name = _text(file, "model"), _text(file, "pre")
    if name in (None, "default") and kind == "gpt2":
        name = _assumed_split(file, architecture)
        notes = (f"tokenizer: the file names no pre-tokeniser, {name} is assumed",)
    known = {*_SPLITS, *_DIGITS_APART, *_GPT2, "deepseek-coder"}
    if kind == "gpt2" and name is not None and name in known:
        return _byte_level(file, name), notes
    _LOG.warning("tokenizer %s/%s of %s: using transformers", kind, name, file.path)
    note = f"tokenizer: kind {kind}/{name} converted by transformers"
    return _through_transformers(file), (note,)


def _assumed_split(file: GgufFile, architecture: str) -> str:
    """Name the pre-tokeniser of a file that does not."""
    tokens = set(_strings(file, "tokens"))
    if "<｜fim▁begin｜>" in tokens:
        return "deepseek-coder"
    if architecture == "gptneox":
        return "starcoder" if "<fim_prefix>" in tokens else "gpt-neox"
    return _BY_ARCHITECTURE.get(architecture, "default")


def _text(file: GgufFile, key: str) -> str | None:
    """Return a string, or None where there is none."""
    value = file.metadata.get(f"tokenizer.ggml.{key}")
    return value if isinstance(value, str) else None


def _strings(file: GgufFile, key: str) -> list[str]:
    """Return an array of strings; raises ``TokenizerError`` if there is none."""
    values = file.metadata.get(f"tokenizer.ggml.{key}")
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise TokenizerError(
            f"{file.path} holds no tokenizer ({key} are missing).",
            hint="Use a GGUF file with its vocabulary.",
        )
    return values


def _byte_level(file: GgufFile, name: str) -> Tokenizer:
    """Build a byte-level BPE tokenizer without normalisation but NeoX's NFC."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    tokens = _strings(file, "tokens")
    merges: list[tuple[str, str]] = []
    for merge in _strings(file, "merges"):
        left, _, right = merge.partition(" ")
        merges.append((left, right))
    with naming_damage(
        f"The vocabulary in {file.path} is damaged", "Fetch the file again."
    ):
        tokenizer = Tokenizer(
            models.BPE(
                vocab={token: index for index, token in enumerate(tokens)},
                merges=merges,
                ignore_merges=name in _WHOLE_WORDS_FIRST,
            )
        )
        if name in _NEOX:
            tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = _pre_tokenizer(name)
        tokenizer.decoder = decoders.ByteLevel()
        _add_control_tokens(tokenizer, file, tokens)
    return tokenizer


def _pre_tokenizer(name: str) -> Any:
    """Return how text is cut before merging."""
    from tokenizers import Regex, pre_tokenizers

    if name in _GPT2:
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if name in _DIGITS_APART:
        return pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    if name == "deepseek-coder":
        splits = [
            pre_tokenizers.Split(Regex(pattern), "isolated")
            for pattern in _DEEPSEEK_CODER
        ]
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([*splits, digits, bytes_only])
    split = pre_tokenizers.Split(Regex(_SPLITS[name]), "isolated")
    return pre_tokenizers.Sequence([split, bytes_only])


def _add_control_tokens(
    tokenizer: Tokenizer, file: GgufFile, tokens: list[str]
) -> None:
    """Register the file's control and user-defined tokens, and the first token.

    Ids stay what they are: every such string is already in the vocabulary.
    """
    import numpy as np
    from tokenizers import AddedToken
    from tokenizers.processors import TemplateProcessing

    kinds = file.metadata.get("tokenizer.ggml.token_type")
    kinds = kinds.tolist() if isinstance(kinds, np.ndarray) else [0] * len(tokens)
    pairs = list(zip(tokens, kinds, strict=False))
    # All at once: each call builds what finds them anew.
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in pairs
            if kind == _CONTROL or token in CONTROL_TOKENS
        ]
    )
    tokenizer.add_tokens(
        [
            AddedToken(token, normalized=False)
            for token, kind in pairs
            if kind == _USER_DEFINED and token not in CONTROL_TOKENS
        ]
    )
    first = file.metadata.get("tokenizer.ggml.bos_token_id")
    if file.metadata.get("tokenizer.ggml.add_bos_token") is True and (
        isinstance(first, int) and 0 <= first < len(tokens)
    ):
        tokenizer.post_processor = TemplateProcessing(
            single=[tokens[first], "$A"],
            pair=[tokens[first], "$A", tokens[first], "$B:1"],
            special_tokens=[(tokens[first], first)],
        )


def _through_transformers(file: GgufFile) -> Tokenizer:
    """Build any other kind with transformers' own converter."""
    from transformers import AutoTokenizer

    with naming_damage(
        f"The tokenizer in {file.path} is of a kind that cannot be read",
        "Use the model's safetensors and tokenizer.json instead.",
    ):
        tokenizer: Tokenizer = AutoTokenizer.from_pretrained(
            file.path.parent,
            gguf_file=file.path.name,
            local_files_only=True,
            trust_remote_code=False,
        ).backend_tokenizer
    return tokenizer
