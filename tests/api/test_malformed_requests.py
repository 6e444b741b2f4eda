"""Malformed headers, addresses and queries: each has its answer, and none does harm."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.api.checks import check_error, check_unharmed
from tests.api.conftest import lines, order

pytestmark = pytest.mark.django_db


# --- Headers ---------------------------------------------------------------------------------
UNKNOWN_KEY = "abcdefgh.abcdefghijklmnopqrstuvwxyz"
HEADERS = {
    "no key": {},
    "an empty key": {"Authorization": ""},
    "a scheme without a key": {"Authorization": "Bearer"},
    "a scheme with blanks": {"Authorization": "Bearer    "},
    "another scheme": {"Authorization": "Basic dXNlcjpwYXNz"},
    "an unknown key": {"Authorization": f"Bearer {UNKNOWN_KEY}"},
    "a key without a dot": {"Authorization": "Bearer sk-none"},
    "a key with a NUL": {"Authorization": "Bearer abc\0def.ghi"},
    "a key that is very long": {"Authorization": f"Bearer {'x' * 6_000}"},
    "a key with letters beyond ASCII": {"Authorization": "Bearer schl\xfcssel"},
    "a key in two parts": {"Authorization": "Bearer one two"},
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
def test_a_bad_key_is_401(api, headers):
    for path in ("/v1/batches", "/v1/files", "/v1/models", "/v1/batches/batch_x"):
        response = Client(raise_request_exception=False).get(path, headers=headers)
        check_error(response, 401, "invalid_api_key", None)
        assert response["WWW-Authenticate"] == "Bearer"
    check_unharmed(api)


@pytest.mark.parametrize(
    ("headers", "status", "code", "param"),
    [
        ({"Accept": "text/html"}, 406, None, None),
        ({"Accept": "application/xml, text/plain;q=0.5"}, 406, None, None),
        ({"Idempotency-Key": "x" * 256}, 400, "string_above_max_length", "Idempotency-Key"),
        ({"Idempotency-Key": ""}, 400, "empty_string", "Idempotency-Key"),
    ],
    ids=["accepts HTML only", "accepts XML or text", "a key too long", "an empty key"],
)
def test_other_bad_headers(api, headers, status, code, param):
    check_error(api.post("/v1/batches", order("file-x"), **headers), status, code, param)
    check_unharmed(api)


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/*;q=0.1", ""])
def test_accepted_kinds_of_answer(api, accept):
    assert api.get("/v1/models", Accept=accept).status_code == 200


@pytest.mark.parametrize("count", ["x", "-1", "1.5", "9" * 30, ""])
def test_a_strange_retry_count_counts_for_none(api, count):
    first = api.post("/v1/batches", order("file-x")).json()
    again = api.post("/v1/batches", order("file-x"), **{"x-stainless-retry-count": count})
    assert again.status_code == 200
    assert again.json()["id"] != first["id"]


def test_a_host_name_that_is_not_allowed_is_answered_in_json(api):
    response = api.get("/v1/models", Host="evil.example")
    check_error(response, 400, None, None, "malformed")


# --- Addresses and methods ---------------------------------------------------------------------
@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/none",
        "/v1/batches/",
        "/v1/files/file-x/",
        "/v1/files/file-x/content/",
        "/v1/batches/batch_x/none",
        "/v1/%00",
        "/v1/line%0Abreak",
    ],
)
def test_an_unknown_address_is_404(api, path):
    check_error(api.get(path), 404, "unknown_url", None, "Invalid URL (GET ")
    assert Client().post(path).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/batches"),
        ("PATCH", "/v1/batches/batch_x"),
        ("DELETE", "/v1/batches"),
        ("DELETE", "/v1/files"),
        ("GET", "/v1/batches/batch_x/cancel"),
        ("POST", "/v1/models"),
        ("POST", "/v1/files/file-x/content"),
        ("OPTIONS", "/v1/files"),
        ("TRACE", "/v1/files"),
    ],
)
def test_a_method_that_is_not_there_is_405(api, method, path):
    response = api.http.generic(method, path, headers=api.member.headers())
    check_error(response, 405, "method_not_supported", None, method)
    assert response["Allow"]


@pytest.mark.parametrize(
    "bad_id", ["none", "batch_%00", "%F0%9F%98%80", "%ED%A0%80", "x" * 3_000, "1", "' OR 1=1 --"]
)
def test_an_id_that_nothing_has_is_404(api, bad_id):
    check_error(api.get(f"/v1/batches/{bad_id}"), 404, None, "id", "No batch found with id")
    check_error(api.post(f"/v1/batches/{bad_id}/cancel"), 404, None, "id", "No batch found")
    check_error(api.get(f"/v1/files/{bad_id}"), 404, None, "id", "No file found with id")
    check_error(api.get(f"/v1/files/{bad_id}/content"), 404, None, "id", "No file found")
    check_error(api.delete(f"/v1/files/{bad_id}"), 404, None, "id", "No file found")
    check_error(api.get(f"/v1/models/{bad_id}"), 404, "model_not_found", "model")
    check_unharmed(api)


# --- Queries -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "query", "status", "code", "param"),
    [
        ("batches", {"limit": "0"}, 400, "integer_below_min_value", "limit"),
        ("batches", {"limit": "-5"}, 400, "integer_below_min_value", "limit"),
        ("batches", {"limit": "101"}, 400, "integer_above_max_value", "limit"),
        ("batches", {"limit": "ten"}, 400, "invalid_type", "limit"),
        ("batches", {"limit": "1.5"}, 400, "invalid_type", "limit"),
        ("batches", {"limit": ""}, 400, "invalid_type", "limit"),
        ("batches", {"limit": "9" * 5_000}, 400, "invalid_type", "limit"),
        ("batches", {"limit": "\u0663"}, 400, "invalid_type", "limit"),
        ("batches", {"limit": ["1", "2"]}, 400, None, "limit"),
        ("batches", {"after": "batch_none"}, 404, None, "after"),
        ("batches", {"after": ""}, 400, "empty_string", "after"),
        ("batches", {"after": "a\0b"}, 400, "invalid_value", "after"),
        ("files", {"limit": "10001"}, 400, "integer_above_max_value", "limit"),
        ("files", {"order": "up"}, 400, "invalid_value", "order"),
        ("files", {"purpose": "none"}, 400, "invalid_value", "purpose"),
        ("files", {"after": "file-none"}, 404, None, "after"),
    ],
)
def test_a_bad_query(api, path, query, status, code, param):
    check_error(api.get(f"/v1/{path}", query), status, code, param)
    check_unharmed(api)


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 19, "9" * 40, "", "1 2"])
def test_a_bad_cursor_is_400(api, after):
    stored = api.upload(lines(1)).json()
    response = api.get(f"/v1/files/{stored['id']}/content", {"after": after})
    assert response.json()["error"]["param"] == "after"
    assert response.status_code == 400
