"""Which model a lane works for next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from jobs.scheduler import Candidate, choose

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def candidate(model_id: int, *, waited_s: float = 0, **fields) -> Candidate:
    values = {"priority": 0, "load_s": 30.0, "served_elsewhere": False, **fields}
    return Candidate(model_id=model_id, waiting_since=NOW - timedelta(seconds=waited_s), **values)


def test_nothing_to_do_is_no_model():
    assert choose([], loaded_model_id=1, now=NOW) is None


def test_the_loaded_model_goes_on_before_an_older_one_of_higher_priority():
    found = [candidate(1, waited_s=5), candidate(2, waited_s=500, priority=1)]
    assert choose(found, loaded_model_id=1, now=NOW) == 1


def test_another_model_is_switched_to_after_ten_minutes():
    found = [candidate(1), candidate(2, waited_s=601)]
    assert choose(found, loaded_model_id=1, now=NOW) == 2


def test_a_slow_loader_has_to_wait_ten_times_its_load():
    found = [candidate(1), candidate(2, waited_s=900, load_s=100)]
    assert choose(found, loaded_model_id=1, now=NOW) == 1
    found = [candidate(1), candidate(2, waited_s=1_001, load_s=100)]
    assert choose(found, loaded_model_id=1, now=NOW) == 2


def test_two_models_that_both_waited_long_do_not_take_the_lane_from_each_other():
    found = [candidate(1, waited_s=5_000), candidate(2, waited_s=6_000)]
    just_loaded = NOW - timedelta(seconds=30)
    assert choose(found, loaded_model_id=1, now=NOW, loaded_at=just_loaded) == 1
    assert choose(found, loaded_model_id=2, now=NOW, loaded_at=just_loaded) == 2
    long_ago = NOW - timedelta(seconds=700)
    assert choose(found, loaded_model_id=1, now=NOW, loaded_at=long_ago) == 2


def test_no_switch_for_a_model_that_another_lane_serves():
    found = [candidate(1), candidate(2, waited_s=9_999, served_elsewhere=True)]
    assert choose(found, loaded_model_id=1, now=NOW) == 1


def test_an_idle_lane_takes_priority_then_age():
    found = [candidate(1, waited_s=50), candidate(2, waited_s=90), candidate(3, priority=1)]
    assert choose(found, loaded_model_id=None, now=NOW) == 3
    assert choose(found[:2], loaded_model_id=None, now=NOW) == 2


def test_an_idle_lane_helps_first_where_nobody_does():
    found = [
        candidate(1, priority=1, waited_s=99, served_elsewhere=True),
        candidate(2, priority=-1),
    ]
    assert choose(found, loaded_model_id=None, now=NOW) == 2


candidates = st.builds(
    lambda model_id, waited_s, priority, load_s, elsewhere: candidate(
        model_id,
        waited_s=waited_s,
        priority=priority,
        load_s=load_s,
        served_elsewhere=elsewhere,
    ),
    st.integers(1, 9),
    st.floats(0, 10_000),
    st.sampled_from([-1, 0, 1]),
    st.floats(0, 500),
    st.booleans(),
)


@given(st.lists(candidates, min_size=1, unique_by=lambda c: c.model_id), st.integers(1, 9))
def test_a_candidate_is_chosen_whenever_there_is_one(found, loaded):
    assert choose(found, loaded_model_id=loaded, now=NOW) in {c.model_id for c in found}


@given(st.lists(candidates, min_size=1, unique_by=lambda c: c.model_id), st.integers(1, 9))
def test_the_choice_does_not_hang_on_the_order_of_the_candidates(found, loaded):
    ties = {(c.served_elsewhere, c.priority, c.waiting_since) for c in found}
    if len(ties) < len(found) or len({c.waiting_since for c in found}) < len(found):
        return
    forward = choose(found, loaded_model_id=loaded, now=NOW)
    assert choose(found[::-1], loaded_model_id=loaded, now=NOW) == forward
