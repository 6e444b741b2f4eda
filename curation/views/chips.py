"""The filters of Results as chips."""

from __future__ import annotations

from collections.abc import Sequence

from curation.results import ResultFilter
from jobs.views.list_filters import Chip


def chips_of(wanted: ResultFilter, field: str, choices: Sequence[tuple[str, str]]) -> list[Chip]:
    """Return a chip for each choice of a field; the one that is on takes itself off."""
    chosen = getattr(wanted, field)
    return [
        Chip(
            word=word,
            href=wanted.address(**{field: "" if value == chosen else value}),
            on=value == chosen,
        )
        for value, word in choices
    ]
