"""What vLLM says of itself at its `/metrics`, under names of our own."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

# vLLM's names as of 0.32, without the suffix of counters.
_GAUGES = {
    "vllm:num_requests_running": "requests_running",
    "vllm:num_requests_waiting": "requests_waiting",
}
_SHARES = {"vllm:kv_cache_usage_perc": "kv_cache_percent"}
_COUNTERS = {
    "vllm:prompt_tokens": "prompt_tokens",
    "vllm:generation_tokens": "generation_tokens",
    "vllm:prefix_cache_queries": "prefix_cache_queries",
    "vllm:prefix_cache_hits": "prefix_cache_hits",
    "vllm:num_preemptions": "preemptions",
}
_FINISHED = "vllm:request_success"
_HISTOGRAMS = {
    "vllm:time_to_first_token_seconds": "ttft_s",
    "vllm:inter_token_latency_seconds": "itl_s",
    "vllm:request_time_per_output_token_seconds": "tpot_s",
    "vllm:e2e_request_latency_seconds": "e2e_s",
    "vllm:request_queue_time_seconds": "queue_s",
}
_WANTED = (*_GAUGES, *_SHARES, *_COUNTERS, _FINISHED, *_HISTOGRAMS)
_WANTED_LINES = (*_WANTED, *(f"# TYPE {name}" for name in _WANTED))


class NoFigures(Exception):
    """The engine gave none; the message says why."""


@dataclass
class Histogram:
    """Counts of observations up to each bound (inclusive, in seconds), their sum and number."""

    buckets: dict[float, float] = field(default_factory=lambda: defaultdict(float))
    total: float = 0.0
    count: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it as `Series.detail` holds it; the last bound, infinity, is null there."""
        return {
            "buckets": [
                [None if math.isinf(bound) else bound, count]
                for bound, count in sorted(self.buckets.items())
            ],
            "sum": self.total,
            "count": self.count,
        }


@dataclass
class EngineFigures:
    """One reading: gauges of the moment, counters and histograms since the engine started.

    Of several engine cores, as with data parallelism, gauges and counters are sums; the use of
    the KV cache is that of the fullest.
    """

    gauges: dict[str, float] = field(default_factory=dict)
    counters: dict[str, float] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)


async def scrape(socket: str, *, timeout_s: float) -> EngineFigures:
    """Ask the engine behind a UNIX socket; raises NoFigures."""
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path=socket),
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as session,
            session.get("http://engine/metrics") as response,
        ):
            if response.status != 200:
                raise NoFigures(f"/metrics answered {response.status}")
            return read_exposition(await response.text())
    except TimeoutError as error:
        raise NoFigures(f"/metrics did not answer within {timeout_s:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise NoFigures(f"/metrics cannot be asked: {type(error).__name__}") from error


def read_exposition(text: str) -> EngineFigures:
    """Read vLLM's metrics; what is not known here is passed over. Raises NoFigures."""
    figures = EngineFigures()
    # Most lines are not kept, and the sampler shares the processors with a CPU's engine. A text
    # without a single one is parsed as it is, so that what is no metrics at all is told.
    wanted = [line for line in text.splitlines() if line.startswith(_WANTED_LINES)]
    try:
        for family in text_string_to_metric_families("\n".join(wanted) or text):
            _read_family(family, figures)
    except ValueError as error:
        raise NoFigures(f"/metrics cannot be read: {error}") from error
    return figures


def _read_family(family: Metric, figures: EngineFigures) -> None:
    if family.name in _GAUGES:
        figures.gauges[_GAUGES[family.name]] = sum(s.value for s in family.samples)
    elif family.name in _SHARES:
        share = max((s.value for s in family.samples), default=0.0)
        figures.gauges[_SHARES[family.name]] = share * 100
    elif family.name in _COUNTERS:
        figures.counters[_COUNTERS[family.name]] = sum(
            s.value for s in family.samples if s.name.endswith("_total")
        )
    elif family.name == _FINISHED:
        for sample in family.samples:
            if sample.name.endswith("_total"):
                name = f"requests_{sample.labels.get('finished_reason', 'other')}"
                figures.counters[name] = figures.counters.get(name, 0.0) + sample.value
    elif family.name in _HISTOGRAMS:
        figures.histograms[_HISTOGRAMS[family.name]] = _read_histogram(family.samples)


def _read_histogram(samples: Iterable[Any]) -> Histogram:
    histogram = Histogram()
    for sample in samples:
        if sample.name.endswith("_bucket"):
            histogram.buckets[float(sample.labels["le"])] += sample.value
        elif sample.name.endswith("_sum"):
            histogram.total += sample.value
        elif sample.name.endswith("_count"):
            histogram.count += sample.value
    return histogram
