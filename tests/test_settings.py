"""Settings: whatever a client sends, the server gets usable settings and says so."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_stablecode.settings import (
    DEFAULTS,
    SETTINGS,
    Settings,
    model_options,
    parse_settings,
    settings_table,
    to_wire,
)
from model.interface import EngineOptions

README = Path(__file__).parent.parent / "README.md"

GOOD: list[tuple[str, Any, Any]] = [
    ("model", "stable-code-3b", "stable-code-3b"),
    ("model", "/models/my own.gguf", "/models/my own.gguf"),
    ("device", "auto", "auto"),
    ("device", "cpu", "cpu"),
    ("device", "cuda", "cuda"),
    ("device", "cuda:1", "cuda:1"),
    ("device", "mps", "mps"),
    ("dtype", "bfloat16", "bfloat16"),
    ("dtype", "float16", "float16"),
    ("dtype", "float32", "float32"),
    ("cacheDtype", "int8", "int8"),
    ("threads", "auto", None),
    ("threads", 4, 4),
    ("niceness", 0, 0),
    ("niceness", 19, 19),
    ("contextTokens", "auto", None),
    ("contextTokens", 256, 256),
    ("contextTokens", 131072, 131072),
    ("contextTokens", 4096.0, 4096),
    ("memoryGib", "auto", None),
    ("memoryGib", 1.5, 1.5),
    ("memoryGib", 1024, 1024.0),
    ("maxNewTokens", 1, 1),
    ("maxNewTokens", 1024, 1024),
    ("temperature", 0, 0.0),
    ("temperature", 2, 2.0),
    ("temperature", 0.2, 0.2),
    ("candidates", 1, 1),
    ("candidates", 10, 10),
    ("multiLine", "always", "always"),
    ("multiLine", "never", "never"),
    ("fimOrder", "psm", "psm"),
    ("fimOrder", "spm", "spm"),
    ("debounceMs", "auto", None),
    ("debounceMs", 0, 0),
    ("debounceMs", 5000, 5000),
    ("context", False, False),
    ("leastConfidence", "auto", None),
    ("leastConfidence", 0, 0.0),
    ("leastConfidence", 0.35, 0.35),
    ("learnFromUse", False, False),
    ("lookAhead", "never", "never"),
    ("unloadAfterMinutes", "auto", None),
    ("unloadAfterMinutes", 0, 0),
    ("unloadAfterMinutes", 90, 90),
    ("enable", False, False),
    ("disabledLanguages", ["markdown", "plaintext"], ("markdown", "plaintext")),
    ("disabledLanguages", [], ()),
    ("exclude", ["*.env", "k/**", "!a.env"], ("*.env", "k/**", "!a.env")),
    ("completionFallback", "always", "always"),
    ("completionFallback", "never", "never"),
    ("allowDownload", True, True),
    ("backend", "local", "local"),
    ("backend", "openai", "openai"),
    ("endpoint", "http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
    ("endpoint", "https://models.example/team/v1", "https://models.example/team/v1"),
    ("endpoint", "http://[::1]:8080", "http://[::1]:8080"),
    ("remoteModel", "stabilityai/stable-code-3b", "stabilityai/stable-code-3b"),
    ("apiKeyFile", "~/.config/lsp-stablecode/key", "~/.config/lsp-stablecode/key"),
    ("apiKeyFile", "C:\\keys\\team", "C:\\keys\\team"),
    ("apiKeyFile", "auto", "auto"),
    ("remoteTimeoutMs", 500, 500),
    ("remoteTimeoutMs", 120_000, 120_000),
    ("logLevel", "error", "error"),
    ("logLevel", "debug", "debug"),
]

BAD: dict[str, list[Any]] = {
    "model": [1, True, "", "  ", "a\0b", "\ud800", [], {}],
    "device": ["gpu", "cuda:", "cuda:x", "CPU", "cuda:1\n", 0],
    "cacheDtype": ["int4", "float32", "", 8],
    "threads": [0, 257, "two", True, 1.5],
    "niceness": [-1, 20, "auto", True, 1.5],
    "dtype": ["int2", "", 16, ["float32"]],
    "contextTokens": [255, 131073, "4096", True, 300.5, []],
    "memoryGib": [0, 0.5, 1025, "4 GB", True, math.nan],
    "maxNewTokens": [0, 1025, "auto", True, 1.5, "128", {}],
    "temperature": [-0.1, 2.1, "0", False, math.nan, math.inf],
    "candidates": [0, 11, True, "3", "auto", 10**400],
    "multiLine": ["sometimes", True, 1, "Auto"],
    "fimOrder": ["smp", False, 0],
    "debounceMs": [-1, 5001, "fast", True, -math.inf],
    "context": [0, "true", []],
    "leastConfidence": [-0.1, 1.1, "high", True],
    "learnFromUse": [1, "false"],
    "lookAhead": ["sometimes", True],
    "unloadAfterMinutes": [-1, 1441, 1.5, "never", True],
    "enable": [0, 1, "true", "", []],
    "disabledLanguages": ["markdown", 1, True, {"a": 1}],
    "exclude": ["*.env", 1, False, {"*.env": True}],
    "completionFallback": ["on", True, 1],
    "allowDownload": [1, "yes"],
    "backend": ["remote", "OpenAI", True, ""],
    "endpoint": [
        "127.0.0.1:8000",
        "ftp://host/v1",
        "http://",
        "http://user:hush@host/v1",
        "http://host/v1?key=hush",
        "http://host/v1#hush",
        8000,
        ["http://host/hush"],
    ],
    "remoteModel": ["", " ", 1, []],
    "apiKeyFile": ["", " ", 1, ["hush"], {"key": "hush"}, "sk-hush", "Bearer hush"],
    "remoteTimeoutMs": [499, 120_001, "auto", "10 s", True],
    "logLevel": ["trace", 10, True],
}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["auto", "always", "[z-a]", "!", "a[b", "cuda:0"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [*to_wire(DEFAULTS), "lsp-stablecode", "lspStablecode", "models"]
            )
            | st.text(),
            inner,
            max_size=6,
        )
    ),
)


def field_of(key: str) -> str:
    """Return the Python name of the setting that is ``key`` on the wire."""
    return next(name for name, setting in SETTINGS.items() if setting.key == key)


@pytest.mark.parametrize(("key", "sent", "held"), GOOD)
def test_a_good_value_is_taken(key: str, sent: Any, held: Any) -> None:
    """Every admitted value arrives, and nothing else changes."""
    settings, problems = parse_settings({key: sent})
    assert problems == ()
    assert settings == dataclasses.replace(DEFAULTS, **{field_of(key): held})
    assert type(getattr(settings, field_of(key))) is type(held)


@pytest.mark.parametrize(
    ("key", "sent"), [(key, value) for key, values in BAD.items() for value in values]
)
def test_a_bad_value_is_reported_and_the_base_kept(key: str, sent: object) -> None:
    """The message names the key and the value that is used instead."""
    base = dataclasses.replace(DEFAULTS, model="mine", max_new_tokens=77)
    settings, problems = parse_settings({key: sent}, base)
    assert settings == base
    (problem,) = problems
    assert problem.key == key
    assert problem.message.startswith(f"`{key}` must be ")
    kept = json.dumps(to_wire(base)[key])
    if SETTINGS[field_of(key)].private:
        # There may be a password in it.
        assert "hush" not in problem.message
        kept = "the previous value"
    assert f"using {kept}." in problem.message.replace("using 0.", "using 0.0.")
    assert len(problem.message) < 200
    assert problem.message.isprintable()


def test_every_field_is_tried() -> None:
    """A new setting without a good and a bad example fails here."""
    keys = {setting.key for setting in SETTINGS.values()}
    assert {key for key, _, _ in GOOD} == keys
    assert set(BAD) == keys
    assert set(SETTINGS) == {spec.name for spec in dataclasses.fields(Settings)}


def test_messages_read_well() -> None:
    """Three messages in full."""
    _, problems = parse_settings(
        {"maxNewTokens": 0, "device": "gpu", "exclude": "*.env"}
    )
    assert [problem.message for problem in problems] == [
        "`maxNewTokens` must be a whole number from 1 to 1024, not 0; using 128.",
        "`device` must be `auto`, `cpu`, `cuda`, `cuda:N` or `mps`, "
        'not "gpu"; using "auto".',
        '`exclude` must be a list of texts, not "*.env"; using [].',
    ]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("maxTokens", "maxNewTokens"),
        ("max_new_tokens", "maxNewTokens"),
        ("multiline", "multiLine"),
        ("lsp-stablecode.logLevel", "logLevel"),
        ("debounce", "debounceMs"),
        ("enabled", "enable"),
    ],
)
def test_an_unknown_key_gets_a_suggestion(key: str, meant: str) -> None:
    """A misspelt key is ignored, and the user is told which one was meant."""
    settings, (problem,) = parse_settings({key: 5, "candidates": 2})
    assert settings == dataclasses.replace(DEFAULTS, candidates=2)
    assert problem.key == key
    assert problem.message == (
        f"There is no setting `{key}`; it is ignored. Did you mean `{meant}`?"
    )


def test_a_key_like_no_other_gets_no_suggestion() -> None:
    """Far-fetched advice is worse than none."""
    _, (problem,) = parse_settings({"zzz": 1})
    assert problem.message == "There is no setting `zzz`; it is ignored."


@pytest.mark.parametrize("raw", [3, True, "auto", ["model"], 1.5])
def test_what_is_no_object_is_reported(raw: object) -> None:
    """The base stays, with one problem about the whole."""
    base = dataclasses.replace(DEFAULTS, enable=False)
    settings, (problem,) = parse_settings(raw, base)
    assert settings is base
    assert problem.key == ""
    assert "must be an object" in problem.message


@pytest.mark.parametrize("raw", [None, {}, [], {"lsp-stablecode": None}])
def test_nothing_sent_is_no_problem(raw: object) -> None:
    """Null and Lua's empty table mean 'not set'."""
    assert parse_settings(raw) == (DEFAULTS, ())


def test_null_means_not_set() -> None:
    """A null keeps the base's value, for every key."""
    base = dataclasses.replace(DEFAULTS, model="mine", context_tokens=512)
    assert parse_settings(dict.fromkeys(to_wire(base)), base) == (base, ())


def test_auto_takes_back_a_number() -> None:
    """Unlike a missing key, ``auto`` is a choice."""
    base = dataclasses.replace(DEFAULTS, context_tokens=512, debounce_ms=10)
    raw = {"contextTokens": "auto", "debounceMs": "auto"}
    assert parse_settings(raw, base) == (DEFAULTS, ())


@pytest.mark.parametrize("section", ["lsp-stablecode", "lspStablecode"])
def test_a_wrapper_is_taken_off(section: str) -> None:
    """Other servers' sections beside ours are left alone."""
    raw = {section: {"candidates": 5}, "python": {"model": 1}}
    assert parse_settings(raw) == (dataclasses.replace(DEFAULTS, candidates=5), ())
    _, (problem,) = parse_settings({section: 7})
    assert "must be an object, not 7" in problem.message


def test_one_bad_glob_does_not_let_the_others_in() -> None:
    """Good entries of a list hold; each bad one is reported with its place."""
    sent: list[Any] = ["*.env", 3, "[z-a]", "a[b", "# note", "[[:alpha:]]", "", "k/"]
    settings, problems = parse_settings({"exclude": sent})
    assert settings.exclude == ("*.env", "k/")
    assert [problem.message.split(" ")[0] for problem in problems] == [
        f"`exclude[{index}]`" for index in range(1, 7)
    ]
    assert all("left out" in problem.message for problem in problems)


def test_model_options() -> None:
    """The model side gets exactly what concerns loading."""
    raw = {
        "model": "starter",
        "device": "cuda:1",
        "dtype": "float16",
        "contextTokens": 2048,
        "memoryGib": 4,
        "threads": 3,
        "niceness": 0,
        "cacheDtype": "int8",
        "allowDownload": True,
        "backend": "openai",
        "endpoint": "https://models.example/v1",
        "remoteModel": "team",
        "apiKeyFile": "/run/key",
        "remoteTimeoutMs": 3000,
    }
    settings, _ = parse_settings(raw)
    assert model_options(settings) == EngineOptions(
        model="starter",
        device="cuda:1",
        dtype="float16",
        context_tokens=2048,
        memory_gib=4.0,
        threads=3,
        niceness=0,
        cache_dtype="int8",
        allow_download=True,
        backend="openai",
        endpoint="https://models.example/v1",
        remote_model="team",
        api_key_file="/run/key",
        remote_timeout_ms=3000,
    )
    # Whoever loads a model without an editor is in nobody's way.
    assert model_options(DEFAULTS) == EngineOptions(niceness=3)


def test_deep_values_do_not_matter() -> None:
    """A value nested beyond Python's recursion limit is reported like any other."""
    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep]
    _, problems = parse_settings({"model": deep, "exclude": deep, "x": deep})
    assert [problem.key for problem in problems] == ["model", "exclude", "x"]


@given(json_values)
def test_any_json_is_survived(raw: object) -> None:
    """Never an exception, and what comes out is always valid."""
    settings, problems = parse_settings(raw)
    assert parse_settings(to_wire(settings)) == (settings, ())
    assert all(problem.message.isprintable() for problem in problems)
    hash((settings, problems))


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(to_wire(DEFAULTS), json_values))
)
def test_any_value_of_a_known_key_is_survived(raw: dict[str, object]) -> None:
    """Each key is taken, reported, or not set; a bad key never touches another."""
    settings, problems = parse_settings(raw)
    reported = {problem.key for problem in problems}
    for key, value in to_wire(settings).items():
        if key not in raw or raw[key] is None:
            assert value == to_wire(DEFAULTS)[key]
        elif key not in reported:
            assert value == raw[key]


def test_readme_holds_the_table() -> None:
    """The README's table is the code's; `settings_table()` prints a new one."""
    text = README.read_text(encoding="utf-8")
    _, begun, rest = text.partition("<!-- settings:begin -->")
    table, ended, _ = rest.partition("<!-- settings:end -->")
    assert begun
    assert ended
    assert table.strip() == settings_table()
