"""What is measured of a batch, on its page."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import Batch, BatchResponse, StoredFile
from monitoring.bar_chart import lay_out
from monitoring.batch_figures import Bar
from monitoring.models import Sample, Series
from monitoring.quantities import PHASE_LOADING, PHASE_QUEUED, PHASE_RUNNING, SeriesKind, Step
from monitoring.services.summaries import update_summaries
from tests.cast import claim, make_batch, make_worker


@pytest.fixture(autouse=True)
def _own_folder(settings, tmp_path):
    settings.FILES_DIR = settings.MEDIA_ROOT = tmp_path


def measured(batch: Batch, *, answered: int, seconds: int = 120, read_s_ago: float = 0.0) -> Series:
    """Measure a batch that waited, loaded its model, and ran evenly up to `answered`."""
    now = timezone.now() - timedelta(seconds=read_s_ago)
    series = Series.objects.create(
        kind=SeriesKind.BATCH,
        batch=batch,
        read_at=now,
        latest={"requests_running": 7.0, "requests_waiting": 3.0},
    )
    begin = now - timedelta(seconds=seconds)
    values = [(begin - timedelta(seconds=30), PHASE_QUEUED, 0.0)]
    values += [(begin - timedelta(seconds=20), PHASE_LOADING, 0.0)]
    values += [
        (begin + timedelta(seconds=at), PHASE_RUNNING, answered * at / seconds)
        for at in range(0, seconds + 1, 2)
    ]
    Sample.objects.bulk_create(
        Sample(
            series=series,
            step_s=Step.THINNED,
            at=at,
            values=[count, 0.0, 100 * count, 50 * count, 7.0, 3.0, phase],
        )
        for at, phase, count in values
    )
    Batch.objects.filter(pk=batch.pk).update(created_at=values[0][0])
    return series


def figures(page, batch: Batch) -> str:
    return page.get(f"/batches/{batch.public_id}/figures").content.decode()


def test_a_running_batch_says_what_it_does_now_and_when_it_will_end(page, project):
    _, lane = make_worker()
    batch = make_batch(project=project, texts=["t"], open_lines=999)
    claim(batch, lane)
    Batch.objects.filter(pk=batch.pk).update(completed=500)
    measured(batch, answered=500)
    html = figures(page, batch)
    # 500 in two minutes: 4.17 a second, so 500 more take two minutes, give or take a tenth.
    assert "≈ 1 min 50 s to 2 min 10 s" in html
    assert "from this batch&#x27;s last 2 minutes" in html
    assert '<dd class="num">4.17</dd>' in html
    assert '<dd class="num">417</dd>' in html and '<dd class="num">208</dd>' in html
    assert '<dd class="num">7</dd><dd class="sub">running requests' in html
    assert '<dd class="num">3</dd><dd class="sub">for their turn' in html
    assert 'data-stale-after="6"' in html and "data-stale>" not in html
    for name in ("queued", "loading model", "warm-up", "steady"):
        assert f"<title>{name}: " in html
    assert "loading model: 20 s" in html and "<title>tail" not in html


def test_what_nobody_measures_is_not_shown_as_if_it_were_known(page, project):
    _, lane = make_worker()
    batch = make_batch(project=project, texts=["t"], open_lines=999)
    claim(batch, lane)
    measured(batch, answered=500, read_s_ago=60)
    html = figures(page, batch)
    assert "data-stale>" in html and "Nobody measures this batch" in html
    assert '<dl class="figures aged">' in html
    assert "≈" not in html and "running requests" in html and '<dd class="num">7</dd>' not in html
    # The page itself begins with the same words.
    assert "Nobody measures this batch" in page.get(f"/batches/{batch.public_id}").content.decode()


def test_answers_are_drawn_by_length_and_duration_and_in_a_table(page, project):
    batch = make_batch(project=project, texts=["t"] * 4, state="completed")
    BatchResponse.objects.filter(batch=batch, seq__lte=3).update(
        finish_reason="stop", latency_ms=2_000
    )
    BatchResponse.objects.filter(batch=batch, seq=4).update(
        finish_reason="length", latency_ms=30_000
    )
    assert "They are counted by a worker" in figures(page, batch)
    update_summaries(every=True)
    html = figures(page, batch)
    assert "<title>512 to 1,023 tokens: 4 answers</title>" in html
    assert "<td>512 to 1,023 tokens</td><td>4</td>" in html
    assert "<td>1.8 s to 2.6 s</td><td>3</td>" in html
    assert "<code>stop</code>" in html and "75.0 %" in html
    assert "cut at its limit of tokens" in html
    assert "counted up to" not in html


def test_figures_that_lag_say_so(page, project):
    batch = make_batch(project=project, texts=["t"] * 4)
    update_summaries()
    Batch.objects.filter(pk=batch.pk).update(last_seq=10)
    assert "counted up to 4 of 10 answers" in figures(page, batch)


def test_errors_are_grouped_and_lead_to_examples(page, project):
    batch = make_batch(project=project, texts=["t"], errors=["<b>bad</b>", "bad"])
    update_summaries()
    html = figures(page, batch)
    assert "<code>BadRequestError</code>" in html and "&lt;b&gt;bad" in html
    assert f'href="/batches/{batch.public_id}/lines/1"><bdi>line-1</bdi>' in html
    assert f'href="/batches/{batch.public_id}/lines/2"><bdi>line-2</bdi>' in html
    StoredFile.objects.filter(errors_of=batch).update(deleted_at=timezone.now())
    assert "&lt;b&gt;bad" not in figures(page, batch)
    assert "deleted or expired" in figures(page, batch)


@pytest.mark.parametrize(
    ("fields", "absent"),
    [
        ({"state": "failed"}, "measured-title"),
        ({"state": "validating"}, "measured-title"),
        ({"state": "expired", "errors": ["no"]}, "measured-title"),
        ({"state": "completed", "texts": ["a"], "imported_at": timezone.now()}, "measured-title"),
    ],
)
def test_what_was_never_measured_here_has_no_figures_of_it(page, project, fields, absent):
    batch = make_batch(project=project, **fields)
    assert absent not in figures(page, batch)
    assert page.get(f"/batches/{batch.public_id}").status_code == 200


def test_a_batch_that_ended_says_how_it_ran(page, project):
    start = timezone.now() - timedelta(seconds=100)
    batch = make_batch(
        project=project,
        state="completed",
        texts=["t"] * 50,
        created_at=start - timedelta(seconds=5),
        first_response_at=start,
        last_response_at=start + timedelta(seconds=10),
        ended_at=start + timedelta(seconds=11),
    )
    html = figures(page, batch)
    assert "How it ran" in html and "on average" in html and "Time left" not in html
    assert '<dd class="num nowrap">5 s</dd>' in html and '<dd class="num nowrap">10 s</dd>' in html
    assert '<dd class="num">5</dd>' in html and "data-stale-after" not in html


def test_charts_stand_where_there_is_something_to_draw(page, project):
    live = make_batch(project=project, open_lines=5)
    ended = make_batch(project=project, state="completed", texts=["t"])
    imported = make_batch(project=project, texts=["t"], imported_at=timezone.now())

    def charts(batch: Batch) -> int:
        html = page.get(f"/batches/{batch.public_id}").content.decode()
        return html.count(f'data-src="/api/series?batch={batch.public_id}"')

    assert [charts(one) for one in (live, ended, imported)] == [3, 0, 0]
    measured(ended, answered=1)
    assert charts(ended) == 3
    # What is polled holds none: they ask for their own numbers.
    assert "data-chart" not in figures(page, live)


def test_the_same_figures_are_sent_once_and_foreign_ones_not_at_all(page, strange_page, project):
    batch = make_batch(project=project, texts=["t"])
    address = f"/batches/{batch.public_id}/figures"
    first = page.get(address)
    assert page.get(address, headers={"If-None-Match": first["ETag"]}).status_code == 304
    assert strange_page.get(address).status_code == 404


def test_the_number_of_queries_is_fixed(page, project, django_assert_num_queries):
    _, lane = make_worker()
    batch = make_batch(project=project, texts=["t"] * 20, errors=["e"] * 9, open_lines=500)
    claim(batch, lane)
    measured(batch, answered=29)
    update_summaries()
    # Session, person, overdue, batch, summary, series, samples, examples.
    with django_assert_num_queries(8):
        figures(page, batch)


def test_bars_stand_within_their_drawing():
    bars = [Bar(low=2**n, high=2 ** (n + 1), count=n) for n in range(18)]
    bars.append(Bar(low=2**18, high=None, count=100_000))
    chart = lay_out("Tokens", "tokens", bars)
    for rect in chart.rects:
        assert chart.left <= rect.x and rect.x + rect.width <= chart.right
        assert chart.ceiling <= rect.y and rect.y + rect.height <= chart.floor + 0.1
        assert (rect.height > 0) == (rect.count > 0)
    assert len(chart.ticks) <= 6
    assert chart.rects[-1].range == "262,144 tokens and more"
    assert lay_out("Nothing", "ms", []).rects == []


def test_the_object_of_the_api_can_be_looked_at(page, strange_page, project):
    batch = make_batch(project=project, texts=["t"], metadata={"who": "<i>me</i>"})
    address = f"/batches/{batch.public_id}/object"
    html = page.get(address).content.decode()
    assert "&quot;object&quot;: &quot;batch&quot;" in html and "&lt;i&gt;me" in html
    assert strange_page.get(address).status_code == 404
