"""The tables of curation."""

from __future__ import annotations

from curation.models.gold import GoldEvent, GoldEventKind, GoldStar
from curation.models.search import ResponseSearch, SearchProgress

__all__ = ["GoldEvent", "GoldEventKind", "GoldStar", "ResponseSearch", "SearchProgress"]
