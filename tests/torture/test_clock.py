"""A host whose clock is wrong neither takes what others hold nor lets go of what is its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from unittest import mock

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.utils import timezone

from jobs.models import Batch, Chunk, Lane, Worker
from jobs.scheduler import claimable_models
from jobs.services.batches import BatchOrder, create_batch
from jobs.services.chunks import claim_chunks, renew_chunks
from jobs.services.files import create_file
from jobs.services.lanes import keep_task, kick_lane, start_task
from jobs.services.projects import get_project
from jobs.services.served_models import save_model
from jobs.services.validation import validate_batch
from jobs.states import ChunkState, LaneKind
from tests.stack.lines import chat_lines

pytestmark = pytest.mark.django_db

SKEWS = [timedelta(hours=-1), timedelta(hours=1)]
_real_now = timezone.now


@pytest.fixture(params=SKEWS, ids=["behind", "ahead"])
def skewed(request: pytest.FixtureRequest) -> Iterator[timedelta]:
    """Let this process's clock be an hour off; the database keeps its own."""
    skew: timedelta = request.param

    def now() -> datetime:
        return _real_now() + skew

    with mock.patch.object(timezone, "now", now):
        yield skew


@pytest.fixture
def lanes() -> list[Lane]:
    worker = Worker.objects.create(name="host", started_at=_real_now(), heartbeat_at=_real_now())
    return [
        Lane.objects.create(worker=worker, name=name, kind=LaneKind.CPU, queue=f"host-{name}")
        for name in ("one", "two")
    ]


@pytest.fixture
def batch() -> Batch:
    import json

    save_model(name="toy", source="/models/toy")
    content = b"".join(json.dumps(line).encode() + b"\n" for line in chat_lines(10))
    stored = create_file(
        project=get_project(),
        upload=ContentFile(content, name="in.jsonl"),
        filename="in.jsonl",
        purpose="batch",
        expires_s=None,
    )
    order = BatchOrder(
        endpoint="/v1/chat/completions", completion_window="24h", input_file_id=stored.public_id
    )
    made = create_batch(project=get_project(), order=order)
    validate_batch(batch_id=made.pk)
    made.refresh_from_db()
    return made


def test_a_claim_is_by_the_databases_clock(
    batch: Batch, lanes: list[Lane], skewed: timedelta
) -> None:
    one, two = lanes
    assert batch.model_id is not None
    (mine,) = claim_chunks(lane_id=one.pk, model_id=batch.model_id, limit=4)
    assert claim_chunks(lane_id=two.pk, model_id=batch.model_id, limit=4) == []
    assert renew_chunks([mine]) == {(mine.id, mine.attempt)}
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_chunk SET lease_until = clock_timestamp()")
    (theirs,) = claim_chunks(lane_id=two.pk, model_id=batch.model_id, limit=4)
    assert theirs.attempt == mine.attempt + 1
    assert renew_chunks([mine]) == set()


def test_a_lane_sees_what_it_could_claim(
    batch: Batch, lanes: list[Lane], skewed: timedelta
) -> None:
    one, two = lanes
    assert batch.model_id is not None
    assert len(claimable_models(two)) == 1
    claim_chunks(lane_id=one.pk, model_id=batch.model_id, limit=4)
    assert claimable_models(two) == []
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_chunk SET lease_until = clock_timestamp()")
    assert Chunk.objects.get().state == ChunkState.CLAIMED
    assert len(claimable_models(two)) == 1


def test_a_task_at_work_is_neither_called_nor_replaced(
    lanes: list[Lane], skewed: timedelta
) -> None:
    lane = lanes[0]
    token = start_task(lane_id=lane.pk)
    assert token is not None
    assert kick_lane(lane) is False
    assert start_task(lane_id=lane.pk) is None
    assert keep_task(lane_id=lane.pk, token=token)


def test_a_task_that_is_silent_is_replaced(lanes: list[Lane], skewed: timedelta) -> None:
    lane = lanes[0]
    start_task(lane_id=lane.pk)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_lane SET task_seen_at = now() - interval '10 s'")
    assert kick_lane(lane) is True
    assert kick_lane(lane) is False, "called twice"
    assert start_task(lane_id=lane.pk) is not None
