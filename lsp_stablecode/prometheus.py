"""Metrics for Prometheus, on the loopback interface, where somebody asked for them.

Names follow `Prometheus' conventions <https://prometheus.io/docs/practices/naming/>`_:
base units, totals of what only grows.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from lsp_stablecode.errors import SettingsError
from lsp_stablecode.metrics import LATENCY_BUCKETS_MS
from lsp_stablecode.model_pool import ModelPool
from lsp_stablecode.overview import gpu_memory_bytes

if TYPE_CHECKING:
    from prometheus_client import Metric

_PREFIX = "lsp_stablecode_"


def serve_metrics(pool: ModelPool, host: str, port: int) -> Callable[[], None]:
    """Serve a process's metrics; return what stops that.

    Raises ``SettingsError`` for an address that others could reach, and where nobody
    can listen.
    """
    # Nobody pays for what nobody asked for.
    from prometheus_client import CollectorRegistry, start_http_server

    if not _is_loopback(host):
        raise SettingsError(
            f"Metrics are not served on {host}, which others may reach.",
            hint="Use --metrics 127.0.0.1:PORT.",
        )
    registry = CollectorRegistry()
    registry.register(_Collector(pool))
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise SettingsError(
            f"Metrics cannot be served on {host}:{port} ({error.strerror}).",
            hint="Choose another port for --metrics.",
        ) from error
    return server.shutdown


class _Collector:
    """Reads what there is when it is asked for."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    def collect(self) -> Iterable[Metric]:
        import psutil
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        whole = self._pool.all_metrics()
        models = list(self._pool)
        for name, text, value in (
            ("sessions", "Editors.", len(self._pool.sessions)),
            (
                "models_ready",
                "Models whose weights are loaded.",
                sum(one.state.name == "ready" for one in models),
            ),
            (
                "requests_waiting",
                "Jobs that wait for a model.",
                sum(one.worker.num_waiting for one in models),
            ),
            (
                "memory_bytes",
                "Resident memory of the process.",
                psutil.Process().memory_info().rss,
            ),
            ("gpu_memory_bytes", "Memory held of a GPU.", gpu_memory_bytes() or 0),
        ):
            yield GaugeMetricFamily(_PREFIX + name, text, value=value)
        requests = CounterMetricFamily(
            _PREFIX + "requests", "Requests by their outcome.", labels=["outcome"]
        )
        for outcome, number in whole.outcomes.items():
            requests.add_metric([outcome], number)
        yield requests
        for name, text, total in (
            ("prompt_tokens", "Tokens of prompts.", whole.prompt_tokens),
            (
                "reused_tokens",
                "Tokens of prompts that were not computed again.",
                whole.reused_tokens,
            ),
            ("generated_tokens", "Tokens generated.", whole.generated_tokens),
            ("suggestions_shown", "Suggestions shown.", whole.num_shown),
            ("suggestions_accepted", "Suggestions accepted.", whole.num_accepted),
            ("prefill_seconds", "Time of prompts.", whole.prefill_ms / 1000),
            ("decode_seconds", "Time of generation.", whole.decode_ms / 1000),
        ):
            yield CounterMetricFamily(_PREFIX + name, text, value=total)
        buckets, number = [], 0
        for end_ms, count in zip(
            (*LATENCY_BUCKETS_MS, None), whole.latency_counts, strict=True
        ):
            number += count
            end = "+Inf" if end_ms is None else str(end_ms / 1000)
            buckets.append((end, float(number)))
        yield HistogramMetricFamily(
            _PREFIX + "answer_seconds",
            "From a request to its answer, given-up ones left out.",
            buckets=buckets,
            sum_value=whole.latency_sum_ms / 1000,
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
