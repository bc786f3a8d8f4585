from __future__ import annotations

import json
import math
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lsp_stablecode.cli import main
from lsp_stablecode.judgement.answers import operate, read_answers
from lsp_stablecode.judgement.calibration import CALIBRATION, Calibration
from lsp_stablecode.judgement.confidence import Features, confidence
from lsp_stablecode.judgement.fit import Record, fit, held_out, reliability


def some_records(number: int, truth: Calibration, seed: int = 0) -> list[Record]:
    """Return suggestions that are right as often as ``truth`` says."""
    chance = random.Random(seed)
    records = []
    for index in range(number):
        tokens = chance.randint(1, 20)
        logprobs = [-chance.expovariate(4) for _ in range(tokens)]
        features = Features(
            line_logprob=sum(logprobs),
            least_logprob=min(logprobs),
            first_logprob=logprobs[0],
            num_tokens=float(tokens),
            num_characters=float(tokens * chance.randint(1, 5)),
            is_block=float(chance.random() < 0.3),
            is_healed=0.0,
            is_new_line=float(chance.random() < 0.5),
        )
        is_right = chance.random() < confidence(features, truth)
        records.append(Record(features, is_right, f"file {index % 20}"))
    return records


def test_the_fit_finds_what_made_the_records() -> None:
    truth = Calibration(intercept=-0.8, line=0.7, block=0.9, new_line=-0.6)
    fitted = fit(some_records(6000, truth))
    assert fitted.line == pytest.approx(truth.line, abs=0.15)
    assert fitted.block == pytest.approx(truth.block, abs=0.25)
    assert fitted.new_line == pytest.approx(truth.new_line, abs=0.25)
    assert fitted.healed == 0.0  # it never varied


def test_held_out_confidences_are_calibrated() -> None:
    records = some_records(3000, Calibration(intercept=-1.0, line=0.5))
    right = [one.is_right for one in records]
    fresh = reliability(held_out(records), right)
    believing = reliability(
        [confidence(one.features, Calibration()) for one in records], right
    )
    assert fresh.calibration_error < 0.04
    assert fresh.log_loss < believing.log_loss
    assert fresh.brier < believing.brier
    assert fresh.number == sum(one.number for one in fresh.buckets) == 3000


def test_a_separable_set_is_no_trouble() -> None:
    records = some_records(60, Calibration(line=50.0))
    fitted = fit(records)
    assert all(math.isfinite(one) for one in asdict(fitted).values())
    assert fit([]) == Calibration()
    assert math.isfinite(fit([Record(records[0].features, True)] * 3).line)


def test_a_group_is_held_out_as_a_whole() -> None:
    records = some_records(200, Calibration())
    # A file in which everything is right does not vouch for itself.
    odd = [
        Record(one.features, one.group == "file 3", one.group)
        for one in records
        if one.group in {f"file {number}" for number in range(5)}
    ]
    fresh = held_out(odd)
    sure = [p for p, one in zip(fresh, odd, strict=True) if one.is_right]
    assert max(sure) < 0.5


def test_reliability_of_what_is_known() -> None:
    found = reliability([0.05, 0.05, 0.95, 1.0], [False, True, True, True])
    assert found.share_right == 0.75
    assert [(one.number, one.share_right) for one in found.buckets] == [
        (2, 0.5),
        (2, 1.0),
    ]
    assert found.calibration_error == pytest.approx((0.45 + 0.025) / 2)
    assert found.brier == pytest.approx((0.0025 + 0.9025 + 0.0025) / 4)


# --- the command ----------------------------------------------------------------------


def write_result(path: Path, number: int, seed: int = 0) -> None:
    answers: list[dict[str, Any]] = []
    truth = Calibration(intercept=-0.5, line=0.8)
    for index, one in enumerate(some_records(number, truth, seed)):
        suggestion = {"confidence": 0.5, "features": asdict(one.features)}
        answers.append(
            {
                "where": f"src/{one.group}.py:{index}:1",
                "exact": one.is_right,
                "suggestion": "text",
                "keys_needed": 10,
                "keys_used": 1 if one.is_right else 8,
                "explanation": {"suggestions": [suggestion]},
            }
        )
    nothing = {"exact": False, "suggestion": None, "keys_needed": 10, "keys_used": 10}
    answers.append({"where": "a:1:1", "explanation": {"suggestions": []}, **nothing})
    answers.append({"where": "a:1:1", "explanation": {}, **nothing})
    path.write_text(json.dumps({"paths": {"server": {"answers": answers}}}))


def test_the_command_prints_source_and_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, out = (tmp_path / name for name in ("1.json", "2.json", "out.json"))
    write_result(one, 200)
    write_result(two, 100, seed=1)
    arguments = ["eval", "calibration", str(one), str(two), "--json", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    source = printed[printed.index("CALIBRATION: Final = ") :]
    made: dict[str, Any] = {}
    exec(
        source.replace("CALIBRATION: Final =", "found ="),
        {"Calibration": Calibration},
        made,
    )
    data = json.loads(out.read_text())
    assert data["suggestions"] == 300
    assert Calibration(**data["fitted"]["coefficients"]) == made["found"]
    assert data["in_use"]["coefficients"] == asdict(CALIBRATION)
    shares = [one["shown"] for one in data["thresholds"]]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx(300 / 304, abs=1e-3)


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", '{"paths": {"raw": {}}}', '{"paths": {"server": {"answers": 1}}}'],
)
def test_another_file_is_refused(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    assert main(["eval", "calibration", str(path)]) == 1
    assert "does not hold answers" in capsys.readouterr().err
    assert main(["eval", "calibration", str(tmp_path / "none")]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_few_suggestions_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result(tmp_path / "1.json", 10)
    assert main(["eval", "calibration", str(tmp_path / "1.json")]) == 1
    assert "too few" in capsys.readouterr().err


def test_a_threshold_withholds_the_unsure(tmp_path: Path) -> None:
    write_result(tmp_path / "1.json", 50)
    answers = read_answers([tmp_path / "1.json"])
    sure = [None if one.record is None else float(one.is_right) for one in answers]
    strict = operate(answers, sure, 0.5)
    assert strict.exact == 1
    assert strict.shown == sum(one.is_right for one in answers) / 52
    nobody = operate(answers, [None] * 52, 0.0)
    assert (nobody.shown, nobody.exact, nobody.keystrokes_saved) == (0, None, 0)
