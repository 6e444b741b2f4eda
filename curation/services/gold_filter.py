"""Which gold stars are meant, the same for lists, exports and data sets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import QuerySet

from curation.models import GoldStar


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

    def named(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}
