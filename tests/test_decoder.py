"""The native decoder gives transformers' logits, however it is asked for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import _FULL_SIZE
from tiny import DECODER_FAMILIES, make_model

from model.attention_factory import AttentionFactory
from model.decoder import Decoder
from model.decoder_config import read_decoder_config
from model.device import Placement
from model.errors import (
    ContextTooLargeError,
    OutOfMemoryError,
    TooManyBranchesError,
    WeightsCorruptError,
)
from model.int4 import dequantize, pack, quantize
from model.logits import NumpyLogits
from model.torch_backend import TorchBackend, load_torch_backend, num_cache_slots
from model.torch_linear import Int4Linear, Int8Linear, make_linear
from model.torch_logits import TensorLogits
from model.torch_steps import DecoderSteps
from model.torch_weights import WeightLoader

_CONTEXT_TOKENS = 160
_PROMPT = [int(one) for one in np.random.default_rng(0).integers(4, 600, 60)]
_OTHER = [int(one) for one in np.random.default_rng(1).integers(4, 600, 50)]

Scores = npt.NDArray[np.float32]
Load = Callable[..., TorchBackend]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Load a family's small model from a directory, once per number format."""
    directories: dict[str, Path] = {}
    backends: dict[tuple[str, str], TorchBackend] = {}

    def load_one(family: str, dtype: str = "float32") -> TorchBackend:
        if family not in directories:
            directories[family] = tmp_path_factory.mktemp(family)
            make_model(family).save_pretrained(directories[family])
        if (family, dtype) not in backends:
            backend, notes = load_torch_backend(
                directories[family], Placement("cpu", dtype), _CONTEXT_TOKENS, 2
            )
            assert notes == ()
            backends[family, dtype] = backend
        backend = backends[family, dtype]
        for session in (1, 0):
            backend.select(session)
            backend.truncate(0)
        return backend

    return load_one


def expected(model: Any, token_ids: list[int]) -> Scores:
    """Return transformers' logits of a whole text, ``[tokens, vocabulary]``."""
    with torch.inference_mode():
        logits = model(torch.tensor([token_ids]), use_cache=False).logits[0]
    return np.asarray(logits.float().numpy())


def rows(logits: TensorLogits) -> Scores:
    return np.stack([logits.row(position) for position in range(len(logits))])


def assert_same(ours: Scores, theirs: Scores, tolerance: float = 2e-5) -> None:
    """Check every score, relative to how far scores are spread."""
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * theirs.std()


@pytest.mark.parametrize("family", DECODER_FAMILIES)
def test_logits_are_those_of_transformers(family: str, load: Load) -> None:
    """Whole, in chunks, step by step and after a rewind, in every family."""
    backend = load(family)
    theirs = expected(make_model(family), _PROMPT)
    assert_same(rows(backend.forward(_PROMPT, len(_PROMPT))), theirs)
    backend.truncate(0)
    for begin in range(0, 48, 16):
        chunk = _PROMPT[begin : begin + 16]
        ours = rows(backend.forward(chunk, 3))
        assert_same(ours, theirs[begin + 13 : begin + 16])
    for position in range(48, 56):
        logits = backend.forward(_PROMPT[position : position + 1])
        assert_same(rows(logits), theirs[position : position + 1])
    assert backend.num_cached_tokens == 56
    backend.forward(_OTHER[:20])
    backend.truncate(30)
    assert backend.num_cached_tokens == 30
    assert_same(rows(backend.forward(_PROMPT[30:], 30)), theirs[30:])


@pytest.mark.parametrize("family", DECODER_FAMILIES)
def test_sessions_know_nothing_of_each_other(family: str, load: Load) -> None:
    """Turns may be taken between two texts."""
    backend = load(family)
    model = make_model(family)
    texts = [_PROMPT, _OTHER]
    theirs = [expected(model, text) for text in texts]
    for begin in range(0, 50, 10):
        for session, text in enumerate(texts):
            backend.select(session)
            assert backend.num_cached_tokens == begin
            ours = rows(backend.forward(text[begin : begin + 10], 10))
            assert_same(ours, theirs[session][begin : begin + 10])


@pytest.mark.parametrize("family", DECODER_FAMILIES)
def test_branches_are_separate_continuations(family: str, load: Load) -> None:
    """Each branch's logits are those of its own text, and the shared part stays."""
    backend = load(family)
    model = make_model(family)
    shared = _PROMPT[:40]
    branches = [_OTHER[start : start + 6] for start in (0, 10, 20)]
    theirs = [expected(model, shared + branch)[40:] for branch in branches]
    backend.forward(_PROMPT[:45])  # what lies beyond the shared part is dropped
    for step in range(6):
        ours = rows(backend.branch([branch[step] for branch in branches], 40))
        assert_same(ours, np.stack([one[step] for one in theirs]))
        assert backend.num_cached_tokens == 40 + 3 * (step + 1)
    backend.truncate(40)
    assert backend.num_cached_tokens == 40
    again = rows(backend.forward(branches[0], 6))
    assert_same(again, theirs[0])


def fill_up(backend: TorchBackend, ids: list[int]) -> None:
    for _ in range(100):
        backend.branch(ids, 60)


def test_as_many_long_branches_as_there_is_room_for(load: Load) -> None:
    """Each may fill the context; more of them than have room are refused."""
    backend = load("starcoder2")
    model = make_model("starcoder2")
    backend.forward(_PROMPT)
    count = backend.most_branches(60, 100)
    assert 1 < count < backend.most_branches(60, 1)
    ids = np.random.default_rng(2).integers(4, 600, (count, 100)).tolist()
    theirs = expected(model, _PROMPT + ids[1])[60:]
    for step in range(100):
        ours = backend.branch([branch[step] for branch in ids], 60)
        assert_same(rows(ours)[1], theirs[step])
    with pytest.raises(ContextTooLargeError):
        backend.branch([1] * count, 60)
    backend.truncate(60)
    many = backend.most_branches(60, 50)
    assert many > count
    for _ in range(50):
        backend.branch([1] * many, 60)
    with pytest.raises(TooManyBranchesError):
        fill_up(backend, [1] * many)
    backend.truncate(60)
    for _ in range(100):
        backend.branch([1] * count, 60)
    backend.truncate(60)
    theirs = expected(model, _PROMPT + _OTHER)[60:]
    assert_same(rows(backend.forward(_OTHER, 50)), theirs)


@pytest.mark.parametrize("family", ["stablelm", "starcoder2"])
@settings(max_examples=15, deadline=None)
@given(
    actions=st.lists(
        st.tuples(
            st.sampled_from(["forward", "truncate", "select", "branch"]),
            st.integers(0, 30),
            st.integers(1, 20),
        ),
        max_size=12,
    )
)
def test_whatever_was_done_before(
    family: str, actions: list[tuple[str, int, int]], load: Load
) -> None:
    """After any history a session's logits are those of the ids it holds."""
    backend = load(family)
    held: list[list[int]] = [[], []]
    current = 0
    for action, number, size in actions:
        text = held[current]
        if action == "select":
            current = number % 2
            backend.select(current)
        elif action == "truncate":
            backend.truncate(number)
            del text[number:]
        elif action == "branch" and text:
            num_shared = min(number, len(text))
            for token_id in range(size % 4 + 1):
                backend.branch([token_id + 5] * (size % 8 + 1), num_shared)
            backend.truncate(num_shared)
            del text[num_shared:]
        elif len(text) + size <= _CONTEXT_TOKENS - 1:
            backend.forward(_OTHER[number : number + size])
            text += _OTHER[number : number + size]
    for session, text in enumerate(held):
        backend.select(session)
        assert backend.num_cached_tokens == len(text)
        ours = rows(backend.forward([7]))
        assert_same(ours, expected(_model(family), [*text, 7])[-1:])


_MODELS: dict[str, Any] = {}


def _model(family: str) -> Any:
    return _MODELS.setdefault(family, make_model(family))


def round_weights(model: Any, dtype: str) -> Any:
    """Give transformers' model the weights that ours has, in fp32."""
    head = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            weight = module.weight.data.bfloat16()
            if dtype == "int4" and module is not head:
                codes, scales = quantize(weight, torch.bfloat16)
                rounded = dequantize(pack(codes), scales.float())
            else:
                scale = (weight.float().abs().amax(1) / 127).bfloat16().float()
                scale = scale.clamp(min=1e-8)[:, None]
                codes = (weight.float() / scale).round()
                rounded = codes.clamp(-127, 127) * scale
            module.weight = torch.nn.Parameter(rounded)
    return model


def relative_error(ours: Scores, theirs: Scores) -> float:
    return float(np.sqrt(np.square(ours - theirs).mean()) / theirs.std())


@pytest.mark.parametrize("family", ["stablelm", "gpt_neox", "qwen2", "starcoder2"])
@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_quantised_weights_give_similar_logits(
    family: str, dtype: str, load: Load
) -> None:
    """Rounding moves logits a little; how they are asked for, hardly at all."""
    backend = load(family, dtype)
    exact = expected(_model(family), _PROMPT)
    rounded = expected(round_weights(make_model(family), dtype), _PROMPT)
    whole = rows(backend.forward(_PROMPT, len(_PROMPT)))
    assert relative_error(whole, rounded) < 0.05
    # Random weights have no redundancy: a trained model's logits move less.
    assert relative_error(whole, exact) < (0.07 if dtype == "int8" else 0.55)
    backend.truncate(0)
    chunks = [rows(backend.forward(_PROMPT[i : i + 12], 12)) for i in range(0, 60, 12)]
    assert relative_error(np.concatenate(chunks), whole) < 0.05
    backend.truncate(50)
    steps = [rows(backend.forward([one]))[0] for one in _PROMPT[50:]]
    assert relative_error(np.stack(steps), whole[50:]) < 0.05


@pytest.mark.parametrize("family", ["stablelm", "qwen2", "gpt_neox"])
def test_bfloat16_is_as_near_as_transformers(family: str, load: Load) -> None:
    """In bf16 our rounding is no worse than theirs."""
    backend = load(family, "bfloat16")
    exact = expected(_model(family), _PROMPT)
    theirs = expected(make_model(family).bfloat16(), _PROMPT)
    ours = rows(backend.forward(_PROMPT, len(_PROMPT)))
    assert np.abs(ours - exact).mean() <= 1.1 * np.abs(theirs - exact).mean()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([1e-3, 1.0, 50.0]))
def test_int4_codes_are_near(seed: int, scale: float) -> None:
    """Restored weights are within a step of the original, and packing loses nothing."""
    torch.manual_seed(seed)
    weight = (torch.randn(16, 64) * scale + scale * (seed % 3)).bfloat16()
    codes, scales = quantize(weight, torch.bfloat16)
    restored = dequantize(pack(codes), scales.float())
    groups = weight.float().view(16, 2, 32)
    span = groups.amax(-1) - groups.amin(-1)
    error = (restored.view(16, 2, 32) - groups).abs().amax(-1)
    # At most what the narrowest range cuts off, and bf16's own rounding.
    assert (error <= 0.12 * span + 0.01 * groups.abs().amax(-1)).all()


@pytest.mark.parametrize("kind", [Int8Linear, Int4Linear])
@pytest.mark.parametrize("num_tokens", [1, 5, 32, 33, 100])
def test_kernels_compute_what_restored_weights_do(kind: Any, num_tokens: int) -> None:
    """Few tokens take the kernel, many a plain product; both mean the same."""
    torch.manual_seed(0)
    weight, bias = torch.randn(64, 96).bfloat16(), torch.randn(64).bfloat16()
    linear = kind(weight, bias)
    inputs = torch.randn(num_tokens, 96).bfloat16()
    every = linear(torch.cat((inputs, torch.zeros(100, 96).bfloat16())))[:num_tokens]
    torch.testing.assert_close(
        linear(inputs).float(), every.float(), rtol=2e-2, atol=0.2
    )
    exact = inputs.float() @ weight.float().T + bias.float()
    # The error of codes is random, so it grows with the root of the columns.
    assert (linear(inputs).float() - exact).std() < 0.12 * exact.std()


def test_a_matrix_that_int4_does_not_fit_is_int8() -> None:
    """Odd sizes run too."""
    odd = torch.randn(10, 40).bfloat16()
    assert isinstance(make_linear(odd, None, "int4"), Int8Linear)


_GRID = st.lists(st.integers(-3, 3), min_size=5, max_size=5)


@given(scores=st.lists(_GRID, min_size=1, max_size=4))
def test_logits_on_a_device_are_read_as_those_in_memory(
    scores: list[list[int]],
) -> None:
    """The best token, its log-probability and the order of ties are the same."""
    array = np.array(scores, dtype=np.float32)
    ours, theirs = TensorLogits(torch.tensor(array)), NumpyLogits(array)
    assert len(ours) == len(theirs)
    for (mine, score), (other, value) in zip(
        ours.greedy(), theirs.greedy(), strict=True
    ):
        assert mine == other
        assert score == pytest.approx(value, abs=1e-5)
    assert ours.top(0, 3) == theirs.top(0, 3)
    assert np.array_equal(ours.row(0), array[0])


def test_more_than_the_context_is_refused(load: Load) -> None:
    """The cache's end is an error, not an overwritten neighbour."""
    backend = load("qwen2")
    backend.forward([5] * (_CONTEXT_TOKENS - 1))
    with pytest.raises(ContextTooLargeError, match="161 tokens"):
        backend.forward([5, 6])
    assert backend.num_cached_tokens == _CONTEXT_TOKENS - 1


def test_too_large_a_cache_is_out_of_memory(tmp_path: Path) -> None:
    """What no machine has room for is an error that says what to change."""
    make_model("qwen2").save_pretrained(tmp_path)
    with pytest.raises(OutOfMemoryError, match="contextTokens"):
        load_torch_backend(tmp_path, Placement("cpu", "float32"), 10**13, 1)


def test_a_closed_backend_holds_nothing(tmp_path: Path) -> None:
    """Closing twice is closing once."""
    make_model("qwen2").save_pretrained(tmp_path)
    placement = Placement("cpu", "float32")
    backend, _ = load_torch_backend(tmp_path, placement, 100, 2)
    backend.close()
    backend.close()
    assert backend.num_sessions == 0


def test_what_passes_cost_was_measured(load: Load) -> None:
    """Loading leaves an empty cache and costs for few tokens, ascending."""
    backend = load("qwen2")
    assert [tokens for tokens, _ in backend.pass_costs_ms] == [1, 2, 4, 8, 16]
    assert all(cost > 0 for _, cost in backend.pass_costs_ms)
    assert backend.name == "native torch (sdpa)"


def test_a_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    """Weights that do not fit their configuration are refused before they are used."""
    model = make_model("llama")
    model.config.intermediate_size = 96
    model.save_pretrained(tmp_path)
    with pytest.raises(WeightsCorruptError, match=r"layers\.0\.mlp\.gate_proj"):
        load_torch_backend(tmp_path, Placement("cpu", "float32"), 100, 1)


def test_shards_are_read(tmp_path: Path) -> None:
    """Weights may lie in several files with an index."""
    model = make_model("qwen3")
    model.save_pretrained(tmp_path, max_shard_size="200KB")
    assert not (tmp_path / "model.safetensors").exists()
    placement = Placement("cpu", "float32")
    backend, _ = load_torch_backend(tmp_path, placement, 100, 1)
    theirs = expected(model, _PROMPT)
    assert_same(rows(backend.forward(_PROMPT, 60)), theirs)


class ModelTensors:
    """A model's own tensors in place of files, so that it is held only once."""

    def __init__(self, model: Any) -> None:
        self._tensors = model.state_dict()

    @property
    def names(self) -> set[str]:
        return set(self._tensors)

    def read(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        tensor: torch.Tensor = self._tensors[name]
        assert tensor.shape == shape
        return tensor


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family", sorted(_FULL_SIZE))
def test_stablecode_at_full_size(family: str) -> None:
    """At both StableCode shapes, in bf16, greedy tokens are those of transformers."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = make_model(family, **_FULL_SIZE[family])
    finally:
        torch.set_default_dtype(default)
    torch.set_num_threads(2)
    config = read_decoder_config(model.config.to_dict())
    device = torch.device("cpu")
    files = ModelTensors(model)
    weights = WeightLoader(config, files, device, torch.bfloat16, "plain").load()
    steps = DecoderSteps(
        Decoder(config, weights, num_cache_slots(_CONTEXT_TOKENS)),
        AttentionFactory(config.sliding_windows, 1, torch.bfloat16),
    )
    backend = TorchBackend(steps, _CONTEXT_TOKENS, 1, attention="sdpa")
    with torch.inference_mode():
        output = model.generate(
            torch.tensor([_PROMPT]),
            max_new_tokens=12,
            min_new_tokens=12,
            return_dict_in_generate=True,
            output_logits=True,
        )
    text = output.sequences[0, len(_PROMPT) :].tolist()
    logits = backend.forward(_PROMPT)
    for token_id, theirs in zip(text, output.logits, strict=True):
        row = theirs[0].float().numpy()
        best = logits.greedy()[0][0]
        error = relative_error(logits.row(0), row)
        print(f"{family}: {best} {int(row.argmax())}, error {error:.4f}")
        # Two of nearly equal score may change places by rounding, and only they.
        assert row[best] >= row.max() - 0.05 * row.std()
        assert error < 0.05
        logits = backend.forward([token_id])
