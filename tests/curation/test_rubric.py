"""Rubrics and figures of agreement, the latter held against reference implementations."""

from __future__ import annotations

import warnings

import krippendorff
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from curation.agreement import alpha, kappa
from curation.rubric import (
    EXAMPLE,
    Dimension,
    InvalidRubric,
    InvalidValue,
    check_values,
    differ,
    rating_of,
    read_rubric,
)


def test_a_rubric_is_read_line_by_line():
    assert read_rubric(EXAMPLE) == [
        Dimension(name="quality", kind="rating"),
        Dimension(name="usable", kind="good/bad"),
        Dimension(name="tone", kind="choice", options=("formal", "casual", "rude")),
        Dimension(
            name="flaws", kind="choices", options=("wrong", "invented", "cut off"), optional=True
        ),
        Dimension(name="why", kind="text", optional=True),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("quality", "Line 1"),
        ("ok: rating\nquality: stars", "Line 2"),
        ("tone: choice one", "2 to 20 options"),
        ("quality: rating 1, 2", "takes no options"),
        ("a: rating\nA: rating", "Two dimensions"),
        ("<b>: rating", "Line 1"),
    ],
)
def test_what_is_wrong_with_a_rubric_is_said(text, words):
    with pytest.raises(InvalidRubric, match=words):
        read_rubric(text)


def test_values_are_checked_and_kept_in_order():
    rubric = read_rubric(EXAMPLE)
    given_ = {"quality": "7", "usable": "good", "tone": "rude", "flaws": ["cut off", "wrong"]}
    assert check_values(rubric, given_, complete=True) == {
        "quality": 7,
        "usable": "good",
        "tone": "rude",
        "flaws": ["wrong", "cut off"],
    }
    assert check_values(rubric, {"why": "so"}, complete=False) == {"why": "so"}
    for wrong in ({"quality": 0}, {"quality": True}, {"tone": "kind"}, {"other": 1}, {"why": "\0"}):
        with pytest.raises(InvalidValue):
            check_values(rubric, wrong, complete=False)
    with pytest.raises(InvalidValue) as caught:
        check_values(rubric, {"quality": 7}, complete=True)
    assert caught.value.name == "usable"
    assert rating_of(rubric, given_ | {"quality": 7}) == 7


def test_people_differ_in_what_is_not_nearly_the_same():
    rubric = read_rubric(EXAMPLE)
    assert differ(rubric, [{"quality": 7}, {"quality": 8}]) == []
    assert differ(rubric, [{"quality": 6}, {"quality": 8}]) == ["quality"]
    assert differ(rubric, [{"usable": "good"}, {"usable": "bad"}, {}]) == ["usable"]
    assert differ(rubric, [{"why": "a"}, {"why": "b"}]) == []


PAIRS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=40)


@given(PAIRS, st.booleans())
def test_kappa_is_that_of_the_reference(pairs, weighted):
    found = kappa(pairs, weighted=weighted)
    assume(found is not None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = cohen_kappa_score(
            [one for one, _ in pairs],
            [other for _, other in pairs],
            labels=[1, 2, 3, 4, 5],
            weights="quadratic" if weighted else None,
        )
    assert found == pytest.approx(wanted, abs=1e-9)


ITEMS = st.lists(
    st.lists(st.none() | st.integers(1, 5), min_size=3, max_size=3), min_size=2, max_size=30
)


@given(ITEMS, st.booleans())
def test_alpha_is_that_of_the_reference(items, interval):
    found = alpha(
        [[value for value in values if value is not None] for values in items], interval=interval
    )
    assume(found is not None)
    matrix = np.array([[np.nan if v is None else v for v in row] for row in items], dtype=float).T
    wanted = krippendorff.alpha(
        reliability_data=matrix, level_of_measurement="interval" if interval else "nominal"
    )
    assert found == pytest.approx(wanted, abs=1e-9)


def test_what_cannot_be_compared_has_no_figure():
    assert kappa([]) is None and kappa([(1, 1), (1, 1)]) is None
    assert alpha([]) is None and alpha([[1], [2]]) is None and alpha([[1, 1], [1, 1]]) is None
    assert alpha([["a", "a"], ["b", "b"]]) == 1
