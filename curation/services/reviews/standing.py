"""How a review set stands: progress, people, how values are spread, and how far people agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Any

from django.core.cache import cache
from django.db.models import Count, Q
from django.utils import timezone

from curation.agreement import alpha, kappa, pairs_of, words_for
from curation.models import Review, ReviewSet, ReviewState
from curation.rubric import CHOICES, RATING, TEXT, Dimension, differ, read_rubric

# Figures of so many reviews take about a second; they are kept for a moment.
REVIEWS_MAX = 50_000
KEPT_S = 15
PAIRS_SHOWN = 30


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How many items there are, how many have all their reviews, and some of them."""

    items: int
    complete: int
    begun: int

    @property
    def open(self) -> int:
        return self.items - self.complete - self.begun


@dataclass(frozen=True, kw_only=True)
class DimensionFigures:
    """How a dimension was judged, and how far people agree on it."""

    name: str
    kind: str
    spread: dict[str, int]
    alpha: float | None
    words: str
    pairs: list[tuple[str, str, int, float | None]]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The figures of a set, and when they were taken."""

    dimensions: list[DimensionFigures]
    people: list[dict[str, Any]]
    disagreed: int
    judged: int
    read: int
    at: datetime


def progress_of(review_set: ReviewSet) -> Progress:
    counts = review_set.items.aggregate(
        items=Count("pk"),
        complete=Count("pk", filter=Q(done__gte=review_set.overlap)),
        begun=Count("pk", filter=Q(taken__gt=0, done__lt=review_set.overlap)),
    )
    return Progress(**counts)


def standing_of(review_set: ReviewSet) -> Standing:
    """Return the figures of a set, KEPT_S seconds old at most."""
    key = f"review-standing-{review_set.pk}"
    found: Standing | None = cache.get(key)
    if found is None:
        found = _read(review_set)
        cache.set(key, found, KEPT_S)
    return found


def final_values(
    rubric: list[Dimension], judged: list[dict[str, Any]], adjudicated: dict[str, Any] | None
) -> dict[str, Any]:
    """Return what holds of an item: the last word, else what most say; of ratings the mean."""
    if adjudicated is not None:
        return adjudicated
    found: dict[str, Any] = {}
    for one in rubric:
        given = [values[one.name] for values in judged if one.name in values]
        if not given:
            continue
        if one.kind == RATING:
            found[one.name] = int(sum(given) / len(given) + 0.5)
        elif one.kind != TEXT:
            most = Counter(str(value) for value in given).most_common(1)[0][0]
            found[one.name] = next(value for value in given if str(value) == most)
    return found


def _read(review_set: ReviewSet) -> Standing:
    rubric = read_rubric(review_set.rubric)
    rows = list(
        Review.objects.filter(review_set=review_set, state=ReviewState.SUBMITTED)
        .order_by("-pk")
        .values_list("item_id", "reviewer_name", "values", "edited_answer")[:REVIEWS_MAX]
    )
    by_item: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for item, _, values, _ in rows:
        by_item[item].append(values)
    several = [judged for judged in by_item.values() if len(judged) > 1]
    return Standing(
        dimensions=[_dimension(one, rows) for one in rubric if one.kind != TEXT],
        people=_people(review_set),
        disagreed=sum(bool(differ(rubric, list(judged))) for judged in several),
        judged=len(several),
        read=len(rows),
        at=timezone.now(),
    )


def _dimension(one: Dimension, rows: list[tuple[Any, ...]]) -> DimensionFigures:
    judged: dict[str, dict[int, Hashable]] = defaultdict(dict)
    by_item: dict[int, list[Hashable]] = defaultdict(list)
    spread: Counter[str] = Counter()
    for item, person, values, _ in rows:
        if one.name not in values:
            continue
        value = values[one.name]
        spread.update(str(each) for each in (value if isinstance(value, list) else [value]))
        plain = tuple(value) if one.kind == CHOICES else value
        judged[person][item] = plain
        by_item[item].append(plain)
    is_rating = one.kind == RATING
    pairs = []
    for first, second in combinations(sorted(judged), 2):
        common = pairs_of(judged, first, second)
        if common:
            pairs.append((first, second, len(common), kappa(common, weighted=is_rating)))
    found = alpha(list(by_item.values()), interval=is_rating)
    return DimensionFigures(
        name=one.name,
        kind=one.kind,
        spread={key: spread.get(key, 0) for key in one.keys},
        alpha=found,
        words=words_for(found),
        pairs=sorted(pairs, key=lambda pair: -pair[2])[:PAIRS_SHOWN],
    )


def _people(review_set: ReviewSet) -> list[dict[str, Any]]:
    rows: Any = (
        Review.objects.filter(review_set=review_set)
        .values("reviewer_name")
        .annotate(
            submitted=Count("pk", filter=Q(state=ReviewState.SUBMITTED)),
            drafts=Count("pk", filter=Q(state=ReviewState.DRAFT)),
            discarded=Count("pk", filter=Q(state=ReviewState.DISCARDED)),
            edited=Count("pk", filter=Q(state=ReviewState.SUBMITTED, edited_answer__isnull=False)),
        )
        .order_by("-submitted", "reviewer_name")
    )
    return list(rows)
