"""Model files that lie: a named error before memory is exhausted, never a crash.

What is damaged and who reads it stands in ``weight_readers.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import pytest
from absurd_files import ABSURD
from gguf_files import CASES, random_model, small_tokenizer, write_gguf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from tiny import make_model, make_tokenizer, write_model

from model import EngineOptions, compiler, load_engine
from model.convert import NO_WEIGHTS, Source, convert_gguf
from model.decoder_config import read_decoder_config
from model.directory import check_model, end_token, read_config, vocabulary
from model.errors import StablecodeError, WeightsCorruptError
from model.gguf_reader import GgufFile
from model.interface import LoadProgress
from model.locate import locate
from model.packer import write_packed
from model.safetensors_files import SafetensorsFile, read_header
from model.tokenizer import CodeTokenizer
from model.weight_sources import GgufSource, SafetensorsSource

_FUZZER = Path(__file__).parent / "weight_fuzzing.py"
_KINDS = (
    "safetensors",
    "index",
    "gguf",
    "config",
    "tokenizer",
    "packed",
    "records",
)


def make_base(folder: Path) -> None:
    """Write the whole files that are damaged afterwards."""
    for family in ("qwen2", "stablelm", "gpt_neox"):
        (folder / family).mkdir(parents=True)
        write_model(folder / family, family)
    for family in ("llama3_rope", "mistral", "qwen3"):
        make_model(family).config.save_pretrained(folder / family)
    (folder / "sharded").mkdir()
    make_model("qwen2").save_pretrained(folder / "sharded", max_shard_size="100KB")
    tokenizer = small_tokenizer()
    for case in CASES:
        if case.name in ("qwen3", "llama", "gptneox"):
            model = random_model(case.config(tokenizer.get_vocab_size()))
            path = folder / f"{case.name}.gguf"
            write_gguf(model, tokenizer, path, arch=case.arch, pre=case.pre)
    write_gguf(
        make_model("qwen2"),
        make_tokenizer(),
        folder / "qwen2.gguf",
        arch=gguf.MODEL_ARCH.QWEN2,
        quantization=gguf.GGMLQuantizationType.Q8_0,
    )
    shutil.copy(folder / "qwen2" / "model.safetensors", folder / "small.safetensors")
    config = json.loads((folder / "qwen2" / "config.json").read_text())
    (folder / "packed").mkdir()
    with SafetensorsSource(folder / "qwen2") as source:
        decoder = read_decoder_config(config)
        write_packed(source, decoder, folder / "packed", "int8", "fuzzed")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    make_base(folder)
    return folder


def fuzz(
    base: Path, kinds: tuple[str, ...], seed: int, count: int
) -> dict[str, dict[str, Any]]:
    """Run a fuzzer in a process of its own; return what it found, by kind."""
    command = [sys.executable, _FUZZER, base, str(seed), "0", str(count), *kinds]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-4000:]}"
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def test_a_thousand_damaged_files_are_refused_or_read(base: Path) -> None:
    """Whatever is damaged: read as others read it, or refused by a named error."""
    found = fuzz(base, _KINDS, 0, 150)
    assert sum(one["taken"] + one["refused"] for one in found.values()) > 1000
    for kind, one in found.items():
        assert one["refused"] > 50, kind
        assert one["grown_bytes"] < 800 << 20, kind
    # Else nothing would be compared.
    assert found["safetensors"]["taken"]
    assert found["gguf"]["taken"]


def test_damaged_models_are_refused_or_complete(base: Path) -> None:
    """Up to the text of a completion, through every backend there is here."""
    found = fuzz(base, ("engine",), 0, 40)["engine"]
    assert found["taken"]
    assert found["refused"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", [*_KINDS, "engine"])
def test_ten_thousand_damaged_files_are_refused_or_read(kind: str, base: Path) -> None:
    """The same, for longer."""
    found = fuzz(base, (kind,), 1, 1500)[kind]
    assert found["taken"]
    assert found["taken"] + found["refused"] == 1500


@pytest.mark.skipif(sys.platform == "win32", reason="no sparse files without asking")
def test_absurd_counts_are_refused_before_memory_is_exhausted(base: Path) -> None:
    """A gibibyte is enough to say no to files that promise terabytes."""
    found = fuzz(base, ("absurd",), 0, len(ABSURD))["absurd"]
    assert found["refused"] == len(ABSURD)


_NUMBERS = st.integers() | st.sampled_from([0, 4, 8, 1 << 63, 1.5, float("inf")])
_ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "I8", "BF16", "F4", "BOOL", "X", 3]),
        "shape": st.lists(st.integers(-1, 5) | _NUMBERS, max_size=4) | st.none(),
        "data_offsets": st.lists(st.integers(-1, 24) | _NUMBERS, max_size=3),
    },
)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    header=st.dictionaries(st.text(max_size=3), _ITEMS | st.integers(), max_size=3),
    num_bytes=st.integers(0, 24),
    padding=st.sampled_from(["", " ", "\n", "x"]),
)
def test_a_header_is_taken_only_if_the_format_allows_it(
    header: dict[str, Any], num_bytes: int, padding: str, tmp_path: Path
) -> None:
    """What we read, the format's own package reads too, and sees the same."""
    raw = (json.dumps(header) + padding).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(num_bytes))
    try:
        entries = read_header(path)
    except WeightsCorruptError:
        return
    try:
        with safe_open(path, "np") as theirs:
            assert set(theirs.keys()) == set(entries)
            for name, entry in entries.items():
                assert tuple(theirs.get_slice(name).get_shape()) == entry.shape
    except SafetensorError as error:
        pytest.fail(f"{raw!r} is none: {error}")


# --- what is no file ------------------------------------------------------------------


def _make(path: Path, kind: str) -> None:
    """Put something at ``path`` that is no regular file, or no end of one."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        one = socket.socket(socket.AF_UNIX)
        one.bind(str(path))
        one.close()
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.mkdir()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has none of these")
@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "loop", "directory"])
@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "model.safetensors", "model.gguf"]
)
def test_what_is_no_regular_file_is_refused_at_once(
    name: str, kind: str, base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A pipe would be waited for, a device read for ever."""
    # A socket's path must be short.
    monkeypatch.chdir(tmp_path)
    folder = Path("m")
    shutil.copytree(base / "qwen2", folder)
    (folder / name).unlink(missing_ok=True)
    _make(folder / name, kind)
    readers: dict[str, Any] = {
        "config.json": read_config,
        "tokenizer.json": vocabulary,
        "model.safetensors": lambda folder: read_header(folder / name),
        "model.gguf": lambda folder: GgufFile(folder / name),
    }
    with pytest.raises(StablecodeError):
        readers[name](folder)
    if name != "model.gguf":
        with pytest.raises(StablecodeError):
            check_model(folder)
    elif kind != "directory":
        with pytest.raises(StablecodeError):
            locate(str(folder / name))
    if name == "tokenizer.json":
        with pytest.raises(StablecodeError):
            CodeTokenizer.from_file(folder / name)
        (folder / name).rename(folder / "tokenizer_config.json")
        assert end_token(folder) == ()


@pytest.mark.parametrize(
    "name",
    [
        "a" * 5000,
        "~nobody-of-this-name/m.gguf",
        "x\0y.gguf",
        "/" + "d/" * 3000,
        "\ud800",
    ],
)
def test_names_that_no_file_can_have_are_unknown(name: str) -> None:
    """Whatever stands in the settings."""
    with pytest.raises(StablecodeError):
        locate(name)


# --- files that change ----------------------------------------------------------------


def test_a_file_cut_while_it_is_read_is_an_error(base: Path, tmp_path: Path) -> None:
    """Reading a map of it would end the process."""

    def read_gguf(path: Path) -> None:
        with GgufFile(path) as file:
            os.truncate(path, path.stat().st_size // 8)
            for tensor in file.tensors.values():
                for piece in file.pieces(tensor):
                    piece.values()

    def read_safetensors(path: Path) -> None:
        with SafetensorsFile(path) as file:
            os.truncate(path, path.stat().st_size // 8)
            for name, entry in file.entries.items():
                file.rows(name, 0, entry.shape[0])

    for name, read in (
        ("small.safetensors", read_safetensors),
        ("qwen2.gguf", read_gguf),
    ):
        shutil.copy(base / name, tmp_path / name)
        with pytest.raises(WeightsCorruptError, match="somebody writes"):
            read(tmp_path / name)


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def test_a_file_written_to_meanwhile_is_not_converted(
    base: Path, tmp_path: Path
) -> None:
    """Half of it may be the old model, and half the new one."""
    path, out = tmp_path / "m.gguf", tmp_path / "out"
    shutil.copy(base / "qwen2.gguf", path)
    out.mkdir()

    def meddle(progress: LoadProgress) -> None:
        _append(path)

    with pytest.raises(WeightsCorruptError, match="somebody writes"):
        convert_gguf(path, out, Source("", "", 0), dtype=NO_WEIGHTS, progress=meddle)
    directory = tmp_path / "m"
    shutil.copytree(base / "qwen2", directory)
    for source, one in (
        (SafetensorsSource(directory), directory / "model.safetensors"),
        (GgufSource(path), path),
    ):
        with source:
            source.check_unchanged()
            _append(one)
            with pytest.raises(WeightsCorruptError, match="somebody writes"):
                source.check_unchanged()


# --- numbers that are none ------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_weights_that_are_no_numbers_are_refused(
    dtype: str,
    value: float,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One in the head would make its token the most probable for ever."""
    compiler.load_kernels()  # those that are compiled already
    monkeypatch.setenv("LSP_STABLECODE_CACHE", str(tmp_path / "cache"))
    directory = tmp_path / "m"
    shutil.copytree(base / "qwen2", directory)
    path = directory / "model.safetensors"
    with SafetensorsFile(path) as file:
        start = file.data_start + file.entries["lm_head.weight"].start
    with path.open("r+b") as raw:
        raw.seek(start + 40 * 64 * 4)
        raw.write(struct.pack("<f", value))
    options = EngineOptions(model=str(directory), device="cpu", dtype=dtype)
    with pytest.raises(WeightsCorruptError, match="no number"):
        load_engine(options)
