"""Uploading in parts over plain HTTP, step by step."""

from __future__ import annotations

from collections.abc import Iterable

from tests.api.conftest import Api, multipart


def upload_order(**changes: object) -> dict[str, object]:
    """Return the body of a good create, with what is named changed; None leaves it out."""
    value: dict[str, object] = {
        "bytes": 10,
        "filename": "in.jsonl",
        "mime_type": "application/jsonl",
        "purpose": "batch",
    }
    value.update(changes)
    return {k: v for k, v in value.items() if v is not None}


def begin(api: Api, *, size: int, **changes: object) -> dict:
    response = api.post("/v1/uploads", upload_order(bytes=size, **changes))
    assert response.status_code == 200, response.content
    return response.json()


def send(api: Api, upload_id: str, content: bytes | None, *, field: str = "data", **more: str):
    boundary, form = multipart(more, content, "part", field=field)
    return api.http.post(
        f"/v1/uploads/{upload_id}/parts",
        form,
        content_type=f"multipart/form-data; boundary={boundary}",
        headers=api.member.headers(),
    )


def complete(api: Api, upload_id: str, part_ids: Iterable[str], **more: object):
    return api.post(f"/v1/uploads/{upload_id}/complete", {"part_ids": list(part_ids), **more})


def upload_pieces(api: Api, pieces: list[bytes], **changes: object) -> dict:
    """Upload the pieces one after the other; return the file that they became."""
    made = begin(api, size=sum(map(len, pieces)), **changes)
    ids = [send(api, made["id"], piece).json()["id"] for piece in pieces]
    response = complete(api, made["id"], ids)
    assert response.status_code == 200, response.content
    return response.json()["file"]
