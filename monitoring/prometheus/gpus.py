"""Metrics of the GPUs, as they were last read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from jobs.models import Gpu
from jobs.nvml import THROTTLE_REASONS
from monitoring.fleet_report import GpuReport, WorkerReport

_LABELS = ["worker", "gpu"]
# The column of `Gpu`, the name of its metric, its meaning, and the factor to the base unit.
_FIGURES = (
    ("utilization_percent", "vbatch_gpu_utilization_ratio", "Share of time it was busy.", 0.01),
    ("memory_used_bytes", "vbatch_gpu_memory_used_bytes", "Memory in use.", 1.0),
    ("memory_total_bytes", "vbatch_gpu_memory_total_bytes", "Memory of the GPU.", 1.0),
    ("temperature_c", "vbatch_gpu_temperature_celsius", "Temperature of the core.", 1.0),
    ("power_w", "vbatch_gpu_power_watts", "Power that it draws.", 1.0),
    ("power_limit_w", "vbatch_gpu_power_limit_watts", "Power that it may draw.", 1.0),
)
_CLOCKS = {"sm": "clock_sm_mhz", "memory": "clock_memory_mhz"}


def metrics(reports: Iterable[WorkerReport]) -> Iterator[Metric]:
    """What is stale is left out; error, name and the time of the last reading stay."""
    every = [
        ([report.worker.name, str(reading.gpu.index)], reading)
        for report in reports
        for reading in report.gpus
        if _is_here(report, reading)
    ]
    fresh = [(labels, reading.gpu) for labels, reading in every if not reading.stale]
    yield from _figures(fresh)
    yield _clocks(fresh)
    yield _energy(fresh)
    yield _throttled(fresh)
    yield from _lasting([(labels, reading.gpu) for labels, reading in every])


def _is_here(report: WorkerReport, reading: GpuReport) -> bool:
    """Say whether it was read, or refused to be, since the worker started.

    One that was taken out of the host is nothing to be alarmed about for ever.
    """
    return bool(reading.gpu.error) or reading.age_s <= report.up_s


def _figures(fresh: list[tuple[list[str], Gpu]]) -> Iterator[Metric]:
    for column, name, meaning, factor in _FIGURES:
        family = GaugeMetricFamily(name, meaning, labels=_LABELS)
        for labels, gpu in fresh:
            value = getattr(gpu, column)
            if value is not None:
                family.add_metric(labels, value * factor)
        yield family


def _clocks(fresh: list[tuple[list[str], Gpu]]) -> Metric:
    clocks = GaugeMetricFamily(
        "vbatch_gpu_clock_hertz", "Clocks of core and memory.", labels=[*_LABELS, "kind"]
    )
    for labels, gpu in fresh:
        for kind, column in _CLOCKS.items():
            value = getattr(gpu, column)
            if value is not None:
                clocks.add_metric([*labels, kind], value * 1e6)
    return clocks


def _energy(fresh: list[tuple[list[str], Gpu]]) -> Metric:
    energy = CounterMetricFamily(
        "vbatch_gpu_energy_joules", "Energy used since the driver was loaded.", labels=_LABELS
    )
    for labels, gpu in fresh:
        if gpu.energy_j is not None:
            energy.add_metric(labels, gpu.energy_j)
    return energy


def _throttled(fresh: list[tuple[list[str], Gpu]]) -> Metric:
    throttled = GaugeMetricFamily(
        "vbatch_gpu_throttled", "1 while the clocks are held down.", labels=[*_LABELS, "reason"]
    )
    for labels, gpu in fresh:
        if gpu.throttle_reasons is not None:
            for reason in THROTTLE_REASONS:
                throttled.add_metric([*labels, reason], float(reason in gpu.throttle_reasons))
    return throttled


def _lasting(every: list[tuple[list[str], Gpu]]) -> Iterator[Metric]:
    info = GaugeMetricFamily(
        "vbatch_gpu_info", "1, with name and driver.", labels=[*_LABELS, "name", "driver"]
    )
    error = GaugeMetricFamily(
        "vbatch_gpu_error", "1 while the GPU cannot be read, as when it is lost.", labels=_LABELS
    )
    last = GaugeMetricFamily(
        "vbatch_gpu_last_success_timestamp_seconds", "Last reading of a GPU.", labels=_LABELS
    )
    for labels, gpu in every:
        info.add_metric([*labels, gpu.name, gpu.driver], 1)
        error.add_metric(labels, float(bool(gpu.error)))
        last.add_metric(labels, gpu.read_at.timestamp())
    yield from (info, error, last)
