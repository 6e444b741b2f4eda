"""The filter of gold stars, read from a query."""

from __future__ import annotations

from collections.abc import Collection

from curation.gold_fields import SCORE_MAX, SCORE_MIN, TAG_MAX
from curation.services.gold_filter import GoldFilter
from jobs.api.parameters import Parameters

KEYS = ("min_quality", "tag", "batch_id", "model", "custom_id", "project", "edited")


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
