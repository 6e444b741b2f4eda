"""Which points no other one beats, where more is better both ways."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points of the Pareto front, in the order in which they came.

    A point is beaten by one that is at least as good both ways and better one way, so that of
    several at the same place all are in the front. Points must be numbers.
    """
    best = float("-inf")
    found: list[int] = []
    # Whatever can beat a point stands before it.
    order = sorted(range(len(points)), key=lambda place: points[place], reverse=True)
    last: tuple[float, float] | None = None
    for place in order:
        point = points[place]
        if point[1] > best or point == last:
            found.append(place)
            best, last = point[1], point
    return sorted(found)
