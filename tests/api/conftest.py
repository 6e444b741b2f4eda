"""The cast of the API's tests: two projects with a key each, a model, and a lane that answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
from django.test import Client
from openai import OpenAI

from jobs import tasks
from jobs.answers import failure, read_answer
from jobs.models import Batch, Lane, Project, ServedModel
from jobs.services.chunks import ClaimedChunk, OpenLine, claim_chunks, read_open_lines
from jobs.services.fleet import LaneSpec, register_worker
from jobs.services.projects import create_key, get_project
from jobs.services.responses import Finished, commit_responses
from jobs.states import LaneKind

MODEL = "small"


@pytest.fixture(autouse=True)
def _own_folders(settings, tmp_path):
    """Files of a test go when it ends."""
    settings.FILES_DIR = settings.MEDIA_ROOT = tmp_path / "files"
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "files" / "incoming"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir(parents=True)


@dataclass(frozen=True)
class Member:
    """A project and the key that acts for it."""

    project: Project
    key: str

    def headers(self, **more: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", **more}


def make_member(name: str) -> Member:
    project = get_project(name=name)
    return Member(project, create_key(project=project, name="test")[1])


@pytest.fixture
def model(db) -> ServedModel:
    return ServedModel.objects.create(name=MODEL, source="/models/small", aliases=["small-lora"])


@pytest.fixture
def owner(model) -> Member:
    return make_member("owner")


@pytest.fixture
def stranger(model) -> Member:
    return make_member("stranger")


class Api:
    """Django's test client with a key, which speaks JSON."""

    def __init__(self, member: Member) -> None:
        self.member = member
        # What goes wrong shall be answered, not raised in the test.
        self.http = Client(raise_request_exception=False)

    def get(self, path: str, query: dict | None = None, **headers: str):
        return self.http.get(path, query, headers=self.member.headers(**headers))

    def delete(self, path: str):
        return self.http.delete(path, headers=self.member.headers())

    def post(self, path: str, body: object = None, **headers: str):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(
            path, raw, content_type="application/json", headers=self.member.headers(**headers)
        )

    def upload(self, content: bytes, name: str = "in.jsonl", **fields: str):
        boundary, form = multipart({"purpose": "batch", **fields}, content, name)
        return self.http.post(
            "/v1/files",
            form,
            content_type=f"multipart/form-data; boundary={boundary}",
            headers=self.member.headers(),
        )

    def make(self, content: bytes, **fields: object) -> dict:
        """Upload a file, create its batch, validate it, and return the batch."""
        stored = self.upload(content).json()
        made = self.post("/v1/batches", order(stored["id"], **fields)).json()
        validate(made["id"])
        return self.get(f"/v1/batches/{made['id']}").json()


@pytest.fixture
def api(owner) -> Api:
    return Api(owner)


@pytest.fixture
def strange_api(stranger) -> Api:
    return Api(stranger)


@pytest.fixture
def connect(live_server) -> Callable[[Member], OpenAI]:
    """Give the official client, unpatched, for a member."""

    def _connect(member: Member) -> OpenAI:
        return OpenAI(base_url=f"{live_server.url}/v1", api_key=member.key)

    return _connect


class AnsweringLane:
    """A lane whose engine answers at once; commits through the services like the real one."""

    def __init__(self, model: ServedModel) -> None:
        self.model = model
        _, lanes = register_worker(
            name="testhost",
            pid=1,
            version="test",
            lanes=[LaneSpec(name="cpu", kind=LaneKind.CPU)],
        )
        self.lane: Lane = lanes[0]

    def answer(self, *custom_ids: str, failing: Iterable[str] = ()) -> None:
        """Answer these lines, or every open one; those in `failing` with an error."""
        chunks = claim_chunks(lane_id=self.lane.pk, model_id=self.model.pk, limit=100)
        finished = []
        done = []
        for chunk in chunks:
            lines = read_open_lines(chunk)
            wanted = [one for one in lines if not custom_ids or one.custom_id in custom_ids]
            if len(wanted) == len(lines):
                done.append(chunk)
            finished += self.finished(chunk, wanted, failing=failing)
        if custom_ids:
            by_name = {item.custom_id: item for item in finished}
            finished = [by_name[one] for one in custom_ids if one in by_name]
        commit_responses(lane_id=self.lane.pk, finished=finished, held=chunks, done=done)
        from jobs.services.chunks import release_chunks

        release_chunks(chunks)

    def finished(
        self, chunk: ClaimedChunk, wanted: Iterable[OpenLine], *, failing: Iterable[str] = ()
    ) -> list[Finished]:
        return [
            Finished(
                chunk=chunk,
                request_id=line.request_id,
                position=line.position,
                custom_id=line.custom_id,
                answer=read_answer(200, chat_answer(f"to {line.custom_id}"))
                if line.custom_id not in failing
                else failure("request_timeout", "It took too long."),
                latency_ms=12,
            )
            for line in wanted
        ]


@pytest.fixture
def lane(model) -> AnsweringLane:
    return AnsweringLane(model)


def chat_answer(text: str) -> bytes:
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": 4,
                "total_tokens": 14,
                "prompt_tokens_details": {"cached_tokens": 8},
            },
        }
    ).encode()


def line(custom_id: str, /, **changes: object) -> bytes:
    """Return one good line of an input file, with what is named changed; None leaves it out."""
    value: dict[str, object] = {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": MODEL, "messages": [{"role": "user", "content": f"say {custom_id}"}]},
    }
    value.update(changes)
    return json.dumps({k: v for k, v in value.items() if v is not None}).encode()


def lines(count: int) -> bytes:
    return b"".join(line(f"line-{number}") + b"\n" for number in range(count))


def order(file_id: str, **changes: object) -> dict[str, object]:
    """Return the body of a good create, with what is named changed; None leaves it out."""
    value: dict[str, object] = {
        "input_file_id": file_id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    value.update(changes)
    return {k: v for k, v in value.items() if v is not None}


def multipart(
    fields: dict[str, str], content: bytes | None, name: str, *, field: str = "file"
) -> tuple[str, bytes]:
    """Return a boundary and a form written by hand, so that tests can bend it."""
    boundary = "----test-boundary"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    if content is not None:
        head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        parts.append(
            f"--{boundary}\r\n{head}Content-Type: application/octet-stream\r\n\r\n".encode()
            + content
            + b"\r\n"
        )
    return boundary, b"".join(parts) + f"--{boundary}--\r\n".encode()


def validate(batch_id: str) -> None:
    """Do what the task queue would do after a create."""
    tasks.validate(Batch.objects.get(public_id=batch_id).pk)
