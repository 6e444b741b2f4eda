"""Bodies with another model or other parameters: what is changed, and that nothing else is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.changed_bodies import FIXED, BodyChange, change_body, read_parameters, takes_limit

CHAT = "/v1/chat/completions"
TEXTS = st.text(max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


def changed(body: str, endpoint: str = CHAT, **fields) -> str:
    return change_body(body.encode(), BodyChange(**fields), endpoint=endpoint).decode()


@pytest.mark.parametrize(
    ("endpoint", "body", "expected"),
    [
        (CHAT, "{}", '{"max_completion_tokens":7}'),
        (CHAT, '{"max_tokens":1}', '{"max_tokens":7}'),
        (
            CHAT,
            '{"max_tokens":1,"max_completion_tokens":2}',
            '{"max_tokens":7,"max_completion_tokens":7}',
        ),
        ("/v1/completions", "{}", '{"max_tokens":7}'),
        ("/v1/responses", "{}", '{"max_output_tokens":7}'),
        ("/v1/embeddings", "{}", "{}"),
    ],
)
def test_the_limit_has_the_name_that_the_body_or_else_the_endpoint_gives_it(
    endpoint, body, expected
):
    assert changed(body, endpoint, max_tokens=7) == expected
    assert takes_limit(endpoint) is (expected != "{}")


def test_values_keep_their_writing_and_null_takes_out():
    body = (
        '{"model":"a", "big":123456789012345678901234567890, "f":1.10, "stop":["x"], "u":"\\u00e9"}'
    )
    made = changed(body, model="b", parameters=read_parameters('{"top_p": 0.90, "stop": null}'))
    assert made == (
        '{"model":"b","big":123456789012345678901234567890,"f":1.10,"u":"\\u00e9","top_p":0.90}'
    )


def test_half_a_character_pair_survives_and_a_body_stays_on_one_line():
    half = '{"model":"a","\\ud800":1,"x":[\n1,\r\n2]}'
    made = changed(half, model="b", parameters={"y": b"null", "z": b"2"})
    assert json.loads(made) == {"model": "b", "\ud800": 1, "x": [1, 2], "z": 2}
    assert "\n" not in made and "\r" not in changed('{"x":[\r\n1]}', model="b")


@given(
    st.dictionaries(TEXTS, VALUES, max_size=5),
    st.none() | st.dictionaries(NAMES.filter(lambda name: name not in FIXED), VALUES, max_size=4),
    st.sampled_from(["", "other", 'a "quoted" é']),
)
def test_what_is_changed_is_changed_and_all_else_is_as_it_was(body, parameters, model):
    body, parameters = {"model": "first", **body}, parameters or {}
    raw = {name: json.dumps(value).encode() for name, value in parameters.items()}
    made = changed(json.dumps(body), model=model, parameters=raw)
    expected = {**body, **({"model": model} if model else {}), **parameters}
    for name, value in parameters.items():
        if value is None:
            del expected[name]
    assert json.loads(made) == expected and "\n" not in made


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "not a JSON object"),
        ('{"a": NaN}', "NaN is not a JSON value"),
        ('{"a": 1', "character"),
        ('{"model": "x"}', "'model' cannot be changed here"),
        (json.dumps({str(number): 1 for number in range(51)}), "more than 50"),
        ('{"\\ud800": 1}', "that can be kept"),
    ],
)
def test_parameters_that_cannot_be_are_refused_in_words(text, words):
    with pytest.raises(ValueError, match=words):
        read_parameters(text)


def test_a_change_tells_itself_apart_and_names_what_it_changes():
    one = BodyChange(model="b", max_tokens=5, parameters={"top_p": b"0.9", "stop": b"null"})
    assert one.names() == ["max_tokens", "top_p", "stop"]
    assert one.digest() == BodyChange(**vars(one)).digest() != BodyChange(model="b").digest()
