"""Whatever a completion server does, a request ends soon, in a sentence or in text."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from completion_faults import (
    KEY,
    breaks_off,
    cuts_characters,
    ends_early,
    hangs_up,
    is_silent,
    never_ends_a_line,
    only_pings,
    refuses,
    sends,
    stalls,
    streams,
    tells,
)
from completion_server import CompletionServer, Fault, Handler
from remote import engine_for, options_for, request, text_of, write_prompt_files

from model import Engine, load_engine, openai_client
from model.remote_errors import (
    ApiKeyError,
    BadAnswerError,
    NoSuchModelError,
    RateLimitedError,
    RemoteError,
    ServerFailedError,
    TooSlowError,
    UnauthorisedError,
    UnreachableError,
)


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


def _tells_id(token_id: int) -> Fault:
    told = {"tokens": [f"token_id:{token_id}"], "token_logprobs": [-1]}
    choice = {"text": "x", "logprobs": told, "finish_reason": "stop"}
    return streams(json.dumps({"choices": [choice]}))


FAULTS: dict[str, tuple[Fault, type[RemoteError]]] = {
    "401": (refuses(401), UnauthorisedError),
    "403": (refuses(403), UnauthorisedError),
    "404": (refuses(404), NoSuchModelError),
    "400": (refuses(400), BadAnswerError),
    "422": (refuses(422), BadAnswerError),
    "a redirection": (refuses(307, Location="http://127.0.0.1:1/v1"), BadAnswerError),
    "no JSON": (streams("<html>"), BadAnswerError),
    "a list": (streams("[]"), BadAnswerError),
    "no choices": (streams('{"id": 1}'), BadAnswerError),
    "no text": (streams('{"choices": [{"text": 3}]}'), BadAnswerError),
    "many choices": (streams('{"choices": [{}, {}]}'), BadAnswerError),
    "a number that is none": (
        streams(
            '{"choices": [{"text": "x", "logprobs": {"tokens": ["x"], '
            '"token_logprobs": [NaN], "top_logprobs": [null]}}]}'
        ),
        BadAnswerError,
    ),
    "lists that differ": (
        streams(
            '{"choices": [{"text": "x", "logprobs": {"tokens": ["x"], '
            '"token_logprobs": [0, 0], "top_logprobs": [null]}}]}'
        ),
        BadAnswerError,
    ),
    "deep JSON": (streams('{"a":' * 100_000), BadAnswerError),
    "another type": (sends(b"{}"), BadAnswerError),
    "a page": (sends(b"<html>welcome</html>", "text/html"), BadAnswerError),
    "an endless line": (never_ends_a_line, BadAnswerError),
    "an error in the stream": (
        streams('{"error": {"message": "out of memory"}}'),
        ServerFailedError,
    ),
    "cut off": (breaks_off, UnreachableError),
    "an early end": (ends_early, UnreachableError),
    "nothing but an end": (streams("[DONE]"), UnreachableError),
    "no choices and an end": (streams('{"choices": []}', "[DONE]"), UnreachableError),
    "no id of ours": (_tells_id(99_999), BadAnswerError),
    "an id below zero": (_tells_id(-1), BadAnswerError),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_a_name_and_the_next_request_is_answered(
    name: str, server: CompletionServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked once where asking again is of no use; then all is well again."""
    monkeypatch.setattr(openai_client, "_RETRY_FOR_S", 0.0)
    fault, expected = FAULTS[name]
    server.faults.append(fault)
    with pytest.raises(expected) as caught:
        engine.fill(request("x = "))
    assert type(caught.value) is expected
    assert caught.value.hint
    assert "127.0.0.1" in caught.value.message or expected is BadAnswerError
    assert KEY not in str(caught.value)
    assert any("at last: " in note for note in engine.info.notes)
    assert engine.fill(request("x = ", max_new_tokens=1)).candidates
    assert not any("at last: " in note for note in engine.info.notes)


def test_a_server_that_is_not_there(files: Path) -> None:
    """The engine is made all the same, and serves as soon as the server does."""
    with CompletionServer() as gone:
        options = options_for(gone, files, remote_timeout_ms=1_000)
    with closing(load_engine(options)) as engine:
        assert engine.count_tokens("def f(x):") > 2
        assert engine.info.context_tokens == 512
        started_s = time.monotonic()
        with pytest.raises(UnreachableError, match="no connection"):
            engine.fill(request("x = "))
        assert time.monotonic() - started_s < 10
        with CompletionServer(port=gone.port) as server:
            assert len(engine.fill(request("x = ")).candidates) == 1
            assert engine.info.model == server.model_name


def test_a_server_that_comes_later_is_found(files: Path) -> None:
    with CompletionServer() as server:
        server.faults.extend([refuses(503)] * 50)
        with engine_for(server, files, remote_timeout_ms=1_000) as engine:
            assert any("at last: " in note for note in engine.info.notes)
            with pytest.raises(ServerFailedError):
                engine.fill(request("x = "))
            server.faults.clear()
            assert len(engine.fill(request("x = ")).candidates) == 1
            assert engine.info.model == server.model_name


def test_failures_in_passing_are_not_noticed(
    server: CompletionServer, engine: Engine
) -> None:
    """A 500, a 503 and a connection that is dropped at once: asked again, in order."""
    server.faults.extend([refuses(500), refuses(503), hangs_up, tells("y")])
    assert text_of(engine.fill(request("x = "))) == "y"
    assert len(server.completions) == 4


def test_it_waits_as_long_as_the_server_says(
    server: CompletionServer, engine: Engine
) -> None:
    server.faults.extend([refuses(429, Retry_After="1"), tells("y")])
    started_s = time.monotonic()
    assert text_of(engine.fill(request("x = "))) == "y"
    assert time.monotonic() - started_s >= 1


def test_a_server_that_wants_to_be_left_alone_is(
    server: CompletionServer, engine: Engine
) -> None:
    """A wait that is longer than a suggestion is worth ends the request at once."""
    server.faults.append(refuses(429, Retry_After="120"))
    for _ in range(5):
        started_s = time.monotonic()
        with pytest.raises(RateLimitedError):
            engine.fill(request("x = "))
        assert time.monotonic() - started_s < 2
    assert len(server.completions) == 1


@pytest.mark.parametrize("wanted", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_nobody_is_left_alone_for_ever(
    wanted: str, server: CompletionServer, engine: Engine
) -> None:
    server.faults.append(refuses(429, Retry_After=wanted))
    with pytest.raises(RateLimitedError) as caught:
        engine.fill(request("x = "))
    assert 0 < caught.value.pause_s <= 300


@pytest.mark.parametrize(
    "date",
    [
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "Wed, 21 Oct 2015 07:28:00 +9999999999999999",
        "soon",
        "-5",
        "1e999",
        "",
    ],
)
def test_a_retry_after_that_says_nothing(
    date: str, server: CompletionServer, engine: Engine
) -> None:
    server.faults.extend([refuses(429, Retry_After=date), tells("y")])
    assert text_of(engine.fill(request("x = "))) == "y"


def test_nothing_is_asked_again_after_the_first_text(
    server: CompletionServer, engine: Engine
) -> None:
    server.faults.append(breaks_off)
    with pytest.raises(UnreachableError):
        engine.fill(request("x = "))
    assert len(server.completions) == 1


@pytest.mark.parametrize("fault", [is_silent, only_pings])
def test_the_first_token_has_its_time(
    fault: Fault, server: CompletionServer, files: Path
) -> None:
    with engine_for(server, files, remote_timeout_ms=700) as engine:
        server.faults.append(fault)
        started_s = time.monotonic()
        with pytest.raises(TooSlowError):
            engine.fill(request("x = "))
        assert 0.5 < time.monotonic() - started_s < 5
        assert server.completions[-1].hung_up.wait(10)


def test_every_token_has_its_time(server: CompletionServer, files: Path) -> None:
    with engine_for(server, files, remote_timeout_ms=500) as engine:
        server.faults.append(stalls)
        with pytest.raises(TooSlowError):
            engine.fill(request("x = "))
        assert server.completions[-1].hung_up.wait(10)


def test_a_text_that_never_ends_is_ended(
    server: CompletionServer, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token after token in time, but not for ever."""
    monkeypatch.setattr(openai_client, "_MOST_WAITS", 1)

    def drips(handler: Handler) -> None:
        handler.begin_stream()
        while not handler.asked.hung_up.is_set():
            handler.send_text("")
            time.sleep(0.05)

    with engine_for(server, files, remote_timeout_ms=500) as engine:
        server.faults.append(drips)
        with pytest.raises(TooSlowError):
            engine.fill(request("x = "))


def test_characters_may_be_cut_anywhere(
    server: CompletionServer, engine: Engine
) -> None:
    server.faults.append(cuts_characters)
    assert text_of(engine.fill(request("x = "))) == "é日😀"


def test_a_stream_is_utf_8_whatever_it_says(
    server: CompletionServer, engine: Engine
) -> None:
    event = json.dumps({"choices": [{"text": "é", "finish_reason": "stop"}]})
    for charset in ("hex", "utf-16", "latin-1", "none"):
        kind = f"text/event-stream; charset={charset}"
        server.faults.append(streams(event.replace("\\u00e9", "é"), kind=kind))
        assert text_of(engine.fill(request("x = "))) == "é"


def test_a_text_in_one_piece_is_bounded(
    server: CompletionServer, engine: Engine
) -> None:
    """Where a server tells no tokens, their number bounds nothing."""
    server.faults.append(tells("ab " * 300_000))
    [candidate] = engine.fill(request("x = ", max_new_tokens=12)).candidates
    assert candidate.text.startswith("ab ab")
    assert len(candidate.text) <= 12 * 16
    assert candidate.finish_reason == "length"


def test_a_wild_id_among_the_probable_ones_is_left_out(
    server: CompletionServer, engine: Engine
) -> None:
    """Models have more scores than tokens; none of them begins a candidate."""
    a, b = (server.tokens_of(one)[0] for one in "ab")
    top = {f"token_id:{one}": -one / 1e6 for one in (a, 99_999, -1, b)}
    told = {"tokens": [f"token_id:{a}"], "token_logprobs": [0], "top_logprobs": [top]}
    choice = {"text": "a", "logprobs": told, "finish_reason": "stop"}
    server.faults.append(streams(json.dumps({"choices": [choice]})))
    result = engine.fill(request("x = ", num_candidates=4))
    assert [one.text[:1] for one in result.candidates] == ["a", "b"]


def test_a_refused_request_says_little_of_the_server(
    server: CompletionServer, engine: Engine
) -> None:
    """It is not asked anew what it is each time that it refuses one."""
    for status in (400, 413, 422, 400, 413, 422):
        server.faults.append(refuses(status))
        with pytest.raises(BadAnswerError):
            engine.fill(request("x = "))
        assert engine.fill(request("x = ", max_new_tokens=1)).candidates
    assert len([one for one in server.asked if one.path.endswith("/models")]) == 1


def test_a_key_that_is_changed_is_read_again(
    server: CompletionServer, files: Path, tmp_path: Path
) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("one")
    server.key = "one"
    with engine_for(server, files, api_key_file=str(key_file)) as engine:
        engine.fill(request("x = ", max_new_tokens=1))
        server.key = "two"
        server.asked.clear()
        with pytest.raises(UnauthorisedError):
            engine.fill(request("x = "))
        assert len(server.asked) == 1
        key_file.write_text("two")
        assert engine.fill(request("x = ", max_new_tokens=1)).candidates
        key_file.unlink()
        server.key = "three"
        with pytest.raises(ApiKeyError):
            engine.fill(request("x = "))
