"""What goes by itself: all of what is due and nothing else, in slices, whoever is killed."""

from __future__ import annotations

import os
import threading
import time
from datetime import timedelta

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage, default_storage
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from django_q.models import OrmQ, Task

from jobs import tasks
from jobs.models import (
    AuditEntry,
    Batch,
    BatchEvent,
    BatchRequest,
    BatchResponse,
    Chunk,
    Gpu,
    Installation,
    Lane,
    Project,
    StoredFile,
    Upload,
    UploadPart,
    WebhookAttempt,
    WebhookDelivery,
    Worker,
)
from jobs.services import orphans, slices
from jobs.services.deleting import delete_batch
from jobs.services.due import Scope
from jobs.services.files import create_file, delete_file
from jobs.services.old_rows import OLD_ROWS
from jobs.services.projects import get_project
from jobs.services.retention import measure_all, remove_all
from jobs.services.slices import Pace, Tally
from jobs.services.storage_marker import write_marker
from tests.cast import make_batch, make_worker

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _own_folders(settings, tmp_path, request):
    settings.FILES_DIR = settings.MEDIA_ROOT = tmp_path / "files"
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "files" / "incoming"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir(parents=True)


def remove(**scope) -> Tally:
    removed = Tally()
    for tally in remove_all(Scope(now=timezone.now(), **scope), pace=Pace(rests=False)):
        removed.merge(tally)
    return removed


def slices_of(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROWS_FIRST", "ROWS_MIN", "ROWS_MAX"):
        monkeypatch.setattr(slices, name, rows)


def counts(tally: Tally) -> dict[str, int]:
    return {name: amount.count for name, amount in tally.amounts.items()}


def ended(days: float, **fields) -> Batch:
    fields = {"texts": ["a", "b"], "errors": ["c"], **fields}
    return make_batch(state="completed", ended_at=timezone.now() - days * DAY, **fields)


def deliver(batch: Batch, *, state: str = "delivered", days: float = 0) -> WebhookDelivery:
    at = timezone.now() - days * DAY
    delivery = WebhookDelivery.objects.create(
        batch=batch,
        event=batch.events.last(),
        type="batch.completed",
        url="https://example.org/hook",
        payload=b"{}",
        state=state,
        next_at=at,
        created_at=at,
    )
    WebhookAttempt.objects.create(delivery=delivery, number=1, duration_ms=1, created_at=at)
    return delivery


def upload(content: bytes = b"{}\n", *, project: Project | None = None, **fields) -> StoredFile:
    stored = create_file(
        project=project or get_project(),
        upload=ContentFile(content, name="in.jsonl"),
        filename="in.jsonl",
        purpose="batch",
        expires_s=None,
    )
    StoredFile.objects.filter(pk=stored.pk).update(**fields)
    stored.refresh_from_db()
    return stored


# --- Batches ---------------------------------------------------------------------------------
def test_a_deleted_batch_goes_with_all_that_is_its_own_and_nothing_else(db):
    batch, other = ended(0), ended(0)
    for one in (batch, other):
        deliver(one)
    source = upload()
    Batch.objects.filter(pk=batch.pk).update(input_file=source)
    delete_batch(batch=batch)
    assert counts(remove()) == {
        "jobs_batch": 1,
        "jobs_batchrequest": 3,
        "jobs_batchresponse": 3,
        "jobs_batchevent": 2,
        "jobs_storedfile": 2,
        "jobs_webhookdelivery": 1,
        "jobs_webhookattempt": 1,
    }
    for model in (BatchRequest, BatchResponse, BatchEvent, WebhookDelivery):
        assert set(model._default_manager.values_list("batch", flat=True)) == {other.pk}
    assert list(Batch.every.all()) == [other]
    results = {other.output_file_id, other.error_file_id}
    assert set(StoredFile.objects.values_list("pk", flat=True)) == {source.pk, *results}
    assert default_storage.exists(source.paths[0])
    assert not remove().count


def test_batches_go_by_age_only_where_the_operator_asks_for_it(db, settings):
    old, young = ended(31), ended(29)
    make_batch(open_lines=1, created_at=timezone.now() - 90 * DAY)
    assert not remove().count
    settings.KEEP_BATCHES_DAYS = 30
    assert counts(remove())["jobs_batch"] == 1
    assert not Batch.every.filter(pk=old.pk).exists()
    assert counts(remove(batch_days=0))["jobs_batch"] == 1
    assert not Batch.every.filter(pk=young.pk).exists()
    # The one that lives is not old, whatever its age.
    assert [batch.state for batch in Batch.every.all()] == ["in_progress"]


def test_what_took_up_lines_of_a_deleted_batch_stays_and_names_it_no_more(db):
    parent = ended(0)
    child = make_batch(open_lines=1, parent=parent)
    delete_batch(batch=parent)
    child.refresh_from_db()
    assert child.parent_id is None
    # One that was made at that very moment.
    Batch.objects.filter(pk=child.pk).update(parent=parent)
    remove()
    child.refresh_from_db()
    assert child.parent_id is None and not Batch.every.filter(pk=parent.pk).exists()


def test_lines_go_in_slices_each_in_a_transaction_of_its_own(db, monkeypatch):
    slices_of(2, monkeypatch)
    batch = ended(0, texts=["a"] * 5, errors=[])
    delete_batch(batch=batch)
    taken = [
        counts(tally).get("jobs_batchrequest", 0)
        for tally in remove_all(Scope(now=timezone.now()), pace=Pace(rests=False))
        if "jobs_batchrequest" in tally.amounts or "jobs_batch" in tally.amounts
    ]
    assert taken == [2, 2, 1, 0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_in_the_middle_it_goes_on_where_it_stood(monkeypatch, moment):
    slices_of(2, monkeypatch)
    batch, other = ended(0, texts=["a"] * 7), ended(0)
    delete_batch(batch=batch)
    seen = []

    def kill(execute, sql, params, many, context):
        if not sql.startswith('DELETE FROM "jobs_batchrequest"'):
            return execute(sql, params, many, context)
        seen.append(sql)
        if len(seen) == 3 and moment == "before":
            connection.connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        result = execute(sql, params, many, context)
        if len(seen) == 3:
            connection.connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return result

    with pytest.raises(Exception, match="terminating connection"):  # noqa: SIM117
        with connection.execute_wrapper(kill):
            remove()
    connection.close()
    # Two slices are gone, the third is whole.
    assert BatchRequest.objects.filter(batch=batch).count() == 4
    assert BatchResponse.objects.filter(batch=batch).count() == 4
    assert not Batch.objects.filter(pk=batch.pk).exists()
    assert counts(remove())["jobs_batchrequest"] == 4
    assert list(Batch.every.all()) == [other]
    assert BatchResponse.objects.count() == BatchRequest.objects.count() == 3


def test_every_reference_to_what_is_removed_is_found_by_an_index(db):
    """Else each row that goes would cost the reading of a whole table, with its slice's locks."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indrelid::regclass::text, indkey[0] FROM pg_index")
        indexed = set(cursor.fetchall())
        cursor.execute("SELECT attrelid::regclass::text, attname, attnum FROM pg_attribute")
        numbers = {(table, column): number for table, column, number in cursor.fetchall()}
    # By the models, since the largest tables have no constraint that the database knows.
    references = [
        (model._meta.db_table, field.column)
        for model in apps.get_models()
        for field in model._meta.concrete_fields
        if field.remote_field and field.related_model._meta.app_label == "jobs"
    ]
    assert ("jobs_batchresponse", "request_id") in references
    for table, column in references:
        assert (table, numbers[table, column]) in indexed, f"{table}.{column}"


@pytest.mark.django_db(transaction=True)
def test_two_at_once_remove_and_count_each_row_once(monkeypatch):
    slices_of(3, monkeypatch)
    for batch in [ended(0, texts=["a"] * 10) for _ in range(3)]:
        delete_batch(batch=batch)
    other = ended(0)
    due = counts(measure_all(Scope(now=timezone.now())))
    found = []

    def run() -> None:
        try:
            found.append(remove())
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    removed = Tally()
    for tally in found:
        removed.merge(tally)
    assert len(found) == 2 and counts(removed) == due
    assert list(Batch.every.all()) == [other]


# --- Files -----------------------------------------------------------------------------------
def test_an_expired_upload_loses_its_bytes_at_once_and_its_row_a_day_later(db):
    stored, kept = upload(expires_at=timezone.now() - DAY), upload()
    assert counts(remove()) == {"storage.content": 1}
    assert not default_storage.exists(stored.paths[0])
    assert default_storage.exists(kept.paths[0])
    stored.refresh_from_db()
    assert stored.paths == [] and stored.deleted_at is not None
    assert not remove().count
    StoredFile.objects.filter(pk=stored.pk).update(deleted_at=timezone.now() - 2 * DAY)
    assert counts(remove()) == {"jobs_storedfile": 1}
    assert list(StoredFile.objects.all()) == [kept]


def test_bytes_that_a_killed_delete_left_are_removed(db):
    stored = upload()
    # Hidden, and killed before the storage was asked.
    StoredFile.objects.filter(pk=stored.pk).update(deleted_at=timezone.now())
    assert counts(remove()) == {"storage.content": 1}
    assert not default_storage.exists(stored.paths[0])


def test_a_batch_that_has_not_read_its_input_keeps_the_bytes_and_a_live_one_the_row(db):
    long_ago = timezone.now() - 3 * DAY
    stored = upload(deleted_at=long_ago)
    batch = make_batch(state="validating", input_file=stored)
    assert not remove().count and default_storage.exists(stored.paths[0])
    Batch.objects.filter(pk=batch.pk).update(state="in_progress")
    assert counts(remove()) == {"storage.content": 1}
    Batch.objects.filter(pk=batch.pk).update(state="completed", ended_at=timezone.now())
    assert counts(remove()) == {"jobs_storedfile": 1}
    batch.refresh_from_db()
    assert batch.input_file_id is None


def test_an_expired_result_file_hides_its_content_and_leaves_the_rows(db):
    batch = ended(40)
    StoredFile.objects.update(expires_at=timezone.now() - 20 * DAY)
    assert not remove().count
    batch.refresh_from_db()
    assert batch.output_file is not None and batch.output_file.deleted_at is not None
    # However long ago: its row is what the batch names.
    StoredFile.objects.update(deleted_at=timezone.now() - 20 * DAY)
    assert not remove().count
    assert BatchResponse.objects.filter(batch=batch).count() == 3


# --- Rows by age -----------------------------------------------------------------------------
def test_old_deliveries_deeds_tasks_and_keys_go_and_young_ones_stay(db, settings):
    now = timezone.now()
    batch = ended(100, created_at=now - 100 * DAY, idempotency_key="old")
    young = ended(0, idempotency_key="young")
    live = make_batch(open_lines=1, created_at=now - 100 * DAY, idempotency_key="live")
    for state, days in (("delivered", 31), ("dead", 31), ("pending", 31), ("delivered", 29)):
        BatchEvent.objects.create(batch=batch, new_state="completed", created_at=now)
        deliver(batch, state=state, days=days)
    for days in (364, 366):
        AuditEntry.objects.create(created_at=now - days * DAY, actor="a", action="b", target="c")
    for days in (6, 8):
        at = now - days * DAY
        Task.objects.create(id=str(days), name="n", func="f", started=at, stopped=at)
        OrmQ.objects.create(key="gone", payload="x", lock=at)
        Session.objects.create(session_key=str(days), session_data="", expire_date=at)
    assert counts(remove()) == {
        "jobs_webhookdelivery": 2,
        "jobs_webhookattempt": 2,
        "jobs_auditentry": 1,
        "jobs_batch.idempotency_key": 1,
        "django_q_task": 1,
        "django_q_ormq": 1,
        "django_session": 1,
    }
    left = WebhookDelivery.objects.order_by("created_at").values_list("state", flat=True)
    assert list(left) == ["pending", "delivered"]
    keys = Batch.objects.order_by("pk").values_list("pk", "idempotency_key")
    assert list(keys) == [(batch.pk, None), (young.pk, "young"), (live.pk, "live")]
    for name in ("DELIVERIES", "AUDIT", "IDEMPOTENCY_KEYS", "TASKS", "WORKERS"):
        setattr(settings, f"KEEP_{name}_DAYS", 0)
    WebhookDelivery.objects.update(created_at=now - 10_000 * DAY, state="dead")
    assert not remove().count, "0 keeps for ever"


def test_a_worker_that_is_gone_stays_as_long_as_an_answer_names_its_lane(db):
    gone, named = make_worker("gone")[0], make_worker("named")[1]
    alive = make_worker("alive")[0]
    Gpu.objects.create(worker=gone, index=0, name="g", read_at=timezone.now())
    Worker.objects.exclude(pk=alive.pk).update(heartbeat_at=timezone.now() - 31 * DAY)
    batch = ended(0)
    BatchResponse.objects.filter(batch=batch).update(lane=named)
    assert counts(remove()) == {"jobs_worker": 1, "jobs_lane": 1, "jobs_gpu": 1}
    assert set(Worker.objects.values_list("name", flat=True)) == {"named", "alive"}
    delete_batch(batch=batch)
    assert counts(remove())["jobs_worker"] == 1
    assert [lane.worker for lane in Lane.objects.all()] == [alive]


def test_a_worker_waits_for_the_answers_of_a_batch_that_is_still_going(db):
    worker, lane = make_worker()
    Worker.objects.update(heartbeat_at=timezone.now() - 31 * DAY)
    batch = ended(0)
    BatchResponse.objects.filter(batch=batch).update(lane=lane)
    delete_batch(batch=batch)
    scope = Scope(now=timezone.now())
    workers = next(kind for kind in OLD_ROWS if kind.days == "KEEP_WORKERS_DAYS")
    assert counts(workers.measure(scope)) == {"jobs_worker": 1, "jobs_lane": 1}
    assert not list(workers.remove(scope, Pace(rests=False)))
    # Else each of its answers would have been written once more.
    assert set(BatchResponse.objects.values_list("lane", flat=True)) == {lane.pk}
    assert Worker.objects.get() == worker


# --- The storage -----------------------------------------------------------------------------
@pytest.fixture
def old_database(db):
    """One that has been there for longer than any object of the test."""
    MigrationRecorder.Migration.objects.update(applied=timezone.now() - 400 * DAY)


def put(path: str, *, days: float, content: bytes = b"x") -> str:
    path = default_storage.save(path, ContentFile(content))
    at = time.time() - days * 86_400
    os.utime(default_storage.path(path), (at, at))
    return path


def test_objects_that_nobody_names_go_after_a_day(old_database):
    orphan, fresh = put("uploads/aa/orphan", days=1.1), put("uploads/aa/fresh", days=0.9)
    named = put("uploads/aa/named", days=40)
    second = put("uploads/ab/second", days=40)
    part = put("uploads/ab/part", days=40)
    foreign = put("exports/aa/foreign", days=40)
    marker = put("vbatch-storage-id", days=40)
    project = get_project()
    StoredFile.objects.create(project=project, purpose="batch", paths=[named, second])
    coming = Upload.objects.create(
        project=project, purpose="batch", bytes=1, expires_at=timezone.now() + DAY
    )
    UploadPart.objects.create(upload=coming, bytes=1, path=part)
    assert counts(measure_all(Scope(now=timezone.now()))) == {"storage.orphans": 1}
    assert counts(remove()) == {"storage.orphans": 1}
    assert not default_storage.exists(orphan)
    for path in (fresh, named, second, part, foreign, marker):
        assert default_storage.exists(path), path


def test_objects_older_than_the_database_are_of_another_one(db):
    MigrationRecorder.Migration.objects.update(applied=timezone.now() - 10 * DAY)
    older, younger = put("uploads/aa/older", days=11), put("uploads/aa/younger", days=9)
    assert counts(remove()) == {"storage.orphans": 1}
    assert default_storage.exists(older) and not default_storage.exists(younger)


@pytest.mark.django_db
def test_files_of_another_installation_are_left_alone():
    MigrationRecorder.Migration.objects.update(applied=timezone.now() - 10 * DAY)
    put("uploads/aa/orphan", days=2)
    Installation.objects.create(storage_id="ours", secret_digest="x")
    write_marker("theirs")
    assert counts(remove()) == {}
    write_marker("ours")
    assert counts(remove()) == {"storage.orphans": 1}


def test_an_upload_whose_row_comes_while_the_sweep_looks_is_kept(old_database, monkeypatch):
    path = put("uploads/aa/late", days=0)
    listed = orphans._listed

    def slowly(folder: str):
        found = listed(folder)
        # The row comes between the listing and the question who names what was listed.
        if folder == "uploads/aa":
            StoredFile.objects.create(project=get_project(), purpose="batch", paths=[path])
            at = time.time() - 2 * 86_400
            os.utime(default_storage.path(path), (at, at))
        return found

    monkeypatch.setattr(orphans, "_listed", slowly)
    assert not remove().count and default_storage.exists(path)


def test_a_storage_that_is_no_folder(old_database, monkeypatch):
    storage = InMemoryStorage()
    monkeypatch.setattr(orphans, "default_storage", storage)
    assert not remove().count
    for path, days in (("uploads/aa/orphan", 2), ("uploads/ab/fresh", 0)):
        storage.save(path, ContentFile(b"123"))
        storage._resolve(path).modified_time = timezone.now() - days * DAY
    assert remove().amounts == {"storage.orphans": slices.Amount(1, 3)}
    assert storage.listdir("uploads/aa")[1] == [] and storage.exists("uploads/ab/fresh")


def test_what_a_cut_off_request_left_goes_after_a_day(db):
    folder = django_settings.FILE_UPLOAD_TEMP_DIR
    for name, days in (("old.upload", 2), ("new.upload", 0.5)):
        (folder / name).write_bytes(b"12345")
        at = time.time() - days * 86_400
        os.utime(folder / name, (at, at))
    removed = remove()
    assert removed.amounts["storage.incoming"] == slices.Amount(1, 5)
    assert [path.name for path in folder.iterdir()] == ["new.upload"]


# --- The sweep and the command ---------------------------------------------------------------
def one_of_each() -> None:
    """Make something due of every kind."""
    now = timezone.now()
    MigrationRecorder.Migration.objects.update(applied=now - 400 * DAY)
    deleted = ended(1)
    deliver(deleted, days=50)
    delete_batch(batch=deleted)
    old = ended(100, created_at=now - 100 * DAY, idempotency_key="due with its batch")
    deliver(old, state="dead", days=50)
    Chunk.objects.create(batch=old, first_position=0, last_position=2)
    kept = ended(5, created_at=now - 60 * DAY, idempotency_key="old")
    deliver(kept, days=50)
    lane = make_worker("gone")[1]
    Worker.objects.update(heartbeat_at=now - 50 * DAY)
    BatchResponse.objects.filter(batch=old).update(lane=lane)
    upload(b"{}" * 500, expires_at=now - DAY)
    upload(deleted_at=now - 5 * DAY)
    delete_file(stored=upload())
    AuditEntry.objects.create(created_at=now - 500 * DAY, actor="a", action="b", target="c")
    Task.objects.create(id="1", name="n", func="f", started=now - 9 * DAY, stopped=now - 9 * DAY)
    OrmQ.objects.create(key="gone", payload="x", lock=now - 9 * DAY)
    Session.objects.create(session_key="s", session_data="", expire_date=now - 9 * DAY)
    put("uploads/aa/orphan", days=3, content=b"123")
    (django_settings.FILE_UPLOAD_TEMP_DIR / "broken").write_bytes(b"12")
    os.utime(django_settings.FILE_UPLOAD_TEMP_DIR / "broken", (0, 0))


def snapshot() -> list[int]:
    models = (Batch.every, BatchRequest.objects, BatchResponse.objects, StoredFile.objects)
    more = (WebhookDelivery.objects, AuditEntry.objects, Worker.objects, Task.objects)
    files = [len(names) for _, _, names in os.walk(django_settings.FILES_DIR)]
    return [manager.count() for manager in (*models, *more)] + [sum(files)]


def test_a_dry_run_changes_nothing_and_says_what_the_run_then_removes(db, capsys):
    one_of_each()
    before = snapshot()
    call_command("prune", "--dry-run", "--older-than", "90")
    said = capsys.readouterr().out
    assert snapshot() == before
    call_command("prune", "--older-than", "90")
    planned, removed = capsys.readouterr().out.split("Removed:\n")
    assert planned.splitlines()[1:] == said.splitlines()[1:] == removed.splitlines()
    names = {line.rsplit(None, 3)[0].strip() for line in removed.splitlines()}
    assert names == {
        "django_q_ormq",
        "django_q_task",
        "django_session",
        "jobs_auditentry",
        "jobs_batch",
        "jobs_batch.idempotency_key",
        "jobs_batchevent",
        "jobs_batchrequest",
        "jobs_batchresponse",
        "jobs_chunk",
        "jobs_lane",
        "jobs_storedfile",
        "jobs_webhookattempt",
        "jobs_webhookdelivery",
        "jobs_worker",
        "storage.incoming",
        "storage.content",
        "storage.orphans",
        "together",
    }
    call_command("prune", "--older-than", "90")
    assert capsys.readouterr().out == "Nothing is due.\n"


def test_prune_of_a_project_leaves_the_others_alone(db, capsys):
    ours, theirs = get_project(name="ours"), get_project(name="theirs")
    for project in (ours, theirs):
        ended(10, project=project)
        upload(project=project, expires_at=timezone.now() - DAY)
    put("uploads/aa/orphan", days=3)
    call_command("prune", "--project", "ours", "--older-than", "0")
    assert [batch.project for batch in Batch.every.all()] == [theirs]
    assert StoredFile.objects.filter(project=ours).exclude(paths=[]).count() == 0
    assert StoredFile.objects.filter(project=theirs).exclude(paths=[]).count() == 1
    assert default_storage.exists("uploads/aa/orphan")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--older-than", "-1"], "not a number of days"),
        (["--older-than", "x"], "not a number of days"),
        (["--project", "none"], "no project 'none'"),
    ],
)
def test_prune_refuses_what_it_does_not_understand(db, arguments, told):
    ended(10)
    with pytest.raises(Exception, match=told):
        call_command("prune", *arguments)
    assert Batch.objects.exists()


def test_the_regular_sweep_removes_the_same(db):
    one_of_each()
    cache.clear()
    due = counts(measure_all(Scope(now=timezone.now())))
    # One for each folder of uploads, of which each sweep looks into one.
    for _ in default_storage.listdir("uploads")[0]:
        tasks.sweep_remains()
    assert due and not measure_all(Scope(now=timezone.now())).count


def test_a_sweep_stops_in_time_and_the_next_one_goes_on(db, monkeypatch):
    slices_of(1, monkeypatch)
    monkeypatch.setattr(tasks, "SWEEP_REMAINS_S", 0.0)
    batch = ended(0)
    delete_batch(batch=batch)
    left = []
    for _ in range(5):
        tasks.sweep_remains()
        left.append(BatchRequest.objects.filter(batch=batch).count())
    assert left == [2, 1, 0, 0, 0]
    assert not Batch.every.exists()


def test_a_storage_that_is_away_keeps_nothing_else_from_going(db, monkeypatch):
    batch = ended(0)
    delete_batch(batch=batch)
    upload(expires_at=timezone.now() - DAY)

    def away(path):
        raise OSError("the network disk is away")

    monkeypatch.setattr(default_storage, "delete", away)
    tasks.sweep_remains()
    assert not Batch.every.exists()
    monkeypatch.undo()
    tasks.sweep_remains()
    assert not StoredFile.objects.exclude(paths=[]).exists()


def test_the_sweep_looks_into_one_folder_after_the_other(old_database):
    cache.clear()
    for name in ("aa", "bb", "cc"):
        put(f"uploads/{name}/orphan", days=2)
    left = []
    for _ in range(3):
        tasks.sweep_remains()
        left.append(sorted(default_storage.listdir("uploads")[0]))
        left[-1] = [one for one in left[-1] if default_storage.listdir(f"uploads/{one}")[1]]
    assert left == [["bb", "cc"], ["cc"], []]
