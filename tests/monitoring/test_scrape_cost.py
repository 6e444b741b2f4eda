"""What a scrape costs the database when very many batches are kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.models import Batch
from tests.cast import make_batch
from tests.monitoring.exposition import scrape, value
from tests.monitoring.filled import fill

ENDED = 30_000
LARGE = ("jobs_batch", "monitoring_batchsummary")
# What a scrape may look at of the large tables themselves.
MOST_ROWS = 50
READS = re.compile(r"\s*(?:SELECT|WITH)\b")


@pytest.mark.django_db(transaction=True)
def test_a_scrape_does_not_read_the_batches_that_ended_long_ago(client):
    fill()
    _keep_ended(ENDED)
    found = scrape(client)
    assert value(found, "vbatch_batches", state="completed") == ENDED
    with CaptureQueriesContext(connection) as captured:
        scrape(client)
    plans = [_explain(q["sql"]) for q in captured if READS.match(q["sql"])]
    nodes = [node for plan in plans for node in _nodes(plan) if _is_large(node)]
    counting = [node for node in nodes if node["Node Type"] == "Index Only Scan"]
    # How many there are in each state is counted in the smallest index, once.
    assert [node["Index Name"] for node in counting if _rows(node) > MOST_ROWS] == [
        "batch_by_state"
    ]
    assert len(nodes) > 4
    assert not [node for node in nodes if node not in counting and _rows(node) > MOST_ROWS]


def _keep_ended(count: int) -> None:
    """Have so many batches and their summaries that ended a month ago."""
    model = make_batch(state="completed", ended_at=timezone.now(), open_lines=0)
    with connection.cursor() as cursor:
        columns = [f.column for f in Batch._meta.local_concrete_fields if not f.primary_key]
        special = {
            "public_id": "'batch_' || n",
            "created_at": "now() - interval '31 days'",
            "ended_at": "now() - interval '30 days'",
        }
        values = ", ".join(special.get(name, f'"{name}"') for name in columns)
        names = ", ".join(f'"{name}"' for name in columns)
        cursor.execute(
            f"INSERT INTO jobs_batch ({names}) SELECT {values} "
            "FROM jobs_batch, generate_series(2, %s) AS n WHERE id = %s",
            [count, model.pk],
        )
        cursor.execute(
            "INSERT INTO monitoring_batchsummary (batch_id, seq, updated_at, histograms, "
            "finish_reasons, errors) "
            "SELECT id, last_seq, now(), '{}', '{}', '{}' FROM jobs_batch "
            "WHERE id NOT IN (SELECT batch_id FROM monitoring_batchsummary)"
        )
        cursor.execute("VACUUM ANALYZE jobs_batch, monitoring_batchsummary")


def _explain(query: str) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + query)
        ((told,),) = cursor.fetchall()
    plans = json.loads(told) if isinstance(told, str) else told
    plan: dict[str, Any] = plans[0]["Plan"]
    return plan


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)


def _is_large(node: dict[str, Any]) -> bool:
    return node.get("Relation Name") in LARGE


def _rows(node: dict[str, Any]) -> float:
    """Return how many rows a scan looked at, in all its loops."""
    seen: float = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return seen * node["Actual Loops"]
