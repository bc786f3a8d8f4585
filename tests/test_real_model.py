"""The starter model behind the real server: the promises that need a real model."""

from __future__ import annotations

import ast
import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from conftest import Editor, plain, start_editor, stop_editor
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from test_cli import run

pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(300),
]

_NUMBERS = itertools.count()
_TEXT = '''\
import json


def load_users(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def save_users(path, users):
    """Write users to path as JSON."""
'''


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def editor() -> AsyncIterator[Editor]:
    """One server for all: loading takes longer than most of these tests."""
    editor = await start_editor(model="starter", settings={"debounceMs": 0})
    yield editor
    await stop_editor(editor)


@pytest.fixture
def uri() -> str:
    """Return a document of its own for each test."""
    return f"file:///work/{next(_NUMBERS)}.py"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_real_model_completes_a_real_file(editor: Editor, uri: str) -> None:
    """A body for a function: Python that parses, after the loading progress."""
    editor.open(_TEXT, uri)
    [item] = await editor.items(uri, 10, 0, invoked=False)
    body = item.insert_text
    assert "json" in body
    ast.parse(_TEXT + body + "\n")
    assert not body[-1].isspace()
    status = await editor.status()
    assert status["engine"]["model"] == "starter"
    assert status["engine"]["device"] == "cpu"
    stages = {
        report.message
        for reports in editor.client.progress_reports.values()
        for report in reports
        if isinstance(report, types.WorkDoneProgressReport)
    }
    assert "load weights" in stages


@pytest.mark.asyncio(loop_scope="module")
async def test_typing_computes_only_what_changed(editor: Editor, uri: str) -> None:
    """After the first prompt a key costs a few tokens, not the document."""
    text = _TEXT * 6
    editor.open(text, uri)
    line = text.count("\n")
    await editor.texts(uri, line, 0, invoked=False)
    editor.change(uri, "    assert u", (line, 0))
    await editor.texts(uri, line, 12, invoked=False)
    statistics = plain(await editor.command("explain", uri))["statistics"]
    assert statistics["prompt_tokens"] > 200
    assert statistics["prompt_tokens"] - statistics["reused_tokens"] <= 8


@pytest.mark.asyncio(loop_scope="module")
async def test_cancel_stops_the_real_engine(editor: Editor, uri: str) -> None:
    """Cancel to answer under 50 ms, and the engine idle within a step or chunk."""
    # Long enough to be cancelled while the prompt is computed.
    text = _TEXT * 40
    editor.open(text, uri)
    before = (await editor.status())["outcomes"].get("cancelled", 0)
    waits = []
    for attempt in range(3):
        editor.change(uri, f"# {attempt}\n", (0, 0))
        request = asyncio.ensure_future(
            editor.ask(uri, text.count("\n") + 1 + attempt, 0)
        )
        await asyncio.sleep(0.1 + 0.1 * attempt)
        [identifier] = list(editor.client.protocol._request_futures)
        started = time.perf_counter()
        editor.client.cancel_request(types.CancelParams(id=identifier))
        with pytest.raises(JsonRpcException):
            await request
        waits.append(time.perf_counter() - started)
    assert sorted(waits)[1] < 0.05
    assert (await editor.status())["outcomes"]["cancelled"] - before == 3


@pytest.mark.asyncio(loop_scope="module")
async def test_a_burst_runs_one_real_generation(editor: Editor, uri: str) -> None:
    """50 requests with edits between: 50 answers, one generation to its end."""
    editor.open(_TEXT, uri)
    before = await editor.status()
    requests = []
    for column, key in enumerate("    with open(path, 'w') as file:  # write the new"):
        editor.change(uri, key, (10, column))
        requests.append(
            asyncio.ensure_future(editor.ask(uri, 10, column + 1, invoked=False))
        )
    assert len(requests) == 50
    answers = await asyncio.wait_for(asyncio.gather(*requests), 60)
    assert all(not answer.items for answer in answers[:-1])
    after = await editor.status()
    assert after["requests"] - before["requests"] == 50
    generated = before["generations"]["completed"]
    assert after["generations"]["completed"] - generated == 1
    superseded = before["outcomes"].get("superseded", 0)
    assert after["outcomes"]["superseded"] - superseded == 49


@pytest.mark.asyncio(loop_scope="module")
async def test_control_tokens_in_a_file_stay_text(editor: Editor, uri: str) -> None:
    """A file that spells the model's control tokens neither breaks nor leaks them."""
    text = 'STOP = "<|fim_middle|><|endoftext|>"\nTOKENS = ["<|fim_prefix|>", '
    editor.open(text, uri)
    for suggestion in await editor.texts(uri, 1, len(text.splitlines()[1])):
        assert "<|endoftext" not in suggestion


def test_a_context_larger_than_the_models_is_refused() -> None:
    """The error names both numbers and the setting."""
    done = run("doctor", "--model", "starter", "--context-tokens", "100000", "--json")
    assert done.returncode == 1
    finding = json.loads(done.stdout)[-1]
    assert "100000" in finding["text"]
    assert "32768" in finding["text"]
    assert "contextTokens" in finding["advice"]


def test_complete_with_the_starter(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The command line, from file to suggestion, with figures."""
    path = tmp_path_factory.mktemp("with space é") / "users.py"
    path.write_text(_TEXT + "    with open(path, \n", "utf-8")
    done = run("complete", f"{path}:11:21", "--model", "starter", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["items"]
    assert answer["outcome"] == "shown"
    assert 1 <= len(answer["items"]) <= 3
    assert answer["tokens"]["generated"] > 0
