"""The Django admin: what can be done there, and what cannot."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs import tasks
from jobs.admin.readonly import EstimatingPaginator
from jobs.models import (
    AuditEntry,
    Batch,
    BatchEvent,
    BatchRequest,
    BatchResponse,
    Gpu,
    Installation,
    KnownAnswer,
    LaneModel,
    Project,
    ProjectKey,
    ServedModel,
    StoredFile,
    Suspect,
    Upload,
    UploadPart,
    WebhookAttempt,
    WebhookDelivery,
    Worker,
)
from jobs.services.deleting import StillLive, delete_batch
from jobs.services.projects import create_key, find_key, get_project
from tests.cast import claim, get_model, make_batch, make_worker

# Shown within another one.
INLINE = {"Membership", "UploadPart", "WebhookAttempt"}
OURS = [m for m in apps.get_app_config("jobs").get_models() if m.__name__ not in INLINE]
EDITABLE = {"Project", "ServedModel"}


@pytest.fixture
def root(db) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="root-password"))
    return client


@pytest.fixture
def staff(db) -> Client:
    """One who may do all in `jobs`, but is no superuser."""
    person = User.objects.create_user("staff", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(content_type__app_label="jobs"))
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def full(db) -> Batch:
    """A row in every table."""
    worker, lane = make_worker()
    batch = make_batch(texts=["a"], errors=["b"], open_lines=1)
    claim(batch, lane)
    Gpu.objects.create(worker=worker, index=0, name="H200", read_at=timezone.now())
    LaneModel.objects.create(lane=lane, model=get_model(), failures=1)
    request = BatchRequest.objects.first()
    Suspect.objects.create(request=request, batch=batch, group_size=1, group_key="k")
    answer = BatchResponse.objects.filter(ok=True).first()
    KnownAnswer.objects.create(response=answer, project=get_project(), key=b"k" * 32)
    create_key(project=get_project(), name="test")
    now = timezone.now()
    Installation.objects.get_or_create(pk=1, defaults={"storage_id": "s", "secret_digest": "d"})
    AuditEntry.objects.create(created_at=now, actor="ada", action="key.create", target="test")
    upload = Upload.objects.create(project=get_project(), bytes=1, purpose="batch", expires_at=now)
    UploadPart.objects.create(upload=upload, bytes=1, path="uploads/parts/1")
    delivery = WebhookDelivery.objects.create(
        batch=batch,
        event=batch.events.first(),
        type="batch.completed",
        url="https://example.org/",
        payload=b"{}",
        next_at=now,
        created_at=now,
    )
    WebhookAttempt.objects.create(delivery=delivery, number=1, duration_ms=1, created_at=now)
    return batch


def _act(client: Client, model: type, action: str, *keys: object, **more: str):
    address = f"/admin/jobs/{model._meta.model_name}/"
    data = {"action": action, "_selected_action": [str(key) for key in keys], **more}
    return client.post(address, data, follow=True)


@pytest.mark.parametrize("model", OURS, ids=lambda m: m.__name__)
def test_every_table_is_there_and_opens(root, full, model):
    assert admin.site.is_registered(model)
    name = model._meta.model_name
    listed = root.get(f"/admin/jobs/{name}/")
    assert listed.status_code == 200
    if model is ProjectKey:
        return
    row = model.objects.first()
    assert root.get(f"/admin/jobs/{name}/{row.pk}/change/").status_code == 200


@pytest.mark.parametrize(
    "model", [m for m in OURS if m.__name__ not in EDITABLE], ids=lambda m: m.__name__
)
def test_what_must_not_be_edited_cannot_be(root, full, model):
    name = model._meta.model_name
    row = model.objects.first()
    before = model.objects.values().get(pk=row.pk)
    answer = root.post(f"/admin/jobs/{name}/{row.pk}/change/", {"state": "completed", "name": "x"})
    assert answer.status_code in (403, 404)
    assert model.objects.values().get(pk=row.pk) == before
    if model is not ProjectKey:
        assert root.get(f"/admin/jobs/{name}/add/").status_code == 403


@pytest.mark.parametrize("name", ["success", "failure", "ormq", "schedule"])
def test_the_task_queue_is_only_looked_at(root, name):
    assert root.get(f"/admin/django_q/{name}/").status_code == 200
    assert root.get(f"/admin/django_q/{name}/add/").status_code == 403


# --- Keys ------------------------------------------------------------------------------------
def test_a_key_is_shown_once_and_its_hash_never(root, db):
    project = get_project()
    made = root.post("/admin/jobs/projectkey/add/", {"name": "mine", "project": project.pk})
    assert made.status_code == 200 and "no-store" in made["Cache-Control"]
    key = ProjectKey.objects.get()
    secret = next(
        word
        for word in made.content.decode().replace("<", " ").replace(">", " ").split()
        if word.startswith(f"{key.prefix}.")
    )
    assert find_key(secret) == key and key.project == project
    # Addresses and forms would write the signs before the digest in another way.
    digest = key.hashed_key.rpartition("$")[2]
    assert len(digest) > 60 and digest not in made.content.decode()
    for address in ("/admin/jobs/projectkey/", "/admin/", "/admin/jobs/"):
        html = root.get(address).content.decode()
        assert secret not in html and digest not in html
    assert "mine" in root.get("/admin/jobs/projectkey/").content.decode()
    assert root.get(f"/admin/jobs/projectkey/{key.pk}/change/").status_code == 404


def test_revoking_closes_the_door_at_once(root, db):
    project = get_project()
    key, secret = create_key(project=project, name="one")
    other, other_secret = create_key(project=project, name="two")
    answer = _act(root, ProjectKey, "revoke", key.prefix)
    assert b"1 keys revoked" in answer.content
    assert find_key(secret) is None and find_key(other_secret) == other


def test_a_key_cannot_be_deleted_with_its_trace(root, db):
    key, _ = create_key(project=get_project(), name="one")
    _act(root, ProjectKey, "delete_selected", key.prefix, post="yes")
    assert ProjectKey.objects.filter(pk=key.pk).exists()


# --- Batches ---------------------------------------------------------------------------------
def test_cancelling_from_the_list(root, db):
    live, done = make_batch(open_lines=2), make_batch(state="completed", texts=["a"])
    answer = _act(root, Batch, "cancel", live.pk, done.pk)
    live.refresh_from_db()
    done.refresh_from_db()
    assert (live.state, done.state) == ("cancelled", "completed")
    assert b"is completed: nothing to cancel" in answer.content
    assert live.events.filter(reason="by root").exists()


def test_pausing_and_resuming_from_the_list(root, db):
    live, done = make_batch(open_lines=2), make_batch(state="completed", texts=["a"])
    answer = _act(root, Batch, "pause", live.pk, done.pk)
    live.refresh_from_db()
    assert live.paused_at is not None and live.events.filter(kind="paused").count() == 1
    assert b"1 batches are paused" in answer.content
    assert b"is completed: it cannot be paused" in answer.content
    _act(root, Batch, "resume", live.pk)
    live.refresh_from_db()
    assert live.paused_at is None and live.events.get(kind="resumed").reason == "by root"
    assert AuditEntry.objects.filter(target=live.public_id).count() == 2


def test_retrying_from_the_list(root, db):
    part = make_batch(state="completed", texts=["a"], errors=["no"])
    live, whole = make_batch(open_lines=2), make_batch(state="completed", texts=["a"])
    answer = _act(root, Batch, "retry", part.pk, live.pk, whole.pk)
    made = Batch.objects.get(parent=part)
    assert f"Retried: {part} as {made}.".encode() in answer.content
    assert b"Cannot retry a batch with status" in answer.content
    assert b"Nothing is to be retried" in answer.content
    assert Batch.objects.count() == 4
    # Pressed twice, it is done once.
    _act(root, Batch, "retry", part.pk)
    assert Batch.objects.count() == 4


def test_a_live_batch_cannot_be_deleted(root, db):
    batch = make_batch(open_lines=1)
    assert root.post(f"/admin/jobs/batch/{batch.pk}/delete/", {"post": "yes"}).status_code == 403
    _act(root, Batch, "delete_selected", batch.pk, post="yes")
    assert Batch.objects.filter(pk=batch.pk).exists()


def test_the_service_itself_refuses_a_live_batch(db):
    batch = make_batch(state="completed", texts=["a"])
    # It has ended as the admin read it, and not as the database has it.
    Batch.objects.filter(pk=batch.pk).update(state="finalizing")
    with pytest.raises(StillLive):
        delete_batch(batch=batch)
    assert BatchResponse.objects.filter(batch=batch).exists()


def test_deleting_an_ended_batch_takes_all_of_it_and_nothing_else(root, db):
    batch = make_batch(state="completed", texts=["a"] * 3, errors=["b"])
    other = make_batch(state="completed", texts=["kept"])
    page = root.get(f"/admin/jobs/batch/{batch.pk}/delete/")
    assert b"4 lines with 4 answers" in page.content
    root.post(f"/admin/jobs/batch/{batch.pk}/delete/", {"post": "yes"})
    assert list(Batch.objects.all()) == [other]
    tasks.sweep_remains()
    assert list(Batch.every.all()) == [other]
    for model in (BatchRequest, BatchResponse, BatchEvent):
        assert set(model.objects.values_list("batch_id", flat=True)) == {other.pk}
    assert list(StoredFile.objects.values_list("pk", flat=True)) == [other.output_file_id]


def test_deleting_asks_no_more_queries_for_more_lines(root, db):
    asked = []
    for lines in (3, 200):
        batch = make_batch(state="completed", texts=["a"] * lines)
        with CaptureQueriesContext(connection) as queries:
            root.get(f"/admin/jobs/batch/{batch.pk}/delete/")
            _act(root, Batch, "delete_selected", batch.pk, post="yes")
        asked.append(len(queries))
    assert not Batch.objects.exists()
    assert asked[0] == asked[1]


def test_a_file_is_deleted_for_its_readers(root, db):
    make_batch(state="completed", texts=["a"])
    stored = StoredFile.objects.get()
    _act(root, StoredFile, "remove", stored.pk)
    stored.refresh_from_db()
    assert stored.deleted_at is not None


# --- Projects, models, workers ---------------------------------------------------------------
def test_a_project_is_deleted_only_while_empty(root, db):
    make_batch(project=get_project(name="full"))
    for name, status in (("full", 403), ("empty", 302)):
        project = get_project(name=name)
        address = f"/admin/jobs/project/{project.pk}/delete/"
        assert root.post(address, {"post": "yes"}).status_code == status
    assert set(Project.objects.values_list("name", flat=True)) == {"full"}


def test_engine_arguments_are_for_superusers(root, staff):
    model = get_model()
    address = f"/admin/jobs/servedmodel/{model.pk}/change/"
    form = {
        "name": "small",
        "aliases": "lora",
        "enabled": "on",
        "source": "/evil",
        "engine_args": "--evil",
        "upstream_url": "",
        "upstream_concurrency": 64,
        "upstream_key_env": "SECRET",
    }
    assert staff.post(address, form).status_code == 302
    model.refresh_from_db()
    assert (model.aliases, model.source, model.engine_args, model.upstream_key_env) == (
        ["lora"],
        "/models/small",
        "",
        "",
    )
    assert staff.get("/admin/jobs/servedmodel/add/").status_code == 403
    assert root.post(address, {**form, "source": "/good"}).status_code == 302
    model.refresh_from_db()
    assert (model.source, model.engine_args) == ("/good", "--evil")


def test_a_model_has_one_origin(root, db):
    form = {"name": "two", "source": "/x", "upstream_url": "http://h/v1", "upstream_concurrency": 1}
    answer = root.post("/admin/jobs/servedmodel/add/", form)
    assert answer.status_code == 200 and not ServedModel.objects.filter(name="two").exists()


def test_a_worker_goes_only_when_it_is_gone(root, db):
    alive, _ = make_worker("alive")
    silent, _ = make_worker("silent", silent_s=60)
    _act(root, Worker, "delete_selected", alive.pk, post="yes")
    _act(root, Worker, "delete_selected", silent.pk, post="yes")
    assert set(Worker.objects.values_list("name", flat=True)) == {"alive"}


def test_a_model_is_tried_again_now(root, db):
    _, lane = make_worker()
    later = timezone.now() + timedelta(minutes=5)
    known = LaneModel.objects.create(lane=lane, model=get_model(), failures=3, retry_at=later)
    assert b"1 models are tried again" in _act(root, LaneModel, "retry", known.pk).content
    known.refresh_from_db()
    assert known.retry_at <= timezone.now() and known.failures == 3


def test_actions_need_their_permission(db):
    person = User.objects.create_user("looker", is_staff=True)
    person.user_permissions.set(
        Permission.objects.filter(content_type__app_label="jobs", codename__startswith="view_")
    )
    client = Client()
    client.force_login(person)
    batch = make_batch(open_lines=1)
    key, secret = create_key(project=get_project(), name="one")
    part = make_batch(state="completed", errors=["no"])
    for action in ("cancel", "pause", "retry"):
        _act(client, Batch, action, batch.pk, part.pk)
    _act(client, ProjectKey, "revoke", key.prefix)
    batch.refresh_from_db()
    assert (batch.state, batch.paused_at) == ("in_progress", None)
    assert find_key(secret) is not None and Batch.objects.count() == 2


# --- Large tables ----------------------------------------------------------------------------
def test_a_large_table_is_not_counted(root, full, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(EstimatingPaginator, "EXACT_UP_TO", 2)
    paginator = EstimatingPaginator(BatchRequest.objects.order_by("pk"), 50)
    with django_assert_num_queries(2) as asked:
        assert paginator.count >= 2
    assert "LIMIT 2" in asked.captured_queries[0]["sql"]
    assert "reltuples" in asked.captured_queries[1]["sql"]


def test_the_lists_of_lines_read_no_bodies(root, full, django_assert_max_num_queries):
    for name in ("batchrequest", "batchresponse"):
        with django_assert_max_num_queries(12) as asked:
            root.get(f"/admin/jobs/{name}/")
        assert not any('"body"' in query["sql"] for query in asked.captured_queries)


def test_lines_are_found_by_their_batch(root, full):
    make_batch(texts=["other"])
    found = root.get("/admin/jobs/batchrequest/", {"q": full.public_id})
    assert found.context["cl"].result_count == 3


@pytest.mark.parametrize("column", ["public_id", "model_name"])
def test_batches_are_found_by_their_id_and_by_their_model(root, full, column):
    other = make_batch(texts=["other"], model_name="another")
    found = root.get("/admin/jobs/batch/", {"q": f" {getattr(full, column)} "})
    listed = set(found.context["cl"].queryset)
    assert full in listed and other not in listed


def test_what_is_unknown_is_found_in_no_list(root, full):
    searched = [m for m in OURS if admin.site.get_model_admin(m).get_search_fields(None)]
    assert {Batch, StoredFile, BatchResponse, AuditEntry, WebhookDelivery} <= set(searched)
    for model in searched:
        address = f"/admin/jobs/{model._meta.model_name}/"
        found = root.get(address, {"q": "no such thing"})
        assert found.context["cl"].result_count == 0
        assert root.get(address, {"q": "a\0b"}).status_code == 200


def test_the_result_files_of_a_deleted_batch_are_gone_from_the_list(root, full):
    kept = make_batch(state="completed", texts=["kept"])
    gone = make_batch(state="completed", texts=["gone"], errors=["gone"])
    delete_batch(batch=gone)
    listed = set(root.get("/admin/jobs/storedfile/").context["cl"].queryset)
    assert kept.output_file in listed
    assert not {gone.output_file, gone.error_file} & listed


def test_it_wears_our_colours_and_runs_no_inline_script(root, full):
    response = root.get("/admin/jobs/batch/")
    assert b"css/admin.css" in response.content and b"img/logo.svg" in response.content
    assert "script-src 'self'" in response["Content-Security-Policy"]
