"""Uploads in parts: the official client, what it may do twice, and what becomes of the bytes."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import openai
import pytest

from jobs.models import BatchRequest, StoredFile, Upload, UploadPart
from tests.api.conftest import line, lines, order, validate
from tests.api.in_parts import begin, complete, send, upload_pieces

pytestmark = pytest.mark.django_db


def on_disk(settings) -> dict[str, int]:
    """Return every stored file with its size, and see that none is left on its way."""
    assert list(settings.FILE_UPLOAD_TEMP_DIR.iterdir()) == []
    root: Path = settings.MEDIA_ROOT
    return {
        str(path.relative_to(root)): path.stat().st_size
        for path in root.rglob("*")
        if path.is_file()
    }


def content_of(api, file_id: str) -> bytes:
    return b"".join(api.get(f"/v1/files/{file_id}/content").streaming_content)


@pytest.mark.django_db(transaction=True)
def test_the_official_client_uploads_in_parts_and_makes_a_batch_of_it(
    connect, owner, settings, tmp_path
):
    client = connect(owner)
    content = lines(40)
    upload = client.uploads.create(
        bytes=len(content),
        filename="in.jsonl",
        mime_type="application/jsonl",
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 7_200},
    )
    assert (upload.object, upload.status, upload.file) == ("upload", "pending", None)
    assert (upload.bytes, upload.filename, upload.purpose) == (len(content), "in.jsonl", "batch")
    assert upload.id.startswith("upload_")
    assert upload.expires_at == pytest.approx(upload.created_at + 3_600, abs=2)
    # In any order: the one who completes says how they stand.
    second = client.uploads.parts.create(upload.id, data=content[1_000:])
    first = client.uploads.parts.create(upload.id, data=content[:1_000])
    assert (first.object, first.upload_id) == ("upload.part", upload.id)
    assert first.id.startswith("part_") and first.id != second.id
    done = client.uploads.complete(
        upload.id, part_ids=[first.id, second.id], md5=hashlib.md5(content).hexdigest()
    )
    assert (done.id, done.status) == (upload.id, "completed")
    assert done.file is not None
    assert (done.file.bytes, done.file.filename, done.file.purpose) == (
        len(content),
        "in.jsonl",
        "batch",
    )
    assert done.file.expires_at == pytest.approx(done.file.created_at + 7_200, abs=2)
    assert client.files.retrieve(done.file.id) == done.file
    assert client.files.content(done.file.id).read() == content
    assert sum(on_disk(settings).values()) == len(content)

    path = tmp_path / "whole.jsonl"
    path.write_bytes(content)
    whole = client.uploads.upload_file_chunked(
        file=path, mime_type="application/jsonl", purpose="batch", part_size=777
    )
    assert whole.file is not None and whole.file.filename == "whole.jsonl"
    assert whole.file.expires_at == pytest.approx(whole.file.created_at + 30 * 86_400, abs=2)
    batch = client.batches.create(
        input_file_id=whole.file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    validate(batch.id)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.request_counts.total) == ("in_progress", 40)

    given_up = client.uploads.create(
        bytes=3, filename="x.txt", mime_type="text/plain", purpose="user_data"
    )
    client.uploads.parts.create(given_up.id, data=b"abc")
    assert client.uploads.cancel(given_up.id).status == "cancelled"
    assert client.uploads.cancel(given_up.id).status == "cancelled"
    with pytest.raises(openai.ConflictError) as closed:
        client.uploads.parts.create(given_up.id, data=b"abc")
    assert "Cannot add a part to an upload with status 'cancelled'" in closed.value.message
    assert closed.value.response.headers["x-should-retry"] == "false"


def test_an_interrupted_client_finds_what_has_arrived(api):
    pieces = [os.urandom(900), os.urandom(900), os.urandom(100)]
    made = begin(api, size=1_900, purpose="user_data", filename="any.bin")
    sent = [send(api, made["id"], piece).json() for piece in (pieces[2], pieces[0])]
    found = api.get(f"/v1/uploads/{made['id']}").json()
    assert found == {**made, "parts": sent}
    arrived = {part["sha256"]: part["id"] for part in found["parts"]}
    assert [part["bytes"] for part in found["parts"]] == [100, 900]
    ids = []
    for piece in pieces:
        known = arrived.get(hashlib.sha256(piece).hexdigest())
        ids.append(known or send(api, made["id"], piece).json()["id"])
    assert ids[0] == sent[1]["id"] and ids[2] == sent[0]["id"]
    done = complete(api, made["id"], ids).json()
    assert done["parts"] == []
    assert content_of(api, done["file"]["id"]) == b"".join(pieces)


def test_bytes_that_were_sent_already_are_one_part(api, settings):
    made = begin(api, size=7, purpose="user_data", filename="any.bin")
    first = send(api, made["id"], b"abc").json()
    # The client lost the answer, and sends it again: that must not use up what was announced.
    assert send(api, made["id"], b"abc").json() == first
    last = send(api, made["id"], b"d").json()
    assert sorted(on_disk(settings).values()) == [1, 3]
    done = complete(api, made["id"], [first["id"], last["id"], first["id"]]).json()
    assert content_of(api, done["file"]["id"]) == b"abcdabc"
    # Another upload has parts of its own.
    other = begin(api, size=3, purpose="user_data", filename="any.bin")
    assert send(api, other["id"], b"abc").json()["id"] != first["id"]


def test_completing_twice_answers_the_same_file(api, settings):
    made = begin(api, size=4, purpose="user_data", filename="any.bin")
    ids = [send(api, made["id"], piece).json()["id"] for piece in (b"ab", b"cd")]
    done = complete(api, made["id"], ids)
    again = complete(api, made["id"], ids)
    assert (again.status_code, again.json()) == (200, done.json())
    assert StoredFile.objects.count() == 1
    turned = complete(api, made["id"], ids[::-1])
    assert turned.status_code == 409
    assert turned["x-should-retry"] == "false"
    assert "other parts" in turned.json()["error"]["message"]
    # Once the file is deleted, the upload says so and makes no second one.
    file_id = done.json()["file"]["id"]
    api.delete(f"/v1/files/{file_id}")
    gone = complete(api, made["id"], ids).json()
    assert (gone["status"], gone["file"]) == ("completed", None)
    assert StoredFile.objects.count() == 1


def test_parts_that_are_not_named_are_removed(api, settings):
    made = begin(api, size=4, purpose="user_data", filename="any.bin")
    pair, single = (send(api, made["id"], piece).json()["id"] for piece in (b"ab", b"c"))
    done = complete(api, made["id"], [pair, pair]).json()
    assert content_of(api, done["file"]["id"]) == b"abab"
    assert list(on_disk(settings).values()) == [2]
    assert not UploadPart.objects.exists()
    assert complete(api, made["id"], [single]).status_code == 409


def test_a_cancelled_upload_leaves_nothing(api, settings):
    made = begin(api, size=4, purpose="user_data", filename="any.bin")
    part = send(api, made["id"], b"ab").json()
    cancelled = api.post(f"/v1/uploads/{made['id']}/cancel").json()
    assert cancelled == {**made, "status": "cancelled"}
    assert on_disk(settings) == {}
    assert not UploadPart.objects.exists()
    assert complete(api, made["id"], [part["id"]]).status_code == 409


def test_deleting_the_file_removes_every_piece(api, settings, django_capture_on_commit_callbacks):
    stored = upload_pieces(api, [b"{ab", b"cd", b"ef}"])
    assert len(on_disk(settings)) == 3
    with django_capture_on_commit_callbacks(execute=True):
        assert api.delete(f"/v1/files/{stored['id']}").json()["deleted"]
    assert on_disk(settings) == {}
    assert api.get(f"/v1/files/{stored['id']}").status_code == 404


def test_a_line_and_a_character_may_span_two_parts(api):
    text = "na\u00efve \u4f60\u597d \U0001f600"
    body = {"model": "small", "messages": [{"role": "user", "content": text}]}
    rows = [json.loads(line(f"c{number}", body=body)) for number in range(3)]
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    inside = [content.index("\u4f60".encode()) + 1, content.index("\U0001f600".encode(), 200) + 2]
    cuts = [0, 5, *inside, inside[-1] + 1, len(content) - 1, len(content)]
    pieces = [content[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
    for cut in inside:
        with pytest.raises(UnicodeDecodeError):
            content[:cut].decode()
    stored = upload_pieces(api, pieces)
    made = api.post("/v1/batches", order(stored["id"])).json()
    validate(made["id"])
    batch = api.get(f"/v1/batches/{made['id']}").json()
    assert (batch["status"], batch["request_counts"]["total"]) == ("in_progress", 3), batch[
        "errors"
    ]
    requests = list(BatchRequest.objects.order_by("position"))
    assert [one.custom_id for one in requests] == ["c0", "c1", "c2"]
    assert all(one.prompt_text == text for one in requests)


def test_findings_have_the_line_numbers_of_the_whole_file(api):
    content = lines(5) + line("line-1") + b"\n" + b'{"custom_id": "cut'
    stored = upload_pieces(api, [content[:700], content[700:-10], content[-10:]])
    made = api.post("/v1/batches", order(stored["id"])).json()
    validate(made["id"])
    batch = api.get(f"/v1/batches/{made['id']}").json()
    found = [(one["line"], one["code"]) for one in batch["errors"]["data"]]
    assert found == [(6, "duplicate_custom_id"), (7, "invalid_json_line")]


def test_what_belongs_to_another_project_is_not_there(api, strange_api):
    made = begin(api, size=4)
    part = send(api, made["id"], b"{}").json()
    theirs = begin(strange_api, size=2)
    address = f"/v1/uploads/{made['id']}"
    for response in (
        strange_api.get(address),
        send(strange_api, made["id"], b"[]"),
        complete(strange_api, made["id"], [part["id"]]),
        strange_api.post(f"{address}/cancel"),
    ):
        assert response.status_code == 404
        assert f"No upload found with id '{made['id']}'" in response.json()["error"]["message"]
    foreign = complete(strange_api, theirs["id"], [part["id"]])
    assert foreign.status_code == 404
    assert foreign.json()["error"]["param"] == "part_ids"
    assert f"No part found with id '{part['id']}'" in foreign.json()["error"]["message"]
    assert api.get(address).json() == {**made, "parts": [part]}


def test_a_part_is_renamed_into_place_and_nobody_else_may_read_it(api, settings):
    made = begin(api, size=2)
    send(api, made["id"], b"{}")
    path = settings.MEDIA_ROOT / UploadPart.objects.get().path
    assert path.is_relative_to(settings.MEDIA_ROOT / "uploads")
    assert path.stat().st_mode & 0o777 == 0o600
    inode = path.stat().st_ino
    done = complete(api, made["id"], [UploadPart.objects.get().public_id]).json()
    stored = StoredFile.objects.get(public_id=done["file"]["id"])
    # It is the same object: completing neither copies nor moves.
    assert (settings.MEDIA_ROOT / stored.paths[0]).stat().st_ino == inode
    assert Upload.objects.get().file == stored
