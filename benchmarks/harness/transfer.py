"""Plain HTTP for large files: what the API costs without a client library."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BLOCK = 1024 * 1024
LOOK_EVERY_S = 0.2
_BOUNDARY = "vbatch-harness-boundary"


def make_input(path: Path, *, lines: int, line_bytes: int, model: str, max_tokens: int) -> None:
    """Write a batch file of chat requests, each line `line_bytes` long, all bodies different."""
    words = "the quick brown fox jumps over the lazy dog and " * (line_bytes // 40 + 1)
    with path.open("w") as file:
        for number in range(lines):
            line = {
                "custom_id": f"request-{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {
                    "model": model,
                    "max_tokens": max_tokens,
                    "messages": [{"role": "user", "content": f"{number}: "}],
                },
            }
            missing = line_bytes - 1 - len(json.dumps(line))
            body: Any = line["body"]
            body["messages"][0]["content"] += words[:missing]
            file.write(json.dumps(line) + "\n")


def upload(url: str, key: str, path: Path) -> tuple[str, float]:
    """Upload a batch file, streaming it; return its id and the seconds that it took."""
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; '
        f'filename="{path.name}"\r\nContent-Type: application/jsonl\r\n\r\n'
    ).encode()
    tail = f"\r\n--{_BOUNDARY}--\r\n".encode()

    def blocks() -> Iterator[bytes]:
        yield head
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block
        yield tail

    started = time.perf_counter()
    connection = _connect(url)
    connection.request(
        "POST",
        "/v1/files",
        body=blocks(),
        headers={
            "Authorization": f"Bearer {key}",
            "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
            "Content-Length": str(len(head) + path.stat().st_size + len(tail)),
        },
    )
    identity: str = _json(connection)["id"]
    return identity, time.perf_counter() - started


def create_batch(url: str, key: str, file_id: str, **fields: Any) -> str:
    """Create a chat batch of an uploaded file, with more `fields` if any; return its id."""
    body = {
        "input_file_id": file_id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        **fields,
    }
    connection = _connect(url)
    connection.request(
        "POST",
        "/v1/batches",
        body=json.dumps(body),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    identity: str = _json(connection)["id"]
    return identity


def wait_for_end(url: str, key: str, batch_id: str, *, timeout_s: float) -> dict[str, Any]:
    """Look at a batch as a client does, the longer it takes the less often; return it ended."""
    begun = time.monotonic()
    deadline = begun + timeout_s
    connection = _connect(url)
    while time.monotonic() < deadline:
        headers = {"Authorization": f"Bearer {key}"}
        connection.request("GET", f"/v1/batches/{batch_id}", headers=headers)
        batch = _json(connection)
        if batch["status"] in ("completed", "failed", "expired", "cancelled"):
            return batch
        # Each look costs the machine that is measured; so at most a thirtieth of the time is lost.
        time.sleep(max(LOOK_EVERY_S, min(5.0, (time.monotonic() - begun) / 30)))
    raise TimeoutError(f"{batch_id} has not ended in {timeout_s:g} s")


def download(url: str, key: str, file_id: str) -> tuple[int, int, float]:
    """Read a file's content and drop it; return (bytes, lines, seconds)."""
    started = time.perf_counter()
    connection = _connect(url)
    headers = {"Authorization": f"Bearer {key}"}
    connection.request("GET", f"/v1/files/{file_id}/content", headers=headers)
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(f"HTTP {response.status}: {response.read()[:500]!r}")
    size = lines = 0
    while block := response.read(BLOCK):
        size += len(block)
        lines += block.count(b"\n")
    return size, lines, time.perf_counter() - started


def fetch(url: str, key: str, file_id: str, path: Path) -> None:
    """Write a file's content to `path`."""
    connection = _connect(url)
    headers = {"Authorization": f"Bearer {key}"}
    connection.request("GET", f"/v1/files/{file_id}/content", headers=headers)
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(f"HTTP {response.status}: {response.read()[:500]!r}")
    with path.open("wb") as file:
        while block := response.read(BLOCK):
            file.write(block)


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    assert parts.hostname is not None
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=600)


def _json(connection: http.client.HTTPConnection) -> dict[str, Any]:
    response = connection.getresponse()
    text = response.read()
    if response.status != 200:
        raise RuntimeError(f"HTTP {response.status}: {text[:500]!r}")
    found: dict[str, Any] = json.loads(text)
    return found
