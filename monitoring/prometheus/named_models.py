"""Which models are named in labels: a bounded number of them, the rest as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MOST = 100
OTHER = "other"


def sum_by_model(rows: Iterable[tuple[str, Sequence[int]]]) -> dict[str, list[int]]:
    """Add up figures by model, in the order of the rows; what comes after `MOST` is "other".

    A batch whose input names no model yet counts as that too. Counters must give their rows in
    an order in which no model ever changes its place, or a sum would fall.
    """
    sums: dict[str, list[int]] = {}
    for model, figures in rows:
        named = model in sums or len(sums) - (OTHER in sums) < MOST
        name = model if model and named else OTHER
        known = sums.setdefault(name, [0] * len(figures))
        sums[name] = [old + more for old, more in zip(known, figures, strict=True)]
    return sums
