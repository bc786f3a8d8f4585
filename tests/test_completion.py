"""One request from text to outcome, with a small real engine."""

from __future__ import annotations

import pytest
from tiny import write_model

from lsp_stablecode.completion import generate
from lsp_stablecode.query import Query
from lsp_stablecode.settings import Settings
from model import Engine, EngineOptions, load_engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    directory = tmp_path_factory.mktemp("model")
    write_model(directory, "qwen2")
    return load_engine(
        EngineOptions(str(directory), "cpu", "float32", context_tokens=256)
    )


def test_more_output_than_context_is_cut_down(engine: Engine) -> None:
    """A ``maxNewTokens`` that leaves no room for a prompt is no reason for silence."""
    settings = Settings(max_new_tokens=1024, multi_line="always")
    query = Query("def f(x):\n", "\n", 0, "python", explicit=False)
    outcome = generate(engine, query, settings)
    assert outcome.statistics.prompt_tokens > 0
    assert outcome.statistics.generated_tokens <= 128


def test_the_token_limit_is_in_the_outcome(engine: Engine) -> None:
    """A text that the limit ended within its first line is not shown, and says why."""
    settings = Settings(max_new_tokens=6, multi_line="never")
    names = set()
    for name in ("alpha", "beta", "gamma", "delta", "epsilon"):
        query = Query(f"{name} = ", "\n", 0, "python", explicit=False)
        outcome = generate(engine, query, settings)
        if outcome.candidates[0].finish_reason == "length":
            names.add(outcome.name)
            assert "token-limit" in outcome.removed
    assert names
    assert names == {"empty:token-limit"}
