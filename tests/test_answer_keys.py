"""Only what is answered alike each time takes part, and each thing that matters changes the key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.answer_keys import answer_key, body_digest, engine_digest, is_repeatable
from jobs.answers import failure, is_whole, read_answer
from jobs.line_rules import Problem, read_body

CHAT = "/v1/chat/completions"


def repeatable(fields: dict[str, Any], endpoint: str = CHAT) -> bool:
    raw = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields})
    body = read_body(raw.encode())
    assert not isinstance(body, Problem)
    return is_repeatable(body, raw.encode(), endpoint=endpoint)


def image(url: str) -> dict[str, Any]:
    part = {"type": "image_url", "image_url": {"url": url}}
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, part]}]}


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0},
        {"temperature": 0.0},
        {"temperature": -0.0},
        {"seed": 0},
        {"seed": 42, "temperature": 1},
        {"temperature": 0, "previous_response_id": None},
        {"temperature": 0, **image("data:image/png;base64,AA")},
        {"temperature": 0, "messages": [{"role": "user", "content": "see https://example.org"}]},
    ],
)
def test_what_draws_nothing_or_from_a_seed_is_answered_alike(fields: dict[str, Any]) -> None:
    assert repeatable(fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0.1},
        {"temperature": False},
        {"temperature": "0"},
        {"temperature": None},
        {"seed": None},
        {"seed": True},
        {"seed": "42"},
        {"seed": 1.5},
        {"temperature": 0, "previous_response_id": "resp_1"},
        {"temperature": 0, **image("https://example.org/a.png")},
        {"temperature": 0, "input": [{"role": "user", "content": [{"type": "input_image"}]}],
         "messages": [{"role": "user", "content": "http://x"}]},
    ],
)  # fmt: skip
def test_what_may_be_answered_otherwise_takes_no_part(fields: dict[str, Any]) -> None:
    assert not repeatable(fields)


def test_embeddings_are_always_alike() -> None:
    assert repeatable({"input": "text"}, "/v1/embeddings")
    assert not repeatable({"input": "text"}, "/v1/completions")


def test_whatever_matters_changes_the_key() -> None:
    asked: list[dict[str, Any]] = [
        {},
        {"raw": b'{"a": 2}'},
        {"raw": b'{"a":1}'},
        {"endpoint": "/v1/completions"},
        {"revision": "r2"},
        {"engine_args": "--seed 1"},
        {"version": "0.33.0"},
    ]
    known = {"raw": b'{"a": 1}', "endpoint": CHAT, "revision": "r1", "engine_args": ""}
    keys = set()
    for change in asked:
        told = {**known, "version": "0.32.0", **change}
        raw, endpoint = told.pop("raw"), told.pop("endpoint")
        keys.add(answer_key(engine_digest(**told), body_digest(raw, endpoint=endpoint)))
    assert len(keys) == len(asked)


def test_an_engine_of_which_nothing_is_known_shares_no_answers() -> None:
    assert engine_digest(revision="", engine_args="", version="0.32.0") == b""
    assert engine_digest(revision="r1", engine_args="", version="") == b""


@pytest.mark.parametrize(
    ("reason", "whole"), [("stop", True), ("length", True), ("abort", False), ("error", False)]
)
def test_an_answer_that_was_broken_off_is_not_shared(reason: str, whole: bool) -> None:
    body = {"choices": [{"message": {"content": "a"}, "finish_reason": reason}]}
    assert is_whole(read_answer(200, json.dumps(body).encode())) is whole


def test_neither_is_an_error() -> None:
    assert not is_whole(failure("request_timeout", "Too late."))
    assert not is_whole(read_answer(400, b'{"error": {"message": "no"}}'))
    assert not is_whole(read_answer(202, b"{}"))
