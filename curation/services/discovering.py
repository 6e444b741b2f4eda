"""Who answered the same prompts: batches and models that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from jobs.models import Batch, Project

# Of a batch so many prompts are looked up, spread over it; of all answers the newest so many.
PROMPTS = 2_000
NEWEST = 20_000
FOUND_MAX = 100

_WITH_BATCH = """
WITH mine AS MATERIALIZED (
    SELECT DISTINCT prompt_sha256 FROM (
        SELECT prompt_sha256, row_number() OVER (ORDER BY id) AS place,
            greatest(1, count(*) OVER () / %(prompts)s) AS step
        FROM curation_responsesearch WHERE batch_id = %(batch)s
    ) AS line WHERE place %% step = 0 LIMIT %(prompts)s
), shared AS (
    SELECT other.batch_id, count(DISTINCT other.prompt_sha256) AS prompts
    FROM mine JOIN curation_responsesearch AS other
        ON other.prompt_sha256 = mine.prompt_sha256
    WHERE other.batch_id <> %(batch)s AND other.project_id = ANY(%(projects)s)
    GROUP BY other.batch_id
)
SELECT batch.public_id, batch.model_name, batch.created_at, shared.prompts,
    (SELECT count(*) FROM mine)
FROM shared JOIN jobs_batch AS batch ON batch.id = shared.batch_id
WHERE batch.deleted_at IS NULL ORDER BY shared.prompts DESC, batch.id DESC LIMIT %(most)s
"""
_ALL = """
WITH newest AS MATERIALIZED (
    SELECT prompt_sha256, batch_id FROM curation_responsesearch
    WHERE project_id = ANY(%(projects)s) ORDER BY id DESC LIMIT %(newest)s
), several AS (
    SELECT prompt_sha256 FROM newest GROUP BY prompt_sha256 HAVING count(DISTINCT batch_id) > 1
), shared AS (
    SELECT batch_id, count(DISTINCT prompt_sha256) AS prompts
    FROM newest JOIN several USING (prompt_sha256) GROUP BY batch_id
)
SELECT batch.public_id, batch.model_name, batch.created_at, shared.prompts,
    (SELECT count(*) FROM several)
FROM shared JOIN jobs_batch AS batch ON batch.id = shared.batch_id
WHERE batch.deleted_at IS NULL ORDER BY shared.prompts DESC, batch.id DESC LIMIT %(most)s
"""


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """A batch that answered prompts that others answered too."""

    batch_id: str
    model: str
    created_at: datetime
    prompts: int


def discover(
    *, projects: Sequence[Project], batch: Batch | None = None
) -> tuple[list[Sharing], int]:
    """Return who shares prompts, the most first, and how many prompts were looked at.

    With a batch, those that share prompts with it, told by PROMPTS of its prompts; else all that
    do among the NEWEST answers, where the number is that of prompts that several answered.
    """
    values = {
        "projects": [project.pk for project in projects],
        "batch": batch.pk if batch else None,
        "prompts": PROMPTS,
        "newest": NEWEST,
        "most": FOUND_MAX,
    }
    with connection.cursor() as cursor:
        cursor.execute(_WITH_BATCH if batch else _ALL, values)
        rows = cursor.fetchall()
    found = [
        Sharing(batch_id=row[0], model=row[1], created_at=row[2], prompts=row[3]) for row in rows
    ]
    return found, rows[0][4] if rows else 0
