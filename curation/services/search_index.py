"""Making answers findable after they were committed: in their order, once each."""

from __future__ import annotations

import time
from typing import Any

from django.db import connection, transaction

from curation.models import SearchProgress
from jobs.models import Batch
from jobs.states import ENDED_STATES, LIVE_STATES

# So many are written in one transaction: about half a second.
SLICE = 1_000
# One call works for so long, so that validation finds a free worker in between.
FOR_S = 10.0
# One writer at a time, on whatever host: two would only wait for each other's rows.
_LOCK = 0x76_62_73_31

_BEHIND = """
SELECT batch.id, batch.last_seq - coalesce(progress.seq, 0) FROM jobs_batch AS batch
LEFT JOIN curation_searchprogress AS progress ON progress.batch_id = batch.id
WHERE batch.deleted_at IS NULL AND batch.last_seq > coalesce(progress.seq, 0) AND {where}
ORDER BY batch.id DESC
"""
# Both halves name their states, so that each is found by a partial index.
_LATELY = f"""(batch.state IN ({", ".join(f"'{state}'" for state in LIVE_STATES)})
    OR batch.state IN ({", ".join(f"'{state}'" for state in ENDED_STATES)})
    AND batch.ended_at > statement_timestamp() - interval '10 minutes')"""

_WRITE = """
INSERT INTO curation_responsesearch (response_id, batch_id, project_id, model_name, custom_id,
    ok, finish_reason, error_code, output_tokens, prompt_sha256, answered_at, document)
SELECT answer.request_id, answer.batch_id, %(project)s, %(model)s, line.custom_id, answer.ok,
    answer.finish_reason, answer.error_code, answer.output_tokens, line.prompt_sha256,
    answer.created_at,
    to_tsvector('simple', left(concat_ws(' ', line.custom_id, line.prompt_text, answer.text,
        answer.error_message), 65536))
FROM jobs_batchresponse AS answer
JOIN jobs_batchrequest AS line ON line.id = answer.request_id
WHERE answer.batch_id = %(batch)s AND answer.seq > %(after)s AND answer.seq <= %(upto)s
ORDER BY answer.seq
ON CONFLICT DO NOTHING
"""


class Busy(Exception):
    """Another process is making answers findable just now."""


def index_responses(*, every: bool = False, for_s: float = FOR_S) -> int:
    """Make findable what was answered since the last call; return how many answers that were.

    Looks at batches that are live or ended lately; with `every` at all of them. The newest come
    first. Stops after `for_s` seconds; the next call goes on. A second call at the same time
    does nothing.
    """
    until = time.monotonic() + for_s
    done = 0
    for batch_id, _ in _behind(every=every):
        more = 1
        while more:
            if time.monotonic() > until:
                return done
            try:
                more = index_batch(batch_id=batch_id)
            except Busy:
                return done
            done += more
    return done


def index_batch(*, batch_id: int) -> int:
    """Make the next answers of a batch findable; return how many, 0 where none is left.

    Busy if another process is at it.
    A response gets its `seq` under the lock of its batch, so that none can appear later behind
    one that is counted already.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            raise Busy
        SearchProgress.objects.bulk_create(
            [SearchProgress(batch_id=batch_id)], ignore_conflicts=True
        )
        progress = SearchProgress.objects.select_related("batch").get(batch_id=batch_id)
        batch = progress.batch
        upto = min(batch.last_seq, progress.seq + SLICE)
        if upto <= progress.seq or batch.deleted_at is not None:
            return 0
        values: dict[str, Any] = {
            "batch": batch.pk,
            "project": batch.project_id,
            "model": batch.model_name,
            "after": progress.seq,
            "upto": upto,
        }
        cursor.execute(_WRITE, values)
        SearchProgress.objects.filter(batch=batch).update(seq=upto)
        return upto - progress.seq


def anything_to_index() -> bool:
    """Say whether a batch that is live or ended lately has answers that cannot be found yet.

    No while somebody is at it: a bell that is rung meanwhile would be for nothing.
    """
    return _is_anything(_LATELY)


def any_batch_to_index() -> bool:
    """Say the same of all batches, such as those from before an upgrade; reads them all."""
    return _is_anything("TRUE")


def behind_by() -> int:
    """Return how many answers of batches that are live or ended lately cannot be found yet."""
    return sum(row[1] for row in _behind(every=False))


def batch_behind_by(*, batch: Batch) -> int:
    """Return how many answers of one batch cannot be found yet."""
    seq = SearchProgress.objects.filter(batch=batch).values_list("seq", flat=True).first()
    return batch.last_seq - (seq or 0)


def _is_anything(where: str) -> bool:
    query = f"""SELECT EXISTS ({_BEHIND.format(where=where)}) AND NOT EXISTS (
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = %s
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""
    with connection.cursor() as cursor:
        cursor.execute(query, [_LOCK])
        return bool(cursor.fetchone()[0])


def _behind(*, every: bool) -> list[tuple[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(_BEHIND.format(where="TRUE" if every else _LATELY))
        rows: list[tuple[int, int]] = cursor.fetchall()
    return rows
