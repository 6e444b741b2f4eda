"""How long a file would take, as Submit asks for it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from jobs.models import Batch
from tests.cast import get_model, make_batch, make_worker
from tests.input_lines import good
from tests.pages.submitting import html_of, send

ASKED = {"model": "small", "requests": "100", "tokens": "1000"}


@pytest.fixture(autouse=True)
def _served(own_files, db):
    get_model()


def _estimate(page: Client, **changes: str) -> str:
    """Return what is told, as a reader sees it."""
    response = page.get("/estimate", ASKED | changes)
    assert response.status_code == 200
    return " ".join(re.sub("<[^>]*>", " ", html_of(response)).split())


def _past(answered: int, seconds: float) -> None:
    now = timezone.now()
    batch = make_batch(
        state="completed",
        first_response_at=now - timedelta(seconds=seconds),
        last_response_at=now,
    )
    Batch.objects.filter(pk=batch.pk).update(
        total=answered, completed=answered, input_tokens=10 * answered
    )


def test_a_review_asks_for_what_the_file_holds(page, project):
    content = b"".join(good(f"line-{n}", model="small") + b"\n" for n in range(3))
    address = send(page, project, content)["Location"]
    html = html_of(page.get(address))
    asked = dict(re.findall(r'data-(estimate|model|requests|tokens)="([^"]*)"', html))
    assert asked.pop("estimate") == "/estimate"
    assert (asked["model"], asked["requests"]) == ("small", "3") and int(asked["tokens"]) > 3
    _past(500, 100)
    assert "from the last batch of this model" in _estimate(page, **asked)


def test_a_file_that_is_not_accepted_has_no_estimate(page, project):
    address = send(page, project, good("a", model="unknown"))["Location"]
    assert "data-estimate" not in html_of(page.get(address))


def test_a_band_and_what_it_rests_on(page, project):
    make_worker()
    _past(200, 100)
    _past(100, 100)
    assert _estimate(page) == (
        "Time to finish ≈ 50 s to 1 min 40 s "
        "from the last 2 batches of this model, with what waits before it"
    )
    make_batch(project=project, open_lines=20)
    Batch.objects.filter(state="in_progress").update(total=1_000)
    assert "≈ 9 min 10 s to 18 min" in _estimate(page)


def test_without_a_basis_there_is_no_figure(page, project):
    make_worker()
    # Too few answers to tell a rate from.
    _past(2, 100)
    assert _estimate(page) == (
        "Time to finish – no basis yet: no batch of small that is large enough has ended here"
    )


def test_it_does_not_promise_what_no_worker_keeps(page):
    assert "no worker runs now" in _estimate(page)
    _past(200, 100)
    assert _estimate(page).endswith("no worker runs now, and it would wait for one")


def test_a_band_no_wider_than_a_step_is_one_figure(page):
    _past(200, 100)
    assert "≈ 5 s from" in _estimate(page, requests="1")


@pytest.mark.parametrize("requests", ["", "x", "-1", "1.5", "9" * 16, "\u0663"])
def test_a_number_that_is_none_is_refused(page, requests):
    assert page.get("/estimate", ASKED | {"requests": requests}).status_code == 400


def test_only_people_who_are_logged_in_are_told(client):
    assert client.get("/estimate", ASKED).status_code == 401


def test_the_name_of_a_model_is_text(page):
    html = page.get("/estimate", ASKED | {"model": "<b>\0"}).content.decode()
    assert "&lt;b&gt;" in html and "<b>" not in html
