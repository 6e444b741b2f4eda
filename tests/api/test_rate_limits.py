"""Requests a minute: of each key by itself, exact however many ask at once, told in headers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from openai import OpenAI

from jobs.api.throttling import duration_text
from jobs.models import Batch, ProjectKey
from jobs.services.projects import create_key
from jobs.services.throttle import RATE_MAX, take_request
from tests.api.conftest import Api, Member, line, lines, order

pytestmark = pytest.mark.django_db

HEADERS = (
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
)


def limited(owner: Member, requests: int | None) -> Api:
    _, secret = create_key(project=owner.project, name="limited", requests_per_minute=requests)
    return Api(Member(owner.project, secret))


def full_in(seconds: float) -> None:
    """Let every key's bucket be full again in so many seconds."""
    ProjectKey.objects.update(rate_full_at=timezone.now() + timedelta(seconds=seconds))


def headers_of(response) -> tuple[str | None, ...]:
    return tuple(response.headers.get(name) for name in HEADERS)


def test_beyond_the_limit_it_is_429_in_openais_words_until_one_is_free_again(owner):
    api = limited(owner, 3)
    said = [headers_of(api.get("/v1/models")) for _ in range(3)]
    assert [one[:2] for one in said] == [("3", "2"), ("3", "1"), ("3", "0")]
    # Until all are there again: 20 seconds each, less what has passed since the first.
    assert said[0][2] == "20s"
    assert said[1][2].startswith("39.") and said[2][2].startswith("59.")
    refused = api.get("/v1/models")
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"], error["code"]) == (
        "requests",
        None,
        "rate_limit_exceeded",
    )
    assert "Limit 3." in error["message"] and "try again in 1" in error["message"]
    wait_ms = int(refused["retry-after-ms"])
    assert 15_000 < wait_ms <= 20_000
    assert int(refused["retry-after"]) == -(-wait_ms // 1_000)
    assert "x-should-retry" not in refused.headers
    assert headers_of(refused)[:2] == ("3", "0")
    # A place is free as soon as it was said, and only one.
    full_in(39.9)
    assert [api.get("/v1/models").status_code for _ in range(2)] == [200, 429]


def test_a_refused_request_does_nothing_and_costs_nothing(owner):
    api = limited(owner, 1)
    api.get("/v1/models")
    before = ProjectKey.objects.values().get(name="limited")
    with CaptureQueriesContext(connection) as asked:
        assert api.post("/v1/batches", order("file-x")).status_code == 429
        assert api.upload(lines(1)).status_code == 429
    assert not Batch.objects.exists()
    assert ProjectKey.objects.values().get(name="limited") == before
    # The key with its project, the refused count, and how long to wait.
    assert len(asked) == 2 * 3


def test_every_answer_has_the_headers_errors_and_content_too(owner, lane):
    api = limited(owner, 100)
    stored = api.upload(lines(1))
    answers = [
        stored,
        api.get("/v1/files"),
        api.get(f"/v1/files/{stored.json()['id']}/content"),
        api.get("/v1/batches/none"),
        api.post("/v1/batches", b"no json"),
        api.post("/v1/batches", order("file-x")),
        api.post("/v1/models"),
    ]
    assert [one.status_code for one in answers] == [200, 200, 200, 404, 400, 200, 405]
    assert [headers_of(one)[:2] for one in answers] == [
        ("100", str(left)) for left in range(99, 92, -1)
    ]
    assert headers_of(answers[0])[2] == "600ms"


def test_a_key_without_a_limit_has_no_headers(owner, settings):
    api = limited(owner, 0)
    settings.REQUESTS_PER_MINUTE = 1
    for _ in range(3):
        response = api.get("/v1/models")
        assert (response.status_code, headers_of(response)) == (200, (None, None, None))


def test_the_setting_holds_for_keys_that_say_nothing(owner, settings):
    api = limited(owner, None)
    settings.REQUESTS_PER_MINUTE = 1
    assert [api.get("/v1/models").status_code for _ in range(2)] == [200, 429]
    settings.REQUESTS_PER_MINUTE = 0
    assert api.get("/v1/models").status_code == 200


def test_each_key_has_its_own(owner):
    first, second = limited(owner, 1), limited(owner, 1)
    assert first.get("/v1/models").status_code == 200
    assert second.get("/v1/models").status_code == 200
    assert first.get("/v1/models").status_code == 429


def test_no_key_and_unknown_addresses_are_not_counted(owner):
    api = limited(owner, 1)
    assert api.get("/v1/nothing").status_code == 404
    assert api.http.get("/v1/models").status_code == 401
    assert api.get("/v1/models").status_code == 200


def test_a_new_limit_holds_at_once_whatever_was_used_of_the_old(owner):
    api = limited(owner, 600)
    for _ in range(30):
        api.get("/v1/models")
    ProjectKey.objects.filter(name="limited").update(requests_per_minute=2)
    # Three seconds of the minute were used up.
    assert [api.get("/v1/models").status_code for _ in range(2)] == [200, 429]


def test_a_clock_that_was_set_back_shuts_nobody_out(owner):
    api = limited(owner, 2)
    full_in(3_600)
    assert [api.get("/v1/models").status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("limit", [1, 7, 3_000, RATE_MAX, 2**31 - 1])
def test_any_limit_gives_what_it_says(owner, limit):
    key, _ = create_key(project=owner.project, name="limited", requests_per_minute=limit)
    for taken in range(1, 4):
        if taken > limit:
            break
        allowance = take_request(key=key)
        assert allowance is not None
        # What the microseconds between the requests have refilled is there again.
        assert limit - taken <= allowance.remaining <= limit
        assert 0 < allowance.reset_s <= 60


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0195, "20ms"),
        (0.9999, "1s"),
        (1, "1s"),
        (1.5, "1.5s"),
        (59.9999, "1m0s"),
        (360, "6m0s"),
        (83.25, "1m23.25s"),
    ],
)
def test_durations_are_written_as_openai_does(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_exactly_the_allowed_number_pass(owner):
    """From connections of their own, as web processes are; more than once, since a race is luck."""
    threads, allowed = 12, 5
    for _ in range(4):
        api = limited(owner, allowed)
        barrier = Barrier(threads)

        def ask(_: int, api: Api = api, barrier: Barrier = barrier) -> tuple[int, str]:
            barrier.wait(20)
            try:
                response = Api(api.member).get("/v1/models")
                return response.status_code, response[HEADERS[1]]
            finally:
                connections.close_all()

        with ThreadPoolExecutor(threads) as pool:
            answers = list(pool.map(ask, range(threads)))
        passed = [int(left) for status, left in answers if status == 200]
        assert len(passed) == allowed
        # One that read the clock first and wrote second may be told one less than there is.
        assert min(passed) == 0 and max(passed) < allowed
        assert [status for status, _ in answers].count(429) == threads - allowed


@pytest.mark.django_db(transaction=True)
def test_the_openai_client_waits_as_it_is_told_and_succeeds(owner, live_server):
    api = limited(owner, 60)
    client = OpenAI(base_url=f"{live_server.url}/v1", api_key=api.member.key)
    # The bucket is empty: a second gives one request.
    full_in(60)
    found = client.models.with_raw_response.list()
    assert found.retries_taken == 1
    assert found.headers[HEADERS[0]] == "60"
    assert [one.id for one in found.parse().data] == ["small", "small-lora"]
    # And pages without a pause, as long as the minute's requests last.
    full_in(0)
    for number in range(12):
        client.files.create(file=(f"{number}.jsonl", line("a")), purpose="batch")
    assert len([one.id for one in client.files.list(limit=1)]) == 12


def test_counting_costs_one_statement_and_no_transaction(owner, django_assert_num_queries):
    key, _ = create_key(project=owner.project, name="limited", requests_per_minute=9)
    with django_assert_num_queries(1) as asked:
        take_request(key=key)
    assert asked.captured_queries[0]["sql"].lstrip().startswith("UPDATE")


def test_the_routes_that_are_asked_most_cost_one_statement_more_with_a_limit(owner, lane):
    """It counts the request; the last use of a key without one is written once a minute."""
    free, counted = limited(owner, 0), limited(owner, 1_000)
    batch = free.make(lines(1))
    for path in (
        f"/v1/batches/{batch['id']}",
        "/v1/batches",
        "/v1/files",
        f"/v1/files/{batch['input_file_id']}",
        "/v1/models",
    ):
        costs = []
        for api in (free, counted):
            with CaptureQueriesContext(connection) as asked:
                assert api.get(path).status_code == 200
            costs.append(len(asked))
        assert costs[1] == costs[0] + 1, path
