"""What prompts need of a model computed elsewhere: its config and tokenizer alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from remote import write_prompt_files
from test_weights import Hub, caches, fake_hub, make_gguf  # noqa: F401

from model import weights
from model.errors import (
    DownloadNotAllowedError,
    TokenizerError,
    UnknownModelError,
    WeightsNotFoundError,
)
from model.prompt_files import find_prompt_files

pytestmark = pytest.mark.usefixtures("caches")


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_directory_needs_no_weights(tmp_path: Path) -> None:
    """The same directory is no model that could be computed here."""
    files = write_prompt_files(tmp_path / "tiny")
    prepared = find_prompt_files(str(files))
    assert prepared.directory == files
    assert prepared.dialect == "starcoder"
    assert prepared.context_tokens == 512
    with pytest.raises(WeightsNotFoundError):
        weights.prepare(str(files))


def test_a_directory_needs_a_tokenizer(tmp_path: Path) -> None:
    files = write_prompt_files(tmp_path / "tiny")
    (files / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match=r"no tokenizer\.json"):
        find_prompt_files(str(files))


def test_a_directory_needs_a_config(tmp_path: Path) -> None:
    files = write_prompt_files(tmp_path / "tiny")
    (files / "config.json").unlink()
    with pytest.raises(UnknownModelError):
        find_prompt_files(str(files))


def test_of_a_gguf_file_the_weights_are_left(tmp_path: Path) -> None:
    """Its tokenizer is converted once, beside where the whole model would be."""
    path = tmp_path / "small.gguf"
    make_gguf(path)
    prepared = find_prompt_files(str(path))
    assert {"config.json", "tokenizer.json"} <= names_in(prepared.directory)
    assert "model.safetensors" not in names_in(prepared.directory)
    written = (prepared.directory / "conversion.json").stat().st_mtime_ns
    assert find_prompt_files(str(path)).directory == prepared.directory
    assert (prepared.directory / "conversion.json").stat().st_mtime_ns == written
    whole = weights.prepare(str(path)).directory
    assert whole != prepared.directory
    assert (whole / "tokenizer.json").read_bytes() == (
        prepared.directory / "tokenizer.json"
    ).read_bytes()


def test_from_the_hub_comes_no_weight(request: pytest.FixtureRequest) -> None:
    """Only what is asked for, only if allowed, and only once."""
    hub: type[Hub] = request.getfixturevalue("fake_hub")
    with pytest.raises(DownloadNotAllowedError, match="tokenizer of owner/model"):
        find_prompt_files("owner/model")
    assert hub.requested == []
    prepared = find_prompt_files("owner/model", allow_download=True)
    assert names_in(prepared.directory) <= {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert not [one for one in hub.requested if "safetensors" in one]
    asked = len(hub.requested)
    assert find_prompt_files("owner/model").directory == prepared.directory
    assert len(hub.requested) == asked
    assert not weights.weights_present("owner/model")
    # A later download of the weights is not misled by what is there.
    whole = weights.prepare("owner/model", allow_download=True)
    assert any("safetensors" in name for name in names_in(whole.directory))
    assert find_prompt_files("owner/model").directory == whole.directory


def test_a_snapshot_without_a_tokenizer_does_not_count(
    request: pytest.FixtureRequest,
) -> None:
    request.getfixturevalue("fake_hub")
    directory = find_prompt_files("owner/model", allow_download=True).directory
    (directory / "tokenizer.json").unlink()
    with pytest.raises(DownloadNotAllowedError):
        find_prompt_files("owner/model")
    shutil.rmtree(directory)
    with pytest.raises(DownloadNotAllowedError):
        find_prompt_files("owner/model")
