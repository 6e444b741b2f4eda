"""The page of a batch in a real browser: it ends by itself, and keeps what is opened."""

from __future__ import annotations

import json

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from jobs.models import Batch, BatchRequest, BatchResponse
from monitoring.services.summaries import update_summaries
from tests.cast import answer_line, claim, make_batch, make_worker
from tests.pages.browsing import SOON_MS, check_accessible

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _own_folder(settings, tmp_path):
    settings.FILES_DIR = settings.MEDIA_ROOT = tmp_path


def answer(batch: Batch, position: int, text: str) -> None:
    batch.requests.filter(position=position).delete()
    answer_line(batch, position, texts=[""] * position + [text], errors=[])


def test_an_open_page_comes_to_the_end_with_its_batch(open_page, live_server, project):
    _, lane = make_worker()
    batch = make_batch(project=project, texts=["first"], open_lines=1)
    chunk = claim(batch, lane)
    with open_page() as page:
        page.goto(f"{live_server.url}/batches/{batch.public_id}")
        expect(page.locator("[data-cell=badge]")).to_contain_text("running")
        expect(page.get_by_text("counted up to 0 of 1 answers")).to_be_visible()
        answer(batch, 1, "the second answer")
        now = timezone.now()
        chunk.delete()
        Batch.objects.filter(pk=batch.pk).update(
            state="completed",
            completed=2,
            last_seq=2,
            completed_at=now,
            ended_at=now,
            first_response_at=batch.created_at,
            last_response_at=now,
        )
        update_summaries(every=True)
        expect(page.locator("[data-cell=badge]")).to_contain_text("done", timeout=SOON_MS)
        expect(page.get_by_text("the second answer")).to_be_visible(timeout=SOON_MS)
        expect(page.get_by_role("heading", name="How it ran")).to_be_visible(timeout=SOON_MS)
        expect(page.get_by_text("of 2 answers").first).to_be_visible(timeout=SOON_MS)
        expect(page.get_by_text("counted up to")).to_have_count(0)


def test_a_line_is_opened_read_and_answered_before_ones_eyes(open_page, live_server, project):
    batch = make_batch(project=project, texts=["first"], open_lines=1)
    body = {"messages": [{"role": "user", "content": "why is the sky blue?"}], "top_k": 3}
    BatchRequest.objects.filter(batch=batch).update(body=json.dumps(body).encode())
    with open_page() as page:
        page.goto(f"{live_server.url}/batches/{batch.public_id}")
        page.locator("tr[data-key='0'] td.num").click()
        page.get_by_role("link", name="Next").click()
        expect(page.get_by_text("Not answered yet.")).to_be_visible()
        page.get_by_text("Request body").click()
        expect(page.locator(".raw code")).to_contain_text('"top_k": 3')
        line = BatchRequest.objects.get(batch=batch, position=1)
        answer_of(line, "blue light scatters most")
        expect(page.locator("[data-cell=answer]")).to_contain_text(
            "blue light scatters most", timeout=SOON_MS
        )
        # What was opened stays open.
        expect(page.locator(".raw code").first).to_be_visible()
        page.get_by_text("Response body").click()
        expect(page.locator(".raw code").nth(1)).to_contain_text("choices")


def test_a_line_is_found_and_the_batch_is_shown_raw(open_page, live_server, project):
    batch = make_batch(project=project, texts=["a", "b", "c"])
    with open_page() as page:
        page.goto(f"{live_server.url}/batches/{batch.public_id}")
        page.get_by_text("The batch as the API gives it").click()
        expect(page.locator(".raw code")).to_contain_text('"status": "in_progress"')
        page.get_by_label("Find the line with this custom_id").fill("line-2")
        page.get_by_label("Find the line with this custom_id").press("Enter")
        expect(page.get_by_role("heading", name="line-2")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_batch_pages_can_be_used_by_everybody(open_page, live_server, project, theme):
    _, lane = make_worker()
    batch = make_batch(project=project, texts=["a", "b"], errors=["no"], open_lines=3)
    claim(batch, lane)
    ended = make_batch(project=project, state="completed", texts=["a", "b"], errors=["no"])
    BatchResponse.objects.filter(batch=ended, ok=True).update(finish_reason="length")
    update_summaries()
    with open_page(color_scheme=theme) as page:
        page.goto(f"{live_server.url}/batches/{ended.public_id}")
        expect(page.get_by_text("cut at max_tokens").first).to_be_visible()
        check_accessible(page)
        for rest in ("", f"/{batch.public_id}", f"/{batch.public_id}/lines/0"):
            page.goto(f"{live_server.url}/batches{rest}")
            check_accessible(page)
        page.get_by_text("Request body").click()
        expect(page.locator(".raw code")).to_be_visible()
        check_accessible(page)


def answer_of(line: BatchRequest, text: str) -> None:
    from jobs.models import BatchResponse

    BatchResponse.objects.create(
        request=line,
        batch=line.batch,
        seq=2,
        ok=True,
        status_code=200,
        body=json.dumps({"choices": [{"message": {"content": text}}]}).encode(),
        text=text,
        created_at=timezone.now(),
    )
