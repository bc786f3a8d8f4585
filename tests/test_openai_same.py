"""A model behind a server says what it says here, in every way that servers speak."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from completion_server import CONTEXT_TOKENS, CompletionServer, Speech
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from remote import engine_for, request, write_prompt_files
from tiny import make_model

from model import Candidate, Engine, EngineInfo, FillRequest
from model.dialects import DIALECTS
from model.engine import LocalEngine
from model.fim import PromptBuilder
from model.tokenizer import CodeTokenizer
from model.transformers_backend import TransformersBackend

SPEECHES: tuple[Speech, ...] = ("vllm", "llama.cpp", "plain")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prompt_files(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def local(files: Path) -> LocalEngine:
    """Return the same model, computed here, a pass for every token."""
    tokenizer = CodeTokenizer.from_file(files / "tokenizer.json")
    prompts = PromptBuilder(tokenizer, DIALECTS["starcoder"], "psm")
    backend = TransformersBackend(
        make_model("stablelm"), attention="sdpa", chunk_tokens=1000
    )
    info = EngineInfo(
        "tiny", backend.name, "cpu", "float32", CONTEXT_TOKENS, prompts.orders, 0.0
    )
    return LocalEngine(backend, tokenizer, prompts, info, drafting=False)


@pytest.fixture(scope="module")
def remotes(files: Path) -> Iterator[dict[Speech, tuple[CompletionServer, Engine]]]:
    """Make an engine for each way to speak, all asking the same model."""
    with ExitStack() as stack:
        found: dict[Speech, tuple[CompletionServer, Engine]] = {}
        for speech in SPEECHES:
            server = stack.enter_context(CompletionServer(speech))
            engine = stack.enter_context(
                engine_for(server, files, context_tokens=CONTEXT_TOKENS)
            )
            found[speech] = (server, engine)
        yield found


def texts(candidates: tuple[Candidate, ...]) -> list[tuple[str, str, int]]:
    return [(one.text, one.finish_reason, one.num_tokens) for one in candidates]


def expected(local: LocalEngine, remote: Engine, asked: FillRequest) -> Any:
    """Return what both say; the remote one may have asked without healing."""
    there = remote.fill(asked)
    healed = asked.heal and bool(there.healed)
    here = local.fill(
        FillRequest(
            **{
                **{name: getattr(asked, name) for name in asked.__dataclass_fields__},
                "heal": healed,
            }
        )
    )
    return here, there


_SNIPPETS = st.lists(
    st.sampled_from(
        [
            "x",
            "def f(",
            "retu",
            ")",
            ":\n",
            "    ",
            " é",
            "\n",
            "# 😀 ",
            "a.b",
            "'",
            "imp",
        ]
    ),
    max_size=8,
).map("".join)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    prefix=_SNIPPETS,
    suffix=_SNIPPETS,
    order=st.sampled_from(["psm", "spm"]),
    num_candidates=st.sampled_from([1, 3]),
)
def test_vllm_says_the_same_token_for_token(
    prefix: str,
    suffix: str,
    order: Any,
    num_candidates: int,
    local: LocalEngine,
    remotes: dict[Speech, tuple[CompletionServer, Engine]],
) -> None:
    """Texts, ends, tokens and candidates, healed words and cut characters included."""
    _, remote = remotes["vllm"]
    asked = request(
        prefix, suffix, fim_order=order, heal=True, num_candidates=num_candidates
    )
    here, there = local.fill(asked), remote.fill(asked)
    assert there.healed == here.healed
    assert there.fim_order == here.fim_order
    assert texts(there.candidates) == texts(here.candidates)
    for mine, theirs in zip(here.candidates, there.candidates, strict=True):
        assert [one.text for one in theirs.tokens] == [one.text for one in mine.tokens]
        # The first ones are those of what is known to be probable.
        for ours, told in list(zip(mine.tokens, theirs.tokens, strict=True))[4:]:
            assert told.logprob == pytest.approx(ours.logprob, abs=1e-3)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(prefix=_SNIPPETS, suffix=_SNIPPETS, order=st.sampled_from(["psm", "spm"]))
def test_llama_cpp_says_the_same(
    prefix: str,
    suffix: str,
    order: Any,
    local: LocalEngine,
    remotes: dict[Speech, tuple[CompletionServer, Engine]],
) -> None:
    """It cannot be held to some tokens, but ids go there, and probable ones come."""
    _, remote = remotes["llama.cpp"]
    asked = request(prefix, suffix, fim_order=order, heal=True)
    here, there = expected(local, remote, asked)
    [mine], [theirs] = here.candidates, there.candidates
    assert theirs.text == mine.text


@pytest.mark.parametrize("speech", SPEECHES)
@pytest.mark.parametrize(("order", "heal"), [("psm", True), ("spm", False)])
@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [
        ("def area(w, h):\n    return ", "\n\nprint(area(2, 3))\n"),
        ("def area(w, h):\n    retu", "\n"),
        ("import os\nimport ", ""),
        ("x", "y"),
    ],
)
def test_every_speech_says_the_same(
    speech: Speech,
    order: Any,
    heal: bool,
    prefix: str,
    suffix: str,
    local: LocalEngine,
    remotes: dict[Speech, tuple[CompletionServer, Engine]],
) -> None:
    _, remote = remotes[speech]
    asked = request(prefix, suffix, fim_order=order, heal=heal)
    here, there = expected(local, remote, asked)
    [mine], [theirs] = here.candidates, there.candidates
    # Where only text is told, half a character at the end is none.
    assert theirs.text == mine.text
    if mine.finish_reason != "invalid-text":
        assert theirs.finish_reason == mine.finish_reason
