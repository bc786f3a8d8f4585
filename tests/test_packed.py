"""Packed weights: made once, made again when they must be, and who serves instead."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import pytest
from gguf_files import random_model, small_tokenizer, write_gguf
from tiny import write_model
from transformers import Qwen2Config

from model import EngineOptions, FillRequest, compiler, load_engine, memory
from model.errors import StablecodeError, WeightsCorruptError

_ASK = FillRequest("def f(x):\n    return ", "\n", max_new_tokens=6)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use an empty cache, but the kernels that are compiled already."""
    compiler.load_kernels()
    folder = tmp_path / "a cache é"
    monkeypatch.setenv("LSP_STABLECODE_CACHE", str(folder))
    return folder


def _load(directory: Path, **options: Any) -> Any:
    return load_engine(EngineOptions(model=str(directory), device="cpu", **options))


def _packed_file(cache: Path) -> Path:
    [path] = (cache / "packed").glob("*/packed.safetensors")
    return path


def _model(tmp_path: Path, family: str = "qwen2") -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    write_model(directory, family)
    return directory


def test_weights_are_packed_once(tmp_path: Path, cache: Path) -> None:
    """The second start maps what the first one wrote, and says the same."""
    directory = _model(tmp_path)
    first = _load(directory)
    assert first.info.backend.startswith("native C (q8)")
    assert first.info.dtype == "int8"
    text = first.fill(_ASK).candidates[0].text
    written = _packed_file(cache).stat().st_mtime_ns
    first.close()
    second = _load(directory)
    assert _packed_file(cache).stat().st_mtime_ns == written
    assert second.fill(_ASK).candidates[0].text == text
    assert any("threads" in note for note in second.info.notes)


def test_changed_or_damaged_weights_are_packed_again(
    tmp_path: Path, cache: Path
) -> None:
    """Other weights under the same name, a file cut short, a record of nonsense."""
    directory = _model(tmp_path)
    text = _load(directory).fill(_ASK).candidates[0].text
    packed = _packed_file(cache)
    for damage in ("cut", "record", "change"):
        before = packed.stat().st_mtime_ns
        if damage == "cut":
            packed.write_bytes(packed.read_bytes()[:-100])
        elif damage == "record":
            (packed.parent / "packed.json").write_text('{"matrices": 3}')
        else:
            weights = directory / "model.safetensors"
            weights.write_bytes(weights.read_bytes())
        assert _load(directory).fill(_ASK).candidates[0].text == text
        assert packed.stat().st_mtime_ns > before


def _gguf(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    model = random_model(
        Qwen2Config(
            vocab_size=320,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            tie_word_embeddings=False,
        )
    )
    write_gguf(
        model,
        small_tokenizer(),
        path,
        arch=gguf.MODEL_ARCH.QWEN2,
        quantization=gguf.GGMLQuantizationType.Q8_0,
    )
    return path


def test_a_gguf_file_is_kept_as_it_is(tmp_path: Path, cache: Path) -> None:
    """Its blocks move over; the embedding and the rest come from it too.

    Its weights are written once, and not for torch as well.
    """
    path = _gguf(tmp_path)
    engine = _load(path)
    assert engine.info.dtype == "q8+q6"
    assert "as the model's file holds" in " ".join(engine.info.notes)
    text = engine.fill(_ASK).candidates[0].text
    assert list(cache.rglob("*.safetensors")) == [_packed_file(cache)]
    written = _packed_file(cache).stat().st_mtime_ns
    # Whoever asks for another format has it converted.
    assert _load(path, dtype="float32").fill(_ASK).candidates
    [converted] = (cache / "models").glob("*/model.safetensors")
    # Then that will do for who packs, too.
    shutil.rmtree(next(one for one in converted.parent.parent.glob("*-bare")))
    assert _load(path).fill(_ASK).candidates[0].text == text
    assert _packed_file(cache).stat().st_mtime_ns == written
    assert not list((cache / "models").glob("*-bare"))


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_a_gguf_file_is_rounded_from_what_it_holds(
    dtype: str, tmp_path: Path, cache: Path
) -> None:
    """Once, and not by way of another format."""
    engine = _load(_gguf(tmp_path), dtype=dtype)
    assert engine.info.dtype == dtype
    assert engine.fill(_ASK).candidates
    assert list(cache.rglob("*.safetensors")) == [_packed_file(cache)]


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the kernels be compiled by nobody."""
    monkeypatch.setenv("CC", "/no/such/cc")
    compiler.kernels_key.cache_clear()
    monkeypatch.setattr(compiler, "load_kernels", compiler.load_kernels.__wrapped__)
    yield
    compiler.kernels_key.cache_clear()


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_a_gguf_file_is_converted(
    tmp_path: Path, cache: Path
) -> None:
    """Torch has no use for the file itself."""
    engine = _load(_gguf(tmp_path))
    assert engine.info.backend.startswith("native torch")
    assert engine.fill(_ASK).candidates
    [converted] = cache.rglob("*.safetensors")
    assert converted.name == "model.safetensors"


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("dtype", ["auto", "int8", "int4"])
def test_without_a_compiler_torch_serves_and_says_so(
    dtype: str, tmp_path: Path
) -> None:
    """Slower, and visible in status with what to install."""
    engine = _load(_model(tmp_path), dtype=dtype)
    assert engine.info.backend.startswith("native torch")
    notes = " ".join(engine.info.notes)
    assert "not our kernels" in notes
    assert "apt install gcc" in notes
    assert engine.fill(_ASK).candidates


def test_a_shape_that_is_not_the_configs_is_refused(tmp_path: Path) -> None:
    """The kernels trust shapes, so they are checked before."""
    directory = _model(tmp_path)
    path = directory / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "intermediate_size": 96}))
    with pytest.raises(WeightsCorruptError, match="shape"):
        _load(directory)


@pytest.mark.parametrize("write", [_model, _gguf])
def test_no_room_is_said_before_the_work(
    write: Callable[[Path], Path],
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model that cannot fit is refused without being packed."""
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    with pytest.raises(StablecodeError, match="GiB"):
        _load(write(tmp_path))
    assert not (cache / "packed").exists()


@pytest.mark.parametrize(
    ("kind", "tokens", "expected"),
    [("auto", 512, "int8"), ("bfloat16", 512, "bfloat16"), ("int8", 256, "int8")],
)
def test_the_cache_takes_bytes_where_it_is_large(
    kind: str, tokens: int, expected: str, tmp_path: Path
) -> None:
    """Small models have caches as large as their weights; a wish is a wish."""
    engine = _load(_model(tmp_path), cache_dtype=kind, context_tokens=tokens)
    assert f"{expected} caches" in " ".join(engine.info.notes)


@pytest.mark.parametrize("family", ["stablelm", "gpt_neox", "qwen2"])
def test_drafted_cached_and_chunked_text_is_the_plain_one(
    family: str, tmp_path: Path
) -> None:
    """One engine with everything, asked key by key; one that starts anew each time."""
    directory = _model(tmp_path, family)
    quick, plain = _load(directory, dtype="int4"), _load(directory, dtype="int4")
    plain.drafting = False
    text = "def area(w, h):\n    return w * h\n\n\ndef volume(w, h, d):\n    return "
    for key in "area(w, h) * d":
        text += key
        ask = FillRequest(text, "\n\nprint(volume(1, 2, 3))\n", max_new_tokens=16)
        plain.forget()
        expected = plain.fill(ask).candidates[0]
        found = quick.fill(ask).candidates[0]
        assert found.text == expected.text
        assert found.mean_logprob == expected.mean_logprob


@pytest.mark.model
def test_the_starter_is_written_once(cache: Path) -> None:
    """Its kernels need no weights in bfloat16; torch gets them when it is asked."""
    engine = load_engine(EngineOptions(model="starter", device="cpu"))
    assert engine.info.backend.startswith("native C")
    assert not list((cache / "models").glob("*/model.safetensors"))
    assert (
        "return"
        in engine.fill(FillRequest("def add(a, b):\n    ", "\n", max_new_tokens=8))
        .candidates[0]
        .text
    )
    engine.close()
