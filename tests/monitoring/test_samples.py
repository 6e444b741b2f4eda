"""Readings as they are stored, rolled up, and pruned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from monitoring.models import Sample, Series
from monitoring.quantities import KEEP_S, QUANTITIES, SeriesKind, Step
from monitoring.services import samples
from monitoring.services.samples import Reading, prune_samples, roll_up, store_readings
from tests.cast import make_worker

pytestmark = pytest.mark.django_db


def _host() -> Series:
    return Series.objects.create(kind=SeriesKind.HOST, worker=make_worker()[0])


def _sample(series: Series, at: datetime, cpu: float | None, step: Step = Step.FINE) -> None:
    values = [cpu, *[1.0] * (len(QUANTITIES[SeriesKind.HOST]) - 1)]
    Sample.objects.create(series=series, step_s=step, at=at, values=values)


def _minute(minutes_ago: int) -> datetime:
    now = timezone.now().astimezone(UTC).replace(second=0, microsecond=0)
    return now - timedelta(minutes=minutes_ago)


def test_a_reading_is_the_latest_and_a_sample():
    worker, _ = make_worker()
    for cpu in (10.0, 20.0):
        reading = Reading(subject_id=worker.pk, latest={"cpu_percent": cpu}, detail={"cores": 2})
        store_readings(kind=SeriesKind.HOST, readings=[reading])
    series = Series.objects.get(worker=worker)
    assert series.latest == {"cpu_percent": 20.0} and series.detail == {"cores": 2}
    assert (timezone.now() - series.read_at).total_seconds() < 5
    found = list(series.samples.order_by("at").values_list("step_s", "values"))
    assert found == [(2, [10.0, None, None, None]), (2, [20.0, None, None, None])]


def test_a_failed_reading_says_why_and_lets_the_last_one_grow_old():
    worker, _ = make_worker()
    good = Reading(subject_id=worker.pk, latest={"cpu_percent": 10.0})
    store_readings(kind=SeriesKind.HOST, readings=[good])
    before = Series.objects.get()
    store_readings(kind=SeriesKind.HOST, readings=[Reading(subject_id=worker.pk, error="e" * 900)])
    after = Series.objects.get()
    assert (after.read_at, after.latest) == (before.read_at, before.latest)
    assert after.error == "e" * 500 and Sample.objects.count() == 1
    store_readings(kind=SeriesKind.HOST, readings=[good])
    assert Series.objects.get().error == ""


def test_minutes_and_quarters_are_means_and_nulls_count_for_nothing():
    series = _host()
    quarter = _minute(0).replace(minute=_minute(0).minute // 15 * 15) - timedelta(minutes=15)
    for second, cpu in ((0, 10.0), (2, None), (58, 30.0), (60, 100.0), (118, None)):
        _sample(series, quarter + timedelta(seconds=second), cpu)
    roll_up(series_ids=[series.pk])
    rows = series.samples.filter(step_s__in=(60, 900)).order_by("step_s", "at")
    assert [(row.step_s, row.at, row.values[0]) for row in rows] == [
        (60, quarter, 20.0),
        (60, quarter + timedelta(minutes=1), 100.0),
        (900, quarter, 60.0),
    ]
    assert roll_up(series_ids=[series.pk]) == 0


def test_four_hours_are_the_means_of_their_quarters():
    series = _host()
    now_s = timezone.now().timestamp()
    start = datetime.fromtimestamp((now_s // 14_400 - 1) * 14_400, tz=UTC)
    for quarter, cpu in ((0, 10.0), (1, 30.0), (15, None), (16, 99.0)):
        _sample(series, start + quarter * timedelta(minutes=15), cpu, Step.QUARTER)
    roll_up(series_ids=[series.pk])
    (row,) = series.samples.filter(step_s=Step.FOUR_HOURS)
    assert (row.at, row.values[0]) == (start, 20.0)


def test_what_is_not_over_is_not_rolled_up_and_a_minute_without_a_value_is_a_gap():
    series = _host()
    _sample(series, _minute(2), None)
    _sample(series, timezone.now(), 5.0)
    roll_up(series_ids=[series.pk])
    (row,) = series.samples.filter(step_s=Step.MINUTE)
    assert (row.at, row.values[0]) == (_minute(2), None)


def test_after_an_absence_the_roll_up_goes_on_where_it_stopped():
    series = _host()
    _sample(series, _minute(50), 1.0, Step.MINUTE)
    for minutes_ago in (50, 49, 20):
        _sample(series, _minute(minutes_ago), 7.0)
    roll_up(series_ids=[series.pk])
    found = series.samples.filter(step_s=Step.MINUTE).order_by("at").values_list("at", flat=True)
    assert list(found) == [_minute(50), _minute(49), _minute(20)]
    # The minute that was there already stays as it was.
    assert series.samples.get(step_s=Step.MINUTE, at=_minute(50)).values[0] == 1.0


def test_of_other_hosts_nothing_is_rolled_up():
    series = _host()
    _sample(series, _minute(2), 1.0)
    assert roll_up(series_ids=[]) == 0


def test_samples_go_when_their_time_is_over_a_slice_at_once(monkeypatch):
    series = _host()
    for step, keep_s in KEEP_S.items():
        for age_s in (keep_s - 60, keep_s + 60, keep_s + 120):
            _sample(series, timezone.now() - timedelta(seconds=age_s), 1.0, step)
    _sample(series, timezone.now() - timedelta(days=900), 1.0, Step.THINNED)
    monkeypatch.setattr(samples, "PRUNE_ROWS", 1)
    assert prune_samples() == len(KEEP_S)
    assert prune_samples() == len(KEEP_S)
    assert prune_samples() == 0
    left = series.samples.order_by("step_s").values_list("step_s", flat=True)
    assert list(left) == [Step.THINNED, *KEEP_S]
