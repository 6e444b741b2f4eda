"""How far people agree: Cohen's kappa of two, Krippendorff's alpha of any number.

Sources: Cohen 1960 and, for weights, 1968; Krippendorff, "Computing Krippendorff's
Alpha-Reliability", 2011. Both are 1 for agreement, 0 for what chance would give; below 0 people
disagree more than by chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T", bound=Hashable)


def kappa(pairs: Sequence[tuple[T, T]], *, weighted: bool = False) -> float | None:
    """Return Cohen's kappa of two people on the items that both judged.

    With `weighted`, values are numbers, and two that lie further apart count more, by the square
    of their distance. None where it is not defined: no item, or both said one same thing always.
    """
    if not pairs:
        return None
    count = len(pairs)
    first = Counter(one for one, _ in pairs)
    second = Counter(other for _, other in pairs)

    def weight(one: Any, other: Any) -> float:
        if weighted:
            return (float(one) - float(other)) ** 2
        return float(one != other)

    observed = sum(weight(one, other) for one, other in pairs) / count
    expected = sum(
        weight(one, other) * first[one] * second[other] for one in first for other in second
    ) / (count * count)
    return None if expected == 0 else 1 - observed / expected


def alpha(items: Sequence[Sequence[T]], *, interval: bool = False) -> float | None:
    """Return Krippendorff's alpha of items, each with the values that people gave to it.

    Items may have any number of values; those with fewer than two say nothing. With `interval`,
    values are numbers and their distance counts, else only whether they are equal. None where it
    is not defined: nothing to compare, or one same value throughout.
    """
    units = [list(values) for values in items if len(values) > 1]
    total: Counter[T] = Counter(value for values in units for value in values)
    count = sum(total.values())
    if count < 2:
        return None

    def distance(one: Any, other: Any) -> float:
        if interval:
            return (float(one) - float(other)) ** 2
        return float(one != other)

    observed = 0.0
    for values in units:
        here = Counter(values)
        among = sum(
            distance(one, other) * here[one] * here[other] for one in here for other in here
        )
        observed += among / (len(values) - 1)
    observed /= count
    expected = sum(
        distance(one, other) * total[one] * total[other] for one in total for other in total
    ) / (count * (count - 1))
    return None if expected == 0 else 1 - observed / expected


def pairs_of(judged: Mapping[str, Mapping[int, T]], one: str, other: str) -> list[tuple[T, T]]:
    """Return both people's values of each item that both judged."""
    first, second = judged[one], judged[other]
    return [(value, second[item]) for item, value in first.items() if item in second]


def words_for(value: float | None) -> str:
    """Say in a word what an alpha means, by Krippendorff's own thresholds."""
    if value is None:
        return "not defined"
    if value >= 0.8:
        return "reliable"
    return "tentative" if value >= 0.667 else "not reliable"
