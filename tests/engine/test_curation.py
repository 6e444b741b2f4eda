"""From a real batch to a data set that trains: two reviewers at once, in a real browser."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from datasets import load_dataset
from playwright.sync_api import Browser, Page, expect

from tests.engine.conftest import First
from tests.engine.requests import chat, submit
from tests.pages.browsing import check_accessible, opened_at, started_browser
from tests.stack import Stack

pytestmark = pytest.mark.engine

SOON_MS = 20_000
CITIES = ("Lima", "Oslo", "Kyoto", "Quito")
LINES = [
    chat(f"city-{city.lower()}", f"Say one sentence about {city}.", max_tokens=24)
    for city in CITIES
]
EDIT = 'Lima lies by the sea, and is "grey" in winter. \U0001f30a'
BOB = """
from django.contrib.auth.models import User
from jobs.models import Membership, Project
bob = User.objects.create_user("bob", password="bob-password")
Membership.objects.create(project=Project.objects.get(name="default"), user=bob)
"""


@contextmanager
def logged_in_as_bob(browser: Browser, stack: Stack) -> Iterator[Page]:
    stack.manage("shell", "-c", BOB)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{stack.url}/login")
    page.locator("input[name=username]").fill("bob")
    page.locator("input[name=password]").fill("bob-password")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{stack.url}/")
    yield page
    context.close()


@pytest.fixture
def both(stack: Stack, first: First) -> Iterator[tuple[Page, Page]]:
    with ExitStack() as taken_down:
        browser = taken_down.enter_context(started_browser())
        ada = taken_down.enter_context(opened_at(browser, stack.url, stack.login_token()))
        yield ada, taken_down.enter_context(logged_in_as_bob(browser, stack))


def _judge(page: Page, keys: str) -> None:
    """Judge the item on the page by its keys, and submit it."""
    before = page.url
    for key in keys:
        page.keyboard.press(key)
    page.keyboard.press("Control+Enter")
    page.wait_for_url(lambda url: url != before, timeout=SOON_MS)


def test_answers_are_rated_settled_frozen_exported_and_loaded(
    stack: Stack, both: tuple[Page, Page], tmp_path: Path
) -> None:
    ada, bob = both
    batch = submit(stack, LINES)
    assert stack.wait_ended(batch, 240) == "completed"
    answers = {
        row["custom_id"]: row["response"]["body"]["choices"][0]["message"]["content"]
        for row in map(
            json.loads,
            stack.client.files.content(
                stack.client.batches.retrieve(batch).output_file_id
            ).text.splitlines(),
        )
    }

    # Found, and made a review set.
    def listed() -> bool:
        ada.goto(f"{stack.url}/results?batch={batch}")
        return ada.locator("tr[data-key]").count() == len(LINES)

    stack.wait(listed, 30, "the answers in Results")
    check_accessible(ada)
    ada.get_by_role("link", name="Review these").click()
    ada.get_by_label("Name").fill("Cities")
    ada.get_by_label("Rubric, a line for each question").fill("quality: rating\nusable: good/bad")
    ada.get_by_label("Reviewers for each answer").select_option("2")
    ada.get_by_role("button", name="Make the review set").click()
    expect(ada.get_by_text("4 answers added")).to_be_visible()
    address = ada.url

    # Both at once. They differ about the first, and agree on the others.
    ada.get_by_role("link", name="Review", exact=True).click()
    bob.goto(f"{address}/review")
    expect(ada.get_by_role("heading", name="city-lima")).to_be_visible()
    check_accessible(ada)
    ada.keyboard.press("e")
    ada.keyboard.press("Control+a")
    ada.keyboard.type(EDIT)
    ada.keyboard.press("4")  # Typed, not judged.
    ada.keyboard.press("Backspace")
    ada.keyboard.press("Escape")
    _judge(ada, "91")
    _judge(bob, "42")
    for _ in CITIES[1:]:
        _judge(ada, "81")
        _judge(bob, "91")
    expect(bob.get_by_role("heading", name="Nothing left for you")).to_be_visible()

    # Undone, and done again; after a reload nothing is forgotten.
    ada.goto(f"{address}/review/0")
    ada.keyboard.press("u")
    expect(ada.locator("[data-state]")).to_have_text("draft")
    ada.keyboard.press("u")
    expect(ada.locator("[data-state]")).to_have_text("submitted")
    ada.reload()
    expect(ada.locator("[data-edited]")).to_have_value(EDIT)
    expect(ada.locator("input[name=value-quality]:checked")).to_have_value("9")

    # The disagreement gets its last word.
    ada.goto(f"{address}/adjudicate")
    check_accessible(ada)
    row = ada.get_by_label("city-lima")
    expect(row.locator("tr.differs")).to_have_count(2)
    row.locator("label.score", has_text=re.compile("^10$")).click()
    row.locator("label.score", has_text="good").click()
    row.get_by_label("Answer").last.fill(EDIT)
    row.get_by_role("button", name="Settle it").click()
    expect(ada.get_by_text("No open disagreement")).to_be_visible()

    # Stars, taken back with one press, and given again.
    ada.goto(address)
    check_accessible(ada)
    ada.get_by_role("button", name="Star them").click()
    expect(ada.get_by_text("4 answers starred.")).to_be_visible()
    ada.get_by_role("button", name="Undo").click()
    expect(ada.get_by_text("Undone for 4 answers.")).to_be_visible()
    ada.get_by_role("button", name="Star them").click()
    expect(ada.get_by_text("4 answers starred.")).to_be_visible()
    ada.goto(f"{stack.url}/results?batch={batch}&starred=yes")
    expect(ada.locator(".rating.starred")).to_have_count(4)

    # A data set, built and exported by the worker while the page looks on.
    ada.goto(f"{stack.url}/datasets")
    ada.get_by_role("button", name="New data set").click()
    ada.get_by_label("Name").fill("Cities")
    ada.get_by_role("button", name="Make it").click()
    ada.get_by_label("Of the batch").fill(batch)
    ada.get_by_label("Names and percentages").fill("train 100")
    ada.get_by_label("Kept together").select_option("alike")
    ada.get_by_label("keep answers that were cut off").check()
    ada.get_by_label("Rows, at least").fill("1")
    ada.get_by_label("Tokens counted as by the model").fill("chat")
    ada.get_by_role("button", name="Make version 1").click()
    expect(ada.locator("[data-cell=head]")).to_contain_text("draft", timeout=SOON_MS)
    expect(ada.get_by_text("counted with the tokenizer of chat")).to_be_visible()
    ada.get_by_role("button", name="Freeze").click()
    expect(ada.locator("[data-cell=head]")).to_contain_text("frozen")
    check_accessible(ada)
    ada.get_by_label("Shape").select_option("parquet")
    ada.get_by_role("button", name="Export").click()
    download = ada.get_by_role("link", name="Download")
    expect(download).to_be_visible(timeout=SOON_MS)
    with ada.expect_download() as given:
        download.click()
    given.value.save_as(tmp_path / "set.zip")

    # And the file that a trainer would load.
    zipfile.ZipFile(tmp_path / "set.zip").extractall(tmp_path / "set")
    loaded = load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
    rows = {row["custom_id"]: row for split in loaded.values() for row in split}
    assert set(rows) == set(answers)
    for custom_id, row in rows.items():
        edited = custom_id == "city-lima"
        assert row["completion"][0]["content"] == (EDIT if edited else answers[custom_id])
        assert row["original_completion"][0]["content"] == answers[custom_id]
        assert row["quality_score"] == (10 if edited else 9) and row["edited"] is edited
        origin = json.loads(row["provenance"])
        assert origin["engine_version"] and "--max-model-len" in origin["engine_args"]
        assert origin["sampling"]["max_tokens"] == 24
