"""Submitting in a real browser: drop a file, see what is wrong, mend it, confirm."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from jobs.models import Batch, StoredFile
from tests.cast import get_model
from tests.input_lines import good
from tests.pages.browsing import check_accessible

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

_DROP = """([name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name));
  const drop = document.querySelector("[data-drop]");
  for (const type of ["dragenter", "dragover", "drop"])
    drop.dispatchEvent(
      new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(autouse=True)
def _served(own_files, db):
    get_model()


def _drop(page: Page, name: str, text: str) -> None:
    # By then the page's script is at work.
    expect(page.get_by_text("or drop")).to_be_visible()
    page.evaluate(_DROP, [name, text])


def _check_both_themes(page: Page) -> None:
    for theme in ("light", "dark"):
        # Without motion, since halfway between two themes nothing can be read.
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        expect(page.locator("html")).to_have_attribute("data-bs-theme", theme)
        check_accessible(page)


def test_a_dropped_file_is_mended_and_confirmed(open_page, live_server, project):
    with open_page() as page:
        page.goto(f"{live_server.url}/batches")
        page.get_by_role("link", name="Submit a batch").click()
        expect(page).to_have_title(re.compile("Submit a batch"))
        expect(page.get_by_label("User message")).to_be_hidden()
        _drop(page, "night.jsonl", good("a").decode() + "\n" + good("a").decode())
        expect(page.get_by_text("night.jsonl")).to_be_visible()
        page.get_by_role("button", name="Upload and check").click()
        expect(page.get_by_text("not accepted", exact=True)).to_be_visible()
        expect(page.get_by_role("region", name="Errors")).to_contain_text("more than once")
        _check_both_themes(page)
        page.get_by_role("button", name="Discard this file…").click()
        page.get_by_role("button", name="Discard the file").click()
        expect(page.get_by_text("night.jsonl is deleted")).to_be_visible()
        _drop(page, "night.jsonl", good("a").decode() + "\n" + good("b").decode())
        page.get_by_role("button", name="Upload and check").click()
        expect(page.get_by_text("in order")).to_be_visible()
        expect(page.get_by_text("no basis yet: no batch of small")).to_be_visible()
        _check_both_themes(page)
        assert not Batch.objects.exists()
        page.reload()
        page.get_by_label("Priority").select_option("1")
        page.get_by_role("button", name="Start the batch").click()
        page.wait_for_url(re.compile("/batches/batch_"))
        batch = Batch.objects.get()
        assert page.url.endswith(batch.public_id) and batch.priority == 1


def test_a_table_that_is_refused_leaves_what_was_filled_in(open_page, live_server, project):
    # The browser notes the refusal in its console.
    with open_page(expected="400 (Bad Request)") as page:
        page.goto(f"{live_server.url}/submit")
        _drop(page, "t.csv", 'id;"long text"\n1;one\n2;two\n')
        message = page.get_by_label("User message")
        message.fill("Sum up: ")
        page.get_by_role("button", name="{long text}").click()
        expect(message).to_have_value("Sum up: {long text}")
        page.get_by_label("Column for custom_id").fill("no")
        page.get_by_role("button", name="Upload and check").click()
        expect(page.get_by_role("alert")).to_contain_text("The column 'no' for the custom_id")
        expect(message).to_have_value("Sum up: {long text}")
        _check_both_themes(page)
        assert not StoredFile.objects.exists()
        page.get_by_label("Column for custom_id").fill("id")
        page.get_by_role("button", name="Upload and check").click()
        expect(page.get_by_text("in order")).to_be_visible()
        expect(page.get_by_role("region", name="First lines")).to_contain_text("Sum up: two")


def test_what_is_too_large_is_said_before_it_is_sent(open_page, live_server, project, settings):
    settings.MAX_FILE_BYTES = 10
    with open_page() as page:
        page.goto(f"{live_server.url}/submit")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.method))
        _drop(page, "big.jsonl", good("a").decode())
        expect(page.get_by_role("alert")).to_contain_text("big.jsonl is too large")
        page.get_by_role("button", name="Upload and check").click()
        assert "POST" not in asked
        _drop(page, "none.jsonl", "")
        expect(page.get_by_role("alert")).to_contain_text("none.jsonl is empty")


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_overflows(open_page, live_server, project, width):
    name = "n" * 190
    bad = good("i" * 500, model=name, messages=[{"role": "user", "content": "x" * 5_000}])
    with open_page(viewport={"width": width, "height": 844}) as page:
        for content in (good("i" * 500), bad + b"\n{" + b"y" * 900):
            page.goto(f"{live_server.url}/submit")
            _drop(page, f"{name}.jsonl", content.decode())
            page.get_by_role("button", name="Upload and check").click()
            page.wait_for_url(re.compile("/submit/file-"))
            _check_width(page)
        page.goto(f"{live_server.url}/submit")
        _drop(page, "t.csv", f"{name},{'m' * 190}\n1,2\n")
        expect(page.get_by_text("Put in:")).to_be_visible()
        _check_width(page)
        page.goto(f"{live_server.url}/docs")
        _check_width(page)
        if width == 390:
            _check_both_themes(page)


def _check_width(page: Page) -> None:
    wide = page.evaluate(
        "[...document.querySelectorAll('main *')]"
        ".filter((e) => e.getBoundingClientRect().right > innerWidth)"
        ".map((e) => `${e.tagName}.${e.className}`)"
    )
    over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert over <= 0, wide[:10]
