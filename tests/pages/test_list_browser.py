"""The list of batches in a real browser: choosing over pages, moving by keys, columns."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from jobs.models import Batch
from jobs.views import paging
from tests.cast import make_batch, make_worker
from tests.pages.browsing import SOON_MS

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_what_is_chosen_stays_chosen_over_pages_and_is_dealt_with_at_once(
    open_page, live_server, project, monkeypatch
):
    monkeypatch.setattr(paging, "PAGE_BATCHES", 2)
    make_worker()
    made = [make_batch(project=project, open_lines=1) for _ in range(3)]
    ended = make_batch(project=project, state="completed", texts=["a"])
    with open_page() as page:
        page.goto(f"{live_server.url}/batches")
        bar = page.get_by_role("region", name="Chosen batches")
        expect(bar).to_be_hidden()
        page.locator(f"[data-pick={ended.public_id}]").check()
        page.get_by_role("link", name="Next").click()
        expect(bar).to_contain_text("1 batch chosen, 1 not on this page")
        page.locator(f"[data-pick={made[0].public_id}]").check()
        page.get_by_role("link", name="Previous").click()
        expect(page.locator(f"[data-pick={ended.public_id}]")).to_be_checked()
        expect(bar).to_contain_text("2 batches chosen, 1 not on this page")
        bar.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("alert").first).to_contain_text("1 batch")
        expect(bar).to_be_hidden()
    paused = Batch.objects.filter(paused_at__isnull=False)
    assert [one.pk for one in paused] == [made[0].pk]


def test_deleting_many_names_them_first(open_page, live_server, project):
    batches = [make_batch(project=project, state="completed", texts=["a"]) for _ in range(2)]
    kept = make_batch(project=project, state="completed", texts=["a"])
    with open_page() as page:
        page.goto(f"{live_server.url}/batches")
        for batch in batches:
            page.locator(f"[data-pick={batch.public_id}]").check()
        page.get_by_role("button", name="Delete…").click()
        dialog = page.get_by_role("dialog")
        for batch in batches:
            expect(dialog).to_contain_text(batch.public_id)
        dialog.get_by_role("button", name="Keep them").click()
        assert Batch.objects.count() == 3
        page.get_by_role("button", name="Delete…").click()
        dialog.get_by_role("button", name="Delete these batches").click()
        expect(page.get_by_role("alert").first).to_contain_text("2 batches")
    assert [one.pk for one in Batch.objects.all()] == [kept.pk]


def test_keys_move_choose_and_open(open_page, live_server, project):
    older = make_batch(project=project, state="completed", texts=["a"])
    newer = make_batch(project=project, state="completed", texts=["a"])
    with open_page() as page:
        page.goto(f"{live_server.url}/batches")
        for key in ("j", "j", "k", "x", "j"):
            page.keyboard.press(key)
        expect(page.locator(f"[data-pick={newer.public_id}]")).to_be_checked()
        expect(page.locator(f"[data-pick={older.public_id}]")).not_to_be_checked()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/batches/{older.public_id}")


def test_typing_in_the_search_moves_nothing(open_page, live_server, project):
    make_batch(project=project, state="completed", texts=["a"])
    with open_page() as page:
        page.goto(f"{live_server.url}/batches")
        field = page.get_by_label("Search batches")
        field.click()
        page.keyboard.type("jxk")
        expect(field).to_have_value("jxk")
        expect(page.locator("[data-pick]:checked")).to_have_count(0)


def test_columns_are_chosen_and_kept_while_rows_go_on(open_page, live_server, project):
    batch = make_batch(project=project, open_lines=10)
    with open_page() as page:
        page.goto(f"{live_server.url}/batches")
        heading = page.get_by_role("columnheader", name="Lines")
        expect(heading).to_be_hidden()
        page.get_by_text("Columns").click()
        page.get_by_label("Lines", exact=True).check()
        page.get_by_label("Model", exact=True).uncheck()
        expect(heading).to_be_visible()
        Batch.objects.filter(pk=batch.pk).update(completed=4)
        row = page.locator(f"tr[data-key={batch.public_id}]")
        expect(row).to_contain_text("4 of 10", timeout=SOON_MS)
        page.reload()
        expect(heading).to_be_visible()
        expect(page.get_by_role("columnheader", name="Model")).to_be_hidden()


def test_a_row_comes_to_its_end_without_a_reload(open_page, live_server, project):
    make_worker()
    batch = make_batch(project=project, open_lines=1)
    with open_page() as page:
        page.goto(f"{live_server.url}/batches")
        row = page.locator(f"tr[data-key={batch.public_id}]")
        expect(row.locator("[data-cell=state]")).to_contain_text("queued")
        Batch.objects.filter(pk=batch.pk).update(
            state="completed", completed=1, ended_at=batch.created_at
        )
        expect(row.locator("[data-cell=state]")).to_contain_text("done", timeout=SOON_MS)
