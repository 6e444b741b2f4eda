"""Home: what runs, what waits and why, the machines, today, and the last batches."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Gpu, Lane, Worker
from jobs.services.projects import get_project
from jobs.states import EngineState
from monitoring.models import DayTally, Series
from monitoring.quantities import PHASE_RUNNING, SeriesKind, Step
from tests.cast import claim, get_model, make_batch, make_gpu, make_series, make_worker


def _tile(html: str, label: str) -> str:
    """Return a tile by its label."""
    return html.partition(f'aria-label="{label}"')[2].partition("</article>")[0]


def test_a_newcomer_gets_steps_that_work_here(page):
    get_model()
    html = unescape(page.get("/").content.decode())
    assert "createapikey first --project ours" in html
    assert 'href="/submit">submit a file' in html
    assert "OPENAI_BASE_URL=http://testserver/v1" in html and '"model": "small"' in html
    assert "no worker has ever run" in html


def test_a_viewer_is_not_sent_where_only_members_may_go(viewer_page):
    assert "submit a file" not in viewer_page.get("/").content.decode()


def test_what_runs_shows_its_speed_and_when_it_may_end(page, project):
    _, lane = make_worker()
    batch = make_batch(project=project, open_lines=1_000)
    batch.completed = 480
    batch.save()
    claim(batch, lane)
    make_series(
        SeriesKind.BATCH,
        batch,
        minutes=4,
        step=Step.THINNED,
        completed=lambda second: second * 2,
        failed=0,
        output_tokens=lambda second: second * 350,
        phase=PHASE_RUNNING,
    )
    html = page.get("/").content.decode()
    assert "1 running, 0 waiting" in html and "<span>350</span>" in html
    # 520 lines at two a second, and the least spread.
    assert "≈ 3 min 56 s to 4 min 46 s" in html
    assert "Estimated from this batch&#x27;s last 4 minutes" in html
    # Nobody samples it any more: then there is no speed, rather than an old one.
    Series.objects.update(read_at=timezone.now() - timedelta(seconds=7))
    assert "≈" not in page.get("/").content.decode()


def test_what_waits_says_why(page, project):
    make_batch(project=project, open_lines=2)
    html = page.get("/").content.decode()
    assert "0 running, 1 waiting" in html
    assert "waits for a worker: none has ever run" in html


def test_the_running_come_before_the_many_that_wait(page, project):
    _, lane = make_worker()
    for _ in range(10):
        make_batch(project=project, open_lines=1, priority=1)
    running = make_batch(project=project, open_lines=1)
    claim(running, lane)
    html = page.get("/").content.decode()
    assert "1 running, 10 waiting" in html and ">4 more<" in html
    keys = re.findall(r'<tr data-key="(batch_\w+)"', html)
    assert len(keys) == 7 and keys[0] == running.public_id


def test_the_last_ended_come_latest_first(page, project):
    now = timezone.now()
    ended = [
        make_batch(
            project=project, state="completed", texts=["a"], ended_at=now - timedelta(hours=hour)
        )
        for hour in (3, 1, 2)
    ]
    html = page.get("/").content.decode()
    keys = re.findall(r'<tr data-key="(batch_\w+)"', html)
    assert keys == [ended[1].public_id, ended[2].public_id, ended[0].public_id]


def test_today_is_counted_for_the_projects_of_the_person_alone(page, project):
    make_batch(project=project, state="completed")
    theirs = get_project(name="theirs")
    day = timezone.localdate()
    for whose, when, requests in (
        (project, day, 40),
        (theirs, day, 1_000),
        (project, day - timedelta(days=1), 5_000),
    ):
        DayTally.objects.create(
            day=when, project=whose, model_name="m", completed=requests, failed=2, input_tokens=77
        )
    html = page.get("/").content.decode()
    assert '<span title="42">42</span>' in html and '<span title="77">77</span>' in html
    assert "counted up to the last answer" in html


def test_answers_that_are_not_counted_yet_are_told(page, project):
    make_batch(project=project, texts=["a", "b"], open_lines=1)
    assert "but for the last 2 answers of this server" in page.get("/").content.decode()


def test_a_stranger_sees_the_machines_and_nothing_of_ours(strange_page, project):
    worker, lane = make_worker()
    make_gpu(worker)
    live = make_batch(project=project, open_lines=1)
    ended = make_batch(project=project, state="completed", texts=["a"], ended_at=timezone.now())
    html = strange_page.get("/").content.decode()
    assert live.public_id not in html and ended.public_id not in html
    assert "87 %" in _tile(html, "GPU 0 of host")
    assert "No batches yet" in html


@pytest.mark.parametrize(("age_s", "stale"), [(4.0, False), (6.5, True)])
def test_a_tile_is_stale_after_three_intervals_by_the_clock_of_the_database(page, age_s, stale):
    worker, _ = make_worker()
    make_gpu(worker, age_s=age_s)
    tile = _tile(page.get("/").content.decode(), "GPU 0 of host")
    assert ("data-stale>" in tile) is stale
    assert 'data-stale-after="6"' in tile and "data-age-words" in tile


def test_the_machines_of_a_silent_worker_are_stale_and_its_engine_is_not_known(page):
    worker, lane = make_worker()
    Lane.objects.update(engine_state=EngineState.READY, engine_model=get_model())
    make_gpu(worker)
    html = page.get("/").content.decode()
    assert "small, ready" in _tile(html, "Worker host")
    Worker.objects.update(heartbeat_at=Now() - timedelta(seconds=11))
    html = page.get("/").content.decode()
    tile = _tile(html, "Worker host")
    assert "data-stale>" in tile and "silent" in tile and "not known" in tile
    assert "data-stale>" in _tile(html, "GPU 0 of host")


def test_throughput_counts_only_engines_that_are_read_now(page, project):
    make_batch(project=project, open_lines=1)
    for name, age_s in (("a", 1.0), ("b", 20.0)):
        _, lane = make_worker(name)
        make_series(SeriesKind.ENGINE, lane, age_s=age_s, generation_tokens_per_s=500)
    html = page.get("/").content.decode()
    assert 'Tokens/s out, now</dt><dd class="num">500</dd>' in html


def test_throughput_that_nobody_reads_any_more_keeps_its_age(page, project):
    make_batch(project=project, open_lines=1)
    _, lane = make_worker()
    series = make_series(SeriesKind.ENGINE, lane, age_s=20, generation_tokens_per_s=500)
    html = page.get("/").content.decode()
    assert 'Tokens/s out, now</dt><dd class="num">–</dd>' in html
    (attributes,) = re.findall(r'data-ages="now"([^>]*)', html)
    assert "data-stale" in attributes.split()
    assert f'data-read-at="{series.read_at.isoformat(timespec="seconds")[:19]}' in attributes


def test_a_gpu_that_goes_stale_changes_the_fragment_without_a_write(page, project):
    worker, _ = make_worker()
    make_gpu(worker, age_s=1)
    first = page.get("/home/live")
    again = page.get("/home/live", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    Gpu.objects.update(read_at=Now() - timedelta(seconds=7))
    after = page.get("/home/live", headers={"If-None-Match": first["ETag"]})
    assert after.status_code == 200
    assert b"data-stale>" in after.content


# Session and person; the fleet: workers, GPUs, lanes, their models, readings; overdue; chunks at
# work, the running, the waiting, the ended; why they wait: a worker, claims, lanes,
# failures, turns, engines that start; series, their points; today, and what is not counted.
QUERIES = 23


def test_the_number_of_queries_does_not_grow(page, project, django_assert_num_queries):
    worker, lane = make_worker()
    make_gpu(worker)

    def add_running() -> None:
        batch = make_batch(project=project, open_lines=1)
        claim(batch, lane)
        make_series(SeriesKind.BATCH, batch, step=Step.THINNED, phase=PHASE_RUNNING)

    add_running()
    make_batch(project=project, open_lines=1)
    make_batch(project=project, state="completed", texts=["a"], ended_at=timezone.now())
    page.get("/home/live")
    with django_assert_num_queries(QUERIES):
        page.get("/home/live")
    for number in range(1, 6):
        make_gpu(worker, number)
        make_series(SeriesKind.ENGINE, make_worker(f"other {number}")[1])
        add_running()
        make_batch(project=project, open_lines=1)
        make_batch(project=project, state="completed", texts=["a"], ended_at=timezone.now())
    with django_assert_num_queries(QUERIES):
        page.get("/home/live")
    # More than are listed are counted, in one statement.
    for _ in range(10):
        make_batch(project=project, open_lines=1)
    with django_assert_num_queries(QUERIES + 1):
        page.get("/home/live")
