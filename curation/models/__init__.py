"""The tables of curation."""

from __future__ import annotations

from curation.models.comparisons import Comparison, Vote, VoteChoice
from curation.models.datasets import (
    Dataset,
    DatasetReject,
    DatasetRow,
    DatasetVersion,
    Export,
    ExportState,
    VersionState,
)
from curation.models.gold import GoldEvent, GoldEventKind, GoldStar
from curation.models.reviews import (
    Adjudication,
    Review,
    ReviewEvent,
    ReviewItem,
    ReviewSet,
    ReviewState,
)
from curation.models.search import ResponseSearch, SearchProgress
from curation.models.star_imports import StarImport, StarImportLine, StarImportState

__all__ = [
    "Adjudication",
    "Comparison",
    "Dataset",
    "DatasetReject",
    "DatasetRow",
    "DatasetVersion",
    "Export",
    "ExportState",
    "GoldEvent",
    "GoldEventKind",
    "GoldStar",
    "ResponseSearch",
    "Review",
    "ReviewEvent",
    "ReviewItem",
    "ReviewSet",
    "ReviewState",
    "SearchProgress",
    "StarImport",
    "StarImportLine",
    "StarImportState",
    "VersionState",
    "Vote",
    "VoteChoice",
]
