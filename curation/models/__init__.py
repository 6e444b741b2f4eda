"""The tables of curation."""

from __future__ import annotations

from curation.models.gold import GoldEvent, GoldEventKind, GoldStar

__all__ = ["GoldEvent", "GoldEventKind", "GoldStar"]
