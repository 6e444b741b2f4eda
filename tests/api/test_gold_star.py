"""`/api/gold-star`: starring over HTTP, by key and by session, and what outlives the batch."""

from __future__ import annotations

import json

import pytest
from django.core.management import call_command
from django.test import Client

from curation.models import GoldEvent, GoldStar
from curation.services.gold import star_response, undo_deed, undo_last, unstar
from jobs.models import Batch, BatchResponse, Project, ServedModel
from jobs.services.deleting import delete_batch
from jobs.services.projects import StillUsed, delete_project
from tests.api.conftest import line
from tests.cast import make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(api, lane) -> dict:
    """A batch of three answers and one error, ended."""
    said = [{"role": "user", "content": "say warm"}]
    asked = line("warm", body={"model": "small", "messages": said, "temperature": 0.5, "seed": 7})
    made = api.make(b"\n".join([line("a"), line("b"), asked, line("bad")]) + b"\n")
    lane.answer(failing=["bad"])
    return made


def star(api, batch: dict, custom_id: str = "a", **fields):
    return api.post(
        "/api/gold-star",
        {"batch_id": batch["id"], "custom_id": custom_id, "quality_score": 8, **fields},
    )


def test_an_answer_becomes_a_gold_star_with_its_prompt_and_origin(api, batch):
    ServedModel.objects.update(engine_args="--revision abc123 --max-model-len 2048")
    response = star(api, batch, "warm", tags=[" good ", "good", "math"], notes="short")
    assert response.status_code == 200
    made = response.json()
    assert made["object"] == "gold_star"
    assert (made["batch_id"], made["custom_id"], made["model"]) == (batch["id"], "warm", "small")
    assert (made["answer"], made["edited_answer"]) == ("to warm", None)
    assert (made["quality_score"], made["tags"]) == (8, ["good", "math"])
    assert made["provenance"] == {
        "sampling": {"temperature": 0.5, "seed": 7},
        "model_source": "/models/small",
        "model_revision": "abc123",
        "engine_args": "--revision abc123 --max-model-len 2048",
        "worker": "testhost",
    }
    assert made["created_by"].startswith("key test (")
    whole = api.get(f"/api/gold-star/{made['id']}").json()
    assert whole["request_body"]["seed"] == 7
    assert whole["response_body"]["choices"][0]["message"]["content"] == "to warm"


def test_a_later_engine_is_not_named_as_the_maker(api, batch, lane):
    def engine(started_at) -> dict:
        lane.lane.engine_model, lane.lane.engine_version = lane.model, "0.26.0"
        lane.lane.engine_started_at = started_at
        lane.lane.save()
        return star(api, batch, custom_id).json()["provenance"]

    answered_at = BatchResponse.objects.latest("created_at").created_at
    custom_id = "a"
    assert engine(answered_at.replace(year=2000))["engine_version"] == "0.26.0"
    custom_id = "b"
    assert "engine_version" not in engine(answered_at.replace(year=2999))


def test_starring_twice_changes_the_one_star(api, batch):
    first = star(api, batch, notes="keep me").json()
    again = star(api, batch, quality_score=3, edited_answer="better").json()
    assert again["id"] == first["id"]
    assert (again["quality_score"], again["notes"], again["revision"]) == (3, "keep me", 2)
    assert (again["answer"], again["original_answer"]) == ("better", "to a")
    assert GoldStar.objects.count() == 1
    changed = GoldEvent.objects.get(kind="changed")
    assert changed.before == {"quality_score": 8, "edited_answer": None}


def test_it_is_named_by_the_id_of_its_line_in_the_output_file(api, batch):
    output = api.get(f"/v1/batches/{batch['id']}").json()["output_file_id"]
    lines = b"".join(api.get(f"/v1/files/{output}/content")).splitlines()
    named = json.loads(lines[1])
    made = api.post("/api/gold-star", {"response_id": named["id"], "quality_score": 10})
    assert made.json()["custom_id"] == named["custom_id"]
    assert made.json()["response_id"] == named["id"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"quality_score": 0}, "quality_score"),
        ({"quality_score": 11}, "quality_score"),
        ({"quality_score": "8"}, "quality_score"),
        ({"quality_score": True}, "quality_score"),
        ({"tags": "good"}, "tags"),
        ({"tags": ["x" * 65]}, "tags"),
        ({"tags": [""]}, "tags"),
        ({"tags": [str(number) for number in range(51)]}, "tags"),
        ({"notes": 7}, "notes"),
        ({"notes": "\0"}, "notes"),
        ({"edited_answer": " \n"}, "edited_answer"),
        ({"rating": 7}, "rating"),
        ({"custom_id": None}, "custom_id"),
        ({"response_id": "batch_req_1"}, "response_id"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_kept(api, batch, fields, param):
    response = star(api, batch, **fields)
    assert response.status_code == 400, response.content
    assert response.json()["error"]["param"] == param
    assert not GoldStar.objects.exists()


def test_a_score_is_needed_and_an_error_is_no_answer(api, batch):
    missing = api.post("/api/gold-star", {"batch_id": batch["id"], "custom_id": "a"})
    assert missing.status_code == 400
    assert missing.json()["error"]["param"] == "quality_score"
    unnamed = api.post("/api/gold-star", {"quality_score": 8})
    assert unnamed.status_code == 400 and "custom_id" in unnamed.json()["error"]["message"]
    error = star(api, batch, "bad")
    assert error.status_code == 400
    assert "has an error instead of an answer" in error.json()["error"]["message"]
    assert star(api, batch, "no-such-line").status_code == 404


def test_a_stranger_sees_and_changes_nothing(api, strange_api, batch):
    made = star(api, batch).json()
    assert star(strange_api, batch).status_code == 404
    assert strange_api.get(f"/api/gold-star/{made['id']}").status_code == 404
    assert strange_api.delete(f"/api/gold-star/{made['id']}").status_code == 404
    assert strange_api.get("/api/gold-star").json()["data"] == []
    assert Client().get("/api/gold-star").status_code == 401
    wrong = Client().get("/api/gold-star", headers={"Authorization": "Bearer wrong.key"})
    assert wrong.status_code == 401


def test_a_session_stars_with_its_token_and_a_viewer_does_not(batch, owner):
    order = {"batch_id": batch["id"], "custom_id": "a", "quality_score": 8}

    def post(http: Client, **headers):
        return http.post(
            "/api/gold-star", json.dumps(order), content_type="application/json", headers=headers
        )

    member = make_person("member", project=owner.project)
    http = Client(enforce_csrf_checks=True)
    http.force_login(member)
    assert post(http).status_code == 403
    token = http.get(f"/batches/{batch['id']}").cookies["vbatch_csrf"].value
    made = post(http, **{"X-CSRFToken": token})
    assert made.status_code == 200 and made.json()["created_by"] == "member"
    assert GoldStar.objects.get().created_by == member

    viewer = Client()
    viewer.force_login(make_person("viewer", project=owner.project, role="viewer"))
    assert post(viewer).status_code == 403
    assert len(viewer.get("/api/gold-star").json()["data"]) == 1


def test_the_list_is_paged_and_filtered(api, batch):
    for score, custom_id in enumerate(("a", "b", "warm"), start=6):
        star(api, batch, custom_id, quality_score=score, tags=[custom_id, "all"])
    first = api.get("/api/gold-star", {"limit": "2"}).json()
    assert [one["custom_id"] for one in first["data"]] == ["warm", "b"]
    assert first["has_more"]
    rest = api.get("/api/gold-star", {"limit": "2", "after": first["last_id"]}).json()
    assert [one["custom_id"] for one in rest["data"]] == ["a"] and not rest["has_more"]

    def found(**query: str) -> list[str]:
        return [one["custom_id"] for one in api.get("/api/gold-star", query).json()["data"]]

    assert found(min_quality="7") == ["warm", "b"]
    assert found(tag="b") == ["b"]
    assert found(custom_id="a") == ["a"]
    assert found(batch_id="batch_none") == []
    assert api.get("/api/gold-star", {"min_quality": "11"}).status_code == 400
    assert api.get("/api/gold-star", {"quality": "7"}).status_code == 400


def test_a_stale_change_is_refused_and_a_star_comes_back(api, batch):
    made = star(api, batch).json()
    address = f"/api/gold-star/{made['id']}"
    assert api.post(address, {"revision": 1, "quality_score": 9}).json()["revision"] == 2
    stale = api.post(address, {"revision": 1, "quality_score": 1})
    assert stale.status_code == 409
    assert stale.json()["error"]["code"] == "changed_meanwhile"
    assert api.delete(address).json()["deleted"]
    assert api.get("/api/gold-star").json()["data"] == []
    back = api.post(address, {"removed": False}).json()
    assert (back["quality_score"], back["removed"]) == (9, False)
    assert api.delete(address).status_code == 200
    assert star(api, batch, quality_score=5).json()["id"] == made["id"]
    kinds = GoldEvent.objects.order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["starred", "changed", "unstarred", "restored", "unstarred", "restored"]


def test_every_deed_can_be_undone_and_what_changed_since_is_left(api, batch):
    responses = list(BatchResponse.objects.filter(ok=True).order_by("seq"))
    stars = [
        star_response(response=one, deed="bulk", quality_score=5, tags=["bulk"])
        for one in responses
    ]
    everything = GoldStar.objects.all()
    star_response(response=responses[0], quality_score=9)
    done = undo_deed(deed="bulk", stars=everything)
    assert (done.stars, done.left) == (2, 1)
    assert everything.filter(removed_at__isnull=True).get().quality_score == 9
    undo_last(star=stars[0])
    assert GoldStar.objects.get(pk=stars[0].pk).quality_score == 5
    undo_last(star=stars[0])  # An undo is undone.
    assert GoldStar.objects.get(pk=stars[0].pk).quality_score == 9
    unstar(star=stars[0])
    undo_last(star=stars[0])
    assert GoldStar.objects.get(pk=stars[0].pk).removed_at is None


def test_a_star_outlives_its_batch(api, batch, owner):
    made = star(api, batch).json()
    delete_batch(batch=Batch.objects.get())
    call_command("prune")
    assert not BatchResponse.objects.exists()
    left = api.get(f"/api/gold-star/{made['id']}").json()
    assert left["answer"] == "to a"
    assert left["request_body"]["messages"] == [{"role": "user", "content": "say a"}]
    kept = GoldStar.objects.get()
    assert (kept.batch_id, kept.response_id) == (None, None)
    with pytest.raises(StillUsed):
        delete_project(project=owner.project)
    assert Project.objects.filter(pk=owner.project.pk).exists()


def test_what_is_deleted_or_expired_cannot_be_starred(api, batch):
    output = api.get(f"/v1/batches/{batch['id']}").json()["output_file_id"]
    assert api.delete(f"/v1/files/{output}").status_code == 200
    response = star(api, batch)
    assert response.status_code == 400
    assert "was deleted, or has expired" in response.json()["error"]["message"]


def test_a_long_answer_is_kept_whole(api, lane):
    batch = api.make(line("long") + b"\n")
    lane.answer()
    long = "é" * 100_000
    body = json.dumps({"choices": [{"message": {"role": "assistant", "content": long}}]})
    BatchResponse.objects.update(body=body.encode(), text=long[:30_000])
    assert star(api, batch, "long").json()["answer"] == long
