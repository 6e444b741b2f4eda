"""Deleting a batch: gone at once for every reader, though its rows are all still there."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import openai
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from jobs import tasks
from jobs.models import AuditEntry, Batch, BatchRequest, BatchResponse, StoredFile, WebhookDelivery
from jobs.services.deleting import delete_batch
from jobs.services.files import GoneMeanwhile, read_content
from monitoring.health import batches_by_state, health
from tests.api.checks import check_error
from tests.api.conftest import lines, order

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def done(api, lane) -> dict:
    """A batch of three lines that has ended, with an error."""
    batch = api.make(lines(3))
    lane.answer(failing=["line-1"])
    return api.get(f"/v1/batches/{batch['id']}").json()


def test_it_is_answered_like_a_deleted_file_and_gone_from_the_api(api, done):
    other = api.make(lines(1))
    answer = api.delete(f"/v1/batches/{done['id']}")
    assert answer.json() == {"id": done["id"], "object": "batch", "deleted": True}
    for path in ("", "/cancel"):
        call = api.post if path else api.get
        check_error(call(f"/v1/batches/{done['id']}{path}"), 404, None, "id", "No batch found")
    check_error(api.delete(f"/v1/batches/{done['id']}"), 404, None, "id", "No batch found")
    assert [one["id"] for one in api.get("/v1/batches").json()["data"]] == [other["id"]]
    for kind in ("output_file_id", "error_file_id"):
        assert api.get(f"/v1/files/{done[kind]}").status_code == 404
        assert api.get(f"/v1/files/{done[kind]}/content").status_code == 404
    purposes = {one["purpose"] for one in api.get("/v1/files").json()["data"]}
    assert purposes == {"batch"}, "the input files stay"
    # Nothing of this is because the rows are gone.
    assert BatchResponse.objects.count() == 3


@pytest.mark.parametrize("state", ["validating", "in_progress", "finalizing", "cancelling"])
def test_one_that_lives_is_a_409_that_names_its_state(api, lane, state):
    batch = api.make(lines(1))
    Batch.objects.update(state=state, cancelling_at=timezone.now())
    answer = api.delete(f"/v1/batches/{batch['id']}")
    check_error(answer, 409, None, None, f"Cannot delete a batch with status '{state}'")
    assert answer["x-should-retry"] == "false"
    assert api.get(f"/v1/batches/{batch['id']}").status_code == 200


def test_a_foreign_one_is_not_there(strange_api, api, done):
    check_error(strange_api.delete(f"/v1/batches/{done['id']}"), 404, None, "id")
    assert api.get(f"/v1/batches/{done['id']}").status_code == 200


def test_a_page_may_follow_one_that_was_deleted(api, lane):
    made = [api.make(lines(1))["id"] for _ in range(3)]
    lane.answer()
    api.delete(f"/v1/batches/{made[1]}")
    rest = api.get("/v1/batches", {"after": made[1]}).json()["data"]
    assert [one["id"] for one in rest] == [made[0]]


def test_its_idempotency_key_is_free_again(api, lane):
    stored = api.upload(lines(1)).json()
    key = {"Idempotency-Key": "once"}
    first = api.post("/v1/batches", order(stored["id"]), **key).json()
    Batch.objects.update(state="failed", ended_at=timezone.now())
    assert api.post("/v1/batches", order(stored["id"]), **key).json()["id"] == first["id"]
    api.delete(f"/v1/batches/{first['id']}")
    other = api.upload(lines(2)).json()
    second = api.post("/v1/batches", order(other["id"]), **key)
    assert second.status_code == 200 and second.json()["id"] != first["id"]


def test_a_late_call_for_it_changes_nothing(api, done):
    batch = Batch.objects.get()
    delete_batch(batch=batch)
    before = Batch.every.values().get()
    tasks.validate(batch.pk)
    assert Batch.every.values().get() == before
    Batch.every.all().delete()
    tasks.validate(batch.pk)
    assert not Batch.every.exists()


def test_a_webhook_that_has_not_gone_out_will_not(api, done):
    batch = Batch.objects.get()
    delivery = WebhookDelivery.objects.create(
        batch=batch,
        event=batch.events.last(),
        type="batch.completed",
        url="https://example.org/",
        payload=b"{}",
        next_at=timezone.now(),
        created_at=timezone.now(),
    )
    delete_batch(batch=batch)
    delivery.refresh_from_db()
    assert delivery.state == "dead" and "deleted" in delivery.last_error
    assert not batch.events.filter(announced_at=None).exists()


def test_it_is_noted_once(api, done):
    for _ in range(2):
        delete_batch(batch=Batch.every.get())
    assert AuditEntry.objects.get(action="batch.delete").target == done["id"]


def test_it_counts_no_more_in_health_metrics_and_running_jobs(api, lane, done):
    assert batches_by_state()["completed"] == 1
    api.delete(f"/v1/batches/{done['id']}")
    assert not any(batches_by_state().values())
    assert health()["queue"]["requests"] == 0


@pytest.fixture
def root(db) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="root-password"))
    return client


@pytest.mark.parametrize(
    "table",
    ["batch", "batchrequest", "batchresponse", "batchevent", "storedfile", "webhookdelivery"],
)
def test_no_list_of_the_administration_shows_it(root, api, done, table):
    batch = Batch.objects.get()
    WebhookDelivery.objects.create(
        batch=batch,
        event=batch.events.last(),
        type="batch.completed",
        url="https://example.org/",
        payload=b"{}",
        next_at=timezone.now(),
        created_at=timezone.now(),
    )
    shown = [done["id"], done["output_file_id"]]
    address = f"/admin/jobs/{table}/"

    def is_shown() -> bool:
        html = root.get(address).content.decode()
        # The log of one's own deeds is no list of batches.
        return any(one in html for one in shown)

    assert is_shown()
    delete_batch(batch=batch)
    assert not is_shown()
    hidden = {
        "batch": batch.pk,
        "batchrequest": BatchRequest.objects.first().pk,
        "storedfile": batch.output_file_id,
    }
    if table in hidden:
        assert root.get(f"{address}{hidden[table]}/change/").status_code == 302


def test_pages_show_it_no_more(root, done):
    address = f"/batches/{done['id']}"
    assert root.get(address).status_code == 200
    delete_batch(batch=Batch.objects.get())
    for rest in ("", "/live", "/files/output", "/files/error", "/lines/0/answer"):
        assert root.get(f"{address}{rest}").status_code == 404, rest
    assert done["id"] not in root.get("/batches").content.decode()


def test_a_reader_whose_batch_is_deleted_meanwhile_is_not_left_with_half_of_it(
    api, lane, monkeypatch
):
    monkeypatch.setattr("jobs.services.files.PAGE_ROWS", 2)
    batch = api.make(lines(5))
    lane.answer(*(f"line-{number}" for number in range(4)))
    stored = Batch.objects.select_related("output_file").get().output_file
    # Begun while it lived, so that the reader was told no length.
    content = read_content(stored=stored)
    assert content.size is None
    chunks = iter(content.chunks)
    assert next(chunks)
    api.post(f"/v1/batches/{batch['id']}/cancel")
    Batch.objects.update(state="cancelled", ended_at=timezone.now())
    api.delete(f"/v1/batches/{batch['id']}")
    BatchRequest.objects.all().delete()
    with pytest.raises(GoneMeanwhile):
        list(chunks)


@pytest.mark.django_db(transaction=True)
def test_the_official_client_gets_a_404_after_it(connect, owner, api, done):
    client = connect(owner)
    answer = client.delete(f"/batches/{done['id']}", cast_to=object)
    assert answer == {"id": done["id"], "object": "batch", "deleted": True}
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve(done["id"])


# --- Expired files: input, output and error --------------------------------------------------
def _expire() -> None:
    StoredFile.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize("kind", ["input_file_id", "output_file_id", "error_file_id"])
def test_an_expired_file_is_gone_before_any_sweep(api, done, kind):
    assert api.get(f"/v1/files/{done[kind]}/content").status_code == 200
    _expire()
    for path in ("", "/content"):
        check_error(api.get(f"/v1/files/{done[kind]}{path}"), 404, None, "id", "No file found")
    check_error(api.delete(f"/v1/files/{done[kind]}"), 404, None, "id")
    assert api.get("/v1/files").json()["data"] == []
    assert api.get(f"/v1/batches/{done['id']}").json()[kind] == done[kind]


def test_output_expires_after_counts_for_both_result_files(api, lane):
    expires = {"anchor": "created_at", "seconds": 3_600}
    batch = api.make(lines(2), output_expires_after=expires)
    lane.answer(failing=["line-1"])
    found = api.get(f"/v1/batches/{batch['id']}").json()
    for kind in ("output_file_id", "error_file_id"):
        stored = api.get(f"/v1/files/{found[kind]}").json()
        assert 3_595 <= stored["expires_at"] - stored["created_at"] <= 3_605
    uploaded = api.get(f"/v1/files/{found['input_file_id']}").json()
    assert uploaded["expires_at"] - uploaded["created_at"] > 86_400


def test_what_stands_in_an_expired_result_file_cannot_be_read_on_the_pages(root, done):
    address = f"/batches/{done['id']}"
    html = root.get(address).content.decode()
    assert "to line-0" in html and "It took too long." in html
    _expire()
    html = root.get(address).content.decode()
    assert "to line-0" not in html and "It took too long." not in html
    assert root.get(f"{address}/lines/0/answer").status_code == 404
    assert root.get(f"{address}/lines/1/error").status_code == 404


# --- Hard to forget --------------------------------------------------------------------------
# Who may see rows of deleted batches, and why.
SEES_DELETED = {
    "jobs/services/deleting.py",  # hides them
    "jobs/services/due.py",  # finds them
    "jobs/services/purging.py",  # removes them
    "jobs/services/old_files.py",  # asks who still needs a file
    "jobs/admin/shown.py",  # leaves them out
    "jobs/services/projects.py",  # a project with rows is not empty
    "jobs/api/batches.py",  # the place of a deleted one in a list
}


def test_only_those_who_have_to_see_deleted_batches():
    found = {
        str(path.relative_to(ROOT))
        for folder in ("jobs", "monitoring", "curation", "benchmarks", "vbatch_site")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"\bBatch\.(every|_base_manager)\b", path.read_text())
    }
    assert found == SEES_DELETED


def test_every_way_to_a_batch_but_that_one_leaves_deleted_ones_out(api, done):
    batch = Batch.objects.get()
    delete_batch(batch=batch)
    for rows in (
        Batch.objects,
        Batch._default_manager,
        batch.project.batches,
        batch.model.batches,
        batch.input_file.input_of,
    ):
        assert not rows.exists()
    assert Batch.every.exists()
