"""Attention over a cache, held against a slow and obvious one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.attention import Attend, KvTensors, RotaryTable, rotate
from model.attention_factory import AttentionFactory

_SLOTS = 64
_KV_HEADS = 2
_CHANNELS = 8
_LAYER = 1


def reference(
    query: Tensor, keys: Tensor, values: Tensor, visible: list[list[int]]
) -> Tensor:
    """Attend in fp64, one token and one head at a time, to the slots it sees."""
    tokens, heads, channels = query.shape
    result = torch.zeros(tokens, heads, channels, dtype=torch.float64)
    for token in range(tokens):
        for head in range(heads):
            kv_head = head * keys.shape[1] // heads
            seen = keys[visible[token], kv_head].double()
            scores = seen @ query[token, head].double() / math.sqrt(channels)
            weights = scores.softmax(0)
            result[token, head] = weights @ values[visible[token], kv_head].double()
    return result.flatten(1)


def visible_after(start: int, num_tokens: int, window: int | None) -> list[list[int]]:
    """Return the slots that each of the tokens at ``start`` onwards sees."""
    seen = []
    for position in range(start, start + num_tokens):
        slots = range(position + 1)
        seen.append([one for one in slots if not window or position - one < window])
    return seen


def visible_in_branches(
    num_shared: int, num_branches: int, step: int, window: int | None
) -> list[list[int]]:
    """Return the slots that each branch's token of ``step`` sees."""
    seen = []
    for branch in range(num_branches):
        slots = list(range(num_shared))
        slots += [num_shared + one * num_branches + branch for one in range(step + 1)]
        # Its own positions are in the order of its slots.
        seen.append(slots[-window:] if window else slots)
    return seen


def random_cache() -> KvTensors:
    shape = (_LAYER + 1, _SLOTS, _KV_HEADS, _CHANNELS)
    return KvTensors(torch.randn(shape), torch.randn(shape))


def attend_and_check(
    attend: Attend,
    cache: KvTensors,
    group: int,
    slots: list[int],
    visible: list[list[int]],
) -> None:
    """Run one step that writes to ``slots``; check what it writes and returns."""
    query = torch.randn(len(slots), group * _KV_HEADS, _CHANNELS)
    key = torch.randn(len(slots), _KV_HEADS, _CHANNELS)
    value = torch.randn(len(slots), _KV_HEADS, _CHANNELS)
    keys, values = cache.keys.clone(), cache.values.clone()
    keys[_LAYER, slots], values[_LAYER, slots] = key, value
    result = attend(_LAYER, query, key, value)
    assert torch.equal(cache.keys, keys)
    assert torch.equal(cache.values, values)
    expected = reference(query, keys[_LAYER], values[_LAYER], visible)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=2e-6)


_WINDOWS = st.one_of(st.none(), st.integers(1, 40))


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(0, 40),
    num_tokens=st.integers(1, 20),
    window=_WINDOWS,
    group=st.sampled_from([1, 3]),
    seed=st.integers(0, 100),
)
def test_appended_tokens_see_what_is_before_them(
    start: int, num_tokens: int, window: int | None, group: int, seed: int
) -> None:
    """Eager or as in a graph, with or without a window, grouped or not."""
    torch.manual_seed(seed)
    factory = AttentionFactory((None, window), group, torch.float32)
    cache = random_cache()
    slots = list(range(start, start + num_tokens))
    visible = visible_after(start, num_tokens, window)
    eager = factory.append(cache, start, num_tokens)
    attend_and_check(eager, cache, group, slots, visible)
    captured = factory.append_at(cache, torch.tensor(slots), _SLOTS)
    attend_and_check(captured, cache, group, slots, visible)


@settings(max_examples=60, deadline=None)
@given(
    num_shared=st.integers(0, 30),
    num_branches=st.integers(1, 8),
    step=st.integers(0, 3),
    window=_WINDOWS,
    group=st.sampled_from([1, 3]),
    as_tensors=st.booleans(),
)
def test_branches_see_nothing_of_each_other(
    num_shared: int,
    num_branches: int,
    step: int,
    window: int | None,
    group: int,
    as_tensors: bool,
) -> None:
    """A branch sees what all share and its own tokens."""
    torch.manual_seed(0)
    factory = AttentionFactory((None, window), group, torch.float32)
    cache = random_cache()
    first = num_shared + step * num_branches
    slots = list(range(first, first + num_branches))
    attend = factory.branch(
        cache,
        num_branches,
        torch.tensor(num_shared) if as_tensors else num_shared,
        torch.tensor(step) if as_tensors else step,
        _SLOTS if as_tensors else first + num_branches,
    )
    visible = visible_in_branches(num_shared, num_branches, step, window)
    attend_and_check(attend, cache, group, slots, visible)


def fake_flash_attn_with_kvcache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k: Tensor | None = None,
    v: Tensor | None = None,
    rotary_cos: Tensor | None = None,
    rotary_sin: Tensor | None = None,
    cache_seqlens: int | Tensor | None = None,
    cache_batch_idx: Tensor | None = None,
    cache_leftpad: Tensor | None = None,
    block_table: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    rotary_interleaved: bool = True,
    alibi_slopes: Tensor | None = None,
    num_splits: int = 0,
    return_softmax_lse: bool = False,
) -> Tensor:
    """Do what flash-attn's documentation says of the arguments that we give.

    Tensors are ``[batch, tokens, heads, channels]``; ``k`` and ``v`` are stored from
    slot ``cache_seqlens`` on; the mask is aligned to the bottom right.
    """
    assert isinstance(cache_seqlens, Tensor)
    assert cache_seqlens.dtype == torch.int32
    assert cache_seqlens.shape == (q.shape[0],)
    assert causal
    assert k is not None
    assert v is not None
    assert k_cache.stride(-1) == v_cache.stride(-1) == q.stride(-1) == 1
    batch, tokens, heads, channels = q.shape
    result = torch.zeros(batch, tokens, heads, channels)
    left, right = window_size
    assert (left, right) == (-1, -1) or right == 0
    for one in range(batch):
        start = int(cache_seqlens[one])
        k_cache[one, start : start + tokens] = k[one]
        v_cache[one, start : start + tokens] = v[one]
        length = start + tokens
        visible = [
            [
                slot
                for slot in range(length)
                if slot <= row + length - tokens
                and (left < 0 or slot >= row + length - tokens - left)
            ]
            for row in range(tokens)
        ]
        flat = reference(q[one], k_cache[one], v_cache[one], visible)
        result[one] = flat.view(tokens, heads, channels).float()
    return result


@pytest.mark.parametrize("window", [None, 1, 7])
@pytest.mark.parametrize(("start", "num_tokens"), [(0, 1), (0, 9), (20, 1), (20, 4)])
def test_flash_is_called_as_it_is_documented(
    start: int, num_tokens: int, window: int | None
) -> None:
    """A stand-in of the same signature and meaning gives what the reference gives."""
    torch.manual_seed(0)
    kernel: Any = fake_flash_attn_with_kvcache
    factory = AttentionFactory((None, window), 3, torch.float32, kernel)
    cache = random_cache()
    slots = list(range(start, start + num_tokens))
    visible = visible_after(start, num_tokens, window)
    eager = factory.append(cache, start, num_tokens)
    attend_and_check(eager, cache, 3, slots, visible)
    captured = factory.append_at(cache, torch.tensor(slots), _SLOTS)
    attend_and_check(captured, cache, 3, slots, visible)


def test_the_first_channels_of_a_head_turn() -> None:
    """Pair ``i`` of position ``p`` turns by ``p`` times its frequency."""
    frequencies = (1.0, 0.25)
    table = RotaryTable(frequencies, 100, torch.float32, torch.device("cpu"))
    heads = torch.randn(2, 3, 6)
    turned = heads.clone()
    rotate(turned, *table.rows(torch.tensor([0, 70])))
    assert torch.equal(turned[0], heads[0])
    assert torch.equal(turned[1, :, 4:], heads[1, :, 4:])
    for pair, frequency in enumerate(frequencies):
        before = torch.complex(heads[1, :, pair], heads[1, :, pair + 2])
        after = torch.complex(turned[1, :, pair], turned[1, :, pair + 2])
        angle = torch.tensor(70 * frequency)
        expected = before * torch.complex(angle.cos(), angle.sin())
        torch.testing.assert_close(after, expected)


@pytest.mark.gpu
@pytest.mark.parametrize("window", [None, 7])
@pytest.mark.parametrize(("start", "num_tokens"), [(0, 9), (20, 1), (20, 4)])
def test_flash_agrees_with_sdpa(
    start: int, num_tokens: int, window: int | None
) -> None:
    """The real kernels compute the same, on the GPU that has them."""
    kernel: Any = pytest.importorskip(
        "flash_attn.flash_attn_interface"
    ).flash_attn_with_kvcache
    torch.manual_seed(0)
    results = []
    shape = (_LAYER + 1, _SLOTS, _KV_HEADS, 80)
    keys, values = (torch.randn(shape).cuda().bfloat16() for _ in range(2))
    query = torch.randn(num_tokens, 3 * _KV_HEADS, 80).cuda().bfloat16()
    new = torch.randn(num_tokens, _KV_HEADS, 80).cuda().bfloat16()
    for one in (kernel, None):
        factory = AttentionFactory((None, window), 3, torch.bfloat16, one)
        cache = KvTensors(keys.clone(), values.clone())
        attend = factory.append(cache, start, num_tokens)
        results.append(attend(_LAYER, query, new, new).float())
    torch.testing.assert_close(results[0], results[1], rtol=2e-2, atol=2e-2)
