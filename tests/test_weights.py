"""Finding, checking and converting weights: offline, safe, and whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from gguf_files import CASES, logits, random_model, small_tokenizer, write_gguf

from model import hub, weights
from model.convert import usable
from model.errors import (
    DownloadFailedError,
    DownloadNotAllowedError,
    ModelError,
    TokenizerError,
    UnknownModelError,
    UnsafeWeightsError,
    UnsupportedArchitectureError,
    WeightsCorruptError,
    WeightsNotFoundError,
)
from model.interface import LoadProgress
from model.locate import locate

_LLAMA = next(case for case in CASES if case.name == "llama")


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point both caches into the test's own directory."""
    monkeypatch.setenv("LSP_STABLECODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every attempt to connect or to look up a host fail the test."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"network access: {args}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def make_gguf(path: Path, seed: int = 0) -> Any:
    """Write a small random model and return it."""
    tokenizer = small_tokenizer()
    model = random_model(_LLAMA.config(tokenizer.get_vocab_size()), seed)
    write_gguf(model, tokenizer, path, arch=_LLAMA.arch, pre=_LLAMA.pre)
    return model


def make_directory(path: Path, **options: object) -> Any:
    """Save a small random model as Hugging Face does, and return it."""
    tokenizer = small_tokenizer()
    model = random_model(_LLAMA.config(tokenizer.get_vocab_size()))
    model.save_pretrained(path, **options)
    tokenizer.save(str(path / "tokenizer.json"))
    return model


def change_config(directory: Path, **changes: object) -> None:
    """Edit config.json."""
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# Finding


def test_a_directory_is_used_in_place(tmp_path: Path) -> None:
    """No copy, no conversion; the dialect is told by the vocabulary."""
    make_directory(tmp_path / "m")
    prepared = weights.prepare(str(tmp_path / "m"))
    assert prepared.directory == tmp_path / "m"
    assert prepared.entry is None
    assert prepared.dialect == "starcoder"
    assert prepared.stop_tokens == ("<|endoftext|>",)
    assert prepared.context_tokens == 128
    assert not (tmp_path / "cache").exists()
    assert "1 weight file(s) whole" in weights.verify(str(tmp_path / "m"))


def test_a_gguf_file_is_converted_once(tmp_path: Path) -> None:
    """The second time the conversion is found; a changed file is converted again."""
    from transformers import AutoModelForCausalLM

    path = tmp_path / "Small_Model (v1).gguf"
    model = make_gguf(path)
    prepared = weights.prepare(str(path))
    converted = AutoModelForCausalLM.from_pretrained(prepared.directory)
    # bfloat16 keeps eight bits: the order of magnitude shows that it is this model.
    assert abs(logits(converted) - logits(model)).max() < 1.0
    record = prepared.directory / "conversion.json"
    first = record.stat().st_mtime_ns
    assert json.loads(record.read_text())["source"]["sha256"] == (
        sha256(path.read_bytes()).hexdigest()
    )
    weights.prepare(str(path))
    assert record.stat().st_mtime_ns == first
    assert "SHA-256 as when it was converted" in weights.verify(str(path))
    make_gguf(path, seed=1)
    os.utime(path, ns=(1, 1))
    again = weights.prepare(str(path))
    assert again.directory == prepared.directory
    assert record.stat().st_mtime_ns > first


def test_of_a_gguf_file_the_weights_may_stay_where_they_are(tmp_path: Path) -> None:
    """For who reads the file itself: all the rest is there, as it is with them."""
    path = tmp_path / "small.gguf"
    make_gguf(path)
    bare = weights.prepare(str(path), weights=False)
    assert not (bare.directory / "model.safetensors").exists()
    assert bare.gguf == path
    assert bare.has_gguf
    assert "SHA-256 as when it was converted" in weights.verify(str(path))
    whole = weights.prepare(str(path))
    assert (whole.directory / "model.safetensors").exists()
    assert replace(bare, directory=whole.directory) == whole
    assert weights.prepare(str(path), weights=False).directory == whole.directory
    os.utime(path, ns=(1, 1))
    assert weights.prepare(str(path), weights=False).directory == bare.directory


def test_a_known_file_name_brings_the_catalogue_entry(tmp_path: Path) -> None:
    """By name, if the vocabulary does not contradict it."""
    make_gguf(tmp_path / "granite-3b-code-base-Q8_0.gguf")
    prepared = weights.prepare(str(tmp_path / "granite-3b-code-base-Q8_0.gguf"))
    assert prepared.dialect == "granite"
    assert prepared.context_tokens == 128
    make_gguf(tmp_path / "qwen2.5-coder-7b.gguf")
    prepared = weights.prepare(str(tmp_path / "qwen2.5-coder-7b.gguf"))
    assert prepared.entry is None
    assert prepared.dialect == "starcoder"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "no model ''"),
        ("stable-code-3d", "Did you mean stable-code-3b"),
        ("./nowhere", "no file or directory"),
        ("/nowhere/model.gguf", "no file or directory"),
        ("a/b/c", "no model 'a/b/c'"),
        ("../a", "no file or directory"),
        ("owner/..", "no model"),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_an_unknown_name_is_said_to_be_unknown(name: str, text: str) -> None:
    """With the nearest name, or what a path lacks."""
    with pytest.raises(UnknownModelError) as caught:
        weights.prepare(name, allow_download=True)
    assert text in str(caught.value)
    assert not weights.weights_present(name)


@pytest.mark.parametrize("name", ["stable-code-3b", "owner/model", "starcoder2-3b"])
@pytest.mark.usefixtures("no_network")
def test_nothing_is_downloaded_unless_allowed(name: str) -> None:
    """No socket is even opened, and the error says how to allow it."""
    with pytest.raises(DownloadNotAllowedError) as caught:
        weights.prepare(name)
    assert f"models pull {name}" in caught.value.hint
    assert not weights.weights_present(name)
    with pytest.raises(DownloadNotAllowedError):
        weights.verify(name)


def test_a_directory_cannot_stand_in_for_a_catalogue_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workspace with a folder of that name is not taken for the model."""
    make_directory(tmp_path / "stable-code-3b")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DownloadNotAllowedError):
        locate("stable-code-3b")
    assert locate("./stable-code-3b").path == tmp_path / "stable-code-3b"


# Refusing


def test_presence_asks_for_config_and_weights(tmp_path: Path) -> None:
    """Any other directory is no model."""
    assert not weights.weights_present(str(tmp_path))
    make_directory(tmp_path / "m")
    assert weights.weights_present(str(tmp_path / "m"))
    make_gguf(tmp_path / "m.gguf")
    assert weights.weights_present(str(tmp_path / "m.gguf"))


def test_pickles_are_refused(tmp_path: Path) -> None:
    """Only pickled weights: refused by name, and never opened."""
    make_directory(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    (tmp_path / "m" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(UnsafeWeightsError, match="pickled"):
        weights.prepare(str(tmp_path / "m"))
    with pytest.raises(UnsafeWeightsError, match="pickle"):
        weights.prepare(str(tmp_path / "m" / "pytorch_model.bin"))


def test_code_of_a_repository_is_never_run(tmp_path: Path) -> None:
    """A model that needs its own code is refused; one that only offers it is not."""
    directory = tmp_path / "m"
    make_directory(directory)
    (directory / "evil.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n"
    )
    auto_map = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.C"}
    change_config(directory, auto_map=auto_map)
    assert weights.prepare(str(directory)).directory == directory
    change_config(directory, model_type="evil")
    with pytest.raises(UnsafeWeightsError, match="never run"):
        weights.prepare(str(directory))
    change_config(directory, auto_map=None)
    assert not (tmp_path / "ran").exists()


def test_trust_remote_code_is_never_on() -> None:
    """No call in the package switches it on."""
    root = Path(weights.__file__).parent
    for path in root.glob("*.py"):
        assert "trust_remote_code=True" not in path.read_text("utf-8")


def test_an_unknown_kind_is_unsupported(tmp_path: Path) -> None:
    """A model type that transformers does not know."""
    make_directory(tmp_path / "m")
    change_config(tmp_path / "m", model_type="evil")
    with pytest.raises(UnsupportedArchitectureError, match="'evil'"):
        weights.prepare(str(tmp_path / "m"))


def test_what_a_directory_lacks_is_named(tmp_path: Path) -> None:
    """Config, weights or tokenizer: each has its own error."""
    directory = tmp_path / "m"
    make_directory(directory)
    (directory / "tokenizer.json").rename(directory / "t")
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        weights.prepare(str(directory))
    (directory / "t").rename(directory / "tokenizer.json")
    (directory / "model.safetensors").unlink()
    with pytest.raises(WeightsNotFoundError, match=r"no model\.safetensors"):
        weights.prepare(str(directory))
    (directory / "config.json").unlink()
    with pytest.raises(UnknownModelError, match=r"no config\.json"):
        weights.prepare(str(directory))
    (directory / "config.json").write_text("[1")
    with pytest.raises(WeightsCorruptError, match="cannot be read"):
        weights.prepare(str(directory))
    (directory / "config.json").write_text("[1]")
    with pytest.raises(WeightsCorruptError, match="no model's configuration"):
        weights.prepare(str(directory))


def test_a_damaged_tokenizer_has_a_name(tmp_path: Path) -> None:
    """Broken JSON and JSON that is no tokenizer."""
    make_directory(tmp_path / "m")
    for text in ("{", "[]", "{}", '{"model": {"vocab": 3}}'):
        (tmp_path / "m" / "tokenizer.json").write_text(text)
        with pytest.raises(TokenizerError, match="cannot be read"):
            weights.prepare(str(tmp_path / "m"))


def _flip_length(raw: bytes) -> bytes:
    return (len(raw) * 2).to_bytes(8, "little") + raw[8:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"x",
        lambda raw: raw[:100],
        lambda raw: raw[:5],
        lambda raw: b"",
        _flip_length,
        lambda raw: raw[:8] + b"x" + raw[9:],
        lambda raw: raw.replace(b'"F32"', b'"F16"', 1),
    ],
)
def test_damaged_safetensors_are_found_without_reading_them(
    damage: Any, tmp_path: Path
) -> None:
    """Cut anywhere, grown, or with a header that lies."""
    make_directory(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(WeightsCorruptError, match="damaged"):
        weights.prepare(str(tmp_path / "m"))


def test_missing_shards_are_named(tmp_path: Path) -> None:
    """An index that lists files that are not there, or tensors they lack."""
    directory = tmp_path / "m"
    make_directory(directory, max_shard_size="20KB")
    shards = sorted(directory.glob("*.safetensors"))
    assert len(shards) > 2
    assert weights.prepare(str(directory)).directory == directory
    index = directory / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["nowhere.weight"] = shards[0].name
    index.write_text(json.dumps(content))
    with pytest.raises(WeightsCorruptError, match=r"nowhere\.weight"):
        weights.prepare(str(directory))
    shards[1].unlink()
    with pytest.raises(WeightsCorruptError, match=shards[1].name):
        weights.prepare(str(directory))
    index.write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))
    with pytest.raises(WeightsCorruptError, match="no weight index"):
        weights.prepare(str(directory))


# Converting, whole or not at all


_CHILD = """
import sys, time
from model import weights

def progress(step):
    print(step.stage, flush=True)
    if step.stage == sys.argv[2]:
        time.sleep(600)

print(weights.prepare(sys.argv[1], progress=progress).directory, flush=True)
"""


def start_child(path: Path, pause_at: str) -> subprocess.Popen[str]:
    """Start another process that converts, and pauses at a stage."""
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(path), pause_at],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(weights.__file__).parents[1],
    )


@pytest.mark.parametrize("stage", ["convert weights", "convert tokenizer"])
def test_a_killed_conversion_leaves_nothing_that_looks_whole(
    stage: str, tmp_path: Path
) -> None:
    """SIGKILL in the middle: no half directory, and the next run works."""
    path = tmp_path / "m.gguf"
    make_gguf(path)
    with start_child(path, stage) as child:
        assert child.stdout is not None
        while child.stdout.readline().strip() != stage:
            pass
        child.send_signal(signal.SIGKILL)
    models = tmp_path / "cache" / "models"
    left = [p for p in models.iterdir() if p.is_dir()]
    assert len(left) == 1
    assert left[0].name.startswith(".")
    prepared = weights.prepare(str(path))
    assert usable(prepared.directory)
    assert [p for p in models.iterdir() if p.is_dir()] == [prepared.directory]


def test_two_processes_convert_once(tmp_path: Path) -> None:
    """The second waits for the first and uses what it made."""
    path = tmp_path / "m.gguf"
    make_gguf(path)
    children = [start_child(path, "never") for _ in range(2)]
    outputs = [child.communicate(timeout=120)[0].splitlines() for child in children]
    assert outputs[0][-1] == outputs[1][-1]
    assert usable(Path(outputs[0][-1]))
    assert sum("convert tokenizer" in output for output in outputs) == 1


@pytest.mark.parametrize(
    "damage", ["truncate", "no record", "bad config", "old version"]
)
def test_a_damaged_conversion_is_made_again(damage: str, tmp_path: Path) -> None:
    """What the cache holds is checked before it is used."""
    path = tmp_path / "m.gguf"
    make_gguf(path)
    directory = weights.prepare(str(path)).directory
    good = (directory / "model.safetensors").read_bytes()
    record = directory / "conversion.json"
    if damage == "truncate":
        (directory / "model.safetensors").write_bytes(good[:-50])
    elif damage == "no record":
        record.unlink()
    elif damage == "bad config":
        (directory / "config.json").write_text("{")
    else:
        record.write_text(
            json.dumps({**json.loads(record.read_text()), "converter_version": 0})
        )
    assert weights.prepare(str(path)).directory == directory
    assert (directory / "model.safetensors").read_bytes() == good
    assert usable(directory)


def test_a_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    """An error in the middle cleans up behind itself."""
    path = tmp_path / "m.gguf"
    make_gguf(path)
    path.write_bytes(path.read_bytes().replace(b"token_embd", b"token_embx"))
    with pytest.raises(WeightsCorruptError):
        weights.prepare(str(path))
    assert not [p for p in (tmp_path / "cache/models").iterdir() if p.is_dir()]


def test_a_full_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The space is asked for first."""
    path = tmp_path / "m.gguf"
    make_gguf(path)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda p: shutil._ntuple_diskusage(9, 8, 1)
    )
    with pytest.raises(ModelError, match="of disk") as caught:
        weights.prepare(str(path))
    assert "LSP_STABLECODE_CACHE" in caught.value.hint


def test_a_cache_that_cannot_be_written_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the directory should be."""
    path = tmp_path / "m.gguf"
    make_gguf(path)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LSP_STABLECODE_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="cannot be written"):
        weights.prepare(str(path))


# The hub


class Hub(BaseHTTPRequestHandler):
    """Enough of the hub's interface for one repository."""

    files: dict[str, bytes]
    refuse: tuple[int, str] | None = None
    requested: list[str]
    commit = "a" * 40

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        """Answer with the headers only."""
        self._answer(body=False)

    def do_GET(self) -> None:
        """Answer."""
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        type(self).requested.append(path)
        if self.refuse:
            status, code = self.refuse
            self._send(status, b"{}", {"X-Error-Code": code}, body=body)
        elif "/resolve/" in path:
            raw = self.files[path.rsplit("/", 1)[1]]
            headers = {"ETag": f'"{sha256(raw).hexdigest()}"'}
            self._send(200, raw, {**headers, "X-Repo-Commit": self.commit}, body=body)
        elif "/tree/" in path:
            tree = [
                {
                    "type": "file",
                    "path": n,
                    "size": len(r),
                    "oid": sha256(r).hexdigest(),
                }
                for n, r in self.files.items()
            ]
            self._send(200, json.dumps(tree).encode(), {}, body=body)
        else:
            info = {
                "id": "owner/model",
                "sha": self.commit,
                "siblings": [{"rfilename": name} for name in self.files],
            }
            self._send(200, json.dumps(info).encode(), {}, body=body)

    def _send(
        self, status: int, raw: bytes, headers: dict[str, str], *, body: bool
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if body:
            self.wfile.write(raw)


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """Serve a small model, with pickles and code beside it, on this machine."""
    from huggingface_hub import constants

    make_directory(tmp_path / "remote", max_shard_size="20KB")
    files = {p.name: p.read_bytes() for p in (tmp_path / "remote").iterdir()}
    files |= {"pytorch_model.bin": b"pickle", "evil.py": b"raise SystemExit"}
    handler = type("Handler", (Hub,), {"files": files, "requested": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        endpoint + "/{repo_id}/resolve/{revision}/{filename}",
    )
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_pull_fetches_data_only_and_then_needs_no_network(
    fake_hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Safetensors, JSON and tokenizer, with progress; later starts stay offline."""
    steps: list[LoadProgress] = []
    prepared = weights.prepare(
        "owner/model", allow_download=True, progress=steps.append
    )
    names = {path.name for path in prepared.directory.iterdir()}
    assert "tokenizer.json" in names
    assert not {name for name in names if name.endswith((".bin", ".py"))}
    assert not [p for p in fake_hub.requested if p.endswith((".bin", ".py"))]
    fractions = [step.fraction for step in steps if step.stage == "download"]
    assert fractions[-1] == 1.0
    asked = len(fake_hub.requested)
    assert weights.weights_present("owner/model")
    again = weights.prepare("owner/model")
    assert again.directory == prepared.directory
    assert len(fake_hub.requested) == asked
    assert "by SHA-256" in weights.verify("owner/model")


def test_a_changed_blob_in_the_hub_cache_is_found(fake_hub: type[Hub]) -> None:
    """The cache names large files by their SHA-256."""
    directory = weights.prepare("owner/model", allow_download=True).directory
    blob = next(directory.glob("*.safetensors")).resolve()
    raw = bytearray(blob.read_bytes())
    raw[-1] ^= 1
    blob.write_bytes(raw)
    with pytest.raises(WeightsCorruptError, match="SHA-256"):
        weights.verify("owner/model")


def test_an_incomplete_snapshot_is_not_taken_for_the_model(
    fake_hub: type[Hub],
) -> None:
    """One shard missing: it counts as absent until it is pulled again."""
    directory = weights.prepare("owner/model", allow_download=True).directory
    next(directory.glob("*.safetensors")).unlink()
    assert hub.cached_snapshot("owner/model") is None
    with pytest.raises(DownloadNotAllowedError):
        weights.prepare("owner/model")
    assert weights.prepare("owner/model", allow_download=True).directory == directory


@pytest.mark.parametrize(
    ("status", "code", "kind", "text"),
    [
        (404, "RepoNotFound", UnknownModelError, "has no model owner/model"),
        (403, "GatedRepo", DownloadFailedError, "hf auth login"),
        (401, "GatedRepo", DownloadFailedError, "Accept it on the model's page"),
        (403, "", DownloadFailedError, "hf auth login"),
        (500, "", DownloadFailedError, "status 500"),
    ],
)
@pytest.mark.timeout(120)
def test_what_the_hub_refuses_is_said_in_a_sentence(
    status: int, code: str, kind: type[ModelError], text: str, fake_hub: type[Hub]
) -> None:
    """Unknown, gated, forbidden or broken, each with what to do."""
    fake_hub.refuse = (status, code)
    with pytest.raises(kind) as caught:
        weights.prepare("owner/model", allow_download=True)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hub_that_does_not_answer_is_said_so(
    fake_hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connection refused."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadFailedError, match="does not answer"):
        weights.prepare("owner/model", allow_download=True)


def test_the_hubs_own_offline_switch_is_obeyed(
    fake_hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    """HF_HUB_OFFLINE wins over our permission, and is named."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadFailedError, match="HF_HUB_OFFLINE"):
        weights.prepare("owner/model", allow_download=True)
    assert fake_hub.requested == []


def test_a_repository_of_pickles_is_refused(fake_hub: type[Hub]) -> None:
    """It has no safetensors, so nothing of its weights is fetched."""
    for name in [n for n in fake_hub.files if "safetensors" in n]:
        del fake_hub.files[name]
    with pytest.raises(UnsafeWeightsError, match="no weights in safetensors"):
        weights.prepare("owner/model", allow_download=True)


def test_a_full_disk_during_a_download_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No space left on the device."""
    import errno

    import huggingface_hub

    def full(*args: object, **kwargs: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    with pytest.raises(DownloadFailedError, match="does not fit on the disk"):
        weights.prepare("owner/model", allow_download=True)


def test_the_hub_cache_is_where_its_variables_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same order as in the hub's own package."""
    assert hub.hub_cache() == tmp_path / "hf" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "other"))
    assert hub.hub_cache() == tmp_path / "other"
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert hub.hub_cache() == tmp_path / "xdg" / "huggingface" / "hub"
