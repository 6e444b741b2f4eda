"""Verdicts are right as often as they say, and the same each time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.verdicts import Verdict, verdict

TRIALS = 1_000
QUIET = [100.0, 101.0, 99.0, 100.5, 99.5]


def trials(*, slower_by: float, seed: int) -> list[Verdict]:
    """Return the verdicts of runs of 5 repeats that spread by 3 %."""
    draw = random.Random(seed)
    found = []
    for _ in range(TRIALS):
        baseline = [draw.gauss(1_000, 30) for _ in range(5)]
        candidate = [draw.gauss(1_000, 30) * (1 - slower_by) for _ in range(5)]
        found.append(verdict(baseline, candidate, higher_is_better=True, smallest_effect=0.05))
    return found


def test_noise_is_called_noise_and_its_interval_holds_the_truth():
    found = trials(slower_by=0, seed=1)
    assert sum(one.name == "noise" for one in found) >= 0.95 * TRIALS
    # 95 % within three standard errors: an interval too wide would hide what is there.
    held = sum(one.low <= 0 <= one.high for one in found)
    assert 0.93 * TRIALS <= held <= 0.97 * TRIALS


def test_a_planted_regression_is_called_a_regression():
    found = trials(slower_by=0.10, seed=2)
    assert sum(one.name == "regressed" for one in found) >= 0.95 * TRIALS
    held = sum(one.low <= -0.10 <= one.high for one in found)
    assert 0.93 * TRIALS <= held <= 0.97 * TRIALS


def test_more_is_better_or_worse_as_the_metric_says():
    more = [value * 1.2 for value in QUIET]
    assert verdict(QUIET, more, higher_is_better=True).name == "improved"
    assert verdict(QUIET, more, higher_is_better=False).name == "regressed"
    assert verdict(more, QUIET, higher_is_better=True).name == "regressed"
    assert verdict(more, QUIET, higher_is_better=False).name == "improved"


def test_the_change_is_relative_and_lies_in_its_interval():
    found = verdict(QUIET, [value * 0.8 for value in QUIET], higher_is_better=True)
    assert found.change == pytest.approx(-0.2)
    assert -0.22 < found.low < -0.2 < found.high < -0.18


def test_a_change_beyond_doubt_is_noise_below_the_smallest_effect():
    less = [value * 0.96 for value in QUIET]
    assert verdict(QUIET, less, higher_is_better=True).name == "noise"
    found = verdict(QUIET, less, higher_is_better=True, smallest_effect=0.03)
    assert found.name == "regressed"
    assert found.high < 0


def test_a_large_change_is_noise_where_the_repeats_spread_as_far():
    found = verdict([60, 100, 140], [50, 85, 120], higher_is_better=True)
    assert found.name == "noise"
    assert found.change < -0.1
    assert found.low < 0 < found.high


def test_repeats_that_do_not_spread_have_no_margin():
    found = verdict([5.0] * 3, [4.0] * 3, higher_is_better=True)
    assert (found.name, found.low, found.high) == ("regressed", found.change, found.change)
    assert verdict([5.0] * 3, [5.0] * 4, higher_is_better=True).name == "noise"


@pytest.mark.parametrize(
    ("baseline", "candidate"), [([10, 11], QUIET), (QUIET, [10]), ([10], [5]), ([10, 10], [5, 5])]
)
def test_fewer_than_three_repeats_are_too_few(baseline, candidate):
    found = verdict(baseline, candidate, higher_is_better=True)
    assert (found.name, found.low, found.high) == ("too few", None, None)
    assert found.change is not None


def test_no_repeat_has_no_change():
    assert verdict([], QUIET, higher_is_better=True) == Verdict(name="too few", change=None)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_what_is_no_amount_is_refused(value):
    with pytest.raises(ValueError, match="cannot be compared"):
        verdict(QUIET, [*QUIET, value], higher_is_better=True)


def test_a_share_may_fall_to_nothing():
    found = verdict([0.5, 0.51, 0.49], [0.0, 0.0, 0.0], higher_is_better=True)
    assert (found.name, found.change) == ("regressed", -1)
    assert -1 == found.low < found.high < -0.9, "nothing falls by more than all of it"
    assert verdict([1.0, 0.0, 1.0], [0.0, 1.0, 1.0], higher_is_better=True).name == "noise"
    with pytest.raises(ValueError, match="baseline of 0"):
        verdict([0.0] * 3, QUIET, higher_is_better=True)


@pytest.mark.parametrize("effect", [0, 1, -0.05])
def test_a_smallest_effect_outside_of_its_bounds_is_refused(effect):
    with pytest.raises(ValueError, match="smallest effect"):
        verdict(QUIET, QUIET, higher_is_better=True, smallest_effect=effect)


several = st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=6)


@settings(max_examples=30, deadline=None)
@given(several, several)
def test_verdicts_are_the_same_each_time_and_in_every_unit(baseline, candidate):
    found = verdict(baseline, candidate, higher_is_better=True)
    assert found == verdict(baseline, candidate, higher_is_better=True)
    assert found.low <= found.change <= found.high
    in_milli = verdict(
        [value * 1_000 for value in baseline],
        [value * 1_000 for value in candidate],
        higher_is_better=True,
    )
    assert in_milli.change == pytest.approx(found.change, abs=1e-6)


def test_values_far_apart_have_an_interval():
    found = verdict([1e-300, 1, 1e300], [1e300, 1, 1e-300], higher_is_better=True)
    assert found.name == "noise"
    assert found.low < 0 < found.high
