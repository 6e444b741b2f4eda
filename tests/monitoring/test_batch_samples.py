"""Samples of batches at work, and the figures and estimates that are read from them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import Batch, Lane, LaneModel
from monitoring.batch_figures import read_figures
from monitoring.batch_points import read_points
from monitoring.eta import estimate_batch, estimate_work
from monitoring.models import Sample, Series
from monitoring.quantities import PHASE_LOADING, PHASE_PAUSED, PHASE_QUEUED, PHASE_RUNNING, Step
from monitoring.services import batch_samples
from monitoring.services.batch_samples import sample_batches, thin_batch_samples
from monitoring.services.summaries import update_summaries
from tests.cast import claim, get_model, make_batch, make_worker

pytestmark = pytest.mark.django_db


def _latest(batch: Batch) -> dict:
    return Series.objects.get(batch=batch).latest


def test_a_sample_when_something_changes_and_none_when_not():
    _, lane = make_worker()
    batch = make_batch(open_lines=10)
    assert (sample_batches(), sample_batches()) == (1, 0)
    assert _latest(batch)["phase"] == PHASE_QUEUED
    Lane.objects.update(engine_state="starting", engine_model=get_model())
    assert sample_batches() == 1 and _latest(batch)["phase"] == PHASE_LOADING
    claim(batch, lane)
    engine = {"requests_running": 7.0, "requests_waiting": 2.0}
    Series.objects.create(kind="engine", lane=lane, latest=engine, read_at=timezone.now())
    assert sample_batches() == 1
    assert _latest(batch)["phase"] == PHASE_RUNNING
    assert (_latest(batch)["requests_running"], _latest(batch)["requests_waiting"]) == (7, 2)
    Batch.objects.update(completed=4, output_tokens=400)
    assert sample_batches() == 1 and _latest(batch)["output_tokens"] == 400
    Batch.objects.update(paused_at=timezone.now())
    assert sample_batches() == 1 and _latest(batch)["phase"] == PHASE_PAUSED


def test_an_engine_that_nobody_reads_tells_nothing():
    _, lane = make_worker()
    batch = make_batch(open_lines=1)
    claim(batch, lane)
    old = timezone.now() - timedelta(seconds=60)
    Series.objects.create(kind="engine", lane=lane, latest={"requests_running": 7}, read_at=old)
    sample_batches()
    assert _latest(batch)["requests_running"] is None


def test_the_look_is_noted_while_at_work_and_a_sample_written_now_and_then(monkeypatch):
    _, lane = make_worker()
    batch = make_batch(open_lines=10)
    claim(batch, lane)
    sample_batches()
    Series.objects.update(read_at=timezone.now() - timedelta(seconds=5))
    assert sample_batches() == 0
    assert (timezone.now() - Series.objects.get().read_at).total_seconds() < 2
    monkeypatch.setattr(batch_samples, "UNCHANGED_EVERY_S", 0.0)
    assert sample_batches() == 1


def test_the_last_word_of_a_batch_is_kept_and_of_an_imported_one_there_is_none():
    batch = make_batch(open_lines=2)
    sample_batches()
    now = timezone.now()
    Batch.objects.update(state="completed", completed=2, ended_at=now, in_progress_at=now)
    make_batch(texts=["a"], state="completed", ended_at=now, imported_at=now, in_progress_at=now)
    assert (sample_batches(), sample_batches()) == (1, 0)
    assert _latest(batch)["completed"] == 2
    assert Series.objects.count() == 1


def _run(batch: Batch, *, seconds: int, per_s: float, phase: int = PHASE_RUNNING) -> None:
    """Write samples as if the batch had run up to now, at an even rate."""
    now = timezone.now()
    series, _ = Series.objects.get_or_create(kind="batch", batch=batch)
    for age_s in range(seconds, -1, -2):
        done = (seconds - age_s) * per_s
        values = [done, 0, done * 10, done * 100, 3, 1, phase]
        at = now - timedelta(seconds=age_s)
        Sample.objects.create(series=series, step_s=Step.THINNED, at=at, values=values)
    names = batch_samples._NAMES
    series.latest, series.read_at = dict(zip(names, values, strict=True)), now
    series.save()
    Batch.objects.filter(pk=batch.pk).update(completed=int(seconds * per_s))
    batch.refresh_from_db()


def test_many_samples_are_halved_and_the_last_one_stays(monkeypatch):
    batch = make_batch(open_lines=1_000)
    _run(batch, seconds=40, per_s=1)
    monkeypatch.setattr(batch_samples, "THIN_ABOVE", 20)
    last = Sample.objects.order_by("at").last()
    assert thin_batch_samples() == 10
    assert Sample.objects.count() == 11
    assert Sample.objects.order_by("at").last() == last
    assert thin_batch_samples() == 0


def _points(batch):
    series = Series.objects.filter(batch=batch).first()
    return read_points(series) if series else []


def test_an_even_rate_gives_a_narrow_band_around_what_is_left():
    batch = make_batch(open_lines=1_000)
    _run(batch, seconds=60, per_s=5)
    estimate = estimate_batch(batch, _points(batch))
    assert estimate is not None
    assert estimate.low_s == pytest.approx(700 / 5 / 1.1, rel=0.02)
    assert estimate.high_s == pytest.approx(700 / 5 * 1.1, rel=0.02)
    assert estimate.basis == "this batch's last minute"


def test_no_estimate_where_nothing_tells():
    batch = make_batch(open_lines=100)
    assert estimate_batch(batch, _points(batch)) is None
    _run(batch, seconds=4, per_s=1)
    assert estimate_batch(batch, _points(batch)) is None
    assert estimate_work(model_name="small", requests=10, tokens=100) is None


def test_before_it_runs_earlier_batches_what_waits_and_the_load_tell():
    now = timezone.now()
    past = {"state": "completed", "first_response_at": now - timedelta(seconds=100)}
    for completed in (100, 200):
        old = make_batch(last_response_at=now, **past)
        Batch.objects.filter(pk=old.pk).update(
            total=completed, completed=completed, input_tokens=completed * 50
        )
    make_batch(open_lines=100)
    batch = make_batch(open_lines=100)
    assert estimate_batch(batch, _points(batch)) is None, "nobody knows when a worker will come"
    _, lane = make_worker()
    estimate = estimate_batch(batch, _points(batch))
    assert estimate is not None
    assert (estimate.low_s, estimate.high_s) == pytest.approx((100, 200))
    assert estimate.basis == "the last 2 batches of this model"
    LaneModel.objects.create(lane=lane, model=get_model(), load_s=30)
    loaded = estimate_batch(batch, _points(batch))
    assert loaded is not None and loaded.low_s == pytest.approx(130)
    assert loaded.basis.endswith("and loading it")
    work = estimate_work(model_name="small", requests=100, tokens=100_000)
    assert work is not None and work.high_s == pytest.approx(330)
    assert "whose prompts had 50 tokens" in work.basis


def test_the_figures_of_a_batch_at_work():
    make_worker()
    batch = make_batch(open_lines=1_000)
    _run(batch, seconds=100, per_s=9.5)
    figures = read_figures(batch)
    assert figures.stale is False
    assert figures.now.output_tokens == pytest.approx(950, rel=0.01)
    assert (figures.running, figures.waiting) == (3, 1)
    names = [phase.name for phase in figures.phases]
    assert names[-3:] == ["warm-up", "steady", "tail"]
    spans = {phase.name: phase.seconds for phase in figures.phases}
    assert spans["steady"] == pytest.approx(84, abs=4)
    for before, after in zip(figures.phases, figures.phases[1:], strict=False):
        assert before.end == after.start


def test_while_nobody_measures_nothing_is_told_of_now():
    batch = make_batch(open_lines=1_000)
    _run(batch, seconds=60, per_s=5)
    Series.objects.update(read_at=timezone.now() - timedelta(seconds=30))
    figures = read_figures(batch)
    assert figures.stale is True
    assert figures.now.requests is None and figures.running is None and figures.estimate is None


def test_histograms_run_from_the_first_to_the_last_bucket_in_use():
    batch = make_batch(texts=["a", "b"], errors=["bad"])
    batch.responses.filter(seq=1).update(output_tokens=100)
    update_summaries()
    figures = read_figures(batch)
    bars = figures.histograms["output_tokens"]
    assert [(bar.low, bar.high, bar.count) for bar in bars] == [
        (64, 128, 1),
        (128, 256, 0),
        (256, 512, 0),
        (512, 1_024, 1),
    ]
    (group,) = figures.errors
    assert (group.code, group.count, group.positions) == ("BadRequestError", 1, [2])
    assert (figures.counted, figures.answers) == (3, 3)
