"""Metrics of the engines, as each tells them of itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric

from jobs.states import EngineState, LaneKind
from monitoring.fleet_report import WorkerReport
from monitoring.models import Series
from monitoring.prometheus.named_models import MOST, OTHER
from monitoring.quantities import SeriesKind

_LABELS = ["worker", "lane", "model"]
_REQUESTS = {"running": "requests_running", "waiting": "requests_waiting"}
_TOKENS = {"input": "prompt_tokens", "output": "generation_tokens"}
_FINISHED = "requests_"
_COUNTERS = {
    "prefix_cache_queries": (
        "vbatch_engine_prefix_cache_queried_tokens",
        "Tokens of prompts that were looked up in the prefix cache.",
    ),
    "prefix_cache_hits": (
        "vbatch_engine_prefix_cache_hit_tokens",
        "Tokens of prompts that the prefix cache had.",
    ),
    "preemptions": (
        "vbatch_engine_preemptions",
        "Requests put back because the KV cache was full.",
    ),
}
_HISTOGRAMS = {
    "ttft_s": (
        "vbatch_engine_time_to_first_token_seconds",
        "From a request's arrival at the engine to its first token.",
    ),
    "itl_s": ("vbatch_engine_inter_token_latency_seconds", "From one token to the next."),
    "e2e_s": (
        "vbatch_engine_request_duration_seconds",
        "From a request's arrival at the engine to its end.",
    ),
    "queue_s": ("vbatch_engine_queue_wait_seconds", "How long a request waited in the engine."),
}


class _Engine(NamedTuple):
    labels: list[str]
    latest: dict[str, Any]
    detail: dict[str, Any]


def metrics(reports: Iterable[WorkerReport]) -> Iterator[Metric]:
    """A reading that is stale, or of an engine that is gone, gives no sample at all."""
    reports = list(reports)
    engines = _fresh(reports)
    yield from _gauges(engines)
    yield from _counters(engines)
    yield from _histograms(engines)
    yield _last_success(reports)


def _fresh(reports: list[WorkerReport]) -> list[_Engine]:
    lanes = {
        lane.lane.pk: (report, lane.lane, lane.reading.series.latest)
        for report in reports
        for lane in report.lanes
        if report.alive and lane.lane.engine_state == EngineState.READY
        if lane.reading is not None and not lane.reading.stale
    }
    # A histogram is large: only those of engines that are read now are fetched.
    details = Series.objects.filter(kind=SeriesKind.ENGINE, lane__in=lanes)
    found = []
    named: dict[str, str] = {}
    for lane_id, detail in details.order_by("lane").values_list("lane", "detail"):
        report, lane, latest = lanes[lane_id]
        if detail.get("generation") != lane.generation:
            continue  # Of the engine before this one.
        model = str(detail.get("model") or "")
        label = named.setdefault(model, model if model and len(named) < MOST else OTHER)
        found.append(_Engine([report.worker.name, lane.name, label], latest, detail))
    return found


def _gauges(engines: list[_Engine]) -> Iterator[Metric]:
    requests = GaugeMetricFamily(
        "vbatch_engine_requests", "Requests in the engine.", labels=[*_LABELS, "state"]
    )
    cache = GaugeMetricFamily(
        "vbatch_engine_kv_cache_ratio", "Share of the KV cache in use.", labels=_LABELS
    )
    for engine in engines:
        for state, name in _REQUESTS.items():
            value = _number(engine.latest.get(name))
            if value is not None:
                requests.add_metric([*engine.labels, state], value)
        used = _number(engine.latest.get("kv_cache_percent"))
        if used is not None:
            cache.add_metric(engine.labels, used / 100)
    yield from (requests, cache)


def _counters(engines: list[_Engine]) -> Iterator[Metric]:
    tokens = CounterMetricFamily(
        "vbatch_engine_tokens",
        "Tokens since the engine started: read from prompts, and made.",
        labels=[*_LABELS, "kind"],
    )
    finished = CounterMetricFamily(
        "vbatch_engine_finished_requests",
        "Requests since the engine started, by why they ended.",
        labels=[*_LABELS, "reason"],
    )
    others = {
        name: CounterMetricFamily(metric, meaning, labels=_LABELS)
        for name, (metric, meaning) in _COUNTERS.items()
    }
    for engine in engines:
        counters = engine.detail.get("counters") or {}
        for kind, name in _TOKENS.items():
            value = _number(counters.get(name))
            if value is not None:
                tokens.add_metric([*engine.labels, kind], value)
        for name, found in counters.items():
            value = _number(found)
            if value is None:
                continue
            if name in others:
                others[name].add_metric(engine.labels, value)
            elif name.startswith(_FINISHED):
                finished.add_metric([*engine.labels, name.removeprefix(_FINISHED)], value)
    yield from (tokens, finished, *others.values())


def _histograms(engines: list[_Engine]) -> Iterator[Metric]:
    for name, (metric, meaning) in _HISTOGRAMS.items():
        family = HistogramMetricFamily(metric, meaning, labels=_LABELS)
        for engine in engines:
            histogram = (engine.detail.get("histograms") or {}).get(name)
            if histogram and histogram.get("buckets"):
                buckets = [
                    ("+Inf" if bound is None else str(float(bound)), count)
                    for bound, count in histogram["buckets"]
                ]
                if buckets[-1][0] != "+Inf":
                    buckets.append(("+Inf", histogram["count"]))
                family.add_metric(engine.labels, buckets, histogram["sum"])
        yield family


def _last_success(reports: list[WorkerReport]) -> Metric:
    last = GaugeMetricFamily(
        "vbatch_engine_last_success_timestamp_seconds",
        "Last reading of an engine that is ready, or when it became so.",
        labels=["worker", "lane"],
    )
    for report in reports:
        for lane in report.lanes:
            if lane.lane.kind == LaneKind.UPSTREAM or lane.lane.engine_state != EngineState.READY:
                continue
            read_at = lane.reading.series.read_at if lane.reading else None
            times = [at for at in (read_at, lane.lane.engine_ready_at) if at is not None]
            if times:
                last.add_metric([report.worker.name, lane.lane.name], max(times).timestamp())
    return last


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
