"""What goes wrong on our side: said in the API's shape, and to the log in full."""

from __future__ import annotations

import pytest
from django.db import InterfaceError, OperationalError
from django.test import Client, RequestFactory

from jobs.api import batches, errors
from tests.api.conftest import lines, order

pytestmark = pytest.mark.django_db


def test_an_unexpected_exception_is_a_500_that_gives_nothing_away(api, monkeypatch, caplog):
    def fail(**kwargs: object) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(batches, "create_batch", fail)
    response = api.post("/v1/batches", order("file-x"))
    assert response.status_code == 500
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("server_error", "internal_error")
    assert response["x-request-id"] in error["message"]
    assert "secret" not in response.content.decode()
    # The log names the request by the same id.
    logged = str([record.msg for record in caplog.records])
    assert "the secret of the house" in logged and response["x-request-id"] in logged


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
def test_a_database_that_is_away_is_a_503_that_the_client_tries_again(api, monkeypatch, kind):
    def fail(**kwargs: object) -> None:
        raise kind("connection refused")

    monkeypatch.setattr(batches, "create_batch", fail)
    response = api.post("/v1/batches", order("file-x"))
    assert response.status_code == 503
    assert response["retry-after"] == "1"
    assert response.json()["error"]["type"] == "server_error"


def test_the_handlers_of_the_site_speak_json_under_v1_and_html_elsewhere(settings):
    under, page = RequestFactory().get("/v1/batches"), RequestFactory().get("/batches")
    for handler, status in (
        (lambda request: errors.handler400(request, ValueError("x")), 500),
        (lambda request: errors.handler400(request, errors.BadRequest("x")), 400),
        (lambda request: errors.handler403(request, errors.PermissionDenied("x")), 403),
        (lambda request: errors.handler404(request, errors.Http404("x")), 404),
        (errors.handler500, 500),
    ):
        answer = handler(under)
        assert (answer.status_code, answer["Content-Type"]) == (status, "application/json")
        assert b'"error"' in answer.content
        assert handler(page)["Content-Type"].startswith("text/html")


def test_headers_of_organisations_are_tolerated(api):
    headers = {"OpenAI-Organization": "org-x", "OpenAI-Project": "proj_x"}
    assert api.get("/v1/models", **headers).status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(owner, scheme):
    headers = {"Authorization": f"{scheme}  {owner.key} "}
    assert Client().get("/v1/models", headers=headers).status_code == 200


def test_every_answer_has_a_request_id(api):
    stored = api.upload(lines(1)).json()
    seen = set()
    for response in (
        api.get("/v1/models"),
        api.get(f"/v1/files/{stored['id']}/content"),
        api.get("/v1/none"),
        Client().get("/v1/files"),
        api.delete(f"/v1/files/{stored['id']}"),
    ):
        seen.add(response["x-request-id"])
    assert len(seen) == 5


def test_a_post_is_never_redirected(api):
    for path in ("/v1/batches/", "/v1/files/", "/v1"):
        assert api.post(path, {}).status_code == 404


def test_head_answers_like_get_without_a_body(api):
    response = api.http.head("/v1/models", headers=api.member.headers())
    assert (response.status_code, response.content) == (200, b"")
