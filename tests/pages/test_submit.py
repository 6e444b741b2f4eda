"""Submitting a batch from the browser."""

from __future__ import annotations

import json
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import UnreadablePostError
from django.test import Client

from jobs.models import Batch, Membership, Role, StoredFile
from jobs.services.batches import BatchOrder, create_batch
from jobs.services.projects import get_project
from jobs.tasks import validate
from jobs.views import receiving
from tests.cast import get_model, make_person
from tests.input_lines import good
from tests.pages.submitting import html_of, send, send_table


@pytest.fixture(autouse=True)
def _served(own_files, db):
    get_model()


def _lines(count: int) -> bytes:
    return b"".join(good(f"line-{number}") + b"\n" for number in range(count))


def _review(page: Client, project, content: bytes, **fields) -> tuple[str, str]:
    """Send a file and return the address that shows it, with its page."""
    response = send(page, project, content, **fields)
    assert response.status_code == 302, response.content.decode()
    return response["Location"], html_of(page.get(response["Location"]))


def _facts(html: str) -> str:
    """Return the page without its frame, and without the tokens that are new each time."""
    return re.sub(r'value="[^"]*"', "", html[html.index("<main") :])


def _order(html: str, **changes: str) -> dict[str, str]:
    """Return what the form on the page sends."""
    form = html[html.index("/create") :]
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
    return {**hidden, "priority": "0", "webhook_url": "", "metadata": "", **changes}


def test_without_a_login_it_leads_to_the_login(client):
    for address in ("/submit", "/submit/file-0"):
        assert client.get(address)["Location"] == f"/login?next={address}"
    assert client.post("/submit")["Location"] == "/login?next=/submit"


def test_a_file_is_stored_read_and_shown_and_no_batch_made(page, project):
    address, html = _review(page, project, b"\xef\xbb\xbf\n" + _lines(3))
    assert re.fullmatch(r"/submit/file-[0-9a-f]{32}", address)
    assert "in order" in html and "not accepted" not in html
    assert "line-0" in html and ">hi<" in html and "/v1/chat/completions" in html
    stored = StoredFile.objects.get()
    assert (stored.project, stored.purpose, stored.filename) == (project, "batch", "in.jsonl")
    assert not Batch.objects.exists()
    assert _facts(html_of(page.get(address))) == _facts(html)


def test_what_it_shows_is_what_the_batch_gets(page, project):
    bad = [b"{nonsense", good("a", stream=True), good("a", model="unknown"), good("b", messages=[])]
    _, html = _review(page, project, _lines(2) + b"\n".join(bad))
    assert "not accepted" in html and "Start the batch" not in html
    stored = StoredFile.objects.get()
    order = BatchOrder(
        endpoint="/v1/chat/completions",
        completion_window="24h",
        input_file_id=stored.public_id,
    )
    batch = create_batch(project=project, order=order)
    validate(batch.pk)
    batch.refresh_from_db()
    assert len(batch.findings) == 5
    for finding in batch.findings:
        assert f'data-label="Line">{finding["line"]}<' in html and finding["message"] in html
    assert "unknown" in html and "not served, 1 line" in html


def test_confirmed_it_becomes_a_batch_once(page, project):
    address, html = _review(page, project, _lines(2))
    order = _order(html, priority="1", metadata="team: search\n\n run : 7 ")
    first = page.post(f"{address}/create", order)
    batch = Batch.objects.get()
    assert first["Location"] == f"/batches/{batch.public_id}"
    assert (batch.priority, batch.metadata) == (1, {"team": "search", "run": "7"})
    assert page.post(f"{address}/create", order)["Location"] == first["Location"]
    other = page.post(f"{address}/create", {**order, "priority": "0"})
    assert other.status_code == 409 and "made a batch already" in html_of(other)
    assert Batch.objects.count() == 1
    validate(batch.pk)
    batch.refresh_from_db()
    assert (batch.state, batch.total) == ("in_progress", 2)
    assert batch.public_id in html_of(page.get(address))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"webhook_url": "http://127.0.0.1/x"}, "127.0.0.1 is a private address"),
        ({"webhook_url": "ftp://x"}, "http:// or https://"),
        ({"metadata": "no pair"}, "one pair a line"),
        ({"metadata": "a: 1\na: 2"}, "stands there twice"),
        ({"metadata": "\n".join(f"k{n}: v" for n in range(17))}, "At most 16 pairs"),
        ({"metadata": f"{'k' * 65}: v"}, "at most 64 characters"),
        ({"priority": "7"}, "Priority"),
        ({"completion_window": "1m"}, "Completion window"),
        ({"endpoint": "/v1/nonsense"}, "Endpoint"),
        ({"token": ""}, "required"),
    ],
)
def test_a_wrong_order_is_said_and_what_was_filled_in_is_kept(page, project, changes, words):
    address, html = _review(page, project, _lines(1))
    response = page.post(f"{address}/create", _order(html, metadata="team: a", **{}) | changes)
    assert response.status_code == 400 and words in html_of(response)
    assert changes.get("metadata", "team: a") in html_of(response)
    assert not Batch.objects.exists()


def test_the_limits_of_the_project_hold(page, project):
    address, html = _review(page, project, _lines(3))
    project.max_live_batches = 1
    project.max_queued_requests = 3
    project.save()
    order = _order(html)
    page.post(f"{address}/create", order)
    validate(Batch.objects.get().pk)
    response = page.post(f"{address}/create", {**order, "token": f"page-{'0' * 32}"})
    assert response.status_code == 429 and "may have 1 at a time" in html_of(response)
    assert "Enqueued request limit reached" in html_of(page.get(address))
    project.max_stored_bytes = 10
    project.save()
    response = send(page, project, _lines(1))
    assert response.status_code == 413 and "may take 10 bytes" in html_of(response)
    assert StoredFile.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "in.jsonl", "is empty"),
        (b"\n \n\n", "in.jsonl", "nothing but blank lines"),
        (b"\x89PNG\r\n\x1a\n\0\0", "in.jsonl", "does not begin with '{'"),
        (b'{"custom_id": "a"}', "in.json", "it must be .jsonl"),
        (b"\x89PNG\r\n\x1a\n\0\0", "in.csv", "not a text file"),
        ("id;text\n".encode("utf-16"), "in.csv", "UTF-16"),
        (b"", "in.csv", "is empty"),
    ],
)
def test_what_cannot_be_a_batch_is_refused_with_words(page, project, content, name, words):
    response = send(page, project, content, name, user="{text}", model="small")
    assert response.status_code == 400
    assert words in html_of(response) and "Nothing was stored" in html_of(response)
    assert not StoredFile.objects.exists()


def test_a_line_that_is_too_long_is_a_finding(page, project, settings):
    settings.MAX_LINE_BYTES = 2_000
    long = good("long", user="x" * 3_000)
    _, html = _review(page, project, _lines(1) + long + b"\n" + _lines(1))
    assert 'data-label="Line">2<' in html and "longer than 2,000 bytes" in html
    assert "stands more than once" in html
    response = send_table(page, project, f'text\n"{"x" * 3_000}"\n')
    assert "Line 2: This line is longer than 2,000 bytes" in html_of(response)


def test_a_large_file_is_refused_and_the_limit_told_before(page, project, settings):
    settings.MAX_FILE_BYTES = 1_000
    assert 'data-max-bytes="1000"' in html_of(page.get("/submit"))
    for content in (b"{" + b"x" * 1_000, b"{" + b"x" * 200_000):
        response = send(page, project, content)
        assert response.status_code == 413 and "at most 1,000 bytes" in html_of(response)
    response = send_table(page, project, "text\n" + "row\n" * 20, user="{text}" + "long " * 20)
    assert "larger than 1,000 bytes" in html_of(response)
    assert not StoredFile.objects.exists()
    assert list((settings.FILES_DIR / "incoming").iterdir()) == []


def test_an_upload_that_broke_off_is_no_file(page, project, settings):
    form = {"project": project.pk, "file": SimpleUploadedFile("in.jsonl", _lines(2))}
    response = page.post("/submit", form)
    assert response.status_code == 400 and "broke off" in html_of(response)
    assert not StoredFile.objects.exists()


def test_a_script_is_answered_in_json(page, project):
    form = {"project": project.pk, "complete": "1"}
    accept = {"Accept": "application/json"}
    file = SimpleUploadedFile("in.jsonl", _lines(1))
    done = page.post("/submit", {**form, "file": file}, headers=accept).json()
    assert done == {"location": f"/submit/{StoredFile.objects.get().public_id}"}
    file = SimpleUploadedFile("in.jsonl", b"no")
    refused = page.post("/submit", {**form, "file": file}, headers=accept)
    assert refused.status_code == 400 and "Nothing was stored" in refused.json()["problem"]


def test_viewers_may_not_and_strangers_see_nothing(page, viewer_page, strange_page, project):
    address, html = _review(page, project, _lines(1))
    for response in (
        viewer_page.get("/submit"),
        send(viewer_page, project, _lines(1)),
        viewer_page.get(address),
        viewer_page.post(f"{address}/create", _order(html)),
        viewer_page.post(f"{address}/discard"),
    ):
        assert response.status_code == 403 and "Viewers of a project cannot" in html_of(response)
    for response in (
        strange_page.get(address),
        strange_page.post(f"{address}/create", _order(html)),
        strange_page.post(f"{address}/discard"),
    ):
        assert response.status_code == 404
    assert "Choose a project of yours" in html_of(send(strange_page, project, _lines(1)))
    assert StoredFile.objects.count() == 1 and not Batch.objects.exists()


def test_only_projects_in_which_one_may_submit_are_offered(page, member, project):
    seen = get_project(name="only-seen")
    Membership.objects.create(project=seen, user=member, role=Role.VIEWER)
    second = get_project(name="second")
    Membership.objects.create(project=second, user=member, role=Role.OWNER)
    html = html_of(page.get("/submit"))
    assert ">second</option>" in html and "only-seen" not in html
    assert "Choose a project of yours" in html_of(send(page, seen, _lines(1)))


def test_a_member_of_nothing_is_told_so(client):
    client.force_login(make_person("nobody"))
    assert "You belong to no project yet" in html_of(client.get("/submit"))


def test_a_form_of_another_site_is_refused(member, project):
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(member)
    response = send(forged, project, _lines(1))
    assert response.status_code == 403 and not StoredFile.objects.exists()
    html = forged.get("/submit").content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', html)[1]
    done = send(forged, project, _lines(1), csrfmiddlewaretoken=token)
    assert done.status_code == 302
    assert forged.post(f"{done['Location']}/create").status_code == 403
    assert forged.post(f"{done['Location']}/discard").status_code == 403


def test_a_discarded_file_is_gone(page, project, settings):
    address, _ = _review(page, project, _lines(1))
    path = settings.MEDIA_ROOT / StoredFile.objects.get().paths[0]
    assert path.exists()
    assert page.post(f"{address}/discard")["Location"] == "/submit"
    assert page.get(address).status_code == 404
    assert StoredFile.objects.get().deleted_at is not None


def test_a_file_whose_bytes_are_away_is_said(page, project, settings):
    address, _ = _review(page, project, _lines(1))
    (settings.MEDIA_ROOT / StoredFile.objects.get().paths[0]).unlink()
    response = page.get(address)
    assert response.status_code == 503 and "cannot be read just now" in html_of(response)


def test_what_stands_in_a_file_is_text_and_never_markup(page, project):
    evil = "<script>alert(1)</script>"
    body = good(evil, model=evil, messages=[{"role": "user", "content": evil}])
    response = send(page, project, body, f"{evil}.jsonl")
    html = page.get(response["Location"]).content.decode()
    assert "&lt;script&gt;alert" in html and "<script>alert" not in html


def test_another_endpoint_is_that_of_the_lines(page, project):
    line = json.loads(good("a"))
    line |= {"url": "/v1/embeddings", "body": {"model": "small", "input": ["one", "two"]}}
    address, html = _review(page, project, json.dumps(line).encode())
    assert _order(html)["endpoint"] == "/v1/embeddings" and "in order" in html


def test_an_aborted_body_is_not_waited_for(rf, monkeypatch):
    """Draining ends where the other side has gone."""
    request = rf.post("/submit", content_type="multipart/form-data; boundary=x")

    def gone(*args):
        raise UnreadablePostError("gone")

    monkeypatch.setattr(request, "read", gone)
    request.META["CONTENT_LENGTH"] = "1000000"
    with pytest.raises(receiving.FormRefused):
        receiving.receive_form(request, limit=10)
