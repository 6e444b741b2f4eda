"""Uploads: on disk as they come, never too large, whole or not at all."""

from __future__ import annotations

import io
import stat

import pytest
from django.core.files.storage import default_storage
from django.test import RequestFactory

from jobs.api import uploads
from jobs.api.errors import ApiError
from jobs.models import StoredFile
from tests.api.conftest import line, lines, multipart

pytestmark = pytest.mark.django_db


def left_over(settings) -> list:
    return list(settings.FILE_UPLOAD_TEMP_DIR.iterdir())


def test_a_file_may_be_as_large_as_the_limit_and_no_larger(api, settings):
    content = lines(3)
    settings.MAX_FILE_BYTES = len(content)
    assert api.upload(content).status_code == 200
    response = api.upload(content + b"\n")
    assert response.status_code == 413
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("file_too_large", "file")
    assert f"{len(content):,} bytes" in error["message"]
    assert left_over(settings) == []
    assert StoredFile.objects.count() == 1


def test_a_body_far_too_large_is_refused_by_its_declared_length(api, settings, monkeypatch):
    settings.MAX_FILE_BYTES = 1_000

    def read(*args: object) -> None:
        raise AssertionError("it should not be parsed")

    monkeypatch.setattr(uploads, "_parse", read)
    response = api.upload(b"{" + b" " * 200_000)
    assert response.status_code == 413
    assert left_over(settings) == []


def test_other_fields_cannot_be_used_to_send_more(api, settings):
    settings.MAX_FILE_BYTES = 1_000
    assert api.upload(lines(1), purpose="x" * 100_000).status_code == 413


def test_a_chunked_body_has_no_length_and_is_limited_all_the_same(settings):
    settings.MAX_FILE_BYTES = 100_000
    boundary, form = multipart({"purpose": "batch"}, lines(3), "in.jsonl")
    content_type = f"multipart/form-data; boundary={boundary}"
    with uploads.read_form(chunked(form, content_type)) as read:
        assert read.file.read() == lines(3)
        assert read.values == {"purpose": "batch"}
    assert left_over(settings) == []
    boundary, form = multipart({}, b"x" * 100_001, "in.jsonl")
    with pytest.raises(ApiError) as error, uploads.read_form(chunked(form, content_type)):
        pass
    assert error.value.status == 413
    assert left_over(settings) == []


def test_a_chunked_body_of_many_small_files_is_limited_in_all(settings):
    settings.MAX_FILE_BYTES = 50_000
    boundary, form = multipart({}, b"x" * 40_000, "in.jsonl")
    part = form[: form.index(b"--" + boundary.encode() + b"--")]
    request = chunked(part * 4, f"multipart/form-data; boundary={boundary}")
    with pytest.raises(ApiError) as error, uploads.read_form(request):
        pass
    assert error.value.status == 413
    assert left_over(settings) == []


def test_a_chunked_body_that_breaks_off_is_refused(settings):
    boundary, form = multipart({"purpose": "batch"}, lines(3), "in.jsonl")
    content_type = f"multipart/form-data; boundary={boundary}"
    request = chunked(form[:-8], content_type)
    with pytest.raises(ApiError, match="before it was complete"), uploads.read_form(request):
        pass
    assert left_over(settings) == []


def test_a_body_shorter_than_its_declared_length_is_refused(settings):
    boundary, form = multipart({"purpose": "batch"}, lines(3), "in.jsonl")
    request = RequestFactory().generic(
        "POST", "/v1/files", form, content_type=f"multipart/form-data; boundary={boundary}"
    )
    request.META["CONTENT_LENGTH"] = str(len(form) + 5)
    with pytest.raises(ApiError, match="before it was complete"), uploads.read_form(request):
        pass
    assert left_over(settings) == []


def test_a_connection_that_breaks_leaves_nothing_behind(settings):
    class Broken(io.BytesIO):
        def read(self, size: int = -1) -> bytes:
            block = super().read(100)
            if not block:
                raise ConnectionResetError
            return block

    boundary, form = multipart({"purpose": "batch"}, lines(30), "in.jsonl")
    request = chunked(b"", f"multipart/form-data; boundary={boundary}")
    request.META["wsgi.input"] = Broken(form[:-500])
    with pytest.raises(ApiError, match="before it was complete"), uploads.read_form(request):
        pass
    assert left_over(settings) == []


def chunked(form: bytes, content_type: str):
    """Return a request as the server gives it when no length was declared."""
    request = RequestFactory().generic("POST", "/v1/files", b"x", content_type=content_type)
    del request.META["CONTENT_LENGTH"]
    request.META["wsgi.input_terminated"] = True
    request.META["wsgi.input"] = io.BytesIO(form)
    return request


def test_the_file_is_renamed_into_place_and_nobody_else_may_read_it(api, settings, monkeypatch):
    inodes = []
    original = uploads.LimitedFileUploadHandler.file_complete

    def note(self, size):
        inodes.append((settings.FILE_UPLOAD_TEMP_DIR / self.file.file.name).stat().st_ino)
        return original(self, size)

    monkeypatch.setattr(uploads.LimitedFileUploadHandler, "file_complete", note)
    api.upload(lines(1))
    stored = StoredFile.objects.get()
    with default_storage.open(stored.paths[0]) as file:
        found = (settings.MEDIA_ROOT / stored.paths[0]).stat()
        assert file.read() == lines(1)
    assert [found.st_ino] == inodes
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert left_over(settings) == []


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("in.jsonl", "in.jsonl"),
        ("IN.JSONL", "IN.JSONL"),
        ("../../etc/passwd.jsonl", "passwd.jsonl"),
        ("C:\\\\temp\\\\in.jsonl", "in.jsonl"),
        ("na\u00efve \u4f60\u597d.jsonl", "na\u00efve \u4f60\u597d.jsonl"),
        ("a\tb\0c.jsonl", "abc.jsonl"),
        ("x" * 400 + ".jsonl", "x" * 249 + ".jsonl"),
        (".jsonl", ".jsonl"),
    ],
)
def test_names_are_kept_as_far_as_they_are_harmless(api, settings, sent, kept):
    response = api.upload(lines(1), name=sent)
    assert response.status_code == 200, response.content
    assert response.json()["filename"] == kept
    path = settings.MEDIA_ROOT / StoredFile.objects.get().paths[0]
    assert path.is_relative_to(settings.MEDIA_ROOT / "uploads")


def test_a_name_with_a_very_long_ending_is_refused_but_not_stumbled_over(api):
    response = api.upload(lines(1), name="a." + "x" * 400)
    assert response.status_code == 400
    assert "jsonl" in response.json()["error"]["message"]


@pytest.mark.parametrize("purpose", ["assistants", "fine-tune", "vision", "user_data", "evals"])
def test_files_of_other_purposes_may_hold_anything_and_do_not_expire(api, purpose):
    stored = api.upload(b"\x00\xff", name="any.bin", purpose=purpose).json()
    assert (stored["bytes"], stored["expires_at"]) == (2, None)


def test_a_file_expires_when_it_was_told_to(api):
    fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    stored = api.upload(lines(1), **fields).json()
    assert stored["expires_at"] == pytest.approx(stored["created_at"] + 3_600, abs=2)


def test_a_byte_order_mark_and_blank_lines_at_the_start_are_no_harm(api):
    assert api.upload(b"\xef\xbb\xbf\r\n\n" + line("a")).status_code == 200
