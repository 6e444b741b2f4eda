"""Reading files: uploads as they came, and results from their first line on."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from jobs.models import Batch, BatchResponse, StoredFile, Worker
from jobs.services import files as file_services
from tests.api.conftest import chat_answer, lines, order, validate

pytestmark = pytest.mark.django_db


def content(api, file_id: str, **query: object):
    response = api.get(f"/v1/files/{file_id}/content", query)
    assert response.status_code == 200, response.content
    return response, b"".join(response.streaming_content)


def names(body: bytes) -> list[str]:
    return [json.loads(one)["custom_id"] for one in body.splitlines()]


def batch_of(api, batch: dict) -> dict:
    return api.get(f"/v1/batches/{batch['id']}").json()


def test_an_upload_comes_back_to_the_byte(api):
    raw = bytes(range(256)) * 5_000
    stored = api.upload(raw, name="data.bin", purpose="user_data").json()
    response, body = content(api, stored["id"])
    assert body == raw
    assert response["Content-Length"] == str(len(raw)) == str(stored["bytes"])
    assert "x-vbatch-next-after" not in response


def test_a_client_follows_a_live_batch_by_its_cursor(api, lane):
    batch = api.make(lines(6))
    assert batch["output_file_id"] is None and batch["error_file_id"] is None
    lane.answer("line-4", "line-2", failing=["line-2"])
    batch = batch_of(api, batch)
    response, body = content(api, batch["output_file_id"])
    assert names(body) == ["line-4"]
    assert "Content-Length" not in response
    assert response["x-vbatch-batch-status"] == "in_progress"
    after = response["x-vbatch-next-after"]
    # Nothing new: nothing comes, and the cursor stays.
    response, body = content(api, batch["output_file_id"], after=after)
    assert (body, response["x-vbatch-next-after"]) == (b"", after)
    _, body = content(api, batch["error_file_id"])
    assert names(body) == ["line-2"]

    lane.answer("line-5", "line-0")
    response, body = content(api, batch["output_file_id"], after=after)
    assert names(body) == ["line-5", "line-0"]
    after = response["x-vbatch-next-after"]
    # The batch ends between two looks: the cursor still misses nothing and repeats nothing.
    lane.answer()
    response, body = content(api, batch["output_file_id"], after=after)
    assert sorted(names(body)) == ["line-1", "line-3"]
    assert response["x-vbatch-batch-status"] == "completed"
    # Without a cursor it is whole, and in the order of the input.
    response, body = content(api, batch["output_file_id"])
    assert names(body) == ["line-0", "line-1", "line-3", "line-4", "line-5"]
    assert "x-vbatch-next-after" not in response


def test_sizes_and_counts_agree_with_the_content_at_any_time(api, lane):
    batch = api.make(lines(9))
    for wanted, failing in ((["line-1", "line-7"], ["line-7"]), (["line-3"], []), ([], ["line-0"])):
        lane.answer(*wanted, failing=failing)
        batch = batch_of(api, batch)
        found = 0
        for key, count in (("output_file_id", "completed"), ("error_file_id", "failed")):
            _, body = content(api, batch[key])
            size = api.get(f"/v1/files/{batch[key]}").json()["bytes"]
            assert len(body) == size
            assert len(body.splitlines()) == batch["request_counts"][count]
            found += len(body.splitlines())
        assert found == BatchResponse.objects.count()
    assert batch["status"] == "completed"
    response, body = content(api, batch["output_file_id"])
    assert response["Content-Length"] == str(len(body))


def test_content_spans_many_pages(api, lane, monkeypatch):
    monkeypatch.setattr(file_services, "PAGE_ROWS", 3)
    batch = api.make(lines(10))
    lane.answer(*[f"line-{n}" for n in (9, 8, 7, 6, 5, 4, 3)])
    _, body = content(api, batch_of(api, batch)["output_file_id"])
    assert names(body) == [f"line-{n}" for n in (9, 8, 7, 6, 5, 4, 3)]
    lane.answer()
    _, body = content(api, batch_of(api, batch)["output_file_id"])
    assert names(body) == [f"line-{n}" for n in range(10)]


def test_a_batch_in_which_every_line_failed_is_completed_without_output(api, lane):
    batch = api.make(lines(3))
    lane.answer(failing=["line-0", "line-1", "line-2"])
    batch = batch_of(api, batch)
    assert (batch["status"], batch["output_file_id"]) == ("completed", None)
    _, body = content(api, batch["error_file_id"])
    assert names(body) == ["line-0", "line-1", "line-2"]


def test_the_answer_of_the_engine_stands_untouched_in_the_line(api, lane):
    batch = api.make(lines(1))
    lane.answer()
    _, body = content(api, batch_of(api, batch)["output_file_id"])
    assert chat_answer("to line-0") in body
    shown = json.loads(body)
    assert set(shown) == {"id", "custom_id", "response", "error"}
    assert shown["id"].startswith("batch_req_")
    assert set(shown["response"]) == {"status_code", "request_id", "body"}


def test_any_client_may_read_content_whatever_it_accepts(api):
    stored = api.upload(lines(1)).json()
    path = f"/v1/files/{stored['id']}/content"
    assert api.get(path, Accept="application/binary").status_code == 200


def test_a_live_batch_that_expired_settles_when_it_is_looked_at(api, lane):
    batch = api.make(lines(4))
    lane.answer("line-1")
    Batch.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    batch = batch_of(api, batch)
    assert batch["status"] == "expired"
    assert batch["request_counts"] == {"total": 4, "completed": 1, "failed": 3}
    _, body = content(api, batch["error_file_id"])
    assert names(body) == ["line-0", "line-2", "line-3"]
    assert {json.loads(one)["error"]["code"] for one in body.splitlines()} == {"batch_expired"}
    assert api.get(f"/v1/files/{batch['error_file_id']}").json()["bytes"] == len(body)
    assert api.post(f"/v1/batches/{batch['id']}/cancel").status_code == 409


def test_a_cancelled_batch_settles_when_it_is_looked_at_though_its_worker_died(api, lane):
    batch = api.make(lines(4))
    lane.answer("line-1")
    assert api.post(f"/v1/batches/{batch['id']}/cancel").json()["status"] == "cancelling"
    Worker.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    Batch.objects.update(cancelling_at=timezone.now() - timedelta(seconds=4))
    found = api.get("/v1/batches").json()["data"][0]
    assert (found["status"], found["request_counts"]["failed"]) == ("cancelled", 3)
    assert found["cancelled_at"] >= found["created_at"]


def test_a_batch_that_expires_while_it_is_validated_fails(api):
    stored = api.upload(lines(1)).json()
    made = api.post("/v1/batches", order(stored["id"])).json()
    Batch.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    batch = batch_of(api, made)
    assert batch["status"] == "failed"
    assert batch["errors"]["data"][0]["code"] == "batch_expired"


@pytest.mark.django_db(transaction=True)
def test_the_bytes_of_a_deleted_file_go(api):
    stored = api.upload(lines(1)).json()
    path = StoredFile.objects.get().paths[0]
    assert default_storage.exists(path)
    api.delete(f"/v1/files/{stored['id']}")
    assert not default_storage.exists(path)


@pytest.mark.django_db(transaction=True)
def test_the_bytes_of_an_input_deleted_too_early_go_once_they_were_read(api):
    stored = api.upload(lines(2)).json()
    made = api.post("/v1/batches", order(stored["id"])).json()
    path = StoredFile.objects.get().paths[0]
    api.delete(f"/v1/files/{stored['id']}")
    assert default_storage.exists(path)
    validate(made["id"])
    assert batch_of(api, made)["status"] == "in_progress"
    assert not default_storage.exists(path)


def test_the_result_files_of_a_batch_that_is_gone_are_gone(api, lane):
    batch = api.make(lines(1))
    lane.answer()
    file_id = batch_of(api, batch)["output_file_id"]
    Batch.objects.all().delete()
    assert api.get(f"/v1/files/{file_id}").status_code == 404
    assert [one["purpose"] for one in api.get("/v1/files").json()["data"]] == ["batch"]
