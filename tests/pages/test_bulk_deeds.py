"""The same deed to many batches at once."""

from __future__ import annotations

from html import unescape

import pytest
from django.test import Client

from jobs.models import AuditEntry, Batch, Membership, Role
from jobs.services.projects import get_project
from jobs.views import bulk_deeds
from tests.cast import make_batch, make_worker


def _do(page: Client, verb: str, *batches: Batch | str, **fields: str) -> str:
    ids = " ".join(one if isinstance(one, str) else one.public_id for one in batches)
    response = page.post(f"/batches/bulk/{verb}", {"ids": ids, **fields}, follow=True)
    assert response.status_code == 200
    return unescape(response.content.decode())


def _states() -> list[str]:
    return list(Batch.every.order_by("pk").values_list("state", flat=True))


def test_what_can_be_done_is_done_and_the_rest_is_named(page, project):
    make_worker()
    running = [make_batch(project=project, open_lines=1) for _ in range(2)]
    done = make_batch(project=project, state="completed", texts=["a"])
    html = _do(page, "pause", *running, done, "batch_unknown", "\0 <b>")
    assert "2 batches paused." in html
    assert f"Not paused (completed): {done.public_id[:14]}." in html
    assert "Not paused (not found): <b>" in unescape(html) and "<b>\n" not in html
    assert "batch_unknown" in html
    assert Batch.objects.filter(paused_at=None).get() == done
    assert AuditEntry.objects.filter(action="batch.pause").count() == 2
    assert "Not paused (paused already)" in _do(page, "pause", running[0])
    assert "2 batches resumed." in _do(page, "resume", *running)
    assert "Not resumed (not paused)" in _do(page, "resume", running[0])


def test_cancelling_and_deleting(page, project):
    live = [make_batch(project=project, open_lines=1) for _ in range(2)]
    done = make_batch(project=project, state="completed", texts=["a"])
    html = _do(page, "delete", live[0], done)
    assert "1 batch deleted." in html and "Not deleted (in progress: cancel it first)" in html
    html = _do(page, "cancel", *live, done)
    # One that is deleted is not found, as everywhere.
    assert "2 batches cancelled." in html and "Not cancelled (not found)" in html
    assert _states() == ["cancelled", "cancelled", "completed"]
    assert "Not cancelled (cancelled already)" in _do(page, "cancel", live[0])


def test_twice_named_is_done_once_and_none_is_nothing(page, project):
    make_worker()
    batch = make_batch(project=project, open_lines=1)
    assert "1 batch paused." in _do(page, "pause", batch, batch)
    assert "Nothing was paused: no batch was chosen." in _do(page, "pause")


def test_a_viewer_and_a_stranger_change_nothing(viewer_page, strange_page, page, member, project):
    make_worker()
    batch = make_batch(project=project, open_lines=1)
    assert "Not paused (of a project that you only view)" in _do(viewer_page, "pause", batch)
    assert "Not paused (not found)" in _do(strange_page, "pause", batch)
    other = get_project(name="other")
    Membership.objects.create(project=other, user=member, role=Role.VIEWER)
    seen = make_batch(project=other, open_lines=1)
    html = _do(page, "pause", batch, seen)
    assert "1 batch paused." in html and "that you only view" in html
    seen.refresh_from_db()
    assert seen.paused_at is None


def test_so_many_at_once(page, project, monkeypatch):
    make_worker()
    monkeypatch.setattr(bulk_deeds, "BULK_MAX", 2)
    made = [make_batch(project=project, open_lines=1) for _ in range(3)]
    html = _do(page, "pause", *made)
    assert "2 batches paused." in html and "taken at once: 1 were left as they are" in html
    assert Batch.objects.filter(paused_at=None).get() == made[-1]


def test_it_needs_a_post_of_ours_and_a_known_deed(member, page, project):
    client = Client(enforce_csrf_checks=True)
    client.force_login(member)
    batch = make_batch(project=project, open_lines=1)
    assert client.post("/batches/bulk/pause", {"ids": batch.public_id}).status_code == 403
    assert page.get("/batches/bulk/pause").status_code == 405
    assert page.post("/batches/bulk/explode", {"ids": batch.public_id}).status_code == 404


@pytest.mark.parametrize(
    ("back", "target"),
    [("/batches?show=live", "/batches?show=live"), ("//evil.example", "/batches")],
)
def test_it_leads_back_to_the_same_view(page, project, back, target):
    batch = make_batch(project=project, open_lines=1)
    response = page.post("/batches/bulk/pause", {"ids": batch.public_id, "back": back})
    assert response["Location"] == target


def test_only_who_may_change_anything_can_choose(page, viewer_page, project):
    make_batch(project=project)
    assert b"/batches/bulk/pause" in page.get("/batches").content
    assert b"/batches/bulk/" not in viewer_page.get("/batches").content
