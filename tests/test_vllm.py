"""A real vLLM, on the processor, says what the engine here says of the same prompts."""

from __future__ import annotations

import inspect
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from editors.installing import NotInstallableError
from real_servers import vllm

from model import Cut, Engine, EngineOptions, FillRequest, load_engine
from model.engine import LocalEngine
from model.healing import HealingState, plan_healing
from model.openai_engine import OpenAIEngine
from model.openai_tokens import TokenReader
from model.weights import prepare

pytestmark = [
    pytest.mark.model,
    pytest.mark.slow,
    pytest.mark.server,
    # The installation, the starts, and a token at a time on two cores.
    pytest.mark.timeout(3600),
]

# What two ways to add up the same 32-bit numbers may differ by.
_TIE = 1e-3
_SOURCE = inspect.getsource(textwrap)
_NUM_TOKENS = 20


def _line(text: str) -> Cut | None:
    return Cut(text.index("\n"), "line") if "\n" in text else None


def _cut(at: int, **options: Any) -> FillRequest:
    """Return a request about a real file, cut at a character."""
    return FillRequest(
        _SOURCE[max(0, at - 700) : at],
        _SOURCE[at : at + 300],
        _NUM_TOKENS,
        heal=True,
        **options,
    )


REQUESTS = {
    **{f"cut at {at}": _cut(at) for at in range(1200, 7200, 600)},
    **{f"a line at {at}": _cut(at, stop_rule=_line) for at in range(1450, 4500, 600)},
    "prefix first": _cut(3001, fim_order="psm"),
    "not healed": FillRequest("def add(a, b):\n    retu", "\n", _NUM_TOKENS),
    "half a word": FillRequest("def add(a, b):\n    retu", "\n", 8, heal=True),
    "characters": FillRequest("s = 'é日本 😀 ' + '", "\n", _NUM_TOKENS, heal=True),
    "spelled like a control token": FillRequest(
        'END = "<|fim_middle|>"\nPAD = "', '"\n', _NUM_TOKENS, heal=True
    ),
    "three candidates": _cut(2222, num_candidates=3, stop_rule=_line),
    "three of few": FillRequest(
        "import os\n\ndef f(path):\n    with open(pat",
        "\n",
        12,
        heal=True,
        num_candidates=3,
    ),
}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        log = tmp_path_factory.mktemp("vllm") / "log"
        with vllm(prepare("starter").directory, log, "--dtype", "float32") as endpoint:
            yield endpoint
    except NotInstallableError as error:
        pytest.skip(f"vLLM: {error}")


@pytest.fixture(scope="module")
def remote(endpoint: str) -> Iterator[Engine]:
    engine = load_engine(
        EngineOptions(backend="openai", endpoint=endpoint, remote_timeout_ms=120_000)
    )
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def local() -> Iterator[LocalEngine]:
    engine = load_engine(
        EngineOptions(model="starter", dtype="float32", context_tokens=2048)
    )
    assert isinstance(engine, LocalEngine)
    yield engine
    engine.close()


def test_what_vllm_can_do_is_found_out(remote: Engine) -> None:
    """Its model is recognised by name; ids, probabilities and constraints are there."""
    assert remote.info.model == "starter"
    assert remote.info.context_tokens == 2048
    notes = " ".join(remote.info.notes)
    assert "token ids" in notes
    assert "of 20 tokens, constrained" in notes
    assert isinstance(remote, OpenAIEngine)
    assert remote.tokens_there(_SOURCE[:500]) == remote.tokens_here(_SOURCE[:500])


@pytest.mark.parametrize("name", REQUESTS)
def test_the_text_is_the_same(
    name: str,
    remote: Engine,
    local: LocalEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Greedy, token by token; where they part, the local scores are a tie."""
    chosen: list[int] = []
    read = TokenReader.read

    def spy(self: TokenReader, answer: Any) -> Any:
        event = read(self, answer)
        chosen.extend(one.token_id for one in event.tokens if one.token_id is not None)
        return event

    monkeypatch.setattr(TokenReader, "read", spy)
    asked = REQUESTS[name]
    there, here = remote.fill(asked), local.fill(asked)
    assert there.healed == here.healed
    if [one.text for one in there.candidates] == [one.text for one in here.candidates]:
        for ours, theirs in zip(here.candidates, there.candidates, strict=True):
            assert theirs.finish_reason == ours.finish_reason
            assert [one.text for one in theirs.tokens] == [
                one.text for one in ours.tokens
            ]
            if not here.healed:
                assert theirs.mean_logprob == pytest.approx(ours.mean_logprob, abs=0.01)
        return
    assert asked.num_candidates == 1, "candidates that differ are not looked into"
    gap = _largest_gap(local, asked, chosen)
    print(f"a tie in {name!r}: {gap:.6f}")
    assert gap <= _TIE


def _largest_gap(local: LocalEngine, asked: FillRequest, chosen: list[int]) -> float:
    """Return by how much a token that vLLM chose falls short of the best one here."""
    prompt = local._prompts.build(
        asked.prefix,
        asked.suffix,
        order=asked.fim_order,
        budget_tokens=2048 - asked.max_new_tokens,
        heal=asked.heal,
    )
    state: HealingState | None = prompt.healing.begin() if prompt.healing else None
    local.forget()
    gap = 0.0
    token_ids = list(prompt.token_ids)
    for token_id in chosen:
        row = local._sessions.forward(token_ids).row(0)
        token_ids = [token_id]
        scores = row if state is None or state.is_done else row[state.allowed()]
        gap = max(gap, float(scores.max() - row[token_id]))
        if state is not None:
            state.push(token_id)
    return gap


def test_a_cancelled_request_stops_vllm(endpoint: str, remote: Engine) -> None:
    """It runs nothing any more soon after the stream was closed."""
    flag = threading.Event()
    threading.Timer(1.5, flag.set).start()
    asked = FillRequest("def main():\n", "", 1024)
    result = remote.fill(asked, flag)
    assert result.cancelled
    by_s = time.monotonic() + 30
    metrics = endpoint.removesuffix("/v1") + "/metrics"
    while time.monotonic() < by_s:
        text = httpx2.get(metrics, trust_env=False).text
        running = [
            line.rpartition(" ")[2]
            for line in text.splitlines()
            if line.startswith("vllm:num_requests_running")
        ]
        if running and all(float(one) == 0 for one in running):
            return
        time.sleep(0.2)
    pytest.fail("vLLM still computes what nobody waits for")


def test_the_prompt_that_grows_is_in_vllms_cache(endpoint: str, remote: Engine) -> None:
    """What was typed before is not computed again: the suffix comes first."""

    def hits() -> float:
        text = httpx2.get(
            endpoint.removesuffix("/v1") + "/metrics", trust_env=False
        ).text
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith("vllm:prefix_cache_hits_total")
        )

    asked = _cut(5000)
    remote.fill(asked)
    before = hits()
    typed = FillRequest(
        asked.prefix + _SOURCE[5000:5012],
        asked.suffix,
        4,
        heal=True,
    )
    statistics = remote.fill(typed).statistics
    # Only whole blocks of tokens are kept.
    assert hits() - before >= 0.5 * statistics.prompt_tokens


def test_healing_takes_the_same_tokens_back(local: LocalEngine) -> None:
    """The checks above are about something: most of these requests are healed."""
    tokenizer = local._tokenizer
    healed = [
        plan_healing(tokenizer, tokenizer.encode(one.prefix))
        for one in REQUESTS.values()
    ]
    assert sum(one is not None for one in healed) > len(healed) // 2
