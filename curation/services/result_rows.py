"""Answers as they are listed: found by a filter, newest first, never of a hidden file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.search import SearchQuery
from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Left, Length, Now

from curation.models import GoldStar, ResponseSearch
from curation.results import SINCE, ResultFilter
from jobs.models import Batch, Project

PAGE_ROWS = 50
COUNT_MAX = 10_000
FEW = 5_000
CLAMP_CHARS = 400


@dataclass(frozen=True, kw_only=True)
class ResultPage:
    """Rows newest first; the cursors are ids, None at either end."""

    rows: list[dict[str, Any]]
    newer: int | None
    older: int | None


@dataclass(frozen=True, kw_only=True)
class KeysByBatch:
    """Keys of responses, which are those of their requests, by the keys of their batches.

    `newest` is the newest row among them; `is_cut` says that there are more.
    """

    keys: dict[int, list[int]]
    newest: int | None
    is_cut: bool


def find_results(
    wanted: ResultFilter, projects: Sequence[Project] | None
) -> QuerySet[ResponseSearch]:
    """Return the rows of the answers that are meant, in these projects; None is everywhere.

    What stands in a result file that was deleted or has expired is not among them, nor is
    anything of a deleted batch.
    """
    return _matching(wanted, projects).filter(is_shown())


def find_picked(
    responses: Sequence[int], projects: Sequence[Project] | None
) -> QuerySet[ResponseSearch]:
    """Return the rows of these responses, as far as they may be read there."""
    return find_results(ResultFilter(), projects).filter(response__in=responses)


def keys_by_batch(rows: QuerySet[ResponseSearch], *, upto: int | None, most: int) -> KeysByBatch:
    """Return the keys of at most `most` rows by their batches, none newer than `upto`."""
    if upto is not None:
        rows = rows.filter(pk__lte=upto)
    found = list(rows.order_by("-pk").values_list("pk", "batch_id", "response_id")[: most + 1])
    keys: dict[int, list[int]] = {}
    for _, batch, response in found[:most]:
        keys.setdefault(batch, []).append(response)
    newest = found[0][0] if found else upto
    return KeysByBatch(keys=keys, newest=newest, is_cut=len(found) > most)


def _matching(wanted: ResultFilter, projects: Sequence[Project] | None) -> QuerySet[ResponseSearch]:
    rows = ResponseSearch.objects.all()
    if projects is not None:
        rows = rows.filter(project__in=[project.pk for project in projects])
    if wanted.project:
        rows = rows.filter(project__name=wanted.project)
    if wanted.batch:
        # By its number, so that the index of the batch's answers is followed.
        batch = Batch.objects.filter(public_id=wanted.batch).values_list("pk", flat=True).first()
        rows = rows.filter(batch=-1 if batch is None else batch)
    plain = {
        "model_name": wanted.model,
        "finish_reason": wanted.finish,
        "error_code": wanted.error,
        "custom_id": wanted.custom_id,
    }
    rows = rows.filter(**{name: value for name, value in plain.items() if value})
    if wanted.error:
        rows = rows.filter(ok=False)
    if wanted.status:
        rows = rows.filter(ok=wanted.status == "ok")
    if wanted.min_tokens is not None:
        rows = rows.filter(output_tokens__gte=wanted.min_tokens)
    if wanted.max_tokens is not None:
        rows = rows.filter(output_tokens__lte=wanted.max_tokens)
    if wanted.since:
        rows = _by_rare(rows, Q(answered_at__gte=Now() - SINCE[wanted.since][1]))
    if wanted.q:
        query = SearchQuery(wanted.q, config="simple", search_type="websearch")
        rows = _by_rare(rows, Q(document=query))
    return _by_gold(rows, wanted)


def _by_rare(rows: QuerySet[ResponseSearch], condition: Q) -> QuerySet[ResponseSearch]:
    """Narrow by a condition of whose frequency the database knows nothing.

    What few rows have is looked up first. It would otherwise be looked for in all rows, one
    after the other, in the order of the list.
    """
    ids = list(rows.filter(condition).values_list("pk", flat=True)[: FEW + 1])
    return rows.filter(pk__in=ids) if len(ids) <= FEW else rows.filter(condition)


def page_of_results(
    rows: QuerySet[ResponseSearch], *, before: int | None, after: int | None, size: int = PAGE_ROWS
) -> ResultPage:
    """Return the rows older than `before`, or the next ones newer than `after`."""
    ids = rows.values_list("pk", flat=True)
    if after is not None:
        found = list(ids.filter(pk__gt=after).order_by("pk")[: size + 1])
        more, found = len(found) > size, found[:size][::-1]
        newer, older = more, True
    else:
        if before is not None:
            ids = ids.filter(pk__lt=before)
        found = list(ids.order_by("-pk")[: size + 1])
        older, found = len(found) > size, found[:size]
        newer = before is not None
    return ResultPage(
        rows=read_rows(found),
        newer=found[0] if found and newer else None,
        older=found[-1] if found and older else None,
    )


# Files are looked up once for each batch, of a bounded number of rows: left to itself, the
# database would read the table of all batches for it.
_COUNT = """
WITH matching AS MATERIALIZED ({rows}),
    part AS MATERIALIZED (
        SELECT batch_id, ok, count(*) AS answers FROM matching GROUP BY batch_id, ok)
SELECT (SELECT count(*) FROM matching), coalesce(sum(answers), 0) FROM part
WHERE EXISTS (
    SELECT FROM jobs_batch AS batch LEFT JOIN jobs_storedfile AS file
        ON file.id = CASE WHEN part.ok THEN batch.output_file_id ELSE batch.error_file_id END
    WHERE batch.id = part.batch_id AND batch.deleted_at IS NULL AND file.deleted_at IS NULL
        AND (file.expires_at IS NULL OR file.expires_at > statement_timestamp())
    OFFSET 0)
"""
# So many more are looked at, since some may be of hidden files.
_COUNT_SLACK = 2_000


def count_results(wanted: ResultFilter, projects: Sequence[Project] | None) -> int:
    """Return how many there are, COUNT_MAX + 1 if more."""
    # In its order a batch is found by its index, and never by reading the table to where it lies.
    order = ("-pk",) if wanted.batch else ()
    some = _matching(wanted, projects).order_by(*order)[: COUNT_MAX + _COUNT_SLACK]
    query, params = some.values("batch_id", "ok").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(_COUNT.format(rows=query), params)
        matching, shown = cursor.fetchone()
    if shown <= COUNT_MAX and matching == COUNT_MAX + _COUNT_SLACK:
        return find_results(wanted, projects)[: COUNT_MAX + 1].count()
    return min(int(shown), COUNT_MAX + 1)


def read_rows(ids: Sequence[int], *, clamp: int | None = CLAMP_CHARS) -> list[dict[str, Any]]:
    """Return what a table shows of these rows, in this order; texts cut to `clamp` characters."""
    found = {row["pk"]: row for row in _columns(ids, clamp)}
    stars = GoldStar.objects.filter(
        response__in=[row["response_id"] for row in found.values()], removed_at__isnull=True
    )
    gold = {star["response_id"]: star for star in stars.values(*_GOLD, "response_id")}
    for row in found.values():
        row["gold"] = gold.get(row["response_id"])
    return [found[pk] for pk in ids if pk in found]


def stream_rows(rows: QuerySet[ResponseSearch], *, slice_rows: int = 500) -> Iterator[Any]:
    """Yield all rows, newest first, whole; memory holds a slice of them.

    By keyset, so that an answer that comes meanwhile is not among them, and none comes twice.
    """
    before: int | None = None
    while True:
        ids = rows.values_list("pk", flat=True)
        if before is not None:
            ids = ids.filter(pk__lt=before)
        found = list(ids.order_by("-pk")[:slice_rows])
        if not found:
            return
        before = found[-1]
        yield from read_rows(found, clamp=None)


_GOLD = ("public_id", "quality_score", "tags", "notes", "edited_answer", "revision")


def is_shown() -> Q:
    """Tell the rows whose file can still be read; joined, since files expire by themselves."""

    def kept(file: str) -> Q:
        gone = Q(**{f"{file}__deleted_at__isnull": False}) | Q(
            **{f"{file}__expires_at__lte": Now()}
        )
        return ~gone

    return Q(batch__deleted_at__isnull=True) & (
        Q(ok=True) & kept("batch__output_file") | Q(ok=False) & kept("batch__error_file")
    )


def _by_gold(rows: QuerySet[ResponseSearch], wanted: ResultFilter) -> QuerySet[ResponseSearch]:
    stars = GoldStar.objects.filter(removed_at__isnull=True, response__isnull=False)
    narrow: dict[str, Any] = {}
    if wanted.min_rating is not None:
        narrow["quality_score__gte"] = wanted.min_rating
    if wanted.max_rating is not None:
        narrow["quality_score__lte"] = wanted.max_rating
    if wanted.tag:
        narrow["tags__contains"] = [wanted.tag]
    if narrow or wanted.starred == "yes":
        # Stars are few beside answers: they lead to them.
        rows = rows.filter(response__in=stars.filter(**narrow).values("response"))
    if wanted.starred == "no":
        rows = rows.filter(~Exists(stars.filter(response=OuterRef("response"))))
    return rows


def _columns(ids: Sequence[int], clamp: int | None) -> QuerySet[ResponseSearch, Any]:
    texts = {
        "prompt": "response__request__prompt_text",
        "answer": "response__text",
        "error_message": "response__error_message",
    }
    cut: dict[str, Any] = {
        name: F(column) if clamp is None else Left(column, clamp) for name, column in texts.items()
    }
    if clamp is not None:
        cut |= {f"{name}_chars": Length(column) for name, column in texts.items()}
    else:
        cut |= {
            "request_body": F("response__request__body"),
            "response_body": F("response__body"),
        }
    return ResponseSearch.objects.filter(pk__in=ids).values(
        "pk",
        "response_id",
        "custom_id",
        "ok",
        "finish_reason",
        "error_code",
        "output_tokens",
        "answered_at",
        "model_name",
        batch_id_=F("batch__public_id"),
        project_name=F("project__name"),
        project_pk=F("project_id"),
        position=F("response__request__position"),
        line=F("response__request__line"),
        status_code=F("response__status_code"),
        input_tokens=F("response__input_tokens"),
        cached_tokens=F("response__cached_tokens"),
        reasoning_tokens=F("response__reasoning_tokens"),
        latency_ms=F("response__latency_ms"),
        **cut,
    )
