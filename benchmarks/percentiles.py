"""Means and percentiles of what a Prometheus histogram counted between two readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

_SHARES = {"median": 0.5, "p90": 0.9, "p99": 0.99}


def bucket_figures(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> dict[str, float] | None:
    """Return mean, median, p90 and p99 in milliseconds; None where nothing was observed.

    Both readings are `{"buckets": [[upper bound, count up to it], ...], "sum", "count"}` in
    seconds, cumulative since the engine started; the bound of the last bucket is null. The mean
    is exact. A percentile is interpolated within its bucket, as Prometheus does it, and left out
    where it lies in the last, which has no end. None too where the second reading is not of the
    same engine, so that it has counted less.
    """
    if after is None:
        return None
    earlier = before or {"buckets": [], "sum": 0.0, "count": 0.0}
    count = after["count"] - earlier["count"]
    if count <= 0:
        return None
    counted = dict(earlier["buckets"])
    gained = [(bound, upto - counted.get(bound, 0.0)) for bound, upto in after["buckets"]]
    if any(upto < below for (_, below), (_, upto) in pairwise([(0.0, 0.0), *gained])):
        return None
    found = {"mean": (after["sum"] - earlier["sum"]) / count * 1_000}
    for name, share in _SHARES.items():
        seconds = _at(gained, share * count)
        if seconds is not None:
            found[name] = seconds * 1_000
    return found


def _at(gained: Sequence[tuple[float | None, float]], rank: float) -> float | None:
    """Return the value at a rank, counted from the smallest."""
    for (low, below), (high, upto) in pairwise([(0.0, 0.0), *gained]):
        if upto < rank:
            continue
        if high is None or low is None:
            return None
        return low + (high - low) * (rank - below) / (upto - below)
    return None
