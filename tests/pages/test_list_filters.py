"""Narrowing, searching and sorting the list of batches."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from jobs.models import Batch
from jobs.services.projects import get_project
from jobs.views import access, paging, searching
from tests.cast import claim, get_model, make_batch, make_worker
from tests.pages.test_batch_list import keys


def _named(response, named: dict[str, str]) -> list[str]:
    """Return the names that a test gave to the batches that are shown, in their order."""
    return [named[key] for key in keys(response)]


@pytest.fixture
def of_each_state(project) -> dict[str, str]:
    _, lane = make_worker()
    now = timezone.now()
    made = {
        "validating": make_batch(project=project, state="validating"),
        "queued": make_batch(project=project, open_lines=1),
        "running": make_batch(project=project, open_lines=1),
        "finalizing": make_batch(project=project, state="finalizing"),
        "paused": make_batch(project=project, paused_at=now),
        "done": make_batch(project=project, state="completed", texts=["a"]),
        "errors": make_batch(project=project, state="completed", texts=["a"], errors=["b"]),
        "failed": make_batch(project=project, state="failed"),
        "cancelling": make_batch(project=project, state="cancelling", cancelling_at=now),
        "cancelled": make_batch(project=project, state="cancelled"),
        "expired": make_batch(project=project, state="expired"),
    }
    claim(made["running"], lane)
    return {batch.public_id: name for name, batch in made.items()}


@pytest.mark.parametrize(
    ("show", "wanted"),
    [
        ("live", "cancelling paused finalizing running queued validating"),
        ("queued", "queued validating"),
        ("running", "finalizing running"),
        ("paused", "paused"),
        ("done", "done"),
        ("errors", "errors"),
        ("failed", "failed"),
        ("cancelled", "cancelled cancelling"),
        ("expired", "expired"),
    ],
)
def test_a_state_shows_those_whose_badge_says_so(page, of_each_state, show, wanted):
    response = page.get(f"/batches?show={show}")
    assert _named(response, of_each_state) == wanted.split()
    assert f"{len(wanted.split())} batch" in response.content.decode()


def test_nothing_runs_without_a_worker(page, of_each_state):
    from jobs.models import Worker

    Worker.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    assert _named(page.get("/batches?show=running"), of_each_state) == ["finalizing"]
    assert "running" in _named(page.get("/batches?show=queued"), of_each_state)


def test_chips_keep_each_other_and_take_themselves_off(page, project):
    make_batch(project=project, state="completed", model_name="a&b=c")
    html = page.get("/batches?show=done&model=a%26b%3Dc&q=a&sort=tokens").content.decode()
    rest = "?q=a&amp;model=a%26b%3Dc&amp;sort=tokens"
    assert f'class="chip on" href="{rest}"' in html
    assert 'href="?q=a&amp;show=failed&amp;model=a%26b%3Dc&amp;sort=tokens"' in html
    assert 'name="model" value="a&amp;b=c"' in html


def test_by_model_project_and_age(page, member, project):
    from jobs.models import Membership, Role

    other = get_project(name="other")
    Membership.objects.create(project=other, user=member, role=Role.VIEWER)
    old = make_batch(project=project, created_at=timezone.now() - timedelta(days=8))
    new = make_batch(project=project, model_name="large", model=None)
    theirs = make_batch(project=other)
    assert keys(page.get("/batches?model=large")) == [new.public_id]
    assert keys(page.get("/batches?project=other")) == [theirs.public_id]
    assert keys(page.get("/batches?since=7d")) == [theirs.public_id, new.public_id]
    assert keys(page.get("/batches?since=30d&project=ours&model=small")) == [old.public_id]


def test_a_foreign_project_shows_nothing(page, project):
    foreign = make_batch(project=get_project(name="theirs"), metadata={"customer": "acme"})
    make_batch(project=project)
    for query in ("project=theirs", f"q={foreign.public_id}", "q=acme"):
        html = page.get(f"/batches?{query}").content.decode()
        assert keys(page.get(f"/batches?{query}")) == [] and "No batch is like that" in html


def test_a_search_finds_by_what_one_has_in_hand(page, project):
    batch = make_batch(project=project, open_lines=2, metadata={"customer": "acme ö", "n": "1"})
    batch.requests.filter(position=0).update(custom_id="order 66")
    gone = make_batch(project=project, model=None, model_name="mistral/removed")
    digits = batch.public_id.removeprefix("batch_")
    for text in (batch.public_id, batch.public_id[:12], digits[:8], "order 66", "acme ö", "MAL"):
        assert batch.public_id in keys(page.get(f"/batches?q={quote(text)}")), text
    assert keys(page.get("/batches?q=mistral/rem")) == [gone.public_id]
    for text in ("order", "acme", "customer", "order%", "batch_%", "removed"):
        response = page.get(f"/batches?q={quote(text)}")
        assert keys(response) == [], text
        assert b"Nothing was found for" in response.content


def test_lines_are_looked_for_in_the_newest_batches(page, project, monkeypatch):
    monkeypatch.setattr(searching, "NEWEST", 2)
    made = [make_batch(project=project, open_lines=1).public_id for _ in range(3)]
    assert keys(page.get("/batches?q=line-0")) == made[:0:-1]


@pytest.mark.parametrize(
    ("sort", "wanted"),
    [
        ("", "dcba"),
        ("created", "abcd"),
        ("-lines", "dacb"),
        ("lines", "bcad"),
        ("-tokens", "cbda"),
        ("tokens", "adbc"),
        # What has not ended comes last of all.
        ("-ended", "adbc"),
        ("ended", "cbda"),
    ],
)
def test_it_is_sorted_and_paged_both_ways(page, project, monkeypatch, sort, wanted):
    monkeypatch.setattr(paging, "PAGE_BATCHES", 1)
    now = timezone.now()
    named = {}
    for name, total, tokens, ended_h in (
        ("a", 5, 0, None),
        ("b", 2, 20, 2),
        ("c", 2, 30, 1),
        ("d", 9, 5, 3),
    ):
        batch = make_batch(
            project=project,
            state="in_progress" if ended_h is None else "completed",
            total=total,
            output_tokens=tokens,
            ended_at=None if ended_h is None else now + timedelta(hours=ended_h),
        )
        named[batch.public_id] = name
    seen, address = "", f"/batches?sort={sort}"
    while address:
        response = page.get(address)
        seen += "".join(_named(response, named))
        address = _link(response, "before")
    assert seen == wanted
    back = seen[-1]
    while address := _link(response, "after"):
        response = page.get(address)
        back += "".join(_named(response, named))
    assert back == wanted[::-1]


def _link(response, cursor: str) -> str:
    found = re.search(rf'href="(/batches\?[^"]*{cursor}=[\d.]+)"', response.content.decode())
    return found[1].replace("&amp;", "&") if found else ""


def test_the_heading_says_how_it_is_sorted_and_turns_it_round(page, project):
    make_batch(project=project)
    html = page.get("/batches?sort=-tokens").content.decode()
    assert re.search(r'aria-sort="descending"><a href="\?sort=tokens">Tokens', html)
    assert re.search(r'aria-sort="none"><a href="\?sort=-lines">Lines', html)


@pytest.mark.parametrize(
    "query",
    [
        "show=nonsense&since=1y&sort=password",
        "q=%00&model=%00&project=%00",
        "q=%00%00abc",
        "q=" + "x" * 9_000,
        "q=%ff%fe&model=%ed%a0%80",
        "before=99999999999999999999.1",
        "before=9223372036854775807.9223372036854775807",
        "before=9223372036854775807.9223372036854775807&sort=-lines",
        "after=0.0&sort=ended",
        "after=1.99999999999999999999999",
        "before=-1.-1",
        "before=²³.1",
        "before=batch_0&after=1",
        "show=done&show=failed",
        "q=%25&q=_",
    ],
)
def test_an_odd_address_gives_a_page(page, project, query):
    make_batch(project=project, open_lines=1)
    assert page.get(f"/batches?{query}").status_code == 200
    assert page.get(f"/batches/live?{query}").status_code == 200


def test_a_large_count_is_not_counted_to_its_end(page, project, monkeypatch):
    from jobs.views import batch_list

    monkeypatch.setattr(batch_list, "COUNT_MAX", 60)
    for _ in range(60):
        make_batch(project=project)
    assert "60 batches" in page.get("/batches").content.decode()
    make_batch(project=project)
    assert "more than 60 batches" in page.get("/batches").content.decode()


def test_an_administrator_sees_all(client: Client, project):
    batch = make_batch(project=project)
    User.objects.create_superuser("root", password="x")
    client.force_login(User.objects.get(username="root"))
    assert keys(client.get("/batches")) == [batch.public_id]


def test_a_page_does_not_wait_until_everything_overdue_is_settled(page, project, monkeypatch):
    monkeypatch.setattr(access, "SETTLE_FOR_S", 0)
    get_model()
    made = [make_batch(project=project, open_lines=1) for _ in range(3)]
    Batch.objects.update(expires_at=Now() - timedelta(seconds=1))
    page.get("/batches/live")
    assert Batch.objects.filter(state="expired").count() == 1
    # But the one that is asked for is.
    last = page.get(f"/batches/{made[-1].public_id}/live").content.decode()
    assert '<span class="word">expired</span>' in last
