"""Copilot's dialect over the wire, as its clients speak it, with the echo engine."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from test_look_ahead import SilentClient
from test_protocol import Wire

from lsp_stablecode import __version__
from lsp_stablecode.session import Session
from lsp_stablecode.settings import Settings

_TEXT = "def area(width, height):\n    return width * height\n\n\ndef area"
_PLACE = {"line": 4, "character": 8}
_SUGGESTION = "(width, height):"
_URI = "file:///a.py"
_INTRODUCTION = {
    "editorInfo": {"name": "ed", "version": "1.19"},
    "editorPluginInfo": {"name": "Copilot for ed", "version": "1.0"},
}
_OURS = {
    "editorInfo": {"name": "ed", "version": "1.19"},
    "editorPluginInfo": {"name": "lsp-stablecode.ed", "version": "1.0"},
}


class Client(Wire):
    """A client of Copilot's server, as far as the messages go."""

    _numbers = itertools.count()
    answer: Any = None

    @property
    def statuses(self) -> list[dict[str, Any]]:
        return self.heard("didChangeStatus")

    @property
    def messages(self) -> list[str]:
        return [one["message"] for one in self.heard("window/showMessage")]

    def heard(self, method: str) -> list[dict[str, Any]]:
        return [
            one["params"] for one in self.notifications if one.get("method") == method
        ]

    async def request(self, method: str, params: Any) -> Any:
        answer = await self.ask(f"request-{next(self._numbers)}", method, params)
        assert "error" not in answer, answer
        return answer["result"]

    async def command(self, name: str, *arguments: Any) -> Any:
        params = {"command": f"lsp-stablecode.{name}", "arguments": arguments}
        return await self.request("workspace/executeCommand", params)

    def notify(self, method: str, **params: Any) -> None:
        self.send(method=method, params=params)

    def configure(self, **settings: Any) -> None:
        self.notify("workspace/didChangeConfiguration", settings=settings)

    async def items(self, **params: Any) -> list[dict[str, Any]]:
        result = await self.request(
            "textDocument/inlineCompletion",
            {
                "textDocument": {"uri": _URI, "version": 1},
                "position": _PLACE,
                "context": {"triggerKind": 2},
                **params,
            },
        )
        items: list[dict[str, Any]] = result["items"]
        return items

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.02)

    async def until_status(self, **wanted: Any) -> dict[str, Any]:
        def is_there() -> bool:
            last = self.statuses[-1] if self.statuses else {}
            return all(last.get(key) == value for key, value in wanted.items())

        try:
            await self.until(is_there)
        except TimeoutError:
            raise AssertionError(self.statuses) from None
        return self.statuses[-1]


Connect = Callable[..., Awaitable[Client]]


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Connect]:
    """Start servers and introduce oneself, as such clients do."""
    clients: list[Client] = []

    async def start(
        *arguments: str,
        model: str = "echo",
        introduction: dict[str, Any] | None = _INTRODUCTION,
        capabilities: dict[str, Any] | None = None,
        initialized: dict[str, Any] | None = None,
        ready: bool = True,
    ) -> Client:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "lsp_stablecode", "--stdio", "--model", model],
            *arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        client = Client(process)
        clients.append(client)
        client.answer = await client.request(
            "initialize",
            {
                "processId": None,
                "capabilities": capabilities or {},
                "initializationOptions": introduction,
            },
        )
        client.send(method="initialized", params=initialized)
        if ready:
            await client.ready()
        return client

    yield start
    for client in clients:
        if client.process.returncode is None:
            client.process.kill()
            await client.process.wait()
        client._reader.cancel()
        assert client.process.stdin is not None
        client.process.stdin.close()


# Status ----------------------------------------------------------------------------


async def test_status_from_loading_to_ready(connect: Connect) -> None:
    """Not there yet and busy, then normal; each state is told once."""
    client = await connect()
    last = await client.until_status(kind="Normal")
    assert last == {"kind": "Normal", "busy": False, "message": "echo on cpu"}
    loading = client.statuses[:-1]
    assert {"kind": "Inactive", "busy": True, "message": "Loading the model"} in loading
    assert {one["kind"] for one in loading} == {"Inactive"}
    pairs = itertools.pairwise(client.statuses)
    assert all(one != other for one, other in pairs)


@pytest.mark.parametrize("options", [None, {}, {"maxNewTokens": 64}])
async def test_nobody_else_is_told_the_status(
    options: dict[str, Any] | None, connect: Connect
) -> None:
    """Some editors warn their users of a notification that they do not know."""
    client = await connect(introduction=options)
    client.open(_TEXT)
    assert await client.items()
    await client.command("toggle")
    await client.command("status")
    assert not client.statuses


async def test_who_introduces_himself_later_is_told_then(connect: Connect) -> None:
    client = await connect(introduction=None)
    assert await client.request("setEditorInfo", _INTRODUCTION) == "OK"
    await client.until_status(kind="Normal", message="echo on cpu")
    assert len(client.statuses) == 1


async def test_status_says_why_there_are_no_suggestions(connect: Connect) -> None:
    """Switched off, paused, off for the language or the file: told at once."""
    client = await connect()
    client.open(_TEXT)
    client.open("x = 1\n", uri="file:///work/.env")
    client.notify("textDocument/didFocus", textDocument={"uri": _URI})
    await client.until_status(kind="Normal")
    await client.command("toggle")
    await client.until_status(kind="Inactive", message="Suggestions are switched off.")
    await client.command("toggle")
    await client.until_status(kind="Normal")
    await client.command("snooze", 5)
    paused = await client.until_status(kind="Inactive")
    assert paused["message"].startswith("Suggestions are paused until ")
    await client.command("snooze", 0)
    await client.until_status(kind="Normal")
    await client.command("snooze", 0.01)
    await client.until_status(kind="Inactive")
    await client.until_status(kind="Normal")
    await client.command("toggle", "python")
    await client.until_status(
        kind="Inactive", message="Suggestions are switched off for this language."
    )
    await client.command("toggle", "python")
    await client.until_status(kind="Normal")
    client.notify("textDocument/didFocus", textDocument={"uri": "file:///work/.env"})
    secret = await client.until_status(kind="Inactive")
    assert "secret" in secret["message"]
    client.notify("textDocument/didClose", textDocument={"uri": "file:///work/.env"})
    await client.until_status(kind="Normal")
    client.notify("textDocument/didFocus")  # no document at all
    await client.command("status")
    assert client.statuses[-1]["kind"] == "Normal"


async def test_busy_is_told_only_where_it_can_be_seen(connect: Connect) -> None:
    """A request of some time is told to begin and to end; a short one is not."""
    client = await connect(model="echo:60")
    client.open(_TEXT)
    await client.until_status(kind="Normal")
    num_told = len(client.statuses)
    assert await client.items()
    await client.until_status(kind="Normal", busy=False)
    told = [one["busy"] for one in client.statuses[num_told:]]
    assert told in ([True, False], [True])
    await client.until(lambda: client.statuses[-1]["busy"] is False)
    num_told = len(client.statuses)
    for _ in range(5):
        assert await client.items()  # from memory
    await asyncio.sleep(0.5)  # longer than it would take to be told
    await client.command("status")
    assert len(client.statuses) == num_told


async def test_a_model_that_cannot_be_loaded_is_an_error(connect: Connect) -> None:
    client = await connect(model="/no/such/model", ready=False)
    failed = await client.until_status(kind="Error")
    assert "/no/such/model" in failed["message"]
    assert not failed["busy"]


async def test_older_clients_hear_the_older_status(connect: Connect) -> None:
    """Who asks as it did before inline completion is told as it was told before."""
    client = await connect()
    client.open(_TEXT)
    assert not client.heard("statusNotification")
    await client.request("getCompletions", {"doc": {"uri": _URI, "position": _PLACE}})
    told = {"status": "Normal", "message": "echo on cpu"}
    await client.until(lambda: client.heard("statusNotification")[-1:] == [told])


# Who speaks ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("introduction", "encoding", "has_menu"),
    [(_INTRODUCTION, "utf-16", False), (_OURS, "utf-8", True), (None, "utf-8", True)],
)
async def test_clients_made_for_copilots_server(
    introduction: Any, encoding: str, has_menu: bool, connect: Connect
) -> None:
    """They count in UTF-16 and draw ghost text, whatever their editor announces."""
    general = {"positionEncodings": ["utf-8", "utf-16"]}
    client = await connect(
        introduction=introduction, capabilities={"general": general}, ready=False
    )
    capabilities = client.answer["capabilities"]
    assert capabilities["positionEncoding"] == encoding
    assert ("completionProvider" in capabilities) == has_menu
    assert capabilities["inlineCompletionProvider"] == {}


@pytest.mark.parametrize("initialized", [None, {}])
async def test_lisps_empty_object(
    initialized: dict[str, Any] | None, connect: Connect
) -> None:
    """``initialized`` with null: the model is loaded all the same."""
    client = await connect(initialized=initialized)
    await client.until_status(kind="Normal")


@pytest.mark.parametrize(
    "settings",
    [
        {"telemetry": {"telemetryLevel": "all"}},
        {"http": {"proxy": None}, "github-enterprise": {"uri": None}},
        {"nextEditSuggestions": {"enabled": True}},
        {
            "github": {"copilot": {"selectedCompletionModel": ""}},
            "enableAutoCompletions": False,
            "disabledLanguages": [{"languageId": "python"}],
        },
    ],
)
async def test_settings_of_copilots_server_are_left_alone(
    settings: dict[str, Any], connect: Connect
) -> None:
    """Neither reported nor taken for ours; what stands under our section counts."""
    options = {**_INTRODUCTION, "copilotIntegrationId": "x", "networkProxy": {}}
    client = await connect(introduction=options)
    client.open(_TEXT)
    client.configure(**settings)
    assert await client.items()
    client.configure(**settings, **{"lsp-stablecode": {"enable": False}})
    assert not await client.items(context={"triggerKind": 1})
    assert client.messages == []


async def test_other_clients_typos_are_still_reported(connect: Connect) -> None:
    """The names are passed over only where Copilot's clients put them."""
    client = await connect(introduction={"telemetry": {}}, ready=False)
    await client.until(lambda: client.messages)
    assert client.messages == ["There is no setting `telemetry`; it is ignored."]
    ours = await connect(introduction={**_OURS, "maxNewToken": 3}, ready=False)
    await ours.until(lambda: ours.messages)
    assert "`maxNewTokens`" in ours.messages[0]
    assert len(ours.messages) == 1


async def test_a_model_chosen_in_the_clients_menu_is_loaded(connect: Connect) -> None:
    """One that is known by name here; another one was chosen for Copilot's server."""
    client = await connect()
    models = await client.request("copilot/models", {})
    assert models[0]["id"] == "auto"
    assert all(one["scopes"] == ["completion"] for one in models)
    client.open(_TEXT)
    client.configure(github={"copilot": {"selectedCompletionModel": "gpt-41-copilot"}})
    assert await client.items()
    client.configure(
        github={"copilot": {"selectedCompletionModel": "stable-code-3b"}},
    )
    await client.until(lambda: client.statuses[-1]["kind"] in ("Error", "Inactive"))


async def test_every_command_is_documented(connect: Connect) -> None:
    """For authors of clients: what is offered stands in docs/editors/commands.md."""
    client = await connect(ready=False)
    offered = client.answer["capabilities"]["executeCommandProvider"]["commands"]
    page = Path(__file__).parents[1] / "docs/editors/commands.md"
    documented = set(re.findall(r"^\| `(lsp-stablecode\.\w+)`", page.read_text(), re.M))
    assert set(offered) == documented


# What became of suggestions --------------------------------------------------------


def _accepted(trace: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, trace.read_text("utf-8").splitlines())
    return [one for one in lines if one["event"] == "accepted"]


async def test_partial_acceptances_of_one_item_count_once(
    connect: Connect, tmp_path: Path
) -> None:
    """Word by word, each from the start of the text; then the rest of it."""
    trace = tmp_path / "trace"
    client = await connect("--trace", str(trace))
    client.open(_TEXT)
    [item] = await client.items()
    assert item["insertText"] == _SUGGESTION
    client.notify("textDocument/didShowCompletion", item=item)
    client.notify("textDocument/didShowCompletion", item=item)
    for length in (6, 8):
        client.notify(
            "textDocument/didPartiallyAcceptCompletion",
            item={"command": item["command"]},
            acceptedLength=length,
        )
    # The client shows the rest by asking again, and gets an item with another name.
    client.notify(
        "textDocument/didChange",
        textDocument={"uri": _URI, "version": 2},
        contentChanges=[
            {"range": {"start": _PLACE, "end": _PLACE}, "text": _SUGGESTION[:8]}
        ],
    )
    [rest] = await client.items(position={"line": 4, "character": 16})
    assert rest["insertText"] == _SUGGESTION[8:]
    client.notify(
        "textDocument/didPartiallyAcceptCompletion",
        item=rest,
        acceptedLength=len(rest["insertText"]),
    )
    await client.request("workspace/executeCommand", rest["command"])
    assert (await client.command("status"))["accepted"] == 1
    assert [one["characters"] for one in _accepted(trace)] == [6, 8, None, None]
    shown = [json.loads(one) for one in trace.read_text("utf-8").splitlines()]
    assert len([one for one in shown if one["event"] == "shown"]) == 1


async def test_accepted_lengths_are_utf16(connect: Connect, tmp_path: Path) -> None:
    """As the README of Copilot's server has it; a trace counts characters."""
    trace = tmp_path / "trace"
    client = await connect("--trace", str(trace))
    client.open('flag = "🏁🏁 done"\nprint("x")\nflag')
    [item] = await client.items(position={"line": 2, "character": 4})
    assert item["insertText"] == ' = "🏁🏁 done"'
    for length in (6, 8, 9, 99, -1):
        client.notify(
            "textDocument/didPartiallyAcceptCompletion",
            item=item,
            acceptedLength=length,
        )
    await client.command("status")
    characters = [one["characters"] for one in _accepted(trace)]
    assert characters == [5, 6, 7, None, 0]


async def test_what_nobody_offered_is_not_accepted(connect: Connect) -> None:
    """Whatever comes instead of an item, nothing is counted and nothing breaks."""
    client = await connect()
    for item in ({}, None, 7, {"command": {"arguments": []}}, {"command": None}):
        client.notify("textDocument/didShowCompletion", item=item)
        client.notify(
            "textDocument/didPartiallyAcceptCompletion", item=item, acceptedLength=3
        )
    client.notify("textDocument/didPartiallyAcceptCompletion")
    client.send(method="textDocument/didFocus", params=None)
    await client.request("notifyRejected", {})
    await client.request("notifyAccepted", {"uuid": "0.0"})
    assert (await client.command("status"))["accepted"] == 0
    assert client.messages == []


# Where the user looks, and how the editor indents ------------------------------------


async def test_the_focused_document_was_used_last() -> None:
    """So it comes first among those that another one's prompt may show."""
    session = Session(Settings(model="echo"), SilentClient())
    uris = [f"file:///work/{name}.py" for name in "abcd"]
    for uri in uris:
        session.documents.open(uri, "python", 1, "x = 1\n")
    session.note_focus(uris[1])
    session.note_focus("file:///work/not-open.py")
    document = session.documents.get(uris[3])
    around = session.workspace.surroundings(document, 0, "", "", explicit=False)
    assert [one.uri for one in around.others] == [uris[1], uris[2], uris[0]]
    session.close()


@pytest.mark.model
async def test_indentation_as_the_editor_does_it(connect: Connect) -> None:
    """The starter's own four spaces become tabs, where nothing else is indented."""
    client = await connect(model="starter")
    client.open("def largest(values):")
    place = {"position": {"line": 0, "character": 20}, "context": {"triggerKind": 1}}
    tabs = {"tabSize": 8, "insertSpaces": False}
    with_tabs = await client.items(**place, formattingOptions=tabs)
    assert with_tabs[0]["insertText"].startswith("\n\t")
    assert "    " not in with_tabs[0]["insertText"]
    # It is typed into as it was shown.
    end = place["position"]
    client.notify(
        "textDocument/didChange",
        textDocument={"uri": _URI, "version": 2},
        contentChanges=[{"range": {"start": end, "end": end}, "text": "\n\t"}],
    )
    place["position"] = {"line": 1, "character": 1}
    place["context"] = {"triggerKind": 2}
    rest, *_ = await client.items(**place, formattingOptions=tabs)
    assert rest["insertText"] == with_tabs[0]["insertText"][2:]
    client.notify("textDocument/didClose", textDocument={"uri": _URI})
    client.open("def largest(values):\n    pass\n\n\ndef smallest(values):")
    place = {"position": {"line": 4, "character": 21}, "context": {"triggerKind": 1}}
    with_spaces = await client.items(**place, formattingOptions=tabs)
    assert "\t" not in with_spaces[0]["insertText"]


# Older methods ---------------------------------------------------------------------


async def test_older_completions(connect: Connect) -> None:
    """Text and range begin with the line, ``displayText`` at the cursor."""
    client = await connect()
    client.open("result = compute(width)\ntotal = 0\nresult = compute()")
    place = {"line": 2, "character": 17}
    document = {"uri": _URI, "position": place, "version": 3, "tabSize": 4}
    found = await client.request("getCompletions", {"doc": document})
    [one] = found["completions"]
    assert one["displayText"] == "width)"
    assert one["text"] == "result = compute(width)"
    assert one["position"] == place
    assert one["range"]["start"] == {"line": 2, "character": 0}
    assert one["range"]["end"] == {"line": 2, "character": 18}
    assert one["docVersion"] == 3
    assert await client.request("notifyShown", {"uuid": one["uuid"]}) == "OK"
    params = {"uuid": one["uuid"], "acceptedLength": 5}
    assert await client.request("notifyAccepted", params) == "OK"
    assert await client.request("notifyAccepted", {"uuid": one["uuid"]}) == "OK"
    assert (await client.command("status"))["accepted"] == 1
    more = await client.request("getCompletionsCycling", {"doc": document})
    assert len(more["completions"]) == 3
    assert more["completions"][0]["text"] == one["text"]
    params = {"uuids": [one["uuid"] for one in more["completions"]]}
    assert await client.request("notifyRejected", params) == "OK"


async def test_panels(connect: Connect) -> None:
    """A window with alternatives, as it is asked for now and as it was."""
    client = await connect()
    client.open(_TEXT)
    place = {"textDocument": {"uri": _URI}, "position": _PLACE}
    now = await client.request("textDocument/copilotPanelCompletion", place)
    texts = [one["insertText"] for one in now["items"]]
    assert len(texts) == 3
    params = {"doc": {"uri": _URI, "position": _PLACE}, "panelId": "p1"}
    before = await client.request("getPanelCompletions", params)
    assert before == {"solutionCountTarget": 3}
    assert not client.heard("PanelSolution")  # the client opens its window first
    await client.until(lambda: client.heard("PanelSolutionsDone"))
    assert client.heard("PanelSolutionsDone") == [{"panelId": "p1", "status": "OK"}]
    solutions = client.heard("PanelSolution")
    assert [one["completionText"] for one in solutions] == texts
    assert [one["displayText"] for one in solutions] == [
        f"def area{one}" for one in texts
    ]
    assert solutions[0]["range"] == {"start": _PLACE, "end": _PLACE}
    assert {one["panelId"] for one in solutions} == {"p1"}


async def test_a_place_is_needed(connect: Connect) -> None:
    client = await connect()
    for method in (
        "getCompletions",
        "getPanelCompletions",
        "textDocument/copilotPanelCompletion",
    ):
        answer = await client.ask(method, method, {"doc": {"uri": _URI}})
        assert answer["error"]["code"] == -32602
        assert "position" in answer["error"]["message"]


# Account and all the rest ----------------------------------------------------------


async def test_everybody_is_signed_in(connect: Connect) -> None:
    """There is nobody to sign in to, and nobody to sign out from."""
    client = await connect(ready=False)
    signed_in = {"status": "OK", "user": "local"}
    already = {"status": "AlreadySignedIn", "user": "local"}
    for method, params, expected in (
        ("checkStatus", {}, signed_in),
        ("checkStatus", {"options": {"localChecksOnly": True}}, signed_in),
        ("signIn", {}, already),
        ("signInInitiate", None, already),
        ("signInConfirm", {"userCode": "A"}, signed_in),
        ("signInWithGithubToken", {"_": True}, signed_in),
        ("signOut", {}, {"status": "NotSignedIn"}),
        ("checkStatus", {}, signed_in),
    ):
        assert await client.request(method, params) == expected, method


async def test_there_are_no_next_edits(connect: Connect) -> None:
    client = await connect(ready=False)
    client.open(_TEXT)
    params = {"textDocument": {"uri": _URI, "version": 1}, "position": _PLACE}
    edits = await client.request("textDocument/copilotInlineEdit", params)
    assert edits == {"edits": []}


async def test_version(connect: Connect) -> None:
    client = await connect(ready=False)
    version = await client.request("getVersion", {})
    assert version["version"] == __version__
    assert version["runtimeVersion"].startswith("python/3.")


_ODD: list[Any] = [
    None,
    [],
    ["x"],
    7,
    "x",
    {},
    {"item": 3, "acceptedLength": "long", "uuid": {}, "uuids": 5, "doc": []},
    {"item": {"command": {"arguments": [[]]}}, "acceptedLength": 10**30, "uuid": None},
    {"item": {"command": {"arguments": ["9.9"]}}, "acceptedLength": True},
    {"textDocument": {"uri": 3}, "position": {"line": "x", "character": None}},
    {"doc": {"uri": _URI, "position": {"line": -1, "character": 10**9}, "tabSize": []}},
    {"textDocument": {"uri": _URI}, "position": {"line": 10**9, "character": -3}},
    {"editorInfo": [], "editorPluginInfo": {"name": 3}, "options": "x"},
    {"settings": {"github": {"copilot": {"selectedCompletionModel": []}}}},
]


async def test_whatever_comes_is_answered(
    connect: Connect, capfd: pytest.CaptureFixture[str]
) -> None:
    """With an answer or a refusal; nothing fails inside."""
    client = await connect()
    client.open(_TEXT)
    for method in (
        *["checkStatus", "signIn", "setEditorInfo", "copilot/models", "getVersion"],
        *["notifyShown", "notifyAccepted", "notifyRejected"],
        *["getCompletions", "getCompletionsCycling", "getPanelCompletions"],
        *["textDocument/copilotPanelCompletion", "textDocument/copilotInlineEdit"],
    ):
        for number, params in enumerate(_ODD):
            answer = await client.ask(f"{method} {number}", method, params)
            assert answer.get("error", {}).get("code") in (None, -32602), answer
    for method in (
        *["textDocument/didFocus", "textDocument/didShowCompletion"],
        *["textDocument/didPartiallyAcceptCompletion"],
    ):
        for params in _ODD:
            client.send(method=method, params=params)
    client.notify("workspace/didChangeConfiguration", **_ODD[-1])
    assert (await client.command("status"))["accepted"] == 0
    log = capfd.readouterr().err
    errors = [line for line in log.splitlines() if "ERROR" in line]
    assert not [line for line in errors if "JsonRpcInvalidParams" not in line], log


async def test_chats_and_tools_are_refused_quietly(
    connect: Connect, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is not here is answered so, and neither user nor log hears of it."""
    client = await connect()
    for method in ("conversation/create", "mcp/updateToolsStatus", "checkQuota"):
        answer = await client.ask(method, method, {"github-enterprise": {}})
        assert answer["error"]["code"] == -32601
        assert method in answer["error"]["message"]
    for method in ("textDocument/didShowInlineEdit", "$/unheardOf", "policy/didChange"):
        client.notify(method, item={"command": {"arguments": ["x"]}})
    client.notify("$/setTrace", value="off")
    client.notify("$/cancelRequest", id="conversation/create")  # answered long ago
    await client.command("status")
    assert client.messages == []
    log = capfd.readouterr().err
    assert not [
        line for line in log.splitlines() if re.search("WARN|ERROR|Traceback", line)
    ]
