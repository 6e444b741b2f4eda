"""Comparing and voting in a real browser: figures come, rows open, keys vote, nothing overflows."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from curation.models import Vote
from tests.curation.test_compare import answered
from tests.pages.browsing import SOON_MS, check_accessible

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_rows_open_in_place_and_figures_follow(open_page, live_server, project):
    one = answered(project, {"a": "left " * 600 + "end", "b": "same"}, model="one")
    two = answered(project, {"a": "left " * 600 + "stop", "b": "same"}, model="two")
    with open_page() as page:
        page.goto(f"{live_server.url}/compare?side={one.public_id}&side={two.public_id}")
        expect(page.get_by_role("region", name="Figures")).to_contain_text("50.0 %")
        row = page.locator(".cmp-row").first
        assert row.locator("ins").count() == 0
        row.get_by_role("button", name="Show whole").click()
        expect(page.locator(".cmp-row ins").first).to_have_text("stop")
        page.get_by_role("link", name="only different").click()
        expect(page.locator(".cmp-row")).to_have_count(1)


def test_votes_are_cast_by_key_and_typing_is_not_voting(open_page, live_server, project):
    texts = {f"n{n}": f"good {n}" for n in range(3)}
    one = answered(project, texts, model="one")
    two = answered(project, {n: f"poor {t}" for n, t in texts.items()}, model="two")
    with open_page() as page:
        page.goto(f"{live_server.url}/compare?side={one.public_id}&side={two.public_id}")
        page.get_by_role("button", name="Vote blind").click()
        voted = page.locator(".deeds .text-secondary")
        expect(voted).to_have_text("0 votes of yours")
        page.locator("[data-search]").focus()
        page.keyboard.type("12")
        expect(voted).to_have_text("0 votes of yours")
        page.locator("[data-search]").blur()
        for number, key in enumerate(("3", "4", "u", "1"), 1):
            page.keyboard.press(key)
            expected = {1: 1, 2: 2, 3: 1, 4: 2}[number]
            words = f"{expected} vote{'' if expected == 1 else 's'} of yours"
            expect(voted).to_have_text(words, timeout=SOON_MS)
        page.keyboard.press("2")
        expect(page.get_by_role("heading", name="Nothing is left to vote on")).to_be_visible()
        page.get_by_role("link", name="See the standing").click()
        expect(page.get_by_role("heading", name="Ranks")).to_be_visible()
    assert Vote.objects.filter(removed_at__isnull=True).count() == 3


def _hard(project):
    """Three sides of texts that pages break at, JSON, an error, a missing row and an open one."""
    word = "unbroken" * 400
    texts = {
        "n" * 200: f"{word} مرحبا بالعالم שלום 👩‍👩‍👧 {'long answer ' * 9_000}",
        "json": '{"city": "Lima", "founded": 1535, "names": ["Lima", "Ciudad de los Reyes"]}',
        "plain": "The cat sat on the mat and looked at the moon.",
        "only": "",
    }
    other = {**texts, "json": '{"founded": 1534, "city": "Lima"}', "plain": "The dog sat there."}
    del other["only"]
    return (
        answered(project, texts, errors={"bad": "too long " * 50}, model="m" * 200),
        answered(project, {**other, "n" * 200: word[:-4] + " הקץ"}, open_ids=("bad",)),
        answered(project, {"plain": "The cat sat on the mat.", "json": "{}"}, model="third"),
    )


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1440, "light")])
def test_nothing_overflows_and_all_can_be_read(open_page, live_server, project, width, theme):
    sides = "&".join(f"side={one.public_id}" for one in _hard(project))
    viewport = {"width": width, "height": 900}
    with open_page(viewport=viewport, color_scheme=theme) as page:

        def look(name):
            page.wait_for_load_state("networkidle")
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} wide"
            check_accessible(page)

        page.goto(f"{live_server.url}/compare")
        look("empty")
        page.goto(f"{live_server.url}/compare?{sides}")
        expect(page.get_by_role("region", name="Figures")).to_be_visible()
        look("compare")
        page.get_by_role("button", name="Show whole").last.click()
        page.get_by_role("button", name="Vote blind").click()
        look("vote")
        for _ in range(3):
            if not page.locator("[data-vote]").count():
                break
            page.get_by_role("button", name="Left is better").click()
        page.goto(page.url.replace("/vote", ""))
        look("standing")
