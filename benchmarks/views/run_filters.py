"""Which runs the list is asked for: read from the address, and written into it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import QueryDict

from benchmarks.models import Run, RunKind, RunState
from benchmarks.models.runs import LIVE
from jobs.views.list_filters import NAME_MAX, Chip

STATES: dict[str, tuple[str, Sequence[str]]] = {
    "live": ("not ended", LIVE),
    "done": ("done", (RunState.COMPLETED,)),
    "failed": ("failed", (RunState.FAILED,)),
    "cancelled": ("cancelled", (RunState.CANCELLED,)),
}
KINDS: dict[str, str] = {
    RunKind.MEASURED: "measured here",
    RunKind.RUN_BATCH: "by run-batch",
    RunKind.IMPORTED: "imported",
}


@dataclass(frozen=True, kw_only=True)
class RunFilters:
    """What narrows the list; empty is everything. Unknown values are as good as none.

    `workload` is the id of one; `score` is the check by which quality is drawn.
    """

    state: str = ""
    kind: str = ""
    workload: str = ""
    model: str = ""
    project: str = ""
    score: str = ""

    @classmethod
    def read(cls, query: QueryDict) -> RunFilters:
        # PostgreSQL takes no NUL in a text, not even to look for it.
        named = {
            field.name: query.get(field.name, "").replace("\0", "")[:NAME_MAX]
            for field in fields(cls)
        }
        if named["state"] not in STATES:
            named["state"] = ""
        if named["kind"] not in KINDS:
            named["kind"] = ""
        return cls(**named)

    @property
    def narrows(self) -> bool:
        return any((self.state, self.kind, self.workload, self.model, self.project))

    def apply(self, runs: QuerySet[Run]) -> QuerySet[Run]:
        if self.state:
            runs = runs.filter(state__in=STATES[self.state][1])
        for field, value in (
            ("kind", self.kind),
            ("workload__public_id", self.workload),
            ("model_name", self.model),
            ("project__name", self.project),
        ):
            if value:
                runs = runs.filter(**{field: value})
        return runs

    def address(self, **more: str) -> str:
        """Return the query string that brings back this view."""
        named = {field.name: getattr(self, field.name) for field in fields(self)} | more
        return f"?{urlencode({key: value for key, value in named.items() if value})}"

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
