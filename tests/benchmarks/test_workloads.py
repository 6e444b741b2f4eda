"""Shipped workloads ask the same on every machine, and never twice the same."""

from __future__ import annotations

import json
from itertools import islice

import pytest

from benchmarks.quality import make_check
from benchmarks.workloads import CHAT, SHIPPED, TICKET, workload_hash
from jobs import line_rules

# Whoever must change one of these changes the version of the workload with it: runs of what asked
# something else would be compared.
PINNED = {
    ("short-chat", 1): "cdf790fcd9ffd8fc5950ed1e41103cceda21ab7fe05adeae4bc9748b9bdafc62",
    ("long-prompt", 1): "b5953321a66f1ea48e4b07f359ceefa7e481e5e0d119940b5871a32c592137dd",
    ("shared-prefix", 1): "4b21cba3cf043dbd56ce4994cba11f40858b4e763b5c81ca55001bb757cf8e84",
    ("long-generation", 1): "02e765c7e5b9b476e89757c77daf72bd815785cb77d00d27924abcd93565dff3",
    ("structured-output", 1): "ee118ed0468671eabe011d74104ba698fbe6ad3bd3bd6d29e30a153378b51e6f",
    ("embeddings", 1): "8e47784d98391c632cb0e8a1e925e34289f11bf15bce3817ec5ba0550f28fae3",
}

every = pytest.mark.parametrize("workload", SHIPPED.values(), ids=SHIPPED)


def prompt(line):
    body = line["body"]
    return body["messages"][0]["content"] if "messages" in body else body["input"]


def test_what_is_asked_stays_the_same_within_a_version():
    found = {
        (one.name, one.version): workload_hash(one.lines(model="any", requests=40))
        for one in SHIPPED.values()
    }
    assert found == PINNED


@every
def test_lines_are_valid_lines_of_a_batch(workload):
    for line in workload.lines(model="toy", requests=20):
        assert set(line) == {"custom_id", "method", "url", "body"}
        envelope = line_rules.read_envelope(json.dumps(line).encode())
        body = line_rules.read_body(bytes(envelope.body))
        assert line_rules.custom_id_problem(envelope.custom_id) is None
        assert line_rules.method_problem(envelope.method) is None
        assert line_rules.url_problem(envelope.url, workload.endpoint) is None
        assert line_rules.prompt_problem(body, workload.endpoint) is None
        assert body.model == "toy"


@every
def test_no_two_lines_are_alike_and_none_begins_like_another(workload):
    lines = list(workload.lines(model="toy", requests=400))
    assert len({line["custom_id"] for line in lines}) == 400
    assert len({prompt(line) for line in lines}) == 400
    # "Request 123." is the first to differ, but where documents are shared.
    beginnings = {prompt(line)[:100] for line in lines}
    assert len(beginnings) == (25 if workload.name == "shared-prefix" else 400)


def test_a_shared_prefix_is_shared_by_sixteen_that_lie_apart():
    lines = list(SHIPPED["shared-prefix"].lines(model="toy", requests=64))
    documents = [prompt(line).split("Request ")[0] for line in lines]
    assert len(documents[0].split()) >= 600
    assert documents[:4] == documents[60:]
    assert {documents.count(one) for one in documents} == {16}
    assert all(one != other for one, other in zip(documents, documents[1:], strict=False))


@every
def test_any_number_of_requests_is_given(workload):
    assert list(workload.lines(model="toy", requests=0)) == []
    assert len(list(workload.lines(model="toy", requests=3))) == 3
    # Made one by one: a million need no memory.
    assert len(list(islice(workload.lines(model="toy", requests=1_000_000), 2))) == 2


def test_answers_are_greedy_and_of_one_length_where_speed_is_measured():
    for workload in SHIPPED.values():
        for line in workload.lines(model="toy", requests=5):
            body = line["body"]
            if workload.endpoint != CHAT:
                assert "temperature" not in body
                continue
            assert body["temperature"] == 0
            assert body["max_tokens"] > 0
            # A grammar says itself where an answer ends.
            assert body.get("ignore_eos", False) == ("response_format" not in body)


def test_structured_output_is_checked_by_its_own_schema():
    workload = SHIPPED["structured-output"]
    line = next(workload.lines(model="toy", requests=1))
    assert line["body"]["response_format"]["json_schema"]["schema"] == TICKET
    (check,) = [make_check(one) for one in workload.checks]
    good = '{"subject": "payment", "urgent": true, "rating": 2, "parts": ["back"]}'
    assert check.passes(good)
    assert not check.passes(good.replace("2", "9"))


def test_the_hash_is_of_what_is_asked():
    def hashed(**body):
        return workload_hash([{"custom_id": "a", "body": {"model": "a", "input": "x", **body}}])

    plain = hashed()
    assert hashed(model="b") == plain
    assert hashed(cache_salt="repeat 2") == plain
    assert workload_hash([{"custom_id": "b", "body": {"input": "x", "model": "a"}}]) == plain
    assert hashed(input="y") != plain
    assert hashed(max_tokens=5) != plain
    one, other = {"body": {"input": "x"}}, {"body": {"input": "y"}}
    assert workload_hash([one, other]) != workload_hash([other, one])
    assert workload_hash([one, one]) != workload_hash([one])
