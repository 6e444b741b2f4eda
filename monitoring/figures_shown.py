"""How the figures of a batch are shown on its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobs.models import Batch, BatchRequest
from jobs.states import BatchState
from jobs.views.answers import is_hidden
from monitoring.bar_chart import BarChart, lay_out
from monitoring.batch_figures import BatchFigures, ErrorGroup, Phase, read_figures
from monitoring.quantities import STALE_AFTER_S

_HISTOGRAMS = (
    ("input_tokens", "Tokens in", "tokens"),
    ("output_tokens", "Tokens out", "tokens"),
    ("latency_ms", "Latency", "ms"),
)
_REASONS = {
    "stop": "it ended by itself",
    "length": "cut at its limit of tokens",
    "tool_calls": "it calls a tool",
    "function_call": "it calls a function",
    "content_filter": "held back by a filter",
    "abort": "broken off",
    "completed": "it ended by itself",
    "incomplete": "cut before its end",
}


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A phase in the strip: `start` and `width` as shares of the whole, in per cent."""

    name: str
    css: str
    start: float
    width: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Reason:
    """How many answers ended in which way, and their share in per cent."""

    name: str
    words: str
    count: int
    share: float


def show_figures(batch: Batch) -> dict[str, Any]:
    """Return what the figures of a batch's page are written from."""
    figures = read_figures(batch)
    return {
        "batch": batch,
        "figures": figures,
        "stale_after_s": round(STALE_AFTER_S),
        "is_measured": _is_measured(batch, figures),
        "is_at_work": batch.state == BatchState.IN_PROGRESS and batch.paused_at is None,
        "wait_s": _seconds_between(batch.created_at, batch.first_response_at),
        "work_s": _seconds_between(batch.first_response_at, batch.last_response_at),
        "phases": _strip(figures.phases),
        "histograms": _histograms(figures),
        "reasons": _reasons(figures),
        "errors": _errors(batch, figures.errors),
    }


def _is_measured(batch: Batch, figures: BatchFigures) -> bool:
    """Say whether there is, or will be, anything that was measured here."""
    if not batch.total or batch.imported_at is not None:
        return False
    return batch.is_live or bool(figures.phases) or batch.first_response_at is not None


def _seconds_between(start: Any, end: Any) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds()


def _strip(phases: Sequence[Phase]) -> list[Stretch]:
    if not phases:
        return []
    first, whole = phases[0].start, phases[-1].end - phases[0].start
    return [
        Stretch(
            name=phase.name,
            css=phase.name.replace(" ", "-"),
            start=round((phase.start - first) / whole * 100, 2),
            width=round(phase.seconds / whole * 100, 2),
            seconds=phase.seconds,
        )
        for phase in phases
    ]


def _histograms(figures: BatchFigures) -> list[BarChart]:
    charts = [lay_out(title, unit, figures.histograms[name]) for name, title, unit in _HISTOGRAMS]
    return [chart for chart in charts if chart.rects]


def _reasons(figures: BatchFigures) -> list[Reason]:
    whole = sum(figures.finish_reasons.values())
    return [
        Reason(
            name=name or "none given",
            words=_REASONS.get(name, ""),
            count=count,
            share=round(count / whole * 100, 1),
        )
        for name, count in figures.finish_reasons.items()
        if count
    ]


def _errors(batch: Batch, groups: Sequence[ErrorGroup]) -> list[dict[str, Any]]:
    """Return the groups with their example lines by custom_id.

    What stands in an error file that is deleted or expired is not shown here either.
    """
    if not groups:
        return []
    positions = {position for group in groups for position in group.positions}
    lines = BatchRequest.objects.filter(batch=batch, position__in=positions)
    custom_ids = dict(lines.values_list("position", "custom_id"))
    hidden = is_hidden(batch, ok=False)
    return [
        {
            "code": group.code,
            "count": group.count,
            "message": "" if hidden else group.message,
            "hidden": hidden,
            "lines": [
                {"position": position, "custom_id": custom_ids[position]}
                for position in group.positions
                if position in custom_ids
            ],
        }
        for group in groups
    ]
