"""Lines that begin alike run one after the other, and all else is as if they had not been moved."""

from __future__ import annotations

import json

import pytest
from django.core.files.base import ContentFile

from jobs.answers import read_answer
from jobs.models import Batch, Chunk
from jobs.services.batches import BatchOrder, create_batch
from jobs.services.chunks import claim_chunks, read_open_lines
from jobs.services.files import create_file, read_content
from jobs.services.projects import get_project
from jobs.services.responses import Finished, commit_responses
from jobs.services.retrying import retry_batch
from jobs.services.starting import ChunkRanges
from jobs.services.validation import validate_batch
from jobs.states import BatchState
from jobs.views.lines import CHUNKS_MAX, lines_of

pytestmark = pytest.mark.django_db

GROUPS = 4


def prompt(number: int) -> str:
    """Of groups that take turns, each with a long beginning of its own."""
    return f"{chr(97 + number % GROUPS) * 600} question {number}"


@pytest.fixture
def interleaved(model):
    """Return a function that makes a batch whose lines take turns in what they begin with."""

    def make(count: int = 300, **fields) -> Batch:
        content = b"".join(
            json.dumps(
                {
                    "custom_id": f"r{n}",
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": {"model": "m", "messages": [{"role": "user", "content": prompt(n)}]},
                }
            ).encode()
            + b"\n"
            for n in range(count)
        )
        stored = create_file(
            project=get_project(),
            upload=ContentFile(content, name="in.jsonl"),
            filename="in.jsonl",
            purpose="batch",
            expires_s=None,
        )
        order = BatchOrder(
            endpoint="/v1/chat/completions",
            completion_window="24h",
            input_file_id=stored.public_id,
            **fields,
        )
        batch = create_batch(project=get_project(), order=order)
        validate_batch(batch_id=batch.pk)
        batch.refresh_from_db()
        return batch

    return make


def claim(lane, model, limit=100):
    return claim_chunks(lane_id=lane.pk, model_id=model.pk, limit=limit)


def answer(lane, chunk, lines, done):
    body = json.dumps({"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]})
    finished = [
        Finished(
            chunk=chunk,
            request_id=line.request_id,
            position=line.position,
            custom_id=line.custom_id,
            answer=read_answer(200, body.encode()),
            latency_ms=1,
        )
        for line in lines
    ]
    commit_responses(lane_id=lane.pk, finished=finished, held=[chunk], done=[chunk] if done else [])


def by_group(count: int) -> list[int]:
    return sorted(range(count), key=lambda n: (n % GROUPS, n))


def test_chunks_name_their_lines_in_the_order_in_which_they_run(interleaved, lane, model):
    batch = interleaved()
    chunks = list(Chunk.objects.filter(batch=batch).order_by("first_position"))
    assert [(c.first_position, c.last_position) for c in chunks] == [
        (0, 127),
        (128, 255),
        (256, 299),
    ]
    assert [p for c in chunks for p in c.positions] == by_group(300)
    claimed = claim(lane, model)
    read = [line.position for chunk in claimed for line in read_open_lines(chunk)]
    assert read == by_group(300)
    lines = [line for chunk in claimed for line in read_open_lines(chunk)]
    assert all(line.custom_id == f"r{line.position}" for line in lines)


def test_what_is_answered_is_not_read_again(interleaved, lane, model):
    interleaved()
    (chunk,) = claim(lane, model, limit=1)
    lines = read_open_lines(chunk)
    answer(lane, chunk, lines[:100], done=False)
    assert read_open_lines(chunk) == lines[100:]


def test_results_stand_in_input_order(interleaved, lane, model):
    batch = interleaved()
    for chunk in claim(lane, model):
        answer(lane, chunk, read_open_lines(chunk), done=True)
    batch.refresh_from_db()
    assert batch.state == BatchState.COMPLETED
    content = b"".join(read_content(stored=batch.output_file).chunks)
    names = [json.loads(one)["custom_id"] for one in content.splitlines()]
    assert names == [f"r{n}" for n in range(300)]


def test_who_asks_for_the_order_of_the_file_gets_it(interleaved, lane, model):
    batch = interleaved(request_order="file")
    assert set(Chunk.objects.filter(batch=batch).values_list("positions", flat=True)) == {None}
    claimed = claim(lane, model)
    read = [line.position for chunk in claimed for line in read_open_lines(chunk)]
    assert read == list(range(300))


def test_lines_that_share_nothing_stay_in_the_order_of_the_file(make_batch):
    batch = make_batch(300)
    assert batch.request_order == "auto"
    assert set(Chunk.objects.filter(batch=batch).values_list("positions", flat=True)) == {None}


@pytest.mark.parametrize("order", ["auto", "file"])
def test_a_retry_runs_in_the_same_order(interleaved, lane, model, order):
    batch = interleaved(request_order=order)
    for chunk in claim(lane, model):
        answer(lane, chunk, [one for one in read_open_lines(chunk) if one.position < 8], done=False)
    Chunk.objects.filter(batch=batch).delete()
    Batch.objects.filter(pk=batch.pk).update(state="expired")
    batch.refresh_from_db()
    made = retry_batch(batch=batch)
    chunks = Chunk.objects.filter(batch=made).order_by("first_position")
    named = list(chunks.values_list("positions", flat=True))
    if order == "file":
        assert named == [None] * 3
    else:
        # Positions begin at 0 again; eight lines are two rounds of the groups.
        assert [p for positions in named for p in positions] == by_group(292)


@pytest.mark.parametrize("few", [CHUNKS_MAX, 1])
def test_the_page_finds_every_line_that_is_not_answered(interleaved, lane, model, monkeypatch, few):
    monkeypatch.setattr("jobs.views.lines.CHUNKS_MAX", few)
    batch = interleaved()
    (chunk,) = claim(lane, model, limit=1)
    answer(lane, chunk, read_open_lines(chunk), done=True)
    batch.refresh_from_db()
    found = lines_of(batch, "open").order_by("position").values_list("position", flat=True)
    assert list(found) == sorted(by_group(300)[128:])


def test_chunks_are_cut_by_the_bytes_of_their_own_lines(monkeypatch):
    monkeypatch.setattr("jobs.services.starting.CHUNK_BYTES", 10)
    ranges = ChunkRanges(request_order="auto")
    for number, size in enumerate([9, 1, 1, 9]):
        ranges.add(body_bytes=size, prompt="ab"[number % 2] * 200)
    assert [(c.first, c.last, c.positions) for c in ranges.finish()] == [
        (0, 1, [0, 2]),
        (2, 3, [1, 3]),
    ]
    assert ChunkRanges(request_order="file").finish() == []
