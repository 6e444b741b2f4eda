"""What is kept of the lanes that worked on a batch: before, after, and on what."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import Batch, BatchResponse, Gpu, Lane
from jobs.states import BatchState
from monitoring.models import LaneUse, Series
from monitoring.services.batch_samples import sample_batches
from tests.cast import claim, make_batch, make_worker

pytestmark = pytest.mark.django_db


def _read(lane: Lane, tokens: float, *, earlier: float | None = None, age_s: float = 0) -> None:
    """Enter a reading of the lane's engine, and the one before it."""
    detail = {"generation": lane.generation, "counters": {"generation_tokens": tokens}}
    before = {"counters": {"generation_tokens": earlier}, "histograms": {}}
    Series.objects.update_or_create(
        kind="engine",
        lane=lane,
        defaults={
            "detail": detail | {"histograms": {}, "before": None if earlier is None else before},
            "read_at": timezone.now() - timedelta(seconds=age_s),
        },
    )


def _end(batch: Batch) -> None:
    batch.chunks.all().delete()
    Batch.objects.filter(pk=batch.pk).update(
        state=BatchState.COMPLETED, completed_at=timezone.now(), ended_at=timezone.now()
    )


def _tokens(figures: dict) -> float:
    return figures["counters"]["generation_tokens"]


def test_a_warm_engine_was_read_before_the_batch_and_is_read_after_its_end():
    _, lane = make_worker()
    batch = make_batch(open_lines=10, in_progress_at=timezone.now())
    Gpu.objects.create(
        worker=lane.worker, index=0, uuid="u", name="H", energy_j=10.0, read_at=timezone.now()
    )
    claim(batch, lane)
    _read(lane, 150, earlier=100)
    sample_batches()
    _read(lane, 400, earlier=150)
    Gpu.objects.update(energy_j=35.0)
    sample_batches()
    use = LaneUse.objects.get()
    assert (_tokens(use.before), _tokens(use.after), use.closed_at) == (100, 400, None)
    assert use.energy == [{"uuid": "u", "from_j": 10.0, "to_j": 35.0}]
    assert use.fingerprint["gpus"][0]["name"] == "H" and use.fingerprint["model"] == "small"
    _end(batch)
    _read(lane, 450, age_s=20)
    sample_batches()
    assert LaneUse.objects.get().closed_at is None, "that reading was of before the end"
    _read(lane, 500)
    sample_batches()
    use.refresh_from_db()
    assert (_tokens(use.after), use.closed_at is not None, use.shared) == (500, True, False)
    _read(lane, 900)
    sample_batches()
    use.refresh_from_db()
    assert _tokens(use.after) == 500


def test_a_reading_that_is_older_than_the_batch_is_what_was_before_it():
    _, lane = make_worker()
    batch = make_batch(open_lines=10, in_progress_at=timezone.now())
    claim(batch, lane)
    _read(lane, 150, earlier=100, age_s=1)
    sample_batches()
    assert _tokens(LaneUse.objects.get().before) == 150, "what came between is another batch's"


def test_an_engine_that_was_started_for_the_batch_begins_at_nothing():
    _, lane = make_worker()
    now = timezone.now()
    batch = make_batch(open_lines=1, in_progress_at=now)
    Lane.objects.update(engine_started_at=now, engine_ready_at=now + timedelta(seconds=40))
    claim(batch, lane)
    _read(lane, 150)
    sample_batches()
    use = LaneUse.objects.get()
    assert use.before == {"counters": {}, "histograms": {}}
    assert use.fingerprint["engine_start_s"] == 40


def test_another_engine_on_the_lane_is_another_record():
    _, lane = make_worker()
    batch = make_batch(open_lines=1, in_progress_at=timezone.now())
    claim(batch, lane)
    _read(lane, 150, earlier=100)
    sample_batches()
    Lane.objects.update(generation=1, engine_started_at=timezone.now())
    sample_batches()
    assert LaneUse.objects.count() == 2
    old = LaneUse.objects.get(generation=0)
    lane.refresh_from_db()
    _read(lane, 40)
    sample_batches()
    old.refresh_from_db()
    new = LaneUse.objects.get(generation=1)
    assert (_tokens(old.after), _tokens(new.after), new.before["counters"]) == (150, 40, {})


def test_a_lane_with_lines_of_two_batches_is_shared():
    _, lane = make_worker()
    one, other = make_batch(open_lines=1), make_batch(open_lines=1)
    claim(one, lane)
    sample_batches()
    assert not LaneUse.objects.get().shared
    claim(other, lane)
    sample_batches()
    assert [use.shared for use in LaneUse.objects.all()] == [True, True]


def test_a_batch_that_came_and_went_between_two_looks_has_its_fingerprint():
    _, lane = make_worker()
    batch = make_batch(texts=["a"], state=BatchState.COMPLETED, in_progress_at=timezone.now())
    Batch.objects.update(ended_at=timezone.now())
    BatchResponse.objects.update(lane=lane)
    _read(lane, 5, earlier=1)
    sample_batches()
    sample_batches()
    use = LaneUse.objects.get(batch=batch)
    assert (use.before, use.after, use.closed_at is not None) == (None, None, True)
    assert use.fingerprint["worker"] == "host"


def test_an_engine_that_is_read_no_more_does_not_keep_the_record_open():
    _, lane = make_worker()
    batch = make_batch(open_lines=1)
    claim(batch, lane)
    _read(lane, 5, earlier=1)
    sample_batches()
    _end(batch)
    Series.objects.filter(lane=lane).delete()
    sample_batches()
    assert LaneUse.objects.get().closed_at is None
    Batch.objects.update(ended_at=timezone.now() - timedelta(seconds=60))
    sample_batches()
    use = LaneUse.objects.get()
    assert use.closed_at is not None and _tokens(use.after) == 5
