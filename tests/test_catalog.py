"""The catalogue: facts that belong together, and dialects told by the vocabulary."""

from __future__ import annotations

import subprocess
import sys

import pytest

from model.catalog import (
    CATALOG,
    CONTROL_TOKENS,
    DIALECT_MARKERS,
    DIALECT_STOPS,
    CatalogEntry,
    find_entry,
    guess_dialect,
    speaks,
)
from model.dialects import DIALECTS, Slot

_PARTICULAR = [name for name, _ in DIALECT_MARKERS]


def test_names_are_unique_and_found_in_any_case() -> None:
    """A name or a repository leads to exactly one entry."""
    assert len({entry.name for entry in CATALOG}) == len(CATALOG)
    for entry in CATALOG:
        assert find_entry(entry.name.upper()) is entry
        if entry.repo_id:
            assert find_entry(entry.repo_id) is entry
    assert find_entry("no-such-model") is None


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_every_entry_is_complete(entry: CatalogEntry) -> None:
    """Each entry can be fetched, prompted, stopped and sized."""
    assert entry.dialect in DIALECTS
    assert (entry.repo_id is None) == (entry.source == "starter")
    assert entry.stop_tokens
    assert entry.licence
    assert entry.title
    assert 1024 <= entry.context_tokens <= 131072
    assert 100_000_000 < entry.num_parameters < 25_000_000_000
    orders = DIALECTS[entry.dialect].orders
    assert not orders or entry.default_fim_order in orders


def test_every_dialect_has_stops_and_knows_its_control_tokens() -> None:
    """The catalogue and the formats speak of the same dialects and tokens."""
    assert set(DIALECT_STOPS) == set(DIALECTS)
    for dialect in DIALECTS.values():
        templates = [t for t in (dialect.psm, dialect.spm) if t]
        parts = {part for template in templates for part in template}
        # The first token of a document is the tokenizer's own, not infilling's.
        own = {"<s>", "<bos>", "<｜begin▁of▁sentence｜>"}
        tokens = {p for p in parts if not isinstance(p, Slot)} - own
        assert tokens <= CONTROL_TOKENS


@pytest.mark.parametrize("dialect", _PARTICULAR)
def test_a_dialect_is_told_by_its_control_tokens(dialect: str) -> None:
    """A vocabulary with exactly a dialect's markers is taken for it."""
    markers = dict(DIALECT_MARKERS)[dialect]
    assert guess_dialect([*markers, "def", "return"]) == dialect
    assert speaks(dialect, frozenset(markers))


def test_a_vocabulary_without_control_tokens_has_no_dialect() -> None:
    """Half of the markers are not enough."""
    assert guess_dialect(["def", "return", "<|endoftext|>"]) == "none"
    assert guess_dialect(["<fim_prefix>", "<fim_suffix>"]) == "none"
    assert not speaks("granite", ["<fim_prefix>"])


def test_stable_code_is_not_taken_for_starcoder() -> None:
    """Its GPT-NeoX vocabulary has StarCoder's tokens and one of its own."""
    tokens = ["<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<reponame>"]
    assert guess_dialect(tokens) == "starcoder"
    assert guess_dialect([*tokens, "<|padding|>"]) == "stable-code"


def test_importing_the_weights_side_imports_no_heavy_package() -> None:
    """The server names models before torch is there."""
    heavy = "{'torch', 'transformers', 'tokenizers', 'numpy', 'huggingface_hub'}"
    code = f"import sys, model.weights; sys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
