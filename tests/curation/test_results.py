"""The page of answers, its files and its route: what is found, what is hidden, what is streamed."""

from __future__ import annotations

import csv
import io
import json

import pytest
from django.test import Client
from django.utils import timezone

from curation.models import GoldStar, ResponseSearch, SearchProgress
from curation.services.gold import star_response
from curation.services.search_index import (
    anything_to_index,
    batch_behind_by,
    behind_by,
    index_responses,
)
from jobs.models import BatchResponse
from jobs.services.deleting import delete_batch
from jobs.services.files import delete_file
from jobs.services.projects import get_project
from tests.cast import make_batch, make_person

pytestmark = pytest.mark.django_db


def done_batch(**fields):
    return make_batch(state="completed", ended_at=timezone.now(), **fields)


@pytest.fixture
def batch(ours):
    """Three answers and an error, which can be found."""
    made = done_batch(
        project=ours,
        texts=["the river Loire is long", "Paris", "a long river"],
        errors=["too long a prompt"],
    )
    BatchResponse.objects.filter(text="Paris").update(finish_reason="length", output_tokens=7)
    index_responses()
    return made


def found(http: Client, **query: str) -> list[str]:
    """Return the custom_ids that the page, the route and the table all find."""
    listed = http.get("/api/results", query).json()["data"]
    names = [row["custom_id"] for row in listed]
    table = b"".join(http.get("/results.csv", query)).decode("utf-8-sig")
    assert [row["custom_id"] for row in csv.DictReader(io.StringIO(table))] == names
    lines = b"".join(http.get("/results.jsonl", query)).splitlines()
    assert [json.loads(line)["custom_id"] for line in lines] == names
    page = http.get("/results", query).content.decode()
    assert page.count("data-key=") == len(names)
    return names


def test_answers_are_listed_newest_first_and_found_by_their_words(http, batch):
    assert found(http) == ["line-3", "line-2", "line-1", "line-0"]
    assert found(http, q="river") == ["line-2", "line-0"]
    assert found(http, q='"long river"') == ["line-2"]
    assert found(http, q="river -loire") == ["line-2"]
    assert found(http, q="loire or paris") == ["line-1", "line-0"]
    assert found(http, q="nothing") == []


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ({"status": "failed"}, ["line-3"]),
        ({"status": "ok", "q": "long"}, ["line-2", "line-0"]),
        ({"finish": "length"}, ["line-1"]),
        ({"error": "BadRequestError"}, ["line-3"]),
        ({"max_tokens": "7", "status": "ok"}, ["line-1"]),
        ({"min_tokens": "8"}, ["line-2", "line-0"]),
        ({"custom_id": "line-1"}, ["line-1"]),
        ({"model": "small", "custom_id": "line-2"}, ["line-2"]),
        ({"model": "large"}, []),
        ({"since": "1h", "custom_id": "line-0"}, ["line-0"]),
        ({"batch": "batch_none"}, []),
        ({"project": "ours", "finish": "length"}, ["line-1"]),
        ({"project": "theirs"}, []),
        ({"starred": "no", "status": "failed"}, ["line-3"]),
    ],
)
def test_each_filter_narrows(http, batch, query, lines):
    assert found(http, **query) == lines


def test_gold_stars_are_filters_too(http, batch):
    for text, score in (("Paris", 4), ("a long river", 9)):
        response = BatchResponse.objects.get(text=text)
        star_response(response=response, quality_score=score, tags=["geo"], notes="n")
    assert found(http, starred="yes") == ["line-2", "line-1"]
    assert found(http, min_rating="5") == ["line-2"]
    assert found(http, max_rating="5") == ["line-1"]
    assert found(http, tag="geo", q="river") == ["line-2"]
    row = http.get("/api/results", {"min_rating": "9"}).json()["data"][0]
    assert row["gold_star"]["quality_score"] == 9 and row["gold_star"]["tags"] == ["geo"]


def test_what_is_wrong_is_said(http, batch):
    response = http.get("/api/results", {"status": "good"})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "status"
    assert http.get("/api/results", {"colour": "red"}).status_code == 400
    page = http.get("/results", {"status": "good", "min_tokens": "many"}).content.decode()
    assert "it must be one of ok, failed" in page and page.count("is left out") == 2


def test_pages_go_both_ways_and_nothing_moves(http, batch, ours):
    first = http.get("/api/results", {"limit": "3"}).json()
    assert first["has_more"]
    make_batch(project=ours, texts=["later"])
    index_responses()
    rest = http.get("/api/results", {"limit": "3", "after": first["next_after"]}).json()
    assert [row["custom_id"] for row in rest["data"]] == ["line-0"] and not rest["has_more"]
    newest = ResponseSearch.objects.latest("pk").pk
    page = http.get("/results", {"after": str(newest - 1)}).content.decode()
    assert page.count("data-key=") == 1 and 'rel="next"' in page


def test_foreign_hidden_and_deleted_answers_are_neither_shown_nor_found(http, batch, ours):
    done_batch(project=get_project(name="theirs"), texts=["their river"])
    gone = done_batch(project=ours, texts=["a deleted river"])
    index_responses()
    assert found(http, q="river") == ["line-0", "line-2", "line-0"]
    delete_batch(batch=gone)
    assert found(http, q="river") == ["line-2", "line-0"]
    batch.refresh_from_db()
    delete_file(stored=batch.output_file)
    assert found(http, q="river") == []
    assert found(http) == ["line-3"]


def test_answers_become_findable_in_order_once_each(ours):
    running = make_batch(project=ours, texts=["one", "two"], open_lines=1)
    assert anything_to_index() and behind_by() == 2
    assert index_responses() == 2
    assert index_responses() == 0 and not anything_to_index()
    assert batch_behind_by(batch=running) == 0
    # As if it had been killed after the rows and before its progress.
    SearchProgress.objects.all().delete()
    assert index_responses() == 2
    assert ResponseSearch.objects.count() == 2


def test_a_key_finds_what_its_project_has(batch, ours):
    from jobs.services.projects import create_key

    key = create_key(project=ours, name="test")[1]
    other = create_key(project=get_project(name="theirs"), name="test")[1]

    def ask(secret: str) -> list:
        headers = {"Authorization": f"Bearer {secret}"}
        return Client().get("/api/results", headers=headers).json()["data"]

    assert len(ask(key)) == 4 and ask(other) == []
    assert Client().get("/api/results").status_code == 401


# --- Starring from the page ------------------------------------------------------------------
def test_an_answer_is_starred_changed_and_taken_back_from_its_form(http, batch):
    address = f"/batches/{batch.public_id}/lines/0/star"
    assert "Star this answer" in http.get(address).content.decode()
    form = {"quality_score": "9", "tags": "geo, long", "notes": "", "edited_answer": "better\r\n2"}
    page = http.post(address, form).content.decode()
    assert "Kept." in page
    star = GoldStar.objects.get()
    assert (star.quality_score, star.tags, star.edited_answer) == (9, ["geo", "long"], "better\n2")
    assert star.created_by_name == "owner"
    stale = http.post(address, {**form, "revision": "7"}).content.decode()
    assert "Somebody else has changed" in stale
    assert "no gold star any more" in http.post(address, {"verb": "unstar"}).content.decode()
    http.post(address, {"verb": "undo"})
    star.refresh_from_db()
    assert star.removed_at is None
    wrong = http.post(address, {**form, "revision": str(star.revision), "quality_score": "11"})
    assert "it must be from 1 to 10" in wrong.content.decode()
    assert http.get(f"/batches/{batch.public_id}/lines/3/star").status_code == 404


def test_many_are_starred_tagged_and_undone_at_once(http, batch, ours):
    ids = " ".join(str(row.pk) for row in BatchResponse.objects.all())
    foreign = make_batch(project=get_project(name="theirs"), texts=["x"], state="completed")
    ids += f" {foreign.responses.get().pk}"
    page = http.post("/results/stars/star", {"ids": ids, "quality_score": "7"}, follow=True)
    text = page.content.decode()
    assert "3 answers starred." in text
    assert "has an error instead of an answer" in text
    assert GoldStar.objects.count() == 3
    http.post("/results/stars/tag", {"ids": ids, "tag": "set-a"})
    assert GoldStar.objects.filter(tags=["set-a"]).count() == 3
    undo = text.split('formaction="/undo/')[1].split('"')[0]
    page = http.post(f"/undo/{undo}", follow=True).content.decode()
    assert "3 were left: somebody has changed them since." in page
    http.post("/results/stars/unstar", {"ids": ids})
    assert not GoldStar.objects.filter(removed_at__isnull=True).exists()


def test_a_viewer_reads_and_stars_nothing(batch, ours):
    viewer = Client()
    viewer.force_login(make_person("viewer", project=ours, role="viewer"))
    assert "line-0" in viewer.get("/results").content.decode()
    address = f"/batches/{batch.public_id}/lines/0/star"
    assert viewer.post(address, {"quality_score": "9"}).status_code == 403
    ids = str(BatchResponse.objects.first().pk)
    viewer.post("/results/stars/star", {"ids": ids, "quality_score": "7"})
    assert not GoldStar.objects.exists()


def test_numbers_that_are_too_long_are_no_numbers(http, batch):
    long = "9" * 5_000
    address = f"/batches/{batch.public_id}/lines/0/star"
    page = http.post(address, {"quality_score": long, "revision": long}).content.decode()
    assert "Quality score: it is missing" in page
    ids = f"{long} {2**63} {BatchResponse.objects.get(text='Paris').pk}"
    page = http.post("/results/stars/star", {"ids": ids, "quality_score": "7"}, follow=True)
    assert "1 answer starred." in page.content.decode()
    assert http.get("/results", {"after": long, "before": long}).status_code == 200
