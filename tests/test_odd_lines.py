"""Lines of any kind: whatever they hold, the checker says what it is and never raises."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.jsonl import LineChecker
from jobs.prompts import storable_text
from tests.input_lines import ENDPOINT, checker, good

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


def check_finding(check: LineChecker, raw: bytes) -> None:
    """Whatever a line holds, it ends as a request, a blank or storable findings."""
    request = check.check(raw)
    findings = check.finish()
    assert len({(one["code"], one["param"]) for one in findings}) == len(findings)
    # As the database keeps them: JSON without NUL or half a character pair.
    kept = json.dumps(findings, ensure_ascii=False)
    kept.encode()
    assert "\\u0000" not in kept
    if request is not None:
        assert findings == []
        assert storable_text(request.prompt_text) == request.prompt_text
        assert len(request.prompt_sha256) == 32
        assert isinstance(json.loads(request.body.decode()), dict)
    elif raw.removeprefix(b"\xef\xbb\xbf").strip():
        assert {one["line"] for one in findings} == {1}
    else:
        assert [one["code"] for one in findings] == ["empty_file"]


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


@pytest.mark.parametrize("depth", [500, *range(880, 1_001), 5_000, 50_000])
def test_nesting_never_raises_however_deep(depth):
    prompt = b"[" * depth + b"]" * depth
    raw = json.dumps(
        {
            "custom_id": "x",
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {"model": "small", "input": "DEEP"},
        }
    ).encode()
    check = checker()
    check.endpoint = "/v1/embeddings"
    check_finding(check, raw.replace(b'"DEEP"', prompt))


def test_what_can_be_decoded_but_not_walked_is_a_finding(monkeypatch):
    def give_up(_: object) -> str:
        raise RecursionError

    monkeypatch.setattr("jobs.jsonl.prompt_text", give_up)
    check = checker()
    assert check.check(good("deep")) is None
    assert [(one["code"], one["param"]) for one in check.finish()] == [("invalid_request", "body")]
