"""Pausing, resuming and retrying by a button."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from jobs.models import AuditEntry, Batch, ServedModel, Worker
from tests.cast import make_batch, make_worker


def buttons(html: bytes) -> list[str]:
    """Return the addresses of the buttons of single batches, in turn."""
    return re.findall(r'formaction="(/batches/batch_[^"]+)"', html.decode())


def test_a_running_batch_is_paused_and_goes_on(page, project):
    make_worker()
    batch = make_batch(project=project, texts=["a"], open_lines=2)
    address = f"/batches/{batch.public_id}"
    assert buttons(page.get(address).content) == [f"{address}/pause"]
    paused = page.post(f"{address}/pause", follow=True)
    batch.refresh_from_db()
    assert batch.paused_at is not None and batch.state == "in_progress"
    assert b'class="word">paused<' in paused.content and b"by member" in paused.content
    assert b'class="what">paused<' in paused.content
    assert b"waits for somebody to resume it" in paused.content
    assert buttons(paused.content) == [f"{address}/resume"]
    resumed = page.post(f"{address}/resume", follow=True)
    batch.refresh_from_db()
    assert batch.paused_at is None and b'class="what">resumed<' in resumed.content
    deeds = AuditEntry.objects.filter(target=batch.public_id).order_by("pk")
    assert [one.action for one in deeds] == [
        "batch.pause",
        "batch.resume",
    ]


def test_what_is_left_is_retried_and_both_name_each_other(page, project):
    batch = make_batch(project=project, state="completed", texts=["a"], errors=["no", "no"])
    address = f"/batches/{batch.public_id}"
    shown = page.get(address).content
    assert buttons(shown) == [f"{address}/retry"] and b"Retry 2 lines" in shown
    response = page.post(f"{address}/retry", follow=True)
    made = Batch.objects.get(parent=batch)
    assert response.redirect_chain == [(f"/batches/{made.public_id}", 302)]
    assert f'href="{address}" title="{batch.public_id}"' in response.content.decode()
    first = page.get(address).content.decode()
    assert f'href="/batches/{made.public_id}"' in first and ", in progress</dd>" in first
    # Pressed twice, it is done once.
    again = page.post(f"{address}/retry")
    assert again["Location"] == f"/batches/{made.public_id}" and Batch.objects.count() == 2


@pytest.mark.parametrize(
    ("state", "lines", "verbs"),
    [
        ("validating", {}, ["pause"]),
        ("cancelling", {"open_lines": 1}, []),
        ("completed", {"texts": ["a"]}, []),
        ("completed", {"errors": ["a"]}, ["retry"]),
        ("cancelled", {"texts": ["a"], "errors": ["b"]}, ["retry"]),
        ("expired", {"errors": ["b"]}, ["retry"]),
        ("failed", {}, []),
    ],
)
def test_what_can_be_done_has_a_button_on_page_and_list(page, project, state, lines, verbs):
    batch = make_batch(project=project, state=state, **lines)
    wanted = [f"/batches/{batch.public_id}/{verb}" for verb in verbs]
    assert buttons(page.get(f"/batches/{batch.public_id}").content) == wanted
    assert buttons(page.get("/batches").content) == wanted


def test_what_cannot_be_done_says_why(page, project):
    done = make_batch(project=project, state="completed", texts=["a"])
    address = f"/batches/{done.public_id}"
    for verb, words in (
        ("pause", "Nothing was paused: the batch is completed."),
        ("resume", "Nothing was resumed: the batch is completed."),
        ("retry", "every line of batch"),
    ):
        assert words.encode() in page.post(f"{address}/{verb}", follow=True).content
    failed = make_batch(project=project, state="completed", errors=["a"])
    ServedModel.objects.all().delete()
    refused = page.post(f"/batches/{failed.public_id}/retry", follow=True)
    assert b"The model &#x27;small&#x27; is not supported" in refused.content
    assert Batch.objects.count() == 2


def test_a_viewer_has_no_buttons_and_is_refused(viewer_page, project):
    live = make_batch(project=project, open_lines=1)
    failed = make_batch(project=project, state="completed", errors=["a"])
    for address in ("/batches", f"/batches/{live.public_id}", f"/batches/{failed.public_id}"):
        assert buttons(viewer_page.get(address).content) == []
    for batch, verb in ((live, "pause"), (live, "resume"), (failed, "retry")):
        assert viewer_page.post(f"/batches/{batch.public_id}/{verb}").status_code == 403
    live.refresh_from_db()
    assert live.paused_at is None and Batch.objects.count() == 2


@pytest.mark.parametrize("verb", ["pause", "resume", "retry"])
def test_a_foreign_batch_is_not_there(strange_page, project, verb):
    batch = make_batch(project=project, state="completed", errors=["a"])
    assert strange_page.post(f"/batches/{batch.public_id}/{verb}").status_code == 404
    assert not AuditEntry.objects.filter(action__startswith="batch.").exists()


@pytest.mark.parametrize("verb", ["pause", "resume", "retry"])
def test_it_needs_a_post_of_ours(member, project, verb):
    client = Client(enforce_csrf_checks=True)
    client.force_login(member)
    batch = make_batch(project=project, open_lines=1)
    assert client.get(f"/batches/{batch.public_id}/{verb}").status_code == 405
    assert client.post(f"/batches/{batch.public_id}/{verb}").status_code == 403


def test_the_button_of_the_list_works_and_leads_back_to_the_same_view(member, project):
    """With the form as it stands on the page, token and all."""
    make_worker()
    client = Client(enforce_csrf_checks=True)
    client.force_login(member)
    batch = make_batch(project=project, open_lines=1)
    html = client.get("/batches?show=live").content.decode()
    (address,) = buttons(html.encode())
    form = html.partition('<form id="deed-form"')[2].partition("</form>")[0]
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))
    assert fields["back"] == "/batches?show=live"
    response = client.post(address, fields)
    assert (response.status_code, response["Location"]) == (302, "/batches?show=live")
    batch.refresh_from_db()
    assert batch.paused_at is not None


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "javascript:x", ""])
def test_it_leads_to_no_other_site(page, project, back):
    batch = make_batch(project=project, open_lines=1)
    response = page.post(f"/batches/{batch.public_id}/pause", {"back": back})
    assert response["Location"] == f"/batches/{batch.public_id}"


def test_live_parts_hold_no_token(page, project):
    batch = make_batch(project=project, open_lines=1)
    Worker.objects.all().delete()
    for address in ("/batches/live", f"/batches/{batch.public_id}/live"):
        assert b"csrfmiddlewaretoken" not in page.get(address).content
