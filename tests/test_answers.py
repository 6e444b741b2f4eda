"""Answers of engines and the result lines made of them: whatever comes, a line is one line."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.answers import failure, read_answer
from jobs.result_lines import line_id, result_line

BATCH = "batch_" + "0123456789abcdef" * 2
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
STATUS = st.sampled_from([200, 201, 299, 400, 404, 422, 500, 503])
CUSTOM_ID = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=512
)


def line_of(answer, custom_id: str = "x") -> bytes:
    return result_line(
        batch_public_id=BATCH,
        position=7,
        custom_id=custom_id,
        status_code=answer.status_code,
        body=answer.body,
        error_code=answer.error_code,
        error_message=answer.error_message,
    )


def check_answer(answer) -> dict:
    """Whatever an engine sent, the answer can be stored and its line read."""
    for text in (answer.text, answer.finish_reason, answer.error_code, answer.error_message):
        text.encode()
        assert "\0" not in text
    for count in (answer.input_tokens, answer.cached_tokens, answer.output_tokens):
        assert 0 <= count < 2**31
    assert len(answer.finish_reason) <= 64 and len(answer.error_code) <= 64
    assert answer.ok == (answer.error_code == "")
    line = line_of(answer)
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and b"\r" not in line
    shown = json.loads(line.decode())
    assert set(shown) == {"id", "custom_id", "response", "error"}
    assert (shown["response"] is None) == (answer.status_code is None)
    assert (shown["error"] is None) == answer.ok
    return shown


@settings(max_examples=500, deadline=None)
@given(STATUS, st.binary(max_size=200))
@example(200, b"")
@example(200, b"null")
@example(200, b"[" * 100_000)
@example(200, b'"\\ud800"')
@example(200, b"NaN")
@example(200, b'{"usage": {"prompt_tokens": 99999999999999999999}}')
@example(400, b'{"error": {"message": 5, "code": null, "type": ""}}')
@example(400, b"[" * 100_000)
@example(500, b"<html>\r\n</html>")
@example(200, b"\xef\xbb\xbf{}")
@example(200, b"\xff")
@example(200, b'{"a": "\xed\xa0\x80"}')
@example(200, b'{"a": "\xff"}')
@example(400, b'{"error": "\xff"}')
@example(400, "{}".encode("utf-16"))
@example(200, "{}".encode("utf-32"))
def test_arbitrary_replies_never_raise(status, raw):
    check_answer(read_answer(status, raw))


@settings(max_examples=400, deadline=None)
@given(STATUS, JSON)
def test_arbitrary_json_replies_keep_their_body(status, value):
    raw = json.dumps(value, ensure_ascii=True).encode()
    answer = read_answer(status, raw)
    shown = check_answer(answer)
    assert answer.body == raw
    assert shown["response"]["status_code"] == status
    assert shown["response"]["body"] == value
    assert raw in line_of(answer)


@settings(max_examples=400, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "choices": st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "message": st.fixed_dictionaries(
                            {}, optional={"content": JSON, "tool_calls": JSON, "refusal": JSON}
                        )
                        | JSON,
                        "text": JSON,
                        "finish_reason": JSON,
                    },
                ),
                max_size=3,
            ),
            "output": JSON | st.lists(st.fixed_dictionaries({}, optional={"content": JSON})),
            "usage": JSON
            | st.fixed_dictionaries(
                {}, optional={"prompt_tokens": JSON, "prompt_tokens_details": JSON}
            ),
        },
    )
)
def test_arbitrary_values_in_known_places_never_raise(value):
    check_answer(read_answer(200, json.dumps(value).encode()))


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_pretty_printed_replies_become_one_line_of_the_same_value(value):
    raw = json.dumps({"v": value}, indent=2).replace("\n", "\r\n").encode()
    assert check_answer(read_answer(200, raw))["response"]["body"] == {"v": value}


@settings(max_examples=300, deadline=None)
@given(CUSTOM_ID, st.text(), st.text())
def test_errors_of_our_own_round_trip(custom_id, code, message):
    answer = failure("code", message)
    shown = json.loads(line_of(answer, custom_id))
    assert shown["custom_id"] == custom_id
    assert shown["response"] is None
    assert shown["error"]["code"] == "code"
    assert line_of(answer, custom_id).count(b"\n") == 1


@given(st.integers(0, 2**31))
def test_the_id_of_a_line_is_its_own_and_the_same_each_time(position):
    assert line_id(BATCH, position) == line_id(BATCH, position)
    assert line_id(BATCH, position) != line_id(BATCH, position + 1)
    assert line_id(BATCH, position).startswith("batch_req_")


USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}


@pytest.mark.parametrize(
    ("body", "text", "reason", "tokens"),
    [
        (
            {
                "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
                "usage": USAGE,
            },
            "hi",
            "stop",
            (9, 8, 4, 0),
        ),
        (
            {
                "choices": [
                    {"message": {"content": "one"}, "finish_reason": "length"},
                    {"message": {"content": "two"}, "finish_reason": "stop"},
                ]
            },
            "one\n\ntwo",
            "length",
            (0, 0, 0, 0),
        ),
        ({"choices": [{"text": "done", "finish_reason": "stop"}]}, "done", "stop", (0, 0, 0, 0)),
        (
            {
                "choices": [
                    {
                        "message": {
                            "content": None,
                            "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
                        },
                        "finish_reason": "tool_calls",
                    }
                ]
            },
            "f({})",
            "tool_calls",
            (0, 0, 0, 0),
        ),
        (
            {
                "status": "completed",
                "output": [
                    {"type": "reasoning", "content": [{"type": "text", "text": "hm"}]},
                    {"type": "message", "content": [{"type": "output_text", "text": "yes"}]},
                ],
                "usage": {
                    "input_tokens": 5,
                    "output_tokens": 7,
                    "output_tokens_details": {"reasoning_tokens": 3},
                },
            },
            "yes",
            "completed",
            (5, 0, 7, 3),
        ),
        ({"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 3}}, "", "", (3, 0, 0, 0)),
    ],
    ids=["chat", "two choices", "completion", "tool call", "responses", "embeddings"],
)
def test_what_is_read_out_of_an_answer(body, text, reason, tokens):
    answer = read_answer(200, json.dumps(body).encode())
    assert (answer.ok, answer.text, answer.finish_reason) == (True, text, reason)
    found = (
        answer.input_tokens,
        answer.cached_tokens,
        answer.output_tokens,
        answer.reasoning_tokens,
    )
    assert found == tokens


@pytest.mark.parametrize(
    ("status", "raw", "code", "message"),
    [
        (
            400,
            b'{"error": {"message": "too long", "type": "BadRequestError", "code": 400}}',
            "BadRequestError",
            "too long",
        ),
        (400, b'{"error": {"message": "no", "code": "bad_thing"}}', "bad_thing", "no"),
        (404, b'{"object": "error", "message": "gone", "type": "NotFound"}', "NotFound", "gone"),
        (422, b'{"detail": "wrong"}', "http_422", "wrong"),
        (500, b'{"error": "broken"}', "http_500", "broken"),
        (400, b"[]", "http_400", "HTTP 400"),
    ],
)
def test_what_is_read_out_of_a_refusal(status, raw, code, message):
    answer = read_answer(status, raw)
    assert (answer.ok, answer.status_code, answer.body) == (False, status, raw)
    assert (answer.error_code, answer.error_message) == (code, message)


@pytest.mark.parametrize("status", [200, 502])
def test_a_reply_that_is_not_json_stands_as_an_error_without_a_body(status):
    answer = read_answer(status, b"<html>Bad Gateway</html>")
    assert (answer.ok, answer.status_code, answer.body) == (False, None, b"")
    assert "Bad Gateway" in answer.error_message
