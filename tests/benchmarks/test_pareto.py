"""The front has every point that no other beats, and none that one does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.pareto import front


def test_the_front_is_of_those_that_are_not_beaten():
    fast, middle, good = (100.0, 0.5), (80.0, 0.7), (20.0, 0.9)
    slow, worse, poor = (79.0, 0.7), (80.0, 0.6), (100.0, 0.4)
    assert front([good, slow, fast, worse, middle, poor]) == [0, 2, 4]
    assert front([]) == []
    assert front([fast]) == [0]


def test_of_several_at_one_place_all_are_in_the_front():
    assert front([(1.0, 1.0), (0.0, 1.0), (1.0, 1.0), (2.0, 0.5), (1.0, 1.0)]) == [0, 2, 3, 4]


# Few values, so that many are equal.
points = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12)


@given(points)
def test_the_front_is_what_its_definition_says(points):
    def beats(one, other):
        return one != other and one[0] >= other[0] and one[1] >= other[1]

    expected = [
        place for place, point in enumerate(points) if not any(beats(one, point) for one in points)
    ]
    assert front(points) == expected
