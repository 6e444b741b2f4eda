"""Keyset paging: pages that stay true while rows are added."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet

from jobs.models import Batch

PAGE_BATCHES = 50


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of batches, newest first; the cursors are public ids, None at either end."""

    batches: list[Batch]
    newer: str | None
    older: str | None


def page_of_batches(batches: QuerySet[Batch], *, before: str = "", after: str = "") -> Page:
    """Return the batches older than `before`, or the nearest ones newer than `after`.

    A cursor that is unknown (or no longer visible) gives the newest page.
    """
    rows = batches.select_related("project", "model").defer("findings", "metadata")
    cursor = before or after
    start = None
    if cursor:
        start = batches.filter(public_id=cursor).values_list("pk", flat=True).first()
    if start is None:
        found = list(rows.order_by("-pk")[: PAGE_BATCHES + 1])
        return _page(found[:PAGE_BATCHES], newer=False, older=len(found) > PAGE_BATCHES)
    if before:
        found = list(rows.filter(pk__lt=start).order_by("-pk")[: PAGE_BATCHES + 1])
        return _page(found[:PAGE_BATCHES], newer=True, older=len(found) > PAGE_BATCHES)
    found = list(rows.filter(pk__gt=start).order_by("pk")[: PAGE_BATCHES + 1])
    if len(found) <= PAGE_BATCHES:
        # The newest page, whole: it then keeps growing at its head like any first page.
        return page_of_batches(batches)
    return _page(found[PAGE_BATCHES - 1 :: -1], newer=True, older=True)


def _page(batches: list[Batch], *, newer: bool, older: bool) -> Page:
    return Page(
        batches=batches,
        newer=batches[0].public_id if newer and batches else None,
        older=batches[-1].public_id if older and batches else None,
    )
