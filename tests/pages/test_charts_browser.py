"""Home and Monitor in a real browser: charts move, and nothing old looks as if it were new."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone
from playwright.sync_api import Page, expect

from jobs.models import Gpu, Lane, Worker
from jobs.states import EngineState
from monitoring.models import Sample, Series
from monitoring.quantities import QUANTITIES, SeriesKind, Step
from tests.cast import claim, get_model, make_batch, make_gpu, make_series, make_worker
from tests.pages.browsing import SOON_MS, check_accessible

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def _sample(series: Series, value: float) -> None:
    """Read a series once more, all its quantities with this value."""
    names = [quantity.name for quantity in QUANTITIES[SeriesKind(series.kind)]]
    now = timezone.now()
    Sample.objects.create(series=series, step_s=Step.FINE, at=now, values=[value] * len(names))
    Series.objects.filter(pk=series.pk).update(read_at=now, latest=dict.fromkeys(names, value))


def _make_engine() -> tuple[Worker, Series]:
    worker, lane = make_worker()
    Lane.objects.update(
        engine_state=EngineState.READY, engine_model=get_model(), engine_ready_at=Now()
    )
    return worker, make_series(SeriesKind.ENGINE, lane, minutes=5, hole=(2, 3))


def _in_use(page: Page, *, name: str) -> int:
    """Count the points of this colour's line that stand on the canvas of the first big chart."""
    return page.evaluate(
        """(name) => {
          const probe = document.createElement("canvas").getContext("2d");
          probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name);
          probe.fillRect(0, 0, 1, 1);
          const wanted = probe.getImageData(0, 0, 1, 1).data;
          const canvas = document.querySelector(".chart:not([data-spark]) canvas");
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          let count = 0;
          for (let i = 0; i < data.length; i += 4) {
            if (data[i + 3] === 255 && [0, 1, 2].every((c) => data[i + c] === wanted[c])) count++;
          }
          return count;
        }""",
        name,
    )


def test_a_chart_draws_grows_by_itself_and_is_asked_for_only_what_is_new(open_page, live_server):
    _, series = _make_engine()
    with open_page() as page:
        answers: list[int] = []
        page.on(
            "response",
            lambda answer: "/api/series" in answer.url and answers.append(answer.status),
        )
        page.goto(f"{live_server.url}/monitor")
        chart = page.locator("figure", has_text="Requests in the engine")
        expect(chart.locator("canvas")).to_be_visible()
        with page.expect_response(lambda answer: "since=" in answer.url) as nothing_new:
            pass
        assert nothing_new.value.status == 304
        _sample(series, 4_711)
        expect(chart).to_contain_text("Running4,711 requests", timeout=SOON_MS)
        assert _in_use(page, name="--chart-5") > 20
        chart.get_by_text("Data as a table").click()
        expect(chart.locator("tbody tr").first).to_contain_text("4,711")
        assert set(answers) == {200, 304}


def test_a_hole_in_time_is_a_gap_and_counters_become_rates(open_page, live_server):
    _make_engine()
    with open_page() as page:
        page.goto(f"{live_server.url}/monitor")
        gaps = page.evaluate("vbatchSeries.withGaps([0, 2, 4, 20, 22], [[1, 2, 3, 4, null]], 5)")
        assert gaps == [[0, 2, 4, 6.5, 20, 22], [1, 2, 3, None, 4, None]]
        rates = page.evaluate("vbatchSeries.ratesOf([0, 2, 4, 14], [0, 10, 20, 120])")
        assert rates == [[4, 14], [5, 10]]


def test_what_is_no_longer_read_is_grey_with_its_age_and_recovers(open_page, live_server):
    worker, _ = make_worker()
    gpu = make_gpu(worker)
    make_series(SeriesKind.GPU, gpu)

    def read(age_s: float) -> None:
        at = timezone.now() - timedelta(seconds=age_s)
        Gpu.objects.update(read_at=at)
        Series.objects.update(read_at=at)

    with open_page(expected="ERR_") as page:
        read(0)
        page.goto(f"{live_server.url}/monitor")
        card = page.get_by_label("GPU 0 of host")
        body = card.locator(".card-body")
        expect(body).not_to_have_class("card-body aged")
        expect(page.locator(".uplot")).not_to_have_count(0, timeout=SOON_MS)
        page.evaluate("window.mark = document.querySelector('.uplot')")
        read(20)
        expect(body).to_have_class("card-body aged", timeout=SOON_MS)
        expect(card).to_contain_text("no reading for 2")
        expect(card.locator(".chart-old")).not_to_have_count(0, timeout=SOON_MS)
        read(-1)
        expect(body).to_have_class("card-body", timeout=SOON_MS)
        expect(card.locator(".chart-old")).to_have_count(0, timeout=SOON_MS)
        # Charts were never replaced, although all about them was.
        assert page.evaluate("document.body.contains(window.mark)")
        # The server goes away: the browser alone sees to it.
        page.route("**/monitor/live**", lambda route: route.abort())
        page.route("**/api/series**", lambda route: route.abort())
        expect(body).to_have_class("card-body aged", timeout=SOON_MS)
        page.locator("summary", has_text="Charts").first.click()
        expect(card.locator(".chart-note:visible").first).to_contain_text(
            "The server does not answer. Last seen", timeout=SOON_MS
        )


def test_the_log_of_an_engine_is_read_while_it_is_open(
    open_page, live_server, member, settings, tmp_path
):
    settings.LOG_DIR = tmp_path
    member.is_staff = True
    member.save()
    _make_engine()
    log = tmp_path / "engine-host-gpu0.log"
    log.write_text("loading weights\n")
    with open_page() as page:
        page.goto(f"{live_server.url}/monitor")
        page.get_by_text("Log of the engine").click()
        text = page.locator(".log-text")
        expect(text).to_contain_text("loading weights")
        with log.open("a") as file:
            file.write("serving\n")
        expect(text).to_contain_text("serving", timeout=SOON_MS)


def test_a_key_leads_to_the_search(open_page, live_server):
    with open_page() as page:
        page.goto(f"{live_server.url}/")
        for key in ("/", "Control+k"):
            page.locator("body").press(key)
            expect(page.get_by_label("Search batches")).to_be_focused()
            page.keyboard.press("Escape")
        page.locator("body").press("/")
        page.keyboard.type("acme /1")
        page.keyboard.press("Enter")
        page.wait_for_url("**/batches?q=acme+%2F1")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_home_and_monitor_are_accessible(open_page, live_server, project, theme):
    worker, _ = _make_engine()
    make_series(SeriesKind.GPU, make_gpu(worker, throttle_reasons=["power cap"]))
    make_gpu(worker, 1, error="GPU is lost", age_s=60)
    batch = make_batch(project=project, texts=["a"], errors=["no"], open_lines=2)
    claim(batch, Lane.objects.get())
    make_batch(project=project, open_lines=2)
    make_batch(project=project, state="completed", texts=["a"], ended_at=timezone.now())
    with open_page(color_scheme=theme) as page:
        for address in ("/", "/monitor"):
            page.goto(live_server.url + address)
            expect(page.locator("canvas").first).to_be_visible()
            check_accessible(page)
