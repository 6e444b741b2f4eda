"""Which batches the list is asked for: read from the address, and written into it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urlencode

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.http import QueryDict

from jobs.models import Batch, Chunk, Project
from jobs.services.fleet import any_worker_alive
from jobs.states import LIVE_STATES, BatchState, ChunkState
from jobs.views.paging import Order
from jobs.views.searching import Q_MAX, search_batches

NAME_MAX = 200
SINCE = {
    "24h": ("last 24 h", timedelta(hours=24)),
    "7d": ("last 7 days", timedelta(days=7)),
    "30d": ("last 30 days", timedelta(days=30)),
}


def _is_held() -> Q:
    """Tell the batches that a lane holds a chunk of: those are running, the others queued."""
    if not any_worker_alive():
        return Q(pk__in=[])
    claimed = Chunk.objects.filter(
        batch=OuterRef("pk"), state=ChunkState.CLAIMED, lease_until__gt=Now()
    )
    return Q(Exists(claimed))


def _unpaused() -> Q:
    return Q(state=BatchState.IN_PROGRESS, paused_at=None)


def _states(*states: BatchState) -> Callable[[], Q]:
    return lambda: Q(state__in=states)


# By the words of the badges: the word of a chip, and the batches that have it.
SHOW: dict[str, tuple[str, Callable[[], Q]]] = {
    "live": ("not ended", _states(*LIVE_STATES)),
    "queued": (
        "queued",
        lambda: Q(state=BatchState.VALIDATING) | (_unpaused() & ~_is_held()),
    ),
    "running": (
        "running",
        lambda: Q(state=BatchState.FINALIZING) | (_unpaused() & _is_held()),
    ),
    "paused": (
        "paused",
        lambda: Q(state=BatchState.IN_PROGRESS, paused_at__isnull=False),
    ),
    "done": ("done", lambda: Q(state=BatchState.COMPLETED, failed=0)),
    "errors": ("done with errors", lambda: Q(state=BatchState.COMPLETED, failed__gt=0)),
    "failed": ("failed", _states(BatchState.FAILED)),
    "cancelled": ("cancelled", _states(BatchState.CANCELLING, BatchState.CANCELLED)),
    "expired": ("expired", _states(BatchState.EXPIRED)),
}


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A filter that can be chosen, with the address that chooses it."""

    word: str
    href: str
    on: bool


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What narrows the list; empty is everything. Unknown values are as good as none."""

    show: str = ""
    model: str = ""
    project: str = ""
    since: str = ""
    q: str = ""
    order: Order = Order()

    @classmethod
    def read(cls, query: QueryDict) -> Filters:
        show, since = query.get("show", ""), query.get("since", "")
        return cls(
            show=show if show in SHOW else "",
            model=_clean(query.get("model", ""), NAME_MAX),
            project=_clean(query.get("project", ""), NAME_MAX),
            since=since if since in SINCE else "",
            q=_clean(query.get("q", ""), Q_MAX).strip(),
            order=Order.read(query.get("sort", "")),
        )

    @property
    def narrows(self) -> bool:
        return any((self.show, self.model, self.project, self.since, self.q))

    def apply(self, batches: QuerySet[Batch], projects: Sequence[Project]) -> QuerySet[Batch]:
        if self.show:
            batches = batches.filter(SHOW[self.show][1]())
        if self.model:
            batches = batches.filter(model_name=self.model)
        if self.project:
            named = [project.pk for project in projects if project.name == self.project]
            batches = batches.filter(project__in=named)
        if self.since:
            batches = batches.filter(created_at__gte=Now() - SINCE[self.since][1])
        return search_batches(batches, self.q) if self.q else batches

    def address(self, **more: str) -> str:
        """Return the query string that brings back this view."""
        named = {**self.named(), **more}
        return f"?{urlencode({key: value for key, value in named.items() if value})}"

    def named(self) -> dict[str, str]:
        return {
            "q": self.q,
            "show": self.show,
            "model": self.model,
            "project": self.project,
            "since": self.since,
            "sort": "" if self.order == Order() else str(self.order),
        }

    def chips(self, field: str, choices: Sequence[tuple[str, str]]) -> list[Chip]:
        """Return a chip for each choice of a field; the one that is on takes itself off."""
        chosen = getattr(self, field)
        return [
            Chip(
                word=word,
                href=self.address(**{field: "" if value == chosen else value}),
                on=value == chosen,
            )
            for value, word in choices
        ]

    def sorted_by(self, key: str) -> str:
        """Return the address of the same list sorted by `key`, largest and latest first."""
        down = not (self.order.key == key and self.order.descending)
        return replace(self, order=Order(key=key, descending=down)).address()


def _clean(text: str, limit: int) -> str:
    # PostgreSQL takes no NUL in a text, not even to look for it.
    return text.replace("\0", "")[:limit]


def with_chosen(names: list[str], chosen: str) -> list[str]:
    """Return the names, with the one that is chosen even if it is gone."""
    return names if not chosen or chosen in names else [chosen, *names]
