"""JSON answers are compared by their fields, whatever their order and spacing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.json_fields import FIELDS_MAX, compare_fields, flatten, read_json_object

LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
OBJECTS = st.dictionaries(
    st.text(max_size=4),
    st.recursive(LEAVES, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(), one)),
    max_size=4,
)


def test_fields_are_set_side_by_side_and_those_missing_are_missing():
    rows = compare_fields(
        ['{"a": 1, "b": {"c": [true]}}', '```json\n{"b":{"c":[false]},"d":2}\n```']
    )
    assert [(row.path, row.values, row.is_same) for row in rows] == [
        ("a", ["1", None], False),
        ("b.c[0]", ["true", "false"], False),
        ("d", [None, "2"], False),
    ]


def test_what_is_no_object_is_compared_as_text():
    assert compare_fields(['{"a": 1}', "a is 1"]) is None
    assert compare_fields(["[1]", "[1]"]) is None
    assert compare_fields(['{"a": 1}', None]) is None
    assert read_json_object("{" * 100_000) is None


@given(OBJECTS)
def test_order_and_spacing_make_no_difference(value):
    turned = dict(reversed(list(value.items())))
    rows = compare_fields([json.dumps(value), json.dumps(turned, indent=3)])
    assert rows is not None and all(row.is_same for row in rows)


def test_of_very_many_fields_those_that_differ_are_kept():
    value = {f"key{n}": n for n in range(5_000)}
    turned = dict(reversed(list(value.items()))) | {"key4321": -1}
    rows = compare_fields([json.dumps(value), json.dumps(turned)])
    assert len(rows) == FIELDS_MAX
    assert [row.path for row in rows if not row.is_same] == ["key4321"] == [rows[0].path]


def test_deep_objects_are_bounded():
    deep = value = {}
    for _ in range(500):
        value["x"] = {}
        value = value["x"]
    assert len(flatten(deep)) == 1


@pytest.mark.parametrize("depth", [500, 900, 940, 960, 980, 1_000, 5_000])
def test_as_deep_as_it_may_be_nothing_breaks(depth):
    text = '{"a":' * depth + "1" + "}" * depth
    rows = compare_fields([text, text])
    assert rows is None or rows[0].is_same
