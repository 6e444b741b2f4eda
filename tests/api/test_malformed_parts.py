"""Uploads in parts that go wrong: each has its answer, and what has arrived is not harmed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import StoredFile, Upload, UploadPart
from jobs.services import uploads
from tests.api.checks import check_error, check_unharmed
from tests.api.in_parts import begin, complete, send, upload_order

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("changes", "status", "code", "param", "words"),
    [
        ({"bytes": None}, 400, "missing_required_parameter", "bytes", ""),
        ({"bytes": "10"}, 400, "invalid_type", "bytes", "an integer"),
        ({"bytes": 1.5}, 400, "invalid_type", "bytes", "an integer"),
        ({"bytes": 0}, 400, "integer_below_min_value", "bytes", ">= 1"),
        ({"bytes": 2**64}, 400, "integer_above_max_value", "bytes", ""),
        ({"bytes": 5_001}, 413, "file_too_large", "bytes", "5,000 bytes"),
        ({"filename": None}, 400, "missing_required_parameter", "filename", ""),
        ({"filename": ""}, 400, "empty_string", "filename", ""),
        ({"filename": "a" * 256}, 400, "string_above_max_length", "filename", "255"),
        ({"filename": "a/.."}, 400, "invalid_value", "filename", "no name"),
        ({"filename": "a\0.jsonl"}, 400, "invalid_value", "filename", "NUL"),
        ({"filename": "in.csv"}, 400, "invalid_file", "filename", "Invalid file format"),
        ({"mime_type": None}, 400, "missing_required_parameter", "mime_type", ""),
        ({"mime_type": "a" * 256}, 400, "string_above_max_length", "mime_type", ""),
        ({"purpose": None}, 400, "missing_required_parameter", "purpose", ""),
        ({"purpose": "batch_output"}, 400, "invalid_value", "purpose", "fine-tune"),
        ({"expires_after": 3_600}, 400, "invalid_type", "expires_after", "an object"),
        (
            {"expires_after": {"anchor": "created_at", "seconds": 3_599}},
            400,
            "integer_below_min_value",
            "expires_after.seconds",
            "3600",
        ),
        (
            {"expires_after": {"seconds": 3_600}},
            400,
            "missing_required_parameter",
            "expires_after.anchor",
            "",
        ),
        ({"md5": "x"}, 400, "unknown_parameter", "md5", "Unknown"),
    ],
)
def test_a_bad_announcement(api, settings, changes, status, code, param, words):
    settings.MAX_FILE_BYTES = 5_000
    check_error(api.post("/v1/uploads", upload_order(**changes)), status, code, param, words)
    assert not Upload.objects.exists()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd.jsonl", "passwd.jsonl"),
        ("C:\\temp\\in.jsonl", "in.jsonl"),
        ("a\tb\u200f.jsonl", "ab.jsonl"),
        ("na\u00efve \u4f60\u597d.jsonl", "na\u00efve \u4f60\u597d.jsonl"),
    ],
)
def test_names_are_kept_as_far_as_they_are_harmless(api, sent, kept):
    assert begin(api, size=1, filename=sent)["filename"] == kept


@pytest.mark.parametrize(
    ("content", "field", "more", "status", "code", "param", "words"),
    [
        (b"", "data", {}, 400, "empty_part", "data", "empty"),
        (b"x" * 101, "data", {}, 413, "part_too_large", "data", "100 bytes"),
        (b"x" * 200_000, "data", {}, 413, "part_too_large", "data", "100 bytes"),
        (b"x" * 9, "data", {}, 400, "too_many_bytes", "data", "10 bytes in all"),
        (b"x", "file", {}, 400, "missing_required_parameter", "data", ""),
        (None, "data", {}, 400, "missing_required_parameter", "data", ""),
        (None, "data", {"data": "x"}, 400, "invalid_value", "data", "as a file"),
        (b"x", "data", {"purpose": "batch"}, 400, "unknown_parameter", "purpose", ""),
    ],
)
def test_a_bad_part(api, settings, monkeypatch, content, field, more, status, code, param, words):
    monkeypatch.setattr("jobs.api.uploads_in_parts.PART_BYTES_MAX", 100)
    made = begin(api, size=10)
    kept = send(api, made["id"], b"{}").json()
    check_error(send(api, made["id"], content, field=field, **more), status, code, param, words)
    assert api.get(f"/v1/uploads/{made['id']}").json()["parts"] == [kept]
    assert stored_sizes(settings) == [2]
    check_unharmed(api)


def test_a_part_that_is_no_form_or_breaks_off(api, settings):
    made = begin(api, size=10)
    path = f"/v1/uploads/{made['id']}/parts"
    check_error(api.post(path, b"{}"), 415, None, None, "multipart/form-data")
    head = b'--b\r\nContent-Disposition: form-data; name="data"; filename="x"\r\n\r\n'
    for form in (head + b"{}", head + b"{}\r\n" + head + b"[]\r\n--b--\r\n"):
        response = api.http.generic(
            "POST",
            path,
            form,
            content_type="multipart/form-data; boundary=b",
            headers=api.member.headers(),
        )
        assert response.status_code == 400
    assert stored_sizes(settings) == []


def test_more_parts_than_are_allowed(api, settings, monkeypatch):
    monkeypatch.setattr(uploads, "PARTS_MAX", 2)
    made = begin(api, size=10)
    for piece in (b"{", b"}"):
        send(api, made["id"], piece)
    check_error(send(api, made["id"], b"x"), 400, "too_many_parts", "data", "2 parts")
    assert stored_sizes(settings) == [1, 1]


@pytest.mark.parametrize(
    ("named", "more", "status", "code", "param", "words"),
    [
        (None, {}, 400, "missing_required_parameter", "part_ids", ""),
        ("{}", {}, 400, "invalid_type", "part_ids", "an array"),
        ([], {}, 400, "array_below_min_length", "part_ids", ""),
        (["{"] * 1_001, {}, 400, "array_above_max_length", "part_ids", "1000"),
        (["{", 1], {}, 400, "invalid_type", "part_ids[1]", "a string"),
        (["part_none\0"], {}, 400, "invalid_value", "part_ids[0]", "NUL"),
        (["{", "part_none"], {}, 404, None, "part_ids", "part_none"),
        (["{", "elsewhere"], {}, 400, "invalid_value", "part_ids", "another upload"),
        (["{"], {}, 400, "bytes_mismatch", "part_ids", "1 bytes"),
        (["{", "}", "}"], {}, 400, "bytes_mismatch", "part_ids", "3 bytes"),
        (["}", "{"], {}, 400, "invalid_file", "part_ids", "does not begin"),
        (["{", "}"], {"md5": "9" * 32}, 400, "checksum_mismatch", "md5", "99914b932bd3"),
        (["{", "}"], {"md5": "9" * 31}, 400, "invalid_value", "md5", "32"),
        (["{", "}"], {"md5": 9}, 400, "invalid_type", "md5", "a string"),
        (["{", "}"], {"more": 1}, 400, "unknown_parameter", "more", ""),
    ],
)
def test_a_bad_completion(api, settings, named, more, status, code, param, words):
    made, other = begin(api, size=2), begin(api, size=2)
    ids = {piece: send(api, made["id"], piece.encode()).json()["id"] for piece in "{}"}
    ids["elsewhere"] = send(api, other["id"], b"[").json()["id"]
    body = dict(more)
    if named is not None:
        body["part_ids"] = (
            [ids.get(one, one) for one in named] if isinstance(named, list) else named
        )
    response = api.post(f"/v1/uploads/{made['id']}/complete", body)
    check_error(response, status, code, param, words)
    # Nothing is lost by it, and the same upload can still be completed.
    assert not StoredFile.objects.exists()
    md5 = "99914B932BD37A50B983C5E7C90AE93B"
    assert complete(api, made["id"], [ids["{"], ids["}"]], md5=md5).status_code == 200


def test_blank_parts_make_no_batch_file(api):
    made = begin(api, size=4)
    ids = [send(api, made["id"], piece).json()["id"] for piece in (b"\n\n", b" \n")]
    response = complete(api, made["id"], ids)
    check_error(response, 400, "invalid_file", "part_ids", "blank lines")


@pytest.mark.parametrize("ended", ["completed", "cancelled", "expired"])
def test_an_upload_that_has_ended_takes_nothing_more(api, settings, ended):
    made = begin(api, size=2)
    part = send(api, made["id"], b"{}").json()
    address = f"/v1/uploads/{made['id']}"
    if ended == "completed":
        complete(api, made["id"], [part["id"]])
    elif ended == "cancelled":
        api.post(f"{address}/cancel")
    else:
        # As it is before a sweep comes by.
        Upload.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    before = stored_sizes(settings)
    found = api.get(address).json()
    assert (found["status"], found["parts"]) == (ended, [])
    said = f"Cannot add a part to an upload with status '{ended}'."
    check_error(send(api, made["id"], b"[]"), 409, None, None, said)
    if ended != "completed":
        said = f"Cannot complete an upload with status '{ended}'."
        check_error(complete(api, made["id"], [part["id"]]), 409, None, None, said)
    if ended != "cancelled":
        said = f"Cannot cancel an upload with status '{ended}'."
        check_error(api.post(f"{address}/cancel"), 409, None, None, said)
    assert api.get(address).json() == found
    assert stored_sizes(settings) == before
    assert UploadPart.objects.count() == (1 if ended == "expired" else 0)


@pytest.mark.parametrize("upload_id", ["upload_none", "x", "%00", "a" * 500])
def test_an_upload_that_does_not_exist(api, upload_id):
    for response in (
        api.get(f"/v1/uploads/{upload_id}"),
        send(api, upload_id, b"{}"),
        complete(api, upload_id, ["part_x"]),
        api.post(f"/v1/uploads/{upload_id}/cancel"),
    ):
        check_error(response, 404, None, "id", "No upload found with id")


def test_methods_that_there_are_not(api):
    made = begin(api, size=2)
    for response in (
        api.get("/v1/uploads"),
        api.delete(f"/v1/uploads/{made['id']}"),
        api.get(f"/v1/uploads/{made['id']}/parts"),
    ):
        check_error(response, 405, "method_not_supported", None)


def stored_sizes(settings) -> list[int]:
    assert list(settings.FILE_UPLOAD_TEMP_DIR.iterdir()) == []
    folder = settings.MEDIA_ROOT / "uploads"
    return sorted(path.stat().st_size for path in folder.rglob("*") if path.is_file())
