"""Metrics of workers and their lanes: who is alive, and what each engine is doing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from jobs.states import EngineState, LaneKind
from monitoring.fleet_report import UNKNOWN, LaneReport, WorkerReport


def metrics(reports: Iterable[WorkerReport]) -> Iterator[Metric]:
    reports = list(reports)
    yield from _workers(reports)
    yield from _lanes(reports)


def _workers(reports: list[WorkerReport]) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "vbatch_workers_alive",
        "Workers with a heartbeat.",
        value=sum(report.alive for report in reports),
    )
    up = GaugeMetricFamily(
        "vbatch_worker_up",
        "1 if the worker is alive, 0 if it fell silent without having been stopped.",
        labels=["worker"],
    )
    heartbeat = GaugeMetricFamily(
        "vbatch_heartbeat_last_success_timestamp_seconds",
        "Last heartbeat of a worker.",
        labels=["worker"],
    )
    sampler = GaugeMetricFamily(
        "vbatch_sampler_last_success_timestamp_seconds",
        "Last sign of life of a worker's sampler; 0 if it never gave one.",
        labels=["worker"],
    )
    for report in reports:
        worker = report.worker
        up.add_metric([worker.name], report.alive)
        heartbeat.add_metric([worker.name], worker.heartbeat_at.timestamp())
        # A worker that stops has ended its sampler, which is nothing to be alarmed about.
        if not worker.draining:
            at = worker.sampled_at
            sampler.add_metric([worker.name], at.timestamp() if at else 0.0)
    yield from (up, heartbeat, sampler)


def _lanes(reports: list[WorkerReport]) -> Iterator[Metric]:
    lanes = GaugeMetricFamily(
        "vbatch_lanes",
        "Lanes by kind and state of their engine; unknown where the worker is silent.",
        labels=["kind", "state"],
    )
    found = Counter((lane.lane.kind, report.engine_state(lane)) for report, lane in _each(reports))
    for kind in LaneKind:
        for state in (*EngineState, UNKNOWN):
            lanes.add_metric([kind, state], found[kind, state])
    yield lanes
    yield _states(reports)
    yield from _starts(reports)


def _states(reports: list[WorkerReport]) -> Metric:
    states = GaugeMetricFamily(
        "vbatch_engine_state",
        "1 for the state in which the engine of a lane is, 0 for the others.",
        labels=["worker", "lane", "state"],
    )
    for report, lane in _each(reports):
        present = report.engine_state(lane)
        for state in (*EngineState, UNKNOWN):
            labels = [report.worker.name, lane.lane.name, state]
            states.add_metric(labels, float(state == present))
    return states


def _starts(reports: list[WorkerReport]) -> Iterator[Metric]:
    starts = CounterMetricFamily(
        "vbatch_engine_starts", "Engines that a lane has started.", labels=["worker", "lane"]
    )
    failures = GaugeMetricFamily(
        "vbatch_engine_start_failures",
        "Failed starts in a row of a model on a lane.",
        labels=["worker", "lane", "model"],
    )
    crashed = GaugeMetricFamily(
        "vbatch_engine_crashed",
        "1 from when an engine ended by itself until another is ready.",
        labels=["worker", "lane"],
    )
    held_back = GaugeMetricFamily(
        "vbatch_engine_start_held_back",
        "1 while no engine is started because a GPU is too hot or too full.",
        labels=["worker", "lane"],
    )
    for report, lane in _each(reports):
        labels = [report.worker.name, lane.lane.name]
        if lane.lane.kind != LaneKind.UPSTREAM:
            starts.add_metric(labels, lane.lane.generation)
            if report.alive:
                crashed.add_metric(labels, float(lane.crashed))
            held_back.add_metric(labels, float(bool(lane.lane.start_held_back)))
        for failed in lane.failed_models:
            failures.add_metric([*labels, failed.model.name], failed.failures)
    yield from (starts, failures, crashed, held_back)


def _each(reports: Iterable[WorkerReport]) -> Iterator[tuple[WorkerReport, LaneReport]]:
    for report in reports:
        for lane in report.lanes:
            yield report, lane
