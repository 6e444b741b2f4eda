"""What is killed looks dead: in a real browser and at `/health`, and alive again once it is."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from monitoring.quantities import SAMPLE_EVERY_S
from tests.pages.browsing import check_accessible, opened_at, started_browser
from tests.stack import Stack, chat_lines

pytestmark = pytest.mark.stack

# Three intervals of the source, and one of the page, which asks as often.
GREY_MS = 4_000 * SAMPLE_EVERY_S
# The heartbeat of a worker comes more seldom, and is stale after ten seconds.
SILENT_MS = 14_000
BACK_MS = 45_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A product whose engine is at work for as long as the tests last."""
    plan = {"latency_ms": 400, "max_concurrency": 4, "start_delay_s": 1}
    with Stack(tmp_path_factory.mktemp("stack"), models={"toy": plan}) as running:
        running.start_web()
        running.start_worker()
        batch = running.submit(chat_lines(3_000))
        running.wait(lambda: running.state(batch)[2] > 0, 60, "the first answer")
        yield running


@pytest.fixture(scope="module")
def pages(stack: Stack) -> Iterator[tuple[Page, Page]]:
    """Monitor and Home, open side by side, never loaded again."""
    with (
        started_browser() as browser,
        opened_at(browser, stack.url, stack.login_token()) as monitor,
    ):
        home = monitor.context.new_page()
        monitor.goto(f"{stack.url}/monitor")
        home.goto(f"{stack.url}/")
        for page in (monitor, home):
            page.evaluate("window.mark = 1")
        yield monitor, home
        for page in (monitor, home):
            assert page.evaluate("window.mark") == 1, "the page was loaded anew"


class Seen:
    """The parts of the two pages that tell of the host, its worker and its engine."""

    def __init__(self, pages: tuple[Page, Page]) -> None:
        monitor, home = pages
        self.host = monitor.get_by_label("Host stack").locator(".card-body").first
        worker = monitor.get_by_label("Worker stack")
        self.worker = worker.locator(".card-header")
        self.lane = worker.locator(".lane-head").first
        self.engine = worker.locator(".engine")
        self.speed = home.locator(".home-now")
        self.faults = monitor.locator("[data-cell=faults]")
        self.home_faults = home.locator("[data-cell=faults]")


def _grey(place: Locator, *, within_ms: float) -> None:
    expect(place).to_have_class(_aged(True), timeout=within_ms)
    expect(place.locator("[data-age-words]").first).to_contain_text("s", timeout=within_ms)


def _fresh(place: Locator, *, within_ms: float = BACK_MS) -> None:
    expect(place).to_have_class(_aged(False), timeout=within_ms)


def _aged(aged: bool) -> Any:
    return re.compile(r"\baged\b" if aged else r"^(?!.*\baged\b).*$")


def _health(stack: Stack) -> dict[str, Any]:
    with urllib.request.urlopen(f"{stack.url}/health", timeout=10) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def _well(stack: Stack, seen: Seen) -> None:
    for place in (seen.host, seen.worker, seen.engine, seen.speed):
        _fresh(place)
    expect(seen.lane).to_contain_text("ready", timeout=BACK_MS)
    expect(seen.faults).to_contain_text("Everything that is known here is well", timeout=BACK_MS)
    expect(seen.home_faults).to_be_hidden(timeout=BACK_MS)
    assert _health(stack)["status"] == "ok"


def test_a_killed_sampler(stack: Stack, pages: tuple[Page, Page]) -> None:
    seen = Seen(pages)
    _well(stack, seen)
    # It is started again after a pause that grows with every death.
    deaths = 0
    while deaths < 4:
        stack.wait(lambda: stack.find("sampler"), 30, "the sampler")
        deaths += stack.kill("sampler") is not None
    _grey(seen.host, within_ms=GREY_MS)
    for place in (seen.engine, seen.speed):
        _grey(place, within_ms=GREY_MS)
    told = _health(stack)
    assert told["status"] == "degraded"
    assert "the sampler of stack has been silent" in " ".join(told["reasons"])
    assert told["worker"]["workers"][0]["sampler"] == "silent"
    for faults in (seen.faults, seen.home_faults):
        expect(faults).to_contain_text("the sampler of stack has been silent")
    for page in pages:
        check_accessible(page)
    _well(stack, seen)


def test_a_killed_engine(stack: Stack, pages: tuple[Page, Page]) -> None:
    seen = Seen(pages)
    _well(stack, seen)
    stack.write_plan("toy", latency_ms=400, max_concurrency=4, start_delay_s=12)
    stack.kill("engine")
    expect(seen.lane).not_to_contain_text("ready", timeout=GREY_MS)
    expect(seen.engine).to_be_hidden(timeout=GREY_MS)
    expect(seen.speed.locator(".num").last).to_have_text("–", timeout=GREY_MS)
    told = _health(stack)
    assert told["status"] == "degraded"
    assert "ended by itself and is not back yet" in " ".join(told["reasons"])
    lanes = {lane["name"]: lane["engine"] for lane in told["worker"]["workers"][0]["lanes"]}
    assert lanes["cpu"] in ("died", "starting")
    expect(seen.faults).to_contain_text("the engine on lane cpu of stack ended by itself")
    _well(stack, seen)


def test_a_killed_worker(stack: Stack, pages: tuple[Page, Page]) -> None:
    seen = Seen(pages)
    _well(stack, seen)
    (supervisor,) = stack.find("supervisor")
    os.kill(supervisor.pid, signal.SIGKILL)
    stack.forget("worker")
    for place in (seen.host, seen.engine, seen.speed):
        _grey(place, within_ms=GREY_MS)
    _grey(seen.worker, within_ms=SILENT_MS)
    expect(seen.worker).to_contain_text("silent", timeout=SILENT_MS)
    expect(seen.lane).to_contain_text("not known", timeout=SILENT_MS)
    told = _health(stack)
    assert told["status"] == "degraded"
    assert "no worker is alive" in " ".join(told["reasons"])
    assert told["worker"]["workers"][0]["lanes"][0]["engine"] == "unknown"
    for faults in (seen.faults, seen.home_faults):
        expect(faults).to_contain_text("no worker is alive")
    for page in pages:
        check_accessible(page)
    stack.start_worker()
    _well(stack, seen)
