"""Pausing a batch, and letting it go on."""

from __future__ import annotations

from datetime import timedelta

import openai
import pytest
from django.utils import timezone
from django_q.models import OrmQ
from openai.types import Batch as BatchObject

from jobs.models import AuditEntry, Batch, BatchEvent, Chunk, Worker
from jobs.services.batches import settle_batch
from jobs.services.chunks import claim_chunks, read_open_lines
from jobs.services.responses import commit_responses
from jobs.states import EventKind
from tests.api.checks import check_error
from tests.api.conftest import lines, order, validate


@pytest.mark.django_db(transaction=True)
def test_pause_and_resume_with_the_openai_client(connect, owner, api, lane):
    made = api.make(lines(3))
    client = connect(owner)
    paused = client.post(f"/batches/{made['id']}/pause", cast_to=BatchObject)
    assert (paused.status, paused.expires_at) == ("in_progress", made["expires_at"])
    assert paused.paused_at == pytest.approx(timezone.now().timestamp(), abs=3)
    assert paused.waiting_for == "somebody to resume it: the batch is paused"
    lane.answer()
    assert client.batches.retrieve(made["id"]).request_counts.completed == 0
    resumed = client.post(f"/batches/{made['id']}/resume", cast_to=BatchObject)
    assert (resumed.status, resumed.paused_at) == ("in_progress", None)
    lane.answer()
    assert client.batches.retrieve(made["id"]).status == "completed"
    with pytest.raises(openai.ConflictError) as ended:
        client.post(f"/batches/{made['id']}/pause", cast_to=BatchObject)
    assert "Cannot pause a batch with status 'completed'" in ended.value.message
    assert ended.value.code is None
    assert ended.value.response.headers["x-should-retry"] == "false"


@pytest.mark.django_db
def test_each_change_is_an_event_and_a_deed_and_nothing_else_is(api, lane):
    made = api.make(lines(1))
    for verb in ("resume", "pause", "pause", "resume", "resume"):
        response = api.post(f"/v1/batches/{made['id']}/{verb}", b"")
        assert response.status_code == 200
    events = BatchEvent.objects.exclude(kind=EventKind.MOVED).order_by("pk")
    assert [(e.kind, e.old_state, e.new_state) for e in events] == [
        ("paused", "in_progress", "in_progress"),
        ("resumed", "in_progress", "in_progress"),
    ]
    deeds = AuditEntry.objects.filter(target=made["id"]).order_by("pk")
    assert list(deeds.values_list("action", flat=True)) == [
        "batch.create",
        "batch.pause",
        "batch.resume",
    ]


@pytest.mark.django_db
def test_pausing_twice_keeps_the_first_time(api, lane):
    made = api.make(lines(1))
    long_ago = timezone.now() - timedelta(hours=1)
    Batch.objects.update(paused_at=long_ago)
    again = api.post(f"/v1/batches/{made['id']}/pause", b"").json()
    assert again["paused_at"] == int(long_ago.timestamp())


@pytest.mark.django_db
def test_it_says_that_it_is_paused_although_no_worker_is_alive(api, lane):
    made = api.make(lines(1))
    Worker.objects.all().delete()
    paused = api.post(f"/v1/batches/{made['id']}/pause", b"").json()
    assert "is paused" in paused["waiting_for"]
    assert "is paused" in api.get("/v1/batches").json()["data"][0]["waiting_for"]


@pytest.mark.django_db
def test_a_validating_batch_is_validated_and_then_waits(api, lane):
    stored = api.upload(lines(2)).json()
    made = api.post("/v1/batches", order(stored["id"])).json()
    paused = api.post(f"/v1/batches/{made['id']}/pause", b"").json()
    assert (paused["status"], paused["waiting_for"]) == ("validating", "validation")
    validate(made["id"])
    lane.answer()
    waiting = api.get(f"/v1/batches/{made['id']}").json()
    assert (waiting["status"], waiting["paused_at"]) == ("in_progress", paused["paused_at"])
    assert waiting["request_counts"]["completed"] == 0 and "paused" in waiting["waiting_for"]
    api.post(f"/v1/batches/{made['id']}/resume", b"")
    lane.answer()
    assert api.get(f"/v1/batches/{made['id']}").json()["status"] == "completed"


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["completed", "failed", "expired", "cancelling", "cancelled"])
@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_what_has_ended_or_is_about_to_is_a_409(api, lane, state, verb):
    made = api.make(lines(1))
    Batch.objects.update(state=state, cancelling_at=timezone.now())
    response = api.post(f"/v1/batches/{made['id']}/{verb}", b"")
    check_error(response, 409, None, None, f"Cannot {verb} a batch with status '{state}'.")
    assert response["x-should-retry"] == "false"
    assert not BatchEvent.objects.exclude(kind=EventKind.MOVED).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["pause", "resume", "retry"])
def test_a_foreign_batch_is_not_there(api, strange_api, lane, verb):
    made = api.make(lines(1))
    for batch_id in (made["id"], "batch_none", "a%00b"):
        response = strange_api.post(f"/v1/batches/{batch_id}/{verb}", b"")
        check_error(response, 404, None, "id", "No batch found")
    assert not BatchEvent.objects.exclude(kind=EventKind.MOVED).exists()


@pytest.mark.django_db
def test_a_paused_batch_is_cancelled_and_is_paused_no_more(api, lane):
    made = api.make(lines(2))
    lane.answer("line-1")
    api.post(f"/v1/batches/{made['id']}/pause", b"")
    Worker.objects.all().delete()
    cancelled = api.post(f"/v1/batches/{made['id']}/cancel", b"").json()
    assert (cancelled["status"], cancelled["paused_at"]) == ("cancelled", None)
    assert cancelled["request_counts"] == {"total": 2, "completed": 1, "failed": 1}


@pytest.mark.django_db
def test_its_time_runs_on(api, lane):
    made = api.make(lines(2))
    api.post(f"/v1/batches/{made['id']}/pause", b"")
    Batch.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    expired = api.get(f"/v1/batches/{made['id']}").json()
    assert (expired["status"], expired["paused_at"]) == ("expired", None)
    assert not settle_batch(batch_id=Batch.objects.get().pk)


@pytest.mark.django_db(transaction=True)
def test_resuming_rings_the_lanes(api, lane):
    made = api.make(lines(1))
    api.post(f"/v1/batches/{made['id']}/pause", b"")
    OrmQ.objects.all().delete()
    lane.lane.kicked_at = None
    lane.lane.save()
    api.post(f"/v1/batches/{made['id']}/resume", b"")
    assert OrmQ.objects.filter(key=lane.lane.queue).count() == 1


@pytest.mark.django_db
def test_a_lane_is_told_keeps_what_is_finished_and_gives_the_rest_back(api, lane, model):
    """What a lane does each second with the chunks that it holds."""
    made = api.make(lines(300))
    held = claim_chunks(lane_id=lane.lane.pk, model_id=model.pk, limit=2)
    first = lane.finished(held[0], read_open_lines(held[0])[:5])
    assert commit_responses(lane_id=lane.lane.pk, finished=[], held=held, done=[]).going_on
    api.post(f"/v1/batches/{made['id']}/pause", b"")
    told = commit_responses(lane_id=lane.lane.pk, finished=first, held=held, done=[])
    assert not told.going_on
    assert Batch.objects.get().completed == 5
    assert set(Chunk.objects.values_list("state", "lease_until")) == {("open", None)}
    # What was in flight may come in late: it is dropped, and computed again.
    late = lane.finished(held[0], read_open_lines(held[0])[:5])
    commit_responses(lane_id=lane.lane.pk, finished=late, held=held, done=[])
    assert Batch.objects.get().completed == 5
    assert not claim_chunks(lane_id=lane.lane.pk, model_id=model.pk, limit=9)
    api.post(f"/v1/batches/{made['id']}/resume", b"")
    # No lease has to run out before it goes on.
    assert len(claim_chunks(lane_id=lane.lane.pk, model_id=model.pk, limit=9)) == 3
