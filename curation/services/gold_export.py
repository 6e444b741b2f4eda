"""Gold stars as examples: read one after the other, and what is none told apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

from curation.diverse import choose_diverse
from curation.examples import Example, NotAnExample, Starred, read_example
from curation.models import GoldStar
from curation.shapes.shape import Reject, Tally

# Bodies may have megabytes each.
ROWS_AT_ONCE = 100
# To choose the least alike takes time for each that is looked at.
CHOOSE_AMONG = 2_000


def read_stars(stars: QuerySet[GoldStar], tally: Tally) -> Iterator[Example]:
    """Yield the example of each star, oldest first; `tally` keeps those that are none."""
    rows: Any = stars.order_by("pk").iterator(chunk_size=ROWS_AT_ONCE)
    return read_examples(rows, tally)


def read_examples(rows: Iterator[Starred], tally: Tally) -> Iterator[Example]:
    for row in rows:
        try:
            yield read_example(row)
        except NotAnExample as error:
            tally.rejects.append(
                Reject(
                    id=row.public_id,
                    custom_id=row.custom_id,
                    batch_id=row.batch_public_id,
                    code=error.code,
                    reason=str(error),
                )
            )


def choose_stars(
    stars: QuerySet[GoldStar], tally: Tally, *, count: int, max_tokens: int | None
) -> list[Example]:
    """Return a few examples unlike each other, among the newest CHOOSE_AMONG stars."""
    newest: Any = stars.order_by("-pk")[:CHOOSE_AMONG]
    found = list(read_examples(iter(newest), tally))
    return choose_diverse(found, count=count, max_tokens=max_tokens)
