"""The list of batches."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.utils import timezone

from jobs.models import Lane
from jobs.states import EngineState
from jobs.views import paging
from tests.cast import claim, get_model, make_batch, make_worker


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/", "/monitor", "/batches", "/batches/live"])
def test_without_a_login_it_leads_to_the_login(client, address):
    response = client.get(address)
    assert (response.status_code, response["Location"]) == (302, f"/login?next={address}")


def test_it_shows_ours_and_nothing_of_others(page, strange_page, project):
    batch = make_batch(project=project, texts=["a", "b"], errors=["no"], open_lines=7)
    html = page.get("/batches").content.decode()
    assert batch.public_id in html
    assert "<b>2</b>" in html and "1 failed" in html and "of 10" in html
    assert "2,020" in html and "20 in, 2,000 out" in html
    assert batch.public_id not in strange_page.get("/batches").content.decode()


def test_the_same_facts_are_sent_once(page, project):
    batch = make_batch(project=project, open_lines=2)
    first = page.get("/batches/live")
    again = page.get("/batches/live", headers={"If-None-Match": first["ETag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    batch.completed = 1
    batch.save()
    after = page.get("/batches/live", headers={"If-None-Match": first["ETag"]})
    assert after.status_code == 200 and after["ETag"] != first["ETag"]


def test_the_number_of_queries_does_not_grow(page, project, django_assert_num_queries):
    _, lane = make_worker()
    make_batch(project=project, open_lines=1)
    # Session, person, projects, overdue, page, a worker alive, claims, lanes, failures, turns,
    # starting, roles.
    with django_assert_num_queries(12):
        page.get("/batches/live")
    for _ in range(20):
        make_batch(project=project, open_lines=1)
        claim(make_batch(project=project, open_lines=1), lane)
    with django_assert_num_queries(12):
        page.get("/batches/live")
    for _ in range(20):
        make_batch(project=project, open_lines=1)
    # And, now that there is a second page, how many there are.
    with django_assert_num_queries(13):
        page.get("/batches/live")


def keys(response) -> list[str]:
    return re.findall(r'data-key="(batch_\w+)"', response.content.decode())


def _words(html: str) -> list[str]:
    return re.findall(r'<span class="word">([^<]*)</span>', html)


@pytest.mark.parametrize(
    ("state", "fields", "word"),
    [
        ("validating", {}, "validating"),
        ("in_progress", {"paused_at": timezone.now()}, "paused"),
        ("in_progress", {}, "queued"),
        ("finalizing", {}, "finalising"),
        ("completed", {"texts": ["a"]}, "done"),
        ("completed", {"texts": ["a"], "errors": ["no"]}, "done with errors"),
        ("failed", {}, "failed"),
        ("expired", {}, "expired"),
        ("cancelling", {}, "cancelling"),
        ("cancelled", {}, "cancelled"),
    ],
)
def test_each_state_has_its_word(page, project, state, fields, word):
    make_worker()
    make_batch(project=project, state=state, **fields)
    assert _words(page.get("/batches/live").content.decode()) == [word]


def test_running_is_what_a_lane_holds_and_only_while_its_worker_lives(page, project):
    worker, lane = make_worker()
    claim(make_batch(project=project, open_lines=1), lane)
    html = page.get("/batches/live").content.decode()
    assert _words(html) == ["running"] and "waits for" not in html
    worker.heartbeat_at = timezone.now() - timedelta(seconds=60)
    worker.save()
    html = page.get("/batches/live").content.decode()
    assert _words(html) == ["queued"]
    # As people write times and commands, not as the API does.
    assert re.search(r"waits for a worker: none since \d{4}-\d\d-\d\d \d\d:\d\d UTC; start", html)
    assert "with manage.py runworker" in html


def test_loading_says_how_far(page, project):
    _, lane = make_worker()
    Lane.objects.filter(pk=lane.pk).update(
        engine_model=get_model(), engine_state=EngineState.STARTING, engine_progress="weights 40 %"
    )
    make_batch(project=project, open_lines=1)
    html = page.get("/batches/live").content.decode()
    assert _words(html) == ["loading model"] and "weights 40 %" in html


def test_paging_reaches_each_once_while_new_ones_arrive(page, project, monkeypatch):
    monkeypatch.setattr(paging, "PAGE_BATCHES", 3)
    made = [make_batch(project=project).public_id for _ in range(8)]
    seen = []
    address = "/batches"
    while address:
        html = page.get(address).content.decode()
        seen += re.findall(r'data-key="(batch_\w+)"', html)
        make_batch(project=project)
        found = re.search(r'href="(/batches\?before=[\d.]+)"', html)
        address = found[1] if found else ""
    assert seen == made[::-1]
    back = re.search(r'href="(/batches\?after=[\d.]+)"', html)
    assert keys(page.get(back[1])) == made[4:1:-1]


def test_only_what_has_not_ended(page, project):
    live = make_batch(project=project)
    make_batch(project=project, state="completed")
    html = page.get("/batches?show=live").content.decode()
    assert re.findall(r'data-key="(batch_\w+)"', html) == [live.public_id]


def test_the_empty_page_gives_a_command_for_this_server(page, settings):
    settings.ALLOWED_HOSTS = ["gpu7"]
    get_model()
    html = unescape(page.get("/batches", SERVER_NAME="gpu7", SERVER_PORT="8123").content.decode())
    assert "OPENAI_BASE_URL=http://gpu7:8123/v1" in html
    assert "createapikey first --project ours)" in html
    body = re.search(r'^\{"custom_id".*$', html, re.M)
    assert body and json.loads(body[0])["body"]["model"] == "small"


def test_the_empty_page_says_that_no_model_is_served(page):
    assert "No model is served yet" in page.get("/batches").content.decode()


def test_an_overdue_batch_is_settled_when_looked_at(page, project):
    batch = make_batch(
        project=project, open_lines=2, expires_at=timezone.now() - timedelta(seconds=1)
    )
    assert _words(page.get("/batches/live").content.decode()) == ["expired"]
    batch.refresh_from_db()
    assert (batch.state, batch.failed) == ("expired", 2)


def test_names_are_text_and_never_markup(page, project):
    make_batch(project=project, model_name="<script>alert(1)</script>", model=None)
    html = page.get("/batches").content.decode()
    assert "<script>alert" not in html and "&lt;script&gt;alert" in html


def test_a_member_of_nothing_is_told_so(client: Client, db):
    from tests.cast import make_person

    client.force_login(make_person("nobody"))
    assert "You belong to no project yet" in client.get("/batches").content.decode()
