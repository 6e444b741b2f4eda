"""Rows that have been kept for as long as the operator asks: deliveries, deeds, tasks, workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django_q.models import OrmQ, Task

from jobs.models import (
    AuditEntry,
    Batch,
    BatchResponse,
    Chunk,
    Gpu,
    Lane,
    LaneModel,
    WebhookAttempt,
    WebhookDelivery,
    Worker,
)
from jobs.services.due import Scope, due_batches
from jobs.services.slices import Pace, Tally, measure, remove_rows
from jobs.states import ENDED_STATES, DeliveryState

IDEMPOTENCY_KEYS = "jobs_batch.idempotency_key"


@dataclass(frozen=True, kw_only=True)
class OldRows:
    """The rows of one table that are older than the `days` of a setting, and what hangs on them.

    `due` gives them for a moment; `order` is a column by which they are found without reading
    the table. With `project` None they belong to no project. `ready` leaves out those that
    cannot go as long as something else has not gone.
    """

    days: str
    due: Callable[[Scope, datetime], QuerySet[Any]]
    order: str
    project: str | None = None
    parts: tuple[tuple[type[Model], str], ...] = ()
    ready: Callable[[QuerySet[Any]], QuerySet[Any]] = lambda rows: rows

    def measure(self, scope: Scope) -> Tally:
        tally = Tally()
        if (rows := self._rows(scope)) is not None:
            for model, path in self.parts:
                tally.put_rows(model._default_manager.filter(**{f"{path}__in": rows.values("pk")}))
            tally.put_rows(rows)
        return tally

    def remove(self, scope: Scope, pace: Pace) -> Iterator[Tally]:
        if (rows := self._rows(scope)) is not None:
            # Locked: a worker that comes back just now is either gone or not taken.
            free = self.ready(rows).select_for_update(of=("self",), skip_locked=True)
            yield from remove_rows(free, order_by=self.order, pace=pace, parts=self.parts)

    def _rows(self, scope: Scope) -> QuerySet[Any] | None:
        until = scope.kept_until(getattr(settings, self.days))
        if until is None or (scope.project is not None and self.project is None):
            return None
        rows = self.due(scope, until)
        return rows.filter(**{str(self.project): scope.project}) if scope.project else rows


class OldIdempotencyKeys:
    """Keys of batches that ended and were made so long ago that no client asks again."""

    def measure(self, scope: Scope) -> Tally:
        tally = Tally()
        if (rows := self._rows(scope)) is not None:
            self._put(tally, rows)
        return tally

    def remove(self, scope: Scope, pace: Pace) -> Iterator[Tally]:
        rows = self._rows(scope)
        while rows is not None:
            tally = Tally()
            with pace.slice() as limit:
                pks = list(rows.order_by("created_at").values_list("pk", flat=True)[:limit])
                chosen = Batch.objects.filter(pk__in=pks)
                self._put(tally, chosen)
                chosen.update(idempotency_key=None)
            if not pks:
                return
            yield tally

    def _rows(self, scope: Scope) -> QuerySet[Batch] | None:
        until = scope.kept_until(settings.KEEP_IDEMPOTENCY_KEYS_DAYS)
        if until is None:
            return None
        rows = Batch.objects.filter(
            created_at__lte=until, idempotency_key__isnull=False, state__in=ENDED_STATES
        ).exclude(pk__in=due_batches(scope).values("pk"))
        return rows.filter(project=scope.project) if scope.project else rows

    def _put(self, tally: Tally, rows: QuerySet[Batch]) -> None:
        amount = measure(rows, columns=["idempotency_key"])
        tally.put(IDEMPOTENCY_KEYS, amount.count, amount.bytes)


def _deliveries(scope: Scope, until: datetime) -> QuerySet[WebhookDelivery]:
    # Those of batches that are to go are counted there.
    return WebhookDelivery.objects.filter(created_at__lte=until).exclude(
        Q(state=DeliveryState.PENDING) | Q(batch__in=due_batches(scope).values("pk"))
    )


def _deeds(scope: Scope, until: datetime) -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(created_at__lte=until)


def _tasks(scope: Scope, until: datetime) -> QuerySet[Task]:
    rows: QuerySet[Task] = Task.objects.filter(stopped__lte=until)
    return rows


def _calls(scope: Scope, until: datetime) -> QuerySet[OrmQ]:
    """Calls that nobody has taken: of a lane whose host is gone, say. One that matters is made
    again."""
    rows: QuerySet[OrmQ] = OrmQ.objects.filter(lock__lte=until)
    return rows


def _sessions(scope: Scope, until: datetime) -> QuerySet[Session]:
    return Session.objects.filter(expire_date__lte=until)


def _workers(scope: Scope, until: datetime) -> QuerySet[Worker]:
    """Workers that stopped, or fell silent, of whose lanes no answer is kept."""
    answers = _ANSWERS.exclude(batch__in=due_batches(scope).values("pk"))
    claims = Chunk.objects.filter(owner__worker=OuterRef("pk"))
    return Worker.objects.filter(~Exists(answers), ~Exists(claims), heartbeat_at__lte=until)


def _unnamed(workers: QuerySet[Worker]) -> QuerySet[Worker]:
    """Leave out those whose lanes are still named by answers: these are never updated."""
    return workers.filter(~Exists(_ANSWERS))


_ANSWERS = BatchResponse.objects.filter(lane__worker=OuterRef("pk"))


OLD_ROWS = (
    OldRows(
        days="KEEP_DELIVERIES_DAYS",
        due=_deliveries,
        order="created_at",
        project="batch__project",
        parts=((WebhookAttempt, "delivery"),),
    ),
    OldRows(days="KEEP_AUDIT_DAYS", due=_deeds, order="created_at", project="project"),
    OldRows(days="KEEP_TASKS_DAYS", due=_tasks, order="stopped"),
    OldRows(days="KEEP_TASKS_DAYS", due=_calls, order="lock"),
    OldRows(days="KEEP_TASKS_DAYS", due=_sessions, order="expire_date"),
    OldRows(
        days="KEEP_WORKERS_DAYS",
        due=_workers,
        order="heartbeat_at",
        parts=((LaneModel, "lane__worker"), (Lane, "worker"), (Gpu, "worker")),
        ready=_unnamed,
    ),
)
