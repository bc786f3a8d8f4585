"""The processor's kernels: exact, and the same however the work is split."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import DECODER_FAMILIES, make_model

from model import compiler, native_decoder
from model.decoder_config import DecoderConfig, read_decoder_config
from model.errors import (
    KernelsUnavailableError,
    TokenizerError,
    UnsupportedArchitectureError,
    WeightsCorruptError,
)
from model.families import Projection
from model.native_backend import NativeBackend
from model.native_decoder import CacheKind, NativeDecoder
from model.packed_weights import PackedWeights, Precision
from model.packer import check_shape, write_packed
from model.packing import FORMATS, Integers, quantise, unpack
from model.weight_sources import SafetensorsSource

_CONTEXT_TOKENS = 256
_IDS = torch.randint(
    5, 600, (200,), generator=torch.Generator().manual_seed(1)
).tolist()


class Packed:
    """A small model, its logits by transformers, and its weights in our layout."""

    def __init__(self, folder: Path, family: str) -> None:
        self._folder = folder
        model = make_model(family)
        model.save_pretrained(folder / "model")
        with torch.inference_mode():
            self.expected = model(torch.tensor([_IDS])).logits[0].numpy()
        config = json.loads((folder / "model" / "config.json").read_text())
        self.config: DecoderConfig = read_decoder_config(config)

    def weights(self, precision: Precision) -> PackedWeights:
        directory = self._folder / precision
        if not directory.exists():
            directory.mkdir()
            with SafetensorsSource(self._folder / "model") as source:
                write_packed(source, self.config, directory, precision, "test")
        return PackedWeights(directory, self.config)

    def backend(
        self,
        precision: Precision = "float32",
        cache_kind: CacheKind = "float32",
        num_threads: int = 2,
    ) -> NativeBackend:
        return NativeBackend(
            self.weights(precision),
            self.config,
            context_tokens=_CONTEXT_TOKENS,
            num_sessions=2,
            num_threads=num_threads,
            cache_kind=cache_kind,
        )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Packed] = {}

    def packed(family: str) -> Packed:
        if family not in made:
            made[family] = Packed(tmp_path_factory.mktemp(family), family)
        return made[family]

    return packed


def run(backend: NativeBackend, splits: list[int], ids: list[int] = _IDS) -> Any:
    """Append ids in passes of these lengths, and the rest; return all logits."""
    found, at = [], 0
    for length in [*splits, len(ids)]:
        piece = ids[at : at + length]
        if piece:
            logits = backend.forward(piece, len(piece))
            found += [logits.row(position) for position in range(len(logits))]
        at += len(piece)
    return np.stack(found)


@pytest.mark.parametrize("family", DECODER_FAMILIES)
def test_logits_equal_transformers(family: str, models: Any) -> None:
    """In float32 every family gives what transformers gives, at once or by steps."""
    packed = models(family)
    backend = packed.backend()
    spread = packed.expected.std()
    for splits in ([], [64, 64], [1] * 40, [100, 1, 1, 7]):
        backend.truncate(0)
        difference = np.abs(run(backend, splits) - packed.expected).max()
        assert difference <= 4e-5 * spread


@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
@pytest.mark.parametrize("cache_kind", ["float32", "bfloat16", "int8"])
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_no_split_changes_a_bit(
    precision: Any, cache_kind: Any, models: Any, data: st.DataObject
) -> None:
    """Drafted, chunked, stepped: the very same numbers."""
    family = data.draw(st.sampled_from(DECODER_FAMILIES))
    splits = data.draw(st.lists(st.integers(1, 80), max_size=12))
    threads = data.draw(st.sampled_from([1, 2, 3]))
    packed = models(family)
    whole = run(packed.backend(precision, cache_kind), [])
    parts = run(packed.backend(precision, cache_kind, threads), splits)
    np.testing.assert_array_equal(whole, parts)


@pytest.mark.parametrize("family", DECODER_FAMILIES)
def test_after_truncation_nothing_is_left(family: str, models: Any) -> None:
    """What was dropped is not seen, in either session."""
    backend = models(family).backend("int8", "bfloat16")
    expected = run(backend, [])
    backend.truncate(0)
    run(backend, [], list(reversed(_IDS)))
    backend.select(1)
    run(backend, [], _IDS[50:90])
    backend.select(0)
    backend.truncate(0)
    run(backend, [], _IDS[:70])
    run(backend, [], _IDS[:30])
    backend.truncate(70)
    assert backend.num_cached_tokens == 70
    np.testing.assert_array_equal(run(backend, [], _IDS[70:]), expected[70:])


@pytest.mark.parametrize("family", DECODER_FAMILIES)
@pytest.mark.parametrize("count", [2, 3, 8])
def test_branches_equal_plain_continuations(
    family: str, count: int, models: Any
) -> None:
    """Each branch gets what it would get alone; its cache grows when it must.

    Not bit for bit: its slots lie apart, so that sums run in another order.
    """
    num_shared, num_steps = 90, 60
    backend = models(family).backend()
    tails = [_IDS[k * 7 : k * 7 + num_steps] for k in range(count)]
    run(backend, [], _IDS[:num_shared])
    steps = [
        backend.branch([tail[step] for tail in tails], num_shared)
        for step in range(num_steps)
    ]
    assert backend.num_cached_tokens == num_shared + count * num_steps
    backend.truncate(num_shared)
    for branch, tail in enumerate(tails):
        alone = run(backend, [], tail)
        together = np.stack([logits.row(branch) for logits in steps])
        np.testing.assert_allclose(alone, together, atol=1e-4)
        backend.truncate(num_shared)


def test_what_the_kernels_cannot_take_is_a_named_error(models: Any) -> None:
    """An id beyond the embedding, a model that computes no numbers, a closed one."""
    backend = models("llama").backend()
    with pytest.raises(TokenizerError, match="tokenizer"):
        backend.forward([5, 704])
    decoder = backend._decoder
    weights = models("llama").weights("float32").array("final_norm.weight")
    broken = np.full_like(weights, np.nan)
    decoder._model.final_norm.weight = decoder._keep(broken)
    with pytest.raises(WeightsCorruptError, match="no number"):
        backend.forward([5])
    backend.close()
    with pytest.raises((IndexError, RuntimeError)):
        backend.forward([5])


def test_two_models_with_different_threads(models: Any) -> None:
    """The threads are the process's; one model's choice does not harm another."""
    packed = models("qwen2")
    first = packed.backend("int8", "bfloat16", 1)
    expected = run(first, [])
    packed.backend("int8", "bfloat16", 3).forward(_IDS)
    first.truncate(0)
    np.testing.assert_array_equal(run(first, []), expected)


def test_only_a_head_of_eight_bits_is_rounded_again() -> None:
    """Q8_0 gets six bits, as measured; whatever else there is keeps what it holds."""
    from model.packer import _plan

    projection = Projection(("lm_head.weight",), ())

    class Source:
        def __init__(self, held: Any) -> None:
            self.held = held

        def shape(self, name: str) -> tuple[int, ...]:
            return (64, 64)

        def held_format(self, name: str) -> Any:
            return self.held

    for held, expected in (("q8", "q6"), (None, "q8"), ("q5", "q5"), ("q4", "q4")):
        source: Any = Source(held)
        assert _plan(source, "head", projection, "held").format == expected
    source = Source("q8")
    assert _plan(source, "layers.0.out", projection, "held").format == "q8"


def test_greedy_is_the_best_with_its_probability(models: Any) -> None:
    """The kernels' choice is numpy's; the lowest id wins a tie."""
    backend = models("qwen2").backend()
    logits = backend.forward(_IDS[:9], 9)
    rows = np.stack([logits.row(position) for position in range(9)])
    shifted = rows - rows.max(axis=1, keepdims=True)
    logprobs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    for (token_id, logprob), row in zip(logits.greedy(), logprobs, strict=True):
        assert token_id == row.argmax()
        assert logprob == pytest.approx(row.max(), abs=1e-4)
    decoder = backend._decoder
    equal = np.zeros((1, decoder.padded_vocab_size), np.float32)
    assert decoder.greedy(equal)[0][0] == 0


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Compile the kernels as for other processors, each once."""
    folder = tmp_path_factory.mktemp("kernels")
    libraries: dict[str, Any] = {}

    def compile_for(processor: str) -> Any:
        if processor not in libraries:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("LSP_STABLECODE_CACHE", str(folder))
                patch.setattr(compiler, "_native_flag", lambda: f"-march={processor}")
                compiler.kernels_key.cache_clear()
                libraries[processor] = compiler.load_kernels.__wrapped__()
            compiler.kernels_key.cache_clear()
        return libraries[processor]

    return compile_for


_NEEDED_FLAGS = {"x86-64": "sse2", "x86-64-v3": "avx2", "x86-64-v4": "avx512bw"}


@pytest.fixture(params=["native", *_NEEDED_FLAGS])
def any_processor(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, compiled: Any
) -> None:
    """Run the kernels as other processors get them, as far as this one can."""
    if request.param == "native":
        return
    information = Path("/proc/cpuinfo")
    flags = information.read_text() if information.exists() else ""
    if f" {_NEEDED_FLAGS[request.param]} " not in flags.replace("\n", " "):
        pytest.skip("not a processor of that kind")
    library = compiled(request.param)
    monkeypatch.setattr(native_decoder, "load_kernels", lambda: library)


@pytest.mark.parametrize("format", FORMATS)
def test_products_are_those_of_the_numbers(
    format: Any, any_processor: None, models: Any
) -> None:
    """A packed matrix times rounded vectors, on every kind of processor."""
    rng = np.random.default_rng(5)
    backend = models("llama").backend("float32" if format == "f32" else "int8")
    decoder = backend._decoder
    values = rng.standard_normal((75, 128)).astype(np.float32)
    matrix, numbers = _packed_matrix(decoder, values, format)
    for count in (1, 2, 3, 5, 8, 9, 31, 32, 37, 100):
        vectors = rng.standard_normal((count, 128)).astype(np.float32)
        out = np.empty((count, 80), np.float32)
        decoder._library.decoder_multiply(
            matrix, vectors.ctypes.data, decoder._room, count, out.ctypes.data
        )
        seen = vectors if format == "f32" else _rounded(vectors)
        expected = seen.astype(np.float64) @ numbers.T.astype(np.float64)
        np.testing.assert_allclose(out[:, :75], expected, rtol=2e-5, atol=2e-4)


def _packed_matrix(decoder: NativeDecoder, values: Any, format: Any) -> Any:
    from model.native_structures import FORMAT_CODES, CMatrix
    from model.packing import block_bytes, pack, pack_floats

    if format == "f32":
        blocks, numbers = pack_floats(values), values
    else:
        integers = quantise(values, format)
        blocks, numbers = pack(integers), integers.values()
    decoder._kept.append(blocks)
    matrix = CMatrix(
        blocks.ctypes.data,
        None,
        block_bytes(format, 128),
        80,
        128,
        FORMAT_CODES[format],
    )
    return ctypes.byref(matrix), numbers


def _rounded(vectors: Any) -> Any:
    """Round to signed bytes per 32 columns, as the kernels do."""
    grouped = vectors.reshape(len(vectors), -1, 32)
    scales = np.abs(grouped).max(axis=2, keepdims=True) / 127
    return (np.rint(grouped / scales) * scales).reshape(vectors.shape)


@pytest.mark.parametrize("format", ["q4", "q5", "q6", "q8"])
def test_packing_is_undone_by_unpacking(format: Any) -> None:
    """Layout loses nothing, whatever the number of rows."""
    from model.packing import pack

    values = np.random.default_rng(3).standard_normal((37, 96)).astype(np.float32)
    integers = quantise(values, format)
    again = unpack(pack(integers), format, 37, 96)
    np.testing.assert_array_equal(integers.numbers, again.numbers)
    np.testing.assert_array_equal(integers.values(), again.values())
    step = {"q4": 0.5, "q5": 0.25, "q6": 0.12, "q8": 0.03}[format]
    assert np.abs(integers.values() - values).max() < step


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q8_0"])
def test_gguf_blocks_move_over_whole(kind: str) -> None:
    """What a GGUF file holds is kept: the same numbers as its own dequantisation."""
    from gguf import quants
    from gguf.constants import GGMLQuantizationType
    from gguf_files import quantised_blocks

    from model.packing import held_format, move_blocks

    raw = quantised_blocks(kind, rows=24, columns=512)
    expected = getattr(quants, kind).dequantize_rows(raw)
    moved = move_blocks(raw, GGMLQuantizationType[kind])
    assert moved.format == held_format(GGMLQuantizationType[kind])
    # Q4_K's scales are products, and half precision rounds the last bit of them.
    tolerance = 2e-3 if kind == "Q4_K" else 0
    difference = np.abs(moved.values() - expected).max()
    assert difference <= tolerance * np.abs(expected).max()


def test_fewer_bits_beside_eight_lose_nothing() -> None:
    """Parts of one matrix in q5, q6 and q8 become one in q8 with the same values."""
    from model.weight_sources import join_rows

    rng = np.random.default_rng(1)
    parts: list[Any] = [
        quantise(rng.standard_normal((16, 64)).astype(np.float32), format)
        for format in ("q5", "q6", "q8")
    ]
    joined = join_rows(parts)
    assert isinstance(joined, Integers)
    assert joined.format == "q8"
    expected = np.concatenate([part.values() for part in parts])
    np.testing.assert_array_equal(joined.values(), expected)


def test_shapes_that_do_not_fit_are_refused(models: Any) -> None:
    """The reason names what is wrong; another backend then serves."""
    from dataclasses import replace

    config = replace(models("llama").config, head_dim=8)
    with pytest.raises(UnsupportedArchitectureError, match="head_dim"):
        check_shape(config)


def test_without_a_compiler_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """None at all, one that is not there, one that fails: each in a sentence."""
    monkeypatch.setenv("LSP_STABLECODE_CACHE", str(tmp_path / "a cache"))
    compiler.kernels_key.cache_clear()
    load = compiler.load_kernels.__wrapped__
    for cc, message in (("/no/such/cc", "does not run"), ("false", "fails on our")):
        monkeypatch.setenv("CC", cc)
        compiler.kernels_key.cache_clear()
        with pytest.raises(KernelsUnavailableError, match=message) as caught:
            load()
        assert "apt install gcc" in caught.value.hint
    monkeypatch.delenv("CC")
    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None)
    compiler.kernels_key.cache_clear()
    with pytest.raises(KernelsUnavailableError, match="no C compiler"):
        load()
    compiler.kernels_key.cache_clear()
