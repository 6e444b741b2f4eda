"""Filters that are chosen by a click: a word, and the address that it leads to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curation.results import ResultFilter


@dataclass(frozen=True, kw_only=True)
class Chip:
    word: str
    href: str
    on: bool


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
