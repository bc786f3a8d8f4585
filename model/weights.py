"""From a model's name to a directory that can be mapped: find, check, convert once.

Safetensors and GGUF only: a pickle is never opened and no repository's code is run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model import starter
from model.catalog import (
    DIALECT_STOPS,
    CatalogEntry,
    DefaultFimOrder,
    find_entry,
    guess_dialect,
    speaks,
)
from model.convert import (
    Source,
    build_once,
    convert_gguf,
    converted_bytes,
    read_conversion,
    sha256_of,
    usable,
)
from model.errors import (
    ModelError,
    TokenizerError,
    UnknownModelError,
    UnsafeWeightsError,
    UnsupportedArchitectureError,
    WeightsCorruptError,
    WeightsNotFoundError,
)
from model.gguf_families import Header, family_of, map_tensors
from model.gguf_reader import GgufFile
from model.interface import LoadProgress, ProgressCallback
from model.locate import PICKLE_SUFFIXES, Located, entry_of_file, locate
from model.safetensors_files import check_directory

_DTYPE = "bfloat16"
_STARTER_WEIGHT_BYTES = 1_260_400_000
_DEFAULT_CONTEXT_TOKENS = 2048
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length")
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
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model ready to load.

    ``directory`` holds config.json, safetensors and tokenizer.json. ``stop_tokens``
    are spellings, ``source`` says in words where the weights came from, ``notes`` what
    was assumed on the way.
    """

    directory: Path
    entry: CatalogEntry | None
    dialect: str
    stop_tokens: tuple[str, ...]
    context_tokens: int
    default_fim_order: DefaultFimOrder
    source: str
    notes: tuple[str, ...] = ()


def cache_directory() -> Path:
    """Return where conversions are kept; ``LSP_STABLECODE_CACHE`` overrides it."""
    if value := os.environ.get("LSP_STABLECODE_CACHE"):
        return Path(value).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("lsp-stablecode", appauthor=False))


def prepare(
    name: str,
    *,
    allow_download: bool = False,
    progress: ProgressCallback | None = None,
) -> PreparedModel:
    """Return a model's directory, downloading if allowed and converting if need be.

    ``name`` is a catalogue name, a directory, a GGUF file or a hub repository.
    Raises a ``ModelError`` that says what is wrong and what to do.
    """
    located = locate(name, allow_download, progress)
    if located.kind == "starter":
        directory = _prepare_starter(progress)
        return _describe(directory, located, located.entry)
    assert located.path is not None
    if located.kind == "gguf":
        directory = _prepare_gguf(located.path, located.entry, progress)
    else:
        directory = located.path
    check_model(directory)
    return _describe(directory, located, _confirmed_entry(directory, located))


def weights_present(name: str) -> bool:
    """Return whether a model's weights are on this machine. Cheap, never connects."""
    entry = find_entry(name)
    if entry is not None and entry.source == "starter":
        present = read_conversion(_starter_directory()) is not None
        return present or starter.starter_available()
    try:
        locate(name, allow_download=False)
    except ModelError:
        return False
    return True


def verify(name: str, progress: ProgressCallback | None = None) -> str:
    """Check a model's files thoroughly; return what was checked, in a sentence.

    Reads every byte where a SHA-256 is known. Raises ``WeightsCorruptError``,
    ``WeightsNotFoundError`` or what ``locate`` raises; never connects.
    """
    located = locate(name, allow_download=False)
    if located.kind == "starter":
        return _verify_starter(progress)
    assert located.path is not None
    if located.kind == "gguf":
        return _verify_gguf(located.path, progress)
    check_model(located.path)
    paths = check_directory(located.path)
    num_hashed = 0
    for path in paths:
        # The hub's cache names large files by their SHA-256.
        digest = path.resolve().name
        if path.is_symlink() and _SHA256.fullmatch(digest):
            if sha256_of(path, progress) != digest:
                raise WeightsCorruptError(
                    f"{path} does not have the SHA-256 that the hub gave.",
                    hint=f"Delete it and run `lsp-stablecode models pull {name}`.",
                )
            num_hashed += 1
    return (
        f"{name}: {len(paths)} weight file(s) whole, {num_hashed} of them by SHA-256."
    )


def check_model(directory: Path) -> dict[str, Any]:
    """Check that a directory holds a loadable, harmless model; return its config.

    Reads headers only. Raises ``UnknownModelError``, ``UnsafeWeightsError``,
    ``UnsupportedArchitectureError``, ``WeightsCorruptError``,
    ``WeightsNotFoundError`` or ``TokenizerError``.
    """
    config = _read_config(directory)
    _check_model_type(directory, config)
    if not check_directory(directory):
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


def _read_config(directory: Path) -> dict[str, Any]:
    """Return config.json."""
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        ggufs = sorted(directory.glob("*.gguf"))
        hint = f"Name the file {ggufs[0]}." if ggufs else "Check the path."
        raise UnknownModelError(
            f"{directory} is no model: it holds no config.json.", hint=hint
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsCorruptError(
            f"{path} cannot be read ({error}).", hint="Fetch the model again."
        ) from error
    if not isinstance(config, dict):
        raise WeightsCorruptError(
            f"{path} is no model's configuration.", hint="Fetch the model again."
        )
    return config


def _check_model_type(directory: Path, config: dict[str, Any]) -> None:
    """Refuse what could only be loaded by running code from the directory."""
    model_type = config.get("model_type")
    if model_type in _USUAL_MODEL_TYPES:
        return
    from transformers import CONFIG_MAPPING

    if isinstance(model_type, str) and model_type in CONFIG_MAPPING:
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


def _confirmed_entry(directory: Path, located: Located) -> CatalogEntry | None:
    """Return the catalogue entry, if the vocabulary agrees with a guess by name."""
    entry = located.entry
    if entry is not None and located.kind == "directory":
        return entry
    guess = entry or (located.path and entry_of_file(located.path)) or None
    if guess is not None and speaks(guess.dialect, _vocabulary(directory)):
        return guess
    return None


def _vocabulary(directory: Path) -> frozenset[str]:
    """Return every token's spelling in a directory's tokenizer.json."""
    path = directory / "tokenizer.json"
    try:
        content = json.loads(path.read_text("utf-8"))
        vocabulary = content["model"]["vocab"]
        if isinstance(vocabulary, list):  # Unigram: pairs of a token and its score
            vocabulary = [token for token, _ in vocabulary]
        added = [token["content"] for token in content.get("added_tokens") or ()]
        return frozenset(vocabulary) | frozenset(added)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TokenizerError(
            f"{path} cannot be read ({error}).", hint="Fetch the model again."
        ) from error


def _describe(
    directory: Path, located: Located, entry: CatalogEntry | None
) -> PreparedModel:
    """Put together what the engine needs to know, from the catalogue or by looking."""
    config = _read_config(directory)
    notes: tuple[str, ...] = ()
    conversion = read_conversion(directory)
    if conversion is not None:
        notes = conversion.notes
    lengths = [config[key] for key in _CONTEXT_KEYS if isinstance(config.get(key), int)]
    if entry is not None:
        return PreparedModel(
            directory,
            entry,
            entry.dialect,
            entry.stop_tokens,
            min([entry.context_tokens, *lengths[:1]]),
            entry.default_fim_order,
            located.source,
            notes,
        )
    vocabulary = _vocabulary(directory)
    dialect = guess_dialect(vocabulary)
    if dialect == "starcoder" and config.get("model_type") == "gpt_neox":
        # Only StableCode Alpha joins the two, and it was not taught to infill.
        dialect = "stablecode-alpha"
    stops = tuple(token for token in DIALECT_STOPS[dialect] if token in vocabulary)
    notes += (f"fill-in-the-middle format {dialect}, told by the vocabulary",)
    if not lengths:
        notes += (f"context length unknown, {_DEFAULT_CONTEXT_TOKENS} assumed",)
    return PreparedModel(
        directory,
        None,
        dialect,
        stops or _end_token(directory),
        lengths[0] if lengths else _DEFAULT_CONTEXT_TOKENS,
        "spm" if dialect in ("refact", "codestral") else "psm",
        located.source,
        notes,
    )


def _end_token(directory: Path) -> tuple[str, ...]:
    """Return the end token's spelling, if tokenizer_config.json gives it."""
    try:
        settings = json.loads((directory / "tokenizer_config.json").read_text("utf-8"))
        token = settings.get("eos_token")
        token = token.get("content") if isinstance(token, dict) else token
    except (OSError, ValueError, AttributeError):
        return ()
    return (token,) if isinstance(token, str) else ()


def _starter_directory() -> Path:
    """Return where the converted starter is kept."""
    return cache_directory() / "models" / f"starter-{starter.STARTER_SHA256[:12]}"


def _prepare_starter(progress: ProgressCallback | None) -> Path:
    """Return the converted starter, converting it the first time."""
    directory = _starter_directory()

    def is_current() -> bool:
        conversion = usable(directory, _DTYPE)
        sha256 = starter.STARTER_SHA256
        return conversion is not None and conversion.source.sha256 == sha256

    def build(partial: Path) -> None:
        gguf = partial / "starter.gguf"
        starter.assemble(gguf, progress)
        source = Source("starter", starter.STARTER_SHA256, starter.STARTER_BYTES)
        convert_gguf(gguf, partial, source, dtype=_DTYPE, progress=progress)
        gguf.unlink()

    if not is_current():
        starter.find_parts()
        num_bytes = starter.STARTER_BYTES + _STARTER_WEIGHT_BYTES
        build_once(directory, num_bytes, is_current, build, progress)
    return directory


def _gguf_directory(path: Path) -> Path:
    """Return where the conversion of a GGUF file is kept: one place per path."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)[:60].strip(".-") or "model"
    digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]
    return cache_directory() / "models" / f"{stem}-{digest}"


def _is_from(directory: Path, path: Path) -> bool:
    """Return whether a usable conversion was made from the file as it is now."""
    conversion = usable(directory, _DTYPE)
    if conversion is None:
        return False
    stat = path.stat()
    made_from = (conversion.source.num_bytes, conversion.source.mtime_ns)
    return made_from == (stat.st_size, stat.st_mtime_ns)


def _prepare_gguf(
    path: Path, entry: CatalogEntry | None, progress: ProgressCallback | None
) -> Path:
    """Return the converted GGUF file, converting it if it is new or has changed."""
    directory = _gguf_directory(path)

    def build(partial: Path) -> None:
        stat = path.stat()
        digest = sha256_of(path, progress, "read weights")
        source = Source(str(path), digest, stat.st_size, stat.st_mtime_ns)
        convert_gguf(
            path,
            partial,
            source,
            dtype=_DTYPE,
            rope_theta=entry.rope_theta if entry else None,
            progress=progress,
        )

    if not _is_from(directory, path):
        num_bytes = converted_bytes(path, _DTYPE)
        build_once(
            directory, num_bytes, lambda: _is_from(directory, path), build, progress
        )
    return directory


def _verify_starter(progress: ProgressCallback | None) -> str:
    """Check the starter's parts and its conversion."""
    directory = _starter_directory()
    converted = directory.exists()
    if converted and usable(directory, _DTYPE) is None:
        raise WeightsCorruptError(
            f"The converted starter in {directory} is damaged.",
            hint="It is converted again at the next start.",
        )
    if not starter.starter_available() and converted:
        return "starter: its conversion is whole; the data packages are gone."
    starter.verify_parts(progress)
    also = " and its conversion is whole" if converted else ""
    return f"starter: {starter.NUM_PARTS} parts match their SHA-256{also}."


def _verify_gguf(path: Path, progress: ProgressCallback | None) -> str:
    """Check a GGUF file's header, and its SHA-256 if it was converted before."""
    if progress is not None:
        progress(LoadProgress("check weights"))
    with GgufFile(path) as file:
        header = Header(file)
        num_tensors = len(map_tensors(header, family_of(header)))
    directory = _gguf_directory(path)
    conversion = read_conversion(directory)
    if conversion is None or not _is_from(directory, path):
        return f"{path.name}: {num_tensors} tensors, all within the file."
    if sha256_of(path, progress) != conversion.source.sha256:
        raise WeightsCorruptError(
            f"{path} has changed since it was converted.",
            hint="Fetch the file again.",
        )
    return f"{path.name}: {num_tensors} tensors, SHA-256 as when it was converted."
