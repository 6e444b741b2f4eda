"""`request_order` and `reuse_answers` of a create, and what a batch says of them."""

from __future__ import annotations

import hashlib
import json

import pytest

from jobs.models import Batch, BatchRequest
from jobs.services.batches import BatchOrder
from tests.api.checks import check_error
from tests.api.conftest import MODEL, lines, order, validate

pytestmark = pytest.mark.django_db

PLAIN = BatchOrder(
    endpoint="/v1/chat/completions", completion_window="24h", input_file_id="file-x", priority=1
)


def test_by_default_order_and_reuse_are_as_the_operator_has_it(api, settings):
    made = api.post("/v1/batches", order("file-x")).json()
    assert (made["request_order"], made["reuse_answers"]) == ("auto", True)
    assert made["savings"] == {"requests": 0, "input_tokens": 0, "output_tokens": 0}
    settings.REUSE_ANSWERS = False
    assert api.post("/v1/batches", order("file-x")).json()["reuse_answers"] is False


@pytest.mark.parametrize("name", ["auto", "file"])
@pytest.mark.parametrize("reuse", [True, False])
def test_what_is_asked_for_is_shown(api, name, reuse):
    asked = order("file-x", request_order=name, reuse_answers=reuse)
    made = api.post("/v1/batches", asked).json()
    shown = api.get(f"/v1/batches/{made['id']}").json()
    assert (shown["request_order"], shown["reuse_answers"]) == (name, reuse)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"request_order": "random"}, "invalid_value"),
        ({"request_order": ""}, "empty_string"),
        ({"request_order": True}, "invalid_type"),
        ({"reuse_answers": "yes"}, "invalid_type"),
        ({"reuse_answers": 1}, "invalid_type"),
    ],
)
def test_what_cannot_be_meant_is_refused(api, fields, code):
    response = api.post("/v1/batches", order("file-x", **fields))
    check_error(response, 400, code=code, param=next(iter(fields)))
    assert not Batch.objects.exists()


def test_null_is_the_default(api):
    asked = {**order("file-x"), "request_order": None, "reuse_answers": None}
    made = api.post("/v1/batches", asked).json()
    assert (made["request_order"], made["reuse_answers"]) == ("auto", True)


def test_lines_have_digests_only_where_the_batch_takes_known_answers(api):
    embed = [{"model": MODEL, "input": "text"}]
    content = b"".join(
        json.dumps(
            {"custom_id": "e", "method": "POST", "url": "/v1/embeddings", "body": body}
        ).encode()
        for body in embed
    )
    for reuse in (True, False):
        api.make(content, endpoint="/v1/embeddings", reuse_answers=reuse)
    digests = BatchRequest.objects.order_by("batch").values_list("body_sha256", flat=True)
    assert [digest is not None for digest in digests] == [True, False]


def test_savings_are_shown_apart_from_usage(api, lane):
    made = api.make(lines(2))
    Batch.objects.update(completed=1, reused=1, reused_input_tokens=10, reused_output_tokens=4)
    shown = api.get(f"/v1/batches/{made['id']}").json()
    assert shown["savings"] == {"requests": 1, "input_tokens": 10, "output_tokens": 4}


def test_an_order_that_names_neither_is_the_same_as_before_there_were_these_fields():
    fields = {
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "input_file_id": "file-x",
        "metadata": None,
        "priority": 1,
        "webhook_url": "",
        "output_expires_after_s": None,
    }
    before = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).digest()
    assert PLAIN.digest() == before


@pytest.mark.parametrize("fields", [{"request_order": "file"}, {"reuse_answers": False}])
def test_a_key_that_was_used_for_another_choice_is_refused(api, fields):
    stored = api.upload(lines(1)).json()
    first = order(stored["id"], idempotency_key="k")
    made = api.post("/v1/batches", first).json()
    assert api.post("/v1/batches", first).json()["id"] == made["id"]
    response = api.post("/v1/batches", {**first, **fields})
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "idempotency_key_in_use"


def test_a_retry_carries_both(api, lane):
    made = api.make(lines(2), request_order="file", reuse_answers=False)
    lane.answer(failing=["line-0"])
    retried = api.post(f"/v1/batches/{made['id']}/retry", b"").json()
    assert (retried["request_order"], retried["reuse_answers"]) == ("file", False)
    validate(retried["id"])
