"""``bench engine``: prefill, decoding and verification, beside limits and peers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsp_stablecode.bench.field import Advance, Measure, alternate
from lsp_stablecode.bench.report import Figure, Report
from lsp_stablecode.bench.samples import Samples
from model import Contender, MachineLimits, PeerUnavailableError


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """What is measured. Counts are tokens; a depth is a number of cached tokens."""

    prefills: tuple[int, ...] = (128, 512, 2048)
    depths: tuple[int, ...] = (0, 1024, 1500, 4096)
    widths: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 12, 16)
    verify_depth: int = 1500
    decoded: int = 16
    passes: int = 4
    repetitions: int = 5

    @property
    def context_tokens(self) -> int:
        """The context that all of it needs."""
        longest = max(*self.prefills, *self.depths, self.verify_depth)
        return longest + self.decoded + max(self.widths) + 8

    def fitted(self, context_tokens: int, report: Report) -> EnginePlan:
        """Return the part of the plan that fits a context; the rest is noted."""
        room = context_tokens - self.decoded - max(self.widths) - 8
        left_out = sorted({one for one in self.prefills + self.depths if one > room})
        if left_out:
            listed = ", ".join(str(one) for one in left_out)
            report.note(
                f"Left out: {listed} tokens, for a context of {context_tokens}."
            )
        return EnginePlan(
            prefills=tuple(one for one in self.prefills if one <= room),
            depths=tuple(one for one in self.depths if one <= room),
            widths=self.widths,
            verify_depth=min(self.verify_depth, room),
            decoded=self.decoded,
            passes=self.passes,
            repetitions=self.repetitions,
        )

    @property
    def num_turns(self) -> int:
        """How often ``measure_engine`` advances."""
        figures = len(self.prefills) + len(self.depths) + len(self.widths)
        return figures * self.repetitions


QUICK_PLAN = EnginePlan(
    prefills=(32, 64),
    depths=(0, 64),
    widths=(1, 2, 4),
    verify_depth=64,
    decoded=4,
    passes=1,
    repetitions=2,
)


def measure_engine(
    contenders: Sequence[Contender],
    plan: EnginePlan,
    token_ids: Sequence[int],
    limits: MachineLimits,
    report: Report,
    advance: Advance,
) -> None:
    """Add the figures of a plan to the report. ``token_ids`` are a long real text.

    The first turn of each contender is a warm-up that does not count.
    """
    for one in contenders:
        _warm_up(one, token_ids[: plan.prefills[0]], report)
    for count in plan.prefills:
        samples = alternate(
            contenders,
            plan.repetitions,
            _prefill(token_ids[:count]),
            report,
            advance,
        )
        report.figures.append(_prefill_figure(count, samples, contenders, limits))
    for depth in plan.depths:
        samples = alternate(
            contenders,
            plan.repetitions,
            _decode(token_ids[: max(1, depth)], plan.decoded),
            report,
            advance,
        )
        report.figures.append(_decode_figure(depth, samples, contenders, limits))
    _measure_passes(contenders, plan, token_ids, limits, report, advance)


def _measure_passes(
    contenders: Sequence[Contender],
    plan: EnginePlan,
    token_ids: Sequence[int],
    limits: MachineLimits,
    report: Report,
    advance: Advance,
) -> None:
    verifying = [one for one in contenders if one.can_verify]
    depth = max(1, plan.verify_depth)
    for width in plan.widths:
        drafted = token_ids[depth : depth + width]
        samples = alternate(
            verifying,
            plan.repetitions,
            _verify(token_ids[:depth], drafted, plan.passes),
            report,
            advance,
        )
        least_ms = {}
        for one in verifying:
            if one.costs is None:
                continue
            products_ms = limits.prefill_ms(one.costs, width) or 0.0
            least_ms[one.name] = max(limits.pass_ms(one.costs, depth), products_ms)
        report.figures.append(
            Figure(
                key=f"verify-{width}",
                title=f"a pass of {width} at depth {depth}",
                unit="ms",
                samples=samples,
                limits=least_ms,
                limit_name="read bandwidth or matrix rate",
            )
        )


def _prefill(token_ids: Sequence[int]) -> Measure:
    """Measure tokens a second."""
    return lambda one: len(token_ids) * 1000 / one.prefill(token_ids)


def _decode(token_ids: Sequence[int], num_tokens: int) -> Measure:
    """Measure tokens a second."""
    return lambda one: 1000 / one.decode(token_ids, num_tokens)


def _verify(
    token_ids: Sequence[int], draft_ids: Sequence[int], num_passes: int
) -> Measure:
    """Measure the ms of a pass."""
    return lambda one: one.verify(token_ids, draft_ids, num_passes)


def _warm_up(one: Contender, token_ids: Sequence[int], report: Report) -> None:
    try:
        one.prefill(token_ids)
        one.decode(token_ids, 2)
    except PeerUnavailableError as error:
        report.note(str(error))


def _prefill_figure(
    count: int,
    samples: dict[str, Samples],
    contenders: Sequence[Contender],
    limits: MachineLimits,
) -> Figure:
    fastest = {}
    for one in contenders:
        least_ms = limits.prefill_ms(one.costs, count) if one.costs else None
        if least_ms:
            fastest[one.name] = count * 1000 / least_ms
    return Figure(
        key=f"prefill-{count}",
        title=f"prefill of {count}",
        unit="tokens/s",
        samples=samples,
        higher_is_better=True,
        limits=fastest,
        limit_name="matrix rate",
    )


def _decode_figure(
    depth: int,
    samples: dict[str, Samples],
    contenders: Sequence[Contender],
    limits: MachineLimits,
) -> Figure:
    return Figure(
        key=f"decode-{depth}",
        title=f"decoding at depth {depth}",
        unit="tokens/s",
        samples=samples,
        higher_is_better=True,
        limits={
            one.name: 1000 / limits.pass_ms(one.costs, max(1, depth))
            for one in contenders
            if one.costs is not None
        },
        limit_name="read bandwidth",
    )
