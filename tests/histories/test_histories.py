"""Batches are created, answered, paused, retried, expired, deleted, and their lanes killed."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import transaction
from django.test import override_settings
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from jobs import tasks
from jobs.answers import failure, read_answer
from jobs.models import Batch, BatchResponse, Chunk, Project, ServedModel
from jobs.services import lanes
from jobs.services.batches import BatchOrder, CannotCancel, cancel_batch, create_batch
from jobs.services.chunks import ClaimedChunk, OpenLine, release_chunks
from jobs.services.deleting import StillLive, delete_batch
from jobs.services.files import create_file
from jobs.services.fleet import LaneSpec, register_worker
from jobs.services.pausing import CannotPause, pause_batch, resume_batch
from jobs.services.projects import get_project
from jobs.services.responses import Finished, commit_responses
from jobs.services.retrying import CannotRetry, RetryRefused, retry_batch
from jobs.services.reusing import claim_lines
from jobs.services.suspects import InFlight, note_engine_death
from jobs.services.webhooks import announce_events
from jobs.states import BatchState, LaneKind
from tests.emptying import empty_tables
from tests.histories.check import check_files, check_tables

STEPS = 30
LANES = 2
ENGINE = b"e" * 32

# Which batch: an index into those that were ever made, so that old ones are met again and again.
which = st.integers(0, 99)
# What a person may do to a batch, each a method below.
VERBS = ("validate", "cancel", "pause", "resume", "retry", "delete")


class Crash(Exception):
    """The process ends here: its transaction is rolled back."""


class Histories(RuleBasedStateMachine):
    """A product of tables and services; lanes are lists of what they hold in memory."""

    def __init__(self) -> None:
        super().__init__()
        empty_tables()
        self.project: Project = get_project(name="histories")
        self.model, _ = ServedModel.objects.get_or_create(name="m", defaults={"source": "/m"})
        _, self.lanes = register_worker(
            name="host",
            pid=1,
            version="test",
            lanes=[LaneSpec(name=f"gpu{n}", kind=LaneKind.GPU, gpus=(n,)) for n in range(LANES)],
        )
        self.held: dict[int, list[tuple[ClaimedChunk, list[OpenLine]]]] = {
            lane.pk: [] for lane in self.lanes
        }
        # What lanes that were killed, or slept, still believe to hold.
        self.zombies: list[tuple[int, ClaimedChunk, list[OpenLine]]] = []
        self.final: dict[int, tuple[Any, ...]] = {}
        self.answers = 0

    # --- What people do ----------------------------------------------------------------------

    @initialize(count=st.integers(2, 5))
    def begin(self, count: int) -> None:
        self.create(count, 0, True, True)

    @rule(
        count=st.integers(1, 5),
        priority=st.integers(-1, 1),
        told=st.booleans(),
        validated=st.booleans(),
    )
    def create(self, count: int, priority: int, told: bool, validated: bool) -> None:
        lines = b"".join(
            json.dumps(
                {
                    "custom_id": f"r{n}",
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": {
                        "model": "m",
                        # Some equal ones, within a batch and among batches.
                        "temperature": 0 if n % 3 else 1,
                        "messages": [{"role": "user", "content": f"q {n % 4}"}],
                    },
                }
            ).encode()
            + b"\n"
            for n in range(count)
        )
        stored = create_file(
            project=self.project,
            upload=ContentFile(lines, name="in.jsonl"),
            filename="in.jsonl",
            purpose="batch",
            expires_s=None,
        )
        made = create_batch(
            project=self.project,
            order=BatchOrder(
                endpoint="/v1/chat/completions",
                completion_window="24h",
                input_file_id=stored.public_id,
                priority=priority,
                webhook_url="https://hooks.example/x" if told else "",
            ),
        )
        if validated:
            self.validate(made)

    def validate(self, batch: Batch) -> None:
        tasks.validate(batch.pk)

    def cancel(self, batch: Batch) -> None:
        try:
            cancel_batch(batch=batch)
        except CannotCancel:
            assert batch.state in ("completed", "failed", "expired")

    def pause(self, batch: Batch) -> None:
        try:
            pause_batch(batch=batch)
            assert batch.paused_at is not None
        except CannotPause:
            assert batch.state not in ("validating", "in_progress")

    def resume(self, batch: Batch) -> None:
        try:
            resume_batch(batch=batch)
            assert batch.paused_at is None
        except CannotPause:
            assert batch.state not in ("validating", "in_progress")

    def retry(self, batch: Batch) -> None:
        bad = BatchResponse.objects.filter(batch=batch, ok=False).count()
        try:
            made = retry_batch(batch=batch)
        except (CannotRetry, RetryRefused):
            assert batch.is_live or not bad
        else:
            assert not batch.is_live
            assert (made.total, made.answered, made.parent_id) == (bad, 0, batch.pk)

    def delete(self, batch: Batch) -> None:
        try:
            delete_batch(batch=batch)
        except StillLive:
            assert batch.is_live
        else:
            assert not Batch.objects.filter(pk=batch.pk).exists()

    @rule(index=which, verb=st.sampled_from(VERBS))
    def act(self, index: int, verb: str) -> None:
        if batch := self._batch(index):
            getattr(self, verb)(batch)

    # --- What time does ----------------------------------------------------------------------

    @rule(index=which, remains=st.booleans(), ends=st.booleans())
    def pass_time(self, index: int, remains: bool, ends: bool) -> None:
        if ends and (batch := self._batch(index)):
            self.expire(batch)
        self.sweep()
        if remains:
            self.sweep_remains()

    def expire(self, batch: Batch) -> None:
        past = timezone.now() - timedelta(seconds=1)
        Batch.objects.filter(pk=batch.pk).update(expires_at=past)

    def sweep(self) -> None:
        past = timezone.now() - timedelta(minutes=1)
        Batch.objects.filter(state=BatchState.CANCELLING).update(cancelling_at=past)
        tasks.sweep()
        announce_events()

    def sweep_remains(self) -> None:
        tasks.sweep_remains()
        gone = Batch.every.filter(deleted_at__isnull=False)
        assert not gone.exists()

    # --- What lanes do -----------------------------------------------------------------------

    @rule(number=st.integers(0, LANES - 1), limit=st.integers(1, 3))
    def claim(self, number: int, limit: int) -> None:
        lane = self.lanes[number].pk
        claimed = claim_lines(lane_id=lane, model_id=self.model.pk, limit=limit, engine=ENGINE)
        ids = {chunk.id for chunk, _ in claimed}
        # A lane whose own lease ran out may have its chunk again, under a new claim.
        for old in [one for one in self.held[lane] if one[0].id in ids]:
            self.held[lane].remove(old)
            self.zombies.append((lane, *old))
        self.held[lane] += claimed

    @rule(
        number=st.integers(0, LANES - 1),
        picked=st.sets(st.integers(0, 9)),
        failing=st.sets(st.integers(0, 9), max_size=3),
        crashes=st.booleans(),
    )
    def commit(self, number: int, picked: set[int], failing: set[int], crashes: bool) -> None:
        """Commit some of what a lane holds, or die in the middle of it."""
        lane = self.lanes[number].pk
        held = self.held[lane]
        finished, left = [], []
        for chunk, lines in held:
            mine = [line for n, line in enumerate(lines) if n in picked]
            finished += [self._answer(chunk, line, line.position in failing) for line in mine]
            left.append((chunk, [line for line in lines if line not in mine]))
        if crashes:
            with pytest.raises(Crash), transaction.atomic():
                self._hand_in(lane, left, finished)
                raise Crash
            self._forget(lane)
            return
        result = self._hand_in(lane, left, finished)
        self.held[lane] = [
            (chunk, lines)
            for chunk, lines in left
            if lines
            and (chunk.id, chunk.attempt) in result.held
            and chunk.batch_id in result.going_on
        ]
        dropped = [c for c, lines in left if lines and c not in [h[0] for h in self.held[lane]]]
        release_chunks(dropped)

    @rule(number=st.integers(0, LANES - 1), is_known=st.booleans())
    def kill_lane(self, number: int, is_known: bool) -> None:
        """Kill a lane's task: its cluster sees it, or nobody does until the leases run out."""
        lane = self.lanes[number].pk
        chunks = [chunk.id for chunk, _ in self.held[lane]]
        self._forget(lane)
        if is_known:
            lanes.forget_task(lane_id=lane)
        else:
            past = timezone.now() - timedelta(seconds=1)
            Chunk.objects.filter(pk__in=chunks, owner=lane, state="claimed").update(
                lease_until=past
            )

    @rule(number=st.integers(0, LANES - 1))
    def kill_engine(self, number: int) -> None:
        """The engine dies with all that the lane holds in it."""
        lane = self.lanes[number].pk
        lines = [
            InFlight(line.request_id, chunk.batch_id)
            for chunk, found in self.held[lane]
            for line in found
        ]
        if lines and all(Batch.objects.filter(pk=one.batch_id).exists() for one in lines):
            live = [one for one in lines if self._is_open(one)]
            condemned = note_engine_death(lines=live) if live else []
            assert len(condemned) <= 1
        release_chunks([chunk for chunk, _ in self.held[lane]])
        self._forget(lane)

    @rule(index=which)
    def wake_zombie(self, index: int) -> None:
        """A task that was taken for dead commits what it has, as far as it may."""
        if not self.zombies:
            return
        lane, chunk, lines = self.zombies.pop(index % len(self.zombies))
        fenced = not Chunk.objects.filter(
            pk=chunk.id, attempt=chunk.attempt, state="claimed"
        ).exists()
        before = BatchResponse.objects.count()
        self._hand_in(lane, [(chunk, [])], [self._answer(chunk, line, False) for line in lines])
        assert not fenced or BatchResponse.objects.count() == before, "a fenced task committed"

    # --- What holds --------------------------------------------------------------------------

    @invariant()
    def agrees(self) -> None:
        check_tables()

    @invariant()
    def is_final(self) -> None:
        """A response that was committed stays as it was, until its batch is deleted."""
        rows = {
            row[0]: row[1:]
            for row in BatchResponse.objects.values_list(
                "request_id", "seq", "ok", "body", "error_code"
            )
        }
        kept = {key: value for key, value in self.final.items() if key in rows}
        assert {key: rows[key] for key in kept} == kept, "a committed response changed"
        for key in self.final.keys() - kept.keys():
            # Only with its batch.
            assert not Batch.objects.filter(requests=key).exists(), "a response is lost"
        self.final = rows

    def teardown(self) -> None:
        """Whatever happened, what is live can be brought to its end, and reads as it counts."""
        for number in range(LANES):
            self.kill_lane(number, True)
        for batch in Batch.objects.filter(state=BatchState.VALIDATING):
            tasks.validate(batch.pk)
        Batch.objects.update(paused_at=None)
        self.sweep()
        for _ in range(100):
            claimed = claim_lines(
                lane_id=self.lanes[0].pk, model_id=self.model.pk, limit=16, engine=ENGINE
            )
            if not claimed:
                break
            answers = [self._answer(c, line, False) for c, found in claimed for line in found]
            self._hand_in(self.lanes[0].pk, [(c, []) for c, _ in claimed], answers)
        self.sweep()
        for batch in Batch.objects.all():
            assert not batch.is_live, f"{batch.state} for ever"
            check_files(batch)
        check_tables()

    # --- Parts -------------------------------------------------------------------------------

    def _batch(self, index: int) -> Batch | None:
        ids = list(Batch.objects.order_by("pk").values_list("pk", flat=True))
        return Batch.objects.get(pk=ids[index % len(ids)]) if ids else None

    def _answer(self, chunk: ClaimedChunk, line: OpenLine, fails: bool) -> Finished:
        self.answers += 1
        body = {"usage": {"prompt_tokens": 3, "completion_tokens": 2}, "id": self.answers}
        return Finished(
            chunk=chunk,
            request_id=line.request_id,
            position=line.position,
            custom_id=line.custom_id,
            answer=failure("request_timeout", "Too late.")
            if fails
            else read_answer(200, json.dumps(body).encode()),
            latency_ms=1,
            key=line.key,
        )

    def _hand_in(
        self,
        lane: int,
        left: list[tuple[ClaimedChunk, list[OpenLine]]],
        finished: list[Finished],
    ) -> Any:
        return commit_responses(
            lane_id=lane,
            finished=finished,
            held=[chunk for chunk, _ in left],
            done=[chunk for chunk, lines in left if not lines],
        )

    def _forget(self, lane: int) -> None:
        self.zombies += [(lane, chunk, lines) for chunk, lines in self.held[lane]]
        self.held[lane] = []

    def _is_open(self, line: InFlight) -> bool:
        return (
            Batch.objects.filter(pk=line.batch_id, state=BatchState.IN_PROGRESS).exists()
            and not BatchResponse.objects.filter(request_id=line.request_id).exists()
        )


@pytest.mark.long
@pytest.mark.timeout(1_200)
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("histories", [40, pytest.param(300, marks=pytest.mark.torture)])
def test_no_history_breaks_an_invariant(histories: int, tmp_path: Path) -> None:
    with override_settings(MEDIA_ROOT=tmp_path, FILES_DIR=tmp_path):
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            Histories,
            settings=settings(
                max_examples=histories,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
            ),
        )
