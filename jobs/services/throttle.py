"""How many requests a key may make a minute, counted in its own row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import ProjectKey

# `last_used_at` is for a person to look at; writing it for each request would be for nothing.
USED_WRITE_EVERY_S = 60
# The highest limit that can be set, requests a minute.
RATE_MAX = 1_000_000
_MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a key has left: of `limit` requests `remaining`, and all again after `reset_s`."""

    limit: int
    remaining: int
    reset_s: float


class TooManyRequests(Exception):
    """The key has used up what it may; one request is free again after `retry_s`."""

    def __init__(self, allowance: Allowance, retry_s: float) -> None:
        super().__init__(f"{allowance.limit} requests a minute")
        self.allowance = allowance
        self.retry_s = retry_s


def requests_per_minute(key: ProjectKey) -> int | None:
    """Return the limit that holds for a key, None if there is none."""
    own = key.requests_per_minute
    return (settings.REQUESTS_PER_MINUTE if own is None else own) or None


# The generic cell rate algorithm: `rate_full_at` says when the bucket is full again, and a request
# moves it on by what one takes to be refilled. The bucket holds a minute's worth, so that a client
# may page through a list without a pause. One statement, so that no two requests take the same
# place; whoever waited for the row's lock finds the conditions asked anew. Two buckets ahead no
# request can have moved it: the clock was set back, and must not shut the key out.
_STARTS_AT = """
CASE WHEN rate_full_at < statement_timestamp() + 2 * %(bucket)s
     THEN greatest(rate_full_at, statement_timestamp()) ELSE statement_timestamp() END
"""
# Committed without waiting for the disk: a crash forgets the last moments, which may be had again.
_TAKE = f"""
UPDATE jobs_projectkey
SET rate_full_at = {_STARTS_AT} + %(one)s, last_used_at = statement_timestamp()
FROM (SELECT set_config('synchronous_commit', 'off', true)) quickly
WHERE id = %(id)s AND {_STARTS_AT} + %(one)s <= statement_timestamp() + %(bucket)s
RETURNING extract(epoch FROM rate_full_at - statement_timestamp())
"""
_LOOK = """
SELECT greatest(0, extract(epoch FROM rate_full_at - statement_timestamp()))
FROM jobs_projectkey WHERE id = %s
"""


def take_request(*, key: ProjectKey) -> Allowance | None:
    """Count a request of a key, and note that it was used; None if it has no limit.

    Raises TooManyRequests beyond the limit, and then writes nothing. By the database's clock, in a
    statement of its own: to be called in no transaction, which would hold the row.
    """
    limit = requests_per_minute(key)
    if limit is None:
        note_use(key=key)
        return None
    one_us = _one_us(limit)
    values: dict[str, Any] = {
        "id": key.pk,
        "one": timedelta(microseconds=one_us),
        "bucket": timedelta(microseconds=one_us * limit),
    }
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, values)
        row = cursor.fetchone()
    if row is not None:
        return _allowance(limit, float(row[0]))
    missing_s = _missing_s(key)
    retry_s = missing_s + one_us / 1e6 - one_us * limit / 1e6
    raise TooManyRequests(_allowance(limit, missing_s), max(0.001, retry_s))


def read_allowance(*, key: ProjectKey) -> Allowance | None:
    """Return what a key has left without taking of it, None if it has no limit."""
    limit = requests_per_minute(key)
    return None if limit is None else _allowance(limit, _missing_s(key))


def note_use(*, key: ProjectKey) -> None:
    """Note that a key was used, where nothing is counted."""
    stale = timezone.now() - timedelta(seconds=USED_WRITE_EVERY_S)
    if key.last_used_at is not None and key.last_used_at >= stale:
        return
    ProjectKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=stale), pk=key.pk).update(
        last_used_at=Now()
    )


def _one_us(limit: int) -> int:
    """Return the microseconds that it takes to refill one request."""
    return _MINUTE_US // min(limit, RATE_MAX)


def _missing_s(key: ProjectKey) -> float:
    with connection.cursor() as cursor:
        cursor.execute(_LOOK, [key.pk])
        row = cursor.fetchone()
    return float(row[0] or 0) if row else 0.0


def _allowance(limit: int, missing_s: float) -> Allowance:
    used = -(-round(missing_s * 1e6) // _one_us(limit))
    return Allowance(limit, max(0, limit - used), missing_s)
