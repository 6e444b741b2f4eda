"""One batch: figures, story, lines, files, and cancelling it."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.utils import timezone

from jobs.jsonl import MORE_ERRORS
from jobs.models import StoredFile, WebhookDelivery
from jobs.services.batches import fail_batch
from jobs.services.files import create_file
from jobs.views import answers
from tests.cast import claim, make_batch, make_worker
from tests.input_lines import checker, good, made


@pytest.fixture(autouse=True)
def _own_folder(settings, tmp_path):
    settings.FILES_DIR = settings.MEDIA_ROOT = tmp_path


def test_it_tells_the_whole_story(page, project):
    batch = make_batch(
        project=project,
        state="completed",
        texts=["blue", "green"],
        errors=["too long"],
        metadata={"customer": "acme"},
    )
    html = page.get(f"/batches/{batch.public_id}").content.decode()
    for words in ("blue", "too long", "BadRequestError", "acme", "validating", "completed"):
        assert words in html
    assert 'data-cell="completed" class="num">2<' in html
    assert 'data-cell="failed" class="num">1<' in html
    assert 'data-cell="remaining" class="num">0<' in html
    assert "10 → 1,000" in html
    assert "cancel-dialog" in html and 'data-dialog="cancel-dialog"' not in html


@pytest.mark.parametrize(
    "rest", ["", "/live", "/files/output", "/lines/0/answer", "/lines/0/prompt"]
)
def test_a_foreign_batch_is_not_there(page, strange_page, project, rest):
    batch = make_batch(project=project, texts=["secret"])
    address = f"/batches/{batch.public_id}{rest}"
    assert page.get(address).status_code == 200
    answer = strange_page.get(address)
    assert answer.status_code == 404
    assert b"secret" not in answer.content and batch.public_id.encode() not in answer.content


def test_a_foreign_batch_cannot_be_cancelled(strange_page, project):
    batch = make_batch(project=project)
    assert strange_page.post(f"/batches/{batch.public_id}/cancel").status_code == 404
    batch.refresh_from_db()
    assert batch.state == "in_progress"


def test_cancelling_keeps_what_is_answered(page, project):
    batch = make_batch(project=project, texts=["kept"], open_lines=2)
    assert b'data-dialog="cancel-dialog"' in page.get(f"/batches/{batch.public_id}").content
    response = page.post(f"/batches/{batch.public_id}/cancel", follow=True)
    batch.refresh_from_db()
    # No worker is alive, so that it is settled at once.
    assert (batch.state, batch.completed, batch.failed) == ("cancelled", 1, 2)
    assert b"kept" in response.content and b"by member" in response.content


def test_cancelling_what_has_ended_says_so(page, project):
    batch = make_batch(project=project, state="completed", texts=["a"])
    response = page.post(f"/batches/{batch.public_id}/cancel", follow=True)
    assert b"Nothing was cancelled: the batch is completed." in response.content


def test_a_viewer_looks_and_does_not_touch(viewer_page, project):
    batch = make_batch(project=project, open_lines=1)
    assert b"data-dialog=" not in viewer_page.get(f"/batches/{batch.public_id}").content
    assert viewer_page.post(f"/batches/{batch.public_id}/cancel").status_code == 403
    batch.refresh_from_db()
    assert batch.state == "in_progress"


def test_deleting_what_has_ended(page, viewer_page, strange_page, project):
    batch = make_batch(project=project, state="completed", texts=["a"])
    address = f"/batches/{batch.public_id}"
    assert viewer_page.post(f"{address}/delete").status_code == 403
    assert strange_page.post(f"{address}/delete").status_code == 404
    assert page.get(f"{address}/delete").status_code == 405
    assert b'data-dialog="delete-dialog"' not in viewer_page.get(address).content
    assert b'data-dialog="delete-dialog"' in page.get(address).content
    response = page.post(f"{address}/delete", follow=True)
    assert response.redirect_chain == [("/batches", 302)]
    assert b"is deleted" in response.content
    assert page.get(address).status_code == 404


def test_what_lives_cannot_be_deleted_from_its_page(page, project):
    batch = make_batch(project=project, open_lines=1)
    address = f"/batches/{batch.public_id}"
    assert b'data-dialog="delete-dialog"' not in page.get(address).content
    response = page.post(f"{address}/delete", follow=True)
    assert b"Nothing was deleted: the batch is in_progress." in response.content


def test_cancelling_needs_a_post_of_ours(member, project):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(member)
    batch = make_batch(project=project)
    assert client.get(f"/batches/{batch.public_id}/cancel").status_code == 405
    refused = client.post(f"/batches/{batch.public_id}/cancel")
    assert refused.status_code == 403 and b"Nothing was changed" in refused.content


def test_findings_stand_with_their_lines(page, project):
    finding = {"code": "invalid_method", "message": "GET <b>no</b>", "param": "method", "line": 17}
    batch = make_batch(project=project, state="failed", findings=[finding])
    html = page.get(f"/batches/{batch.public_id}").content.decode()
    assert ">17</td>" in html and "invalid_method" in html and "GET &lt;b&gt;no" in html
    assert "errors are listed here" not in html


def test_it_says_how_many_findings_there_are_and_what_is_not_listed(page, project):
    check = checker(max_findings=3)
    for raw in (b"{", made({"method": "GET", "url": "/v1/nope"}), b"[]", b"{", good("good")):
        check.check(raw)
    batch = make_batch(project=project, state="validating")
    fail_batch(batch=batch, findings=check.finish(), unlisted=check.hidden)
    html = page.get(f"/batches/{batch.public_id}").content.decode()
    assert "3 errors are listed here. 2 more errors are not listed." in html
    assert "Line 1: This line is not valid JSON" in html and "(and 4 more)" in html
    assert re.findall(r'data-label="Line">(\d+)<', html) == ["1", "2", "2"]
    assert MORE_ERRORS not in html


def test_a_long_text_is_cut_and_opens_in_place(page, project):
    text = "<i>x</i>" + "y" * 100_000
    batch = make_batch(project=project, texts=[text])
    html = page.get(f"/batches/{batch.public_id}").content.decode()
    assert len(html) < 60_000 and "Show all, 100,008 characters" in html
    address = re.search(r'hx-get="([^"]*/answer)"', html)
    opened = page.get(address[1]).content.decode()
    assert "y" * 100_000 in opened and "&lt;i&gt;x" in opened and "<i>" not in opened
    assert "data-opened" in opened
    closed = page.get(f"{address[1]}?short=1").content.decode()
    assert len(closed) < 2_000 and "data-opened" not in closed


def test_lines_are_paged_in_the_order_of_the_input(page, project, monkeypatch):
    monkeypatch.setattr(answers, "PAGE_LINES", 3)
    batch = make_batch(project=project, texts=["t"] * 4, errors=["e"] * 4)
    keys = r'<tr data-key="(\d+)"'
    address = f"/batches/{batch.public_id}"
    first = page.get(address).content.decode()
    assert re.findall(keys, first) == ["0", "1", "2"] and "Previous" not in first
    second = page.get(f"{address}?from=3").content.decode()
    assert re.findall(keys, second) == ["3", "4", "5"]
    assert "?from=0" in second and "?from=6" in second
    errors = page.get(f"{address}?show=errors").content.decode()
    assert re.findall(keys, errors) == ["4", "5", "6"] and "show=errors&amp;from=7" in errors


@pytest.mark.parametrize("query", ["?from=-1", "?from=x", "?from=99999999999999999999", "?from=²"])
def test_a_bad_cursor_gives_the_first_page(page, project, query):
    batch = make_batch(project=project, texts=["t"])
    assert b"line-0" in page.get(f"/batches/{batch.public_id}{query}").content


def test_the_number_of_queries_is_fixed(page, project, django_assert_num_queries):
    _, lane = make_worker()
    batch = make_batch(project=project, texts=["t"] * 20, errors=["e"], open_lines=4)
    claim(batch, lane)
    # Session, person, overdue, batch, worker, claims, events, files, role, retries, lines.
    with django_assert_num_queries(11):
        page.get(f"/batches/{batch.public_id}/live")


def test_an_ended_batch_shows_whom_it_told(page, project):
    batch = make_batch(project=project, texts=["t"], state="completed")
    now = timezone.now()
    WebhookDelivery.objects.create(
        batch=batch,
        event=batch.events.last(),
        type="batch.completed",
        url="https://hooks.example/x",
        payload=b"{}",
        state="dead",
        attempts=12,
        last_error="HTTP 500",
        next_at=now,
        created_at=now,
    )
    shown = page.get(f"/batches/{batch.public_id}").content.decode()
    assert "to https://hooks.example/x: HTTP 500" in shown
    assert "dead, 12 tries" in shown


def test_the_fragment_is_sent_once(page, project):
    batch = make_batch(project=project, texts=["t"])
    address = f"/batches/{batch.public_id}/live"
    first = page.get(address)
    assert page.get(address, headers={"If-None-Match": first["ETag"]}).status_code == 304


def test_the_files_can_be_had(page, project):
    batch = make_batch(project=project, state="completed", texts=["a"], errors=["no"])
    batch.input_file = create_file(
        project=project,
        upload=ContentFile(b'{"custom_id": 1}\n'),
        filename="önnur skrá.jsonl",
        purpose="batch",
        expires_s=None,
    )
    batch.save()
    output = page.get(f"/batches/{batch.public_id}/files/output")
    content = output.getvalue()
    assert output["Content-Length"] == str(len(content))
    assert [json.loads(line)["custom_id"] for line in content.splitlines()] == ["line-0"]
    errors = page.get(f"/batches/{batch.public_id}/files/error").getvalue()
    assert json.loads(errors)["error"]["message"] == "no"
    source = page.get(f"/batches/{batch.public_id}/files/input")
    assert source.getvalue() == b'{"custom_id": 1}\n' and source["Content-Length"] == "17"
    assert "attachment" in source["Content-Disposition"]


def test_a_file_that_expired_is_gone_and_the_page_says_so(page, project):
    batch = make_batch(project=project, state="completed", texts=["a"])
    StoredFile.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert page.get(f"/batches/{batch.public_id}/files/output").status_code == 404
    assert b"output: deleted or expired" in page.get(f"/batches/{batch.public_id}").content
    assert page.get(f"/batches/{batch.public_id}/files/other").status_code == 404


def test_a_line_without_an_answer_has_no_text(page, project):
    batch = make_batch(project=project, open_lines=1)
    assert page.get(f"/batches/{batch.public_id}/lines/0/answer").status_code == 404
    assert page.get(f"/batches/{batch.public_id}/lines/7/prompt").status_code == 404
    assert b"not answered yet" in page.get(f"/batches/{batch.public_id}").content
