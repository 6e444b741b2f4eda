"""`GET /api/series`: what a chart gets, what it gets again, and who gets it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import Batch, Gpu, Worker
from jobs.services.projects import get_project
from monitoring.models import Sample, Series
from monitoring.quantities import QUANTITIES, SeriesKind, Step
from monitoring.services.batch_samples import sample_batches
from tests.cast import claim, make_batch, make_worker


def _gpu_series(worker: Worker, index: int = 0, *, age_s: float = 0.0) -> Series:
    now = timezone.now() - timedelta(seconds=age_s)
    gpu = Gpu.objects.create(worker=worker, index=index, name="H100", read_at=now)
    latest = {quantity.name: float(i) for i, quantity in enumerate(QUANTITIES[SeriesKind.GPU])}
    return Series.objects.create(kind=SeriesKind.GPU, gpu=gpu, latest=latest, read_at=now)


def _sample(series: Series, age_s: float, value: float | None, step: Step = Step.FINE) -> Sample:
    values = [value] * len(QUANTITIES[SeriesKind(series.kind)])
    at = timezone.now() - timedelta(seconds=age_s)
    return Sample.objects.create(series=series, step_s=step, at=at, values=values)


def test_without_key_or_login_nothing_is_told(client, db):
    assert client.get("/api/series?kind=gpu").status_code == 401


def test_samples_come_with_names_units_and_age(ask):
    worker, _ = make_worker()
    series = _gpu_series(worker)
    _sample(series, 4, 10.0)
    _sample(series, 2, None)
    answer = ask("/api/series", kind="gpu").json()
    assert answer["step_s"] == 2
    (part,) = answer["series"]
    assert (part["worker"], part["gpu"], part["label"]) == ("host", 0, "host GPU 0")
    assert part["quantities"][0] == {"name": "utilization_percent", "unit": "%"}
    assert part["values"]["utilization_percent"] == [10.0, None]
    assert part["latest"]["memory_used_bytes"] == 1.0
    assert part["stale"] is False and part["age_s"] < 2
    assert [answer["now"] - at for at in part["at"]] == pytest.approx([4, 2], abs=0.9)


def test_the_cursor_brings_only_what_is_new_and_then_304(ask):
    worker, _ = make_worker()
    series, other = _gpu_series(worker), _gpu_series(worker, 1)
    _sample(series, 4, 1.0)
    _sample(other, 4, 1.0)
    first = ask("/api/series", kind="gpu").json()
    again = ask("/api/series", kind="gpu", since=first["cursor"])
    assert (again.status_code, again.content) == (304, b"")
    _sample(other, 2, 2.0)
    second = ask("/api/series", kind="gpu", since=first["cursor"]).json()
    assert [part["at"] == [] for part in second["series"]] == [True, False]
    assert second["series"][1]["values"]["power_w"] == [2.0]
    assert ask("/api/series", kind="gpu", since=second["cursor"]).status_code == 304


def test_a_series_that_goes_stale_is_told_once_and_loses_its_figures(ask):
    worker, _ = make_worker()
    series = _gpu_series(worker)
    _sample(series, 1, 1.0)
    first = ask("/api/series", kind="gpu").json()
    Series.objects.update(read_at=timezone.now() - timedelta(seconds=7))
    second = ask("/api/series", kind="gpu", since=first["cursor"])
    assert second.status_code == 200
    (part,) = second.json()["series"]
    assert part["stale"] is True and part["age_s"] >= 7
    assert set(part["latest"].values()) == {None}
    assert ask("/api/series", kind="gpu", since=second.json()["cursor"]).status_code == 304


def test_longer_windows_take_coarser_steps(ask):
    worker, _ = make_worker()
    series = _gpu_series(worker)
    for step, age_s in ((Step.FINE, 10), (Step.MINUTE, 7_200), (Step.QUARTER, 90_000)):
        _sample(series, age_s, float(step), step)
    _sample(series, 300 * 86_400, float(Step.FOUR_HOURS), Step.FOUR_HOURS)
    windows = ((15, 2.0), (60, 2.0), (240, 60.0), (10_080, 900.0), (525_600, 14_400.0))
    for minutes, step in windows:
        (part,) = ask("/api/series", kind="gpu", minutes=minutes).json()["series"]
        assert part["values"]["power_w"] == [step], minutes


def test_one_worker_one_gpu(ask):
    for name in ("a", "b"):
        worker, _ = make_worker(name)
        _gpu_series(worker, 0)
        _gpu_series(worker, 1)
    named = ask("/api/series", kind="gpu", worker="b", gpu="1").json()["series"]
    assert [part["label"] for part in named] == ["b GPU 1"]
    assert len(ask("/api/series", kind="gpu").json()["series"]) == 4


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({}, "kind"),
        ({"kind": "batch"}, "kind"),
        ({"kind": "gpu", "minutes": "0"}, "minutes"),
        ({"kind": "gpu", "minutes": "9" * 30}, "minutes"),
        ({"kind": "gpu", "gpu": "-1"}, "gpu"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_why(ask, params, param):
    response = ask("/api/series", **params)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("since", ["x", "1.2", "1.2.3.4", "~~", "9" * 5_000, "\0", "1.-2.0"])
def test_a_cursor_that_is_none_brings_all(ask, since):
    _sample(_gpu_series(make_worker()[0]), 1, 1.0)
    (part,) = ask("/api/series", kind="gpu", since=since).json()["series"]
    assert len(part["at"]) == 1


def test_a_strange_batch_is_not_there(ask, project):
    ours, theirs = make_batch(project=project), make_batch(project=get_project(name="theirs"))
    assert ask("/api/series", batch=ours.public_id).status_code == 200
    assert ask("/api/series", batch=theirs.public_id).status_code == 404
    assert ask("/api/series", batch="batch_\0").status_code == 404


def test_a_batch_at_work_goes_stale_but_not_a_waiting_or_an_ended_one(ask, project):
    _, lane = make_worker()
    batch = make_batch(project=project, open_lines=5)
    sample_batches()

    def is_stale() -> bool:
        Series.objects.update(read_at=timezone.now() - timedelta(seconds=60))
        (part,) = ask("/api/series", batch=batch.public_id).json()["series"]
        assert part["total"] == 5
        return part["stale"]

    assert not is_stale()
    chunk = claim(batch, lane)
    sample_batches()
    assert is_stale()
    chunk.delete()
    Batch.objects.update(state="completed", ended_at=timezone.now())
    sample_batches()
    assert not is_stale()


def test_the_number_of_queries_does_not_grow(ask, django_assert_num_queries):
    worker, _ = make_worker()
    for index in range(3):
        _sample(_gpu_series(worker, index), 1, 1.0)
    ask("/api/series", kind="gpu")
    with django_assert_num_queries(3):
        ask("/api/series", kind="gpu")
