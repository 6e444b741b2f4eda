"""The pages in a real browser: what is live stays live, and disturbs nobody."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from jobs.models import Batch
from tests.cast import answer_line, make_batch, make_worker
from tests.pages.browsing import SOON_MS

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def _progress(batch: Batch, completed: int) -> None:
    Batch.objects.filter(pk=batch.pk).update(completed=completed)


def test_rows_move_and_arrive_by_themselves(open_page, live_server, project):
    make_worker()
    with open_page() as page:
        page.goto(f"{live_server.url}/batches")
        expect(page.get_by_text("No batches yet")).to_be_visible()
        batch = make_batch(project=project, open_lines=10)
        row = page.locator(f"tr[data-key={batch.public_id}]")
        expect(row).to_contain_text("0 of 10", timeout=SOON_MS)
        expect(page.get_by_text("No batches yet")).to_be_hidden()
        _progress(batch, 7)
        expect(row).to_contain_text("7 of 10", timeout=SOON_MS)
        expect(row.locator("time")).to_contain_text("ago", timeout=SOON_MS)


def test_nothing_moves_under_the_pointer(open_page, live_server, project):
    batch = make_batch(project=project, open_lines=10)
    with open_page() as page:
        page.goto(f"{live_server.url}/batches")
        row = page.locator(f"tr[data-key={batch.public_id}]")
        row.hover()
        newer = make_batch(project=project, open_lines=3)
        _progress(batch, 4)
        expect(row).to_contain_text("4 of 10", timeout=SOON_MS)
        assert page.locator("tbody tr").count() == 1
        page.mouse.move(5, 5)
        expect(page.locator(f"tr[data-key={newer.public_id}]")).to_be_visible(timeout=SOON_MS)
        assert page.locator("tbody tr").first.get_attribute("data-key") == newer.public_id


def test_a_selection_survives(open_page, live_server, project):
    batch = make_batch(project=project, open_lines=10)
    with open_page() as page:
        page.goto(f"{live_server.url}/batches")
        page.evaluate(
            "getSelection().selectAllChildren(document.querySelector('[data-cell=progress]'))"
        )
        selected = page.evaluate("getSelection().toString()")
        assert "0 of 10" in selected
        _progress(batch, 9)
        with page.expect_response("**/batches/live"):
            pass
        page.wait_for_timeout(300)
        assert page.evaluate("getSelection().toString()") == selected
        page.evaluate("getSelection().removeAllRanges()")
        expect(page.locator("tbody tr")).to_contain_text("9 of 10", timeout=SOON_MS)


def test_an_away_server_is_said_and_forgiven(open_page, live_server, project):
    make_batch(project=project, open_lines=10)
    with open_page(expected="ERR_") as page:
        page.goto(f"{live_server.url}/batches")
        note = page.locator("[data-live-note]")
        page.route("**/batches/live", lambda route: route.abort())
        expect(note).to_contain_text("Reconnecting", timeout=SOON_MS)
        expect(page.locator(".stale")).to_have_count(1)
        page.unroute("**/batches/live")
        expect(note).to_be_hidden(timeout=SOON_MS)
        expect(page.locator(".stale")).to_have_count(0)


def test_a_hidden_page_asks_nothing(open_page, live_server, project):
    with open_page() as page:
        page.goto(f"{live_server.url}/batches")
        # The browser fetches the page's icon at a moment of its own choice.
        page.wait_for_load_state("networkidle")
        asked: list[str] = []
        page.evaluate(
            "Object.defineProperty(document, 'hidden', {configurable: true, get: () => true})"
        )
        page.on("request", lambda request: asked.append(request.url))
        page.wait_for_timeout(4_500)
        assert asked == []
        page.evaluate("delete document.hidden")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_timeout(500)
        assert len(asked) == 1


def test_an_opened_text_stays_open_while_answers_arrive(open_page, live_server, project):
    batch = make_batch(project=project, texts=["long " * 400], open_lines=1)
    with open_page() as page:
        page.goto(f"{live_server.url}/batches/{batch.public_id}")
        page.get_by_role("button", name="Show all").click()
        expect(page.get_by_role("button", name="Show less")).to_be_visible()
        batch.requests.filter(position=1).delete()
        answer_line(batch, 1, texts=["", "the second answer"], errors=[])
        expect(page.get_by_text("the second answer")).to_be_visible(timeout=SOON_MS)
        expect(page.get_by_role("button", name="Show less")).to_be_visible()
        page.get_by_role("button", name="Show less").click()
        expect(page.get_by_role("button", name="Show all")).to_be_visible()


def test_cancelling_asks_first_and_names_what_it_cancels(open_page, live_server, project):
    batch = make_batch(project=project, texts=["kept"], open_lines=2)
    with open_page() as page:
        page.goto(f"{live_server.url}/batches/{batch.public_id}")
        page.get_by_role("button", name="Cancel…").click()
        expect(page.get_by_role("dialog")).to_contain_text(batch.public_id)
        page.get_by_role("button", name="Keep it running").click()
        expect(page.get_by_role("dialog")).to_be_hidden()
        batch.refresh_from_db()
        assert batch.state == "in_progress"
        page.get_by_role("button", name="Cancel…").click()
        page.get_by_role("button", name="Cancel the batch").click()
        expect(page.locator("[data-cell=badge]")).to_contain_text("cancelled", timeout=SOON_MS)


def test_the_theme_is_chosen_and_kept(open_page, live_server):
    with open_page() as page:
        page.goto(f"{live_server.url}/batches")
        page.get_by_label("Theme").click()
        page.get_by_role("button", name="Dark").click()
        assert page.locator("html").get_attribute("data-bs-theme") == "dark"
        page.reload()
        assert page.locator("html").get_attribute("data-bs-theme") == "dark"


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_overflows(open_page, live_server, project, width):
    make_worker("w" * 150)
    name = "n" * 190
    text = "x" * 5_000
    batch = make_batch(
        project=project,
        texts=[text, "مرحبا 🎉"],
        errors=[text],
        model_name=name,
        metadata={"k" * 60: "v" * 500},
    )
    finding = {"code": "c" * 60, "message": "m" * 900, "param": "p" * 200, "line": 1}
    failed = make_batch(project=project, state="failed", findings=[finding])
    with open_page(viewport={"width": width, "height": 844}) as page:
        for address in (
            "/batches",
            f"/batches/{batch.public_id}",
            f"/batches/{failed.public_id}",
            "/",
            "/monitor",
        ):
            page.goto(live_server.url + address)
            over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            wide = page.evaluate(
                "[...document.querySelectorAll('main *')]"
                ".filter((e) => e.getBoundingClientRect().right > innerWidth)"
                ".map((e) => `${e.tagName}.${e.className}`)"
            )
            assert over <= 0, f"{address}: {wide[:10]}"


def test_on_a_phone_the_sidebar_folds(open_page, live_server):
    with open_page(viewport={"width": 390, "height": 844}) as page:
        page.goto(f"{live_server.url}/batches")
        link = page.get_by_role("link", name="Monitor")
        expect(link).to_be_hidden()
        page.get_by_role("button", name="Menu").click()
        link.click()
        expect(page.get_by_role("heading", name="Monitor")).to_be_visible()
