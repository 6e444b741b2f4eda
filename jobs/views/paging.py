"""Keyset paging on a value and the row's id: pages that stay true while rows are added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import BooleanField, Expression, F, Func, QuerySet, Value
from django.db.models.functions import Coalesce
from django.db.models.lookups import GreaterThan, LessThan

from jobs.models import Batch
from jobs.models.batches import NOT_ENDED

PAGE_BATCHES = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT_MAX = 2**63 - 1

# What the list can be sorted by; each has an index but tokens, which change with every group
# of answers: an index on them would cost each such update its place in the table.
SORTS: dict[str, Expression | F] = {
    "created": F("created_at"),
    "lines": F("total"),
    "tokens": F("input_tokens") + F("output_tokens"),
    "ended": Coalesce("ended_at", Value(NOT_ENDED)),
}
_TIMES = ("created", "ended")


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of batches; the cursors lead on, None at either end."""

    batches: list[Batch]
    previous: str | None
    next: str | None


@dataclass(frozen=True, kw_only=True)
class Order:
    """By what the list is sorted, and in which direction."""

    key: str = "created"
    descending: bool = True

    @classmethod
    def read(cls, text: str) -> Order:
        key = text.removeprefix("-")
        return cls(key=key, descending=text.startswith("-")) if key in SORTS else cls()

    def __str__(self) -> str:
        return f"{'-' if self.descending else ''}{self.key}"


def page_of_batches(
    batches: QuerySet[Batch], *, order: Order | None = None, before: str = "", after: str = ""
) -> Page:
    """Return the page that begins behind the cursor `before`, or ends in front of `after`.

    A cursor is the value and the id of a row, so that it holds when that row is gone. One that
    cannot be read gives the first page.
    """
    order = order or Order()
    rows = batches.annotate(sort_value=SORTS[order.key])
    start = _read(before or after, order)
    if start is None:
        found = _take(rows, order, None, forwards=True)
        return _page(found[:PAGE_BATCHES], order, earlier=False, more=len(found) > PAGE_BATCHES)
    found = _take(rows, order, start, forwards=bool(before))
    more = len(found) > PAGE_BATCHES
    if before:
        return _page(found[:PAGE_BATCHES], order, earlier=True, more=more)
    if not more:
        # The first page, whole: it then keeps growing at its head like any first page.
        return page_of_batches(batches, order=order)
    return _page(found[PAGE_BATCHES - 1 :: -1], order, earlier=True, more=True)


def _take(
    rows: QuerySet[Batch], order: Order, start: tuple[Any, int] | None, *, forwards: bool
) -> list[Any]:
    down = order.descending == forwards
    if start is not None:
        # As one comparison of rows, which an index can follow.
        compare = LessThan if down else GreaterThan
        place = _row(Value(start[0]), Value(start[1]))
        rows = rows.filter(compare(_row(SORTS[order.key], F("pk")), place))
    sign = "-" if down else ""
    sorting = (f"{sign}sort_value", f"{sign}pk")
    # Chosen by their ids alone: where many rows have to be sorted, narrow ones take half as long.
    chosen = rows.order_by(*sorting).values("pk")[: PAGE_BATCHES + 1]
    whole = Batch.objects.filter(pk__in=chosen).annotate(sort_value=SORTS[order.key])
    return list(
        whole.select_related("project", "model").defer("findings", "metadata").order_by(*sorting)
    )


def _row(*values: Expression | F) -> Func:
    return Func(*values, function="ROW", output_field=BooleanField())


def _page(found: list[Any], order: Order, *, earlier: bool, more: bool) -> Page:
    return Page(
        batches=found,
        previous=_cursor(found[0], order) if earlier and found else None,
        next=_cursor(found[-1], order) if more and found else None,
    )


def _cursor(batch: Any, order: Order) -> str:
    value = batch.sort_value
    number = (value - _EPOCH) // _MICROSECOND if order.key in _TIMES else value
    return f"{number}.{batch.pk}"


def _read(text: str, order: Order) -> tuple[Any, int] | None:
    first, _, second = text.partition(".")
    if not all(part.isascii() and part.isdigit() and len(part) < 20 for part in (first, second)):
        return None
    number, pk = int(first), int(second)
    if number > _INT_MAX or pk > _INT_MAX:
        return None
    if order.key not in _TIMES:
        return number, pk
    try:
        return _EPOCH + number * _MICROSECOND, pk
    except OverflowError:
        return None
