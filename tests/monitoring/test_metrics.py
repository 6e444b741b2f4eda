"""`/metrics` of a database in which something happens: values, labels, and what is left out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import Batch, Gpu, Lane, Worker
from jobs.services.deleting import delete_batch
from jobs.services.projects import get_project
from monitoring.models import DayTally, Series
from monitoring.services.summaries import update_summaries
from tests.cast import make_batch
from tests.monitoring.exposition import names, scrape, value
from tests.monitoring.filled import COUNTERS, fill, make_gpu

pytestmark = pytest.mark.django_db

HOST = {"worker": "host"}
GPU = {**HOST, "gpu": "0"}
ENGINE = {**HOST, "lane": "gpu0", "model": "small"}


def test_the_queue_is_told_by_model_and_a_paused_batch_does_not_wait(client):
    fill()
    found = scrape(client)
    assert value(found, "vbatch_queue_requests", model="small") == 4
    assert value(found, "vbatch_queue_paused_requests", model="small") == 6
    assert value(found, "vbatch_leases", state="held") == 1
    assert value(found, "vbatch_leases", state="expired") == 0
    assert 0 <= value(found, "vbatch_queue_oldest_batch_age_seconds") < 60
    Batch.objects.update(paused_at=timezone.now())
    found = scrape(client)
    # No gap: the line of a model comes down when nothing waits for it any more.
    assert value(found, "vbatch_queue_requests", model="small") == 0
    assert "vbatch_queue_oldest_batch_age_seconds" not in names(found)


def test_the_queue_stands_still_since_its_last_answer_or_its_first_batch(client):
    hour, now = timedelta(hours=1), timezone.now()

    def moved_ago() -> float:
        return now.timestamp() - value(scrape(client), "vbatch_queue_moved_timestamp_seconds")

    first = make_batch(open_lines=1, created_at=now - 3 * hour, in_progress_at=now - 2 * hour)
    # Another batch that comes makes no queue move.
    make_batch(open_lines=1)
    assert moved_ago() == pytest.approx(7_200, abs=1)
    # One that has just ended did answer.
    ended = {"ended_at": now - hour / 4, "last_response_at": now - hour / 3}
    make_batch(state="completed", texts=["a"], **ended)
    assert moved_ago() == pytest.approx(1_200, abs=1)
    Batch.objects.filter(pk=first.pk).update(last_response_at=now - timedelta(seconds=5))
    assert moved_ago() == pytest.approx(5, abs=1)


def test_a_lease_that_ran_out_is_told(client):
    fill()
    make_batch(open_lines=1).chunks.create(
        first_position=0,
        last_position=0,
        state="claimed",
        lease_until=timezone.now() - timedelta(seconds=1),
    )
    assert value(scrape(client), "vbatch_leases", state="expired") == 1


def test_counters_stay_when_a_batch_is_deleted(client):
    batch = make_batch(
        state="completed", texts=["a", "b"], errors=["c"], ended_at=timezone.now(), open_lines=0
    )
    update_summaries()
    before = scrape(client)
    assert value(before, "vbatch_requests_total", model="small", result="ok") == 2
    assert value(before, "vbatch_requests_total", model="small", result="failed") == 1
    assert value(before, "vbatch_tokens_total", model="small", kind="input") == 20
    assert value(before, "vbatch_tokens_total", model="small", kind="output") == 2_000
    delete_batch(batch=batch)
    after = scrape(client)
    assert value(after, "vbatch_batches", state="completed") == 0
    counters = {key: found for key, found in before.items() if key[0].endswith("_tokens_total")}
    counters |= {k: found for k, found in before.items() if k[0] == "vbatch_requests_total"}
    assert counters and counters.items() <= after.items()


def test_a_hundred_models_have_a_name_and_no_counter_ever_changes_its_place(client):
    def tally(model: str, day: int, completed: int) -> None:
        DayTally.objects.create(
            project=get_project(),
            day=timezone.now() - timedelta(days=day),
            model_name=model,
            completed=completed,
        )

    for number in range(105):
        tally(f"model-{number}", 1, 1)
    before = scrape(client)
    series = [key for key in before if key[0] == "vbatch_requests_total"]
    assert len(series) == 2 * 101
    assert value(before, "vbatch_requests_total", model="other", result="ok") == 5
    # The last one becomes the largest, and stays where it was.
    tally("model-104", 0, 1_000)
    after = scrape(client)
    assert value(after, "vbatch_requests_total", model="other", result="ok") == 1_005
    assert all(after[key] >= before[key] for key in series)


def test_webhooks_that_are_due_that_are_old_and_that_are_dead(client):
    fill()
    found = scrape(client)
    assert value(found, "vbatch_webhook_deliveries", state="pending") == 1
    assert value(found, "vbatch_webhook_deliveries", state="dead") == 1
    assert value(found, "vbatch_webhook_overdue_seconds") == pytest.approx(30, abs=10)
    assert value(found, "vbatch_webhook_oldest_pending_age_seconds") == pytest.approx(90, abs=10)


def test_summaries_that_are_behind_and_that_are_not(client):
    fill()
    assert value(scrape(client), "vbatch_summaries_lag_responses") == 1
    Batch.objects.filter(last_seq=4).update(last_seq=3)
    found = scrape(client)
    assert value(found, "vbatch_summaries_lag_responses") == 0
    at = value(found, "vbatch_summaries_last_success_timestamp_seconds")
    assert at == pytest.approx(timezone.now().timestamp(), abs=5)


def test_figures_of_a_gpu_come_in_base_units(client):
    fill()
    found = scrape(client)
    wanted = {
        "vbatch_gpu_utilization_ratio": 0.93,
        "vbatch_gpu_memory_used_bytes": 6e10,
        "vbatch_gpu_temperature_celsius": 71,
        "vbatch_gpu_power_watts": 350,
        "vbatch_gpu_power_limit_watts": 700,
        "vbatch_gpu_energy_joules_total": 5_000,
        "vbatch_gpu_error": 0,
    }
    assert {name: value(found, name, **GPU) for name in wanted} == pytest.approx(wanted)
    assert value(found, "vbatch_gpu_clock_hertz", **GPU, kind="sm") == 1.98e9
    assert value(found, "vbatch_gpu_throttled", **GPU, reason="heat") == 1
    assert value(found, "vbatch_gpu_throttled", **GPU, reason="power limit") == 0


def test_a_gpu_that_is_stale_has_no_figures_but_an_age_and_its_error(client):
    _, _, gpu = fill()
    at = timezone.now() - timedelta(seconds=7)
    Gpu.objects.update(read_at=at, error="lost")
    Worker.objects.update(started_at=timezone.now() - timedelta(minutes=5))
    found = scrape(client)
    left = {name for name in names(found) if name.startswith("vbatch_gpu_")}
    last = "vbatch_gpu_last_success_timestamp_seconds"
    assert left == {"vbatch_gpu_info", "vbatch_gpu_error", last}
    assert value(found, "vbatch_gpu_error", **GPU) == 1
    assert value(found, last, **GPU) == pytest.approx(at.timestamp(), abs=0.01)
    # What could not be read of a GPU is a gap, and no nought.
    Gpu.objects.update(read_at=timezone.now(), error="", power_w=None, throttle_reasons=None)
    left = names(scrape(client))
    assert not left & {"vbatch_gpu_power_watts", "vbatch_gpu_throttled"}
    assert "vbatch_gpu_temperature_celsius" in left


def test_a_gpu_that_was_taken_out_before_the_worker_started_is_not_told(client):
    worker, _, _ = fill()
    make_gpu(worker, index=1, read_at=timezone.now() - timedelta(hours=1))
    indices = {dict(labels)["gpu"] for name, labels in scrape(client) if name == "vbatch_gpu_info"}
    assert indices == {"0"}


def test_figures_of_an_engine_with_whole_histograms(client):
    fill()
    found = scrape(client)
    assert value(found, "vbatch_engine_requests", **ENGINE, state="running") == 7
    assert value(found, "vbatch_engine_requests", **ENGINE, state="waiting") == 2
    assert value(found, "vbatch_engine_kv_cache_ratio", **ENGINE) == pytest.approx(0.45)
    assert value(found, "vbatch_engine_tokens_total", **ENGINE, kind="output") == 400
    assert value(found, "vbatch_engine_prefix_cache_hit_tokens_total", **ENGINE) == 250
    assert value(found, "vbatch_engine_finished_requests_total", **ENGINE, reason="stop") == 9
    name = "vbatch_engine_time_to_first_token_seconds"
    buckets = {le: value(found, f"{name}_bucket", **ENGINE, le=le) for le in ("0.5", "1.0", "+Inf")}
    assert buckets == {"0.5": 3, "1.0": 4, "+Inf": 5}
    assert (value(found, f"{name}_sum", **ENGINE), value(found, f"{name}_count", **ENGINE)) == (
        4.5,
        5,
    )
    assert value(found, "vbatch_engine_state", **HOST, lane="gpu0", state="ready") == 1
    assert value(found, "vbatch_engine_starts_total", **HOST, lane="gpu0") == 3
    assert value(found, "vbatch_lanes", kind="gpu", state="ready") == 1


@pytest.mark.parametrize("cause", ["stale", "another engine", "not ready", "silent worker"])
def test_an_engine_whose_figures_are_old_gives_none(client, cause):
    _, lane, _ = fill()
    old = timezone.now() - timedelta(seconds=20)
    if cause == "stale":
        Series.objects.filter(kind="engine").update(read_at=old)
    elif cause == "another engine":
        Lane.objects.filter(pk=lane.pk).update(generation=4)
    elif cause == "not ready":
        Lane.objects.filter(pk=lane.pk).update(engine_state="starting")
    else:
        Worker.objects.update(heartbeat_at=old)
    found = scrape(client)
    assert not any(dict(labels).get("model") == "small" and name.startswith("vbatch_engine_")
                   and "start" not in name for name, labels in found)  # fmt: skip
    if cause == "silent worker":
        assert value(found, "vbatch_worker_up", **HOST) == 0
        assert value(found, "vbatch_workers_alive") == 0
        assert value(found, "vbatch_engine_state", **HOST, lane="gpu0", state="unknown") == 1
        assert value(found, "vbatch_engine_state", **HOST, lane="gpu0", state="ready") == 0


def test_an_engine_that_ended_by_itself_is_told_until_another_is_ready(client):
    _, lane, _ = fill()
    place = {**HOST, "lane": "gpu0"}

    def crashed(state: str, error: str) -> float | None:
        Lane.objects.filter(pk=lane.pk).update(engine_state=state, engine_error=error)
        return value(scrape(client), "vbatch_engine_crashed", **place)

    assert crashed("ready", "") == 0
    assert crashed("died", "it was killed") == 1
    assert crashed("starting", "it was killed") == 1
    assert crashed("stopped", "") == 0
    # Of a worker that is silent, nobody knows.
    Worker.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    assert crashed("died", "it was killed") is None


def test_the_sampler_of_a_worker_that_stops_is_not_told(client):
    fill()
    name = "vbatch_sampler_last_success_timestamp_seconds"
    assert value(scrape(client), name, **HOST) is not None
    Worker.objects.update(draining=True)
    assert value(scrape(client), name, **HOST) is None


def test_figures_that_a_reader_did_not_understand_break_nothing(client):
    fill()
    Series.objects.filter(kind="engine").update(
        latest={"requests_running": None, "requests_waiting": "many"},
        detail={"generation": 3, "counters": {**COUNTERS, "prompt_tokens": None}},
    )
    found = scrape(client)
    assert value(found, "vbatch_database_up") == 1
    assert "vbatch_engine_requests" not in names(found)
    # A reading that names no model.
    labels = {**ENGINE, "model": "other"}
    assert value(found, "vbatch_engine_tokens_total", **labels, kind="output") == 400


def test_a_host_that_is_stale_has_an_age_alone(client):
    fill()
    assert value(scrape(client), "vbatch_host_cpu_ratio", **HOST) == pytest.approx(0.5)
    Series.objects.filter(kind="host").update(read_at=timezone.now() - timedelta(seconds=7))
    left = {name for name in names(scrape(client)) if name.startswith("vbatch_host_")}
    assert left == {"vbatch_host_last_success_timestamp_seconds"}


def test_no_label_names_a_batch_a_request_or_a_project(client):
    fill()
    used = {label for name, pairs in scrape(client) if name[:7] == "vbatch_" for label, _ in pairs}
    assert used == {
        *("worker", "lane", "gpu", "model", "state", "reason", "kind", "result", "le"),
        *("name", "driver"),
    }


def test_the_scrape_asks_the_same_number_of_queries_however_much_there_is(
    client, django_assert_max_num_queries
):
    fill()
    scrape(client)
    for number in range(10):
        make_batch(open_lines=1, model_name=f"model-{number}")
    with django_assert_max_num_queries(26):
        scrape(client)
