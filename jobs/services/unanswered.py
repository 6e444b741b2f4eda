"""Answering, with an error, the lines of a batch that nobody will answer any more."""

from __future__ import annotations

from django.db import connection
from django.db.models import F

from jobs.models import Batch
from jobs.result_lines import result_line
from jobs.services.result_files import create_result_files

_REST = """
INSERT INTO jobs_batchresponse (
    request_id, batch_id, seq, ok, body, text, finish_reason, input_tokens, cached_tokens,
    output_tokens, reasoning_tokens, error_code, error_message, created_at)
SELECT r.id, r.batch_id, %s + row_number() OVER (ORDER BY r.position), false, '', '', '', 0, 0,
    0, 0, %s, %s, clock_timestamp()
FROM jobs_batchrequest r
WHERE r.batch_id = %s
  AND NOT EXISTS (SELECT FROM jobs_batchresponse a WHERE a.request_id = r.id)
RETURNING request_id
"""


def answer_the_rest(*, batch: Batch, code: str, message: str) -> int:
    """Give every line without a response one that says why; return how many there were.

    The caller holds the lock of the batch's row, in a transaction, and has taken every claim
    away.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH rest AS ({_REST})
            SELECT r.position, r.custom_id FROM jobs_batchrequest r
            JOIN rest ON rest.request_id = r.id
            """,
            [batch.last_seq, code, message, batch.pk],
        )
        count = size = 0
        for position, custom_id in cursor:
            count += 1
            size += len(
                result_line(
                    batch_public_id=batch.public_id,
                    position=position,
                    custom_id=custom_id,
                    status_code=None,
                    body=b"",
                    error_code=code,
                    error_message=message,
                )
            )
    if not count:
        return 0
    create_result_files(batch=batch, has_output=False, has_errors=True)
    Batch.objects.filter(pk=batch.pk).update(
        error_file=batch.error_file_id,
        failed=F("failed") + count,
        error_bytes=F("error_bytes") + size,
        last_seq=F("last_seq") + count,
    )
    return count
