"""Claims fence, commits are final, and one bad row hurts only itself."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.answers import Answer, read_answer
from jobs.models import BatchResponse, Chunk, StoredFile, Suspect
from jobs.services.batches import cancel_batch, overdue_batches, settle_batch
from jobs.services.chunks import claim_chunks, read_open_lines, release_chunks, renew_chunks
from jobs.services.files import read_content
from jobs.services.responses import Finished, commit_responses
from jobs.services.suspects import InFlight, note_engine_death
from jobs.states import BatchState

pytestmark = pytest.mark.django_db


def good(text: str = "fine", tokens: int = 3) -> Answer:
    body = {
        "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens},
    }
    return read_answer(200, json.dumps(body).encode())


def finish(chunk, line, answer: Answer) -> Finished:
    return Finished(
        chunk=chunk,
        request_id=line.request_id,
        position=line.position,
        custom_id=line.custom_id,
        answer=answer,
        latency_ms=12,
    )


def claim(lane, model, limit: int = 4):
    return claim_chunks(lane_id=lane.pk, model_id=model.pk, limit=limit)


def expire_leases() -> None:
    Chunk.objects.update(lease_until=timezone.now() - timedelta(seconds=1))


def content_of(batch, which: str) -> list[dict]:
    stored = StoredFile.objects.get(pk=getattr(batch, f"{which}_id"))
    content = read_content(stored=stored)
    data = b"".join(content.chunks)
    assert content.size in (None, len(data))
    return [json.loads(line) for line in data.splitlines()]


def test_a_batch_is_done_with_its_last_line(make_batch, model, lane):
    batch = make_batch(3)
    (chunk,) = claim(lane, model)
    lines = read_open_lines(chunk)
    commit_responses(
        lane_id=lane.pk,
        finished=[finish(chunk, line, good(f"a {line.position}")) for line in reversed(lines)],
        held=[chunk],
        done=[chunk],
    )
    batch.refresh_from_db()
    assert (batch.state, batch.completed, batch.failed) == (BatchState.COMPLETED, 3, 0)
    assert (batch.input_tokens, batch.output_tokens) == (15, 9)
    assert not Chunk.objects.exists()
    # Committed backwards, read in the order of the input.
    assert [line["custom_id"] for line in content_of(batch, "output_file")] == ["r0", "r1", "r2"]
    assert [e.new_state for e in batch.events.order_by("id")] == [
        "validating",
        "in_progress",
        "finalizing",
        "completed",
    ]


def test_the_log_names_a_batch_as_its_owner_does(make_batch, model, lane, caplog):
    with caplog.at_level("INFO"):
        batch = make_batch(1)
        cancel_batch(batch=batch)
    moves = [r.msg for r in caplog.records if isinstance(r.msg, dict)]
    assert [(one["event"], one["batch"], one["new"]) for one in moves] == [
        ("batch_moved", batch.public_id, "in_progress"),
        ("batch_moved", batch.public_id, "cancelling"),
    ]


def test_a_finished_batch_keeps_no_suspects(make_batch, model, lane):
    batch = make_batch(2)
    (chunk,) = claim(lane, model)
    lines = read_open_lines(chunk)
    note_engine_death(lines=[InFlight(line.request_id, batch.pk) for line in lines])
    assert Suspect.objects.count() == 2
    group = [finish(chunk, line, good()) for line in lines]
    commit_responses(lane_id=lane.pk, finished=group, held=[chunk], done=[chunk])
    assert not Suspect.objects.exists()


def test_committing_the_same_answers_again_changes_nothing(make_batch, model, lane):
    batch = make_batch(3)
    (chunk,) = claim(lane, model)
    lines = read_open_lines(chunk)[:2]
    group = [finish(chunk, line, good()) for line in lines]
    for _ in range(2):
        commit_responses(lane_id=lane.pk, finished=group, held=[chunk], done=[])
    batch.refresh_from_db()
    assert (batch.completed, batch.output_tokens, batch.last_seq) == (2, 6, 2)
    assert batch.output_bytes == sum(
        len(block) for block in read_content(stored=batch.output_file).chunks
    )


def test_who_lost_the_lease_cannot_commit(make_batch, model, lane, other_lane):
    batch = make_batch(3)
    (old,) = claim(lane, model)
    assert claim(other_lane, model) == []
    expire_leases()
    (new,) = claim(other_lane, model)
    assert (new.id, new.attempt) == (old.id, old.attempt + 1)
    line = read_open_lines(old)[0]
    result = commit_responses(
        lane_id=lane.pk, finished=[finish(old, line, good("late"))], held=[old], done=[old]
    )
    assert result.held == set()
    assert renew_chunks([old]) == set()
    release_chunks([old])
    assert not BatchResponse.objects.exists()
    assert Chunk.objects.get().owner_id == other_lane.pk
    batch.refresh_from_db()
    assert batch.completed == 0


def test_two_answers_to_one_request_in_a_group_count_once(make_batch, model, lane):
    batch = make_batch(3)
    (old,) = claim(lane, model)
    lines = read_open_lines(old)
    expire_leases()
    # The lane's own chunk was due again, while the database was away from it.
    (new,) = claim(lane, model)
    group = [finish(old, lines[0], good("old")), finish(new, lines[0], good("new"))]
    group.append(finish(new, lines[1], good()))
    group.append(finish(new, lines[1], good("again")))
    commit_responses(lane_id=lane.pk, finished=group, held=[old, new], done=[old])
    batch.refresh_from_db()
    assert (batch.state, batch.completed) == (BatchState.IN_PROGRESS, 2)
    assert BatchResponse.objects.count() == 2
    assert batch.output_bytes == sum(
        len(block) for block in read_content(stored=batch.output_file).chunks
    )


def test_a_model_that_is_switched_off_gives_no_more_chunks(make_batch, model, lane):
    make_batch(3)
    model.enabled = False
    model.save()
    assert claim(lane, model) == []


def test_an_expired_lease_that_nobody_took_can_still_be_committed(make_batch, model, lane):
    make_batch(1)
    (chunk,) = claim(lane, model)
    expire_leases()
    line = read_open_lines(chunk)[0]
    commit_responses(lane_id=lane.pk, finished=[finish(chunk, line, good())], held=[chunk], done=[])
    assert BatchResponse.objects.count() == 1


def test_a_row_that_postgresql_refuses_becomes_an_error_and_the_others_stay(
    make_batch, model, lane
):
    batch = make_batch(9)
    (chunk,) = claim(lane, model)
    lines = read_open_lines(chunk)
    answers = [good(f"a {line.position}") for line in lines]
    # Straight to the database, past the cleaning that answers go through.
    answers[4] = Answer(ok=True, status_code=200, body=b"{}", text="a\0b")
    commit_responses(
        lane_id=lane.pk,
        finished=[finish(chunk, line, a) for line, a in zip(lines, answers, strict=True)],
        held=[chunk],
        done=[chunk],
    )
    batch.refresh_from_db()
    assert (batch.state, batch.completed, batch.failed) == (BatchState.COMPLETED, 8, 1)
    (error,) = content_of(batch, "error_file")
    assert error["custom_id"] == "r4"
    assert error["error"]["code"] == "answer_not_storable"


def test_claims_follow_priority_then_age_then_the_order_of_lines(make_batch, model, lane):
    first, second = make_batch(200), make_batch(200)
    urgent = make_batch(1, priority=1)
    claimed = claim(lane, model, limit=1) + claim(lane, model, limit=10)
    assert [(c.batch_id, c.first_position) for c in claimed] == [
        (urgent.pk, 0),
        (first.pk, 0),
        (first.pk, 128),
        (second.pk, 0),
        (second.pk, 128),
    ]


def test_live_results_go_on_from_a_cursor(make_batch, model, lane):
    batch = make_batch(4)
    (chunk,) = claim(lane, model)
    lines = read_open_lines(chunk)
    commit_responses(
        lane_id=lane.pk, finished=[finish(chunk, lines[2], good())], held=[chunk], done=[]
    )
    batch.refresh_from_db()
    content = read_content(stored=batch.output_file)
    assert content.size is None
    assert [json.loads(b)["custom_id"] for b in content.chunks] == ["r2"]
    commit_responses(
        lane_id=lane.pk, finished=[finish(chunk, lines[0], good())], held=[chunk], done=[]
    )
    later = read_content(
        stored=StoredFile.objects.get(pk=batch.output_file_id), after=content.after
    )
    assert [json.loads(b)["custom_id"] for b in later.chunks] == ["r0"]


def test_cancel_keeps_what_is_finished_and_answers_the_rest(make_batch, model, lane):
    batch = make_batch(5)
    (chunk,) = claim(lane, model)
    lines = read_open_lines(chunk)
    cancel_batch(batch=batch)
    assert batch.state == BatchState.CANCELLING
    # What was finished when the lane saw the cancel is still taken.
    result = commit_responses(
        lane_id=lane.pk, finished=[finish(chunk, lines[1], good())], held=[chunk], done=[]
    )
    assert result.going_on == set()
    assert settle_batch(batch_id=batch.pk)
    batch.refresh_from_db()
    assert (batch.state, batch.completed, batch.failed) == (BatchState.CANCELLED, 1, 4)
    assert {e["error"]["code"] for e in content_of(batch, "error_file")} == {"batch_cancelled"}
    # And nothing after it.
    late = commit_responses(
        lane_id=lane.pk, finished=[finish(chunk, lines[0], good())], held=[chunk], done=[]
    )
    assert late.held == set()
    assert BatchResponse.objects.filter(ok=True).count() == 1


def test_cancel_settles_at_once_where_no_worker_is_alive(make_batch):
    batch = make_batch(2)
    cancel_batch(batch=batch)
    assert batch.state == BatchState.CANCELLED
    assert len(content_of(batch, "error_file")) == 2


def test_an_expired_batch_is_overdue_and_ends_with_what_it_has(make_batch, model, lane):
    batch = make_batch(2)
    assert overdue_batches() == []
    batch.expires_at = timezone.now() - timedelta(seconds=1)
    batch.save()
    assert overdue_batches() == [batch.pk]
    assert claim(lane, model) == []
    assert settle_batch(batch_id=batch.pk)
    batch.refresh_from_db()
    assert (batch.state, batch.failed) == (BatchState.EXPIRED, 2)
    assert not settle_batch(batch_id=batch.pk)
