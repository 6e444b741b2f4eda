"""The lines of input files: property tests on the checker, and what it reads out of a prompt."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.jsonl import LineChecker, prompt_text, storable_text

ENDPOINT = "/v1/chat/completions"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


def checker(**changes: object) -> LineChecker:
    limits = {"max_lines": 1_000, "max_inputs": 1_000, "max_findings": 1_000}
    return LineChecker(endpoint=ENDPOINT, models={"small"}, **{**limits, **changes})


def good(custom_id: str, **more: object) -> bytes:
    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], **more}
    line = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body}
    return json.dumps(line).encode()


def check_finding(check: LineChecker, raw: bytes) -> None:
    """Whatever a line holds, it ends as a request, a blank or one storable finding."""
    request = check.check(raw)
    findings = check.finish()
    # As the database keeps them: JSON without NUL or half a character pair.
    kept = json.dumps(findings, ensure_ascii=False)
    kept.encode()
    assert "\\u0000" not in kept
    if request is not None:
        assert findings == []
        assert storable_text(request.prompt_text) == request.prompt_text
        assert len(request.prompt_sha256) == 32
        assert isinstance(json.loads(request.body.decode()), dict)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300))
@example(b"\0")
@example(b"{}")
@example(b"\xef\xbb\xbf{}")
@example(b'{"custom_id": "\\ud800"}')
@example(b"[" * 100_000)
@example(b'{"body":' * 50_000)
@example(b"1" * 10_000)
@example(b"-Infinity")
@example("{}".encode("utf-16"))
@example(good("x", user="?").replace(b"?", b"\xff"))
def test_arbitrary_bytes_never_raise(raw):
    check_finding(checker(), raw)


@settings(max_examples=500, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "custom_id": JSON,
            "method": st.just("POST") | JSON,
            "url": st.just(ENDPOINT) | JSON,
            "body": JSON
            | st.fixed_dictionaries(
                {},
                optional={
                    "model": st.just("small") | JSON,
                    "messages": JSON,
                    "stream": JSON,
                    "tools": JSON,
                },
            ),
        },
    )
)
def test_arbitrary_json_in_the_form_of_a_line_never_raises(value):
    check_finding(checker(), json.dumps(value).encode())


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/score"]),
    JSON,
)
@example("/v1/embeddings", [True])
@example("/v1/embeddings", [[]])
def test_arbitrary_prompts_never_raise(endpoint, prompt):
    body = {"model": "small", "messages": prompt, "prompt": prompt, "input": prompt}
    line = {"custom_id": "x", "method": "POST", "url": endpoint, "body": body}
    check = checker()
    check.endpoint = endpoint
    check_finding(check, json.dumps(line).encode())


@settings(max_examples=200, deadline=None)
@given(TEXT.filter(lambda text: len(text) <= 512), st.dictionaries(st.text(), JSON, max_size=4))
def test_a_good_line_gives_back_its_body_to_the_byte(custom_id, more):
    more = {k: v for k, v in more.items() if k not in ("model", "messages", "stream")}
    body = json.dumps({"model": "small", "messages": [{"role": "user"}], **more}, indent=1)
    raw = (
        f'{{"custom_id": {json.dumps(custom_id)}, "method": "POST", "url": "{ENDPOINT}", '
        f'"body" :  {body.replace(chr(10), " ")} }}'
    ).encode()
    check = checker()
    request = check.check(b"  " + raw + b" \r\n")
    assert request is not None, check.finish()
    assert request.custom_id == custom_id
    # Half of a character pair sends the line through the slow reader, which writes it anew.
    if "\\ud" not in body:
        assert request.body == body.replace("\n", " ").encode()
    assert json.loads(request.body) == json.loads(body)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["good", "blank", "bad"]), max_size=30))
def test_lines_and_positions_count_whatever_stands_between(kinds):
    check = checker()
    position = 0
    bad = []
    for number, kind in enumerate(kinds, start=1):
        raw = {"good": good(f"id-{number}"), "blank": b" \t\n", "bad": b"{nope"}[kind]
        request = check.check(raw)
        if kind == "good":
            assert request is not None
            assert (request.line, request.position) == (number, position)
        elif kind == "bad":
            bad.append(number)
        position += kind != "blank"
    assert [f["line"] for f in check.finish() if f["line"] is not None] == bad
    assert check.total == position


def test_findings_beyond_the_cap_are_counted():
    check = checker(max_findings=2)
    for _ in range(5):
        check.check(b"{")
    codes = [one["code"] for one in check.finish()]
    assert codes == ["invalid_json_line", "invalid_json_line", "more_errors"]


@pytest.mark.parametrize(
    ("inputs", "count"),
    [("text", 1), (["a", "b", "c"], 3), ([1, 2, 3], 1), ([[1], [2, 3]], 2)],
)
def test_embedding_inputs_are_counted(inputs, count):
    for limit, fits in ((count, True), (count - 1, False)):
        check = checker(max_inputs=limit)
        check.endpoint = "/v1/embeddings"
        body = {"model": "small", "input": inputs}
        line = {"custom_id": "x", "method": "POST", "url": "/v1/embeddings", "body": body}
        check.check(json.dumps(line).encode())
        assert (check.finish() == []) is fits


def test_equal_prompts_have_equal_digests_whatever_the_order_of_keys_or_the_model():
    check = LineChecker(
        endpoint=ENDPOINT, models={"small"}, max_lines=9, max_inputs=9, max_findings=9
    )
    one = check.check(good("a", temperature=0))
    other = check.check(
        b'{"custom_id":"b","method":"POST","url":"/v1/chat/completions","body":{"model":"small",'
        b'"messages":[{"content":"hi","role":"user"}]}}'
    )
    third = check.check(good("c", messages=[{"role": "user", "content": "hi!"}]))
    assert one.prompt_sha256 == other.prompt_sha256 != third.prompt_sha256


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("plain", "plain"),
        (["a", "b"], "a\n\nb"),
        ([1, 2, 3], "[3 tokens]"),
        ([{"role": "user", "content": "hi"}], "hi"),
        (
            [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}],
            "system: be kind\n\nuser: hi",
        ),
        (
            [{"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url"}]}],
            "see\n[image_url]",
        ),
        ({"no": "prompt"}, ""),
    ],
)
def test_what_a_person_reads_of_a_prompt(prompt, text):
    assert prompt_text(prompt) == text


@settings(max_examples=200, deadline=None)
@given(st.text(), st.integers(1, 50))
@example("\ud83d", 10)
@example("\0", 10)
@example("\N{GRINNING FACE}" * 9, 6)
def test_storable_text_is_what_postgresql_keeps(text, limit):
    kept = storable_text(text, limit=limit)
    assert "\0" not in kept
    assert len(kept.encode()) <= limit
