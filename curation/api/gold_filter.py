"""Which gold stars are meant: read from a query, the same for the list and the export."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from curation.models import GoldStar
from curation.models.gold import SCORE_MAX, SCORE_MIN, TAG_MAX
from jobs.api.parameters import Parameters

KEYS = ("min_quality", "tag", "batch_id", "model", "custom_id", "project", "edited")


@dataclass(frozen=True, kw_only=True)
class GoldFilter:
    """What narrows the stars; None is everything."""

    min_quality: int | None = None
    tag: str | None = None
    batch_id: str | None = None
    model: str | None = None
    custom_id: str | None = None
    project: str | None = None
    edited: bool | None = None

    def apply(self, stars: QuerySet[GoldStar]) -> QuerySet[GoldStar]:
        """Return those of `stars` that are meant; what was unstarred never is."""
        where: dict[str, Any] = {
            "quality_score__gte": self.min_quality,
            "tags__contains": None if self.tag is None else [self.tag],
            "batch_public_id": self.batch_id,
            "model_name": self.model,
            "custom_id": self.custom_id,
            "project__name": self.project,
            "edited_answer__isnull": None if self.edited is None else not self.edited,
        }
        chosen = {key: value for key, value in where.items() if value is not None}
        return stars.filter(removed_at__isnull=True, **chosen)


def read_gold_filter(query: Parameters, *, also: Collection[str] = ()) -> GoldFilter:
    """Return the filter of a query; `also` are the route's other parameters."""
    query.refuse_unknown((*KEYS, *also))
    edited = query.choice("edited", ("true", "false"))
    return GoldFilter(
        min_quality=query.integer("min_quality", low=SCORE_MIN, high=SCORE_MAX),
        tag=query.text("tag", max_length=TAG_MAX),
        batch_id=query.text("batch_id", max_length=200),
        model=query.text("model", max_length=200),
        custom_id=query.text("custom_id", max_length=512),
        project=query.text("project", max_length=200),
        edited=None if edited is None else edited == "true",
    )
