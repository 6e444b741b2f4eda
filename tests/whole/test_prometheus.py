"""A real Prometheus at the product: every panel has data, restarts leave no trace, alerts fire."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from tests.monitoring.exposition import read
from tests.monitoring.filled import COUNTERS, HISTOGRAM
from tests.monitoring.provisioned import queries
from tests.stack import Stack, chat_line, chat_lines
from tests.stack.product import ROOT
from tests.stack.prometheus import Prometheus
from vbatch_site.setup.debian import find_promtool

pytestmark = pytest.mark.stack

OURS = '{__name__=~"vbatch_.*|django_http_responses_total_by_status_total"}'
RESPONSES = "django_http_responses_total_by_status_total"
# A host with a GPU, whose readings are of an hour hence: fresh for as long as a test takes.
GPU_HOST = """
INSERT INTO jobs_worker (name, instance, pid, version, started_at, heartbeat_at, draining,
    gpu_note, sampled_at)
SELECT 'gpuhost', '', 0, version, now() - interval '1 hour', now() + interval '1 hour', false,
    '', now() + interval '1 hour' FROM jobs_worker WHERE name = 'stack';
INSERT INTO jobs_gpu (worker_id, index, uuid, name, driver, utilization_percent,
    memory_used_bytes, memory_total_bytes, temperature_c, power_w, power_limit_w, clock_sm_mhz,
    clock_memory_mhz, throttle_reasons, energy_j, error, read_at)
SELECT id, 0, 'GPU-0', 'H100', '550.1', 90, 6e10, 8e10, 70, 350, 700, 1980, 2619,
    '{power limit}', 1000, '', now() + interval '1 hour' FROM jobs_worker WHERE name = 'gpuhost';
INSERT INTO jobs_lane (worker_id, name, kind, gpus, queue, active, task_token, engine_model_id,
    engine_state, engine_progress, engine_error, start_held_back, engine_socket, engine_version,
    engine_max_num_seqs, engine_ready_at, generation)
SELECT worker.id, 'gpu0', 'gpu', '{0}', 'nobody', true, '', model.id, 'ready', '', '', '', '', '',
    256, now() - interval '1 hour', 1
FROM jobs_worker AS worker, jobs_servedmodel AS model
WHERE worker.name = 'gpuhost' AND model.name = 'toy';
INSERT INTO jobs_lanemodel (lane_id, model_id, failures, last_error)
SELECT lane.id, model.id, 1, 'no memory' FROM jobs_lane AS lane, jobs_servedmodel AS model
WHERE lane.queue = 'nobody' AND model.name = 'other';
INSERT INTO monitoring_series (kind, lane_id, read_at, error, latest, detail)
SELECT 'engine', id, now() + interval '1 hour', '',
    '{"requests_running": 8, "requests_waiting": 1, "kv_cache_percent": 40}', '{}'
FROM jobs_lane WHERE queue = 'nobody';
"""


@pytest.fixture(scope="module")
def watched(stack: Stack) -> Iterator[tuple[Stack, Prometheus]]:
    for statement in GPU_HOST.split(";\n"):
        if statement.strip():
            stack.sql(statement)
    tell_engine(stack, factor=1)
    with Prometheus(stack) as prometheus:
        work(stack, prometheus, "first")
        yield stack, prometheus


def tell_engine(stack: Stack, *, factor: int) -> None:
    """Let the engine and the GPU of the invented host have done so many times their work."""
    histogram = {
        "buckets": [[bound, count * factor] for bound, count in HISTOGRAM["buckets"]],
        "sum": HISTOGRAM["sum"] * factor,
        "count": HISTOGRAM["count"] * factor,
    }
    detail = {
        "generation": 1,
        "model": "toy",
        "counters": {name: count * factor for name, count in COUNTERS.items()},
        "histograms": dict.fromkeys(("ttft_s", "itl_s", "e2e_s", "queue_s"), histogram),
    }
    stack.sql(
        "UPDATE monitoring_series SET detail = %s FROM jobs_lane WHERE queue = 'nobody' "
        "AND lane_id = jobs_lane.id",
        json.dumps(detail),
    )
    stack.sql("UPDATE jobs_gpu SET energy_j = %s", 1_000.0 * factor)


def work(stack: Stack, prometheus: Prometheus, name: str) -> None:
    """Have a batch answered, one of its lines with an error, and counted at Prometheus."""
    lines = [*chat_lines(20, prefix=name), chat_line(f"{name}-bad", f"{name} STUB:STATUS:400")]
    counted = "sum(vbatch_requests_total) or vector(0)"
    before = prometheus.value(counted)
    assert stack.wait_ended(stack.submit(lines)) == "completed"
    prometheus.wait(
        lambda: prometheus.value(counted) >= before + len(lines), 20, "the answers to be counted"
    )


def exposition(stack: Stack) -> str:
    with urllib.request.urlopen(f"{stack.url}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def responses(stack: Stack) -> float:
    """Return how many responses the web processes say that they have given."""
    return sum(n for (name, _), n in read(exposition(stack)).items() if name == RESPONSES)


def test_every_query_of_every_panel_returns_data(watched):
    stack, prometheus = watched
    tell_engine(stack, factor=2)
    work(stack, prometheus, "second")
    prometheus.wait(lambda: prometheus.value("sum(vbatch_gpu_energy_joules_total)") == 2_000, 20,
                    "the second reading")  # fmt: skip
    replaced = {"$worker": ".*", "$model": ".*", "$__rate_interval": "1m", "$__range": "1m"}

    def without_data() -> list[tuple[str, str, str]]:
        empty = []
        for place, title, expression in queries():
            for variable, value in replaced.items():
                expression = expression.replace(variable, value)
            assert "$" not in expression
            if not prometheus.query(expression):
                empty.append((place, title, expression))
        return empty

    prometheus.wait(lambda: not without_data(), 20, lambda: f"data for {without_data()}")
    # Numbers, and no division of nothing by nothing.
    ttft = "vbatch_engine_time_to_first_token_seconds_bucket"
    assert 0 < prometheus.value(f"histogram_quantile(0.5, sum by (le) (rate({ttft}[1m])))") < 1
    hit, asked = (f"vbatch_engine_prefix_cache_{n}_tokens_total" for n in ("hit", "queried"))
    assert prometheus.value(f"sum(rate({hit}[1m])) / sum(rate({asked}[1m]))") == 0.25
    # The stub engine is a lane of its own beside the invented one.
    lanes = prometheus.query("sum by (worker) (vbatch_engine_tokens_total)")
    assert {found["metric"]["worker"] for found in lanes} == {"stack", "gpuhost"}


def test_promtool_finds_nothing_in_what_the_running_server_exposes(watched):
    stack, _ = watched
    text = exposition(stack)
    read(text)
    assert 'pid="' not in text
    done = subprocess.run(
        [find_promtool() or "promtool", "check", "metrics"],
        input=text.encode(),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_a_web_process_that_dies_takes_no_counts_along(watched):
    stack, _ = watched
    before = responses(stack)
    victim = stack.kill("web-worker")
    assert victim is not None
    # The other one answers meanwhile.
    stack.wait(
        lambda: (
            victim.pid not in {p.pid for p in stack.find("web-worker")}
            and len(stack.find("web-worker")) == 2
        ),
        20,
        "another web process",
    )
    assert responses(stack) >= before


def test_a_second_server_on_the_same_port_takes_nothing_from_the_first(watched):
    stack, _ = watched
    before = responses(stack)
    second = subprocess.run(
        [sys.executable, "manage.py", "runweb"], env=stack.env, cwd=ROOT, capture_output=True
    )
    assert second.returncode != 0 and b"Cannot serve" in second.stderr
    assert responses(stack) >= before


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_web_restart_leaves_one_series_of_each_and_counters_that_go_on(watched, how):
    stack, prometheus = watched
    before = {frozenset(one.items()) for one in prometheus.series(OURS, last_s=3)}
    requests = prometheus.value("sum(vbatch_requests_total)")
    given = responses(stack)
    if how == "stopped":
        assert stack.stop_process("web") == 0
    else:
        orphans = {process.pid for process in stack.find("web-worker")}
        stack.kill("web")
        stack.forget("web")
        # Not even through a connection that the scraper keeps and uses do they go on answering.
        stack.wait(
            lambda: not orphans & {process.pid for process in stack.processes()},
            10,
            "the web processes to end",
        )
    prometheus.wait(lambda: prometheus.query("up == 0"), 10, "the scrape to fail")
    stack.start_web()
    # A run counts from nothing: nothing of the processes before is added again.
    assert responses(stack) < given / 2
    prometheus.wait(lambda: prometheus.query("up == 1"), 10, "the scrape to succeed")
    work(stack, prometheus, how)
    after = [frozenset(one.items()) for one in prometheus.series(OURS, last_s=3)]
    assert len(after) == len(set(after)) and before <= set(after)
    assert not [one for one in after if "pid" in dict(one)]
    assert prometheus.value("sum(vbatch_requests_total)") == requests + 21
    assert prometheus.value("sum(resets(vbatch_requests_total[5m]))") == 0
    assert prometheus.value("sum(resets(vbatch_tokens_total[5m]))") == 0


def test_a_sampler_that_hangs_is_an_alert_until_it_goes_on(watched):
    stack, prometheus = watched
    assert not prometheus.is_firing("VbatchSamplerSilent")
    (sampler,) = stack.find("sampler")
    os.kill(sampler.pid, signal.SIGSTOP)
    try:
        alert = "VbatchSamplerSilent"
        prometheus.wait(lambda: prometheus.is_firing(alert), 20, "the alert")
        # What it read is stale, and so not given.
        for metric in ("vbatch_host_cpu_ratio", "vbatch_engine_requests"):
            figure = f'{metric}{{worker="stack"}}'
            prometheus.wait(lambda figure=figure: not prometheus.query(figure), 10, "no figure")
    finally:
        os.kill(sampler.pid, signal.SIGCONT)
    prometheus.wait(lambda: not prometheus.is_firing(alert), 20, "the end of the alert")
    prometheus.wait(
        lambda: prometheus.query('vbatch_host_cpu_ratio{worker="stack"}'), 20, "figures again"
    )


def test_a_killed_engine_is_an_alert_until_another_is_ready(watched):
    stack, prometheus = watched
    alert = "VbatchEngineCrashed"
    assert not prometheus.is_firing(alert)
    stack.kill("engine")
    prometheus.wait(lambda: prometheus.is_firing(alert), 15, "the alert")
    assert not prometheus.query('vbatch_engine_requests{worker="stack"}')
    work(stack, prometheus, "after-the-engine")
    prometheus.wait(lambda: not prometheus.is_firing(alert), 15, "the end of the alert")


def test_a_killed_worker_is_an_alert_until_it_is_back(watched):
    stack, prometheus = watched
    alerts = ("VbatchNoWorkerAlive", "VbatchWorkerSilent")
    stack.sql("UPDATE jobs_worker SET stopped_at = now() WHERE name = 'gpuhost'")
    stack.kill("supervisor")
    stack.forget("worker")
    prometheus.wait(lambda: all(prometheus.is_firing(alert) for alert in alerts), 30, "the alerts")
    assert not prometheus.is_firing("VbatchSamplerSilent")
    stack.start_worker()
    prometheus.wait(
        lambda: not any(prometheus.is_firing(alert) for alert in alerts), 30, "their end"
    )


@pytest.mark.torture
def test_a_restart_behind_a_socket_that_is_kept_leaves_no_gap(make_stack):
    stack = make_stack()
    with socket.create_server(("127.0.0.1", stack.port)) as listener:
        stack.start_web(listener=listener)
        # A scrape waits in the socket for as long as a start takes on a busy machine.
        with Prometheus(stack, every_s=8) as prometheus:
            assert stack.stop_process("web") == 0
            stack.start_web(listener=listener)
            prometheus.wait(
                lambda: prometheus.value("count_over_time(up[1m])") >= 4, 40, "more scrapes"
            )
            for metric in ("up", "vbatch_database_up"):
                assert prometheus.value(f"min_over_time({metric}[1m])") == 1
                every = f"count_over_time({metric}[1m]) == on () count_over_time(up[1m])"
                assert len(prometheus.query(every)) == 1
        assert stack.stop_process("web") == 0
