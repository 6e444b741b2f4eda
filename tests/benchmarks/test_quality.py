"""Checks pass what they should, and no check of anybody's keeps a process busy."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.quality import KINDS, InvalidCheck, make_check
from benchmarks.schemas import EXPANDED_MAX

PERSON = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "name": {"$ref": "#/$defs/word"},
        "aliases": {"type": "array", "items": {"$ref": "#/$defs/word"}},
        "age": {"type": "integer", "minimum": 0},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"word": {"type": "string", "pattern": "^[A-Z]"}},
}


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        ({"kind": "json"}, [' {"a": [1, null]}\n', "3", '"x"'], ["", "{'a': 1}", "NaN", "1 2"]),
        ({"kind": "json"}, ["1e5"], ['```json\n{"a": 1}\n```', '{"a": 1', "[" * 100_000]),
        (
            {"kind": "json_schema", "schema": PERSON},
            ['{"name": "Ada"}', '{"name": "Ada", "aliases": ["A", "B"], "age": 36}'],
            ['{"name": "ada"}', '{"name": "Ada", "age": -1}', '{"name": "Ada", "x": 1}', "Ada"],
        ),
        ({"kind": "contains", "text": "Paris"}, ["It is Paris."], ["It is paris.", ""]),
        (
            {"kind": "contains", "text": "STRASSE", "ignore_case": True},
            ["Die Straße"],
            ["Der Weg"],
        ),
        ({"kind": "regex", "pattern": r"^\d{4}$"}, ["2024"], ["2024\n", "12024", "٢٠٢٤"]),
        ({"kind": "regex", "pattern": r"(?i)\bhello\b"}, ["Say HELLO."], ["othello"]),
        ({"kind": "exact", "text": "42\n"}, ["42", " 42 \n"], ["4 2", "The answer is 42", ""]),
    ],
)
def test_a_check_passes_the_good_and_not_the_bad(check, good, bad):
    made = make_check(check)
    assert made.kind == check["kind"]
    for text in good:
        assert made.passes(text), made.why_not(text, "")
    for text in bad:
        assert not made.passes(text)
        assert made.why_not(text, "")


def test_gold_is_equal_but_for_white_space():
    made = make_check({"kind": "gold"})
    assert made.passes("one  two\n", expected=" one\ntwo")
    assert not made.passes("onetwo", expected="one two")
    assert not made.passes("One two", expected="one two")


def test_what_is_wrong_is_said_with_its_place():
    made = make_check({"kind": "json_schema", "schema": PERSON})
    assert made.why_not('{"name": "Ada", "aliases": ["A", 3]}', "") == (
        "At ['aliases'][1]: 3 is not of type \"string\""
    )
    assert len(made.why_not(json.dumps({"name": "a" * 10_000}), "")) <= 200


def test_a_check_says_in_words_what_the_answer_must_be():
    assert make_check({"kind": "exact", "text": " yes "}).words == 'is "yes"'
    long = make_check({"kind": "contains", "text": "word \n" * 100}).words
    assert long.endswith('..."')
    assert len(long) < 80


@pytest.mark.parametrize(
    ("check", "says"),
    [
        ({}, "one of json, json_schema"),
        ({"kind": "magic"}, "gold, not 'magic'."),
        ({"kind": ["json"]}, "one of json"),
        ({"kind": "json", "text": "x"}, "has no field 'text'"),
        ({"kind": "contains"}, "needs a 'text'"),
        ({"kind": "contains", "text": ""}, "needs a 'text'"),
        ({"kind": "contains", "text": "a\0"}, "without NUL"),
        ({"kind": "exact", "text": "\ud800"}, "without NUL or half"),
        ({"kind": "contains", "text": "a", "ignore_case": 1}, "true or false"),
        ({"kind": "exact", "text": "x" * 10_001}, "10,000"),
        ({"kind": "regex"}, "needs a string"),
        ({"kind": "regex", "pattern": ""}, "1 to 1,000"),
        ({"kind": "regex", "pattern": "a" * 1_001}, "1 to 1,000"),
        ({"kind": "regex", "pattern": "("}, "cannot be run"),
        ({"kind": "regex", "pattern": r"(a)\1"}, "back-references"),
        ({"kind": "regex", "pattern": "(?=a)b"}, "look-around"),
        ({"kind": "regex", "pattern": "(((a{1000}){1000}){1000})"}, "too large"),
        ({"kind": "regex", "pattern": "\0"}, "no NUL"),
        ({"kind": "json_schema"}, "needs an object"),
        ({"kind": "json_schema", "schema": True}, "needs an object"),
        ({"kind": "json_schema", "schema": {"type": "text"}}, "no JSON schema"),
        ({"kind": "json_schema", "schema": {"pattern": "(a)\\1"}}, "no JSON schema"),
        ({"kind": "json_schema", "schema": {"minimum": float("nan")}}, "no JSON schema"),
        ({"kind": "json_schema", "schema": {"const": "a\0"}}, "NUL"),
        ({"kind": "json_schema", "schema": {"title": "x" * 70_000}}, "larger than 64 KiB"),
        ({"kind": "json_schema", "schema": {"$schema": "http://e.org/x"}}, "a draft from 6"),
        ({"kind": "json_schema", "schema": {"$ref": "http://127.0.0.1:9/"}}, "within the schema"),
        ({"kind": "json_schema", "schema": {"$ref": "file:///etc/passwd"}}, "within the schema"),
        ({"kind": "json_schema", "schema": {"$ref": "#/$defs/none"}}, "refers to nothing"),
        ({"kind": "json_schema", "schema": {"$dynamicRef": "#x"}}, "not supported"),
        ({"kind": "json_schema", "schema": {"not": {"$id": "http://e.org/"}}}, "at the root"),
    ],
)
def test_what_is_no_check_is_refused_with_a_reason(check, says):
    with pytest.raises(InvalidCheck, match=re.escape(says)):
        make_check(check)


def doubling(levels):
    """A schema of a few lines that comes to 2 to the power of `levels` parts."""
    names = {f"n{at}": {"allOf": [{"$ref": f"#/$defs/n{at + 1}"}] * 2} for at in range(levels)}
    return {"$ref": "#/$defs/n0", "$defs": {**names, f"n{levels}": {"type": "integer"}}}


@pytest.mark.timeout(30)
def test_a_long_answer_with_a_fault_in_each_item_is_done_at_once():
    names = {f"n{at}": {"anyOf": [{"$ref": f"#/$defs/n{at + 1}"}] * 2} for at in range(8)}
    schema = {
        "items": {"$ref": "#/$defs/n0"},
        "$defs": {**names, "n8": {"type": "string"}},
    }
    made = make_check({"kind": "json_schema", "schema": schema})
    assert made.why_not(json.dumps(list(range(10_000))), "").startswith("At [0]: 0 is not valid")


def deep(levels):
    schema = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"$ref": "#"}, "refers to itself"),
        ({"properties": {"child": {"$ref": "#"}}}, "refers to itself"),
        (
            {
                "$ref": "#/$defs/a",
                "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"items": {"$ref": "#/$defs/a"}}},
            },
            "refers to itself",
        ),
        (doubling(60), f"more than {EXPANDED_MAX:,} parts"),
        (deep(5_000), "too deep"),
    ],
)
def test_a_schema_that_would_grow_without_bound_is_refused(schema, says):
    with pytest.raises(InvalidCheck, match=re.escape(says)):
        make_check({"kind": "json_schema", "schema": schema})


def test_references_count_as_often_as_they_are_used():
    assert make_check({"kind": "json_schema", "schema": doubling(6)}).passes("3")
    escaped = {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "string"}}}
    made = make_check({"kind": "json_schema", "schema": escaped})
    assert made.passes('"x"')
    assert not made.passes("1")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){12}b$", r"(\w+\s?)*!$"])
def test_a_pattern_that_backtracks_elsewhere_is_done_at_once(pattern):
    """Python's own `re` would take longer than the universe has."""
    text = "a" * 50_000 + "c"
    assert not make_check({"kind": "regex", "pattern": pattern}).passes(text)
    schema = {"patternProperties": {pattern: False}, "additionalProperties": True}
    made = make_check({"kind": "json_schema", "schema": schema})
    assert made.passes(json.dumps({text: 1}))


def test_an_answer_as_deep_as_it_likes_is_no_error():
    made = make_check({"kind": "json_schema", "schema": {"type": "array"}})
    for depth in (100, 300, 900, 5_000):
        assert made.passes("[" * depth + "]" * depth) in (True, False)
        assert not made.passes("[" * depth)


answers = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["Ada", "bob", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "aliases", "age", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(answers)
def test_schemas_mean_what_a_reference_says(answer):
    made = make_check({"kind": "json_schema", "schema": PERSON})
    expected = jsonschema.Draft202012Validator(PERSON).is_valid(answer)
    assert made.passes(json.dumps(answer)) == expected


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.dictionaries(
        st.sampled_from(["text", "pattern", "schema", "ignore_case"]),
        st.text(max_size=10) | st.booleans() | st.dictionaries(st.text(max_size=5), st.integers()),
    ),
    st.text(max_size=50),
)
def test_any_check_is_made_or_refused_and_any_answer_passes_or_not(kind, fields, answer):
    try:
        made = make_check({"kind": kind, **fields})
    except InvalidCheck as error:
        assert str(error)
        return
    assert made.passes(answer, expected="x") in (True, False)
