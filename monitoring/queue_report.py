"""The queue: how many batches are live, how much is left of them, what each model waits for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Min, Sum

from jobs.models import Batch
from jobs.states import LIVE_STATES
from jobs.views.shown import NEEDED, Shown, show_batches

# So many models are told apart; those with the oldest batches first.
MODELS_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class ModelQueue:
    """The live batches of one model; `first` is what a lane takes up next, as pages show it."""

    name: str
    batches: int
    lines: int
    oldest_at: datetime
    first: Shown


@dataclass(frozen=True, kw_only=True)
class QueueReport:
    """The live batches of all projects, by state and by model; `lines` are yet to be answered."""

    states: dict[str, int]
    lines: int
    oldest_at: datetime | None
    models: list[ModelQueue]

    @property
    def batches(self) -> int:
        return sum(self.states.values())


def report_queue() -> QueueReport:
    """Read the queue; the number of queries does not grow with it."""
    live = Batch.objects.filter(state__in=LIVE_STATES)
    states = dict(live.values_list("state").annotate(count=Count("pk")))
    rows = list(
        live.values("model_name").annotate(
            batches=Count("pk"),
            lines=Sum(F("total") - F("completed") - F("failed")),
            oldest_at=Min("created_at"),
        )
    )
    rows.sort(key=lambda row: row["oldest_at"])
    shown_rows = rows[:MODELS_SHOWN]
    names = [row["model_name"] for row in shown_rows]
    # In the order in which they are claimed; a paused one is last, it holds nobody up.
    firsts = list(
        live.filter(model_name__in=names)
        .order_by("model_name", F("paused_at").asc(nulls_first=True), "-priority", "pk")
        .distinct("model_name")
        .select_related("model")
        .only(*NEEDED)
    )
    shown = show_batches(firsts) if firsts else {}
    by_name = {batch.model_name: shown[batch.pk] for batch in firsts}
    return QueueReport(
        states={state: states[state] for state in map(str, LIVE_STATES) if state in states},
        lines=sum(row["lines"] for row in rows),
        oldest_at=rows[0]["oldest_at"] if rows else None,
        models=[
            ModelQueue(
                name=row["model_name"],
                batches=row["batches"],
                lines=row["lines"],
                oldest_at=row["oldest_at"],
                first=by_name[row["model_name"]],
            )
            # One may have ended since the first look.
            for row in shown_rows
            if row["model_name"] in by_name
        ],
    )
