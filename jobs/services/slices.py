"""Removing many rows a few at a time, and counting what went."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

from django.db import connection, transaction
from django.db.models import BigIntegerField, Count, F, Func, Model, QuerySet, Sum
from django.db.models.functions import Coalesce

# A slice holds its locks about this long, far below what anybody would notice.
SLICE_S = 0.2
ROWS_FIRST = 500
ROWS_MIN = 20
ROWS_MAX = 2_000
_LOCK = 0x76627372
# What hiding a thing changes before it goes; left out of its size, so that a dry run gives the
# figures that the run then has.
_CHANGED_ON_THE_WAY = frozenset(
    {"announced_at", "deleted_at", "idempotency_key", "last_error", "parent_id", "paths", "state"}
)


@dataclass(slots=True)
class Amount:
    """Rows or objects, and their bytes: of rows those of their values, without indexes."""

    count: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Tally:
    """Amounts by the name of the table, or of the place in the storage."""

    amounts: dict[str, Amount] = field(default_factory=dict)

    def put(self, name: str, count: int, size: int) -> None:
        if count:
            amount = self.amounts.setdefault(name, Amount())
            amount.count += count
            amount.bytes += size

    def put_rows(self, rows: QuerySet[Any]) -> None:
        """Count rows that are about to go."""
        amount = measure(rows)
        self.put(rows.model._meta.db_table, amount.count, amount.bytes)

    def merge(self, other: Tally) -> None:
        for name, amount in other.amounts.items():
            self.put(name, amount.count, amount.bytes)

    @property
    def count(self) -> int:
        return sum(amount.count for amount in self.amounts.values())

    @property
    def bytes(self) -> int:
        return sum(amount.bytes for amount in self.amounts.values())


def measure(rows: QuerySet[Any], *, columns: Sequence[str] | None = None) -> Amount:
    """Return the number of rows and the bytes of their values (in `columns`), as stored.

    Large values are not read for that: the row holds their stored size.
    """
    names = columns or [
        field.attname
        for field in rows.model._meta.concrete_fields
        if field.attname not in _CHANGED_ON_THE_WAY
    ]
    total = Sum(reduce(add, [_stored_size(name) for name in names]))
    found = rows.order_by().aggregate(count=Count("*"), bytes=Coalesce(total, 0, output_field=_BIG))
    return Amount(found["count"], int(found["bytes"]))


_BIG: BigIntegerField[Any, Any] = BigIntegerField()


def _stored_size(column: str) -> Coalesce:
    size = Func(F(column), function="pg_column_size", output_field=_BIG)
    return Coalesce(size, 0, output_field=_BIG)


def delete_rows(model: type[Model], pks: list[Any]) -> None:
    """Delete rows and what hangs on them; only keys are read, however large the rows are."""
    model._default_manager.filter(pk__in=pks).only("pk").delete()


def remove_rows(
    rows: QuerySet[Any],
    *,
    order_by: str,
    pace: Pace,
    parts: Sequence[tuple[type[Model], str]] = (),
) -> Iterator[Tally]:
    """Delete rows in slices, and give what each slice took; `parts` are what hangs on them.

    `order_by` is a column by which they are found without reading the table.
    """
    while True:
        tally = Tally()
        with pace.slice() as limit:
            pks = list(rows.order_by(order_by).values_list("pk", flat=True)[:limit])
            if pks:
                for model, path in parts:
                    tally.put_rows(model._default_manager.filter(**{f"{path}__in": pks}))
                tally.put_rows(rows.model._default_manager.filter(pk__in=pks))
                delete_rows(rows.model, pks)
        if not pks:
            return
        yield tally


class Pace:
    """How many rows go at once, and how long to rest between two slices.

    A slice is one transaction. The number of its rows follows the time that the last one took.
    The rest is as long as the slice was: half of the database's time, at most, goes into
    removing, and batches in progress keep their pace.
    """

    def __init__(self, *, rests: bool = True) -> None:
        self._rows = ROWS_FIRST
        self._rests = rests
        self.longest_s = 0.0

    @contextmanager
    def slice(self) -> Iterator[int]:
        """Open a transaction for the next slice and give the number of its rows."""
        with transaction.atomic():
            # Of all sweeps and commands, on whatever host, one slice runs at a time. The second
            # one then finds what is left by the first: nothing is removed or counted twice.
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            started = time.monotonic()
            yield self._rows
        # The commit counts: foreign keys are looked at then.
        self._note(time.monotonic() - started)

    def _note(self, took_s: float) -> None:
        self.longest_s = max(self.longest_s, took_s)
        factor = min(2.0, SLICE_S / max(took_s, 0.001))
        self._rows = max(ROWS_MIN, min(ROWS_MAX, int(self._rows * factor)))
        if self._rests:
            time.sleep(min(took_s, 1.0))
