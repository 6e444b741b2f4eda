"""Means and percentiles are those of what was observed between two readings."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.percentiles import bucket_figures
from jobs.engines.figures import Histogram

BOUNDS = [0.1, 0.5, 1.0, 2.0, 5.0, math.inf]


def reading(observed):
    """What an engine says after these observations, as it is kept."""
    histogram = Histogram(total=sum(observed), count=len(observed))
    for bound in BOUNDS:
        histogram.buckets[bound] = sum(value <= bound for value in observed)
    return histogram.as_json()


def test_percentiles_are_interpolated_within_their_bucket():
    # 10 up to 0.1, 80 from 0.5 to 1, 10 from 2 to 5 seconds.
    found = bucket_figures(None, reading([0.05] * 10 + [0.75] * 80 + [3.0] * 10))
    assert found == {
        "mean": pytest.approx(905),
        "median": pytest.approx(500 + 500 * 40 / 80),
        "p90": pytest.approx(1_000),
        "p99": pytest.approx(2_000 + 3_000 * 9 / 10),
    }


def test_the_first_bucket_begins_at_nothing():
    assert bucket_figures(None, reading([0.1] * 4))["median"] == pytest.approx(50)


def test_a_percentile_in_the_open_bucket_is_not_told():
    found = bucket_figures(None, reading([0.05] * 95 + [60.0] * 5))
    assert set(found) == {"mean", "median", "p90"}
    assert found["mean"] == pytest.approx((95 * 0.05 + 5 * 60) * 10)
    assert set(bucket_figures(None, reading([60.0]))) == {"mean"}


@pytest.mark.parametrize("before", [None, reading([]), reading([0.3, 7.0])])
def test_nothing_observed_has_no_figures(before):
    assert bucket_figures(before, before) is None
    assert bucket_figures(before, None) is None


def test_an_engine_that_was_started_anew_has_no_figures():
    assert bucket_figures(reading([0.3] * 9), reading([0.3] * 4)) is None
    # More than before, but not on top of it.
    assert bucket_figures(reading([0.05] * 9), reading([3.0] * 12)) is None


seconds = st.floats(0.001, 20)


@given(st.lists(seconds), st.lists(seconds, min_size=1))
def test_only_what_came_between_counts(earlier, between):
    found = bucket_figures(reading(earlier), reading(earlier + between))
    alone = bucket_figures(None, reading(between))
    assert found.keys() == alone.keys()
    assert found == pytest.approx(alone, rel=1e-6)
    assert found["mean"] == pytest.approx(statistics.fmean(between) * 1_000, rel=1e-6)


@given(st.lists(seconds, min_size=1))
def test_a_percentile_lies_in_the_bucket_of_the_value_that_it_stands_for(observed):
    found = bucket_figures(None, reading(observed))
    for name, share in (("median", 0.5), ("p90", 0.9), ("p99", 0.99)):
        value = sorted(observed)[math.ceil(share * len(observed)) - 1]
        high = next(bound for bound in BOUNDS if value <= bound)
        low = max((bound for bound in BOUNDS if bound < value), default=0.0)
        if high == math.inf:
            assert name not in found
        else:
            assert low - 1e-9 <= found[name] / 1_000 <= high + 1e-9
