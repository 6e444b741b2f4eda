"""Benchmarks in a real browser: a run that ends by itself, two that are compared, on a phone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from benchmarks.models import Run, RunPart, RunState
from benchmarks.services.baselines import pin_baseline
from tests.cast import get_model, make_batch
from tests.pages.benchmarked import FINGERPRINT, figures_at, make_run
from tests.pages.browsing import SOON_MS, check_accessible

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SLOWER = (880, 885, 875, 890, 870)


def _fits(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_run_ends_under_ones_eyes_and_two_are_compared(open_page, live_server, project):
    batch = make_batch(project=project, texts=["a"] * 3, open_lines=4)
    first = make_run(project, age_h=2)
    third = make_run(project, age_h=3)
    run = make_run(project, (1,), state=RunState.RUNNING, batches=[None, batch])
    RunPart.objects.filter(run=run, repeat=0).update(measured_at=timezone.now())
    with open_page() as page:
        page.goto(f"{live_server.url}/benchmarks")
        row = page.locator(f"tr[data-key={run.public_id}]")
        expect(row).to_contain_text("repeat 1 of 1")
        RunPart.objects.filter(run=run).update(
            figures=figures_at(850), fingerprint=FINGERPRINT, measured_at=timezone.now()
        )
        Run.objects.filter(pk=run.pk).update(
            state=RunState.COMPLETED, figures=figures_at(850), fingerprint=FINGERPRINT
        )
        page.mouse.move(0, 0)
        expect(row).to_contain_text("850", timeout=SOON_MS)
        expect(row).to_contain_text("done")
        for one in (run, first, third):
            page.locator(f"[data-pick={one.public_id}]").check()
        compare = page.get_by_role("button", name="Compare two")
        expect(compare).to_be_disabled()
        page.locator(f"[data-pick={third.public_id}]").uncheck()
        compare.click()
        expect(page.get_by_role("heading", name="What changed")).to_be_visible()
        expect(page.get_by_text("no interval: it takes three repeats").first).to_be_visible()


def test_the_form_tells_the_time_of_what_is_chosen(open_page, live_server, project):
    get_model()
    run = make_run(project)
    with open_page() as page:
        page.goto(f"{live_server.url}/benchmarks/new?repeats=1")
        told = page.locator("[role=status][hx-get]")
        expect(told).to_contain_text(run.public_id[:14])
        page.locator("#requests").fill("60000")
        page.locator("#repeats").fill("2")
        page.locator("#workload").focus()
        expect(told).to_contain_text("≈ 2 h")
        page.locator("#workload").select_option("embeddings")
        expect(told).to_contain_text("not known yet")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_of_benchmarks_fit_a_phone_and_can_be_read(open_page, live_server, project, scheme):
    get_model()
    base = make_run(project, age_h=30, fingerprint={**FINGERPRINT, "vllm": "0.31.0"})
    pin_baseline(run=base)
    score = {"check": "json", "words": "is JSON", "scored": 9, "share": 0.5, "examples": [1]}
    for name in ("other", "m" * 200):
        make_run(project, model_name=name, scores=[score])
    run = make_run(project, SLOWER, scores=[score], note="مرحبا 🎉 " + "n" * 200)
    done = {"last_response_at": timezone.now()}
    make_batch(
        project=project,
        state="completed",
        texts=["a"],
        first_response_at=timezone.now() - timedelta(seconds=9),
        **done,
    )
    size = {"width": 390, "height": 844}
    with open_page(viewport=size, color_scheme=scheme) as page:
        for path in (
            f"/benchmarks?workload={run.workload.public_id}",
            f"/benchmarks/{run.public_id}?requests=1000",
            f"/benchmarks/compare?runs={base.public_id},{run.public_id}",
            "/benchmarks/batches",
            "/benchmarks/new",
        ):
            page.goto(f"{live_server.url}{path}")
            assert _fits(page), path
            check_accessible(page)
