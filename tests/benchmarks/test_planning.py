"""Plans: from a run's rate to the time and the price of more of the same."""

from __future__ import annotations

import pytest

from benchmarks.planning import plan


def test_the_steady_rate_counts_and_more_gpus_share_the_work_at_the_same_price():
    figures = {
        "requests_per_s": 8.0,
        "steady": {"requests_per_s": 10.0},
        "duration_s": 100.0,
        "gpu_seconds": 200.0,
        "cost": 5.0,
    }
    one, two = plan(figures, requests=50_000), plan(figures, requests=50_000, factor=2)
    assert one is not None and two is not None
    assert (one.seconds, two.seconds) == (5_000, 2_500)
    assert one.gpu_seconds == two.gpu_seconds == 10_000
    assert one.cost == two.cost == pytest.approx(250)


def test_without_a_rate_there_is_no_plan():
    assert plan({}, requests=10) is None
    found = plan({"requests_per_s": 2.0}, requests=10)
    assert found is not None and (found.seconds, found.cost, found.gpu_seconds) == (5, None, None)
