"""Names that only other open files define, with a real model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lsp_stablecode.completion import generate
from lsp_stablecode.context.gather import Gatherer
from lsp_stablecode.context.place import OpenText, Surroundings
from lsp_stablecode.gathering import gather
from lsp_stablecode.query import Query
from lsp_stablecode.settings import Settings
from model import Engine, EngineOptions, load_engine

pytestmark = pytest.mark.model

# Words that no public code holds together: the model cannot know these functions.
_MODULES = {
    "harbour": ("moor_vessel_at", "quay", "vessel, berth"),
    "orchard": ("graft_scion_onto", "scion", "scion, rootstock"),
    "apiary": ("requeen_weak_hive", "hive", "hive, queen"),
    "foundry": ("pour_molten_batch", "ladle", "batch, mould"),
    "bindery": ("sew_signature_block", "thread", "signature, thread"),
    "dairy": ("churn_cream_until", "cream", "cream, thickness"),
    "quarry": ("split_slab_along", "slab", "slab, vein"),
    "tannery": ("soak_hide_in_liquor", "hide", "hide, liquor"),
    "brewery": ("pitch_yeast_into_wort", "wort", "yeast, wort"),
    "weaver": ("beat_weft_into_shed", "weft", "weft, shed"),
}


def _module(name: str, function: str, word: str, parameters: str) -> str:
    first = parameters.split(",")[0]
    return (
        f'"""What the {name} does."""\n\n\n'
        f"class {name.title()}Error(Exception):\n"
        f'    """The {word} was not ready."""\n\n\n'
        f"def check_{word}({first}):\n"
        f"    if {first} is None:\n"
        f'        raise {name.title()}Error("{word}")\n\n\n'
        f"def {function}({parameters}):\n"
        f"    check_{word}({first})\n"
        f"    return {first}\n"
    )


def _document(name: str, parameters: str) -> str:
    first, second = parameters.split(", ")
    return (
        f'"""A day\'s work in the {name}."""\n\n'
        f"import {name}\n\n\n"
        f"def work_one_day({first}s, {second}):\n"
        f"    done = []\n"
        f"    for {first} in {first}s:\n"
        f"        done.append({name}."
    )


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    loaded = load_engine(EngineOptions(model="starter"))
    yield loaded
    loaded.close()


def test_names_of_open_files_are_completed(engine: Engine, tmp_path: Path) -> None:
    """With ten files open at least twice as many names come out right as without."""
    others = []
    for name, (function, word, parameters) in _MODULES.items():
        path = tmp_path / f"{name}.py"
        path.write_text(_module(name, function, word, parameters), "utf-8")
        text = path.read_text("utf-8")
        others.append(OpenText(path.as_uri(), path, "python", 1, text))
    num_right = {True: 0, False: 0}
    for name, (function, _, parameters) in _MODULES.items():
        path = tmp_path / f"day_{name}.py"
        prefix = _document(name, parameters)
        suffix = ")\n    return done\n"
        around = Surroundings(
            path.as_uri(),
            path,
            "python",
            prefix,
            suffix,
            prefix.count("\n"),
            others=tuple(others),
            folders=(tmp_path,),
        )
        query = Query(prefix, suffix, 0, "python", False, around)
        for context in num_right:
            settings = replace(Settings(), context=context)
            gathered = gather(engine, query, settings, Gatherer())
            outcome = generate(engine, query, settings, gathered=gathered)
            text = outcome.suggestions[0].text if outcome.suggestions else ""
            num_right[context] += text.startswith(function + "(")
    assert num_right[True] >= 5
    assert num_right[True] >= 2 * num_right[False]
