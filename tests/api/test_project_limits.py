"""What a project may take: live batches, queued lines and tokens, stored bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import openai
import pytest
from django.db import connections
from django.utils import timezone

from jobs.line_rules import estimate_tokens
from jobs.models import Batch, BatchRequest, Chunk, Project, StoredFile, Upload
from jobs.services import files, validation
from jobs.services.batches import settle_batch
from tests.api import checks
from tests.api.conftest import Api, line, lines, order, validate

pytestmark = pytest.mark.django_db

THREADS = 4


def limit(owner, **fields: int | None) -> None:
    Project.objects.filter(pk=owner.project.pk).update(**fields)


def at_once(work: Callable[[int], object]) -> list:
    """Do the same in several threads, with connections of their own, from one moment on."""
    barrier = Barrier(THREADS)

    def run(number: int) -> object:
        barrier.wait(20)
        try:
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def make(api: Api, content: bytes) -> str:
    return api.post("/v1/batches", order(api.upload(content).json()["id"])).json()["id"]


def status_of(api: Api, batch_id: str) -> str:
    return api.get(f"/v1/batches/{batch_id}").json()["status"]


# --- Live batches ----------------------------------------------------------------------------
def test_beyond_the_live_batches_a_create_is_refused_until_one_has_ended(api, owner):
    limit(owner, max_live_batches=2)
    first, second = make(api, lines(1)), make(api, lines(1))
    refused = api.post("/v1/batches", order("file-x"))
    checks.check_error(
        refused, 429, "live_batch_limit_exceeded", None, "has 2 batches", "may have 2", "cancel one"
    )
    # Sending it again at once would be for nothing.
    assert refused["x-should-retry"] == "false"
    assert Batch.objects.count() == 2
    api.post(f"/v1/batches/{first}/cancel")
    assert status_of(api, first) == "cancelled"
    assert api.post("/v1/batches", order("file-x")).status_code == 200
    assert status_of(api, second) == "validating"


def test_a_create_that_comes_again_is_answered_although_the_project_is_full(api, owner):
    limit(owner, max_live_batches=1)
    wanted = order("file-x")
    made = api.post("/v1/batches", wanted, **{"Idempotency-Key": "k"}).json()
    again = api.post("/v1/batches", wanted, **{"Idempotency-Key": "k"})
    assert (again.status_code, again.json()["id"]) == (200, made["id"])
    repeated = api.post("/v1/batches", wanted, **{"x-stainless-retry-count": "1"})
    assert (repeated.status_code, repeated.json()["id"]) == (200, made["id"])


def test_another_project_is_not_hindered(api, strange_api, owner, settings):
    settings.MAX_LIVE_BATCHES = 1
    assert api.post("/v1/batches", order("file-x")).status_code == 200
    assert api.post("/v1/batches", order("file-y")).status_code == 429
    assert strange_api.post("/v1/batches", order("file-x")).status_code == 200
    # The project's own goes before the setting's, and 0 is none.
    limit(owner, max_live_batches=0)
    assert api.post("/v1/batches", order("file-y")).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_of_creates_at_once_only_so_many_pass_as_may_live(api, owner):
    limit(owner, max_live_batches=2)
    for attempt in range(3):
        Batch.objects.all().delete()
        found = at_once(
            lambda n, a=attempt: (
                Api(api.member).post("/v1/batches", order(f"file-{a}-{n}")).status_code
            )
        )
        assert sorted(found) == [200, 200, 429, 429]
        assert Batch.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_the_client_gives_up_at_once_and_says_why(connect, owner):
    limit(owner, max_live_batches=1)
    client = connect(owner)
    wanted = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    client.batches.create(input_file_id="file-x", **wanted)
    with pytest.raises(openai.RateLimitError, match="may have 1 at a time") as error:
        client.batches.create(input_file_id="file-y", **wanted)
    assert error.value.request.headers["x-stainless-retry-count"] == "0"


# --- The queue -------------------------------------------------------------------------------
def finding_of(batch: dict) -> dict:
    assert batch["status"] == "failed", batch
    (finding,) = batch["errors"]["data"]
    assert (finding["line"], finding["param"]) == (None, None)
    return finding


def test_lines_beyond_the_queue_fail_the_batch_and_leave_nothing(api, owner, lane):
    limit(owner, max_queued_requests=5)
    api.make(lines(3))
    finding = finding_of(api.make(lines(3)))
    assert finding["code"] == "request_limit_exceeded"
    for words in ("Limit: 5 enqueued requests", "3 are enqueued", "has 3", "Try again once"):
        assert words in finding["message"]
    assert BatchRequest.objects.count() == 3
    assert Chunk.objects.count() == 1
    # An answered line leaves the queue.
    lane.answer("line-0")
    assert api.make(lines(3))["status"] == "in_progress"


def test_a_file_that_can_never_fit_is_to_be_split(api, owner):
    limit(owner, max_queued_requests=2)
    assert finding_of(api.make(lines(3)))["message"].endswith("Split the input file.")


def test_tokens_beyond_the_queue_fail_the_batch_in_openais_words(api, owner, lane):
    body = {"model": "small", "messages": [{"role": "user", "content": "x" * 4_000}]}
    content = b"\n".join(line(f"line-{n}", body=body) for n in range(2))
    made = api.make(content)
    estimated = Batch.objects.get(public_id=made["id"]).estimated_tokens
    assert 2_000 <= estimated <= 2_100
    limit(owner, max_queued_tokens=2 * estimated - 1)
    finding = finding_of(api.make(content))
    assert finding["code"] == "token_limit_exceeded"
    assert finding["message"].startswith("Enqueued token limit reached for project 'owner'. Limit:")
    # A batch that is half done takes half of what it took.
    lane.answer("line-0")
    assert api.make(content)["status"] == "in_progress"


def test_what_has_ended_waits_no_longer(api, owner):
    limit(owner, max_queued_requests=3)
    for end in ("cancel", "expire"):
        made = api.make(lines(3))
        assert finding_of(api.make(lines(1)))
        if end == "cancel":
            api.post(f"/v1/batches/{made['id']}/cancel")
        else:
            batch = Batch.objects.get(public_id=made["id"])
            Batch.objects.filter(pk=batch.pk).update(expires_at=timezone.now())
            settle_batch(batch_id=batch.pk)
    assert api.make(lines(3))["status"] == "in_progress"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["max_queued_requests", "max_queued_tokens"])
def test_batches_validated_at_the_same_time_do_not_both_slip_under(api, owner, monkeypatch, kind):
    """All have read their lines before any asks whether they fit."""
    content = lines(10)
    tokens = sum(
        estimate_tokens(json.dumps(json.loads(one)["body"]).encode())
        for one in content.splitlines()
    )
    limit(owner, **{kind: 15 if kind == "max_queued_requests" else tokens * 3 // 2})
    made = [make(api, content) for _ in range(THREADS)]
    copied = Barrier(THREADS)
    original = validation._copy_chunks

    def copy_chunks(*args: object) -> None:
        original(*args)
        copied.wait(20)

    monkeypatch.setattr(validation, "_copy_chunks", copy_chunks)
    at_once(lambda number: validate(made[number]))
    found = sorted(status_of(api, batch_id) for batch_id in made)
    assert found == ["failed"] * (THREADS - 1) + ["in_progress"]
    assert BatchRequest.objects.count() == 10


# --- Stored bytes ----------------------------------------------------------------------------
def test_a_file_that_does_not_fit_is_refused_until_there_is_room(api, owner, settings):
    content = lines(3)
    limit(owner, max_stored_bytes=2 * len(content))
    kept = [api.upload(content).json()["id"] for _ in range(2)]
    refused = api.upload(content)
    checks.check_error(
        refused,
        413,
        "storage_limit_exceeded",
        "file",
        f"may take {2 * len(content):,} bytes",
        f"this one has {len(content):,}",
        "Delete files",
    )
    assert len(list(settings.MEDIA_ROOT.glob("uploads/*/*"))) == 2
    assert not list(settings.FILE_UPLOAD_TEMP_DIR.iterdir())
    api.delete(f"/v1/files/{kept[0]}")
    assert api.upload(content).status_code == 200
    # One that has expired can be neither seen nor deleted: it counts no more.
    StoredFile.objects.filter(public_id=kept[1]).update(expires_at=timezone.now())
    assert api.upload(content).status_code == 200


def test_it_is_refused_before_its_bytes_are_read_where_the_size_is_known(api, owner, monkeypatch):
    limit(owner, max_stored_bytes=1_000)

    def read(*args: object) -> None:
        raise AssertionError("it should not be parsed")

    monkeypatch.setattr("jobs.api.uploads._parse", read)
    response = api.upload(b"{" + b" " * 200_000)
    checks.check_error(response, 413, "storage_limit_exceeded", "file")


def test_pending_uploads_count_as_large_as_they_were_announced(api, owner):
    limit(owner, max_stored_bytes=1_000)
    later = timezone.now() + timedelta(hours=1)
    upload = Upload.objects.create(
        project=owner.project, bytes=990, purpose="batch", filename="a", expires_at=later
    )
    assert api.upload(lines(1)).status_code == 413
    Upload.objects.filter(pk=upload.pk).update(state="cancelled")
    assert api.upload(lines(1)).status_code == 200
    Upload.objects.filter(pk=upload.pk).update(state="pending", expires_at=timezone.now())
    assert api.upload(lines(1)).status_code == 200


def test_result_files_take_no_stored_bytes(api, owner, lane):
    made = api.make(lines(3))
    lane.answer()
    assert api.get(f"/v1/batches/{made['id']}").json()["output_file_id"]
    taken = StoredFile.objects.get(purpose="batch").bytes
    limit(owner, max_stored_bytes=taken + 500)
    assert api.upload(lines(1)).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_uploads_at_the_same_time_do_not_both_slip_under(api, owner, settings, monkeypatch):
    """All bytes are in place before any row is written."""
    content = lines(3)
    limit(owner, max_stored_bytes=2 * len(content))
    stored = Barrier(THREADS)
    original = files.claim_room

    def claim_room(**kwargs: object) -> None:
        stored.wait(20)
        original(**kwargs)

    monkeypatch.setattr(files, "claim_room", claim_room)
    found = at_once(lambda _: Api(api.member).upload(content).status_code)
    assert sorted(found) == [200, 200, 413, 413]
    assert StoredFile.objects.count() == 2
    # Nobody's bytes are left behind.
    assert len([one for one in settings.MEDIA_ROOT.glob("uploads/*/*") if one.is_file()]) == 2


# --- Told ------------------------------------------------------------------------------------
def test_api_limits_tells_what_holds_and_what_is_taken(api, owner, strange_api, settings):
    settings.REQUESTS_PER_MINUTE = 100
    settings.MAX_LIVE_BATCHES = 7
    limit(owner, max_queued_requests=50, max_stored_bytes=0)
    api.make(lines(4))
    found = api.get("/api/limits").json()
    (project,) = found["projects"]
    tokens = Batch.objects.get().estimated_tokens
    assert tokens
    assert project == {
        "project": "owner",
        "live_batches": {"limit": 7, "used": 1},
        "queued_requests": {"limit": 50, "used": 4},
        "queued_tokens": {"limit": None, "used": tokens},
        "stored_bytes": {"limit": None, "used": len(lines(4))},
    }
    # Upload, create and look have been counted, this has not.
    assert found["key"] == {
        "name": "test",
        "requests_per_minute": {"limit": 100, "remaining": 97},
    }
    assert api.get("/api/limits").json()["key"]["requests_per_minute"]["remaining"] >= 97
    assert [one["project"] for one in strange_api.get("/api/limits").json()["projects"]] == [
        "stranger"
    ]
    assert api.http.get("/api/limits").status_code == 401


def test_the_limits_cost_the_same_however_many_projects_there_are(
    admin_client, owner, django_assert_num_queries
):
    for count in (1, 20):
        for number in range(count):
            Project.objects.get_or_create(name=f"p{number}")
        # Session, user, projects, their queues, files, uploads.
        with django_assert_num_queries(6):
            found = admin_client.get("/api/limits").json()
        assert found["key"] is None and len(found["projects"]) >= count
