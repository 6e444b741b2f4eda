"""Malformed bodies and parameters of a create: each has its answer, and none does harm."""

from __future__ import annotations

import json

import pytest

from tests.api.checks import check_error, check_unharmed
from tests.api.conftest import order

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "must be a JSON object"),
        (b"{", 400, "not valid JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b'"text"', 400, "must be a JSON object"),
        (b"null", 400, "must be a JSON object"),
        (b"[" * 100_000, 400, "not valid JSON"),
        (b'{"a":' * 100_000, 400, "not valid JSON"),
        (b'{"priority": NaN}', 400, "not valid JSON"),
        (b'{"endpoint": "\xff"}', 400, "not valid JSON"),
        (b'{"endpoint": "\\ud800"}', 400, "not valid JSON"),
        (b'{"endpoint": "a\nb"}', 400, "not valid JSON"),
        (b"{} {}", 400, "not valid JSON"),
        (b'{"endpoint": "\\x"}', 400, "not valid JSON"),
        (b'{"endpoint": "%b"}' % (b"x" * 5_000_000), 413, "too large"),
    ],
    ids=lambda value: repr(value[:16]) if isinstance(value, bytes) else "",
)
def test_a_body_that_is_not_a_json_object(api, body, status, words):
    code = "request_too_large" if status == 413 else None
    check_error(api.post("/v1/batches", body), status, code, None, words)
    check_unharmed(api)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_a_body_of_another_kind_is_415(api, content_type):
    response = api.http.post(
        "/v1/batches",
        json.dumps(order("file-x")),
        content_type=content_type,
        headers=api.member.headers(),
    )
    check_error(response, 415, None, None)
    check_unharmed(api)


EXPIRES = "output_expires_after"
ORDERS = [
    ({"input_file_id": None}, "missing_required_parameter", "input_file_id"),
    ({"endpoint": None}, "missing_required_parameter", "endpoint"),
    ({"completion_window": None}, "missing_required_parameter", "completion_window"),
    ({"input_file_id": 7}, "invalid_type", "input_file_id"),
    ({"input_file_id": ["file-x"]}, "invalid_type", "input_file_id"),
    ({"input_file_id": ""}, "empty_string", "input_file_id"),
    ({"input_file_id": "f" * 65}, "string_above_max_length", "input_file_id"),
    ({"input_file_id": "file-\0"}, "invalid_value", "input_file_id"),
    ({"endpoint": "/v1/none"}, "invalid_value", "endpoint"),
    ({"endpoint": "/v1/chat/completions/"}, "invalid_value", "endpoint"),
    ({"endpoint": "v1/embeddings"}, "invalid_value", "endpoint"),
    ({"endpoint": {}}, "invalid_type", "endpoint"),
    ({"endpoint": "x" * 20_000}, "string_above_max_length", "endpoint"),
    ({"completion_window": "48h"}, "invalid_value", "completion_window"),
    ({"completion_window": 24}, "invalid_type", "completion_window"),
    ({"metadata": "text"}, "invalid_type", "metadata"),
    ({"metadata": ["a"]}, "invalid_type", "metadata"),
    ({"metadata": {"n": 1}}, "invalid_type", "metadata.n"),
    ({"metadata": {"n": None}}, "invalid_type", "metadata.n"),
    ({"metadata": {"n": {"a": "b"}}}, "invalid_type", "metadata.n"),
    ({"metadata": {"n": "x" * 513}}, "string_above_max_length", "metadata.n"),
    ({"metadata": {"n": "a\0b"}}, "invalid_value", "metadata.n"),
    ({"metadata": {"k" * 65: "x"}}, "invalid_value", "metadata"),
    ({"metadata": {"k\0": "x"}}, "invalid_value", "metadata"),
    (
        {"metadata": {f"k{n}": "x" for n in range(17)}},
        "object_above_max_properties",
        "metadata",
    ),
    ({EXPIRES: 3_600}, "invalid_type", EXPIRES),
    ({EXPIRES: {}}, "missing_required_parameter", f"{EXPIRES}.anchor"),
    ({EXPIRES: {"anchor": "created_at"}}, "missing_required_parameter", f"{EXPIRES}.seconds"),
    ({EXPIRES: {"anchor": "now", "seconds": 3_600}}, "invalid_value", f"{EXPIRES}.anchor"),
    (
        {EXPIRES: {"anchor": "created_at", "seconds": 60}},
        "integer_below_min_value",
        f"{EXPIRES}.seconds",
    ),
    (
        {EXPIRES: {"anchor": "created_at", "seconds": 10**30}},
        "integer_above_max_value",
        f"{EXPIRES}.seconds",
    ),
    (
        {EXPIRES: {"anchor": "created_at", "seconds": 3600.5}},
        "invalid_type",
        f"{EXPIRES}.seconds",
    ),
    (
        {EXPIRES: {"anchor": "created_at", "seconds": 3_600, "more": 1}},
        "unknown_parameter",
        f"{EXPIRES}.more",
    ),
    ({"priority": 2}, "integer_above_max_value", "priority"),
    ({"priority": -2}, "integer_below_min_value", "priority"),
    ({"priority": "1"}, "invalid_type", "priority"),
    ({"priority": True}, "invalid_type", "priority"),
    ({"priority": 0.5}, "invalid_type", "priority"),
    ({"webhook_url": "ftp://host/x"}, "invalid_value", "webhook_url"),
    ({"webhook_url": "not an address"}, "invalid_value", "webhook_url"),
    ({"webhook_url": "http://"}, "invalid_value", "webhook_url"),
    ({"webhook_url": "http://[::1"}, "invalid_value", "webhook_url"),
    ({"webhook_url": "http://host:99999/"}, "invalid_value", "webhook_url"),
    ({"webhook_url": "https://h/" + "x" * 2_000}, "string_above_max_length", "webhook_url"),
    ({"webhook_url": 5}, "invalid_type", "webhook_url"),
    ({"idempotency_key": 5}, "invalid_type", "idempotency_key"),
    ({"idempotency_key": ""}, "empty_string", "idempotency_key"),
    (
        {"endpoint": "/v1/chat/completions", "priority": 10**400},
        "integer_above_max_value",
        "priority",
    ),
    ({"prority": 1}, "unknown_parameter", "prority"),
]


@pytest.mark.parametrize(("changes", "code", "param"), ORDERS)
def test_a_create_with_a_bad_parameter_is_400(api, changes, code, param):
    response = api.post("/v1/batches", order("file-x", **changes))
    check_error(response, 400, code, param)
    assert api.get("/v1/batches").json()["data"] == []
    check_unharmed(api)


def test_a_number_of_ten_thousand_digits_is_no_harm(api):
    body = json.dumps(order("file-x"))[:-1] + f', "priority": {"9" * 10_000}}}'
    response = api.post("/v1/batches", body.encode())
    assert response.status_code == 400, response.content
    check_unharmed(api)


def test_the_words_of_the_contract(api):
    answer = api.post("/v1/batches", order("file-x", endpoint="/v1/none"))
    check_error(answer, 400, "invalid_value", "endpoint", "'/v1/none'", "'/v1/responses'")
    answer = api.post("/v1/batches", order("file-x", completion_window="1h"))
    check_error(answer, 400, "invalid_value", "completion_window", "completion_window", "'24h'")
