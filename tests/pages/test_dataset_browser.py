"""The page of a version while it is built: what was found appears by itself."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from curation import tasks
from curation.models import DatasetVersion
from curation.services.datasets import Plan, create_dataset, create_version
from curation.services.gold_filter import GoldFilter
from tests.curation.gold import make_star, make_stars
from tests.pages.browsing import SOON_MS

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_version_that_is_built_shows_its_report_and_can_be_frozen(
    open_page, live_server, project, monkeypatch
):
    monkeypatch.setattr("curation.services.datasets.async_task", lambda *_, **__: None)
    make_stars(project, 12)
    for number in range(2):
        make_star(project, 20 + number, prompt="the same", answer=f"a {number}").save()
    dataset = create_dataset(project=project, name="Set")
    plan = Plan(stars=GoldFilter(), group="none", splits="train 50, test 50", min_rows=100)
    create_version(dataset=dataset, plan=plan)
    with open_page() as page:
        page.goto(f"{live_server.url}/datasets/{dataset.public_id}/versions/1")
        expect(page.get_by_text("building")).to_be_visible()
        expect(page.get_by_role("button", name="Export")).to_be_hidden()
        tasks.build_versions()
        expect(page.get_by_text("Leaks between splits")).to_be_visible(timeout=SOON_MS)
        expect(page.get_by_role("button", name="Export")).to_be_visible()
        page.get_by_role("button", name="Freeze…").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("the target asks for 100")
        dialog.get_by_role("textbox").fill("a small one")
        dialog.get_by_role("button", name="Freeze with this reason").click()
        expect(page.get_by_text("Frozen in spite of what was found: a small one")).to_be_visible()
    assert DatasetVersion.objects.get().state == "frozen"
