"""Creating a batch: what is taken over, and once only where a client asks for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connections
from django_q.models import OrmQ

from jobs.models import Batch, BatchEvent
from tests.api.conftest import Api, lines, order, validate

REPEAT = {"x-stainless-retry-count": "1"}


@pytest.mark.django_db
def test_every_field_stands_on_the_batch(api):
    stored = api.upload(lines(1)).json()
    batch = api.post(
        "/v1/batches",
        order(
            stored["id"],
            metadata={"a": "b", "empty": "", "\u540d": "\u202e"},
            priority=-1,
            webhook_url="https://hooks.example:8443/x?y=1",
            output_expires_after={"anchor": "created_at", "seconds": 7_200},
        ),
    ).json()
    assert batch == api.get(f"/v1/batches/{batch['id']}").json()
    created_at = batch.pop("created_at")
    assert batch.pop("expires_at") == created_at + 86_400
    assert batch.pop("id").startswith("batch_")
    assert "none has ever run" in batch.pop("waiting_for")
    assert batch == {
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "model": None,
        "errors": None,
        "input_file_id": stored["id"],
        "completion_window": "24h",
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "in_progress_at": None,
        "finalizing_at": None,
        "completed_at": None,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        },
        "metadata": {"a": "b", "empty": "", "\u540d": "\u202e"},
        "savings": {"requests": 0, "input_tokens": 0, "output_tokens": 0},
        "priority": -1,
        "request_order": "auto",
        "reuse_answers": True,
        "paused_at": None,
        "parent_batch_id": None,
        "webhook_url": "https://hooks.example:8443/x?y=1",
    }


@pytest.mark.django_db
def test_output_expires_when_it_was_told_to(api, lane):
    batch = api.make(lines(1), output_expires_after={"anchor": "created_at", "seconds": 7_200})
    lane.answer()
    batch = api.get(f"/v1/batches/{batch['id']}").json()
    output = api.get(f"/v1/files/{batch['output_file_id']}").json()
    assert output["expires_at"] == pytest.approx(output["created_at"] + 7_200, abs=2)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("metadata", "priority", "url"),
    [
        ({"priority": "1"}, 1, None),
        ({"priority": "-1", "webhook_url": "http://h/x"}, -1, "http://h/x"),
        # A client's own use of the names is its own affair.
        ({"priority": "high", "webhook_url": "none"}, 0, None),
        ({}, 0, None),
    ],
)
def test_priority_and_webhook_through_metadata(api, metadata, priority, url):
    batch = api.post("/v1/batches", order("file-x", metadata=metadata)).json()
    assert (batch["priority"], batch["webhook_url"]) == (priority, url)
    assert batch["metadata"] == metadata


@pytest.mark.django_db
def test_a_field_of_its_own_goes_before_the_metadata(api):
    batch = api.post("/v1/batches", order("file-x", priority=0, metadata={"priority": "1"})).json()
    assert batch["priority"] == 0


@pytest.mark.django_db
def test_null_is_the_same_as_leaving_out(api):
    fields = dict.fromkeys(
        ("metadata", "priority", "webhook_url", "output_expires_after", "idempotency_key")
    )
    response = api.post("/v1/batches", {**order("file-x"), **fields})
    assert response.status_code == 200


@pytest.mark.django_db
def test_windows_and_endpoints_that_the_operator_switched_on(api, settings):
    settings.EXTRA_COMPLETION_WINDOWS = ["7d", "30m"]
    settings.EXTRA_ENDPOINTS = ["/v1/score"]
    batch = api.post("/v1/batches", order("f", completion_window="7d", endpoint="/v1/score")).json()
    assert batch["expires_at"] == batch["created_at"] + 7 * 86_400
    assert batch["endpoint"] == "/v1/score"


@pytest.mark.django_db
def test_the_same_key_gives_the_same_batch(api):
    first = api.post("/v1/batches", order("file-x"), **{"Idempotency-Key": "k1"})
    again = api.post("/v1/batches", order("file-x"), **{"Idempotency-Key": "k1"})
    in_body = api.post("/v1/batches", order("file-x", idempotency_key="k1"))
    other = api.post("/v1/batches", order("file-x"), **{"Idempotency-Key": "k2"})
    none = api.post("/v1/batches", order("file-x"))
    ids = [one.json()["id"] for one in (first, again, in_body, other, none)]
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids)) == 3
    assert OrmQ.objects.count() == 3
    assert BatchEvent.objects.count() == 3


@pytest.mark.django_db
def test_the_same_key_with_another_body_is_409(api):
    api.post("/v1/batches", order("file-x"), **{"Idempotency-Key": "k"})
    response = api.post("/v1/batches", order("file-y"), **{"Idempotency-Key": "k"})
    assert response.status_code == 409
    assert response["x-should-retry"] == "false"
    assert response.json()["error"]["type"] == "idempotency_error"
    assert Batch.objects.count() == 1


@pytest.mark.django_db
def test_a_header_and_a_field_that_differ_are_400(api):
    response = api.post(
        "/v1/batches", order("file-x", idempotency_key="a"), **{"Idempotency-Key": "b"}
    )
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "idempotency_key"


@pytest.mark.django_db
def test_a_create_that_the_client_sends_again_makes_no_second_batch(api, strange_api):
    first = api.post("/v1/batches", order("file-x")).json()
    again = api.post("/v1/batches", order("file-x"), **REPEAT).json()
    assert again["id"] == first["id"]
    # A repeat of something else, or by somebody else, is not the same.
    assert api.post("/v1/batches", order("file-y"), **REPEAT).json()["id"] != first["id"]
    assert strange_api.post("/v1/batches", order("file-x"), **REPEAT).json()["id"] != first["id"]
    # And asking twice on purpose makes two.
    assert api.post("/v1/batches", order("file-x")).json()["id"] != first["id"]


@pytest.mark.django_db
def test_a_repeat_long_afterwards_is_a_new_order(api):
    first = api.post("/v1/batches", order("file-x")).json()
    from datetime import timedelta

    from django.utils import timezone

    Batch.objects.update(created_at=timezone.now() - timedelta(hours=1))
    assert api.post("/v1/batches", order("file-x"), **REPEAT).json()["id"] != first["id"]


def _at_once(api: Api, count: int, **headers: str) -> set[str]:
    """Send the same create from several threads at the same moment; return the ids."""
    barrier = Barrier(count)

    def create(_: int) -> str:
        barrier.wait(10)
        try:
            response = Api(api.member).post("/v1/batches", order("file-x"), **headers)
            assert response.status_code == 200, response.content
            return response.json()["id"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return set(pool.map(create, range(count)))


@pytest.mark.django_db(transaction=True)
def test_two_creates_with_one_key_at_the_same_time_make_one_batch(api):
    for attempt in range(5):
        assert len(_at_once(api, 2, **{"Idempotency-Key": f"k{attempt}"})) == 1
    assert Batch.objects.count() == 5
    assert OrmQ.objects.count() == 5


@pytest.mark.django_db(transaction=True)
def test_repeats_at_the_same_time_make_one_batch(api):
    assert len(_at_once(api, 4, **REPEAT)) == 1
    assert Batch.objects.count() == 1


@pytest.mark.django_db
def test_deleting_the_input_does_not_disturb_a_batch_that_has_its_rows(api, lane):
    stored = api.upload(lines(2)).json()
    made = api.post("/v1/batches", order(stored["id"])).json()
    validate(made["id"])
    assert api.delete(f"/v1/files/{stored['id']}").json()["deleted"] is True
    lane.answer()
    assert api.get(f"/v1/batches/{made['id']}").json()["status"] == "completed"


@pytest.mark.django_db
def test_deleting_the_input_before_it_was_read_keeps_the_bytes_until_it_is(api):
    stored = api.upload(lines(2)).json()
    made = api.post("/v1/batches", order(stored["id"])).json()
    api.delete(f"/v1/files/{stored['id']}")
    validate(made["id"])
    assert api.get(f"/v1/batches/{made['id']}").json()["status"] == "in_progress"
