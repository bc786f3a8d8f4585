"""A model's directory in Hugging Face's layout: is it whole, and is it harmless."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.errors import (
    TokenizerError,
    UnknownModelError,
    UnsafeWeightsError,
    UnsupportedArchitectureError,
    WeightsCorruptError,
    WeightsNotFoundError,
)
from model.locate import PICKLE_SUFFIXES
from model.regular_files import MOST_TOKENIZER_BYTES, read_json
from model.safetensors_files import INDEX_NAME, SINGLE_NAME, check_directory

# Read by every transformers 5; anything else is asked of transformers itself, whose
# import takes a second.
_USUAL_MODEL_TYPES = frozenset(
    (
        "codegen",
        "gemma",
        "gpt2",
        "gpt_bigcode",
        "gpt_neox",
        "granite",
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
        "stablelm",
        "starcoder2",
    )
)

_MOST_LAYERS = 4096


def is_model(directory: Path | None) -> bool:
    """Return whether a directory has a config and weights; opens nothing."""
    return (
        directory is not None
        and (directory / "config.json").is_file()
        and any((directory / name).is_file() for name in (SINGLE_NAME, INDEX_NAME))
    )


def check_model(directory: Path, *, weights: bool = True) -> dict[str, Any]:
    """Check that a directory holds a loadable, harmless model; return its config.

    Without ``weights`` they may be elsewhere. Reads headers only. Raises
    ``UnknownModelError``, ``UnsafeWeightsError``, ``UnsupportedArchitectureError``,
    ``WeightsCorruptError``, ``WeightsNotFoundError`` or ``TokenizerError``.
    """
    config = read_config(directory)
    _check_model_type(directory, config)
    if weights and not check_directory(directory):
        pickles = [p for p in directory.iterdir() if p.suffix in PICKLE_SUFFIXES]
        if pickles:
            raise UnsafeWeightsError(
                f"{directory} has only pickled weights ({pickles[0].name}), which can "
                "run code and are never loaded.",
                hint="Use a copy of the model in safetensors, or convert it with "
                "save_pretrained on a machine where you trust it.",
            )
        raise WeightsNotFoundError(
            f"{directory} holds no model.safetensors.",
            hint="Put the model's safetensors files there, or name another model.",
        )
    if not (directory / "tokenizer.json").is_file():
        raise TokenizerError(
            f"{directory} holds no tokenizer.json.",
            hint="Put it there, or make it with AutoTokenizer's save_pretrained.",
        )
    return config


def read_config(directory: Path) -> dict[str, Any]:
    """Return config.json."""
    path = directory / "config.json"
    try:
        config = read_json(path)
    except FileNotFoundError:
        ggufs = sorted(directory.glob("*.gguf"))
        hint = f"Name the file {ggufs[0]}." if ggufs else "Check the path."
        raise UnknownModelError(
            f"{directory} is no model: it holds no config.json.", hint=hint
        ) from None
    except (OSError, ValueError) as error:
        raise WeightsCorruptError(
            f"{path} cannot be read ({error}).", hint="Fetch the model again."
        ) from error
    if not isinstance(config, dict):
        raise WeightsCorruptError(
            f"{path} is no model's configuration.", hint="Fetch the model again."
        )
    _check_counts(path, config)
    return config


def _check_counts(path: Path, config: dict[str, Any]) -> None:
    """Refuse what would have transformers make lists until the memory is full."""
    for key, value in config.items():
        if isinstance(value, dict):
            _check_counts(path, value)
        elif (
            ("layer" in key or "expert" in key)
            and isinstance(value, int | float)
            and not value <= _MOST_LAYERS
        ):
            raise WeightsCorruptError(
                f"{path} has {key} = {value}.", hint="Fetch the model again."
            )


def _check_model_type(directory: Path, config: dict[str, Any]) -> None:
    """Refuse what could only be loaded by running code from the directory."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise UnsupportedArchitectureError(
            f"The configuration in {directory} names no kind of model.",
            hint="Fetch the model again.",
        )
    if model_type in _USUAL_MODEL_TYPES:
        return
    from transformers import CONFIG_MAPPING

    if model_type in CONFIG_MAPPING:
        return
    if "auto_map" in config:
        raise UnsafeWeightsError(
            f"The model in {directory} ({model_type}) needs code from its own "
            "repository, which is never run.",
            hint="Choose a model of a family that transformers knows.",
        )
    raise UnsupportedArchitectureError(
        f"The model in {directory} is of the unknown kind {model_type!r}.",
        hint="Choose a model of a family that transformers knows.",
    )


def vocabulary(directory: Path) -> frozenset[str]:
    """Return every token's spelling in a directory's tokenizer.json."""
    path = directory / "tokenizer.json"
    try:
        content = read_json(path, MOST_TOKENIZER_BYTES)
        vocabulary = content["model"]["vocab"]
        if isinstance(vocabulary, list):  # Unigram: pairs of a token and its score
            vocabulary = [token for token, _ in vocabulary]
        added = [token["content"] for token in content.get("added_tokens") or ()]
        return frozenset(vocabulary) | frozenset(added)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TokenizerError(
            f"{path} cannot be read ({error}).", hint="Fetch the model again."
        ) from error


def end_token(directory: Path) -> tuple[str, ...]:
    """Return the end token's spelling, if tokenizer_config.json gives it."""
    try:
        settings = read_json(directory / "tokenizer_config.json")
        token = settings.get("eos_token")
        token = token.get("content") if isinstance(token, dict) else token
    except (OSError, ValueError, AttributeError):
        return ()
    return (token,) if isinstance(token, str) else ()
