"""Monitor: GPUs, hosts, workers, lanes, engines with their logs, and the queue."""

from __future__ import annotations

import os
import re
import time
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from jobs.models import Lane, LaneModel, ServedModel, Worker
from jobs.services.projects import get_project
from jobs.states import EngineState
from monitoring.quantities import SeriesKind
from tests.cast import claim, get_model, make_batch, make_gpu, make_series, make_worker


@pytest.fixture
def staff_page(member) -> Client:
    member.is_staff = True
    member.save()
    client = Client()
    client.force_login(member)
    return client


def _card(html: str, label: str) -> str:
    return html.partition(f'aria-label="{label}"')[2].partition("</article>")[0]


def _show(page: Client, address: str = "/monitor") -> str:
    return page.get(address).content.decode()


def test_the_old_address_leads_here(page):
    assert page.get("/status")["Location"] == "/monitor"


def test_faults_stand_on_top_and_are_gone_when_all_is_well(page):
    assert "no worker has ever run" in _show(page)
    worker, _ = make_worker()
    Worker.objects.update(sampled_at=Now())
    assert "Everything that is known here is well." in _show(page)
    make_gpu(worker, age_s=20)
    html = _show(page)
    assert html.index("the reading of GPU 0 of host is 20 s old") < html.index("GPUs</h2>")


def test_a_gpu_shows_what_is_read_of_it(page):
    worker, _ = make_worker()
    make_gpu(worker, throttle_reasons=["power cap", "too hot"])
    card = _card(_show(page), "GPU 0 of host")
    for words in (
        "NVIDIA H100 80GB HBM3",
        "driver 580.95.05",
        "87 %",
        "61.0 GiB",
        "of 80.0 GiB",
        "512 W",
        "of 700 W",
        "64 °C",
        "1,755 MHz",
        "2,619 MHz",
        ">throttled<",
        "held down by power cap, too hot",
        "4242",
        "VLLM::EngineCore",
        "60.0 GiB",
    ):
        assert words in card, words
    assert "data-stale>" not in card and 'data-read-at="2' in card


def test_a_lost_gpu_and_a_stale_one_are_states(page):
    worker, _ = make_worker()
    make_gpu(worker, 0, error="GPU is lost", age_s=30)
    make_gpu(worker, 1, age_s=30)
    html = _show(page)
    lost, stale = _card(html, "GPU 0 of host"), _card(html, "GPU 1 of host")
    assert ">lost<" in lost and "GPU is lost" in lost and "87 %" not in lost
    assert ">no reading<" in stale and "data-stale>" in stale


def test_a_host_without_a_gpu_shows_its_cpu_and_why(page):
    worker, _ = make_worker()
    Worker.objects.update(gpu_note="No NVIDIA driver is installed.")
    make_series(SeriesKind.HOST, worker, cpu_percent=42, memory_used_bytes=5 * 2**30, load_1m=1.5)
    card = _card(_show(page), "Host host")
    for words in ("CPU engine", "No NVIDIA driver", "42 %", "5.0 GiB", "of 80.0 GiB", "1.50"):
        assert words in card, words
    make_gpu(worker)
    assert "CPU engine" not in _show(page)


def test_an_engine_shows_its_state_and_figures(page):
    worker, lane = make_worker()
    model = get_model()
    LaneModel.objects.create(lane=lane, model=model, load_s=72)
    Lane.objects.update(
        engine_state=EngineState.READY,
        engine_model=model,
        engine_version="0.32.0",
        engine_ready_at=Now() - timedelta(minutes=5),
    )
    make_series(SeriesKind.ENGINE, lane, requests_running=17, ttft_s=0.25, itl_s=None)
    card = _card(_show(page), "Worker host")
    for words in (">ready<", "small", "vLLM 0.32.0", "loaded in 1 min 12 s", ">17<", "0.250 s"):
        assert words in card, words
    assert "kind=engine&amp;worker=host&amp;minutes=15" in card


def test_a_lane_says_why_it_has_no_engine(page):
    _, lane = make_worker()
    retry_at = timezone.now() + timedelta(minutes=3)
    LaneModel.objects.create(
        lane=lane, model=get_model(), failures=2, last_error="ValueError: no", retry_at=retry_at
    )
    Lane.objects.update(start_held_back="GPU 0 is at 91 °C", wanted_model=get_model())
    card = _card(_show(page), "Worker host")
    assert ">held back<" in card and "GPU 0 is at 91 °C" in card
    assert "did not start (2×): ValueError: no" in card
    assert retry_at.strftime("%Y-%m-%d %H:%M") in card


def test_a_starting_engine_shows_how_far_it_is(page):
    make_worker()
    Lane.objects.update(
        engine_state=EngineState.STARTING, engine_model=get_model(), engine_progress="weights, 40 %"
    )
    card = _card(_show(page), "Worker host")
    assert ">loading model<" in card and "weights, 40 %" in card


def test_nothing_of_a_silent_worker_looks_healthy(page):
    make_worker(silent_s=60)
    Lane.objects.update(engine_state=EngineState.READY, engine_model=get_model())
    card = _card(_show(page), "Worker host")
    assert ">silent<" in card and ">ready<" not in card and ">not known<" in card


def test_the_queue_tells_what_each_model_waits_for_in_all_projects(page, project):
    _, lane = make_worker()
    other = ServedModel.objects.create(name="large", source="/models/large", enabled=False)
    theirs = get_project(name="theirs")
    claim(make_batch(project=project, open_lines=3), lane)
    make_batch(project=theirs, open_lines=1_000)
    make_batch(project=theirs, open_lines=5, model=other, model_name="large")
    html = _show(page).partition('aria-label="Queue"')[2]
    assert 'Live batches</dt><dd class="num">3<' in html
    assert '<span title="1,008">1,008</span>' in html
    rows = [row for row in html.split("<tr>") if 'data-label="Model"' in row]
    assert len(rows) == 2
    assert 'title="small"' in rows[0] and ">running<" in rows[0]
    assert 'title="large"' in rows[1] and "which is switched off" in rows[1]


def test_the_range_stands_in_the_address(page):
    worker, _ = make_worker()
    make_gpu(worker)
    html = _show(page, "/monitor?range=1d")
    assert "minutes=1440" in html and 'data-live="/monitor/live?range=1d"' in html
    assert re.search(r'href="/monitor\?range=1d" aria-current="true">1 d<', html)
    assert "minutes=15" in _show(page, "/monitor?range=nonsense")


def test_names_are_quoted_in_addresses(page):
    worker, _ = make_worker('a&b "c"/d')
    make_gpu(worker)
    html = _show(page)
    assert "worker=a%26b%20%22c%22%2Fd&amp;minutes" in html
    assert 'data-only="a&amp;b &quot;c&quot;/d GPU 0"' in html


# Session and person; the fleet: workers, GPUs, lanes, their models, readings; the queue: states,
# models, the first of each; why these wait: a worker, claims, lanes, failures, turns, engines
# that start.
QUERIES = 16


def test_the_number_of_queries_does_not_grow(page, project, django_assert_num_queries):
    worker, lane = make_worker()
    make_gpu(worker)
    make_batch(project=project, open_lines=1)
    page.get("/monitor/live")
    with django_assert_num_queries(QUERIES):
        page.get("/monitor/live")
    for number in range(1, 9):
        make_gpu(worker, number)
        other = make_worker(f"other {number}")[1]
        make_series(SeriesKind.ENGINE, other)
        model = ServedModel.objects.create(name=f"model {number}", source="/m")
        LaneModel.objects.create(lane=other, model=model, failures=1)
        make_batch(project=project, open_lines=1, model=model, model_name=model.name)
    with django_assert_num_queries(QUERIES):
        page.get("/monitor/live")


@pytest.fixture
def log_folder(settings, tmp_path):
    settings.LOG_DIR = tmp_path
    return tmp_path


def test_the_end_of_a_log_comes_with_its_age(staff_page, log_folder):
    _, lane = make_worker()
    log = log_folder / "engine-host-gpu0.log"
    log.write_text("\n".join(f"line {number} <b>" for number in range(300)))
    os.utime(log, (time.time() - 90, time.time() - 90))
    html = _show(staff_page, f"/monitor/lanes/{lane.pk}/log")
    assert "line 299 &lt;b&gt;" in html and "line 200 " in html and "line 199 " not in html
    written = timezone.now() - timedelta(seconds=90)
    assert f'data-read-at="{written.strftime("%Y-%m-%dT%H:%M")}' in html
    assert 'data-stale-after="30"' in html and "this is no progress" in html
    assert f'data-log="/monitor/lanes/{lane.pk}/log"' in _show(staff_page)


def test_a_log_of_another_host_is_named(staff_page, log_folder):
    _, lane = make_worker("far")
    html = _show(staff_page, f"/monitor/lanes/{lane.pk}/log")
    assert "far" in html and "engine-far-gpu0.log" in html and "<pre" not in html


def test_a_log_is_for_staff(page, client, log_folder):
    _, lane = make_worker()
    address = f"/monitor/lanes/{lane.pk}/log"
    assert page.get(address).status_code == 403
    assert "data-log" not in _show(page)
    assert client.get(address)["Location"].startswith("/login")


def test_a_worker_cannot_name_a_file_elsewhere(staff_page, log_folder):
    folder = log_folder / "engine-x"
    folder.mkdir()
    (log_folder / "secret-gpu0.log").write_text("secret words")
    _, lane = make_worker("x/../secret")
    assert "secret words" not in _show(staff_page, f"/monitor/lanes/{lane.pk}/log")
    assert staff_page.get("/monitor/lanes/999999/log").status_code == 404
