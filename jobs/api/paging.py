"""Lists page by page: `limit`, `after`, `order`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from jobs.api.errors import not_found
from jobs.api.parameters import Parameters, echo

# Longer than any id of ours; a longer one is simply not found.
ID_MAX = 10_000

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Paging:
    """Which part of a list is wanted; `after` is the public id of the last item seen."""

    limit: int
    after: str | None
    newest_first: bool = True

    def cut(self, rows: QuerySet[M], *, everything: QuerySet[M], kind: str) -> tuple[list[M], bool]:
        """Return the wanted part of `rows`, and whether there is more after it.

        The place of `after` is looked up in `everything`, which also holds what has been
        deleted or has expired since the last page was read. Row ids grow, so that whatever is
        made meanwhile stands before the first page and moves nothing.
        """
        if self.after is not None:
            last = find(everything, self.after, kind=kind, param="after").pk
            rows = rows.filter(pk__lt=last) if self.newest_first else rows.filter(pk__gt=last)
        found = list(rows.order_by("-pk" if self.newest_first else "pk")[: self.limit + 1])
        return found[: self.limit], len(found) > self.limit


def read_paging(query: Parameters, *, default: int, high: int, ordered: bool = False) -> Paging:
    limit = query.integer("limit", low=1, high=high)
    order = query.choice("order", ("asc", "desc")) if ordered else None
    return Paging(
        limit=default if limit is None else limit,
        after=query.text("after", max_length=ID_MAX),
        newest_first=order != "asc",
    )


def find(rows: QuerySet[M], public_id: str, *, kind: str, param: str = "id") -> M:
    """Return the row of this public id, or raise the 404 that names it."""
    found: Any = None
    # PostgreSQL takes no NUL in a text, not even to look for it.
    if "\0" not in public_id:
        # In no order: there is one at most, and to order many columns costs Django a millisecond.
        found = next(iter(rows.filter(public_id=public_id).order_by()[:1]), None)
    if found is None:
        raise not_found(f"No {kind} found with id '{echo(public_id)}'.", param=param)
    result: M = found
    return result
