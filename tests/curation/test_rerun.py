"""Running lines anew: what is asked again, of whom, once, and what becomes of the first run."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from curation.comparing import Comparing
from curation.services.search_index import index_responses
from jobs.models import AuditEntry, Batch, BatchRequest, Project, ServedModel, StoredFile
from jobs.services import rerunning
from jobs.services.deleting import delete_batch
from jobs.services.files import delete_file
from jobs.services.projects import get_project
from jobs.services.validation import validate_batch
from tests.cast import make_batch, make_person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_files")]

TOKEN = f"page-{'0' * 32}"


@pytest.fixture(autouse=True)
def large() -> ServedModel:
    return ServedModel.objects.create(name="large", source="/models/large")


def done_batch(project: Project, texts: list[str], errors: list[str] | None = None, **fields):
    """Make an ended batch whose lines can be sent again, and found."""
    batch = make_batch(
        project=project,
        state="completed",
        ended_at=timezone.now(),
        texts=texts,
        errors=errors,
        **fields,
    )
    for request in BatchRequest.objects.filter(batch=batch):
        body = {
            "model": "small",
            "messages": [{"role": "user", "content": f"é {request.position}\n"}],
            "temperature": 0.5,
            "max_tokens": 10,
        }
        BatchRequest.objects.filter(pk=request.pk).update(body=json.dumps(body).encode())
    index_responses()
    return batch


@pytest.fixture
def batch(ours) -> Batch:
    return done_batch(ours, ["the river Loire", "Paris", "a long river"], ["too long a prompt"])


def ask(http: Client, query: str = "", status: int = 302, **fields: str) -> str:
    form = {"token": TOKEN, "priority": "0", **fields}
    response = http.post(f"/results/rerun{query}", form)
    text = unescape(response.content.decode())
    assert response.status_code == status, text
    return text


def bodies(made: Batch) -> dict[str, dict]:
    """Validate what was made as the worker does, and return its lines by custom_id."""
    validate_batch(batch_id=made.pk)
    made.refresh_from_db()
    assert made.state == "in_progress", made.findings
    rows = BatchRequest.objects.filter(batch=made).order_by("position")
    return {row.custom_id: json.loads(bytes(row.body)) for row in rows}


def made_of(batch: Batch) -> Batch:
    return Batch.objects.get(parent=batch)


def test_what_a_filter_finds_runs_on_another_model_and_knows_its_first_run(http, batch):
    page = http.get("/results/rerun?q=river").content.decode()
    assert "Re-run 2 lines" in page and batch.public_id in page and "2 of 4" in page
    ask(http, "?q=river", model="large", temperature="0", max_tokens="99", priority="1")
    made = made_of(batch)
    assert (made.is_rerun, made.priority, made.endpoint) == (True, 1, batch.endpoint)
    lines = bodies(made)
    assert list(lines) == ["line-0", "line-2"]
    assert lines["line-2"] == {
        "model": "large",
        "messages": [{"role": "user", "content": "é 2\n"}],
        "temperature": 0.0,
        "max_tokens": 99,
    }
    assert made.model_name == "large"
    first = made.events.order_by("pk").first()
    changes = "model large, at most 99 tokens, temperature 0.0"
    assert first is not None and first.reason == f"re-run of {batch.public_id}: {changes}"
    first = http.get(f"/batches/{batch.public_id}").content.decode()
    assert "re-run <a" in first and made.public_id in first
    assert "Re-run of" in http.get(f"/batches/{made.public_id}").content.decode()
    deed = AuditEntry.objects.get(action="batch.rerun")
    assert deed.target == batch.public_id and deed.details["made"] == made.public_id
    assert deed.details["model"] == "large"


def test_what_is_not_changed_stays_to_the_byte(http, batch):
    body = b'{"model":"small", "messages":[{"role":"user","content":"\\u00e9"}],"x":1.10e2}'
    BatchRequest.objects.filter(batch=batch).update(body=body)
    ask(http, parameters='{"y": 0.10, "x": null}')
    made = made_of(batch)
    bodies(made)
    row = BatchRequest.objects.filter(batch=made).first()
    assert row is not None
    message = b'"messages":[{"role":"user","content":"\\u00e9"}]'
    assert bytes(row.body) == b'{"model":"small",' + message + b',"y":0.10}'


def test_failed_lines_run_too_and_only_those_that_were_chosen(http, batch):
    keys = [
        str(row.pk)
        for row in BatchRequest.objects.filter(batch=batch, custom_id__in=["line-1", "line-3"])
    ]
    page = http.post("/results/rerun", {"ids": " ".join(keys)}).content.decode()
    assert "Re-run 2 lines" in page and not Batch.objects.filter(parent=batch).exists()
    sent = re.search(r'name="ids" value="([^"]*)"', page)
    assert sent is not None and sorted(sent[1].split()) == sorted(keys)
    ask(http, ids=sent[1])
    assert list(bodies(made_of(batch))) == ["line-1", "line-3"]


def test_lines_of_several_batches_make_a_batch_for_each(http, batch, ours):
    other = done_batch(ours, ["another river"])
    page = http.post("/results/rerun?q=river", {"token": TOKEN, "priority": "0"}, follow=True)
    assert "2 batches were made" in page.content.decode()
    assert list(bodies(made_of(batch))) == ["line-0", "line-2"]
    assert list(bodies(made_of(other))) == ["line-0"]


def test_a_form_that_is_sent_twice_makes_its_batch_once(http, batch, monkeypatch):
    ask(http, "?q=river", model="large")
    ask(http, "?q=river", model="large")
    made = made_of(batch)
    assert StoredFile.objects.filter(purpose="batch").count() == 1
    # As if both presses had come at the same time.
    monkeypatch.setattr(rerunning, "_known", lambda *_: None)
    ask(http, "?q=river", model="large")
    assert made_of(batch) == made
    assert StoredFile.objects.filter(deleted_at=None, purpose="batch").count() == 1
    monkeypatch.undo()
    text = ask(http, "?q=river", 409, model="small")
    assert "has made its batches already" in text and TOKEN not in text
    assert made_of(batch) == made


def test_answers_that_come_meanwhile_are_not_run_unseen(http, batch, ours):
    page = http.get("/results/rerun?q=river").content.decode()
    upto = re.search(r'name="upto" value="([0-9]+)"', page)
    assert upto is not None
    late = done_batch(ours, ["a river that came late"])
    ask(http, "?q=river", upto=upto[1])
    assert len(bodies(made_of(batch))) == 2
    assert not Batch.objects.filter(parent=late).exists()


def test_foreign_hidden_and_deleted_lines_are_not_run(http, batch, ours):
    foreign = done_batch(get_project(name="theirs"), ["their river"])
    gone = done_batch(ours, ["a deleted river"])
    delete_batch(batch=gone)
    key = str(BatchRequest.objects.get(batch=foreign).pk)
    page = http.post("/results/rerun", {"ids": key}).content.decode()
    # Not even that there is such a line.
    assert "nothing to run" in page and "you may only read" not in page
    assert "There are no lines" in ask(http, status=400, ids=key)
    ask(http, "?q=river")
    assert Batch.objects.exclude(parent=None).get().parent == batch
    batch.refresh_from_db()
    delete_file(stored=batch.output_file)
    hidden = str(BatchRequest.objects.get(batch=batch, custom_id="line-0").pk)
    assert "nothing to run" in http.post("/results/rerun", {"ids": hidden}).content.decode()
    assert "nothing to run" in http.get("/results/rerun?q=river").content.decode()


def test_viewers_run_nothing_and_are_told(batch, ours):
    viewer = Client()
    viewer.force_login(make_person("viewer", project=ours, role="viewer"))
    assert viewer.get("/results/rerun").status_code == 403
    assert viewer.post("/results/rerun", {"token": TOKEN, "priority": "0"}).status_code == 403
    assert "/results/rerun" not in viewer.get("/results").content.decode()
    mixed = Client()
    person = make_person("mixed", project=ours, role="viewer")
    theirs = get_project(name="theirs")
    theirs.membership_set.create(user=person, role="member")
    mixed.force_login(person)
    own = done_batch(theirs, ["a river of mine"])
    page = mixed.get("/results/rerun?q=river").content.decode()
    assert "Re-run 1 line<" in page and "2 more are of projects in which you may only read" in page
    ask(mixed, "?q=river")
    assert Batch.objects.exclude(parent=None).get().parent == own


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": "unknown"}, "Model:"),
        ({"temperature": "3"}, "Temperature:"),
        ({"max_tokens": "0"}, "Most tokens an answer:"),
        ({"parameters": "[1]"}, "it is not a JSON object"),
        ({"parameters": '{"a": }'}, "Other parameters:"),
        ({"parameters": '{"messages": []}'}, "'messages' cannot be changed here"),
        ({"parameters": '{"a": "\\ud800"}'}, "it is not valid JSON that can be kept"),
        ({"token": "x"}, "token:"),
        ({"priority": "9"}, "Priority:"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_made(http, batch, fields, words):
    assert words in ask(http, status=400, **fields)
    assert not Batch.objects.filter(parent=batch).exists()
    assert not StoredFile.objects.filter(purpose="batch").exists()


def test_more_than_can_be_run_is_refused_with_what_to_do(http, batch, ours, settings):
    settings.MAX_LINES = 3
    assert "More than 3 answers are found" in http.get("/results/rerun").content.decode()
    assert "More than 3 answers are found" in ask(http, status=400)
    assert not Batch.objects.filter(parent=batch).exists()
    settings.MAX_LINES = 50
    ours.max_live_batches = 1
    ours.save()
    done_batch(ours, ["another river"])
    assert "live" in ask(http, "?q=river", status=429)
    # All or none: the first of the two is not left behind, nor are the files of both.
    assert not Batch.objects.exclude(parent=None).exists()
    assert not StoredFile.objects.filter(purpose="batch", deleted_at=None).exists()


def test_a_model_that_is_not_served_any_more_needs_another(http, batch):
    ServedModel.objects.filter(name="small").update(enabled=False)
    assert "'small' is not served any more. Choose another." in ask(http, status=400)
    ask(http, model="large")
    assert len(bodies(made_of(batch))) == 4


def test_embeddings_have_no_limit_of_tokens(http, ours):
    done_batch(ours, ["[0.1]"], endpoint="/v1/embeddings")
    assert "have no limit of tokens" in ask(http, status=400, max_tokens="5")


def test_both_runs_open_side_by_side_once_the_new_one_has_ended(http, batch):
    ask(http, "?q=river")
    made = made_of(batch)
    page = http.get(f"/batches/{made.public_id}").content.decode()
    assert "Compare with the first run" not in page
    Batch.objects.filter(pk=made.pk).update(state="completed", last_seq=1)
    page = unescape(http.get(f"/batches/{made.public_id}").content.decode())
    link = re.search(r'href="(/compare\?[^"]*)"', page)
    assert link is not None
    query = link[1].partition("?")[2]
    wanted, wrong = Comparing.read(QueryDict(query), QueryDict(query).getlist("side"))
    assert wanted.sides == (batch.public_id, made.public_id) and not wrong
    assert http.get(link[1]).status_code == 200
