"""The status routes: health, readiness, running jobs, metrics."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import InterfaceError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from jobs.models import Gpu, Lane, LaneModel, Worker
from jobs.services import lanes
from jobs.services.projects import create_key, get_project, revoke_key
from jobs.states import EngineState
from monitoring import fleet_report, health
from monitoring.prometheus import collector
from monitoring.prometheus.exposition import collector as registered
from tests.cast import claim, get_model, make_batch, make_person, make_worker
from vbatch_site import schema_state


@pytest.fixture
def key(db) -> str:
    return create_key(project=get_project(name="ours"), name="test")[1]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _no_database(*args, **kwargs):
    raise InterfaceError("gone")


# --- /healthz and /readyz --------------------------------------------------------------------
def test_healthz_asks_no_database(client):
    # Without the mark for the database, any query would raise.
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_ready_without_a_worker_since_the_api_can_be_served(client):
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "database": "ok",
        "migrations": "ok",
        "disk": "ok",
        "secret_key": "ok",
        "storage": "ok",
        "workers": {"alive": 0, "heartbeat_age_s": None},
    }
    make_worker()
    assert client.get("/readyz").json()["workers"]["alive"] == 1


@pytest.mark.django_db
def test_not_ready_without_the_database(client, monkeypatch):
    monkeypatch.setattr(connection, "cursor", _no_database)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["database"].startswith("cannot be used")


@pytest.mark.django_db
def test_not_ready_with_migrations_to_apply(client, monkeypatch):
    monkeypatch.setattr(schema_state, "_applied", False)
    last = MigrationRecorder.Migration.objects.filter(app="jobs").order_by("name").last()
    last.delete()
    response = client.get("/readyz")
    assert response.status_code == 503
    assert f"jobs.{last.name}" in response.json()["migrations"]
    assert response.json()["workers"] is None


@pytest.mark.django_db
def test_not_ready_with_a_full_disk(client, settings):
    settings.MIN_FREE_DISK_BYTES = 2**62
    response = client.get("/readyz")
    assert response.status_code == 503 and "MiB free" in response.json()["disk"]


# --- /health ---------------------------------------------------------------------------------
@pytest.mark.django_db
def test_health_is_ok_only_while_a_worker_is_alive(client):
    assert client.get("/health").json()["reasons"] == ["no worker has ever run"]
    worker, _ = make_worker()
    body = client.get("/health").json()
    assert (body["status"], body["reasons"]) == ("ok", [])
    assert set(body) == {"status", "reasons", "gpu", "worker", "queue", "limits"}
    assert body["worker"]["heartbeat_age_s"] < 5
    Worker.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=95))
    body = client.get("/health").json()
    assert body["status"] == "degraded"
    assert body["reasons"] == ["no worker is alive; the last heartbeat came 1 min 35 s ago"]
    assert (body["worker"]["status"], body["worker"]["alive"]) == ("silent", 0)
    assert body["worker"]["workers"][0]["lanes"][0]["engine"] == "unknown"


@pytest.mark.django_db
def test_one_silent_worker_among_others_is_named(client):
    make_worker("good")
    make_worker("bad", silent_s=60)
    make_worker("long-gone", silent_s=200_000)
    body = client.get("/health").json()
    assert body["reasons"] == ["worker bad has been silent for 1 min"]
    assert {w["name"] for w in body["worker"]["workers"]} == {"good", "bad"}


@pytest.mark.django_db
def test_an_old_reading_is_no_reading(client):
    worker, _ = make_worker()
    gpu = Gpu.objects.create(
        worker=worker, index=0, name="H200", utilization_percent=93.0, read_at=timezone.now()
    )
    fresh = client.get("/health").json()["gpu"]
    assert fresh["status"] == "ok" and fresh["gpus"][0]["utilization_percent"] == 93.0
    gpu.read_at = timezone.now() - timedelta(seconds=40)
    gpu.save()
    body = client.get("/health").json()
    assert body["status"] == "degraded" and "GPU 0 of host" in body["reasons"][0]
    stale = body["gpu"]["gpus"][0]
    assert stale["stale"] and stale["utilization_percent"] is None and stale["read_age_s"] >= 40


@pytest.mark.django_db
def test_an_engine_that_does_not_start_is_a_reason_without_its_text(client):
    _, lane = make_worker()
    LaneModel.objects.create(lane=lane, model=get_model(), failures=2, last_error="secret/path")
    response = client.get("/health")
    assert response.json()["reasons"] == ["lane gpu0 of host cannot start an engine"]
    assert b"secret/path" not in response.content


@pytest.mark.django_db
@pytest.mark.parametrize("state", [EngineState.DIED, EngineState.STARTING, EngineState.READY])
def test_an_engine_that_crashed_is_a_reason_until_another_is_ready(client, state):
    _, lane = make_worker()
    model = get_model()
    asked = {"lane_id": lane.pk, "model_id": model.pk, "socket": "", "version": ""}
    lanes.start_engine(**asked, max_num_seqs=8)
    Lane.objects.update(engine_state=EngineState.DIED, engine_error="out of memory")
    if state != EngineState.DIED:
        generation = lanes.start_engine(**asked, max_num_seqs=8)
    if state == EngineState.READY:
        lanes.note_engine_ready(lane_id=lane.pk, generation=generation, load_s=3.0)
    reasons = " ".join(client.get("/health").json()["reasons"])
    assert ("ended by itself and is not back yet" in reasons) == (state != EngineState.READY)
    assert "memory" not in reasons


@pytest.mark.django_db
def test_health_counts_the_queue_and_names_the_limits(client, settings):
    make_batch(texts=["a"], errors=["b"], open_lines=5)
    make_batch(state="completed", texts=["a"])
    body = client.get("/health").json()
    assert body["queue"]["requests"] == 5
    assert body["queue"]["batches"]["in_progress"] == 1
    assert 0 <= body["queue"]["oldest_batch_age_s"] < 60
    assert body["limits"]["max_lines"] == settings.MAX_LINES
    assert body["limits"]["requests_per_minute"] == settings.REQUESTS_PER_MINUTE
    assert body["limits"]["max_live_batches"] == settings.MAX_LIVE_BATCHES
    assert body["limits"]["max_queued_requests"] == settings.MAX_QUEUED_REQUESTS
    # 0 is no limit.
    assert body["limits"]["max_queued_tokens"] is body["limits"]["max_stored_bytes"] is None


@pytest.mark.django_db
def test_health_without_the_database_shows_nothing_old(client, monkeypatch):
    monkeypatch.setattr(fleet_report.Gpu.objects, "annotate", _no_database)
    response = client.get("/health")
    assert response.status_code == 503
    assert response.json()["status"] == "degraded" and response.json()["worker"] is None


# --- /api/running-jobs -----------------------------------------------------------------------
def test_running_jobs_is_what_the_database_holds(client, key):
    ours = get_project(name="ours")
    _, lane = make_worker()
    waiting = make_batch(project=ours, open_lines=4)
    running = make_batch(
        project=ours, texts=["a"], errors=["b"], open_lines=6, webhook_url="https://h.example/x"
    )
    claim(running, lane)
    make_batch(project=ours, state="completed", texts=["a"])
    make_batch(project=get_project(name="theirs"))
    body = client.get("/api/running-jobs", headers=bearer(key)).json()
    assert body["count"] == 2 and [j["status"] for j in body["jobs"]] == ["pending", "running"]
    assert body["jobs"][0]["batch_id"] == waiting.public_id
    wanted = {
        "batch_id": running.public_id,
        "model": "small",
        "status": "running",
        "created_at": running.created_at.isoformat(),
        "total_requests": 8,
        "completed_requests": 2,
        "progress_percent": 25.0,
        "webhook_url": "https://h.example/x",
    }
    assert {name: body["jobs"][1][name] for name in wanted} == wanted


def test_running_jobs_by_session_is_scoped_by_membership(client, db):
    batch = make_batch(project=get_project(name="ours"))
    client.force_login(make_person("member", project=get_project(name="ours")))
    assert client.get("/api/running-jobs").json()["jobs"][0]["batch_id"] == batch.public_id
    client.force_login(make_person("stranger", project=get_project(name="theirs")))
    assert client.get("/api/running-jobs").json() == {"count": 0, "jobs": []}


def test_running_jobs_for_nobody(client, key):
    for headers in ({}, bearer("wrong"), {"Authorization": "Basic eA=="}, bearer("a\0b")):
        response = client.get("/api/running-jobs", headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"
    prefix_key = get_project(name="ours").keys.get()
    revoke_key(key=prefix_key)
    assert client.get("/api/running-jobs", headers=bearer(key)).status_code == 401


def test_a_bad_key_is_not_healed_by_a_session(client, db):
    client.force_login(make_person("member", project=get_project(name="ours")))
    assert client.get("/api/running-jobs", headers=bearer("wrong")).status_code == 401


def test_running_jobs_asks_the_same_number_of_queries(client, key, django_assert_num_queries):
    ours = get_project(name="ours")
    client.get("/api/running-jobs", headers=bearer(key))
    for size in (1, 20):
        for _ in range(size):
            make_batch(project=ours, open_lines=1)
        # Key with its project, overdue, batches; its last use is written once a minute.
        with django_assert_num_queries(3):
            client.get("/api/running-jobs", headers=bearer(key))


# --- /metrics --------------------------------------------------------------------------------
def scrape(client: Client, **kwargs) -> dict[tuple[str, tuple], float]:
    registered.forget()
    response = client.get("/metrics", **kwargs)
    assert response.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }


@pytest.mark.django_db
def test_metrics_tell_what_the_database_knows(client):
    worker, _ = make_worker()
    make_batch(texts=["a", "b"], errors=["c"], open_lines=4)
    found = scrape(client)
    assert found["vbatch_database_up", ()] == 1
    assert found["vbatch_batches", (("state", "in_progress"),)] == 1
    assert found["vbatch_batches", (("state", "failed"),)] == 0
    assert found["vbatch_queue_requests", (("model", "small"),)] == 4
    assert found["vbatch_workers_alive", ()] == 1
    assert found["vbatch_worker_up", (("worker", "host"),)] == 1
    seen = found["vbatch_heartbeat_last_success_timestamp_seconds", (("worker", "host"),)]
    assert seen == pytest.approx(worker.heartbeat_at.timestamp(), abs=0.01)
    assert any(name.startswith("django_http_requests") for name, _ in found)


@pytest.mark.django_db
def test_metrics_without_the_database_have_a_gap_and_not_old_figures(client, monkeypatch):
    scrape(client)
    monkeypatch.setattr(collector, "database_metrics", _no_database)
    found = scrape(client)
    assert found["vbatch_database_up", ()] == 0
    assert not any(name == "vbatch_batches" for name, _ in found)


def test_metrics_are_for_near_networks_and_keys(client, key, settings):
    assert client.get("/metrics", REMOTE_ADDR="127.0.0.1").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="::ffff:127.0.0.1").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="192.0.2.7").status_code == 401
    assert client.get("/metrics", REMOTE_ADDR="192.0.2.7", headers=bearer("no")).status_code == 401
    assert client.get("/metrics", REMOTE_ADDR="192.0.2.7", headers=bearer(key)).status_code == 200
    # A proxy on this machine makes everybody look near.
    forwarded = {"X-Forwarded-For": "192.0.2.7"}
    assert client.get("/metrics", REMOTE_ADDR="127.0.0.1", headers=forwarded).status_code == 401
    settings.METRICS_NETWORKS = ["192.0.2.0/24"]
    assert client.get("/metrics", REMOTE_ADDR="192.0.2.7").status_code == 200


def test_the_collector_asks_nothing_when_it_is_registered():
    # Without the mark for the database, any query would raise.
    CollectorRegistry().register(collector.DatabaseCollector())


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/healthz", "/readyz", "/health", "/metrics"])
def test_status_is_never_cached_and_never_written_to(client, address):
    assert "no-store" in client.get(address)["Cache-Control"]
    assert client.post(address).status_code == 405


@pytest.mark.django_db
def test_every_state_is_counted():
    assert sum(health.batches_by_state().values()) == 0
