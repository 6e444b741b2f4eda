"""The steady part of a run: the rate between a tenth and nine tenths of its answers."""

from __future__ import annotations

from collections.abc import Sequence

# A moment in seconds, and how many answers there were by then.
Point = tuple[float, int]


def steady_rate(points: Sequence[Point], total: int) -> float | None:
    """Return answers a second from the first moment with a tenth to the last with nine tenths.

    Answers arrive in groups, so the span begins and ends with a whole group. None where both
    fall into one: then nothing is known of a rate.
    """
    inside = [point for point in points if total / 10 <= point[1] <= total * 9 / 10]
    if len(inside) < 2:
        return None
    (from_at, first), (to_at, last) = inside[0], inside[-1]
    return (last - first) / (to_at - from_at) if to_at > from_at else None
