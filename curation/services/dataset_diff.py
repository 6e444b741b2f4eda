"""What differs between two versions of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connection

from curation.models import DatasetVersion

SHOWN = 100
_DIFF = """
SELECT coalesce(a.public_id, b.public_id), coalesce(b.custom_id, a.custom_id), a.split, b.split,
    a.digest IS NOT DISTINCT FROM b.digest, a.position, b.position,
    a.quality_score, b.quality_score
FROM (SELECT * FROM curation_datasetrow WHERE version_id = %(old)s) AS a
FULL JOIN (SELECT * FROM curation_datasetrow WHERE version_id = %(new)s) AS b
    ON a.public_id = b.public_id
WHERE a.digest IS DISTINCT FROM b.digest OR a.split IS DISTINCT FROM b.split
ORDER BY b.position, a.position
"""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A row that is in one version alone, or another one in each."""

    public_id: str
    custom_id: str
    old_split: str | None
    new_split: str | None
    old_score: int | None
    new_score: int | None


@dataclass(frozen=True, kw_only=True)
class VersionDiff:
    """What came, what went, what is another now, and what moved; the first SHOWN of each."""

    counts: dict[str, int]
    shown: dict[str, list[Difference]]


def compare_versions(old: DatasetVersion, new: DatasetVersion) -> VersionDiff:
    """Compare two versions by their gold stars. Reads the rows that differ, one by one."""
    counts = dict.fromkeys(("added", "removed", "changed", "moved"), 0)
    shown: dict[str, list[Difference]] = {kind: [] for kind in counts}
    with connection.cursor() as cursor:
        cursor.execute(_DIFF, {"old": old.pk, "new": new.pk})
        for row in cursor:
            kind = _kind(row)
            counts[kind] += 1
            if len(shown[kind]) < SHOWN:
                shown[kind].append(
                    Difference(
                        public_id=row[0],
                        custom_id=row[1],
                        old_split=row[2],
                        new_split=row[3],
                        old_score=row[7],
                        new_score=row[8],
                    )
                )
    return VersionDiff(counts=counts, shown=shown)


def _kind(row: tuple[Any, ...]) -> str:
    if row[5] is None:
        return "added"
    if row[6] is None:
        return "removed"
    return "moved" if row[4] else "changed"
