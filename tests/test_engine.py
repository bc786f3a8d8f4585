"""The engine: exact, cached, cancellable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import FAMILIES, make_model, make_tokenizer

from model import Cut, EngineInfo, FillRequest
from model.dialects import DIALECTS
from model.engine import LocalEngine
from model.errors import ContextTooLargeError
from model.fim import PromptBuilder
from model.stopping import stop_at_strings
from model.tokenizer import CodeTokenizer
from model.transformers_backend import TransformersBackend

_CONTEXT_TOKENS = 512


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    make_tokenizer().save(str(path))
    return CodeTokenizer.from_file(path)


def make_engine(
    tokenizer: CodeTokenizer,
    family: str = "stablelm",
    chunk_tokens: int = 16,
    model: Any = None,
) -> LocalEngine:
    backend = TransformersBackend(
        model or make_model(family), attention="sdpa", chunk_tokens=chunk_tokens
    )
    prompts = PromptBuilder(tokenizer, DIALECTS["starcoder"], "spm")
    info = EngineInfo(
        family, backend.name, "cpu", "float32", _CONTEXT_TOKENS, prompts.orders, 0.0
    )
    return LocalEngine(backend, tokenizer, prompts, info)


def request(prefix: str, suffix: str = "", **options: Any) -> FillRequest:
    options.setdefault("max_new_tokens", 12)
    return FillRequest(prefix, suffix, **options)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("order", ["psm", "spm"])
def test_greedy_text_equals_generate(
    family: str, order: Any, tokenizer: CodeTokenizer
) -> None:
    """The engine's greedy text is what transformers' own ``generate`` gives."""
    model = make_model(family)
    engine = make_engine(tokenizer, family, model=model)
    prefix, suffix = "def area(w, h):\n    return ", "\n\nprint(area(2, 3))\n"
    result = engine.fill(request(prefix, suffix, fim_order=order))
    prompts = PromptBuilder(tokenizer, DIALECTS["starcoder"], "spm")
    prompt = prompts.build(prefix, suffix, order=order, budget_tokens=400)
    output = model.generate(
        torch.tensor([prompt.token_ids]), max_new_tokens=12, do_sample=False
    )[0, len(prompt.token_ids) :].tolist()
    ended = [index for index, one in enumerate(output) if one in prompts.stop_ids]
    expected = output[: ended[0]] if ended else output
    text = tokenizer.decode(expected).split("\N{REPLACEMENT CHARACTER}")[0]
    assert result.candidates[0].text == text
    assert result.fim_order == order


_SNIPPETS = st.sampled_from(
    ["x", "def f(", ")", ":\n", "    ", "return é", "\n", "# 😀 ", "a.b", "'", "0"]
)
_EDITS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 8), _SNIPPETS, st.booleans()),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def two_engines(tokenizer: CodeTokenizer) -> tuple[LocalEngine, LocalEngine]:
    return make_engine(tokenizer), make_engine(tokenizer, chunk_tokens=1000)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(edits=_EDITS, order=st.sampled_from(["psm", "spm"]))
def test_cached_equals_uncached(
    edits: list[tuple[int, int, str, bool]],
    order: Any,
    two_engines: tuple[LocalEngine, LocalEngine],
) -> None:
    """Over random edits, reuse in small chunks gives what one cold pass gives."""
    cached, cold = two_engines
    prefix, suffix = "import os\n\ndef first(a, b):\n    c = a\n", "\n    return c\n"
    for position, removed, inserted, in_suffix in edits:
        text = suffix if in_suffix else prefix
        at = min(position, len(text))
        text = text[:at] + inserted + text[at + removed :]
        prefix, suffix = (prefix, text) if in_suffix else (text, suffix)
        warm = cached.fill(request(prefix, suffix, fim_order=order, max_new_tokens=6))
        cold.forget()
        plain = cold.fill(request(prefix, suffix, fim_order=order, max_new_tokens=6))
        assert plain.statistics.reused_tokens == 0
        assert [one.text for one in warm.candidates] == [
            one.text for one in plain.candidates
        ]
        assert warm.candidates[0].mean_logprob == pytest.approx(
            plain.candidates[0].mean_logprob, abs=1e-3
        )


def test_only_what_changed_is_computed(tokenizer: CodeTokenizer) -> None:
    """In SPM order a typed character costs its own tokens, not the prompt's."""
    engine = make_engine(tokenizer)
    prefix, suffix = "def f(a):\n    value = a\n" * 4 + "    re", "\n    return 1\n" * 4
    first = engine.fill(request(prefix, suffix)).statistics
    second = engine.fill(request(prefix + "t", suffix)).statistics
    assert first.reused_tokens == 0
    assert second.prompt_tokens - second.reused_tokens <= 3


class _CancelAfter:
    """A cancel flag that is set after it was read ``reads`` times."""

    def __init__(self, reads: int) -> None:
        self.left = reads

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("reads", [0, 1, 3, 6])
def test_cancel_is_seen_at_each_chunk_and_step(
    reads: int, tokenizer: CodeTokenizer
) -> None:
    """After the flag is set nothing more is computed, and what was stays valid."""
    engine = make_engine(tokenizer)
    prefix = "def f(a):\n    value = a\n" * 3
    result = engine.fill(request(prefix), _CancelAfter(reads))
    assert result.cancelled
    assert not result.candidates
    assert result.statistics.forwards == reads
    again = engine.fill(request(prefix))
    fresh = make_engine(tokenizer).fill(request(prefix))
    assert again.statistics.reused_tokens > 0 or reads == 0
    assert again.candidates[0].text == fresh.candidates[0].text


def test_candidates_are_distinct_and_the_first_is_greedy(
    tokenizer: CodeTokenizer,
) -> None:
    """Asked for three, the engine gives three that differ from the first token on."""
    engine = make_engine(tokenizer)
    greedy = engine.fill(request("def f(a):\n    "))
    three = engine.fill(request("def f(a):\n    ", num_candidates=3))
    texts = [one.text for one in three.candidates]
    assert len(set(texts)) == 3
    assert texts[0] == greedy.candidates[0].text


def test_a_stop_string_may_span_tokens(tokenizer: CodeTokenizer) -> None:
    """A stop string is found wherever token boundaries lie in it."""
    engine = make_engine(tokenizer)
    whole = engine.fill(request("x = ", max_new_tokens=24)).candidates[0].text
    for begin in range(1, len(whole) - 3, 3):
        stop = whole[begin : begin + 3]
        result = engine.fill(
            request("x = ", max_new_tokens=24, stop_rule=stop_at_strings([stop]))
        ).candidates[0]
        assert result.text == whole[: whole.find(stop)]
        assert result.finish_reason == f"stop-string:{stop}"


def test_generation_stops_with_the_token_that_decides(tokenizer: CodeTokenizer) -> None:
    """A stop rule ends decoding at once: no token is spent on text that is cut."""
    engine = make_engine(tokenizer)
    engine.drafting = False
    calls: list[str] = []

    def rule(text: str) -> Cut | None:
        calls.append(text)
        return Cut(1, "enough") if len(calls) == 3 else None

    result = engine.fill(request("x = ", max_new_tokens=24, stop_rule=rule))
    assert result.candidates[0].finish_reason == "enough"
    assert result.candidates[0].text == calls[-1][:1]
    assert len(calls) == 3
    steps = result.candidates[0].num_tokens
    assert result.statistics.generated_tokens == steps
    prefill = -(-result.statistics.prompt_tokens // 16)
    assert result.statistics.forwards == prefill + steps - 1


def test_streamed_text_is_the_result(tokenizer: CodeTokenizer) -> None:
    """``on_text`` gets the first candidate's characters, in order and whole."""
    engine = make_engine(tokenizer)
    pieces: list[str] = []
    result = engine.fill(request("s = 'é😀", num_candidates=2), on_text=pieces.append)
    assert "".join(pieces) == result.candidates[0].text
    assert all("\N{REPLACEMENT CHARACTER}" not in piece for piece in pieces)


def test_output_larger_than_the_context_is_refused(tokenizer: CodeTokenizer) -> None:
    """More output than context is an error that says what to change."""
    engine = make_engine(tokenizer)
    with pytest.raises(ContextTooLargeError, match="maxNewTokens"):
        engine.fill(request("x", max_new_tokens=_CONTEXT_TOKENS))


def test_long_documents_are_cut_to_the_context(tokenizer: CodeTokenizer) -> None:
    """However long prefix and suffix, prompt and output fit the context."""
    engine = make_engine(tokenizer)
    line = "value = compute(value, 3)\n"
    statistics = engine.fill(request(line * 300, line * 300)).statistics
    assert 300 < statistics.prompt_tokens <= _CONTEXT_TOKENS - 12


def test_sampling_is_repeatable(tokenizer: CodeTokenizer) -> None:
    """The same seed gives the same sample, another one another."""
    engine = make_engine(tokenizer)
    first = engine.fill(request("x = ", temperature=1.0, seed=1)).candidates[0].text
    again = engine.fill(request("x = ", temperature=1.0, seed=1)).candidates[0].text
    other = engine.fill(request("x = ", temperature=1.0, seed=2)).candidates[0].text
    assert first == again != other


@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
def test_the_gpu_agrees_with_the_cpu(family: str, tokenizer: CodeTokenizer) -> None:
    """The same prompt gives the same greedy text on a CUDA device, in fp32."""
    ask = request("def area(w, h):\n    return ", "\n\nprint(area(2, 3))\n")
    on_cpu = make_engine(tokenizer, family).fill(ask)
    model = make_model(family).to("cuda")
    on_gpu = make_engine(tokenizer, family, model=model).fill(ask)
    assert on_gpu.candidates[0].text == on_cpu.candidates[0].text


_FULL_SIZE = {
    "stablelm": {
        "vocab_size": 50304,
        "hidden_size": 2560,
        "intermediate_size": 6912,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 16384,
        "initializer_range": 0.02,
    },
    "gpt_neox": {
        "vocab_size": 49152,
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 4096,
        "initializer_range": 0.02,
    },
}
_PARAMETERS = {"stablelm": 2_795_443_200, "gpt_neox": 2_769_310_720}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family", sorted(_FULL_SIZE))
def test_stablecode_at_full_size(family: str, tokenizer: CodeTokenizer) -> None:
    """Both StableCode shapes run, in bfloat16, with random weights."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = make_model(family, **_FULL_SIZE[family])
    finally:
        torch.set_default_dtype(default)
    assert sum(one.numel() for one in model.parameters()) == _PARAMETERS[family]
    engine = make_engine(tokenizer, family, chunk_tokens=128, model=model)
    prefix = Path(__file__).read_text("utf-8")[:600]
    first = engine.fill(request(prefix, "\n    return 1\n", max_new_tokens=4))
    second = engine.fill(request(prefix + "\n", "\n    return 1\n", max_new_tokens=4))
    assert first.statistics.generated_tokens >= 1
    assert second.statistics.reused_tokens > 0.9 * first.statistics.prompt_tokens
