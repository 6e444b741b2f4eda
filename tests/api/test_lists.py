"""Lists: paging, order, filters, and a number of queries that does not grow with them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import StoredFile, Worker
from jobs.services.batches import BatchOrder, create_batch
from tests.api.conftest import lines, order, validate

pytestmark = pytest.mark.django_db

# The key with its project, the count of its requests; the overdue batches; the batches.
QUERIES_OF_BATCHES = 4
# Is a worker alive; when one last was.
QUERIES_WITHOUT_WORKER = 2
# Is a worker alive; chunks at work; lanes; models that failed to load; who comes before whom.
QUERIES_WITH_WORKER = 5
# The key with its project, the count of its requests; the files.
QUERIES_OF_FILES = 3


def make_batches(owner, count: int) -> list[str]:
    wanted = BatchOrder(
        endpoint="/v1/chat/completions", completion_window="24h", input_file_id="file-x"
    )
    return [create_batch(project=owner.project, order=wanted).public_id for _ in range(count)]


def make_files(owner, count: int) -> list[str]:
    rows = [
        StoredFile(project=owner.project, purpose="batch", filename=f"{n}.jsonl", bytes=1)
        for n in range(count)
    ]
    return [one.public_id for one in StoredFile.objects.bulk_create(rows)]


def test_pages_follow_each_other_newest_first(api, owner):
    made = list(reversed(make_batches(owner, 45)))
    first = api.get("/v1/batches").json()
    assert first["object"] == "list"
    assert [one["id"] for one in first["data"]] == made[:20]
    assert (first["first_id"], first["last_id"], first["has_more"]) == (made[0], made[19], True)
    second = api.get("/v1/batches", {"after": first["last_id"], "limit": 25}).json()
    assert [one["id"] for one in second["data"]] == made[20:]
    # Exactly full, and yet the last one.
    assert second["has_more"] is False
    last = api.get("/v1/batches", {"after": made[-1]}).json()
    assert last == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_files_in_both_orders(api, owner):
    made = make_files(owner, 5)
    assert [one["id"] for one in api.get("/v1/files").json()["data"]] == list(reversed(made))
    up = api.get("/v1/files", {"order": "asc", "limit": 2}).json()
    assert [one["id"] for one in up["data"]] == made[:2]
    assert up["has_more"] is True
    more = api.get("/v1/files", {"order": "asc", "after": made[1]}).json()
    assert [one["id"] for one in more["data"]] == made[2:]
    down = api.get("/v1/files", {"order": "desc", "after": made[2]}).json()
    assert [one["id"] for one in down["data"]] == [made[1], made[0]]


def test_files_of_a_purpose(api, lane):
    api.upload(b"x", name="picture.png", purpose="vision")
    batch = api.make(lines(1))
    lane.answer()
    batch = api.get(f"/v1/batches/{batch['id']}").json()
    names = {
        purpose: [
            one["filename"] for one in api.get("/v1/files", {"purpose": purpose}).json()["data"]
        ]
        for purpose in ("vision", "batch", "batch_output", "evals")
    }
    assert names == {
        "vision": ["picture.png"],
        "batch": ["in.jsonl"],
        "batch_output": [f"{batch['id']}_output.jsonl"],
        "evals": [],
    }


def test_deleted_and_expired_files_are_gone_at_once(api, owner):
    kept, deleted, expired = make_files(owner, 3)
    StoredFile.objects.filter(public_id=expired).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    api.delete(f"/v1/files/{deleted}")
    assert [one["id"] for one in api.get("/v1/files").json()["data"]] == [kept]
    for gone in (deleted, expired):
        assert api.get(f"/v1/files/{gone}").status_code == 404
        assert api.get(f"/v1/files/{gone}/content").status_code == 404
        assert api.delete(f"/v1/files/{gone}").status_code == 404


@pytest.mark.parametrize("count", [2, 60])
def test_listing_batches_costs_the_same_however_many_there_are(
    api, owner, count, django_assert_num_queries
):
    make_batches(owner, count)
    with django_assert_num_queries(QUERIES_OF_BATCHES + QUERIES_WITHOUT_WORKER):
        found = api.get("/v1/batches", {"limit": 100}).json()["data"]
    assert len(found) == count
    assert "none has ever run" in found[0]["waiting_for"]


@pytest.mark.parametrize("count", [2, 12])
def test_listing_batches_at_work_costs_the_same_however_many_there_are(
    api, lane, count, django_assert_num_queries
):
    stored = api.upload(lines(1)).json()
    for _ in range(count):
        made = api.post("/v1/batches", order(stored["id"])).json()
        validate(made["id"])
    with django_assert_num_queries(QUERIES_OF_BATCHES + QUERIES_WITH_WORKER):
        found = api.get("/v1/batches").json()["data"]
    assert [one["waiting_for"] for one in found[::-1][:2]] == [
        "a lane to take it up",
        "1 batch of 'small' before it, with 1 line left",
    ]
    assert len(found) == count
    assert Worker.objects.count() == 1


@pytest.mark.parametrize("count", [2, 60])
def test_listing_files_costs_the_same_however_many_there_are(
    api, owner, count, django_assert_num_queries
):
    make_files(owner, count)
    with django_assert_num_queries(QUERIES_OF_FILES):
        assert len(api.get("/v1/files").json()["data"]) == count


def test_listing_result_files_asks_nothing_more_for_their_sizes(
    api, lane, django_assert_num_queries
):
    for _ in range(3):
        api.make(lines(2))
    lane.answer(failing=["line-1"])
    with django_assert_num_queries(QUERIES_OF_FILES):
        found = api.get("/v1/files", {"purpose": "batch_output"}).json()["data"]
    assert len(found) == 6
    assert all(one["bytes"] > 50 for one in found)
