"""Control tokens of every family: never made of user text, never shown to the user."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import make_tokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from model import EngineInfo, FillRequest
from model.catalog import CATALOG, CONTROL_TOKENS, CatalogEntry
from model.dialects import DIALECTS, Slot
from model.engine import LocalEngine
from model.fim import PromptBuilder
from model.interface import ContextChunk
from model.logits import NumpyLogits
from model.tokenizer import CodeTokenizer

# One of each that differ.
_ENTRIES = {(one.dialect, one.stop_tokens): one for one in CATALOG}.values()


def tokens_of(entry: CatalogEntry) -> list[str]:
    """Return every control token that prompts of a model use or stop at."""
    dialect = DIALECTS[entry.dialect]
    templates = [dialect.psm, dialect.spm, dialect.prefix_only]
    parts = [part for template in templates for part in template or ()]
    used = [part for part in parts if not isinstance(part, Slot)]
    return sorted({*used, *dialect.repository.tokens, *entry.stop_tokens})


def added(tokens: Sequence[str], *, special: bool) -> Tokenizer:
    """Byte-level BPE that learnt the tokens afterwards, as most families' do."""
    tokenizer = make_tokenizer()
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.add_tokens([AddedToken(one, special=special) for one in tokens])
    return tokenizer


def as_words(tokens: Sequence[str]) -> Tokenizer:
    """Return one whose words they are: any text cut at blanks may become them."""
    spec = json.loads(make_tokenizer().to_str())
    spec["added_tokens"] = []
    vocabulary = spec["model"]["vocab"]
    for token in tokens:
        vocabulary.setdefault(token, len(vocabulary))
    spec["model"]["ignore_merges"] = True
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    # Byte by byte they are spelled otherwise, so words of ASCII only.
    return tokenizer


def as_pieces(tokens: Sequence[str]) -> Tokenizer:
    """Return one of pieces with scores, in which they are the best of all."""
    letters = sorted({*"abcdefghijklmnopqrstuvwxyz_ =()\n▁", *"".join(tokens)})
    pieces = [("<unk>", 0.0), *((one, -5.0) for one in letters)]
    pieces += [(one, -1.0) for one in tokens if len(one) > 1]
    tokenizer = Tokenizer(models.Unigram(pieces, 0, byte_fallback=False))
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


_MAKERS: dict[str, Callable[[Sequence[str]], Tokenizer]] = {
    "special": lambda tokens: added(tokens, special=True),
    "not special": lambda tokens: added(tokens, special=False),
    "words": as_words,
    "pieces": as_pieces,
}


def load(make: Callable[[Sequence[str]], Tokenizer], entry: CatalogEntry) -> Any:
    """Return a model's tokenizer in one of these kinds."""
    spec = json.loads(make(tokens_of(entry)).to_str())
    return CodeTokenizer._from_spec(spec)


@pytest.mark.parametrize("kind", _MAKERS)
@pytest.mark.parametrize("entry", _ENTRIES, ids=lambda entry: entry.name)
def test_user_text_never_becomes_a_control_token(
    entry: CatalogEntry, kind: str
) -> None:
    """Not alone, not within a word, not in other files; a prompt has its own only."""
    tokenizer = load(_MAKERS[kind], entry)
    tokens = tokens_of(entry)
    ids = {tokenizer.control_id(token) for token in tokens}
    assert ids <= tokenizer.control_ids
    prompts = PromptBuilder(
        tokenizer, DIALECTS[entry.dialect], entry.default_fim_order, entry.stop_tokens
    )
    assert ids <= prompts.stop_ids
    for token in [*tokens, *CONTROL_TOKENS]:
        for text in (token, f"a {token} b", f"x{token}y", token + token):
            found = tokenizer.encode(text)
            assert not tokenizer.control_ids & set(found), text
            if kind in ("special", "not special"):
                assert tokenizer.decode(found) == text
    hostile = " ".join(tokens * 4) + "\n"
    harmless = ("x = y " * len(hostile))[: len(hostile) - 1] + "\n"
    for order in ("psm", "spm"):
        plain, spelled = (
            prompts.build(
                text * 3,
                text,
                order=order,
                budget_tokens=2000,
                heal=True,
                context=(ContextChunk("a.py", text),),
                path="b.py",
                repository="r",
            )
            for text in (harmless, hostile)
        )
        assert _control(tokenizer, spelled) == _control(tokenizer, plain)


def _control(tokenizer: CodeTokenizer, prompt: Any) -> list[int]:
    return [one for one in prompt.token_ids if one in tokenizer.control_ids]


class ScriptedBackend:
    """Says ``script`` over and over, whatever it is asked."""

    name = "scripted"
    chunk_tokens = 128
    num_sessions = 1
    pass_costs_ms = ()

    def __init__(self, script: Sequence[int], vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.num_cached_tokens = 0
        self._next = dict(zip(script, [*script[1:], script[0]], strict=True))
        self._first = script[0]

    def forward(self, token_ids: Sequence[int], num_logits: int = 1) -> NumpyLogits:
        self.num_cached_tokens += len(token_ids)
        return self._say(token_ids[-max(1, num_logits) :])

    def most_branches(self, num_shared: int, num_steps: int) -> int:
        return 8

    def branch(self, token_ids: Sequence[int], num_shared: int) -> NumpyLogits:
        return self._say(token_ids)

    def truncate(self, num_tokens: int) -> None:
        self.num_cached_tokens = min(self.num_cached_tokens, num_tokens)

    def select(self, session: int) -> None:
        pass

    def close(self) -> None:
        pass

    def _say(self, token_ids: Sequence[int]) -> NumpyLogits:
        scores = np.zeros((len(token_ids), self.vocab_size), np.float32)
        for row, token_id in zip(scores, token_ids, strict=True):
            row[self._next.get(token_id, self._first)] = 9.0
        return NumpyLogits(scores)


@pytest.mark.parametrize("kind", _MAKERS)
@pytest.mark.parametrize("entry", _ENTRIES, ids=lambda entry: entry.name)
def test_control_tokens_end_a_text_and_are_not_shown(
    entry: CatalogEntry, kind: str
) -> None:
    """Alone or as one of several candidates, drafted, streamed or healed."""
    tokenizer = load(_MAKERS[kind], entry)
    tokens = tokens_of(entry)
    prompts = PromptBuilder(
        tokenizer, DIALECTS[entry.dialect], entry.default_fim_order, entry.stop_tokens
    )
    before, after = tokenizer.encode("return")[-1], tokenizer.encode("print")[-1]
    info = EngineInfo("x", "x", "cpu", "float32", 512, prompts.orders, 0.0)
    for control in sorted(tokenizer.control_ids):
        vocab_size = max(before, after, *tokenizer.control_ids) + 1
        backend: Any = ScriptedBackend([before, control, after], vocab_size)
        engine = LocalEngine(backend, tokenizer, prompts, info)
        # A prompt may end with the very token.
        said = [tokenizer.decode([before]), tokenizer.decode([after, before])]
        for num_candidates in (1, 3):
            streamed: list[str] = []
            result = engine.fill(
                FillRequest("x = (", ")\n", 8, num_candidates=num_candidates),
                on_text=streamed.append,
            )
            assert result.candidates[0].text in said
            assert result.candidates[0].finish_reason == "eos"
            texts = [one.text for one in result.candidates] + streamed
            assert not any(token in text for token in tokens for text in texts)
        assert control not in set(tokenizer.vocabulary.beginning_with(b"<"))


def test_the_numbers_in_a_tokenizer_are_not_believed(tmp_path: Path) -> None:
    """What counts is the id that a token really has."""
    spec = json.loads(make_tokenizer().to_str())
    [end] = [one for one in spec["added_tokens"] if one["content"] == "<|endoftext|>"]
    end["id"] += 100
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(spec))
    tokenizer = CodeTokenizer.from_file(path)
    assert tokenizer.control_id("<|endoftext|>") in tokenizer.control_ids
