"""What real vLLM answers, of every kind, is what stands in the result files."""

from __future__ import annotations

import json
import math
from typing import Any

import jsonschema
import pytest

from tests.engine.conftest import First
from tests.engine.lots import GOOD, REFUSED, SPECIAL
from tests.engine.requests import PERSON, TOOL

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def body(first: First, custom_id: str, kind: str = "chat") -> dict[str, Any]:
    found: dict[str, Any] = first.results[kind].output[custom_id]["response"]["body"]
    return found


def choice(first: First, custom_id: str) -> dict[str, Any]:
    found: dict[str, Any] = body(first, custom_id)["choices"][0]
    return found


def test_every_good_line_is_answered_next_to_the_refused_ones(first: First) -> None:
    results = first.results["chat"]
    assert set(results.errors) == set(REFUSED)
    assert set(results.output) == {line["custom_id"] for line in (*GOOD, *SPECIAL)}
    for line in GOOD:
        answer = body(first, line["custom_id"])
        assert answer["object"] == "chat.completion"
        assert answer["model"] == "chat"
        assert answer["choices"][0]["message"]["content"].strip()
        assert 0 < answer["usage"]["completion_tokens"] <= 16


@pytest.mark.parametrize("custom_id", REFUSED)
def test_refused_line_carries_the_engines_status_code_and_message(
    first: First, custom_id: str
) -> None:
    line = first.results["chat"].errors[custom_id]
    told = line["response"]["body"]["error"]
    assert line["response"]["status_code"] == told["code"] == 400
    assert REFUSED[custom_id] in told["message"]
    assert line["error"] == {"code": told["type"], "message": told["message"]}


def test_structured_answers_that_finished_parse_and_validate(first: First) -> None:
    answers = [choice(first, f"schema-{i}") for i in range(4)]
    finished = [a["message"]["content"] for a in answers if a["finish_reason"] == "stop"]
    assert finished, answers
    for content in finished:
        jsonschema.validate(json.loads(content), PERSON)


def test_logprobs_come_with_each_token(first: First) -> None:
    answer = choice(first, "logprobs")
    tokens = answer["logprobs"]["content"]
    assert len(tokens) == body(first, "logprobs")["usage"]["completion_tokens"]
    assert "".join(token["token"] for token in tokens).startswith(answer["message"]["content"])
    for token in tokens:
        best = [other["logprob"] for other in token["top_logprobs"]]
        assert len(best) == 3
        # Greedy: the token that was taken is the likeliest one.
        assert token["logprob"] == max(best)
        assert sum(math.exp(value) for value in best) <= 1.001


def test_n_gives_that_many_choices(first: First) -> None:
    choices = body(first, "two")["choices"]
    assert [each["index"] for each in choices] == [0, 1]
    assert choices[0]["message"]["content"] != choices[1]["message"]["content"]


def test_stop_ends_an_answer(first: First) -> None:
    answer = choice(first, "stop")
    assert (answer["finish_reason"], answer["stop_reason"]) == ("stop", "e")
    assert "e" not in answer["message"]["content"]


@pytest.mark.parametrize("custom_id", ["tool-named", "tool-required"])
def test_tool_calls_fit_the_tool(first: First, custom_id: str) -> None:
    (call,) = choice(first, custom_id)["message"]["tool_calls"]
    assert call["function"]["name"] == "look_up"
    parameters: Any = TOOL["function"]
    jsonschema.validate(json.loads(call["function"]["arguments"]), parameters["parameters"])


def test_completions(first: First) -> None:
    results = first.results["completions"]
    assert set(results.errors) == {"refused"}
    assert body(first, "plain", "completions")["object"] == "text_completion"
    assert len(body(first, "several", "completions")["choices"]) == 2
    assert body(first, "echo", "completions")["choices"][0]["text"].startswith("The sky is")
    logprobs = body(first, "logprobs", "completions")["choices"][0]["logprobs"]
    assert len(logprobs["tokens"]) == len(logprobs["token_logprobs"]) == 8


def test_responses(first: First) -> None:
    results = first.results["responses"]
    assert set(results.errors) == {"refused"}
    for custom_id in ("text", "messages"):
        answer = body(first, custom_id, "responses")
        assert answer["object"] == "response"
        assert answer["output"][0]["content"][0]["text"].strip()
        assert 0 < answer["usage"]["output_tokens"] <= 12
