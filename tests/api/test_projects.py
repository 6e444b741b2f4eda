"""What belongs to another project cannot be seen, and keys end when they should."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import Batch, ProjectKey
from jobs.services.projects import create_key, revoke_keys
from tests.api.conftest import Api, Member, lines, order, validate

pytestmark = pytest.mark.django_db


def test_another_projects_key_sees_nothing(api, strange_api, lane):
    stored = api.upload(lines(2)).json()
    batch = api.make(lines(2))
    lane.answer("line-0")
    batch = api.get(f"/v1/batches/{batch['id']}").json()
    for path in (
        f"/v1/files/{stored['id']}",
        f"/v1/files/{stored['id']}/content",
        f"/v1/files/{batch['output_file_id']}",
        f"/v1/files/{batch['output_file_id']}/content",
        f"/v1/batches/{batch['id']}",
    ):
        assert api.get(path).status_code == 200
        assert strange_api.get(path).status_code == 404
    assert strange_api.post(f"/v1/batches/{batch['id']}/cancel").status_code == 404
    assert strange_api.delete(f"/v1/files/{stored['id']}").status_code == 404
    assert strange_api.get("/v1/files").json()["data"] == []
    assert strange_api.get("/v1/batches").json()["data"] == []
    # An id of the other project is no cursor either.
    assert strange_api.get("/v1/batches", {"after": batch["id"]}).status_code == 404
    assert strange_api.get("/v1/files", {"after": stored["id"]}).status_code == 404
    # Nothing has happened to either.
    assert api.get(f"/v1/batches/{batch['id']}").json()["status"] == "in_progress"
    assert api.get(f"/v1/files/{stored['id']}").status_code == 200


def test_another_projects_file_cannot_be_used_as_input(api, strange_api):
    stored = api.upload(lines(1)).json()
    made = strange_api.post("/v1/batches", order(stored["id"])).json()
    validate(made["id"])
    batch = strange_api.get(f"/v1/batches/{made['id']}").json()
    assert batch["status"] == "failed"
    assert batch["errors"]["data"][0]["message"] == f"Cannot find file {stored['id']}."


def test_another_projects_idempotency_key_is_another_key(api, strange_api):
    first = api.post("/v1/batches", order("file-x"), **{"Idempotency-Key": "k"}).json()
    second = strange_api.post("/v1/batches", order("file-x"), **{"Idempotency-Key": "k"}).json()
    assert first["id"] != second["id"]
    assert Batch.objects.count() == 2


def test_a_second_key_of_the_project_sees_the_same(api, owner):
    stored = api.upload(lines(1)).json()
    second = Member(owner.project, create_key(project=owner.project, name="two")[1])
    assert Api(second).get(f"/v1/files/{stored['id']}").json() == stored


def test_a_revoked_key_is_401(api, owner):
    assert api.get("/v1/models").status_code == 200
    revoke_keys(keys=ProjectKey.objects.filter(project=owner.project))
    response = api.get("/v1/models")
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"


def test_an_expired_key_is_401(owner):
    past = timezone.now() - timedelta(seconds=1)
    _, secret = create_key(project=owner.project, name="old", expires_at=past)
    assert Api(Member(owner.project, secret)).get("/v1/models").status_code == 401


def test_a_key_stands_in_no_answer_and_not_in_the_database(api, owner):
    secret = owner.key.partition(".")[2]
    response = Api(Member(owner.project, owner.key + "x")).get("/v1/models")
    assert response.status_code == 401
    assert secret not in response.content.decode()
    key = ProjectKey.objects.get(project=owner.project)
    assert secret not in f"{key.id} {key.hashed_key} {key.prefix}"


def test_the_last_use_of_a_key_is_noted(api, owner):
    api.get("/v1/models")
    first = ProjectKey.objects.get(project=owner.project).last_used_at
    assert timezone.now() - first < timedelta(seconds=30)
    api.get("/v1/models")
    assert ProjectKey.objects.get(project=owner.project).last_used_at > first
    # Where nothing is counted it is not worth a write for each request.
    ProjectKey.objects.update(requests_per_minute=0)
    before = ProjectKey.objects.get(project=owner.project).last_used_at
    api.get("/v1/models")
    assert ProjectKey.objects.get(project=owner.project).last_used_at == before
