"""Importing ratings in a real browser: a file is sent, looked at, taken over and undone."""

from __future__ import annotations

import os

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from curation.models import GoldStar
from jobs.models import Batch
from tests.cast import make_batch
from tests.pages.browsing import check_accessible

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

COLUMNS = "batch_id,custom_id,rating,tags,notes,edited_answer,a column that nobody reads\n"


@pytest.fixture
def batch(project) -> Batch:
    return make_batch(
        project=project, state="completed", ended_at=timezone.now(), texts=["one", "two", "three"]
    )


def send(page: Page, url: str, batch: Batch) -> None:
    """Send a file of two good rows, one of them with long and odd texts, and two wrong ones."""
    odd = "unbroken-" * 40 + "שלום 😀 " * 30
    rows = [
        f'{batch.public_id},line-0,8,"good, {"t" * 60}",{odd},{odd * 20},x\n',
        f"{batch.public_id},line-1,3,,,,x\n",
        f"{batch.public_id},line-2,11,,,,x\n",
        f"{batch.public_id},{'no-such-line-' * 15},8,,,,x\n",
    ]
    name = f"{'a-long-name-' * 16}.csv"
    content = (COLUMNS + "".join(rows)).encode()
    page.goto(f"{url}/gold/import")
    page.get_by_label("File", exact=True).set_input_files(
        {"name": name, "mimeType": "text/csv", "buffer": content}
    )
    page.get_by_role("button", name="Upload and check").click()
    expect(page.get_by_role("button", name="Take over 2 rows")).to_be_visible()


def test_a_file_is_sent_looked_at_taken_over_and_undone(open_page, live_server, batch, own_files):
    with open_page() as page:
        page.goto(f"{live_server.url}/curation")
        page.get_by_role("link", name="Import ratings").click()
        check_accessible(page)
        send(page, live_server.url, batch)
        expect(page.get_by_role("heading", name="2 rows are refused")).to_be_visible()
        expect(page.get_by_text("it must be from 1 to 10, but is 11")).to_be_visible()
        check_accessible(page)
        with page.expect_download() as download:
            page.get_by_role("link", name="Every refused row").click()
        assert download.value.path().read_text("utf-8-sig").count("\n") == 3
        page.get_by_role("button", name="Take over 2 rows").click()
        expect(page.get_by_text("done", exact=True)).to_be_visible()
        assert GoldStar.objects.filter(removed_at__isnull=True).count() == 2
        page.get_by_role("button", name="Undo the import").click()
        expect(page.get_by_text("Undone for 2 answers.")).to_be_visible()
    assert not GoldStar.objects.filter(removed_at__isnull=True).exists()


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_hold_at_each_width(open_page, live_server, batch, own_files, width, theme):
    def look(page: Page, what: str) -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if folder := os.environ.get("PICTURES"):
            page.screenshot(path=f"{folder}/{what}-{width}-{theme}.png", full_page=True)

    with open_page(viewport={"width": width, "height": 900}, color_scheme=theme) as page:
        send(page, live_server.url, batch)
        look(page, "checked")
        page.get_by_role("button", name="Take over 2 rows").click()
        expect(page.get_by_text("done", exact=True)).to_be_visible()
        look(page, "done")
        page.goto(f"{live_server.url}/gold/import")
        look(page, "form")
