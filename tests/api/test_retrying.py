"""Taking up the lines of an ended batch that have no good answer."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import openai
import pytest
from django.db import connections
from django.utils import timezone
from openai.types import Batch as BatchObject

from jobs.models import AuditEntry, Batch, BatchRequest, Chunk, ServedModel, StoredFile
from tests.api.checks import check_error
from tests.api.conftest import Api, line, lines, order, validate

REPEAT = {"x-stainless-retry-count": "1"}


def retry(api: Api, batch_id: str, body: object = None, **headers: str):
    raw = b"" if body is None else body
    return api.post(f"/v1/batches/{batch_id}/retry", raw, **headers)


@pytest.fixture
def partly(api, lane) -> dict:
    """A completed batch of six lines, two of which failed; there are blank lines between."""
    content = b"".join(line(f"line-{n}") + b"\n\n" for n in range(6))
    made = api.make(
        content,
        metadata={"for": "a test"},
        priority=1,
        webhook_url="https://hooks.example/x",
        output_expires_after={"anchor": "created_at", "seconds": 7_200},
    )
    lane.answer(failing=["line-4", "line-1"])
    return api.get(f"/v1/batches/{made['id']}").json()


def content(api: Api, file_id: str) -> list[dict]:
    text = api.get(f"/v1/files/{file_id}/content").getvalue().decode()
    return [json.loads(one) for one in text.splitlines()]


@pytest.mark.django_db(transaction=True)
def test_retry_with_the_openai_client(connect, owner, partly, lane):
    client = connect(owner)
    made = client.post(f"/batches/{partly['id']}/retry", cast_to=BatchObject)
    assert (made.status, made.parent_batch_id) == ("in_progress", partly["id"])
    assert made.request_counts.to_dict() == {"total": 2, "completed": 0, "failed": 0}
    lane.answer()
    ended = client.batches.retrieve(made.id)
    assert (ended.status, ended.usage.total_tokens) == ("completed", 28)
    output = client.files.content(ended.output_file_id).text
    shown = [json.loads(one) for one in output.splitlines()]
    assert [one["custom_id"] for one in shown] == ["line-1", "line-4"]
    assert client.files.retrieve(ended.output_file_id).bytes == len(output.encode())
    with pytest.raises(openai.BadRequestError) as nothing:
        client.post(f"/batches/{made.id}/retry", cast_to=BatchObject)
    assert nothing.value.code == "nothing_to_retry"
    assert f"every line of batch '{made.id}' was answered" in nothing.value.message


@pytest.mark.django_db
def test_all_is_as_it_was_but_for_the_time(api, partly):
    Batch.objects.update(created_at=timezone.now() - timedelta(days=9))
    made = retry(api, partly["id"]).json()
    for name in (
        "endpoint",
        "model",
        "input_file_id",
        "completion_window",
        "metadata",
        "priority",
        "webhook_url",
    ):
        assert made[name] == partly[name]
    assert made["created_at"] == pytest.approx(timezone.now().timestamp(), abs=5)
    assert made["expires_at"] == made["created_at"] + 86_400
    row = Batch.objects.get(public_id=made["id"])
    assert row.output_expires_after_s == 7_200
    assert row.input_file == StoredFile.objects.get(public_id=partly["input_file_id"])
    assert [(e.old_state, e.new_state) for e in row.events.order_by("pk")] == [
        ("", "validating"),
        ("validating", "in_progress"),
    ]


@pytest.mark.django_db
def test_lines_keep_their_numbers_and_bodies_and_are_counted_anew(api, partly):
    made = retry(api, partly["id"]).json()
    old = BatchRequest.objects.filter(batch__public_id=partly["id"], position__in=(1, 4))
    new = BatchRequest.objects.filter(batch__public_id=made["id"]).order_by("position")
    fields = ("line", "custom_id", "prompt_text")
    assert list(new.values_list(*fields)) == list(old.order_by("pk").values_list(*fields))
    assert list(new.values_list("line", "position")) == [(3, 0), (9, 1)]
    assert [bytes(one.body) for one in new] == [bytes(one.body) for one in old.order_by("pk")]
    assert [bytes(one.prompt_sha256) for one in new] == [
        bytes(one.prompt_sha256) for one in old.order_by("pk")
    ]


@pytest.mark.django_db
def test_the_input_file_may_be_gone(api, partly, lane):
    assert api.delete(f"/v1/files/{partly['input_file_id']}").json()["deleted"]
    made = retry(api, partly["id"]).json()
    assert (made["status"], made["input_file_id"]) == ("in_progress", partly["input_file_id"])
    lane.answer()
    assert api.get(f"/v1/batches/{made['id']}").json()["status"] == "completed"


@pytest.mark.django_db
def test_its_lines_are_cut_into_chunks_like_any_others(api, lane):
    made = api.make(lines(700))
    lane.answer(failing=[f"line-{n}" for n in range(0, 700, 2)])
    again = retry(api, made["id"]).json()
    chunks = Chunk.objects.filter(batch__public_id=again["id"]).order_by("first_position")
    assert list(chunks.values_list("first_position", "last_position")) == [
        (0, 127),
        (128, 255),
        (256, 349),
    ]
    lane.answer()
    ended = api.get(f"/v1/batches/{again['id']}").json()
    assert ended["request_counts"] == {"total": 350, "completed": 350, "failed": 0}
    shown = content(api, ended["output_file_id"])
    assert [one["custom_id"] for one in shown] == [f"line-{n}" for n in range(0, 700, 2)]
    assert len({one["id"] for one in shown}) == 350


@pytest.mark.django_db
def test_what_expired_or_was_cancelled_is_taken_up(api, lane):
    cancelled = api.make(lines(3))
    lane.answer("line-1")
    lane.lane.worker.delete()
    assert api.post(f"/v1/batches/{cancelled['id']}/cancel", b"").json()["status"] == "cancelled"
    expired = api.make(lines(2))
    Batch.objects.filter(state="in_progress").update(expires_at=timezone.now())
    assert api.get(f"/v1/batches/{expired['id']}").json()["status"] == "expired"
    counts = [retry(api, one["id"]).json()["request_counts"] for one in (cancelled, expired)]
    assert [one["total"] for one in counts] == [2, 2]


@pytest.mark.django_db
def test_a_retry_is_retried(api, partly, lane):
    first = retry(api, partly["id"]).json()
    lane.answer(failing=["line-4"])
    second = retry(api, first["id"]).json()
    assert (second["parent_batch_id"], second["request_counts"]["total"]) == (first["id"], 1)
    assert BatchRequest.objects.get(batch__public_id=second["id"]).line == 9


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["validating", "in_progress", "finalizing", "cancelling"])
def test_a_live_batch_is_a_409(api, lane, state):
    made = api.make(lines(1))
    Batch.objects.update(state=state, cancelling_at=timezone.now())
    response = retry(api, made["id"])
    check_error(response, 409, None, None, f"Cannot retry a batch with status '{state}'.")
    assert response["x-should-retry"] == "false"
    assert Batch.objects.count() == 1


@pytest.mark.django_db
def test_a_batch_whose_input_was_refused_is_a_409_that_says_what_to_do(api, lane):
    failed = api.make(b"{\n")
    assert failed["status"] == "failed"
    response = retry(api, failed["id"])
    check_error(response, 409, None, None, "'failed'", "Upload a corrected file")
    assert response["x-should-retry"] == "false"


@pytest.mark.django_db
def test_a_batch_that_was_never_read_is_a_409(api, lane):
    lane.lane.worker.delete()
    made = api.post("/v1/batches", order("file-x")).json()
    api.post(f"/v1/batches/{made['id']}/cancel", b"")
    check_error(retry(api, made["id"]), 409, None, None, "'cancelled'", "was never read")
    unread = api.post("/v1/batches", order("file-y")).json()
    Batch.objects.filter(public_id=unread["id"]).update(expires_at=timezone.now())
    check_error(retry(api, unread["id"]), 409, None, None, "'failed'", "was never read")


@pytest.mark.django_db
@pytest.mark.parametrize("gone", ["removed", "switched off"])
def test_a_model_that_is_not_served_any_more_is_a_400(api, partly, gone):
    if gone == "removed":
        ServedModel.objects.all().delete()
    else:
        ServedModel.objects.update(enabled=False)
    response = retry(api, partly["id"])
    check_error(response, 400, "model_not_found", "model", "'small' is not supported")
    assert Batch.objects.count() == 1


@pytest.mark.django_db
def test_an_endpoint_that_was_switched_off_is_a_400(api, partly):
    Batch.objects.update(endpoint="/v1/score")
    check_error(retry(api, partly["id"]), 400, "invalid_value", "endpoint", "/v1/score")


@pytest.mark.django_db
def test_metadata_and_priority_may_be_others(api, partly):
    made = retry(api, partly["id"], {"metadata": {"try": "2"}, "priority": -1}).json()
    assert (made["metadata"], made["priority"]) == ({"try": "2"}, -1)
    made = retry(api, partly["id"], {"metadata": {"priority": "0"}}).json()
    assert (made["metadata"], made["priority"]) == ({"priority": "0"}, 0)
    made = retry(api, partly["id"], {"metadata": {}, "priority": None}).json()
    assert (made["metadata"], made["priority"]) == ({}, 1)
    made = retry(api, partly["id"], {}).json()
    assert (made["metadata"], made["priority"]) == ({"for": "a test"}, 1)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"[]", None, None),
        (b"{", None, None),
        (b" ", None, None),
        ({"endpoint": "/v1/completions"}, "unknown_parameter", "endpoint"),
        ({"metadata": []}, "invalid_type", "metadata"),
        ({"metadata": {"a": 1}}, "invalid_type", "metadata.a"),
        ({"priority": 2}, "integer_above_max_value", "priority"),
        ({"priority": "1"}, "invalid_type", "priority"),
        ({"idempotency_key": ""}, "empty_string", "idempotency_key"),
    ],
)
def test_a_bad_body_is_a_400(api, partly, body, code, param):
    check_error(retry(api, partly["id"], body), 400, code, param)
    assert Batch.objects.count() == 1


@pytest.mark.django_db
def test_the_same_key_gives_the_same_batch(api, partly, lane):
    key = {"Idempotency-Key": "k"}
    first = retry(api, partly["id"], **key).json()
    assert retry(api, partly["id"], **key).json()["id"] == first["id"]
    assert retry(api, partly["id"], {"idempotency_key": "k"}).json()["id"] == first["id"]
    lane.answer()
    assert retry(api, partly["id"], **key).json()["status"] == "completed"
    for other in (
        retry(api, partly["id"], {"priority": 0}, **key),
        retry(api, first["id"], **key),
        api.post("/v1/batches", order("file-x"), **key),
    ):
        assert other.status_code == 409
        assert other["x-should-retry"] == "false"
        assert other.json()["error"]["type"] == "idempotency_error"
    assert Batch.objects.count() == 2


@pytest.mark.django_db
def test_what_the_client_sends_again_makes_no_second_batch(api, partly):
    first = retry(api, partly["id"]).json()
    assert retry(api, partly["id"], **REPEAT).json()["id"] == first["id"]
    assert retry(api, partly["id"], {"priority": 0}, **REPEAT).json()["id"] != first["id"]
    # And asking twice on purpose makes two.
    assert retry(api, partly["id"]).json()["id"] != first["id"]


@pytest.mark.django_db(transaction=True)
def test_two_at_the_same_time_with_one_key_make_one_batch(api, partly):
    barrier = Barrier(2)

    def send(_: int) -> str:
        barrier.wait(10)
        try:
            return retry(Api(api.member), partly["id"], **{"Idempotency-Key": "k"}).json()["id"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(send, range(2)))) == 1
    assert Batch.objects.count() == 2 and BatchRequest.objects.count() == 8


@pytest.mark.django_db
def test_it_is_noted_who_did_it(api, partly):
    made = retry(api, partly["id"]).json()
    deed = AuditEntry.objects.get(action="batch.retry")
    assert (deed.action, deed.target) == ("batch.retry", partly["id"])
    assert deed.details == {"made": made["id"], "lines": 2}
    refused = retry(api, made["id"])
    assert refused.status_code == 409
    assert AuditEntry.objects.filter(action="batch.retry").count() == 1


@pytest.mark.django_db
def test_the_first_batch_is_left_as_it_is(api, partly, lane):
    retry(api, partly["id"])
    lane.answer()
    assert api.get(f"/v1/batches/{partly['id']}").json() == partly
    # A paused batch can be retried only once it has ended, like any other.
    stored = api.upload(lines(1)).json()
    live = api.post("/v1/batches", order(stored["id"])).json()
    validate(live["id"])
    api.post(f"/v1/batches/{live['id']}/pause", b"")
    assert retry(api, live["id"]).status_code == 409
