"""GGUF files: every family converts to the same model, and damage has a name."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf_files import (
    CASES,
    FIM_TOKENS,
    FamilyCase,
    logits,
    random_model,
    small_tokenizer,
    write_gguf,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, StableLmConfig

from model.convert import Source, convert_gguf
from model.errors import (
    ModelError,
    TokenizerError,
    UnsupportedArchitectureError,
    WeightsCorruptError,
)
from model.gguf_configs import Header
from model.gguf_families import FAMILIES, family_of, map_tensors
from model.gguf_reader import GgufFile

SOURCE = Source("test", "0" * 64, 1)


def write_case(case: FamilyCase, path: Path, **options: object) -> object:
    """Write a case's random model and return it."""
    tokenizer = small_tokenizer()
    model = random_model(case.config(tokenizer.get_vocab_size()))
    write_gguf(model, tokenizer, path, arch=case.arch, pre=case.pre, **options)
    return model


def convert(path: Path, directory: Path, **options: object) -> Path:
    """Convert in float32 unless told otherwise."""
    directory.mkdir()
    convert_gguf(path, directory, SOURCE, **{"dtype": "float32", **options})
    return directory


def load(directory: Path) -> object:
    """Load as users' transformers would."""
    return AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, local_files_only=True, use_safetensors=True
    ).eval()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_converted_model_computes_what_the_original_computes(
    case: FamilyCase, tmp_path: Path
) -> None:
    """HF → GGUF → our conversion → transformers: the logits are the same."""
    model = write_case(case, tmp_path / "model.gguf")
    converted = load(convert(tmp_path / "model.gguf", tmp_path / "out"))
    np.testing.assert_allclose(logits(converted), logits(model), atol=2e-5, rtol=1e-5)


def test_every_family_has_a_case() -> None:
    """No family is listed as supported without a proof."""
    tested = {gguf.MODEL_ARCH_NAMES[case.arch] for case in CASES}
    assert tested == set(FAMILIES)


def test_stable_code_gets_the_rope_base_its_gguf_lacks(tmp_path: Path) -> None:
    """Vocabulary 50304, context 16384, 32 layers: the base is 1,000,000."""
    config = StableLmConfig(
        vocab_size=50304,
        hidden_size=32,
        intermediate_size=16,
        num_hidden_layers=32,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=16384,
        initializer_range=0.1,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 1e6,
            "partial_rotary_factor": 0.25,
        },
    )
    model = random_model(config)
    path = tmp_path / "stable-code.gguf"
    write_gguf(
        model, small_tokenizer(), path, arch=gguf.MODEL_ARCH.STABLELM, pre="olmo"
    )
    with GgufFile(path) as file:
        assert "stablelm.rope.freq_base" not in file.metadata
    directory = convert(path, tmp_path / "out")
    written = json.loads((directory / "config.json").read_text())
    assert written["rope_theta"] == 1e6
    assert written["rope_parameters"]["rope_theta"] == 1e6
    loaded = AutoConfig.from_pretrained(directory)
    assert loaded.rope_parameters["rope_theta"] == 1e6
    assert loaded.rope_parameters["partial_rotary_factor"] == 0.25
    converted = load(directory)
    np.testing.assert_allclose(logits(converted), logits(model), atol=2e-5, rtol=1e-5)
    config.rope_parameters["rope_theta"] = 1e4
    wrong = random_model(config)
    assert np.abs(logits(wrong) - logits(model)).max() > 1e-3


def test_a_catalogue_rope_base_is_used_only_where_the_file_has_none(
    tmp_path: Path,
) -> None:
    """What the file states wins over what the catalogue assumes."""
    cases = {case.name: case for case in CASES}
    for name, expected in (("stablelm", 123.0), ("llama", 1e6)):
        write_case(cases[name], tmp_path / f"{name}.gguf")
        directory = convert(
            tmp_path / f"{name}.gguf", tmp_path / name, rope_theta=123.0
        )
        config = AutoConfig.from_pretrained(directory)
        assert config.rope_parameters["rope_theta"] == expected


def test_partial_rotary_survives_for_gpt_neox(tmp_path: Path) -> None:
    """The older and the newer spelling of the rotary settings agree."""
    case = next(case for case in CASES if case.name == "gptneox")
    write_case(case, tmp_path / "model.gguf")
    directory = convert(tmp_path / "model.gguf", tmp_path / "out")
    written = json.loads((directory / "config.json").read_text())
    assert written["rotary_pct"] == 0.25
    loaded = AutoConfig.from_pretrained(directory)
    assert loaded.rope_parameters["partial_rotary_factor"] == 0.25


@pytest.mark.parametrize("name", ["F16", "BF16", "Q8_0", "Q4_0", "Q5_0", "Q5_1"])
def test_quantised_tensors_are_what_the_gguf_package_makes_of_them(
    name: str, tmp_path: Path
) -> None:
    """Cutting into pieces, threads and bf16 change nothing but the rounding."""
    from safetensors.torch import load_file

    case = next(case for case in CASES if case.name == "llama")
    kind = gguf.GGMLQuantizationType[name]
    path = tmp_path / "model.gguf"
    config = case.config(300)
    config.hidden_size, config.intermediate_size = 64, 96
    config.head_dim = 16
    write_gguf(
        random_model(config),
        small_tokenizer(),
        path,
        arch=case.arch,
        quantization=kind,
    )
    directory = convert(path, tmp_path / "out", dtype="bfloat16")
    ours = load_file(directory / "model.safetensors")
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    for layer in range(2):
        tensor = tensors[f"blk.{layer}.ffn_down.weight"]
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        expected = torch.from_numpy(values.copy()).to(torch.bfloat16)
        assert torch.equal(ours[f"model.layers.{layer}.mlp.down_proj.weight"], expected)


def test_the_converted_tokenizer_is_the_original(tmp_path: Path) -> None:
    """Ids of text and of control tokens are kept, and control tokens are special."""
    case = next(case for case in CASES if case.name == "starcoder2")
    write_case(case, tmp_path / "model.gguf")
    directory = convert(tmp_path / "model.gguf", tmp_path / "out")
    ours = Tokenizer.from_file(str(directory / "tokenizer.json"))
    original = small_tokenizer()
    text = "def add(a, b):\n    return a  +  b\n# été 你好 🙂\n"
    assert ours.encode(text).ids == original.encode(text).ids
    assert ours.decode(ours.encode(text).ids) == text
    for token in FIM_TOKENS:
        assert ours.token_to_id(token) == original.token_to_id(token)
        assert ours.encode(token).ids == [original.token_to_id(token)]
    ours.encode_special_tokens = True
    assert len(ours.encode("<fim_middle>").ids) > 1


@pytest.mark.parametrize(
    ("pre", "text", "pieces"),
    [
        ("starcoder", "x1 = 345", ["x", "1", " =", " ", "3", "4", "5"]),
        ("qwen2", "x1 = 345", ["x", "1", " =", " ", "3", "4", "5"]),
        ("llama-bpe", "x1 = 345", ["x", "1", " =", " ", "345"]),
        ("olmo", "x1 = 345", ["x", "1", " =", " 345"]),
        ("deepseek-coder", "a_b\n12", ["a", "_", "b", "\n", "1", "2"]),
    ],
)
def test_pre_tokenisers_cut_as_their_models_were_trained(
    pre: str, text: str, pieces: list[str]
) -> None:
    """Numbers and lines are cut the way each vocabulary's merges expect."""
    from model.gguf_tokenizer import _pre_tokenizer

    cut = _pre_tokenizer(pre).pre_tokenize_str(text)
    assert [text[start:end] for _, (start, end) in cut] == pieces


def test_neox_tokenizers_normalise_and_others_do_not(tmp_path: Path) -> None:
    """GPT-NeoX vocabularies were trained on NFC text."""
    decomposed = "e\N{COMBINING ACUTE ACCENT}"
    for name, expected in (("stablelm", "é"), ("qwen2", decomposed)):
        case = next(case for case in CASES if case.name == name)
        write_case(case, tmp_path / f"{name}.gguf")
        directory = convert(tmp_path / f"{name}.gguf", tmp_path / name)
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        assert tokenizer.decode(tokenizer.encode(decomposed).ids) == expected


def test_a_missing_pre_tokeniser_is_assumed_and_noted(tmp_path: Path) -> None:
    """Old files do not name it; the family's is taken and the user is told."""
    case = next(case for case in CASES if case.name == "starcoder2")
    tokenizer = small_tokenizer()
    model = random_model(case.config(tokenizer.get_vocab_size()))
    path = tmp_path / "model.gguf"
    write_gguf(model, tokenizer, path, arch=case.arch, pre=None)
    directory = convert(path, tmp_path / "out")
    notes = json.loads((directory / "conversion.json").read_text())["notes"]
    assert any("starcoder is assumed" in note for note in notes)


def test_an_unknown_pre_tokeniser_goes_through_transformers(tmp_path: Path) -> None:
    """What is not listed here is left to transformers, and the user is told."""
    case = next(case for case in CASES if case.name == "qwen2")
    tokenizer = small_tokenizer()
    model = random_model(case.config(tokenizer.get_vocab_size()))
    path = tmp_path / "model.gguf"
    write_gguf(model, tokenizer, path, arch=case.arch, pre="chameleon")
    directory = convert(path, tmp_path / "out")
    notes = json.loads((directory / "conversion.json").read_text())["notes"]
    assert any("converted by transformers" in note for note in notes)
    ours = Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert ours.token_to_id("<fim_prefix>") == tokenizer.token_to_id("<fim_prefix>")


def test_a_file_without_a_vocabulary_is_a_tokenizer_error(tmp_path: Path) -> None:
    """Converters can leave the vocabulary out."""
    path = tmp_path / "model.gguf"
    write_case(CASES[0], path)
    raw = path.read_bytes().replace(b"tokenizer.ggml.merges", b"tokenizer.ggml.xerges")
    path.write_bytes(raw)
    with pytest.raises(TokenizerError, match="merges are missing"):
        convert(path, tmp_path / "out")


def test_an_unknown_architecture_is_named_with_the_supported_ones(
    tmp_path: Path,
) -> None:
    """The message says what it is and what would do."""
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_tensor("token_embd.weight", np.zeros((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UnsupportedArchitectureError, match=r"'mamba'.*gptneox.*qwen2"):
        convert(path, tmp_path / "out")


def test_a_part_of_a_split_model_is_refused(tmp_path: Path) -> None:
    """The user learns how to join the parts."""
    path = tmp_path / "model-00001-of-00003.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint16("split.count", 3)
    writer.add_tensor("token_embd.weight", np.zeros((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UnsupportedArchitectureError, match="one of 3 parts"):
        convert(path, tmp_path / "out")


def test_transformers_loads_the_converted_tokenizer_unchanged(tmp_path: Path) -> None:
    """AutoTokenizer keeps digit splitting, which it drops for gpt_neox by itself."""
    from transformers import AutoTokenizer

    case = next(case for case in CASES if case.name == "gptneox")
    write_case(case, tmp_path / "model.gguf")
    directory = convert(tmp_path / "model.gguf", tmp_path / "out")
    ours = Tokenizer.from_file(str(directory / "tokenizer.json"))
    theirs = AutoTokenizer.from_pretrained(directory).backend_tokenizer
    text = "x = 12345 + y1\n<fim_prefix>"
    assert theirs.encode(text).ids == ours.encode(text).ids


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    """A file that lacks a layer's matrix is not converted."""
    path = tmp_path / "model.gguf"
    write_case(CASES[0], path, skip=lambda name: name == "blk.1.attn_k.weight")
    with pytest.raises(WeightsCorruptError, match=r"blk\.1\.attn_k\.weight"):
        convert(path, tmp_path / "out")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of a good file."""
    path = tmp_path_factory.mktemp("whole") / "model.gguf"
    write_case(CASES[0], path)
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.1, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_corrupt(
    share: float, whole: bytes, tmp_path: Path
) -> None:
    """Wherever it breaks off, the error has a name."""
    path = tmp_path / "model.gguf"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsCorruptError):
        GgufFile(path)


def test_absurd_counts_are_refused_at_once(whole: bytes, tmp_path: Path) -> None:
    """A count larger than the file could hold allocates nothing."""
    path = tmp_path / "model.gguf"
    for offset in (8, 16, 24):  # tensors, metadata entries, the first key's length
        for count in (1 << 40, (1 << 64) - 1):
            damaged = bytearray(whole)
            damaged[offset : offset + 8] = struct.pack("<Q", count)
            path.write_bytes(damaged)
            with pytest.raises(WeightsCorruptError):
                GgufFile(path)


def test_garbage_is_corrupt(tmp_path: Path) -> None:
    """Random bytes, a missing file, and a directory are all named errors."""
    path = tmp_path / "model.gguf"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    for wrong in (path, tmp_path / "absent.gguf", tmp_path):
        with pytest.raises(WeightsCorruptError):
            GgufFile(wrong)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_damage_in_the_header_raises_anything_but_our_errors(
    data: st.DataObject, whole: bytes, tmp_path: Path
) -> None:
    """Whatever bytes are hit, reading works or fails with a named error."""
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        # The header is where the structure is; the rest are plain numbers.
        position = data.draw(st.integers(0, len(whole) // 3))
        damaged[position] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damaged)
    try:
        with GgufFile(path) as file:
            header = Header(file)
            family = family_of(header)
            family.config(header)
            map_tensors(header, family)
    except ModelError:
        pass
