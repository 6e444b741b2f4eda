"""What answers add up to: counted once each, whoever counts, and however often."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from jobs.models import Batch, BatchResponse
from monitoring.models import BatchSummary, DayTally
from monitoring.quantities import HISTOGRAM_BOUNDS
from monitoring.services import summaries
from monitoring.services.summaries import behind_by, summarise_batch, update_summaries
from tests.cast import answer_line, make_batch

pytestmark = pytest.mark.django_db


def test_every_answer_is_counted_once(monkeypatch):
    monkeypatch.setattr(summaries, "SLICE", 3)
    batch = make_batch(texts=["a", "b", "c", "d", "e"], errors=["bad", "worse"])
    BatchResponse.objects.filter(seq=1).update(output_tokens=0, latency_ms=15, finish_reason="stop")
    BatchResponse.objects.filter(seq=2).update(finish_reason="length")
    assert behind_by() == 7
    assert update_summaries() == 7
    assert update_summaries() == 0 == behind_by()
    summary = BatchSummary.objects.get(batch=batch)
    assert summary.seq == 7
    # 10 is within [8, 16), the fifth bucket; 1,000 within [512, 1024); 0 below all.
    assert summary.histograms["input_tokens"] == {"4": 5}
    assert summary.histograms["output_tokens"] == {"10": 4, "0": 1}
    assert summary.histograms["latency_ms"] == {"2": 1}
    assert summary.finish_reasons == {"stop": 1, "length": 1, "": 3}
    assert summary.errors == {
        "BadRequestError": {"count": 2, "message": "bad", "positions": [5, 6]}
    }


def test_the_buckets_are_where_the_bounds_say():
    for name, bounds in HISTOGRAM_BOUNDS.items():
        assert list(bounds) == sorted(set(bounds)), name
    values = [0, 1, 2, 3, 4, 1_023, 1_024, 131_071, 131_072, 900_000]
    batch = make_batch(texts=["t"] * len(values))
    for seq, value in enumerate(values, start=1):
        BatchResponse.objects.filter(batch=batch, seq=seq).update(input_tokens=value)
    update_summaries()
    found = BatchSummary.objects.get(batch=batch).histograms["input_tokens"]
    bounds = HISTOGRAM_BOUNDS["input_tokens"]
    expected = Counter(str(sum(bound <= value for bound in bounds)) for value in values)
    assert found == dict(expected)


def test_answers_go_on_being_counted_as_they_come():
    batch = make_batch(texts=["a"], open_lines=1)
    update_summaries()
    batch.requests.filter(position=1).delete()
    answer_line(batch, 1, texts=["a", "b"], errors=[])
    Batch.objects.update(last_seq=2)
    assert update_summaries() == 1
    assert BatchSummary.objects.get().histograms["output_tokens"] == {"10": 2}


def test_tallies_are_by_day_and_stay_when_the_batch_goes():
    batch = make_batch(texts=["a", "b"], errors=["bad"])
    yesterday = datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC)
    BatchResponse.objects.filter(seq=1).update(created_at=yesterday)
    other = make_batch(texts=["c"])
    update_summaries()
    update_summaries(every=True)
    rows = {
        tally.day.isoformat(): (tally.completed, tally.failed, tally.output_tokens)
        for tally in DayTally.objects.all()
    }
    today = timezone.now().date().isoformat()
    assert rows == {"2026-11-24": (1, 0, 1_000), today: (2, 1, 2_000)}
    for one in (batch, other):
        one.delete()
    assert DayTally.objects.count() == 2 and not BatchSummary.objects.exists()


def test_the_day_is_that_of_the_servers_zone(settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    make_batch(texts=["a"])
    BatchResponse.objects.update(created_at=datetime(2026, 11, 24, 15, 30, tzinfo=UTC))
    update_summaries()
    assert DayTally.objects.get().day.isoformat() == "2026-11-25"


def test_imported_answers_are_summarised_but_not_tallied():
    batch = make_batch(texts=["a"], imported_at=timezone.now())
    update_summaries()
    assert BatchSummary.objects.get(batch=batch).seq == 1
    assert not DayTally.objects.exists()


def test_what_ended_long_ago_is_counted_by_the_full_pass_alone():
    old = timezone.now() - timedelta(days=2)
    make_batch(texts=["a"], state="completed", ended_at=old)
    assert update_summaries() == 0
    assert update_summaries(every=True) == 1


def test_a_server_that_makes_up_error_codes_fills_no_table(monkeypatch):
    monkeypatch.setattr(summaries, "ERROR_KINDS", 2)
    batch = make_batch(errors=["x"] * 5)
    for seq in range(1, 6):
        BatchResponse.objects.filter(batch=batch, seq=seq).update(error_code=f"code-{seq}")
    assert summarise_batch(batch_id=batch.pk) == 5
    errors = BatchSummary.objects.get().errors
    assert {code: known["count"] for code, known in errors.items()} == {
        "code-1": 1,
        "code-2": 1,
        "other": 3,
    }
