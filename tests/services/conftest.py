"""A batch in progress, and a lane that may work on it."""

from __future__ import annotations

import json

import pytest
from django.core.files.base import ContentFile
from django.utils import timezone

from jobs.models import Batch, Lane, Worker
from jobs.services.batches import BatchOrder, create_batch
from jobs.services.files import create_file
from jobs.services.projects import get_project
from jobs.services.served_models import save_model
from jobs.services.validation import validate_batch
from jobs.states import LaneKind


@pytest.fixture
def model(db):
    return save_model(name="m", source="/models/m").model


@pytest.fixture
def lane(db):
    now = timezone.now()
    worker = Worker.objects.create(name="host", started_at=now, heartbeat_at=now)
    return Lane.objects.create(worker=worker, name="cpu", kind=LaneKind.CPU, queue="host-cpu")


@pytest.fixture
def other_lane(lane):
    return Lane.objects.create(
        worker=lane.worker, name="cpu2", kind=LaneKind.CPU, queue="host-cpu2"
    )


def order_for(content: bytes, **fields) -> BatchOrder:
    stored = create_file(
        project=get_project(),
        upload=ContentFile(content, name="in.jsonl"),
        filename="in.jsonl",
        purpose="batch",
        expires_s=None,
    )
    return BatchOrder(
        endpoint="/v1/chat/completions",
        completion_window="24h",
        input_file_id=stored.public_id,
        **fields,
    )


def lines(count: int) -> bytes:
    return b"".join(
        json.dumps(
            {
                "custom_id": f"r{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "m", "messages": [{"role": "user", "content": f"q {number}"}]},
            }
        ).encode()
        + b"\n"
        for number in range(count)
    )


@pytest.fixture
def make_batch(model):
    """Return a function that makes a batch of `count` good lines, validated."""

    def make(count: int = 10, **fields) -> Batch:
        batch = create_batch(project=get_project(), order=order_for(lines(count), **fields))
        validate_batch(batch_id=batch.pk)
        batch.refresh_from_db()
        return batch

    return make
