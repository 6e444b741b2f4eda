"""Files on S3, over the API and against a real S3 server."""

from __future__ import annotations

import io
import logging
from urllib.parse import urlsplit

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from jobs.models import StoredFile
from jobs.services.stored_bytes import StorageUnavailable, open_bytes
from tests.api.conftest import line, lines
from tests.s3_server import BUCKET, CREDENTIALS, CuttingProxy, s3_server
from vbatch_site import s3_storage

pytestmark = pytest.mark.django_db

PREFIX = "of-a-test"


def body_of(answer) -> bytes:
    return b"".join(answer.streaming_content)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture
def proxy(server):
    proxy = CuttingProxy(urlsplit(server).port)
    yield proxy
    proxy.close()


@pytest.fixture(autouse=True)
def bucket(proxy, settings, monkeypatch):
    """Let stored files be in the bucket, behind the proxy; waits between tries are short."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3_storage, "PAUSE_S", 0.001)
    monkeypatch.setattr(s3_storage, "ATTEMPTS", 1)
    settings.S3_BUCKET = BUCKET
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {
            "BACKEND": "vbatch_site.s3_storage.StreamingS3Storage",
            "OPTIONS": {
                "bucket_name": BUCKET,
                "endpoint_url": proxy.url,
                "region_name": "us-east-1",
                "location": PREFIX,
                "addressing_style": "path",
            },
        },
    }


def keys() -> list[str]:
    found = default_storage.connection.meta.client.list_objects_v2(Bucket=BUCKET, Prefix=PREFIX)
    return [one["Key"] for one in found.get("Contents", []) if "/uploads/" in one["Key"]]


def test_a_file_is_kept_read_and_deleted_in_the_bucket_alone(
    api, settings, django_capture_on_commit_callbacks
):
    content = lines(3)
    stored = api.upload(content).json()
    (key,) = keys()
    assert key.startswith(f"{PREFIX}/uploads/")
    assert [path for path in settings.FILES_DIR.rglob("*") if path.is_file()] == []
    answer = api.get(f"/v1/files/{stored['id']}/content")
    assert body_of(answer) == content
    assert answer["Content-Length"] == str(len(content))
    with django_capture_on_commit_callbacks(execute=True):
        assert api.delete(f"/v1/files/{stored['id']}").json()["deleted"]
    assert keys() == []


def test_a_batch_is_validated_from_the_bucket(api):
    batch = api.make(lines(300))
    assert (batch["status"], batch["request_counts"]["total"]) == ("in_progress", 300)


def test_a_stream_goes_on_where_its_connection_broke_off(api, proxy):
    content = b"".join(line(f"r{n}") + b"\n" for n in range(4_000))
    stored = api.upload(content).json()
    proxy.cut_after = len(content) // 5
    assert body_of(api.get(f"/v1/files/{stored['id']}/content")) == content
    assert proxy.cuts >= 4
    batch_input = StoredFile.objects.get(public_id=stored["id"])
    with open_bytes(batch_input.paths) as file:
        assert len(list(file)) == 4_000
    assert proxy.cuts >= 8


def test_a_stream_that_never_goes_on_ends_in_an_error_that_says_where(api, proxy):
    path = default_storage.save("broken", ContentFile(b"x" * 2_000_000))
    proxy.cut_after = 600
    file = default_storage.open(path)
    # Headers take most of it: a few bytes come each time, and then none at all.
    proxy.cut_after = 50
    with pytest.raises(StorageUnavailable, match="broken"):
        file.read()


def test_an_object_that_was_replaced_meanwhile_is_not_mixed_with_the_new_one(proxy):
    path = default_storage.save("replaced", ContentFile(b"a" * 1_000_000))
    proxy.cut_after = 300_000
    with default_storage.open(path) as file:
        file.read(1)
        proxy.cut_after = None
        default_storage.save("replaced", ContentFile(b"b" * 1_000_000))
        with pytest.raises(StorageUnavailable):
            file.read()


def test_two_pieces_are_read_as_one(api):
    paths = [default_storage.save(f"piece-{n}", ContentFile(bytes([n]) * 100_000)) for n in (1, 2)]
    with open_bytes(paths) as file:
        assert file.read() == b"\1" * 100_000 + b"\2" * 100_000


def test_any_place_of_a_file_can_be_read():
    content = bytes(range(256)) * 4_000
    path = default_storage.save("any-place", ContentFile(content))
    with default_storage.open(path) as file:
        assert file.seek(-10, io.SEEK_END) == len(content) - 10
        assert file.read() == content[-10:]
        file.seek(500_000)
        assert file.read(5) == content[500_000:500_005]
        assert file.size == len(content)


def test_what_is_not_there_is_a_missing_file_and_no_other_error():
    with pytest.raises(FileNotFoundError):
        open_bytes(["uploads/no/such"])
    assert default_storage.exists("uploads/no/such") is False
    default_storage.delete("uploads/no/such")


def test_a_server_that_is_away_is_said_and_nothing_is_half_stored(api, proxy, settings, caplog):
    stored = api.upload(lines(1)).json()
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {
            **settings.STORAGES["default"],
            "OPTIONS": {
                **settings.STORAGES["default"]["OPTIONS"],
                "endpoint_url": "http://127.0.0.1:9",
            },
        },
    }
    with caplog.at_level(logging.CRITICAL):
        for answer in (api.upload(lines(1)), api.get(f"/v1/files/{stored['id']}/content")):
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "service_unavailable"
    assert StoredFile.objects.count() == 1
    assert list(settings.FILE_UPLOAD_TEMP_DIR.iterdir()) == []
