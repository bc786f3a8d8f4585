"""Each kind of model file: how a case is damaged, and everybody who reads it."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

from absurd_files import ABSURD
from weight_damage import Chooser, damage_bytes, damage_json, disguised, json_text

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


class Fuzzer:
    """One kind of file: ``damage`` writes a case, ``read`` reads it.

    ``read`` returns whether the file was taken for a good one.
    """

    def __init__(self, base: Path, folder: Path) -> None:
        self.base = base
        self.folder = folder

    def damage(self, chooser: Chooser) -> None:
        raise NotImplementedError

    def read(self) -> bool:
        raise NotImplementedError


class SafetensorsFuzzer(Fuzzer):
    """A single file; the ``safetensors`` package must see what we see."""

    def __init__(self, base: Path, folder: Path) -> None:
        super().__init__(base, folder)
        self.path = folder / "model.safetensors"
        self.raw = (base / "small.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", self.raw[:8])
        self.header = json.loads(self.raw[8 : 8 + length])
        self.data = self.raw[8 + length :]

    def damage(self, chooser: Chooser) -> None:
        kind = chooser.random()
        if kind < 0.05:
            self.path.write_bytes(disguised(chooser))
        elif kind < 0.3:
            reach = len(self.raw) - len(self.data)
            self.path.write_bytes(damage_bytes(self.raw, chooser, reach))
        else:
            header = json_text(damage_json(self.header, chooser), chooser)
            length = len(header)
            if chooser.random() < 0.1:
                length = chooser.near(length) % (1 << 64)
            tail = self.data
            if chooser.random() < 0.2:
                tail = damage_bytes(tail, chooser) if tail else b"x"
            self.path.write_bytes(struct.pack("<Q", length) + header + tail)

    def read(self) -> bool:
        import numpy as np
        from safetensors import safe_open

        from model.errors import WeightsCorruptError
        from model.safetensors_files import MappedFile, SafetensorsFile

        mapped = MappedFile(self.path)
        with SafetensorsFile(self.path) as ours, safe_open(self.path, "np") as theirs:
            assert sorted(theirs.keys()) == sorted(ours.entries)
            for name, entry in ours.entries.items():
                assert tuple(theirs.get_slice(name).get_shape()) == entry.shape
                try:
                    array = mapped.array(name)
                except WeightsCorruptError:
                    continue  # a number format that nobody here wants
                if entry.shape:
                    rows = ours.rows(name, 0, entry.shape[0])
                    assert rows.tobytes() == array.tobytes()
                if entry.dtype != "BF16":
                    expected = theirs.get_tensor(name)
                    assert np.array_equal(expected, array, equal_nan=True)
        return True


class IndexFuzzer(Fuzzer):
    """Shards and their index."""

    def __init__(self, base: Path, folder: Path) -> None:
        super().__init__(base, folder)
        self.index = json.loads((base / "sharded" / _INDEX).read_text())
        self.shards = sorted((base / "sharded").glob("*.safetensors"))

    def damage(self, chooser: Chooser) -> None:
        for shard in self.shards:
            shutil.copy(shard, self.folder / shard.name)
        content = damage_json(self.index, chooser)
        (self.folder / _INDEX).write_bytes(json_text(content, chooser))
        if chooser.random() < 0.2:
            path = self.folder / chooser.choice(self.shards).name
            path.write_bytes(damage_bytes(path.read_bytes(), chooser, 2000))

    def read(self) -> bool:
        from model.safetensors_files import check_directory, read_header

        paths = check_directory(self.folder)
        held = [name for path in paths for name in read_header(path)]
        assert len(held) == len(set(held))
        assert all(path.parent == self.folder for path in paths)
        return bool(paths)


class GgufFuzzer(Fuzzer):
    """A GGUF file, up to its tokenizer and a configuration our decoders take."""

    def __init__(self, base: Path, folder: Path) -> None:
        super().__init__(base, folder)
        self.path = folder / "model.gguf"
        self.raws = [one.read_bytes() for one in sorted(base.glob("*.gguf"))]
        self.offsets = [_gguf_numbers(one) for one in sorted(base.glob("*.gguf"))]

    def damage(self, chooser: Chooser) -> None:
        number = chooser.randrange(len(self.raws))
        raw, offsets = self.raws[number], self.offsets[number]
        kind = chooser.random()
        if kind < 0.05:
            self.path.write_bytes(disguised(chooser))
        elif kind < 0.35:
            self.path.write_bytes(damage_bytes(raw, chooser, max(offsets)[0]))
        else:
            # Numbers whose place is known: counts, kinds, sizes, offsets.
            data = bytearray(raw)
            for _ in range(chooser.choice((1, 1, 2, 3))):
                at, code = chooser.choice(offsets)
                (old,) = struct.unpack_from(code, data, at)
                if code in ("<f", "<d"):
                    new: Any = chooser.choice((0.0, -1.0, 1e-30, 1e30, _INF, _NAN))
                else:
                    new = chooser.near(old) % (1 << 8 * struct.calcsize(code))
                struct.pack_into(code, data, at, new)
            self.path.write_bytes(bytes(data))

    def read(self) -> bool:
        import gguf

        from model.convert import NO_WEIGHTS, Source, convert_gguf
        from model.decoder_config import read_decoder_config
        from model.directory import read_config
        from model.gguf_reader import GgufFile
        from model.tokenizer import CodeTokenizer

        with GgufFile(self.path) as file:
            theirs = {one.name: one for one in gguf.GGUFReader(self.path).tensors}
            assert theirs.keys() == file.tensors.keys()
            for name, tensor in file.tensors.items():
                assert tuple(map(int, theirs[name].shape)) == tensor.shape[::-1]
                raw = b"".join(p.raw().tobytes() for p in file.pieces(tensor))
                assert raw == theirs[name].data.tobytes()
        converted = self.folder / "converted"
        converted.mkdir()
        source = Source("fuzzed", "", 0)
        convert_gguf(self.path, converted, source, dtype=NO_WEIGHTS)
        _use(CodeTokenizer.from_file(converted / "tokenizer.json"))
        read_decoder_config(read_config(converted))
        return True


_INF, _NAN = float("inf"), float("nan")


def _gguf_numbers(path: Path) -> list[tuple[int, str]]:
    """Return where the numbers of a GGUF header lie, and how each is written."""
    import gguf

    codes = {4: "<I", 5: "<i", 6: "<f", 10: "<Q", 7: "<B"}
    found = [(4, "<I"), (8, "<Q"), (16, "<Q")]
    reader = gguf.GGUFReader(path)
    for field in reader.fields.values():
        if field.name.startswith("GGUF."):
            continue
        name_bytes = len(field.name.encode())
        found.append((field.offset, "<Q"))
        kind_at = field.offset + 8 + name_bytes
        found.append((kind_at, "<I"))
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            found += [(kind_at + 4, "<I"), (kind_at + 8, "<Q")]
        elif field.types[0] == gguf.GGUFValueType.STRING:
            found.append((kind_at + 4, "<Q"))
        else:
            found.append((kind_at + 4, codes[int(field.types[0])]))
    for tensor in reader.tensors:
        at = tensor.field.offset
        found.append((at, "<Q"))
        at += 8 + len(tensor.name.encode())
        found.append((at, "<I"))
        dims = len(tensor.shape)
        found += [(at + 4 + 8 * one, "<Q") for one in range(dims)]
        found += [(at + 4 + 8 * dims, "<I"), (at + 8 + 8 * dims, "<Q")]
    return found


class ConfigFuzzer(Fuzzer):
    """A ``config.json``, up to the names of the tensors it asks for."""

    def __init__(self, base: Path, folder: Path) -> None:
        super().__init__(base, folder)
        self.configs = [
            json.loads(one.read_text()) for one in sorted(base.glob("*/config.json"))
        ]
        self.names = {
            one.parent.name: _tensor_names(one)
            for one in base.glob("*/model.safetensors")
        }

    def damage(self, chooser: Chooser) -> None:
        content = damage_json(chooser.choice(self.configs), chooser)
        (self.folder / "config.json").write_bytes(json_text(content, chooser))

    def read(self) -> bool:
        from model.decoder_config import read_decoder_config
        from model.directory import read_config
        from model.families import decoder_tensors
        from model.packed_layout import matrix_shapes, vector_sizes
        from model.packer import check_shape

        config = read_decoder_config(read_config(self.folder))
        check_shape(config)
        matrix_shapes(config)
        vector_sizes(config)
        decoder_tensors(config, self.names.get(config.family, ()))
        return True


def _tensor_names(path: Path) -> list[str]:
    from model.safetensors_files import read_header

    return list(read_header(path))


class TokenizerFuzzer(Fuzzer):
    """A ``tokenizer.json`` and what a prompt needs of it."""

    def __init__(self, base: Path, folder: Path) -> None:
        super().__init__(base, folder)
        self.spec = json.loads((base / "qwen2" / "tokenizer.json").read_text())

    def damage(self, chooser: Chooser) -> None:
        spec = dict(self.spec)
        if chooser.random() < 0.7:
            # Its parts, not always the six hundred words.
            part = chooser.choice([one for one in spec if one != "model"])
            spec[part] = damage_json([spec[part]], chooser)
            if isinstance(spec[part], list) and len(spec[part]) == 1:
                spec[part] = spec[part][0]
        else:
            spec = damage_json(spec, chooser)
        (self.folder / "tokenizer.json").write_bytes(json_text(spec, chooser))
        settings = damage_json({"eos_token": {"content": "</s>"}}, chooser)
        path = self.folder / "tokenizer_config.json"
        path.write_bytes(json_text(settings, chooser))

    def read(self) -> bool:
        from model.catalog import guess_dialect
        from model.dialects import DIALECTS
        from model.directory import end_token, vocabulary
        from model.fim import PromptBuilder
        from model.tokenizer import CodeTokenizer

        end_token(self.folder)
        dialect = DIALECTS[guess_dialect(vocabulary(self.folder))]
        tokenizer = CodeTokenizer.from_file(self.folder / "tokenizer.json")
        _use(tokenizer)
        prompts = PromptBuilder(tokenizer, dialect, "psm")
        prompts.build("a = <fim_mid", "\n", order="auto", budget_tokens=128, heal=True)
        return True


def _use(tokenizer: Any) -> None:
    """Encode, decode and heal with a tokenizer that was taken for a good one."""
    from model.healing import plan_healing
    from model.tokenizer import StreamingDecoder

    text = "def f(x):\n\treturn <fim_prefix> é 😀 <|endoftext|>  # x"
    token_ids, starts = tokenizer.encode_with_offsets(text)
    assert not tokenizer.control_ids & set(token_ids)
    assert len(starts) == len(token_ids)
    tokenizer.decode(token_ids)
    decoder = StreamingDecoder(tokenizer, token_ids[:4])
    for token_id in token_ids[4:]:
        decoder.push(token_id)
    plan_healing(tokenizer, token_ids)


class PackedFuzzer(Fuzzer):
    """Our own packed weights; what is taken for good is computed with."""

    def __init__(self, base: Path, folder: Path) -> None:
        super().__init__(base, folder)
        self.packed = base / "packed"
        self.record = json.loads((self.packed / "packed.json").read_text())
        raw = (self.packed / "packed.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        self.header = json.loads(raw[8 : 8 + length])
        self.raw, self.data = raw, raw[8 + length :]

    def damage(self, chooser: Chooser) -> None:
        record, raw = json.dumps(self.record).encode(), self.raw
        if chooser.random() < 0.6:
            record = json_text(damage_json(self.record, chooser), chooser)
        else:
            header = json_text(damage_json(self.header, chooser), chooser)
            if chooser.random() < 0.5:
                # Whole, but elsewhere.
                header = json.dumps(self.header).encode() + b" " * chooser.randrange(99)
            raw = struct.pack("<Q", len(header)) + header + self.data
        (self.folder / "packed.json").write_bytes(record)
        (self.folder / "packed.safetensors").write_bytes(raw)
        pairs = damage_json([[1, 1.5], [2, 2.5], [4, 3], [8, 4], [16, 9]], chooser)
        (self.folder / "passes.json").write_bytes(json_text(pairs, chooser))

    def read(self) -> bool:
        from model.decoder_config import read_decoder_config
        from model.directory import read_config
        from model.draft import Drafter
        from model.native_backend import NativeBackend
        from model.packed_weights import PackedWeights
        from model.pass_costs import read_pass_costs

        costs = read_pass_costs(self.folder / "passes.json")
        Drafter(costs or ()).propose(8, 1)
        config = read_decoder_config(read_config(self.base / "qwen2"))
        weights = PackedWeights(self.folder, config)
        backend = NativeBackend(
            weights, config, context_tokens=128, num_sessions=1, num_threads=1
        )
        backend.forward(list(range(5, 25))).greedy()
        backend.close()
        return True


class RecordFuzzer(Fuzzer):
    """What a conversion says of itself, and the habits of the user."""

    def __init__(self, base: Path, folder: Path) -> None:
        super().__init__(base, folder)
        self.record = {
            "source": {"description": "x", "sha256": "0", "num_bytes": 3},
            "dtype": "bfloat16",
            "file_bytes": {"config.json": 2, "tokenizer.json": 2},
            "converter_version": 1,
            "notes": ["a"],
        }
        shown = [{"shown": 3, "accepted": 1} for _ in range(3)]
        self.habits = {"version": 1, "counts": {"line": shown, "block": shown}}

    def damage(self, chooser: Chooser) -> None:
        for name in ("config.json", "tokenizer.json"):
            (self.folder / name).write_text("{}")
        for name, content in (
            ("conversion.json", self.record),
            ("habits.json", self.habits),
        ):
            raw = json_text(damage_json(content, chooser), chooser)
            (self.folder / name).write_bytes(raw)

    def read(self) -> bool:
        from lsp_stablecode.judgement.habits_file import HabitsFile
        from model.convert import usable

        HabitsFile(self.folder).read()
        return usable(self.folder) is not None


class EngineFuzzer(Fuzzer):
    """A whole directory or GGUF file, loaded and asked for a completion."""

    def __init__(self, base: Path, folder: Path) -> None:
        super().__init__(base, folder)
        import torch  # before the memory is bounded
        import transformers  # noqa: F401

        torch.set_num_threads(1)
        self.families = [base / "qwen2", base / "stablelm", base / "gpt_neox"]
        self.gguf = GgufFuzzer(base, folder)
        os.environ["LSP_STABLECODE_CACHE"] = str(folder / "cache")

    def damage(self, chooser: Chooser) -> None:
        if chooser.random() < 0.3:
            self.gguf.damage(chooser)
            return
        directory = self.folder / "model"
        shutil.copytree(chooser.choice(self.families), directory)
        names = ("config.json", "tokenizer.json", _SINGLE)
        for name in chooser.sample(names, chooser.choice((1, 1, 2))):
            path = directory / name
            raw = path.read_bytes()
            if name == _SINGLE:
                (length,) = struct.unpack("<Q", raw[:8])
                header = damage_json(json.loads(raw[8 : 8 + length]), chooser)
                text = json_text(header, chooser)
                data = raw[8 + length :]
                if chooser.random() < 0.5:
                    text, data = raw[8 : 8 + length], damage_bytes(data, chooser)
                path.write_bytes(struct.pack("<Q", len(text)) + text + data)
            else:
                content = damage_json(json.loads(raw), chooser)
                path.write_bytes(json_text(content, chooser))

    def read(self) -> bool:
        from model import EngineOptions, FillRequest, load_engine

        model = self.folder / "model"
        if not model.exists():
            model = self.folder / "model.gguf"
        engine = load_engine(EngineOptions(model=str(model), device="cpu", threads=1))
        try:
            engine.fill(FillRequest("def f(x):\n    ret", "\n", 4, heal=True))
        finally:
            engine.close()
        return True


class AbsurdFuzzer(Fuzzer):
    """Files that promise more than any memory holds; one after the other."""

    def __init__(self, base: Path, folder: Path) -> None:
        super().__init__(base, folder)
        self.number = -1

    def damage(self, chooser: Chooser) -> None:
        self.number = (self.number + 1) % len(ABSURD)
        name, begin, num_bytes = ABSURD[self.number]
        with (self.folder / name).open("wb") as file:
            file.write(begin())
            file.truncate(max(num_bytes, file.tell()))

    def read(self) -> bool:
        from model.directory import read_config, vocabulary
        from model.gguf_configs import Header
        from model.gguf_reader import GgufFile
        from model.safetensors_files import check_directory, read_header
        from model.tokenizer import CodeTokenizer

        path = next(self.folder.iterdir())
        if path.suffix == ".gguf":
            with GgufFile(path) as file:
                Header(file)
        elif path.suffix == ".safetensors":
            read_header(path)
        elif path.name == _INDEX:
            check_directory(self.folder)
        elif path.name == "config.json":
            read_config(self.folder)
        elif self.number % 2:
            vocabulary(self.folder)
        else:
            CodeTokenizer.from_file(path)
        raise AssertionError(f"{ABSURD[self.number][0]} was taken for good")
