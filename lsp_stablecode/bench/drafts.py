"""``bench drafts``: decoding with tokens guessed ahead, and without, alternating."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lsp_stablecode.bench.field import Advance
from lsp_stablecode.bench.report import OURS, Figure, Report
from lsp_stablecode.bench.samples import Samples
from lsp_stablecode.bench.scripts import read_text, standard_paths
from model import Engine, FillRequest, Prompts, Statistics, set_drafting

UNDRAFTED = "without drafts"

# Sooner or later greedy text repeats itself, and then there is something to look up.
_RANDOM_NEW_TOKENS = 16
# Most such texts end at once, so there are more of them, and they are short.
_RANDOM_PROMPTS_EACH = 4
_RANDOM_PROMPT_TOKENS = 192
_LEAST_TOKENS = 8


@dataclass(frozen=True, slots=True)
class DraftsPlan:
    """How many prompts, of how many tokens, and how much is generated for each."""

    prompts: int = 12
    prompt_tokens: int = 768
    new_tokens: int = 64
    repetitions: int = 2


QUICK_DRAFTS = DraftsPlan(prompts=2, prompt_tokens=64, new_tokens=8, repetitions=1)


@dataclass(frozen=True, slots=True)
class Gap:
    """A prompt's text, before and after the cursor, and how much may be generated."""

    prefix: str
    suffix: str
    new_tokens: int


@dataclass(frozen=True, slots=True)
class Filled:
    """What came of a gap, with drafts or without."""

    text: str
    statistics: Statistics

    @property
    def ms_per_token(self) -> float | None:
        """Decoding alone; ``None`` for a text too short to tell.

        The first token comes with the prompt.
        """
        num_tokens = self.statistics.generated_tokens
        if num_tokens < _LEAST_TOKENS:
            return None
        return self.statistics.decode_ms / (num_tokens - 1)


def infilling_gaps(plan: DraftsPlan) -> list[Gap]:
    """Cut gaps from the standard library, evenly spread: one line is left out.

    About four characters are a token.
    """
    count, prompt_tokens = plan.prompts, plan.prompt_tokens
    texts = [read_text(path) for path in standard_paths()]
    gaps = []
    for index in range(count):
        text = texts[index % len(texts)]
        lines = text.split("\n")
        place = len(lines) * (2 * (index // len(texts)) + 1)
        place = place // (2 * (-(-count // len(texts))))
        while place < len(lines) - 1 and not lines[place].strip():
            place += 1
        line = lines[place]
        indent = line[: len(line) - len(line.lstrip())]
        before = "".join(f"{one}\n" for one in lines[:place]) + indent
        after = "\n" + "\n".join(lines[place + 1 :])
        prefix = before[-prompt_tokens * 3 :]
        suffix = after[:prompt_tokens].rstrip("\n")
        gaps.append(Gap(prefix, suffix, plan.new_tokens))
    return gaps


def random_gaps(prompts: Prompts, plan: DraftsPlan) -> list[Gap]:
    """Return texts of random tokens, in which there is nothing to look up."""
    chance = random.Random(0)
    stops = frozenset(prompts.stop_ids)
    known = [one for one in range(prompts.vocabulary_size) if one not in stops]
    num_tokens = min(plan.prompt_tokens, _RANDOM_PROMPT_TOKENS, len(known))
    new_tokens = min(plan.new_tokens, _RANDOM_NEW_TOKENS)
    return [
        Gap(prompts.decode(chance.sample(known, num_tokens)), "", new_tokens)
        for _ in range(plan.prompts * _RANDOM_PROMPTS_EACH)
    ]


def measure_drafts(
    engine: Engine,
    gaps: Mapping[str, Sequence[Gap]],
    plan: DraftsPlan,
    report: Report,
    advance: Advance,
) -> None:
    """Add a figure for each kind of text: ms per token, with and without drafts.

    Each run begins with nothing remembered. The texts of both have to be the same,
    and how many are is in the details.
    """
    for kind, some in gaps.items():
        drafted: list[float | None] = []
        plain: list[float | None] = []
        records: list[dict[str, Any]] = []
        for _ in range(plan.repetitions):
            for gap in some:
                # Whoever is first in one turn is second in the next.
                is_first = len(records) % 2 == 0
                runs = {on: _fill(engine, gap, on) for on in (is_first, not is_first)}
                with_drafts, without = runs[True], runs[False]
                drafted.append(with_drafts.ms_per_token)
                plain.append(without.ms_per_token)
                records.append(_record(with_drafts, without))
                advance()
        set_drafting(engine, True)
        samples = {OURS: Samples(tuple(drafted)), UNDRAFTED: Samples(tuple(plain))}
        title = f"decoding, {kind}"
        report.figures.append(Figure(f"drafts-{kind}", title, "ms/token", samples))
        report.details[kind] = {"totals": totals(records), "prompts": records}


def totals(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return sums over the prompts of a kind, and the speed-up of all together."""
    counted = ("generated_tokens", "forwards", "drafted_tokens", "accepted_tokens")
    sums: dict[str, Any] = {
        name: sum(one["drafted"][name] for one in records) for name in counted
    }
    sums["speedup"] = _speedup(records)
    missed = [
        one
        for one in records
        if not one["drafted"]["accepted_tokens"]
        and one["drafted"]["generated_tokens"] >= _LEAST_TOKENS
    ]
    sums["prompts_without_accepted"] = len(missed)
    sums["speedup_without_accepted"] = _speedup(missed)
    drafts = sums["drafted_tokens"]
    sums["acceptance"] = sums["accepted_tokens"] / drafts if drafts else None
    sums["same_text"] = sum(one["same_text"] for one in records)
    sums["prompts"] = len(records)
    return sums


def _speedup(records: Sequence[dict[str, Any]]) -> float | None:
    drafted_ms = sum(one["drafted"]["decode_ms"] for one in records)
    plain_ms = sum(one["plain"]["decode_ms"] for one in records)
    return plain_ms / drafted_ms if drafted_ms else None


def _fill(engine: Engine, gap: Gap, drafting: bool) -> Filled:
    set_drafting(engine, drafting)
    result = engine.fill(FillRequest(gap.prefix, gap.suffix, gap.new_tokens))
    return Filled(result.candidates[0].text, result.statistics)


def _record(drafted: Filled, plain: Filled) -> dict[str, Any]:
    return {
        "drafted": asdict(drafted.statistics),
        "plain": asdict(plain.statistics),
        "same_text": drafted.text == plain.text,
    }
