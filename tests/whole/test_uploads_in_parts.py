"""A large upload in parts, over a web server that is killed in the middle of it."""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.conftest import multipart
from tests.stack import Stack

pytestmark = pytest.mark.stack

MB = 1_000_000
SIZE = 180 * MB
PART = 64 * 1024 * 1024


def make_file(path: Path) -> None:
    """Write a batch's input of SIZE bytes, of which no two parts are alike."""
    text = "y" * 9_000
    with path.open("wb") as file:
        left, number = SIZE, 0
        while left:
            row = (
                b'{"custom_id":"line-%d","method":"POST","url":"/v1/chat/completions","body":'
                b'{"model":"toy","messages":[{"role":"user","content":"%s"}]}}'
                % (number, text.encode())
            )
            # The last line is as long as what is left; blanks after it are no harm.
            row = row + b"\n" if left > 2 * len(row) else row.ljust(left - 1) + b"\n"
            file.write(row)
            left -= len(row)
            number += 1


def pieces_of(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return list(iter(lambda: file.read(PART), b""))


def on_disk(folder: Path) -> int:
    """Return the bytes that the files of a folder take, a file with two names once."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum({one.st_ino: one.st_size for one in found}.values())


def send_half(stack: Stack, upload_id: str, content: bytes) -> http.client.HTTPConnection:
    """Begin to send a part, and wait until some of it lies on the server's disk."""
    boundary, form = multipart({}, content, "part", field="data")
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    connection.putrequest("POST", f"/v1/uploads/{upload_id}/parts")
    connection.putheader("Authorization", f"Bearer {stack.key}")
    connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
    connection.putheader("Content-Length", str(len(form)))
    connection.endheaders()
    connection.send(form[: len(form) // 2])
    stack.wait(lambda: on_disk(stack.data_dir / "files" / "incoming"), 20, "half a part")
    return connection


def kill_web(stack: Stack) -> None:
    while stack.kill("web") or stack.kill("web-worker"):
        pass
    stack.forget("web")
    stack.wait(lambda: not stack.find("web-worker"), 10, "the end of the web server")


def test_an_upload_of_180_mb_goes_on_after_the_web_server_was_killed(
    make_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    path = tmp_path / "large.jsonl"
    make_file(path)
    pieces = pieces_of(path)
    assert [len(piece) for piece in pieces] == [PART, PART, SIZE - 2 * PART]
    stack = make_stack()
    stack.start_web()
    upload = stack.client.uploads.create(
        bytes=SIZE, filename=path.name, mime_type="application/jsonl", purpose="batch"
    )
    stack.client.uploads.parts.create(upload.id, data=pieces[2])
    stack.client.uploads.parts.create(upload.id, data=pieces[0])
    connection = send_half(stack, upload.id, pieces[1])
    kill_web(stack)
    connection.close()

    # Another client goes on, which knows no more than the file and the id of the upload.
    stack.start_web()
    client = stack.client
    found = client.get(f"/uploads/{upload.id}", cast_to=dict[str, object])
    assert found["status"] == "pending"
    arrived = {part["sha256"]: part["id"] for part in found["parts"]}  # type: ignore[attr-defined]
    assert len(arrived) == 2
    ids, sent = [], 0
    for piece in pieces:
        part_id = arrived.get(hashlib.sha256(piece).hexdigest())
        if part_id is None:
            part_id = client.uploads.parts.create(upload.id, data=piece).id
            sent += 1
        ids.append(part_id)
    assert sent == 1
    stored = stack.data_dir / "files" / "uploads"
    assert on_disk(stored) == SIZE
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    done = client.uploads.complete(upload.id, part_ids=ids, md5=md5)
    assert done.file is not None and done.file.bytes == SIZE
    # Nothing was copied, and nothing is there twice.
    assert on_disk(stored) == SIZE
    digest = hashlib.sha256()
    with client.files.with_streaming_response.content(done.file.id) as response:
        for block in response.iter_bytes(MB):
            digest.update(block)
    assert digest.hexdigest() == sha256
    client.files.delete(done.file.id)
    stack.wait(lambda: on_disk(stored) == 0, 10, "the bytes to go")
