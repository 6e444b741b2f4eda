"""The official client, unpatched, through the life of a batch."""

from __future__ import annotations

import io
import json

import openai
import pytest
from django.db import transaction

from jobs.services.batches import BatchOrder, create_batch
from tests.api.conftest import MODEL, lines, validate

pytestmark = pytest.mark.django_db(transaction=True)


def create(client: openai.OpenAI, content: bytes, **fields):
    stored = client.files.create(file=("in.jsonl", io.BytesIO(content)), purpose="batch")
    return client.batches.create(
        input_file_id=stored.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        **fields,
    )


def test_a_batch_from_upload_to_delete(connect, owner, lane):
    client = connect(owner)
    content = lines(6)
    stored = client.files.create(file=("in.jsonl", io.BytesIO(content)), purpose="batch")
    assert stored.id.startswith("file-")
    assert (stored.object, stored.status, stored.purpose) == ("file", "processed", "batch")
    assert (stored.filename, stored.bytes) == ("in.jsonl", len(content))
    assert stored.expires_at == pytest.approx(stored.created_at + 30 * 86_400, abs=2)
    assert client.files.retrieve(stored.id) == stored
    assert client.files.content(stored.id).read() == content

    batch = client.batches.create(
        input_file_id=stored.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"for": "a test"},
    )
    assert batch.id.startswith("batch_")
    assert (batch.object, batch.status, batch.metadata) == (
        "batch",
        "validating",
        {"for": "a test"},
    )
    assert batch.input_file_id == stored.id
    assert batch.expires_at == batch.created_at + 86_400
    assert (batch.output_file_id, batch.error_file_id, batch.errors) == (None, None, None)

    validate(batch.id)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.model) == ("in_progress", MODEL)
    assert batch.request_counts.to_dict() == {"total": 6, "completed": 0, "failed": 0}

    # It should give what is finished while the rest is still at work.
    lane.answer("line-3", "line-1")
    batch = client.batches.retrieve(batch.id)
    assert batch.request_counts.completed == 2
    part = client.files.content(batch.output_file_id)
    assert [json.loads(one)["custom_id"] for one in part.iter_lines()] == ["line-3", "line-1"]
    assert part.response.headers["x-vbatch-batch-status"] == "in_progress"

    lane.answer(failing=["line-4"])
    batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed"
    assert batch.request_counts.to_dict() == {"total": 6, "completed": 5, "failed": 1}
    assert batch.usage.to_dict() == {
        "input_tokens": 50,
        "input_tokens_details": {"cached_tokens": 40},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 70,
    }
    assert batch.in_progress_at <= batch.finalizing_at <= batch.completed_at

    # Ended, the same file is complete and in the order of the input.
    output = client.files.content(batch.output_file_id).text
    shown = [json.loads(one) for one in output.splitlines()]
    assert [one["custom_id"] for one in shown] == [f"line-{n}" for n in (0, 1, 2, 3, 5)]
    answer = shown[0]
    assert answer["response"]["status_code"] == 200
    assert answer["response"]["body"]["choices"][0]["message"]["content"] == "to line-0"
    assert answer["error"] is None
    assert client.files.retrieve(batch.output_file_id).bytes == len(output.encode())
    errors = json.loads(client.files.content(batch.error_file_id).text)
    assert errors["custom_id"] == "line-4"
    assert errors["response"] is None
    assert errors["error"] == {"code": "request_timeout", "message": "It took too long."}

    deleted = client.files.delete(stored.id)
    assert (deleted.id, deleted.deleted) == (stored.id, True)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(stored.id)


def test_auto_paging_reaches_each_of_150_batches_once_while_more_are_made(connect, owner):
    client = connect(owner)
    stored = client.files.create(file=("in.jsonl", io.BytesIO(lines(1))), purpose="batch")

    def make() -> str:
        # The service itself is quicker than 150 calls; the late ones come through the door.
        wanted = BatchOrder(
            endpoint="/v1/chat/completions", completion_window="24h", input_file_id=stored.id
        )
        return create_batch(project=owner.project, order=wanted).public_id

    def make_late() -> str:
        return client.batches.create(
            input_file_id=stored.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
        ).id

    with transaction.atomic():
        made = [make() for _ in range(150)]
    late: list[str] = []
    seen: list[str] = []
    for batch in client.batches.list(limit=20):
        seen.append(batch.id)
        if len(seen) % 10 == 0:
            late.append(make_late())
    assert seen == list(reversed(made))
    assert len(late) == 15
    assert [one.id for one in client.batches.list(limit=100)] == list(reversed(made + late))


def test_auto_paging_over_files_survives_the_deletion_of_the_last_one_seen(connect, owner):
    client = connect(owner)
    made = [
        client.files.create(file=("in.jsonl", io.BytesIO(lines(1))), purpose="batch").id
        for _ in range(7)
    ]
    seen = []
    for stored in client.files.list(limit=3, order="asc"):
        seen.append(stored.id)
        client.files.delete(stored.id)
    assert seen == made


def test_cancel_keeps_what_is_finished(connect, owner, lane):
    client = connect(owner)
    batch = create(client, lines(4))
    validate(batch.id)
    lane.answer("line-2")
    cancelled = client.batches.cancel(batch.id)
    assert cancelled.status == "cancelling"
    assert client.batches.cancel(batch.id).status == "cancelling"


def test_cancel_settles_at_once_when_no_worker_is_alive(connect, owner, lane):
    client = connect(owner)
    batch = create(client, lines(4))
    validate(batch.id)
    lane.answer("line-2")
    type(lane.lane.worker).objects.all().delete()
    cancelled = client.batches.cancel(batch.id)
    assert cancelled.status == "cancelled"
    assert cancelled.request_counts.to_dict() == {"total": 4, "completed": 1, "failed": 3}
    kept = client.files.content(cancelled.output_file_id).text
    assert json.loads(kept)["custom_id"] == "line-2"
    rest = [json.loads(x) for x in client.files.content(cancelled.error_file_id).iter_lines()]
    assert [one["custom_id"] for one in rest] == ["line-0", "line-1", "line-3"]
    assert {one["error"]["code"] for one in rest} == {"batch_cancelled"}
    assert client.batches.cancel(batch.id).status == "cancelled"


def test_errors_come_as_the_clients_own_exceptions(connect, owner, lane):
    client = connect(owner)
    with pytest.raises(openai.AuthenticationError) as unknown:
        client.with_options(api_key="nobody.knows-this-key").models.list()
    assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as missing:
        client.batches.retrieve("batch_none")
    assert "No batch found with id 'batch_none'" in missing.value.message
    with pytest.raises(openai.BadRequestError) as wrong:
        client.batches.create(input_file_id="file-x", endpoint="/v1/none", completion_window="24h")
    assert (wrong.value.code, wrong.value.param) == ("invalid_value", "endpoint")
    assert "'/v1/none'" in wrong.value.message and "/v1/embeddings" in wrong.value.message
    batch = create(client, lines(1))
    validate(batch.id)
    lane.answer()
    with pytest.raises(openai.ConflictError) as ended:
        client.batches.cancel(batch.id)
    assert "Cannot cancel a batch with status 'completed'" in ended.value.message
    assert ended.value.code is None
    # The client would otherwise try twice more.
    assert ended.value.response.headers["x-should-retry"] == "false"
    assert ended.value.request_id.startswith("req_")


def test_an_input_file_that_does_not_exist_fails_the_batch(connect, owner):
    client = connect(owner)
    batch = client.batches.create(
        input_file_id="file-none", endpoint="/v1/chat/completions", completion_window="24h"
    )
    validate(batch.id)
    batch = client.batches.retrieve(batch.id)
    assert batch.status == "failed"
    assert batch.errors.data[0].code == "invalid_request"
    assert batch.errors.data[0].message == "Cannot find file file-none."


def test_models(connect, owner):
    client = connect(owner)
    assert [one.id for one in client.models.list()] == [MODEL, "small-lora"]
    found = client.models.retrieve(MODEL)
    assert (found.object, found.owned_by) == ("model", "vbatch")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("org/none")


def test_a_model_whose_name_has_a_slash_is_found(connect, owner, model):
    model.name = "org/small"
    model.save()
    assert connect(owner).models.retrieve("org/small").id == "org/small"
