"""Which lanes the supervisor calls again: those whose task is not at work."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import Lane
from jobs.services.lanes import silent_lanes
from tests.cast import make_worker

pytestmark = pytest.mark.django_db


def test_only_a_lane_that_is_silent_and_was_not_just_called_is_called():
    _, lane = make_worker()
    just_now, long_ago = timezone.now(), timezone.now() - timedelta(minutes=1)
    for times in ({"task_seen_at": just_now}, {"kicked_at": just_now}):
        Lane.objects.update(**{"task_seen_at": long_ago, "kicked_at": long_ago, **times})
        assert silent_lanes([lane.pk]) == [], times
    for at in (None, long_ago):
        Lane.objects.update(task_seen_at=at, kicked_at=at)
        assert silent_lanes([lane.pk]) == [lane]
        assert silent_lanes([lane.pk + 1]) == []
