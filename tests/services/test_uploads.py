"""Uploads in parts: two at once, killed half-way, and swept when their hour is over."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from jobs import tasks
from jobs.models import StoredFile, Upload, UploadPart
from jobs.services import slices, uploads
from jobs.services.due import Scope
from jobs.services.old_uploads import OldUploads
from jobs.services.projects import get_project
from jobs.services.retention import measure_all, remove_all
from jobs.services.slices import Pace, Tally
from jobs.services.stored_bytes import StorageUnavailable, open_bytes
from jobs.services.uploads import (
    InvalidUpload,
    UploadClosed,
    add_part,
    cancel_upload,
    complete_upload,
    create_upload,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.FILES_DIR = settings.MEDIA_ROOT = tmp_path / "files"
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "files" / "incoming"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir(parents=True)
    return settings.MEDIA_ROOT


@pytest.fixture
def upload(db) -> Upload:
    return begin(4)


def begin(size: int, project: str = "default") -> Upload:
    return create_upload(
        project=get_project(name=project),
        purpose="user_data",
        filename="any.bin",
        mime_type="application/octet-stream",
        size=size,
        file_expires_s=None,
    )


def part_of(upload: Upload, content: bytes) -> UploadPart:
    # As each request has its own.
    upload = Upload.objects.get(pk=upload.pk)
    return add_part(upload=upload, data=ContentFile(content))


def objects() -> dict[str, bytes]:
    found = {}
    for name in default_storage.listdir("uploads")[0]:
        for key in default_storage.listdir(f"uploads/{name}")[1]:
            with default_storage.open(f"uploads/{name}/{key}") as file:
                found[f"uploads/{name}/{key}"] = file.read()
    return found


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run each call in a thread with a connection of its own; return results or exceptions."""
    results: list[Any] = [None] * len(calls)

    def run(index: int) -> None:
        try:
            results[index] = calls[index]()
        except Exception as error:
            results[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    return results


def meet(monkeypatch, owner: Any, name: str, parties: int) -> None:
    """Let `parties` callers of a function come together before any goes on."""
    barrier = threading.Barrier(parties)
    original = getattr(owner, name)

    def wait(*args: Any, **kwargs: Any) -> Any:
        barrier.wait(20)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, wait)


def after(monkeypatch, owner: Any, name: str, then: Callable[[], Any]) -> None:
    """Let something happen once, right after a function has done its work."""
    original = getattr(owner, name)
    to_do = [then]

    def call(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if to_do:
            to_do.pop()()
        return result

    monkeypatch.setattr(owner, name, call)


# --- At once -------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_two_completions_at_once_both_answer_the_one_file(monkeypatch):
    upload = begin(4)
    ids = [part_of(upload, piece).public_id for piece in (b"ab", b"cd")]
    # Both have found the upload pending and have looked at the bytes.
    meet(monkeypatch, uploads, "_check_content", 2)

    def finish() -> Upload:
        mine = Upload.objects.get(pk=upload.pk)
        return complete_upload(upload=mine, part_ids=ids, md5=hashlib.md5(b"abcd").hexdigest())

    first, second = at_once(finish, finish)
    assert first.state == second.state == "completed"
    assert first.file == second.file == StoredFile.objects.get()
    assert not UploadPart.objects.exists()
    with open_bytes(first.file.paths) as file:
        assert file.read() == b"abcd"


@pytest.mark.django_db(transaction=True)
def test_of_two_parts_at_once_that_have_room_for_one_one_is_refused(monkeypatch):
    upload = begin(4)
    meet(monkeypatch, uploads, "_save_part", 2)
    results = at_once(lambda: part_of(upload, b"abc"), lambda: part_of(upload, b"def"))
    refused = [one for one in results if isinstance(one, InvalidUpload)]
    assert [one.code for one in refused] == ["too_many_bytes"]
    assert objects() == {
        UploadPart.objects.get().path: b"abc" if refused[0] is results[1] else b"def"
    }


@pytest.mark.django_db(transaction=True)
def test_the_same_part_twice_at_once_is_one_part_and_one_object(monkeypatch):
    upload = begin(4)
    meet(monkeypatch, uploads, "_save_part", 2)
    first, second = at_once(lambda: part_of(upload, b"abcd"), lambda: part_of(upload, b"abcd"))
    assert first == second == UploadPart.objects.get()
    assert objects() == {first.path: b"abcd"}


def test_a_cancel_while_it_is_completed_leaves_no_file(upload, monkeypatch):
    part = part_of(upload, b"abcd")
    after(
        monkeypatch,
        uploads,
        "_check_content",
        lambda: cancel_upload(upload=Upload.objects.get(pk=upload.pk)),
    )
    with pytest.raises(UploadClosed) as closed:
        complete_upload(upload=upload, part_ids=[part.public_id], md5=None)
    assert closed.value.state == "cancelled"
    assert not StoredFile.objects.exists() and not UploadPart.objects.exists()
    assert objects() == {}


def test_an_upload_that_expires_while_it_is_completed_leaves_no_file(upload, monkeypatch):
    part = part_of(upload, b"abcd")
    after(monkeypatch, uploads, "_check_content", lambda: make_old(upload, HOUR))
    with pytest.raises(UploadClosed) as closed:
        complete_upload(upload=upload, part_ids=[part.public_id], md5=None)
    assert closed.value.state == "expired"
    assert not StoredFile.objects.exists()
    sweep()
    assert objects() == {}


def test_parts_that_are_swept_while_their_checksum_is_made(upload, monkeypatch):
    part = part_of(upload, b"abcd")

    def expire() -> None:
        make_old(upload, HOUR)
        sweep()

    after(monkeypatch, uploads, "_named_parts", expire)
    with pytest.raises(UploadClosed) as closed:
        complete_upload(upload=upload, part_ids=[part.public_id], md5="0" * 32)
    assert closed.value.state == "expired"


@pytest.mark.parametrize("ended", ["completed", "cancelled", "expired"])
def test_a_part_that_comes_too_late_leaves_no_bytes(upload, monkeypatch, ended):
    kept = part_of(upload, b"ab")
    mine = Upload.objects.get(pk=upload.pk)

    def end() -> None:
        if ended == "completed":
            ids = [kept.public_id] * 2
            complete_upload(upload=Upload.objects.get(pk=upload.pk), part_ids=ids, md5=None)
        elif ended == "cancelled":
            cancel_upload(upload=mine)
        else:
            make_old(upload, HOUR)

    # Its bytes are stored, and its row is still to be written.
    after(monkeypatch, FileSystemStorage, "save", end)
    with pytest.raises(UploadClosed) as closed:
        part_of(upload, b"c")
    assert closed.value.state == ended
    sweep()
    assert list(objects().values()) == ([b"ab"] if ended == "completed" else [])
    assert not UploadPart.objects.exists()


# --- Killed, or cut off --------------------------------------------------------------------------


def test_killed_between_bytes_and_row_it_leaves_what_is_found_after_a_day(
    upload, monkeypatch, folder
):
    class Killed(BaseException):
        pass

    def kill(part: UploadPart) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(uploads, "_save_part", kill)
        with pytest.raises(Killed):
            part_of(upload, b"abcd")
    ((path, content),) = objects().items()
    assert content == b"abcd" and not UploadPart.objects.exists()
    # The client sends it again, as if nothing had been.
    again = part_of(upload, b"abcd")
    complete_upload(upload=upload, part_ids=[again.public_id], md5=None)
    MigrationRecorder.Migration.objects.update(applied=timezone.now() - 9 * DAY)
    for name in objects():
        age = (timezone.now() - 1.1 * DAY).timestamp()
        os.utime(folder / name, (age, age))
    assert counts(sweep()) == {"storage.orphans": 1}
    assert list(objects()) == [again.path] != [path]


def test_a_part_whose_bytes_are_away_is_no_fault_of_the_client(upload, folder):
    part = part_of(upload, b"abcd")
    (folder / part.path).rename(folder / "away")
    with pytest.raises(StorageUnavailable):
        complete_upload(upload=upload, part_ids=[part.public_id], md5=None)
    (folder / "away").rename(folder / part.path)
    assert complete_upload(upload=upload, part_ids=[part.public_id], md5=None).file


def test_a_storage_that_does_not_delete_keeps_nobody_from_cancelling(upload, monkeypatch):
    part_of(upload, b"ab")

    def refuse(path: str) -> None:
        raise StorageUnavailable(path)

    with monkeypatch.context() as patched:
        patched.setattr(default_storage, "delete", refuse)
        assert cancel_upload(upload=upload).state == "cancelled"
    assert len(objects()) == UploadPart.objects.count() == 1
    assert counts(sweep()) == {"storage.parts": 1, "jobs_uploadpart": 1}
    assert objects() == {} and not UploadPart.objects.exists()


# --- Swept ---------------------------------------------------------------------------------------


def test_an_expired_upload_goes_with_its_bytes_and_a_day_later_its_row(upload):
    for piece in (b"ab", b"c"):
        part_of(upload, piece)
    live = begin(4)
    kept = part_of(live, b"wxyz")
    done = begin(2)
    used = part_of(done, b"{}")
    complete_upload(upload=done, part_ids=[used.public_id], md5=None)
    assert counts(sweep()) == {}
    make_old(upload, HOUR)
    make_old(done, HOUR)
    due = {"storage.parts": 2, "jobs_uploadpart": 2}
    expected = measure_all(Scope(now=timezone.now()))
    assert counts(expected) == due
    assert sweep().amounts == expected.amounts
    upload.refresh_from_db()
    assert upload.state == "expired"
    assert set(objects()) == {kept.path, used.path}
    make_old(upload, HOUR + DAY)
    make_old(done, HOUR + DAY)
    expected = measure_all(Scope(now=timezone.now()))
    assert counts(expected) == {"jobs_upload": 2}
    assert sweep().amounts == expected.amounts
    assert Upload.objects.get() == live
    # The file has outlived the upload that made it.
    assert StoredFile.objects.get().paths == [used.path]
    assert objects()[used.path] == b"{}"


def test_the_workers_sweep_takes_uploads_along(upload):
    cache.clear()
    part_of(upload, b"ab")
    make_old(upload, HOUR)
    tasks.sweep_remains()
    upload.refresh_from_db()
    assert (upload.state, objects()) == ("expired", {})


def test_many_uploads_go_in_slices_and_whoever_is_stopped_leaves_the_rest(db, monkeypatch):
    for name in ("ROWS_FIRST", "ROWS_MIN", "ROWS_MAX"):
        monkeypatch.setattr(slices, name, 2)
    monkeypatch.setattr("jobs.services.old_uploads.FILES_AT_ONCE", 3)
    for number in range(5):
        one = begin(4)
        part_of(one, b"a%d" % number)
        part_of(one, b"b%d" % number)
        make_old(one, HOUR + DAY)
    run = OldUploads().remove(Scope(now=timezone.now()), Pace(rests=False))
    assert counts(next(run)) == {"storage.parts": 3, "jobs_uploadpart": 3}
    run.close()
    assert len(objects()) == UploadPart.objects.count() == 7
    taken = [
        counts(one) for one in OldUploads().remove(Scope(now=timezone.now()), Pace(rests=False))
    ]
    assert [one.get("storage.parts", 0) for one in taken] == [3, 3, 1, 0, 0, 0]
    assert [one.get("jobs_upload", 0) for one in taken] == [0, 0, 0, 2, 2, 1]
    assert objects() == {} and not Upload.objects.exists()


def test_pruning_one_project_leaves_the_others_uploads(upload):
    part_of(upload, b"ab")
    other = begin(4, project="other")
    kept = part_of(other, b"cd")
    make_old(upload, HOUR)
    make_old(other, HOUR)
    assert counts(sweep(project=upload.project)) == {"storage.parts": 1, "jobs_uploadpart": 1}
    assert list(objects()) == [kept.path]
    other.refresh_from_db()
    assert other.state == "pending"


def make_old(upload: Upload, age: timedelta) -> None:
    """Let the upload have been made so long ago, and a second more."""
    made = timezone.now() - age - timedelta(seconds=1)
    Upload.objects.filter(pk=upload.pk).update(created_at=made, expires_at=made + HOUR)


def sweep(**scope: Any) -> Tally:
    removed = Tally()
    for tally in remove_all(Scope(now=timezone.now(), **scope), pace=Pace(rests=False)):
        removed.merge(tally)
    return removed


def counts(tally: Tally) -> dict[str, int]:
    return {name: amount.count for name, amount in tally.amounts.items()}
