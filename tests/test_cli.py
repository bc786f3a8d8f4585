"""The command line: what it prints, and how it fails."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

_SOURCE = "def area(width, height):\n    return width * height\n\n\ndef area\n"


def run(
    *arguments: str | Path, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lsp_stablecode", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        timeout=120,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a folder é" / "area.py"
    path.parent.mkdir()
    path.write_text(_SOURCE, "utf-8")
    return path


def test_complete_prints_the_text_and_nothing_else(source: Path) -> None:
    """The completion alone on standard output, ready for a script."""
    done = run("complete", f"{source}:5:9", "--model", "echo")
    assert done.returncode == 0
    assert done.stdout == "(width, height):"
    assert done.stderr == ""


def test_complete_json_has_the_documented_shape(source: Path) -> None:
    """``--json`` prints one object with items, outcome, tokens and timings."""
    done = run("complete", f"{source}:5:9", "--model", "echo", "--json")
    answer = json.loads(done.stdout)
    assert set(answer) == {
        "items",
        "outcome",
        "model",
        "device",
        "tokens",
        "timings_ms",
    }
    assert answer["items"][0] == {
        "insert_text": "(width, height):",
        "range": {
            "start": {"line": 5, "column": 9},
            "end": {"line": 5, "column": 9},
        },
    }
    assert answer["outcome"] == "shown"
    assert answer["model"] == "echo"
    assert set(answer["tokens"]) == {"prompt", "reused", "generated", "forwards"}
    assert set(answer["timings_ms"]) == {"load", "prefill", "decode", "total"}


def test_complete_explain(source: Path) -> None:
    """``--explain`` says on standard error what happened and why."""
    done = run("complete", f"{source}:5:9", "--model", "echo", "--explain")
    assert done.stdout == "(width, height):"
    for word in ("outcome", "shape", "candidate 1", "reused", "milliseconds"):
        assert word in done.stderr


def _gguf(architecture: str) -> bytes:
    """Return a minimal GGUF file: a header and one metadata string."""

    def string(text: str) -> bytes:
        return struct.pack("<Q", len(text)) + text.encode()

    key = string("general.architecture")
    return (
        b"GGUF"
        + struct.pack("<IQQ", 3, 0, 1)
        + key
        + struct.pack("<I", 8)
        + string(architecture)
        + bytes(64)
    )


def _bad_inputs(folder: Path) -> dict[str, tuple[list[str], str]]:
    """Return arguments and a word that the sentence must hold, by name."""
    source = folder / "a.py"
    source.write_text(_SOURCE, "utf-8")
    (folder / "latin.py").write_bytes("x = 'é'\n".encode("latin-1"))
    (folder / "unknown.gguf").write_bytes(_gguf("nosucharch"))
    (folder / "broken.gguf").write_bytes(b"GGUF\x03\0\0\0garbage")
    (folder / "text.gguf").write_text("not a model")
    pickled = folder / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text('{"model_type": "gpt_neox"}')
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x02}")
    (folder / "empty").mkdir()
    place = f"{source}:5:9"
    complete = ["complete", place, "--model"]
    return {
        "missing file": (["complete", f"{folder / 'no.py'}:1:1"], "no.py"),
        "a directory": (["complete", f"{folder}:1:1"], "directory"),
        "line outside": (["complete", f"{source}:99:1"], "no line 99"),
        "line 0": (["complete", f"{source}:0:1"], "no line 0"),
        "column outside": (["complete", f"{source}:1:99"], "no column 99"),
        "no position": (["complete", str(source)], "PATH:LINE:COLUMN"),
        "undecodable": (["complete", f"{folder / 'latin.py'}:1:1"], "UTF-8"),
        "missing model": ([*complete, str(folder / "nothing")], "nothing"),
        "unknown name": ([*complete, "stable-kode"], "stable-kode"),
        "unknown repo": ([*complete, "some/model"], "some/model"),
        "not pulled": ([*complete, "stable-code-3b"], "models pull"),
        "unknown architecture": (
            [*complete, str(folder / "unknown.gguf")],
            "nosucharch",
        ),
        "corrupt GGUF": ([*complete, str(folder / "broken.gguf")], "broken.gguf"),
        "no GGUF": ([*complete, str(folder / "text.gguf")], "text.gguf"),
        "pickle": ([*complete, str(pickled)], "safetensors"),
        "empty directory": ([*complete, str(folder / "empty")], "empty"),
        "no such device": ([*complete, "starter", "--device", "cuda:7"], "cuda"),
        "nonsense device": ([*complete, "starter", "--device", "gpu"], "gpu"),
        "absurd context": ([*complete, "echo", "--context-tokens", "5"], "256"),
        "nonsense dtype": ([*complete, "starter", "--dtype", "int3"], "int3"),
        "unwritable trace": (
            [*complete, "echo", "--trace", str(folder / "no" / "trace")],
            "trace",
        ),
        "bad address": (["serve", "--tcp", "nowhere"], "HOST:PORT"),
        "bad echo": ([*complete, "echo:soon"], "echo"),
        "verify unknown": (["models", "verify", "stable-kode"], "stable-kode"),
        "path not here": (["models", "path", "stable-code-3b"], "models pull"),
    }


_NAMES = (
    "missing file",
    "a directory",
    "line outside",
    "line 0",
    "column outside",
    "no position",
    "undecodable",
    "missing model",
    "unknown name",
    "unknown repo",
    "not pulled",
    "unknown architecture",
    "corrupt GGUF",
    "no GGUF",
    "pickle",
    "empty directory",
    "no such device",
    "nonsense device",
    "absurd context",
    "nonsense dtype",
    "unwritable trace",
    "bad address",
    "bad echo",
    "verify unknown",
    "path not here",
)


@pytest.mark.parametrize("name", _NAMES)
def test_bad_input_is_one_clear_sentence(name: str, tmp_path: Path) -> None:
    """A named error: exit code 1, a sentence with what to do, no traceback."""
    arguments, word = _bad_inputs(tmp_path)[name]
    done = run(*arguments)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert word in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("lsp-stablecode: ")
    assert lines[0].count(". ") >= 1, "a hint follows the sentence"


def test_every_bad_input_is_tried(tmp_path: Path) -> None:
    """The list of names above is complete."""
    assert set(_NAMES) == set(_bad_inputs(tmp_path))


def test_wrong_usage_is_2() -> None:
    """No command, an unknown one, an unknown option: exit code 2."""
    for arguments in ([], ["nonsense"], ["complete"], ["serve", "--nonsense"]):
        assert run(*arguments).returncode == 2


@pytest.mark.parametrize(
    "command",
    [[], ["serve"], ["complete"], ["models"], ["models", "list"], ["doctor"]],
)
def test_help_is_worth_reading(command: list[str]) -> None:
    """Every command has help with a description."""
    done = run(*command, "--help")
    assert done.returncode == 0
    assert len(done.stdout) > 200


def test_models_list_as_json() -> None:
    """The catalogue, with what is here."""
    rows = json.loads(run("models", "list", "--json").stdout)
    by_name = {row["name"]: row for row in rows}
    for name in ("starter", "stable-code-3b", "stablecode-completion-alpha-3b-4k"):
        assert name in by_name
    assert by_name["stable-code-3b"]["context_tokens"] == 16384


def test_doctor_with_echo() -> None:
    """The report has findings and a test completion."""
    done = run("doctor", "--model", "echo", "--json")
    assert done.returncode == 0, done.stderr
    subjects = {finding["subject"] for finding in json.loads(done.stdout)}
    assert {"system", "versions", "memory", "GPU", "model", "test"} <= subjects


def test_doctor_says_what_to_type(tmp_path: Path) -> None:
    """Advice is shown to the letter: brackets in it are no markup."""
    done = run("doctor", "--model", str(tmp_path / "nothing"))
    assert done.returncode == 1
    assert "✗" in done.stdout
    assert "no file or directory" in " ".join(done.stdout.split())
    from lsp_stablecode.commands.doctor import Finding, _table

    console = Console(file=io.StringIO(), width=200)
    console.print(_table([Finding("weights", "x [/red]", "pip install a[starter]")]))
    assert "a[starter]" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_narrow_output_encoding_is_no_error(source: Path) -> None:
    """What a console cannot write is replaced, and the rest is there."""
    path = source.with_name("é.py")
    path.write_text("naïve_ünit = '→'\nx = 1\nna", "utf-8")
    for arguments in (["--json"], []):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "lsp_stablecode", "complete"),
                *(f"{path}:3:3", "--model", "echo", *arguments),
            ],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b"nit = " in done.stdout


@pytest.mark.parametrize("module", ["lsp_stablecode.server", "lsp_stablecode.cli"])
def test_serving_starts_without_torch(module: str) -> None:
    """Neither torch nor transformers is imported before a model is loaded."""
    code = (
        f"import sys, {module}; "
        "print([n for n in ('torch', 'transformers', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
