"""The lines of input files: what the checker finds on each, and how it counts them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.input_lines import ABSENT, checker, good, made


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
    check = checker()
    one = check.check(good("a", temperature=0))
    other = check.check(
        b'{"custom_id":"b","method":"POST","url":"/v1/chat/completions","body":{"model":"small",'
        b'"messages":[{"content":"hi","role":"user"}]}}'
    )
    third = check.check(good("c", messages=[{"role": "user", "content": "hi!"}]))
    assert one.prompt_sha256 == other.prompt_sha256 != third.prompt_sha256


EVERYTHING = [
    ("missing_required_parameter", "custom_id"),
    ("invalid_method", "method"),
    ("invalid_url", "url"),
    ("streaming_unsupported", "body.stream"),
    ("invalid_request", "body.model"),
    ("invalid_request", "body.messages"),
]


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        pytest.param(
            made(
                {"custom_id": ABSENT, "method": "GET", "url": "/v1/nope"},
                {"model": ABSENT, "stream": True, "messages": "hi"},
            ),
            EVERYTHING,
            id="everything",
        ),
        pytest.param(
            made(
                {"custom_id": ABSENT, "method": ["GET"], "url": 7, "user": "\ud83d"},
                {"model": 1, "stream": 1, "messages": ABSENT},
            ),
            EVERYTHING,
            id="everything, read by the slow reader",
        ),
        pytest.param(
            b"{}",
            [
                ("missing_required_parameter", name)
                for name in ("custom_id", "method", "url", "body")
            ],
            id="nothing there",
        ),
        pytest.param(
            made({"custom_id": "first", "url": "/v1/nope"}),
            [("duplicate_custom_id", "custom_id"), ("invalid_url", "url")],
            id="duplicate and wrong url",
        ),
        pytest.param(
            made({"custom_id": 7, "body": "hi"}),
            [("invalid_request", "custom_id"), ("invalid_request", "body")],
            id="two of another type",
        ),
        pytest.param(
            made({"custom_id": "a\0"}, {"model": "gpt-none", "stream": True}),
            [
                ("invalid_request", "custom_id"),
                ("streaming_unsupported", "body.stream"),
                ("model_not_found", "body.model"),
            ],
            id="unknown model, which is no mismatch on top",
        ),
        pytest.param(
            made({"method": "GET"}, {"model": "other"}),
            [("invalid_method", "method"), ("model_mismatch", "body.model")],
            id="another model",
        ),
        pytest.param(
            made({"url": "/v1/embeddings"}, {"messages": ABSENT, "input": "hi"}),
            [("invalid_url", "url")],
            id="a good line for another endpoint",
        ),
        pytest.param(
            made({"url": "/v1/embeddings"}, {"messages": ABSENT}),
            [("invalid_url", "url"), ("invalid_request", "body.messages")],
            id="for another endpoint, and empty",
        ),
        pytest.param(
            made({"method": "GET"}) + b"}", [("invalid_json_line", None)], id="no more if not JSON"
        ),
    ],
)
def test_a_line_tells_all_that_is_wrong_with_it(raw, found):
    check = checker()
    assert check.check(good("first")) is not None
    assert check.check(raw) is None
    findings = check.finish()
    assert [(one["code"], one["param"]) for one in findings] == found
    assert {one["line"] for one in findings} == {2}


def test_what_stands_on_a_bad_line_still_counts():
    check = checker(max_inputs=2)
    check.endpoint = "/v1/embeddings"
    for name in ("small", "other"):
        body = {"model": name, "input": ["a", "b"]}
        line = {"custom_id": "same", "method": "GET", "url": "/v1/embeddings", "body": body}
        assert check.check(json.dumps(line).encode()) is None
    assert [(one["code"], one["line"]) for one in check.finish()] == [
        ("too_many_tasks", None),
        ("invalid_method", 1),
        ("duplicate_custom_id", 2),
        ("invalid_method", 2),
        ("model_mismatch", 2),
    ]


def test_an_unknown_model_is_nobody_elses_mismatch():
    check = checker()
    check.check(made({}, {"model": "gpt-none"}))
    assert check.check(good("good")) is not None
    assert [one["code"] for one in check.finish()] == ["model_not_found"]


# What can be wrong with each part of a line: the changed value, and the code that it must give.
WRONG: dict[str, list[tuple[object, str]]] = {
    "custom_id": [
        (ABSENT, "missing_required_parameter"),
        ("", "missing_required_parameter"),
        (3, "invalid_request"),
        ("\ud800", "invalid_request"),
        ("y" * 513, "invalid_request"),
    ],
    "method": [(ABSENT, "missing_required_parameter"), ("PUT", "invalid_method")],
    "url": [(None, "missing_required_parameter"), ("/v1/embeddings", "invalid_url")],
    "body": [(None, "missing_required_parameter"), ([], "invalid_request")],
    "body.stream": [(True, "streaming_unsupported")],
    "body.model": [
        (ABSENT, "invalid_request"),
        ("gpt-none", "model_not_found"),
        ("other", "model_mismatch"),
    ],
    "body.messages": [(ABSENT, "invalid_request"), ([1], "invalid_request")],
}
BROKEN = [b"{", b"[]", b"\xff", b"nope", b'{"custom_id": "x"} {}']
REPEATED = "repeated"
WRONGS = st.fixed_dictionaries(
    {},
    optional={
        param: st.sampled_from([*ways, (REPEATED, "duplicate_custom_id")])
        if param == "custom_id"
        else st.sampled_from(ways)
        for param, ways in WRONG.items()
    },
)
LINES = st.lists(
    st.just({}) | WRONGS | st.sampled_from(BROKEN) | st.sampled_from([b"", b" \t", b"\r"]),
    max_size=20,
)


@settings(max_examples=400, deadline=None)
@given(LINES, st.integers(1, 60), st.randoms(use_true_random=False))
def test_findings_stand_exactly_on_the_lines_that_are_wrong(lines, cap, random):
    check = checker(max_findings=cap)
    assert check.check(good("id-1")).position == 0
    ids, expected, position = ["id-1"], [], 1
    for number, line in enumerate(lines, start=2):
        if isinstance(line, bytes):
            assert check.check(line + b"\n") is None
            if line in BROKEN:
                expected.append((number, "invalid_json_line", None))
                position += 1
            continue
        values = {param: value for param, (value, _) in line.items()}
        if values.get("custom_id") == REPEATED:
            values["custom_id"] = random.choice(ids)
        own_id = f"id-{number}"
        ids += [own_id] if "custom_id" not in values else []
        parts = {k: v for k, v in values.items() if "." not in k}
        within = {k.removeprefix("body."): v for k, v in values.items() if "." in k}
        request = check.check(made({"custom_id": own_id, **parts}, within))
        # A body that is none has no fields to be wrong.
        seen = [p for p in WRONG if p in line and not ("body" in line and p.startswith("body."))]
        expected += [(number, line[param][1], param) for param in seen]
        if line:
            assert request is None
        else:
            assert (request.line, request.position) == (number, position)
            assert request.custom_id == own_id
        position += 1
    listed = check.finish()
    if len(expected) > cap:
        last = listed.pop()
        assert last["code"] == "more_errors"
        assert last["message"].startswith(f"{len(expected) - cap} more error")
    assert [(one["line"], one["code"], one["param"]) for one in listed] == expected[:cap]
    assert check.total == position


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([b"", b"\n", b" \t\r\n"]), max_size=30))
def test_a_file_of_good_lines_and_blanks_has_no_finding(blanks):
    check = checker()
    made_of = [one for n, blank in enumerate(blanks) for one in (blank, good(f"id-{n}"))]
    requests = [request for raw in made_of if (request := check.check(raw)) is not None]
    assert [request.line for request in requests] == [2 * n + 2 for n in range(len(blanks))]
    assert [request.position for request in requests] == list(range(len(blanks)))
    assert [one["code"] for one in check.finish()] == ([] if blanks else ["empty_file"])
