"""Running lines anew in a real browser: rows are chosen, the form says what will be, it is."""

from __future__ import annotations

import os

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from curation.services.search_index import index_responses
from jobs.models import Batch, ServedModel
from tests.cast import make_batch
from tests.pages.browsing import check_accessible

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def batch(project) -> Batch:
    """A batch whose model has a name of 200 characters, written both ways."""
    name = "נמל/" + "unbroken-" * 21
    ServedModel.objects.create(name=name, source="/models/long")
    made = make_batch(
        project=project,
        state="completed",
        ended_at=timezone.now(),
        texts=["one", "two", "three"],
        model_name=name,
    )
    index_responses()
    return made


def test_chosen_rows_become_a_batch(open_page, live_server, batch, own_files):
    with open_page(expected="400 (Bad Request)") as page:
        page.goto(f"{live_server.url}/results")
        for name in ("line-0", "line-2"):
            page.get_by_label(f"Choose {name}").check()
        page.get_by_role("region", name="Chosen answers").get_by_role(
            "button", name="Re-run"
        ).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Re-run 2 lines")
        check_accessible(page)
        page.get_by_label("Model").select_option("small")
        page.get_by_label("Temperature").fill("0.2")
        page.get_by_label("Other parameters").fill("{")
        page.get_by_role("button", name="Run 2 lines").click()
        # What is wrong is said, and what was filled in stays.
        expect(page.get_by_role("alert")).to_contain_text("Other parameters")
        expect(page.get_by_label("Temperature")).to_have_value("0.2")
        page.get_by_label("Other parameters").fill('{"top_p": 0.9}')
        page.get_by_role("button", name="Run 2 lines").click()
        expect(page.get_by_text("Re-run of", exact=True)).to_be_visible()
    made = Batch.objects.get(parent=batch)
    assert page.url.endswith(made.public_id) and made.is_rerun


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_holds_at_each_width(open_page, live_server, batch, width, theme):
    with open_page(viewport={"width": width, "height": 900}, color_scheme=theme) as page:
        page.goto(f"{live_server.url}/results/rerun?batch={batch.public_id}")
        expect(page.get_by_role("button", name="Run 3 lines")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if folder := os.environ.get("PICTURES"):
            page.screenshot(path=f"{folder}/rerun-{width}-{theme}.png", full_page=True)
