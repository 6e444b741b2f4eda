"""Runs as the API shows them: JSON, and rows of CSV under vLLM's names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from benchmarks.comparing import Comparison
from benchmarks.disturbances import disturbances_of
from benchmarks.field_names import FIELD_NAMES, flat
from benchmarks.models import Run, RunPart, Workload
from curation.shapes.table import safe_cell
from jobs.models import Batch

_DESCRIBED = (
    "id",
    "repeat",
    "date",
    "kind",
    "backend",
    "model_id",
    "workload",
    "workload_sha256",
    "gpu",
    "cpu",
    "driver",
    "vllm",
    "vbatch",
    "engine_args",
    "model_revision",
)
COLUMNS = (*_DESCRIBED, *FIELD_NAMES.values())


def render_workload(workload: Workload | None) -> dict[str, Any] | None:
    if workload is None:
        return None
    return {
        "id": workload.public_id,
        "object": "workload",
        "name": workload.name,
        "version": workload.version or None,
        "endpoint": workload.endpoint,
        "requests": workload.requests,
        "sha256": bytes(workload.sha256).hex(),
    }


def render_run(run: Run, parts: Iterable[RunPart] | None = None) -> dict[str, Any]:
    """Return a run; with its parts where they are given."""
    shown = {
        "id": run.public_id,
        "object": "benchmark",
        "kind": run.kind,
        "tool": run.tool or None,
        "status": run.state,
        "error": run.error or None,
        "model": run.model_name,
        "workload": render_workload(run.workload),
        "repeats": run.repeats,
        "checks": run.checks,
        "price_per_gpu_hour": None
        if run.price_per_gpu_hour is None
        else float(run.price_per_gpu_hour),
        "figures": flat(run.figures),
        "scores": run.scores,
        "warnings": disturbances_of(run),
        "fingerprint": run.fingerprint or None,
        "note": run.note or None,
        "created_at": _seconds(run.created_at),
        "created_by": run.created_by_name,
        "started_at": _seconds(run.started_at),
        "ended_at": _seconds(run.ended_at),
    }
    if run.imported is not None:
        shown["imported"] = run.imported
    if parts is not None:
        shown["parts"] = [
            {
                "repeat": part.repeat,
                "batch_id": part.batch_public_id or None,
                "figures": None if part.figures is None else flat(part.figures),
            }
            for part in parts
        ]
    return shown


def render_batch(batch: Batch, figures: dict[str, Any], fingerprint: Any) -> dict[str, Any]:
    """Return what was measured of any batch."""
    return {
        "id": batch.public_id,
        "object": "benchmark",
        "kind": "batch",
        "status": batch.state,
        "model": batch.model_name,
        "endpoint": batch.endpoint,
        "figures": flat(figures),
        "fingerprint": fingerprint or None,
        "created_at": _seconds(batch.created_at),
        "ended_at": _seconds(batch.ended_at),
    }


def render_comparison(baseline: Run, candidate: Run, found: Comparison) -> dict[str, Any]:
    return {
        "object": "benchmark.comparison",
        "baseline": baseline.public_id,
        "candidate": candidate.public_id,
        "comparable": not found.unlike,
        "reasons": found.unlike,
        "verdict": found.verdict or None,
        "decided_by": found.deciding.metric.path if found.deciding else None,
        "differences": [one._asdict() for one in found.differences],
        "metrics": [
            {
                "metric": one.metric.path,
                "title": one.metric.title,
                "unit": one.metric.unit,
                "higher_is_better": one.metric.higher_is_better,
                "baseline": one.baseline,
                "candidate": one.candidate,
                "change": one.verdict.change,
                "low": one.verdict.low,
                "high": one.verdict.high,
                "verdict": one.verdict.name,
            }
            for one in found.verdicts
        ],
    }


def csv_of(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Yield a table of runs or repeats, one row each; formulas are made harmless."""
    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([safe_cell(_cell(row.get(name))) for name in COLUMNS])
        yield line.getvalue().encode()
        line.seek(0)
        line.truncate()
    yield line.getvalue().encode()


def row_of(
    run: Run, figures: dict[str, Any] | None, *, repeat: int | None = None
) -> dict[str, Any]:
    """Return a run, or one of its repeats, as a row of the table."""
    mark = run.fingerprint
    workload = run.workload
    return {
        "id": run.public_id,
        "repeat": repeat,
        "date": run.created_at.isoformat(timespec="seconds"),
        "kind": run.kind,
        "backend": run.tool or "vbatch",
        "model_id": run.model_name,
        "workload": workload.title if workload else None,
        "workload_sha256": bytes(workload.sha256).hex() if workload else None,
        "gpu": ", ".join(gpu["name"] for gpu in mark.get("gpus", [])),
        "cpu": mark.get("cpu"),
        "driver": ", ".join(sorted({gpu["driver"] for gpu in mark.get("gpus", [])})),
        "vllm": mark.get("vllm"),
        "vbatch": mark.get("vbatch"),
        "engine_args": mark.get("engine_args"),
        "model_revision": mark.get("revision"),
        **flat(figures or {}),
    }


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def _seconds(at: datetime | None) -> int | None:
    return int(at.timestamp()) if at is not None else None
