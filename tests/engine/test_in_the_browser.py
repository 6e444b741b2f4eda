"""A batch on the real engine, watched in a real browser on every page that tells of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from monitoring.quantities import QUANTITIES, SeriesKind
from tests.engine.conftest import First
from tests.engine.requests import chat, submit
from tests.pages.browsing import check_accessible, opened_at, started_browser
from tests.stack import Stack, check_finished

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

# Some processors are five times as slow as others.
END_MS = 400_000
SOON_MS = 12_000
# Longer than a block of the cache, so that there are prefixes to be found again.
RULES = "You tell stories of a dragon and a knight who share a castle by the sea. " * 20
# Among them one that vLLM refuses.
LINES = [
    chat(
        f"story-{n}",
        f"Tell story {n}.",
        system=RULES,
        max_tokens=40 + 5 * (n % 20),
        ignore_eos=True,
    )
    for n in range(90)
] + [chat("refused", "Hello?", max_tokens=100_000)]


@pytest.fixture
def context(stack: Stack, first: First) -> Iterator[Page]:
    with ExitStack() as taken_down:
        browser = taken_down.enter_context(started_browser())
        yield taken_down.enter_context(opened_at(browser, stack.url, stack.login_token()))


def _open(page: Page, address: str) -> Page:
    page.goto(address)
    page.evaluate("window.mark = 1")
    # What the page shows of a place is kept, each text once.
    page.evaluate(
        """() => {
          window.seen = {};
          window.watch = (name, selector) => {
            window.seen[name] = [];
            setInterval(() => {
              const text = document.querySelector(selector)?.textContent.trim();
              if (text && !window.seen[name].includes(text)) window.seen[name].push(text);
            }, 100);
          };
        }"""
    )
    return page


def _seen(page: Page, name: str) -> list[str]:
    found: list[str] = page.evaluate("(name) => window.seen[name]", name)
    return found


def test_a_batch_moves_on_every_page_and_ends_on_all_of_them(stack: Stack, context: Page) -> None:
    batch_id = submit(stack, LINES)
    more = context.context.new_page
    batch = _open(context, f"{stack.url}/batches/{batch_id}")
    batches = _open(more(), f"{stack.url}/batches")
    home = _open(more(), f"{stack.url}/")
    monitor = _open(more(), f"{stack.url}/monitor")
    pages = (batch, batches, home, monitor)
    batch.evaluate("watch('answered', '[data-cell=completed]')")
    batch.evaluate("watch('bar', '[data-cell=progress]')")
    batch.evaluate("watch('out', '[data-cell=tokens-out]')")
    batches.evaluate(f"watch('row', 'tr[data-key={batch_id}] [data-cell=progress]')")
    home.evaluate(f"watch('row', 'tr[data-key={batch_id}] [data-cell=progress]')")
    engine = monitor.get_by_label("Worker stack").locator(".engine").first

    expect(batch.locator("[data-cell=badge]")).to_contain_text("running", timeout=END_MS)
    expect(engine.locator(".num").first).to_have_text(re.compile(r"^[1-9]"), timeout=SOON_MS)
    expect(batch.locator("#measured-title")).to_have_text("Now", timeout=SOON_MS)
    speed = batch.locator("figure", has_text="Tokens a second")
    expect(speed.locator("canvas")).to_be_visible(timeout=SOON_MS)
    expect(speed).to_contain_text(re.compile(r"Out[1-9]"), timeout=END_MS)
    expect(batch.locator(".eta")).to_contain_text("≈", timeout=END_MS)

    total = len(LINES)
    expect(batch.locator("[data-cell=badge]")).to_contain_text("done with errors", timeout=END_MS)
    row = batches.locator(f"tr[data-key={batch_id}]")
    expect(row.locator("[data-cell=state]")).to_contain_text("done with errors", timeout=SOON_MS)
    last = home.get_by_label("Last batches").locator(f"tr[data-key={batch_id}]")
    expect(last.locator("[data-cell=state]")).to_contain_text("done with errors", timeout=SOON_MS)
    expect(home.locator("[data-cell=counts]")).to_have_text("Nothing runs or waits")
    expect(monitor.locator("[data-cell=queue] .num").first).to_have_text("0", timeout=SOON_MS)
    for place in (batch.locator("[data-cell=progress]"), row, last):
        expect(place).to_contain_text(f"{total - 1} + 1 failed of {total}", timeout=SOON_MS)
    expect(batch.locator("#measured-title")).to_have_text("How it ran", timeout=SOON_MS)
    expect(batch.locator(".reasons")).to_contain_text("length", timeout=SOON_MS)
    expect(batch.locator(".errors")).to_contain_text("refused", timeout=SOON_MS)
    expect(batch.locator(".phase-list")).to_contain_text("steady")

    for page, name in ((batch, "answered"), (batch, "bar"), (batches, "row"), (home, "row")):
        assert len(_seen(page, name)) > 3, f"{name} of {page.url}: {_seen(page, name)}"
    usage = stack.client.batches.retrieve(batch_id).usage
    assert usage is not None
    expect(batch.locator("[data-cell=tokens-out] [title]").first).to_have_attribute(
        "title", re.compile(f"{usage.output_tokens:,}")
    )
    for page in pages:
        assert page.evaluate("window.mark") == 1, f"{page.url} was loaded anew"
        check_accessible(page)
    check_finished(stack, batch_id, LINES)


def test_every_figure_of_the_engine_is_read_from_vllms_own(stack: Stack, first: First) -> None:
    def known() -> set[str]:
        rows = stack.sql(
            "SELECT p.values FROM monitoring_sample p JOIN monitoring_series s "
            "ON s.id = p.series_id WHERE s.kind = 'engine' AND p.step_s = 2"
        )
        return {
            name.name
            for (values,) in rows
            for name, value in zip(names, values, strict=True)
            if value is not None and value > 0
        }

    names = QUANTITIES[SeriesKind.ENGINE]
    # The engine has nothing to make wait while it takes more at a time than a batch has lines.
    wanted = {name.name for name in names} - {"requests_waiting"}
    stack.wait(lambda: known() >= wanted, 30, lambda: f"{wanted - known()} of the engine")
    # What clients were told of is what the engine says that it wrote.
    stack.wait(lambda: _written(stack) == _answered(stack), 10, lambda: f"{_written(stack)} tokens")
    for name in ("ttft_s", "itl_s", "e2e_s"):
        assert _detail(stack)["histograms"][name]["count"] > 0, name


def _detail(stack: Stack) -> dict[str, Any]:
    detail: dict[str, Any] = stack.sql(
        "SELECT detail FROM monitoring_series WHERE kind = 'engine' AND detail ? 'counters'"
    )[0][0]
    return detail


def _written(stack: Stack) -> int:
    return int(_detail(stack)["counters"]["generation_tokens"])


def _answered(stack: Stack) -> int:
    total: int = stack.sql(
        "SELECT sum(r.output_tokens) FROM jobs_batchresponse r "
        "JOIN jobs_batch b ON b.id = r.batch_id WHERE b.model_name = 'chat' AND r.ok"
    )[0][0]
    return int(total)
