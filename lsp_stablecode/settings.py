"""What the user can set, and the only place where settings are read.

A bad or unknown key never stops the server: `parse_settings` returns the settings
that hold, and one `Problem` for each thing that was wrong. Names are camelCase on the
wire and snake_case here; each field's `Setting` holds the former.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

import pathspec

from model import EngineOptions, FimOrder

Dtype = Literal["auto", "bfloat16", "float16", "float32", "int8", "int4"]
CacheDtype = Literal["auto", "bfloat16", "int8"]
When = Literal["auto", "always", "never"]
LogLevel = Literal["error", "warning", "info", "debug"]
Backend = Literal["local", "openai"]
Kind = Literal[
    "text", "device", "endpoint", "file", "choice", "integer", "number", "flag", "texts"
]

SECTIONS: Final = ("lsp-stablecode", "lspStablecode")
"""Names under which clients wrap the settings."""

_METADATA_KEY: Final = "setting"
_SHOWN_CHARACTERS: Final = 40
_USUAL_REST_MINUTES: Final = 30
DEVICE_PATTERN: Final = "^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$"
"""A device's name, as a regular expression."""
ENDPOINT_PATTERN: Final = r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$"
"""A server's address without user, password and query, as a regular expression."""
FILE_PATTERN: Final = r"^(auto|[^\n\0]*[/\\][^\n\0]*)$"
"""A path with its folder, as a regular expression: no key looks like one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a field is called on the wire, what it may hold, and what it is for.

    ``minimum`` and ``maximum`` are inclusive and in the field's own unit.
    ``automatic`` admits ``"auto"``, which is ``None`` in Python. What is ``private`` is
    not repeated in a message: somebody may have put a password there.
    """

    key: str
    kind: Kind
    description: str
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 0
    automatic: bool = False
    globs: bool = False
    private: bool = False

    @property
    def values(self) -> str:
        """The admitted values in words, with code in backticks."""
        match self.kind:
            case "text":
                return "a text"
            case "device":
                return "`auto`, `cpu`, `cuda`, `cuda:N`, `mps`"
            case "endpoint":
                return "an http or https URL without user, password and query"
            case "file":
                return "`auto` or a path with its folder"
            case "choice":
                return ", ".join(f"`{choice}`" for choice in self.choices)
            case "flag":
                return "`true`, `false`"
            case "texts":
                return "a list of texts"
            case "integer" | "number":
                noun = "a whole number" if self.kind == "integer" else "a number"
                numbers = f"{noun} from {self.minimum} to {self.maximum}"
                return f"`auto` or {numbers}" if self.automatic else numbers


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in the settings; ``key`` is the name on the wire.

    ``message`` names the key, says what was wrong and what is used instead. ``key`` is
    empty when the settings as a whole were no object.
    """

    key: str
    message: str


def _metadata(**setting: Any) -> dict[str, Setting]:
    return {_METADATA_KEY: Setting(**setting)}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; ``None`` leaves the choice to the server."""

    model: str = field(
        default="auto",
        metadata=_metadata(
            key="model",
            kind="text",
            description="A name from `lsp-stablecode models list`, a directory, "
            "a GGUF file or a Hugging Face repository.",
        ),
    )
    device: str = field(
        default="auto",
        metadata=_metadata(
            key="device", kind="device", description="Where the model is computed."
        ),
    )
    dtype: Dtype = field(
        default="auto",
        metadata=_metadata(
            key="dtype",
            kind="choice",
            choices=get_args(Dtype),
            description="The number format of the weights; `auto` takes what is "
            "fast here and loses little.",
        ),
    )
    cache_dtype: CacheDtype = field(
        default="auto",
        metadata=_metadata(
            key="cacheDtype",
            kind="choice",
            choices=get_args(CacheDtype),
            description="The number format of a processor's cache of keys and values; "
            "`auto` takes `int8` only where it saves much memory.",
        ),
    )
    threads: int | None = field(
        default=None,
        metadata=_metadata(
            key="threads",
            kind="integer",
            minimum=1,
            maximum=256,
            automatic=True,
            description="How many processor threads compute; `auto` takes one per "
            "core, at most 8.",
        ),
    )
    niceness: int = field(
        default=3,
        metadata=_metadata(
            key="niceness",
            kind="integer",
            minimum=0,
            maximum=19,
            description="How far the processor threads that compute stand back when "
            "other programs want the processor, from 0, not at all, to 19.",
        ),
    )
    context_tokens: int | None = field(
        default=None,
        metadata=_metadata(
            key="contextTokens",
            kind="integer",
            minimum=256,
            maximum=131_072,
            automatic=True,
            description="Tokens that prompt and completion may hold together.",
        ),
    )
    memory_gib: float | None = field(
        default=None,
        metadata=_metadata(
            key="memoryGib",
            kind="number",
            minimum=1,
            maximum=1024,
            automatic=True,
            description="GiB of memory that weights and caches may take, of all models "
            "together; `auto` takes what is quick and fits what is free.",
        ),
    )
    max_new_tokens: int = field(
        default=128,
        metadata=_metadata(
            key="maxNewTokens",
            kind="integer",
            minimum=1,
            maximum=1024,
            description="The most tokens in one suggestion.",
        ),
    )
    temperature: float = field(
        default=0.0,
        metadata=_metadata(
            key="temperature",
            kind="number",
            minimum=0,
            maximum=2,
            description="At 0 the same text at the same place always gets "
            "the same suggestion.",
        ),
    )
    candidates: int = field(
        default=3,
        metadata=_metadata(
            key="candidates",
            kind="integer",
            minimum=1,
            maximum=10,
            description="How many different suggestions to seek when asked by hand.",
        ),
    )
    multi_line: When = field(
        default="auto",
        metadata=_metadata(
            key="multiLine",
            kind="choice",
            choices=get_args(When),
            description="Whether to suggest a whole block; `auto` decides from "
            "the cursor's place.",
        ),
    )
    fim_order: FimOrder = field(
        default="auto",
        metadata=_metadata(
            key="fimOrder",
            kind="choice",
            choices=get_args(FimOrder),
            description="Whether the prompt puts the text before the cursor first "
            "(`psm`) or the text after it (`spm`).",
        ),
    )
    debounce_ms: int | None = field(
        default=None,
        metadata=_metadata(
            key="debounceMs",
            kind="integer",
            minimum=0,
            maximum=5000,
            automatic=True,
            description="Milliseconds of rest before a suggestion is computed; "
            "`auto` follows your typing.",
        ),
    )
    context: bool = field(
        default=True,
        metadata=_metadata(
            key="context",
            kind="flag",
            description="Whether a prompt may hold text of other documents: open ones, "
            "what you edited lately, definitions of names used at the cursor.",
        ),
    )
    least_confidence: float | None = field(
        default=None,
        metadata=_metadata(
            key="leastConfidence",
            kind="number",
            minimum=0,
            maximum=1,
            automatic=True,
            description="A suggestion that nobody asked for by hand is shown if it is "
            "right at least this probably; `auto` follows what you accept.",
        ),
    )
    learn_from_use: bool = field(
        default=True,
        metadata=_metadata(
            key="learnFromUse",
            kind="flag",
            description="Whether to count, on this machine, which suggestions you "
            "accept; no text is kept.",
        ),
    )
    look_ahead: When = field(
        default="auto",
        metadata=_metadata(
            key="lookAhead",
            kind="choice",
            choices=get_args(When),
            description="Whether to compute what follows a suggestion while it is "
            "shown; `auto` does unless the computer runs on its battery or is short "
            "of memory.",
        ),
    )
    unload_after_minutes: int | None = field(
        default=None,
        metadata=_metadata(
            key="unloadAfterMinutes",
            kind="integer",
            minimum=0,
            maximum=1440,
            automatic=True,
            description="After so long without a request the model's memory is freed, "
            "until somebody asks again; `auto` is 30, and 0 keeps it.",
        ),
    )
    enable: bool = field(
        default=True,
        metadata=_metadata(
            key="enable", kind="flag", description="Whether to suggest anything."
        ),
    )
    disabled_languages: tuple[str, ...] = field(
        default=(),
        metadata=_metadata(
            key="disabledLanguages",
            kind="texts",
            description="LSP language ids, such as `markdown`, without suggestions.",
        ),
    )
    exclude: tuple[str, ...] = field(
        default=(),
        metadata=_metadata(
            key="exclude",
            kind="texts",
            globs=True,
            description="Globs as in `.gitignore`; documents that match "
            "never enter a prompt.",
        ),
    )
    completion_fallback: When = field(
        default="auto",
        metadata=_metadata(
            key="completionFallback",
            kind="choice",
            choices=get_args(When),
            description="Whether to offer suggestions in the completion menu; `auto` "
            "does so for editors without inline completion.",
        ),
    )
    allow_download: bool = field(
        default=False,
        metadata=_metadata(
            key="allowDownload",
            kind="flag",
            description="Whether a missing model may be fetched from the "
            "Hugging Face hub.",
        ),
    )
    backend: Backend = field(
        default="local",
        metadata=_metadata(
            key="backend",
            kind="choice",
            choices=get_args(Backend),
            description="Whether this machine computes the model, or a server that "
            "speaks OpenAI's completions API, such as vLLM: with `openai`, text around "
            "the cursor is sent to `endpoint`.",
        ),
    )
    endpoint: str = field(
        default="http://127.0.0.1:8000/v1",
        metadata=_metadata(
            key="endpoint",
            kind="endpoint",
            private=True,
            description="That server's address, for `backend` `openai`.",
        ),
    )
    remote_model: str = field(
        default="auto",
        metadata=_metadata(
            key="remoteModel",
            kind="text",
            description="Which of that server's models to ask, by its name there; "
            "`auto` takes the first. `model` says which one that is, where its name "
            "does not.",
        ),
    )
    api_key_file: str = field(
        default="auto",
        metadata=_metadata(
            key="apiKeyFile",
            kind="file",
            private=True,
            description="A file with the key for that server, never the key itself; "
            "`auto` takes the environment variable LSP_STABLECODE_API_KEY, or the file "
            "that LSP_STABLECODE_API_KEY_FILE names.",
        ),
    )
    remote_timeout_ms: int = field(
        default=10_000,
        metadata=_metadata(
            key="remoteTimeoutMs",
            kind="integer",
            minimum=500,
            maximum=120_000,
            description="Milliseconds without a token after which a request to that "
            "server is given up.",
        ),
    )
    log_level: LogLevel = field(
        default="warning",
        metadata=_metadata(
            key="logLevel",
            kind="choice",
            choices=get_args(LogLevel),
            description="How much is written to stderr.",
        ),
    )

    @property
    def rest_after_s(self) -> float | None:
        """Seconds without a request until the weights are released; ``None``: never."""
        minutes = self.unload_after_minutes
        if minutes is None:
            minutes = _USUAL_REST_MINUTES
        return 60.0 * minutes or None


DEFAULTS: Final = Settings()


SETTINGS: Final[Mapping[str, Setting]] = {
    spec.name: spec.metadata[_METADATA_KEY] for spec in fields(Settings)
}
"""What is known of each field, by its name in Python, in the order of the README."""

_NAMES: Final = {setting.key: name for name, setting in SETTINGS.items()}


def parse_settings(
    raw: object, base: Settings = DEFAULTS
) -> tuple[Settings, tuple[Problem, ...]]:
    """Read what a client sent; never raise.

    A key that is missing, null or bad keeps ``base``'s value. ``raw`` may be wrapped
    once in an object under one of `SECTIONS`; whatever stands beside that key is
    another server's and is left alone.
    """
    if isinstance(raw, Mapping):
        section = next((name for name in SECTIONS if name in raw), None)
        if section is not None:
            raw = raw[section]
    # Lua writes an empty table as a list.
    if raw is None or raw == []:
        return base, ()
    if not isinstance(raw, Mapping):
        message = (
            f"The settings must be an object, not {_shown(raw)}; "
            "the previous settings are kept."
        )
        return base, (Problem("", message),)

    values: dict[str, object] = {}
    problems: list[Problem] = []
    for key, value in raw.items():
        name = _NAMES.get(key) if isinstance(key, str) else None
        if name is None:
            problems.append(_unknown(key if isinstance(key, str) else _shown(key)))
            continue
        if value is None:
            continue
        setting = SETTINGS[name]
        try:
            values[name], entry_problems = _read(setting, value)
            problems += entry_problems
        except _BadValueError as error:
            kept = _shown(_wire_value(getattr(base, name)))
            if setting.private:
                kept = "the previous value"
            message = f"`{setting.key}` {error}; using {kept}."
            problems.append(Problem(setting.key, message))
    return replace(base, **values), tuple(problems)  # type: ignore[arg-type]


def to_wire(settings: Settings) -> dict[str, Any]:
    """Return ``settings`` as the JSON object that `parse_settings` reads back."""
    return {
        setting.key: _wire_value(getattr(settings, name))
        for name, setting in SETTINGS.items()
    }


def to_report(settings: Settings) -> dict[str, Any]:
    """Return ``settings`` as what may be shown to others.

    What is private is only said to be set, unless it names a file that is there:
    somebody may have put a key or a password in its place.
    """
    return {
        setting.key: _wire_value(reported(name, getattr(settings, name)))
        for name, setting in SETTINGS.items()
    }


def reported(name: str, value: object) -> object:
    """Return a setting's value as what may be shown to others."""
    setting = SETTINGS[name]
    if not setting.private:
        return value
    if value == getattr(DEFAULTS, name):
        return "auto"
    if setting.kind == "file" and _is_file(str(value)):
        return value
    return "set"


def _is_file(name: str) -> bool:
    try:
        return Path(name).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):
        return False


def model_options(settings: Settings) -> EngineOptions:
    """Return the part of ``settings`` that decides which model is loaded, and how."""
    return EngineOptions(
        model=settings.model,
        device=settings.device,
        dtype=settings.dtype,
        context_tokens=settings.context_tokens,
        memory_gib=settings.memory_gib,
        threads=settings.threads,
        niceness=settings.niceness,
        cache_dtype=settings.cache_dtype,
        allow_download=settings.allow_download,
        backend=settings.backend,
        endpoint=settings.endpoint,
        remote_model=settings.remote_model,
        api_key_file=settings.api_key_file,
        remote_timeout_ms=settings.remote_timeout_ms,
    )


def settings_table() -> str:
    """Return the README's Markdown table of all settings, without a final newline."""
    rows = ["| setting | default | values | what it does |", "|---|---|---|---|"]
    for name, setting in SETTINGS.items():
        default = _wire_value(getattr(DEFAULTS, name))
        shown = default if isinstance(default, str) else _shown(default)
        rows.append(
            f"| `{setting.key}` | `{shown}` | {setting.values} "
            f"| {setting.description} |"
        )
    return "\n".join(rows)


class _BadValueError(Exception):
    """A value that its setting does not admit; the text continues '`key` …'."""


def _read(setting: Setting, value: object) -> tuple[object, list[Problem]]:
    """Return the Python value, and what was wrong with single entries of a list."""
    admitted = _one_of(setting.values)
    match setting.kind:
        case "texts":
            return _read_texts(setting, value)
        case "text":
            good = _is_text(value)
            admitted = "a text that is not blank"
        case "device":
            good = isinstance(value, str) and bool(re.fullmatch(DEVICE_PATTERN, value))
        case "endpoint" | "file":
            pattern = FILE_PATTERN if setting.kind == "file" else ENDPOINT_PATTERN
            good = _is_text(value) and bool(re.fullmatch(pattern, str(value)))
        case "choice":
            good = isinstance(value, str) and value in setting.choices
        case "flag":
            good = isinstance(value, bool)
        case "integer" | "number":
            if setting.automatic and value == "auto":
                return None, []
            number = _number(setting, value)
            good = number is not None
            value = value if number is None else number
    if not good:
        given = "" if setting.private else f", not {_shown(value)}"
        raise _BadValueError(f"must be {admitted}{given}")
    return value, []


def _number(setting: Setting, value: object) -> float | None:
    """Return ``value`` as the kind of number that ``setting`` holds, if it is one.

    JSON has one kind of number, and some clients write 128 as 128.0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # NaN fails the comparison, and a huge integer never becomes a float.
    if not setting.minimum <= value <= setting.maximum:
        return None
    if setting.kind == "number":
        return float(value)
    return int(value) if value == int(value) else None


def _read_texts(
    setting: Setting, value: object
) -> tuple[tuple[str, ...], list[Problem]]:
    """Keep the good entries: one slip in `exclude` must not let all the others in."""
    if not isinstance(value, list | tuple):
        raise _BadValueError(f"must be a list of texts, not {_shown(value)}")
    good: list[str] = []
    problems: list[Problem] = []
    for index, entry in enumerate(value):
        wrong = None
        if not isinstance(entry, str) or not _is_text(entry):
            wrong = f"must be a text that is not blank, not {_shown(entry)}"
        elif setting.globs and not _can_match(entry):
            wrong = f"is no glob that can match a file: {_shown(entry)}"
        else:
            good.append(entry)
        if wrong is not None:
            message = f"`{setting.key}[{index}]` {wrong}; this entry is left out."
            problems.append(Problem(setting.key, message))
    return tuple(good), problems


def _is_text(value: object) -> bool:
    """Tell whether ``value`` can be a name or a path: not blank, no NUL, valid."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _can_match(glob: str) -> bool:
    """Tell whether ``glob`` means something to the code that will apply it."""
    with warnings.catch_warnings():
        # POSIX classes only warn, and then match something else.
        warnings.simplefilter("error")
        try:
            patterns = pathspec.GitIgnoreSpec.from_lines([glob]).patterns
        except (ValueError, re.error, Warning):
            return False
    return any(pattern.include is not None for pattern in patterns)


def _unknown(key: str) -> Problem:
    by_folded = {_folded(known): known for known in _NAMES}
    close = difflib.get_close_matches(_folded(key), by_folded, n=1, cutoff=0.6)
    advice = f" Did you mean `{by_folded[close[0]]}`?" if close else ""
    shown = _clipped(key)
    return Problem(key, f"There is no setting `{shown}`; it is ignored.{advice}")


def _folded(key: str) -> str:
    """Make `max_new_tokens` and `lsp-stablecode.maxNewTokens` the same."""
    last = key.rpartition(".")[2]
    return re.sub("[-_ ]", "", last).lower()[: 2 * _SHOWN_CHARACTERS]


def _one_of(values: str) -> str:
    """Turn '`a`, `b`, `c`' into '`a`, `b` or `c`'."""
    head, comma, last = values.rpartition(", ")
    return f"{head} or {last}" if comma else values


def _wire_value(value: object) -> object:
    """Return the JSON form of a field's value."""
    if value is None:
        return "auto"
    return list(value) if isinstance(value, tuple) else value


def _shown(value: object) -> str:
    """Show a JSON value in a message, short whatever its size and depth."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{_clipped(value)}"'
        case int() if value.bit_length() > 64:
            return "a huge number"
        case int() | float():
            return str(value)
        case list() | tuple():
            return _shown_list(value)
        case Mapping():
            return "an object"
        case _:
            return f"a {type(value).__name__}"


def _shown_list(values: Sequence[object]) -> str:
    if len(values) > 4 or not all(isinstance(value, str) for value in values):
        return "a list"
    return f"[{', '.join(map(_shown, values))}]"


def _clipped(text: str) -> str:
    """Cut a long text, and make it one line that UTF-8 can carry."""
    clipped = text[:_SHOWN_CHARACTERS] + ("…" if len(text) > _SHOWN_CHARACTERS else "")
    visible = clipped.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in visible)
