"""The benchmarks: their statistics, the peers' habits, and a short run of each.

Nothing here asserts how long anything takes.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny import write_model

from lsp_stablecode.bench.engine import EnginePlan
from lsp_stablecode.bench.field import Wanted, alternate, started_peers
from lsp_stablecode.bench.keys import Key, key_figures, key_totals, our_key
from lsp_stablecode.bench.picture import draw
from lsp_stablecode.bench.report import OURS, Figure, Report
from lsp_stablecode.bench.samples import Samples, percentile, speedup
from lsp_stablecode.bench.scripts import make_script, standard_paths
from lsp_stablecode.cli import main
from lsp_stablecode.errors import DocumentError
from model import (
    Contender,
    MachineLimits,
    ModelCosts,
    PeerOptions,
    PeerUnavailableError,
    ProcessMemory,
    start_peer,
)
from model.benchmark_engine import costs_of_directory
from model.kv_cache import common_prefix_length
from model.peers import gguf_of
from model.peers_prompts import (
    Moved,
    breaks_indent,
    find_moved,
    line_windows,
)
from model.peers_worker import serve


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bench") / "tiny"
    write_model(directory, "qwen2")
    return directory


def bench(kind: str, *arguments: str | Path) -> dict[str, Any]:
    """Run ``bench --quick`` as a user does; return its JSON."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lsp_stablecode", "bench", kind, "--quick"),
            *("--json", "-", *map(str, arguments)),
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


# --- statistics ---------------------------------------------------------------


def test_percentiles_lie_between_neighbours() -> None:
    """Linear between the two nearest; the ends are the least and the greatest."""
    values = [4.0, 1.0, 3.0, 2.0]
    assert percentile(values, 0) == 1
    assert percentile(values, 1) == 4
    assert percentile(values, 0.5) == 2.5
    assert percentile(values, 0.9) == pytest.approx(3.7)
    assert percentile([7.0], 0.95) == 7
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_samples_leave_out_turns_nobody_had() -> None:
    """``None`` is no value, and a column of them is no column."""
    samples = Samples((3.0, None, 1.0, 2.0))
    assert samples.present == (3.0, 1.0, 2.0)
    assert samples.median == 2.0
    assert samples
    assert not Samples((None, None))


def test_speedup_is_above_one_for_the_faster() -> None:
    """Of medians, and of the turns that both had, whichever way is better."""
    ours, theirs = Samples((10.0, 20.0, None)), Samples((30.0, 40.0, 5.0))
    lower = speedup(ours, theirs, higher_is_better=False)
    assert lower.of_medians == pytest.approx(2.0)
    assert lower.of_pairs == pytest.approx(2.5)
    higher = speedup(ours, theirs, higher_is_better=True)
    assert higher.of_medians == pytest.approx(0.5)
    assert higher.of_pairs == pytest.approx((1 / 3 + 1 / 2) / 2)
    never_both = speedup(
        Samples((1.0, None)), Samples((None, 2.0)), higher_is_better=False
    )
    assert never_both.of_pairs is None
    assert never_both.of_medians == 2.0


def test_limits_follow_from_what_is_read_and_computed() -> None:
    """A pass reads weights and cache once; prefill computes products."""
    limits = MachineLimits(10.0, {"int8": 500.0}, 2, "cpu")
    costs = ModelCosts(200_000_000, 10_000, 1_000_000_000, "int8")
    assert limits.pass_ms(costs, 0) == pytest.approx(20.0)
    assert limits.pass_ms(costs, 1000) == pytest.approx(21.0)
    assert limits.prefill_ms(costs, 100) == pytest.approx(200.0)
    unknown = ModelCosts(1, 1, 1, "int4")
    assert limits.prefill_ms(unknown, 100) is None


def test_a_share_of_the_limit_is_at_most_one_at_the_limit() -> None:
    """Whether more or less is better, half as good is half of the limit."""
    samples = {OURS: Samples((50.0,)), "other": Samples((25.0,))}
    rate = Figure(
        "r", "rate", "tokens/s", samples, higher_is_better=True, limits={OURS: 100.0}
    )
    assert rate.share_of_limit(OURS) == 0.5
    assert rate.share_of_limit("other") is None
    time = Figure("t", "time", "ms", samples, limits={OURS: 25.0})
    assert time.share_of_limit(OURS) == 0.5
    count = Figure("c", "count", "tokens", samples, is_compared=False)
    assert count.speedup_over("other") is None


# --- turns --------------------------------------------------------------------


class FakeContender:
    """Notes its turns, and fails from a given one on."""

    description = "made up"
    costs = None
    num_threads = 1
    can_verify = False

    def __init__(self, name: str, turns: list[str], fails_at: int = 99) -> None:
        self.name = name
        self._turns = turns
        self._num_turns = 0
        self._fails_at = fails_at

    def prefill(self, token_ids: Sequence[int]) -> float:
        self._num_turns += 1
        self._turns.append(self.name)
        if self._num_turns >= self._fails_at:
            raise PeerUnavailableError(f"{self.name}: crashed here (SIGILL).")
        return float(self._num_turns)

    def decode(self, token_ids: Sequence[int], num_tokens: int) -> float:
        raise NotImplementedError

    def verify(
        self, token_ids: Sequence[int], draft_ids: Sequence[int], num_passes: int
    ) -> float:
        raise NotImplementedError

    def memory(self) -> ProcessMemory:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def test_contenders_take_turns_and_one_that_fails_is_noted() -> None:
    """Ours, theirs, ours, theirs; who fails has no further turns."""
    turns: list[str] = []
    contenders: list[Contender] = [
        FakeContender(OURS, turns),
        FakeContender("other", turns, fails_at=2),
    ]
    report = Report("engine", [])
    samples = alternate(contenders, 3, lambda one: one.prefill([1]), report)
    assert turns == [OURS, "other", OURS, "other", OURS]
    assert samples[OURS].values == (1.0, 2.0, 3.0)
    assert samples["other"].values == (1.0, None, None)
    assert report.notes == ["other: crashed here (SIGILL)."]


def test_a_plan_is_cut_to_the_context_and_says_so() -> None:
    """What does not fit is left out with a note; what fits stays."""
    report = Report("engine", [])
    plan = EnginePlan().fitted(1024, report)
    assert plan.prefills == (128, 512)
    assert plan.depths == (0,)
    assert plan.verify_depth + plan.decoded + max(plan.widths) <= 1024
    assert "1024, 1500, 2048, 4096" in report.notes[0]


# --- peers --------------------------------------------------------------------


def test_llama_vim_sends_whole_lines() -> None:
    """256 lines before the cursor's, its start, its rest and 64 lines after."""
    prefix = "".join(f"line {n}\n" for n in range(300)) + "    x = "
    suffix = "1\n" + "".join(f"after {n}\n" for n in range(100))
    windows = line_windows(prefix, suffix)
    assert windows.before.startswith("line 44\n")
    assert windows.before.count("\n") == 256
    assert windows.before.endswith("line 299\n")
    assert windows.line_start == "    x = "
    assert windows.indent == 4
    assert windows.after.startswith("1\nafter 0\n")
    assert windows.after.endswith("after 63\n")
    short = line_windows("x", "")
    assert (short.before, short.line_start, short.after) == ("", "x", "\n")


def test_the_longest_common_prefix() -> None:
    """As many leading ids as are the same."""
    assert common_prefix_length([1, 2, 3], [1, 2, 4]) == 2
    assert common_prefix_length([1, 2], [1, 2, 3]) == 2
    assert common_prefix_length([], [1]) == 0
    assert common_prefix_length([2], [1]) == 0


def test_pieces_that_moved_are_found_from_a_length_on() -> None:
    """As llama-server's ``--cache-reuse``: a window that slid keeps its middle."""
    held = [0, *range(10, 30)]
    wanted = [0, *range(13, 30), 99]
    assert find_moved(held, wanted, 1, 4) == [Moved(4, 1, 17)]
    assert find_moved(held, wanted, 1, 18) == []
    assert find_moved(held, held, len(held), 1) == []


@pytest.mark.parametrize(
    ("text", "least_indent", "breaks"),
    [
        ("return 1\n    x", 4, False),
        ("return 1\n  x", 4, True),
        ("return 1\n  ", 4, False),
        ("return 1\n", 4, False),
        ("return 1\n\n", 4, True),
        ("return 1\n}", 0, False),
        ("a", 8, False),
    ],
)
def test_a_line_further_left_ends_a_completion(
    text: str, least_indent: int, breaks: bool
) -> None:
    """As llama-server's ``n_indent``, which llama.vim sends."""
    assert breaks_indent(text, least_indent) is breaks


def test_a_missing_llama_cpp_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the run goes on, and says what is left out."""
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    monkeypatch.setattr("model.peers.importlib.util.find_spec", lambda name: None)
    report = Report("engine", [])
    wanted = Wanted(("llama.cpp",), "starter", "cpu", 1, 64, 64)
    with started_peers(wanted, report) as peers:
        assert peers == []
    assert "llama-cpp-python is not installed" in report.notes[0]
    assert "lsp-stablecode[peers]" in report.notes[0]


def test_a_model_that_is_no_gguf_file_leaves_llama_cpp_out(tiny_model: Path) -> None:
    """A directory has nothing that llama.cpp could load."""
    with pytest.raises(PeerUnavailableError, match="no GGUF file"):
        gguf_of(str(tiny_model))


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_a_crash_of_a_peer_is_a_named_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that dies by a signal says by which; the benchmark lives."""
    code = "import os, signal; input(); os.kill(os.getpid(), signal.SIGABRT)"
    monkeypatch.setattr(
        "model.peers._worker_command", lambda: [sys.executable, "-c", code]
    )
    options = PeerOptions("transformers", tmp_path, 1, 64)
    with pytest.raises(PeerUnavailableError, match=r"crashed here \(SIGABRT\)"):
        start_peer(options)


def test_a_peer_that_cannot_load_says_why(tmp_path: Path) -> None:
    """What its library raised is the answer, in one line."""
    lines = [
        {
            "method": "load",
            "parameters": {
                "kind": "transformers",
                "path": str(tmp_path / "nothing"),
                "num_threads": 1,
                "context_tokens": 64,
            },
        },
        {"method": "prefill", "parameters": {"token_ids": [1]}},
    ]
    answers = io.StringIO()
    serve(io.StringIO("\n".join(map(json.dumps, lines))), answers)
    loaded, prefilled = map(json.loads, answers.getvalue().splitlines())
    assert "error" in loaded
    assert prefilled == {"error": "ValueError: nothing is loaded"}


def test_costs_are_read_from_the_headers(tiny_model: Path) -> None:
    """A pass reads layers and head, and not the embedding; prefill needs no head."""
    from transformers import Qwen2ForCausalLM

    loaded: Any = Qwen2ForCausalLM.from_pretrained(tiny_model)
    sizes = {name: one.numel() for name, one in loaded.named_parameters()}
    layers = sum(n for name, n in sizes.items() if "embed" not in name)
    costs = costs_of_directory(tiny_model, "float32", 10)
    assert costs.weight_bytes_per_pass == 4 * layers
    assert costs.operations_per_token == 2 * (layers - sizes["lm_head.weight"])
    assert costs.compute_format == "float32"


# --- scripts and keys ---------------------------------------------------------


def test_a_script_is_the_middle_of_a_real_file() -> None:
    """What is typed stood there, whole lines are taken out, and the rest fits."""
    path = standard_paths()[0]
    script = make_script(path, lambda text: len(text) // 4, 400, 48)
    text = path.read_text("utf-8")
    assert script.language_id == "python"
    assert script.before + script.typed in text
    assert script.after in text
    assert "".join(script.keys) == script.typed
    assert 40 <= len(script.typed) <= 48
    assert not script.typed[0].isspace()
    assert len(script.before) // 4 <= 300 + 10
    assert len(script.after) // 4 <= 100 + 10
    assert script == make_script(path, lambda text: len(text) // 4, 400, 48)


def test_a_file_with_nowhere_to_type_is_a_named_error(tmp_path: Path) -> None:
    """One sentence about the file."""
    path = tmp_path / "short.py"
    path.write_text("x = 1\n", "utf-8")
    with pytest.raises(DocumentError, match="no indented line"):
        make_script(path, len, 100, 10)


def test_keys_are_counted_by_kind() -> None:
    """Typed-through keys count as such, and are left out of what was computed."""
    computed = our_key(
        90.0,
        {
            "outcome": "shown",
            "statistics": {
                "prompt_tokens": 100,
                "reused_tokens": 98,
                "generated_tokens": 6,
                "forwards": 4,
                "drafted_tokens": 4,
                "accepted_tokens": 2,
            },
        },
        "text",
    )
    typed = our_key(1.0, {"outcome": "type-through", "statistics": {}}, "ext")
    nothing = our_key(2.0, {"outcome": "empty:blank", "statistics": {}}, "")
    assert [one.kind for one in (computed, typed, nothing)] == [
        "computed",
        "type-through",
        "nothing",
    ]
    columns: dict[str, list[Key | None]] = {
        OURS: [computed, typed, nothing],
        "transformers": [Key(900.0, "computed", "length", text="x"), None, None],
    }
    figures = {one.key: one for one in key_figures(columns)}
    assert figures["key"].samples[OURS].median == 2.0
    assert figures["key-computed"].samples[OURS].present == (90.0,)
    assert figures["tokens-computed"].samples[OURS].present == (2,)
    faster = figures["key-computed"].speedup_over("transformers")
    assert faster is not None
    assert faster.of_pairs == 10.0
    ours = key_totals(columns)[OURS]
    assert (ours["computed"], ours["type_through"], ours["empty"]) == (1, 1, 1)
    assert ours["acceptance"] == 0.5


def test_the_picture_is_whole() -> None:
    """Well-formed, small, every text escaped, a bar for every column that has one."""
    samples = {OURS: Samples((1.0,)), "a <b> & c": Samples((2.0,))}
    figure = Figure("k", "prefill & <more>", "ms", samples, limits={OURS: 0.5})
    report = Report("engine", [], figures=[figure])
    svg = draw(report)
    root = ElementTree.fromstring(svg)
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "prefill & <more>" in texts
    assert "a <b> & c" in texts
    assert "1.00 (50% of the limit)" in texts
    assert len(svg) < 100_000


# --- short runs ---------------------------------------------------------------


def test_bench_engine_is_consistent(tiny_model: Path, tmp_path: Path) -> None:
    """Shares are figures by limits, gains are ratios of the samples beside them."""
    picture = tmp_path / "engine.svg"
    report = bench("engine", "--model", tiny_model, "--picture", picture)
    assert report["benchmark"] == "engine"
    assert report["model"]["model"] == str(tiny_model)
    assert report["machine"]["versions"]["torch"]
    assert report["limits"]["read_gb_per_s"] > 0
    assert set(report["limits"]["matrix_gops"]) >= {"float32", "bfloat16"}
    assert any("llama.cpp is left out" in note for note in report["notes"])
    figures = {one["key"]: one for one in report["figures"]}
    for key in ("prefill-32", "decode-0", "decode-64", "verify-2", "start-warm"):
        assert key in figures
    for figure in figures.values():
        check_figure(figure)
    assert set(figures["decode-64"]["contenders"]) == {OURS, "transformers"}
    assert set(figures["verify-2"]["contenders"]) == {OURS}
    assert report["contenders"]["transformers"]["costs"]["weight_bytes_per_pass"] > 0
    ElementTree.parse(picture)


def check_figure(figure: dict[str, Any]) -> None:
    for name, one in figure["contenders"].items():
        present = [value for value in one["samples"] if value is not None]
        assert present
        assert one["median"] == pytest.approx(percentile(present, 0.5), rel=1e-4)
        assert one["p10"] <= one["median"] <= one["p90"]
        if one["limit"] is not None:
            share = one["limit"] / one["median"]
            if figure["higher_is_better"]:
                share = 1 / share
            assert one["share_of_limit"] == pytest.approx(share, rel=1e-4)
        if name != OURS and OURS in figure["contenders"]:
            ratio = one["median"] / figure["contenders"][OURS]["median"]
            if figure["higher_is_better"]:
                ratio = 1 / ratio
            gain = one["our_speedup"]
            assert gain["of_medians"] == pytest.approx(ratio, rel=1e-4)


def test_bench_keys_types_through_the_server(tiny_model: Path) -> None:
    """Every key has a record, and what is reused is part of the prompt."""
    report = bench("keys", "--model", tiny_model, "--peer", "transformers")
    keys = report["details"]["keys"]
    script = report["details"]["scripts"][0]
    assert len(keys[OURS]) == len(keys["transformers"]) > 0
    assert script["typed"]
    for key in keys[OURS]:
        assert key["kind"] in ("computed", "type-through", "nothing")
        assert 0 <= key["reused_tokens"] <= key["prompt_tokens"]
        assert key["accepted_tokens"] <= key["drafted_tokens"]
    assert [key is not None for key in keys["transformers"][:4]] == [
        True,
        False,
        False,
        True,
    ]
    assert report["details"]["totals"][OURS]["keys"] == len(keys[OURS])


def test_bench_drafts_compares_the_same_texts(tiny_model: Path) -> None:
    """With drafts and without: the same tokens, counted and compared."""
    report = bench("drafts", "--model", tiny_model)
    for kind in ("fill-in", "random"):
        sums = report["details"][kind]["totals"]
        assert sums["prompts"] == len(report["details"][kind]["prompts"])
        assert sums["accepted_tokens"] <= sums["drafted_tokens"]
        assert sums["speedup"] > 0


def test_what_computes_nothing_is_not_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The echo is a named error."""
    assert main(["bench", "engine", "--quick", "--model", "echo"]) == 1
    assert "computes nothing" in capsys.readouterr().err
