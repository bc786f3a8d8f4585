"""``eval repo``'s answers as one page: pictures, tables, samples; nothing from outside.

The page holds lines of the source that was measured. It stays where it is written.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from html import escape

from lsp_stablecode.evaluation.figures import (
    Figures,
    by_language,
    by_place,
    figures_of,
    outcomes_of,
)
from lsp_stablecode.evaluation.pictures import (
    Groups,
    bars,
    calibration_error,
    latencies,
    reliability,
)
from lsp_stablecode.evaluation.repository import Answered, PathAnswers

_NUM_SAMPLES = 20
_LINES_BEFORE = 6
_LINES_AFTER = 3
_MOST_LINES = 12
_MOST_DEFECTS = 200

_NAMES = {
    "server": "this server",
    "raw": "the model alone",
    "healed": "the model, healed",
}
_MEANINGS = {
    "server": "asked over stdio, as an editor asks",
    "raw": "256 lines before and 64 after the cursor, nothing done to the answer",
    "healed": "the same, but half-typed words are taken back and generated again",
}

_STYLE = """
:root { color-scheme: light dark; --text: #1f2328; --aside: #59636e; --page: #fff;
  --grid: #d8dee4; --server: #0072b2; --raw: #e69f00; --on: #fff; --box: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --aside: #9198a1;
  --page: #0d1117; --grid: #30363d; --server: #56b4e9; --raw: #e69f00; --on: #0d1117;
  --box: #161b22; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text);
  background: var(--page); max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
svg { max-width: 100%; height: auto; font-size: 11px; }
svg text { fill: var(--text); } svg text.aside { fill: var(--aside); }
svg text.on { fill: var(--on); font-size: 9px; }
.bar.server { fill: var(--server); }
.bar.raw { fill: var(--raw); fill-opacity: .35; stroke: var(--raw); }
.line { fill: none; stroke-width: 2; } .line.server { stroke: var(--server); }
.line.raw { stroke: var(--raw); stroke-dasharray: 6 3; }
.axis { fill: none; stroke: var(--aside); } .grid { stroke: var(--grid); }
.ideal { stroke: var(--aside); stroke-dasharray: 3 3; }
.key { display: inline-block; width: .8rem; height: .8rem; margin: 0 .4rem 0 1rem; }
.key.server { background: var(--server); }
.key.raw { border: 2px solid var(--raw); box-sizing: border-box; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .15rem .6rem; text-align: right; white-space: nowrap; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
tr { border-bottom: 1px solid var(--grid); }
pre { background: var(--box); padding: .6rem; overflow-x: auto; font-size: .8rem;
  margin: .2rem 0; } .aside { color: var(--aside); }
mark { background: none; border-bottom: 2px solid var(--server); color: inherit; }
"""

_COLUMNS = (
    "path", "in", "cuts", "shown", "exact", "exact but blanks", "exact of shown",
    "similar", "keys saved", "parses", "name right", "median ms", "p90 ms", "defects",
)  # fmt: skip


def page(
    results: Sequence[PathAnswers], *, title: str, facts: Mapping[str, str], seed: int
) -> str:
    """Return the whole page. ``facts`` are what it was measured with."""
    answers: dict[str, Sequence[Answered]] = {one.path: one.answers for one in results}
    languages = {path: by_language(one) for path, one in answers.items()}
    places = {path: by_place(one) for path, one in answers.items()}
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        "<p>This page holds lines of the source that was measured, and nothing is "
        "loaded from elsewhere. Look before you pass it on.</p>",
        _list(facts),
        f"<p>{''.join(_key(one.path) for one in results)}</p>",
        "<h2>Keystrokes saved</h2>",
        "<p>A typist accepts a suggestion with one key if its line is exactly right, "
        "else word by word as long as the words are. By language:</p>",
        bars("keystrokes saved by language", _saved(languages)),
        "<p>By the cursor's place:</p>",
        bars("keystrokes saved by place", _saved(places)),
        '<div class="pictures">',
        "<div><h2>Confidence</h2>",
        *_confidence(answers.get("server", ())),
        "</div><div><h2>Latency</h2>",
        "<p>From the request to the answer, each document just opened: nothing of "
        "it is computed yet.</p>",
        latencies(
            "latency",
            {path: [a.elapsed_ms for a in one] for path, one in answers.items()},
        ),
        "</div></div>",
        "<h2>Figures</h2>",
        _table(answers, (languages, places)),
        "<p>Shares in %. Similarity and parsing are of what was shown.</p>",
        *(_outcomes(one) for one in results),
        "<h2>Defects</h2>",
        *(_defects(one) for one in results),
        f"<h2>{_NUM_SAMPLES} cuts</h2>",
        *_samples(results, seed),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _saved(groups: Mapping[str, Mapping[str, Figures]]) -> Groups:
    """Turn figures by path and group into shares by group and path."""
    names = dict.fromkeys(name for one in groups.values() for name in one)
    return {
        name: {
            path: one[name].keystrokes_saved
            for path, one in groups.items()
            if name in one
        }
        for name in names
    }


def _confidence(answers: Sequence[Answered]) -> list[str]:
    judged = [
        (one.confidence, one.measures.exact)
        for one in answers
        if one.confidence is not None and one.suggestion is not None
    ]
    if not judged:
        return ["<p>The server did not say how sure it was.</p>"]
    error = calibration_error(judged)
    return [
        "<p>How often the first line was exactly right, against the server's own "
        f"confidence. They are {error * 100:.1f} points apart on average.</p>",
        reliability("reliability of the confidence", judged),
    ]


def _table(
    answers: Mapping[str, Sequence[Answered]],
    groups: Sequence[Mapping[str, Mapping[str, Figures]]],
) -> str:
    rows = [(path, "all", figures_of(one)) for path, one in answers.items()]
    for group in groups:
        names = dict.fromkeys(name for one in group.values() for name in one)
        rows += [
            (path, name, one[name])
            for name in names
            for path, one in group.items()
            if name in one
        ]
    head = "".join(f"<th>{escape(name)}</th>" for name in _COLUMNS)
    body = "\n".join(f"<tr>{_row(*row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>'


def _row(path: str, name: str, one: Figures) -> str:
    shares = (
        one.shown,
        one.exact,
        one.exact_but_blanks,
        one.exact_of_shown,
        one.line_similarity,
        one.keystrokes_saved,
        one.parses,
        one.name_right,
    )
    cells = [path, name, str(one.gaps)]
    cells += ["–" if share is None else f"{share * 100:.1f}" for share in shares]
    cells += [f"{one.median_ms:.0f}", f"{one.p90_ms:.0f}", str(one.defects)]
    return "".join(f"<td>{escape(cell)}</td>" for cell in cells)


def _outcomes(result: PathAnswers) -> str:
    found = outcomes_of(result.answers)
    text = ", ".join(f"{count} {name}" for name, count in found.items())
    return f'<p class="aside">{escape(_NAMES[result.path])}: {escape(text)}</p>'


def _defects(result: PathAnswers) -> str:
    found = [(one.gap, defect) for one in result.answers for defect in one.defects]
    name = escape(_NAMES[result.path])
    if not found:
        return f"<p>{name}: none in {len(result.answers)} cuts.</p>"
    items = "".join(
        f"<li><code>{escape(gap.where)}</code> {escape(defect.name)}: "
        f"{escape(defect.detail)}</li>"
        for gap, defect in found[:_MOST_DEFECTS]
    )
    return (
        f"<details><summary>{name}: {len(found)} in {len(result.answers)} cuts"
        f"</summary><ul>{items}</ul></details>"
    )


def _samples(results: Sequence[PathAnswers], seed: int) -> list[str]:
    """Return some cuts with what each path made of them."""
    indexes = list(range(len(results[0].answers)))
    random.Random(f"samples:{seed}").shuffle(indexes)
    return [
        _sample([(one.path, one.answers[index]) for one in results])
        for index in sorted(indexes[:_NUM_SAMPLES])
    ]


def _sample(answers: Sequence[tuple[str, Answered]]) -> str:
    gap = answers[0][1].gap
    before = "\n".join(gap.prefix.split("\n")[-_LINES_BEFORE:])
    after = "\n".join(gap.suffix.split("\n")[: _LINES_AFTER + 1])
    parts = [
        f"<h3><code>{escape(gap.where)}</code> "
        f'<span class="aside">{escape(gap.place)}, {escape(gap.language_id)}</span>'
        f"</h3>\n<pre>{escape(before)}<mark>▏</mark>{escape(after)}</pre>",
        f'<p class="aside">what stood there</p><pre>{_clipped(gap.truth)}</pre>',
    ]
    for path, answer in answers:
        verdict = "exact" if answer.measures.exact else "not exact"
        saved = answer.measures.keys_needed - answer.measures.keys_used
        verdict += f", {saved} of {answer.measures.keys_needed} keys saved"
        text = answer.suggestion.text if answer.suggestion else None
        shown = f"<pre>{_clipped(text)}</pre>" if text else ""
        note = verdict if text else f"nothing shown ({answer.outcome})"
        parts.append(
            f'<p class="aside">{escape(_NAMES[path])}: {escape(note)}</p>{shown}'
        )
    return "\n".join(parts)


def _clipped(text: str) -> str:
    lines = text.split("\n")
    more = ["…"] if len(lines) > _MOST_LINES else []
    return escape("\n".join([*lines[:_MOST_LINES], *more]))


def _list(facts: Mapping[str, str]) -> str:
    items = "".join(
        f"<li>{escape(name)}: {escape(value)}</li>" for name, value in facts.items()
    )
    return f"<ul>{items}</ul>"


def _key(path: str) -> str:
    return (
        f'<span class="key {path}"></span>{escape(_NAMES[path])} '
        f'<span class="aside">({escape(_MEANINGS[path])})</span>'
    )
