"""The server over stdio, as editors use it, with the echo engine."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from conftest import SECTION, Editor, Start, editor_capabilities, plain
from lsprotocol import types
from pygls.exceptions import JsonRpcException

_TEXT = "def area(width, height):\n    return width * height\n\n\ndef area"


def _place(text: str) -> tuple[int, int]:
    lines = text.split("\n")
    return len(lines) - 1, len(lines[-1])


async def _until(editor: Editor, state: str) -> None:
    async with asyncio.timeout(20):
        while (await editor.status())["state"] != state:
            await asyncio.sleep(0.02)


async def test_capabilities(start: Start) -> None:
    """What VS Code, Neovim 0.12 and lsp-mode 10 look for is advertised."""
    editor = await start()
    capabilities = editor.capabilities
    assert capabilities.inline_completion_provider == types.InlineCompletionOptions()
    assert capabilities.text_document_sync.open_close
    assert (
        capabilities.text_document_sync.change == types.TextDocumentSyncKind.Incremental
    )
    assert capabilities.completion_provider is None
    assert editor.result.server_info.name == "lsp-stablecode"
    commands = set(capabilities.execute_command_provider.commands)
    assert commands == {
        f"lsp-stablecode.{name}"
        for name in (
            "accepted",
            "explain",
            "overview",
            "reload",
            "report",
            "snooze",
            "status",
            "toggle",
        )
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_items_in_every_encoding(encoding: str, start: Start) -> None:
    """Ranges are the client's own units, also after astral characters."""
    editor = await start(capabilities=editor_capabilities(encoding))
    assert editor.capabilities.position_encoding == encoding
    line = "s = '😀é'; value = 1\n"
    uri = editor.open(line + "s = '😀é'; val)\n")
    typed = "s = '😀é'; val"
    codec = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}[encoding]
    width = len(typed.encode(codec)) // {"utf-8": 1, "utf-16": 2, "utf-32": 4}[encoding]
    items = await editor.items(uri, 1, width)
    assert items[0].insert_text.startswith("ue = 1")
    assert items[0].range.start == types.Position(1, width)
    assert items[0].range.end.line == 1
    assert items[0].command.command == "lsp-stablecode.accepted"


async def test_by_hand_gives_distinct_candidates(start: Start) -> None:
    """Asked by hand: up to three, all different; automatic: one."""
    editor = await start()
    uri = editor.open("x = 1\n")
    by_hand = await editor.texts(uri, 1, 0)
    assert len(by_hand) == len(set(by_hand)) == 3
    uri = editor.open("y = 1\n", uri="file:///work/b.py")
    assert len(await editor.texts(uri, 1, 0, invoked=False)) == 1


async def test_typing_into_the_suggestion_needs_no_model(start: Start) -> None:
    """Typing, backspacing, partial accept: answered at once, from memory."""
    editor = await start()
    uri = editor.open(_TEXT)
    line, character = _place(_TEXT)
    [suggestion] = await editor.texts(uri, line, character, invoked=False)
    assert suggestion == "(width, height):"
    for count, typed in enumerate("(wid", 1):
        editor.change(uri, typed, (line, character + count - 1))
        rest = await editor.texts(uri, line, character + count, invoked=False)
        assert rest == [suggestion[count:]]
    # Backspace, twice into the suggestion and then before it.
    for column in (character + 3, character + 2, character + 1, character):
        editor.change(uri, "", (line, column), (line, column + 1))
        rest = await editor.texts(uri, line, column, invoked=False)
        assert rest == [suggestion[column - character :]]
    editor.change(uri, "", (line, character - 1), (line, character))
    assert await editor.texts(uri, line, character - 1, invoked=False) == [
        "a" + suggestion
    ]
    editor.change(uri, "a(width, ", (line, character - 1))
    rest = await editor.texts(uri, line, character + 8, invoked=False)
    assert rest == ["height):"]
    outcomes = (await editor.status())["outcomes"]
    assert outcomes["shown"] == 1
    assert outcomes["type-through"] == 10


async def test_an_auto_closed_bracket_is_typed_through(start: Start) -> None:
    """The closer an editor adds for ``(`` is covered, not doubled."""
    editor = await start()
    text = "result = compute(width)\ntotal = 0\nresult = compute"
    uri = editor.open(text)
    line, character = _place(text)
    assert await editor.texts(uri, line, character, invoked=False) == ["(width)"]
    editor.change(uri, "()", (line, character))
    [item] = await editor.items(uri, line, character + 1, invoked=False)
    assert item.insert_text == "width)"
    assert item.range.start == types.Position(line, character + 1)
    assert item.range.end == types.Position(line, character + 2)


async def test_edits_elsewhere_keep_the_suggestion(start: Start) -> None:
    """An edit in another document or far away does not cost a model call."""
    editor = await start()
    text = "import os\n" + "# filler\n" * 200 + _TEXT
    uri = editor.open(text)
    other = editor.open("x = 1\n", uri="file:///work/other.py")
    line, character = _place(text)
    first = await editor.texts(uri, line, character, invoked=False)
    editor.change(other, "y = 2\n", (0, 0))
    editor.change(uri, "import sys\n", (0, 0))
    assert await editor.texts(uri, line + 1, character, invoked=False) == first
    outcomes = (await editor.status())["outcomes"]
    assert outcomes == {**outcomes, "shown": 1, "type-through": 1}


async def test_selected_completion_is_extended(start: Start) -> None:
    """With an item selected in the menu, the suggestion begins with it."""
    editor = await start()
    text = "def area(width, height):\n    pass\n\nar"
    uri = editor.open(text)
    selected = types.SelectedCompletionInfo(
        types.Range(types.Position(3, 0), types.Position(3, 2)), "def ar"
    )
    [item, *_] = await editor.items(uri, 3, 2, selected=selected)
    assert item.insert_text == "def area(width, height):"
    assert item.range == selected.range


async def test_a_burst_runs_one_generation(start: Start) -> None:
    """50 requests with edits between: 50 answers, one generation to its end."""
    editor = await start(model="echo:10")
    text = "def area(width, height, depth, colour):\n    pass\n\n"
    uri = editor.open(text)
    line = 3
    requests = []
    for column in range(50):
        editor.change(uri, "d" if column == 0 else " ", (line, column))
        requests.append(asyncio.ensure_future(editor.ask(uri, line, column + 1)))
    answers = await asyncio.wait_for(asyncio.gather(*requests), 20)
    assert len(answers) == 50
    assert all(not answer.items for answer in answers[:-1])
    assert answers[-1].items
    status = await editor.status()
    outcomes = status["outcomes"]
    assert status["requests"] == 50
    assert outcomes["superseded"] == 49
    assert outcomes["shown"] == 1
    assert status["generations"]["completed"] == 1


async def test_superseded_generations_stop_within_a_step(start: Start) -> None:
    """Each of 20 requests starts generating; all but the last stop at the next step."""
    step_ms = 100
    editor = await start(model=f"echo:{step_ms}")
    uri = editor.open("def area(width, height, depth):\n    pass\n\ndef a")
    requests = []
    started = time.perf_counter()
    for column in range(20):
        requests.append(asyncio.ensure_future(editor.ask(uri, 3, 5 + column)))
        await asyncio.sleep(0.02)
        editor.change(uri, " ", (3, 5 + column))
    elapsed_ms = (time.perf_counter() - started) * 1000
    await asyncio.gather(*requests)
    # The thread is busy with a stopped one for a step at most, so no more steps were
    # taken than fit the time, and one each.
    generations = (await editor.status())["generations"]
    assert generations["completed"] == 0
    assert generations["forwards"] <= elapsed_ms / step_ms + 2


async def test_cancel_is_answered_quickly_and_stops_the_engine(start: Start) -> None:
    """From ``$/cancelRequest`` to the answer under 50 ms; the engine is free."""
    editor = await start(model="echo:40")
    uri = editor.open("def f():\n    value = compute(a, b, c, d, e, f, g)\n    value")
    times = []
    for _ in range(5):
        request = asyncio.ensure_future(editor.ask(uri, 2, 9))
        await asyncio.sleep(0.15)
        future = editor.client.protocol._request_futures
        [identifier] = list(future)
        started = time.perf_counter()
        editor.client.cancel_request(types.CancelParams(id=identifier))
        with pytest.raises(JsonRpcException) as caught:
            await request
        times.append(time.perf_counter() - started)
        assert caught.value.code == types.LSPErrorCodes.RequestCancelled.value
    assert sorted(times)[2] < 0.05
    # The engine's thread takes the next job within one step.
    started = time.perf_counter()
    await editor.command("reload")
    assert time.perf_counter() - started < 0.5


async def test_newest_request_wins_without_cancel(start: Start) -> None:
    """Neovim sends no cancel: an older request is answered empty, at once."""
    editor = await start(model="echo:50")
    uri = editor.open(_TEXT)
    line, character = _place(_TEXT)
    first = asyncio.ensure_future(editor.ask(uri, line, character))
    await asyncio.sleep(0.1)
    second = asyncio.ensure_future(editor.ask(uri, line, character))
    assert not (await asyncio.wait_for(first, 1)).items
    assert (await asyncio.wait_for(second, 5)).items


async def test_documents_do_not_disturb_each_other(start: Start) -> None:
    """Two documents' requests are both answered."""
    editor = await start(model="echo:5")
    one = editor.open("alpha = 1\nx = 2\nal", uri="file:///work/one.py")
    two = editor.open("beta = 1\nx = 2\nbe", uri="file:///work/two.py")
    first, second = await asyncio.gather(
        editor.texts(one, 2, 2), editor.texts(two, 2, 2)
    )
    assert first[0].startswith("pha = 1")
    assert second[0].startswith("ta = 1")


async def test_while_the_model_loads_answers_are_empty_and_progress_shows(
    start: Start, tmp_path: Any
) -> None:
    """Requests during loading are answered at once; loading shows progress."""
    editor = await start(model=str(tmp_path / "missing"), wait=False)
    uri = editor.open(_TEXT)
    started = time.perf_counter()
    assert await editor.texts(uri, *_place(_TEXT)) == []
    assert time.perf_counter() - started < 1
    await _until(editor, "failed")
    assert any("missing" in one.message for one in editor.client.messages)
    # The session lives on: another model can be chosen.
    editor.client.workspace_did_change_configuration(
        types.DidChangeConfigurationParams({"lsp-stablecode": {"model": "echo"}})
    )
    await _until(editor, "ready")
    assert await editor.texts(uri, *_place(_TEXT))
    bars = editor.client.progress_reports.values()
    kinds = [[report.kind for report in reports] for reports in bars]
    assert all(one[0] == "begin" and one[-1] == "end" for one in kinds)
    assert kinds


async def test_settings_problems_are_reported_once(start: Start) -> None:
    """Bad values and unknown keys are named to the user, once; the server runs."""
    bad = {"maxNewTokens": "many", "tempreature": 1}
    editor = await start(settings=bad)
    editor.client.workspace_did_change_configuration(
        types.DidChangeConfigurationParams({"lsp-stablecode": bad})
    )
    uri = editor.open(_TEXT)
    assert await editor.texts(uri, *_place(_TEXT))
    texts = [one.message for one in editor.client.messages]
    assert len([text for text in texts if "maxNewTokens" in text]) == 1
    assert len([text for text in texts if "tempreature" in text]) == 1


async def test_settings_can_be_taken_back(start: Start) -> None:
    """What is removed from the editor's settings falls back to the default."""
    editor = await start(settings={"enable": False})
    uri = editor.open(_TEXT)
    assert await editor.texts(uri, *_place(_TEXT)) == []
    editor.client.set_configuration({}, section="lsp-stablecode")
    editor.client.workspace_did_change_configuration(
        types.DidChangeConfigurationParams(None)
    )
    async with asyncio.timeout(10):
        while not (await editor.status())["enabled"]:
            await asyncio.sleep(0.02)
    assert await editor.texts(uri, *_place(_TEXT))


async def test_the_model_is_loaded_once(start: Start) -> None:
    """Settings pushed right after ``initialized`` name the model that is loaded."""
    editor = await start("--log-level", "info", wait=False, settings={"model": "echo"})
    editor.client.workspace_did_change_configuration(
        types.DidChangeConfigurationParams({"lsp-stablecode": {"model": "echo:1"}})
    )
    await _until(editor, "ready")
    status = await editor.status()
    assert status["engine"]["model"] == "echo:1"


async def test_fallback_set_after_initialize(start: Start) -> None:
    """``never``, sent as Neovim sends it, empties the menu of a client without."""
    editor = await start(
        capabilities=editor_capabilities(inline_completion=False),
        settings={"completionFallback": "never"},
    )
    uri = editor.open(_TEXT)
    answer = await editor.client.text_document_completion_async(
        types.CompletionParams(
            types.TextDocumentIdentifier(uri), types.Position(*_place(_TEXT))
        )
    )
    assert not answer.items


async def test_menu_and_ghost_text_are_both_answered(start: Start) -> None:
    """An editor may ask for both at one place; neither supersedes the other."""
    editor = await start(
        model="echo:10", initialization_options={"completionFallback": "always"}
    )
    uri = editor.open(_TEXT)
    menu = editor.client.text_document_completion_async(
        types.CompletionParams(
            types.TextDocumentIdentifier(uri), types.Position(*_place(_TEXT))
        )
    )
    ghost = editor.ask(uri, *_place(_TEXT))
    answers = await asyncio.gather(menu, ghost)
    assert all(answer.items for answer in answers)


async def test_settings_of_the_wrong_type_are_reported(start: Start) -> None:
    """Settings that are no object are reported and the session lives on."""
    editor = await start(initialization_options=["not", "an", "object"])
    assert editor.client.messages
    uri = editor.open(_TEXT)
    assert await editor.texts(uri, *_place(_TEXT))


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [
        ({"enable": False}, "empty:disabled"),
        ({"disabledLanguages": ["python"]}, "empty:language-disabled"),
        ({"exclude": ["secret*"]}, "empty:excluded"),
    ],
)
async def test_silence_where_the_user_wants_it(
    settings: dict[str, Any], outcome: str, start: Start
) -> None:
    """Switched off, for a language, for a file: answered empty, and named so."""
    editor = await start(settings=settings)
    uri = editor.open(_TEXT, uri="file:///work/secret.py")
    assert await editor.texts(uri, *_place(_TEXT)) == []
    assert plain(await editor.command("explain", uri))["outcome"] == outcome


async def test_toggle(start: Start) -> None:
    """The toggle command switches off and on."""
    editor = await start()
    uri = editor.open(_TEXT)
    assert await editor.command("toggle") is False
    assert await editor.texts(uri, *_place(_TEXT)) == []
    assert await editor.command("toggle") is True
    assert await editor.texts(uri, *_place(_TEXT))


async def test_toggle_a_language(start: Start) -> None:
    """With a language identifier only documents of that language fall silent."""
    editor = await start(settings={"disabledLanguages": ["lua"]})
    python = editor.open(_TEXT)
    lua = editor.open(_TEXT, uri="file:///work/a.lua", language="lua")
    assert await editor.command("toggle", "python") is False
    assert await editor.command("toggle", "lua") is True
    assert await editor.texts(python, *_place(_TEXT)) == []
    assert await editor.texts(lua, *_place(_TEXT))
    status = await editor.status()
    assert status["enabled"]
    assert status["disabledLanguages"] == ["python"]
    assert await editor.command("toggle", "python") is True
    assert await editor.texts(python, *_place(_TEXT))


async def test_a_toggled_language_holds_until_the_setting_changes(start: Start) -> None:
    """Like the toggle for all: other settings leave it alone, its own replace it."""
    editor = await start()
    await editor.command("toggle", "python")
    for settings, disabled in (
        ({"maxNewTokens": 32}, ["python"]),
        ({"disabledLanguages": ["lua"]}, ["lua"]),
    ):
        editor.client.set_configuration(settings, section=SECTION)
        editor.client.workspace_did_change_configuration(
            types.DidChangeConfigurationParams(settings={SECTION: settings})
        )
        assert (await editor.status())["disabledLanguages"] == disabled


async def test_snooze(start: Start) -> None:
    """Silence for some minutes, which ends by itself, by 0, or by the toggle."""
    editor = await start()
    uri = editor.open(_TEXT)
    assert await editor.command("snooze") == 15 * 60
    assert await editor.command("snooze", 5) == 5 * 60
    assert await editor.texts(uri, *_place(_TEXT)) == []
    assert plain(await editor.command("explain", uri))["outcome"] == "empty:snoozed"
    status = await editor.status()
    assert status["enabled"] is False
    assert 290 < status["snoozeSeconds"] <= 300
    assert await editor.command("snooze", 0) == 0
    assert await editor.texts(uri, *_place(_TEXT))
    await editor.command("snooze", 5)
    assert await editor.command("toggle") is True
    assert await editor.texts(uri, *_place(_TEXT))
    await editor.command("snooze", 0.01)
    async with asyncio.timeout(20):
        while not (await editor.status())["enabled"]:
            await asyncio.sleep(0.02)
    assert await editor.texts(uri, *_place(_TEXT))


async def test_the_toggle_stays_off_through_a_snooze(start: Start) -> None:
    """Who switched suggestions off is not surprised by them when a pause ends."""
    editor = await start()
    await editor.command("toggle")
    await editor.command("snooze", 5)
    await editor.command("snooze", 0)
    assert (await editor.status())["enabled"] is False
    assert await editor.command("toggle") is True


@pytest.mark.parametrize(
    ("command", "argument"),
    [
        ("toggle", 1),
        ("toggle", ""),
        ("snooze", -1),
        ("snooze", "soon"),
        ("snooze", True),
        ("snooze", 1e9),
    ],
)
async def test_a_commands_bad_argument_is_refused(
    command: str, argument: Any, start: Start
) -> None:
    """With a sentence that says what it takes, and nothing is switched."""
    editor = await start(wait=False)
    with pytest.raises(JsonRpcException, match=f"{command} takes"):
        await editor.command(command, argument)
    assert (await editor.status())["enabled"]


async def test_explain_and_accept(start: Start) -> None:
    """The last completion can be explained, and an acceptance counts once."""
    editor = await start()
    uri = editor.open(_TEXT)
    [item, *_] = await editor.items(uri, *_place(_TEXT))
    explained = plain(await editor.command("explain", uri))
    assert explained["outcome"] == "shown"
    assert explained["statistics"]["prompt_tokens"] > 0
    assert explained["shape"]["kind"] in ("line", "block")
    await editor.client.workspace_execute_command_async(
        types.ExecuteCommandParams(item.command.command, item.command.arguments)
    )
    await editor.command("accepted", item.command.arguments[0], 4)
    assert (await editor.status())["accepted"] == 1


async def test_same_text_same_place_same_suggestion(start: Start) -> None:
    """With temperature 0 an answer does not depend on what was asked before."""
    editor = await start()
    uri = editor.open(_TEXT)
    line, character = _place(_TEXT)
    first = await editor.texts(uri, line, character, invoked=False)
    editor.change(uri, "s", (line, character))
    await editor.texts(uri, line, character + 1, invoked=False)
    editor.change(uri, "", (line, character), (line, character + 1))
    assert await editor.texts(uri, line, character, invoked=False) == first
    by_hand = await editor.texts(uri, line, character)
    assert by_hand[:1] == first


async def test_by_hand_keeps_what_is_on_the_screen(start: Start) -> None:
    """Typed into and then asked by hand: the ghost text's rest first, then others."""
    editor = await start()
    uri = editor.open(_TEXT)
    line, character = _place(_TEXT)
    [suggestion] = await editor.texts(uri, line, character, invoked=False)
    typed = "(width, height)"
    editor.change(uri, typed, (line, character))
    by_hand = await editor.texts(uri, line, character + len(typed))
    assert typed + by_hand[0] == suggestion
    assert len(by_hand) > 1


async def test_plain_completion_for_other_clients(start: Start) -> None:
    """A client without inline completion gets ``textDocument/completion``."""
    editor = await start(capabilities=editor_capabilities(inline_completion=False))
    assert editor.capabilities.completion_provider is not None
    uri = editor.open(_TEXT)
    line, character = _place(_TEXT)
    answer = await editor.client.text_document_completion_async(
        types.CompletionParams(
            types.TextDocumentIdentifier(uri), types.Position(line, character)
        )
    )
    item = answer.items[0]
    assert item.text_edit.new_text == "area(width, height):"
    assert item.text_edit.range.start == types.Position(line, character - 4)
    assert item.filter_text.startswith("area")
    assert item.command.command == "lsp-stablecode.accepted"


@pytest.mark.parametrize(
    ("setting", "inline", "offered"),
    [("always", True, True), ("never", False, False), ("auto", True, False)],
)
async def test_completion_fallback_setting(
    setting: str, inline: bool, offered: bool, start: Start
) -> None:
    """The fallback can be forced or forbidden."""
    editor = await start(
        capabilities=editor_capabilities(inline_completion=inline),
        initialization_options={"completionFallback": setting},
    )
    assert (editor.capabilities.completion_provider is not None) == offered


async def test_unknown_documents_are_answered_empty(start: Start) -> None:
    """A request for a document that was never opened does no harm."""
    editor = await start()
    assert await editor.texts("file:///nowhere.py", 0, 0) == []
    uri = editor.open(_TEXT)
    assert await editor.texts(uri, *_place(_TEXT))


async def test_positions_outside_the_document(start: Start) -> None:
    """Positions past the end are clamped, as LSP says, and answered."""
    editor = await start()
    uri = editor.open("x = 1\n")
    for place in ((0, 999), (999, 0), (1, 5)):
        await asyncio.wait_for(editor.ask(uri, *place), 5)


async def test_crlf_documents_get_crlf(start: Start) -> None:
    """A suggestion of several lines has the document's own line ends."""
    editor = await start(settings={"multiLine": "always"})
    text = "def one():\r\n    a = 1\r\n    b = 2\r\n\r\ndef one"
    uri = editor.open(text)
    [text, *_] = await editor.texts(uri, 4, 7)
    assert "\r\n" in text
    assert "\n" not in text.replace("\r\n", "")
