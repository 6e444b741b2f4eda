"""The published list of requests: every page, fragment and route that reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from django.db.models import QuerySet

from benchmarks.harness import benchmark_requests, curation_requests
from curation.models import ResponseSearch
from jobs.models import Batch, BatchRequest, Chunk, Lane, Project
from jobs.states import BatchState, ChunkState
from jobs.views import paging
from monitoring.models import Series
from monitoring.quantities import SeriesKind

MEMBER, VIEWER, ADMIN, KEY, NOBODY = "member", "viewer", "admin", "key", "nobody"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request: who asks for which address, with `{subjects}` in it.

    `queries` is how many statements it may cost, however much the database holds. `pause_s` is
    waited before it is asked again, where an answer is kept for a while.
    """

    name: str
    path: str
    queries: int
    by: str = MEMBER
    pause_s: float = 0.0

    def address(self, subjects: dict[str, str]) -> str:
        return self.path.format_map(subjects)


def _all(by: str, rows: dict[str, tuple[str, int]]) -> list[Ask]:
    return [
        Ask(name=name, path=path, queries=queries, by=by) for name, (path, queries) in rows.items()
    ]


def _list_of_batches() -> dict[str, tuple[str, int]]:
    """The page of batches in each of its views."""
    views = {
        "": "",
        **{
            f", {show}": f"?show={show}"
            for show in ("live", "queued", "running", "paused", "done", "errors", "failed")
        },
        ", cancelled": "?show=cancelled",
        ", expired": "?show=expired",
        ", one model": "?model={model}",
        ", one model, errors": "?model={model}&show=errors",
        ", one project": "?project={project}",
        ", one project, failed": "?project={project}&show=failed",
        ", last 24 h": "?since=24h",
        ", last 30 days, done": "?since=30d&show=done",
        ", oldest first": "?sort=created",
        ", most lines": "?sort=-lines",
        ", fewest lines": "?sort=lines",
        ", most tokens": "?sort=-tokens",
        ", most tokens, failed": "?sort=-tokens&show=failed",
        ", last ended": "?sort=-ended",
        ", first ended": "?sort=ended",
        ", next page": "?before={next}",
        ", deep page": "?before={deep}",
        ", page before a deep one": "?after={deep}",
        ", errors, deep page": "?before={deep}&show=errors",
        ", most lines, deep page": "?sort=-lines&before={deep_lines}",
        ", most tokens, deep page": "?sort=-tokens&before={deep_tokens}",
        ", search: id": "?q={small}",
        ", search: part of an id": "?q={id_part}",
        ", search: model": "?q={model_part}",
        ", search: custom_id": "?q={custom_id}",
        ", search: metadata": "?q={label}",
        ", search: nothing found": "?q=no+such+thing",
        ", search among failed": "?q={model_part}&show=failed",
    }
    return {
        f"Batches{words}": (f"/batches{query}", 19 if "search" in words else 16)
        for words, query in views.items()
    }


# The page of a batch, its live part, its figures and its object; what waits is explained.
_KINDS = {
    "small": (13, 10, 7, 4),
    "huge": (14, 10, 8, 4),
    "running": (19, 11, 12, 6),
    "queued": (25, 15, 14, 9),
    "failed": (12, 10, 6, 4),
    "errors": (14, 10, 8, 4),
}


def _batch(kind: str) -> dict[str, tuple[str, int]]:
    page, live, figures, raw = _KINDS[kind]
    return {
        f"Batch, {kind}": (f"/batches/{{{kind}}}", page),
        f"Batch, {kind}, live": (f"/batches/{{{kind}}}/live", live),
        f"Batch, {kind}, figures": (f"/batches/{{{kind}}}/figures", figures),
        f"Batch, {kind}, object": (f"/batches/{{{kind}}}/object", raw),
    }


_PAGES = {
    "Home": ("/", 24),
    "Home, live": ("/home/live", 24),
    **_list_of_batches(),
    "Batches, live": ("/batches/live", 13),
    "Batches, most tokens, live": ("/batches/live?sort=-tokens", 13),
    **{name: cost for kind in _KINDS for name, cost in _batch(kind).items()},
    **curation_requests.results(),
    **curation_requests.compare(),
    **benchmark_requests.benchmarks(),
    "Answers, huge, middle": ("/batches/{huge}?from={huge_middle}", 15),
    "Answers, huge, end": ("/batches/{huge}?from={huge_end}", 15),
    "Answers, huge, errors": ("/batches/{huge}?show=errors", 14),
    "Answers, huge, errors, end": ("/batches/{huge}?show=errors&from={huge_end}", 15),
    "Answers, huge, cut": ("/batches/{huge}?show=cut", 14),
    "Answers, huge, not answered": ("/batches/{huge}?show=open", 13),
    "Answers, huge, find a custom_id": ("/batches/{huge}?find={huge_custom_id}", 11),
    "Answers, running, not answered": ("/batches/{running}?show=open", 20),
    "Line, 100 KB": ("/batches/{huge}/lines/0", 7),
    "Line": ("/batches/{huge}/lines/{huge_middle}", 7),
    "Line, live": ("/batches/{huge}/lines/{huge_middle}/live", 7),
    "Line, among errors": ("/batches/{huge}/lines/{huge_middle}?show=errors", 7),
    "Line, among not answered": ("/batches/{huge}/lines/{huge_middle}?show=open", 5),
    "Line, text of the prompt": ("/batches/{huge}/lines/0/prompt", 5),
    "Line, text of 100 KB": ("/batches/{huge}/lines/0/answer", 5),
    "Line, raw request": ("/batches/{huge}/lines/0/raw/request", 5),
    "Line, raw response of 100 KB": ("/batches/{huge}/lines/0/raw/response", 5),
    "Monitor": ("/monitor", 16),
    "Monitor, live": ("/monitor/live", 16),
    "Monitor, one week": ("/monitor?range=1w", 16),
    "Submit": ("/submit", 4),
    "API docs": ("/docs", 5),
    "Estimate": ("/estimate?model={model}&requests=1000&tokens=100000", 6),
    "/api/gpu": ("/api/gpu", 8),
    "/api/running-jobs": ("/api/running-jobs", 4),
    "/api/limits": ("/api/limits", 6),
    **{
        f"/api/series of {kind}s{words}": (f"/api/series?kind={kind}{query}", 4)
        for kind in ("gpu", "host", "engine")
        for words, query in {
            "": "",
            ", since": f"&since={{since_{kind}}}",
            ", one hour": "&minutes=60",
            ", one day": "&minutes=1440",
            ", one week": "&minutes=10080",
            ", one year": "&minutes=525600",
        }.items()
    },
    "/api/series of a batch": ("/api/series?batch={huge}", 5),
    "/api/series of a running batch": ("/api/series?batch={running}", 5),
    "/api/series of a running batch, since": (
        "/api/series?batch={running}&since={since_batch}",
        5,
    ),
}
_VIEWER_PAGES = {
    "Home of a small project": ("/", 16),
    "Batches of a small project": ("/batches", 8),
    "Batches of a small project, most tokens": ("/batches?sort=-tokens", 8),
    "Batches of a small project, failed": ("/batches?show=failed", 7),
    "Batches of a small project, search": ("/batches?q=no+such+thing", 9),
    "/api/gpu of a small project": ("/api/gpu", 8),
}
_API = {
    "GET /v1/batches": ("/v1/batches", 10),
    "GET /v1/batches, 100": ("/v1/batches?limit=100", 10),
    "GET /v1/batches, deep page": ("/v1/batches?limit=100&after={deep_batch}", 11),
    "GET /v1/batches/{id}": ("/v1/batches/{small}", 5),
    "GET /v1/batches/{id}, running": ("/v1/batches/{running}", 7),
    "GET /v1/batches/{id}, queued": ("/v1/batches/{queued}", 10),
    "GET /v1/files, 100": ("/v1/files?limit=100", 4),
    "GET /v1/files, 100 of one purpose": ("/v1/files?limit=100&purpose=batch", 4),
    "GET /v1/files, deep page": ("/v1/files?limit=100&after={deep_file}", 5),
    "GET /v1/files, oldest first": ("/v1/files?limit=100&order=asc", 4),
    "GET /v1/files/{id}": ("/v1/files/{file}", 4),
    "GET /v1/files/{id}/content, small": ("/v1/files/{output}/content", 6),
    "GET /v1/models": ("/v1/models", 4),
    "GET /v1/models/{id}": ("/v1/models/{model}", 4),
}
_NOBODY = {
    "/health": ("/health", 7),
    "/healthz": ("/healthz", 0),
    "/readyz": ("/readyz", 16),
    "Sign in": ("/login", 0),
    "API schema": ("/schema", 0),
}
_ADMIN_TABLES = {
    "index": "",
    **{
        name: f"jobs/{name}/"
        for name in (
            "auditentry",
            "batch",
            "storedfile",
            "batchrequest",
            "batchresponse",
            "batchevent",
            "chunk",
            "webhookdelivery",
            "project",
            "projectkey",
            "servedmodel",
            "worker",
            "lane",
            "lanemodel",
            "gpu",
            "upload",
        )
    },
    "batch, failed": "jobs/batch/?state__exact=failed",
    "batch, deep page": "jobs/batch/?p={deep_admin_page}",
    "batch, search": "jobs/batch/?q={small}",
    "storedfile, search": "jobs/storedfile/?q={file}",
    "batchresponse of a batch": "jobs/batchresponse/?q={huge}",
}

REQUESTS: list[Ask] = [
    *_all(MEMBER, _PAGES),
    *_all(VIEWER, _VIEWER_PAGES),
    Ask(name="Home of an administrator", path="/", queries=24, by=ADMIN),
    Ask(name="Batches of an administrator", path="/batches", queries=13, by=ADMIN),
    *_all(KEY, _API),
    *_all(NOBODY, _NOBODY),
    Ask(name="/metrics", path="/metrics", queries=18, by=NOBODY, pause_s=2.1),
    *_all(ADMIN, {f"Admin: {name}": (f"/admin/{at}", 7) for name, at in _ADMIN_TABLES.items()}),
]


def find_subjects(project: Project) -> dict[str, str]:
    """Return what the list asks about, out of the batches of a project."""
    ours = Batch.objects.filter(project=project).select_related("output_file")
    done = ours.filter(state=BatchState.COMPLETED, completed__gt=0)
    at_work = Chunk.objects.filter(state=ChunkState.CLAIMED).values("batch")
    huge = _first(done.order_by("-total", "-pk"))
    # Those of one size have the same lines, each for a model of its own.
    largest = done.exclude(pk=huge.pk).order_by("-total", "-pk")
    evaluation = largest.first() or huge
    again = largest.exclude(model_name=evaluation.model_name).first() or evaluation
    running = _first(ours.filter(pk__in=at_work).order_by("-total"))
    small = _first(done.filter(failed=0).order_by("total", "-pk"))
    queued = ours.filter(state=BatchState.IN_PROGRESS, last_seq=0, paused_at=None)
    newest = ours.order_by("-created_at", "-pk")
    deep = _deep(newest)
    deep_lines = _deep(ours.order_by("-total", "-pk"))
    lines = BatchRequest.objects.filter(batch=huge, position=huge.total // 2)
    assert small.output_file is not None
    return {
        "small": small.public_id,
        "huge": huge.public_id,
        "running": running.public_id,
        "queued": _first(queued.exclude(pk__in=at_work).order_by("-pk")).public_id,
        "failed": _first(ours.filter(state=BatchState.FAILED).order_by("-pk")).public_id,
        "errors": _first(done.filter(failed__gt=0).order_by("-pk")).public_id,
        "evaluation": evaluation.public_id,
        "evaluation_again": again.public_id,
        "other_model": quote(again.model_name),
        "huge_middle": str(huge.total // 2),
        "huge_end": str(max(0, huge.total - 25)),
        "huge_custom_id": quote(lines.get().custom_id),
        "custom_id": quote(BatchRequest.objects.get(batch=small, position=0).custom_id),
        "label": quote(next(iter((huge.metadata or {"": "no such label"}).values()))),
        "id_part": small.public_id[6:14],
        "model": quote(small.model_name),
        "model_part": quote(small.model_name[:4]),
        "project": quote(project.name),
        "next": _cursor(_nth(newest, paging.PAGE_BATCHES - 1)),
        "deep": _cursor(deep),
        "deep_lines": f"{deep_lines.total}.{deep_lines.pk}",
        "deep_tokens": f"{small.input_tokens + small.output_tokens}.{small.pk}",
        "deep_batch": deep.public_id,
        "deep_result": str(_deep_result()),
        "deep_file": deep.input_file_public_id,
        **benchmark_requests.find_runs(project),
        "deep_admin_page": str(max(1, Batch.objects.count() * 3 // 4 // 50)),
        "file": small.input_file_public_id,
        "output": small.output_file.public_id,
        "lane": str(Lane.objects.values_list("pk", flat=True).first()),
    }


def find_cursors(subjects: dict[str, str]) -> dict[str, str]:
    """Return the cursors of readers of series who asked four seconds ago."""
    running = Series.objects.filter(batch__public_id=subjects["running"])
    return {
        **{
            f"since_{kind}": _since(Series.objects.filter(kind=kind))
            for kind in (SeriesKind.GPU, SeriesKind.HOST, SeriesKind.ENGINE)
        },
        "since_batch": _since(running),
    }


def _first(batches: QuerySet[Batch]) -> Batch:
    found = batches.first()
    assert found is not None, "The list needs a batch of each kind in this project."
    return found


def _nth(batches: QuerySet[Batch], place: int) -> Batch:
    return _first(batches[min(place, batches.count() - 1) :][:1])


def _deep(batches: QuerySet[Batch]) -> Batch:
    return _nth(batches, batches.count() * 3 // 4)


def _deep_result() -> int:
    """Return the id of an answer behind three quarters of all."""
    newest = ResponseSearch.objects.order_by("-pk").values_list("pk", flat=True).first()
    return (newest or 4) // 4


def _cursor(batch: Batch) -> str:
    at = batch.created_at - datetime(1970, 1, 1, tzinfo=UTC)
    return f"{(at.days * 86_400 + at.seconds) * 1_000_000 + at.microseconds}.{batch.pk}"


def _since(series: QuerySet[Series]) -> str:
    four_s_ago = round(datetime.now(UTC).timestamp() * 1000) - 4_000
    return "~".join(f"{pk}.{four_s_ago}.0" for pk in series.values_list("pk", flat=True))
