"""What is wrong with a server from the start, and what lesser ones can do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from completion_faults import breaks_off, refuses, streams, tells
from completion_server import CompletionServer, Handler, Speech
from remote import engine_for, options_for, request, text_of, write_prompt_files

from model import (
    Engine,
    EngineOptions,
    StablecodeError,
    UnknownModelError,
    load_engine,
)
from model.healing import plan_healing
from model.openai_served import ServedModel
from model.remote_errors import (
    EndpointError,
    NoSuchModelError,
    TokensDisagreeError,
    UnreachableError,
)
from model.stopping import stop_at_strings
from model.tokenizer import CodeTokenizer


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prompt_files(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def server() -> Iterator[CompletionServer]:
    with CompletionServer() as one:
        yield one


@pytest.fixture
def engine(server: CompletionServer, files: Path) -> Iterator[Engine]:
    with engine_for(server, files, remote_timeout_ms=5_000) as one:
        server.asked.clear()
        yield one


def test_a_model_that_the_server_has_not(server: CompletionServer, files: Path) -> None:
    with pytest.raises(NoSuchModelError, match="'other'") as caught:
        load_engine(options_for(server, files, remote_model="other"))
    assert "tiny" in caught.value.hint


def test_a_model_that_nobody_here_knows(server: CompletionServer, files: Path) -> None:
    """With ``auto`` the server's name for it, or where it lies there, must say it."""
    with pytest.raises(UnknownModelError, match="'tiny'") as caught:
        load_engine(options_for(server, files, model="auto"))
    assert "Set model" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "origin", "expected"),
    [
        ("stabilityai/stable-code-3b", "", "stable-code-3b"),
        ("team", "/models/stable-code-3b-awq", "stable-code-3b"),
        ("qwen2.5-coder-7b-q4_k_m.gguf", "", "qwen2.5-coder-7b"),
        ("team", "", None),
    ],
)
def test_models_are_known_by_name_or_origin(
    name: str, origin: str, expected: str | None
) -> None:
    entry = ServedModel(name, origin).entry
    assert (entry and entry.name) == expected


def test_a_server_that_is_not_there_and_a_model_that_it_would_say(
    files: Path,
) -> None:
    """Whoever starts the editor first, and the network after it, is served then."""
    with CompletionServer() as server:
        options = options_for(server, files, model="auto", remote_timeout_ms=500)
    with closing(load_engine(options)) as engine:
        assert engine.info.model == "auto"
        assert engine.count_tokens("def f(x): return x") > 2
        with pytest.raises(UnreachableError):
            engine.fill(request("x = "))


def test_a_model_with_other_tokens(server: CompletionServer, tmp_path: Path) -> None:
    """Ids that stand for other texts there are noticed before anybody sees them."""
    files = write_prompt_files(tmp_path / "other")
    path = files / "tokenizer.json"
    spec = json.loads(path.read_text("utf-8"))
    last = max(spec["model"]["vocab"].values())
    spec["model"]["vocab"] = {
        token: one if one < 4 else last + 4 - one
        for token, one in spec["model"]["vocab"].items()
    }
    path.write_text(json.dumps(spec), "utf-8")
    with pytest.raises(TokensDisagreeError):
        load_engine(options_for(server, files))


class _OtherTokens:
    """A tokenizer whose ids stand for what others stand for elsewhere."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def decode(self, token_ids: list[int], **options: Any) -> str:
        last = self._tokenizer.get_vocab_size() - 1
        others = [one if one < 4 else last + 4 - one for one in token_ids]
        return str(self._tokenizer.decode(others, **options))


@pytest.mark.parametrize("speech", ["vllm", "llama.cpp"])
def test_a_server_restarted_with_another_model(speech: Speech, files: Path) -> None:
    """Under the same name, and no request failed meanwhile; then it is undone."""
    with CompletionServer(speech) as server, engine_for(server, files) as engine:
        usual = server.brain.tokenizer
        server.brain.tokenizer = _OtherTokens(usual)
        for _ in range(2):
            with pytest.raises(TokensDisagreeError):
                engine.fill(request("def f(x):\n    return "))
        server.brain.tokenizer = usual
        assert engine.fill(request("def f(x):\n    return ")).candidates


def test_a_server_that_was_gone_is_asked_what_it_has(
    server: CompletionServer, files: Path
) -> None:
    with engine_for(server, files, remote_model="auto") as engine:
        server.faults.append(breaks_off)
        with pytest.raises(UnreachableError):
            engine.fill(request("x = "))
        server.model_name = "another name"
        assert engine.fill(request("x = ", max_new_tokens=1)).candidates
        assert engine.info.model == "another name"


@pytest.mark.parametrize("answered", [0, 1])
def test_a_failure_in_passing_is_no_lesser_server(
    answered: int, server: CompletionServer, files: Path
) -> None:
    """Nor is one that comes when it is asked for the tokens that may come."""
    server.faults.extend([Handler.answer] * answered)
    server.faults.append(refuses(500))
    with engine_for(server, files) as engine:
        notes = " ".join(engine.info.notes)
    assert "of 20 tokens, constrained where need be" in notes


def test_a_text_may_be_some_more_tokens_there(files: Path) -> None:
    with (
        CompletionServer("plain") as server,
        engine_for(server, files, context_tokens=256) as engine,
    ):
        sizes = []
        for length in range(220, 260):
            server.faults.append(tells("y"))
            engine.fill(request(" a" * length, max_new_tokens=16))
            sent = server.completions[-1].body["prompt"]
            sizes.append(len(server.brain.tokenizer.encode(sent).ids))
        assert max(sizes) == 256 - 16 - 8


def test_more_context_than_the_server_takes(
    server: CompletionServer, files: Path
) -> None:
    with pytest.raises(StablecodeError, match="takes 512"):
        load_engine(options_for(server, files, context_tokens=4096))


def test_more_new_tokens_than_fit(server: CompletionServer, engine: Engine) -> None:
    with pytest.raises(StablecodeError, match="no room for a prompt"):
        engine.fill(request("x = ", max_new_tokens=500))


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("http://user:hush@127.0.0.1/v1", "user or a password"),
        ("http://127.0.0.1/v1?key=hush", "end with its path"),
        ("ftp://127.0.0.1/hush", "no http or https URL"),
        ("127.0.0.1:8000", "no http or https URL"),
        ("http://", "no http or https URL"),
        ("http://[::1/hush", "no http or https URL"),
        ("http://127.0.0.1:hush/v1", "no http or https URL"),
    ],
)
def test_an_endpoint_that_is_none(endpoint: str, said: str) -> None:

    options = EngineOptions(backend="openai", endpoint=endpoint)
    with pytest.raises(EndpointError, match=said) as caught:
        load_engine(options)
    assert "hush" not in str(caught.value)


def test_a_server_without_probabilities(files: Path) -> None:
    """It is asked for texts alone, and what was typed is looked for in them."""
    with (
        CompletionServer("plain", tells_tops=False) as server,
        engine_for(server, files) as engine,
    ):
        assert "probabilities come of none" in " ".join(engine.info.notes)
        asked = request("def f(y):\n    retu", heal=True)
        tokenizer = CodeTokenizer.from_file(files / "tokenizer.json")
        healing = plan_healing(tokenizer, tokenizer.encode(asked.prefix))
        assert healing is not None
        server.faults.append(tells(healing.text + "rn y"))
        told = engine.fill(asked)
        assert (text_of(told), told.healed) == ("rn y", healing.text)
        server.faults.extend([tells("no"), tells("rn y")])
        told = engine.fill(asked)
        assert (text_of(told), told.healed) == ("rn y", "")
        assert "logprobs" not in server.completions[-1].body


def test_a_server_that_tells_fewer_probabilities(files: Path) -> None:
    with CompletionServer(most_top=5) as server, engine_for(server, files) as engine:
        engine.fill(request("x = re", heal=True))
        assert server.completions[-1].body["logprobs"] <= 5
        assert "of 5 tokens" in " ".join(engine.info.notes)


def test_stop_strings_may_span_events(server: CompletionServer, engine: Engine) -> None:
    server.faults.append(
        streams(*(json.dumps({"choices": [{"text": one}]}) for one in ("a;", ";", "b")))
    )
    asked = request("x = ", stop_rule=stop_at_strings([";;"]))
    assert text_of(engine.fill(asked)) == "a"
