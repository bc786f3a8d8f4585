"""What a running engine tells of itself, and that none of it is anybody's text."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from conftest import Start, plain
from hypothesis import given
from hypothesis import strategies as st

from lsp_stablecode.commands import doctor
from lsp_stablecode.commands.doctor import examine
from lsp_stablecode.errors import SettingsError
from lsp_stablecode.metrics import LATENCY_BUCKETS_MS, Metrics, together
from lsp_stablecode.model_pool import ModelPool
from lsp_stablecode.prometheus import serve_metrics
from lsp_stablecode.settings import Settings, to_report
from model import Statistics

_TEXT = "def one(width):\n    value = compute(width)\n\ndef two(width):\n    va"
_URI = "file:///work/private-name.py"

_LATENCIES = st.lists(st.floats(0, 10_000), max_size=30)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lsp_stablecode", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


async def work(start: Start, *arguments: str) -> Any:
    """Ask for a suggestion in an editor, accept it, and return the editor."""
    editor = await start(*arguments)
    uri = editor.open(_TEXT, uri=_URI)
    (first, *_) = await editor.items(uri, 4, 6)
    await editor.command("accepted", *first.command.arguments)
    return editor


@given(st.lists(_LATENCIES, max_size=4))
def test_metrics_add_up(sessions: list[list[float]]) -> None:
    """Those of several sessions are those of one that had all their requests."""
    parts, one = [], Metrics()
    for latencies in sessions:
        part = Metrics()
        for latency_ms in latencies:
            for some in (part, one):
                some.note_answer("shown", latency_ms)
                some.note_generation(Statistics(10, 5, 3, prefill_ms=2, decode_ms=4))
        parts.append(part)
    whole = together(parts)
    assert sum(whole.latency_counts) == sum(map(len, sessions))
    assert whole.describe() == one.describe()
    assert whole.latency_counts == one.latency_counts


def test_rates_and_shares() -> None:
    metrics = Metrics()
    metrics.note_generation(Statistics(100, 75, 10, prefill_ms=50, decode_ms=200))
    for latency_ms in range(1, 101):
        metrics.note_answer("shown", latency_ms)
    metrics.note_answer("superseded", 9999)
    metrics.num_shown, metrics.num_accepted = 100, 25
    assert metrics.describe() == {
        "latencyMs": {"p50": 50, "p90": 90, "p99": 99},
        "tokensPerSecond": 50.0,
        "promptTokensPerSecond": 500.0,
        "reusedShare": 0.75,
        "acceptedShare": 0.25,
        "shown": 100,
    }
    # Each class holds its own upper end.
    assert metrics.latency_counts[LATENCY_BUCKETS_MS.index(5)] == 5


def test_nothing_is_said_of_nothing() -> None:
    told = Metrics().describe()
    assert set(told["latencyMs"].values()) == {None}
    assert told["tokensPerSecond"] is None


@pytest.mark.usefixtures("hubs")
async def test_status_tells_of_the_shared_engine(start: Start) -> None:
    ended = await asyncio.to_thread(run, "status")
    assert ended.returncode == 1
    assert "No shared engine" in ended.stdout
    await work(start, "--shared")
    await start("--shared")
    ended = await asyncio.to_thread(run, "status", "--json")
    (told,) = json.loads(ended.stdout)
    assert ended.returncode == 0
    (model,) = told["models"]
    assert model["state"] == "ready"
    assert model["sessions"] == 2
    assert model["engine"]["model"] == "echo"
    assert told["memoryBytes"] > 1e7
    assert [one["requests"] for one in told["sessions"]] == [1, 0]
    assert told["shown"] == 1
    assert told["acceptedShare"] == 1.0
    assert told["latencyMs"]["p50"] > 0
    table = (await asyncio.to_thread(run, "status")).stdout
    assert re.search(r"model +echo on cpu.*ready", table)
    assert re.search(r"editor +.*1 requests \(1 shown\)", table)


@pytest.mark.parametrize("arguments", [(), ("--shared",)])
@pytest.mark.usefixtures("hubs")
async def test_a_bug_report_holds_no_source(
    start: Start, arguments: tuple[str, ...]
) -> None:
    """No text, no names of files, no home folder; what was asked and came of it."""
    editor = await work(start, *arguments)
    reports = [json.dumps(plain(await editor.command("report")))]
    if arguments:
        ended = await asyncio.to_thread(run, "report", "--model", "echo")
        assert ended.returncode == 0, ended.stderr
        reports.append(ended.stdout)
    for text in reports:
        assert "compute(" not in text
        assert "private-name" not in text
        assert '"outcome": "shown"' in text
        assert '"language": "python"' in text
        assert "pygls" in text
    if arguments:
        assert os.path.expanduser("~") + "/" not in reports[1]


def test_a_report_is_written_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a report.json"
    ended = run("report", "--model", "echo", "-o", str(path))
    assert ended.returncode == 0, ended.stderr
    assert "Read it before" in ended.stdout
    told = json.loads(path.read_text("utf-8"))
    assert told["settings"]["model"] == "echo"
    assert told["versions"]["python"]
    ended = run("report", "--model", "echo", "-o", str(tmp_path / "no" / "folder"))
    assert ended.returncode == 1


def test_a_report_is_made_whatever_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is wanted then; what was found out before is in it."""

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a library in a state nobody thought of")

    for name in ("generate", "describe_environment"):
        monkeypatch.setattr(doctor, name, fail)
    findings = {one.subject: one for one in examine(Settings(model="echo"))}
    for subject in ("system", "model"):
        assert findings[subject].fatal
        assert "RuntimeError: a library" in findings[subject].text
    assert "engine" in findings
    assert "weights here" in findings


@pytest.mark.usefixtures("hubs")
async def test_a_report_loads_no_second_copy(start: Start) -> None:
    await work(start, "--shared")
    for model in ("echo", "no-such-model"):
        ended = await asyncio.to_thread(run, "report", "--model", model)
        assert ended.returncode == 0, ended.stderr
        report = json.loads(ended.stdout)
        is_left_alone = "not loaded again" in json.dumps(report["doctor"])
        assert is_left_alone == (model == "echo")
        assert report["engines"][0]["overview"]["models"]


@pytest.mark.usefixtures("hubs")
async def test_what_is_private_is_not_told(start: Start, tmp_path: Path) -> None:
    """A key in the wrong place is in no report and no status; a file's name may be."""
    secret = "/sk-not-for-your-eyes"
    told = {"apiKeyFile": secret, "endpoint": "http://127.0.0.1:9/hush/v1"}
    editor = await start("--shared", settings=told)
    status = json.dumps(plain(await editor.command("overview")))
    report = json.dumps(plain(await editor.command("report")))
    ended = await asyncio.to_thread(run, "report", "--api-key-file", secret)
    for text in (status, report, ended.stdout, ended.stderr):
        assert "sk-not" not in text
        assert "hush" not in text
    assert '"apiKeyFile": "set"' in report
    assert '"endpoint": "set"' in report
    key_file = tmp_path / "key"
    key_file.touch()
    assert to_report(Settings(api_key_file=str(key_file)))["apiKeyFile"] == str(
        key_file
    )
    assert to_report(Settings())["apiKeyFile"] == "auto"
    assert to_report(Settings())["endpoint"] == "auto"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _read(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("arguments", [(), ("--shared",)])
@pytest.mark.usefixtures("hubs")
async def test_prometheus_can_read_metrics(
    start: Start, arguments: tuple[str, ...]
) -> None:
    port = _free_port()
    await work(start, "--metrics", f"127.0.0.1:{port}", *arguments)
    text = await asyncio.to_thread(_read, port)
    assert 'lsp_stablecode_requests_total{outcome="shown"} 1.0' in text
    assert "lsp_stablecode_sessions 1.0" in text
    assert "lsp_stablecode_suggestions_accepted_total 1.0" in text
    assert 'lsp_stablecode_answer_seconds_bucket{le="+Inf"} 1.0' in text
    assert "private-name" not in text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_metrics_are_not_for_others(host: str) -> None:
    with pytest.raises(SettingsError):
        serve_metrics(ModelPool(), host, 0)


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=str(port)):
            serve_metrics(ModelPool(), "127.0.0.1", port)
