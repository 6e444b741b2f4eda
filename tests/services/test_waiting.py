"""What a batch is said to wait for while others of its model come first."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import Batch, Lane
from jobs.services.chunks import claim_chunks
from jobs.services.served_models import save_model
from jobs.services.waiting import waiting_for, waiting_for_each

pytestmark = pytest.mark.django_db

# Is a worker alive; chunks at work; lanes; models that failed to load; who comes before whom.
QUERIES = 5


def reasons(*batches: Batch) -> list[str | None]:
    found = waiting_for_each(
        Batch.objects.select_related("model").filter(pk__in=[b.pk for b in batches])
    )
    return [found.get(batch.pk) for batch in batches]


def test_a_batch_is_told_how_much_of_its_model_comes_before_it(make_batch, lane):
    first, second, third = make_batch(10), make_batch(1_500), make_batch(3)
    Batch.objects.filter(pk=first.pk).update(completed=4, failed=1)
    assert reasons(first, second, third) == [
        "a lane to take it up",
        "1 batch of 'm' before it, with 5 lines left",
        "2 batches of 'm' before it, with 1,505 lines left",
    ]


def test_a_higher_priority_comes_first_whatever_its_age(make_batch, lane):
    low, plain, urgent = make_batch(1, priority=-1), make_batch(2), make_batch(4, priority=1)
    assert reasons(low, plain, urgent) == [
        "2 batches of 'm' before it, with 6 lines left",
        "1 batch of 'm' before it, with 4 lines left",
        "a lane to take it up",
    ]


def test_batches_that_nobody_would_claim_are_not_before_it(make_batch, lane):
    now = timezone.now()
    paused, expired, ended, elsewhere = (make_batch(1) for _ in range(4))
    Batch.objects.filter(pk=paused.pk).update(paused_at=now)
    Batch.objects.filter(pk=expired.pk).update(expires_at=now - timedelta(seconds=1))
    Batch.objects.filter(pk=ended.pk).update(state="completed")
    other = save_model(name="other", source="/models/other").model
    Batch.objects.filter(pk=elsewhere.pk).update(model=other)
    last = make_batch(1)
    assert reasons(elsewhere, last) == ["a lane to take it up"] * 2


def test_a_batch_at_work_is_before_the_next_and_waits_for_nothing(make_batch, model, lane):
    first, second = make_batch(2), make_batch(2)
    claim_chunks(lane_id=lane.pk, model_id=model.pk, limit=1)
    assert reasons(first, second) == [None, "1 batch of 'm' before it, with 2 lines left"]
    assert waiting_for(second) == "1 batch of 'm' before it, with 2 lines left"


@pytest.mark.parametrize("count", [2, 30])
def test_saying_it_costs_the_same_however_many_wait(
    make_batch, lane, count, django_assert_num_queries
):
    ids = [make_batch(1).pk for _ in range(count)]
    batches = list(Batch.objects.select_related("model").filter(pk__in=ids))
    with django_assert_num_queries(QUERIES):
        found = waiting_for_each(batches)
    assert found[ids[-1]].startswith(f"{count - 1} batch")


def test_a_start_that_is_held_back_says_why(make_batch, model, lane):
    batch = make_batch(2)
    Lane.objects.update(wanted_model=model, start_held_back="GPU 0 of h to cool down: it has 91 °C")
    assert reasons(batch) == ["GPU 0 of h to cool down: it has 91 °C"]
