"""Known answers go to equal lines of their project, and of nobody else, and only while they are."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.utils import timezone

from jobs.answers import Answer, failure, read_answer
from jobs.models import Batch, BatchRequest, BatchResponse, KnownAnswer, Project, StoredFile
from jobs.services.batches import BatchOrder, create_batch
from jobs.services.deleting import delete_batch
from jobs.services.due import Scope
from jobs.services.files import create_file, read_content
from jobs.services.projects import get_project
from jobs.services.purging import DueBatches
from jobs.services.responses import Finished, commit_responses
from jobs.services.retrying import retry_batch
from jobs.services.reusing import claim_lines
from jobs.services.slices import Pace
from jobs.services.validation import validate_batch
from jobs.states import BatchState

pytestmark = pytest.mark.django_db

ENGINE = b"e" * 32


def batch_of(
    prompts: list[str], *, project: Project | None = None, reuse: bool | None = None, **body
) -> Batch:
    """Make a batch, validated, of one line a prompt."""
    content = b"".join(
        json.dumps(
            {
                "custom_id": f"r{n}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {
                    "model": "m",
                    "temperature": 0,
                    "messages": [{"role": "user", "content": prompt}],
                    **body,
                },
            }
        ).encode()
        + b"\n"
        for n, prompt in enumerate(prompts)
    )
    project = project or get_project()
    stored = create_file(
        project=project,
        upload=ContentFile(content, name="in.jsonl"),
        filename="in.jsonl",
        purpose="batch",
        expires_s=None,
    )
    order = BatchOrder(
        endpoint="/v1/chat/completions",
        completion_window="24h",
        input_file_id=stored.public_id,
        reuse_answers=reuse,
    )
    batch = create_batch(project=project, order=order)
    validate_batch(batch_id=batch.pk)
    batch.refresh_from_db()
    assert batch.state == BatchState.IN_PROGRESS
    return batch


def good(text: str, *, reason: str = "stop") -> Answer:
    body = {
        "choices": [{"message": {"content": text}, "finish_reason": reason}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3},
    }
    return read_answer(200, json.dumps(body).encode())


class Engine:
    """A lane at work; `asked` are the custom_ids that it got to answer."""

    def __init__(self, lane, model, digest: bytes = ENGINE) -> None:
        self.lane, self.model, self.digest = lane, model, digest
        self.asked: list[str] = []

    def work(self, answer: Answer | None = None) -> list[str]:
        """Answer whatever is open; return the custom_ids of it."""
        claimed = claim_lines(
            lane_id=self.lane.pk, model_id=self.model.pk, limit=100, engine=self.digest
        )
        finished = [
            Finished(
                chunk=chunk,
                request_id=line.request_id,
                position=line.position,
                custom_id=line.custom_id,
                answer=answer or good(f"to {line.custom_id}"),
                latency_ms=12,
                key=line.key,
            )
            for chunk, lines in claimed
            for line in lines
        ]
        chunks = [chunk for chunk, _ in claimed]
        commit_responses(lane_id=self.lane.pk, finished=finished, held=chunks, done=chunks)
        return [item.custom_id for item in finished]


@pytest.fixture
def engine(lane, model) -> Engine:
    return Engine(lane, model)


def bodies(batch: Batch) -> list[bytes]:
    rows = BatchResponse.objects.filter(batch=batch).order_by("request__position")
    return [bytes(body) for body in rows.values_list("body", flat=True)]


def test_a_known_answer_is_taken_over_to_the_byte(engine):
    first = batch_of(["a", "b"])
    assert engine.work() == ["r0", "r1"]
    second = batch_of(["b", "new", "a"])
    assert engine.work() == ["r1"]
    second.refresh_from_db()
    assert (second.state, second.completed, second.reused) == (BatchState.COMPLETED, 3, 2)
    one, other = bodies(first)
    assert bodies(second)[::2] == [other, one]
    copies = BatchResponse.objects.filter(batch=second, reused=True)
    assert set(copies.values_list("lane", "latency_ms", "text", "finish_reason")) == {
        (None, None, "to r1", "stop"),
        (None, None, "to r0", "stop"),
    }


def test_counters_are_the_sum_of_the_lines_and_savings_stand_apart(engine):
    batch_of(["a", "b"])
    engine.work()
    batch = batch_of(["a", "b", "c"])
    engine.work()
    batch.refresh_from_db()
    assert (batch.input_tokens, batch.output_tokens) == (15, 9)
    assert (batch.reused, batch.reused_input_tokens, batch.reused_output_tokens) == (2, 10, 6)
    assert batch.last_seq == 3
    content = b"".join(read_content(stored=batch.output_file).chunks)
    assert len(content) == batch.output_bytes
    assert [json.loads(one)["custom_id"] for one in content.splitlines()] == ["r0", "r1", "r2"]


def test_a_batch_of_known_answers_alone_ends_with_its_claim(engine):
    batch_of(["a"])
    engine.work()
    batch = batch_of(["a"] * 300)
    claimed = claim_lines(
        lane_id=engine.lane.pk, model_id=engine.model.pk, limit=100, engine=ENGINE
    )
    assert [lines for _, lines in claimed] == [[], [], []]
    batch.refresh_from_db()
    assert (batch.state, batch.reused, batch.last_seq) == (BatchState.COMPLETED, 300, 300)


def test_large_answers_are_copied_a_few_at_a_time(engine, monkeypatch):
    batch_of(["a"])
    engine.work()
    monkeypatch.setattr("jobs.services.reusing.GROUP_BYTES", 250)
    groups = []

    def commit(**found):
        groups.append(len(found["finished"]))
        return commit_responses(**found)

    monkeypatch.setattr("jobs.services.reusing.commit_responses", commit)
    batch = batch_of(["a"] * 10)
    assert engine.work() == []
    batch.refresh_from_db()
    assert (batch.reused, sum(groups)) == (10, 10)
    assert max(groups) <= 3


def test_another_project_gets_nothing(engine):
    batch_of(["a"])
    engine.work()
    stranger = get_project(name="stranger")
    batch = batch_of(["a"], project=stranger)
    assert engine.work() == ["r0"]
    batch.refresh_from_db()
    assert batch.reused == 0
    # And keeps what it made for itself.
    batch_of(["a"], project=stranger)
    assert engine.work() == []
    assert KnownAnswer.objects.count() == 2


def test_who_does_not_want_it_neither_takes_nor_gives(engine, settings):
    batch_of(["a"])
    engine.work()
    batch_of(["a", "b"], reuse=False)
    assert engine.work() == ["r0", "r1"]
    batch_of(["b"])
    assert engine.work() == ["r0"]
    settings.REUSE_ANSWERS = False
    batch_of(["a"])
    assert engine.work() == ["r0"]
    batch_of(["a"], reuse=True)
    assert engine.work() == []


def test_lines_that_draw_take_no_part(engine):
    for _ in range(2):
        batch_of(["a"], temperature=0.5)
        assert engine.work() == ["r0"]
    assert not BatchRequest.objects.exclude(body_sha256=None).exists()


def test_another_engine_answers_for_itself(engine, lane, model):
    batch_of(["a"])
    engine.work()
    for digest in (b"f" * 32, b""):
        batch_of(["a"])
        assert Engine(lane, model, digest).work() == ["r0"]
    assert KnownAnswer.objects.count() == 2


@pytest.mark.parametrize(
    "answer",
    [
        failure("request_timeout", "Too late."),
        read_answer(400, b'{"error": {"message": "too long"}}'),
        good("cut", reason="abort"),
    ],
)
def test_only_good_answers_are_known(engine, answer):
    batch_of(["a"])
    engine.work(answer)
    batch_of(["a"])
    assert engine.work() == ["r0"]


def test_what_is_deleted_is_not_given_out_and_leaves_nothing(engine):
    def purge() -> None:
        for _ in DueBatches().remove(Scope(now=timezone.now()), Pace(rests=False)):
            pass

    first, gone = batch_of(["a"]), batch_of(["b"])
    engine.work()
    for batch in (first, gone):
        batch.refresh_from_db()
        delete_batch(batch=batch)
    second = batch_of(["a"])
    assert engine.work() == ["r0"]
    purge()
    # Only what was computed since then is known.
    assert [known.response.batch for known in KnownAnswer.objects.all()] == [second]
    batch_of(["a", "b"])
    assert engine.work() == ["r1"]


@pytest.mark.parametrize("change", ["deleted_at", "expires_at"])
def test_results_that_are_hidden_are_not_given_out(engine, change):
    first = batch_of(["a"])
    engine.work()
    first.refresh_from_db()
    past = timezone.now() - timedelta(seconds=1)
    StoredFile.objects.filter(pk=first.output_file_id).update(**{change: past})
    batch_of(["a"])
    assert engine.work() == ["r0"]
    # What was computed since then is.
    batch_of(["a"])
    assert engine.work() == []


def test_an_answer_that_vanishes_meanwhile_is_computed(engine, monkeypatch):
    batch_of(["a", "b"])
    engine.work()
    from jobs.services import reusing

    copies = reusing._copies

    def vanish(group, known):
        BatchResponse.objects.filter(text="to r0").delete()
        return copies(group, known)

    monkeypatch.setattr(reusing, "_copies", vanish)
    batch = batch_of(["a", "b"])
    assert engine.work() == ["r0"]
    batch.refresh_from_db()
    assert (batch.completed, batch.reused) == (2, 1)


def test_a_retry_goes_on_with_what_is_known(engine):
    old = batch_of(["a", "b"])
    engine.work(failure("request_timeout", "Too late."))
    old.refresh_from_db()
    batch_of(["a"])
    engine.work()
    made = retry_batch(batch=old)
    assert made.reuse_answers
    assert engine.work() == ["r1"]
    made.refresh_from_db()
    assert (made.state, made.reused) == (BatchState.COMPLETED, 1)


def test_equal_lines_that_were_computed_twice_are_known_once(engine):
    batch_of(["a", "a", "a"])
    assert engine.work() == ["r0", "r1", "r2"]
    assert KnownAnswer.objects.get().response.request.custom_id == "r0"
