"""Of equal lines in a run one is sent; the others get its answer, or go themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobs.answers import Answer, failure
from jobs.model_run.backlog import Backlog, Work
from jobs.model_run.committing import Committer
from jobs.model_run.twins import WAITING_MAX
from jobs.services.chunks import ClaimedChunk, OpenLine
from jobs.services.responses import Committed

GOOD = Answer(ok=True, status_code=200, body=b"{}", finish_reason="stop")
BAD = failure("request_timeout", "Too late.")


def chunk(number: int = 1, project: int = 1, attempt: int = 1) -> ClaimedChunk:
    return ClaimedChunk(number, attempt, number, f"batch_{number}", project, "/v1/x", 0, 9, None)


def lines(keys: str, first: int = 0, group: str | None = None) -> list[OpenLine]:
    """Return a line a letter, equal ones with equal letters; `-` shares its answer with none."""
    return [
        OpenLine(first + n, n, f"r{first + n}", b"{}", group, None if k == "-" else k.encode())
        for n, k in enumerate(keys)
    ]


@pytest.fixture
def backlog() -> Backlog:
    return Backlog()


def sent(backlog: Backlog) -> list[Work]:
    """Take what is to be sent from the queue."""
    return backlog.empty_queue()


def ids(works: list[Work]) -> list[int]:
    return [work.line.request_id for work in works]


def finished(backlog: Backlog) -> list[tuple[int, bool]]:
    return [(item.request_id, item.reused) for item in backlog.finished]


def test_one_of_each_is_sent_and_the_others_get_its_answer(backlog: Backlog) -> None:
    backlog.take([(chunk(), lines("aab-ab-"))], suspects_apart=True)
    a, b, c, d = sent(backlog)
    assert ids([a, b, c, d]) == [0, 2, 3, 6]
    backlog.finish(a, GOOD)
    assert finished(backlog) == [(0, False), (1, True), (4, True)]
    assert all(item.answer is GOOD for item in backlog.finished)
    assert [item.latency_ms for item in backlog.finished] == [0, None, None]
    backlog.finish(c, GOOD)
    backlog.finish(b, GOOD)
    assert finished(backlog)[3:] == [(3, False), (2, False), (5, True)]
    assert backlog.held[1].open_lines == 1


def test_a_line_that_comes_before_the_commit_gets_the_answer_at_once(backlog: Backlog) -> None:
    backlog.take([(chunk(), lines("a"))], suspects_apart=True)
    backlog.finish(sent(backlog)[0], GOOD)
    backlog.take([(chunk(2), lines("a", 10))], suspects_apart=True)
    assert not sent(backlog)
    assert finished(backlog) == [(0, False), (10, True)]


def test_from_the_commit_on_the_database_knows_the_answer(backlog: Backlog) -> None:
    class Host:
        lane_id = 1

        async def db(self, call: Any, /, **kwargs: Any) -> Committed:
            return Committed(held={(1, 1)}, going_on={1})

    backlog.take([(chunk(), lines("aab"))], suspects_apart=True)
    first, _ = sent(backlog)
    backlog.finish(first, GOOD)
    committer = Committer(backlog, Host(), window=4)  # type: ignore[arg-type]
    asyncio.run(committer.commit())
    # "a" is forgotten, "b" is still on its way.
    backlog.take([(chunk(2), lines("ab", 10))], suspects_apart=True)
    assert ids(sent(backlog)) == [10]


def test_projects_do_not_share(backlog: Backlog) -> None:
    backlog.take([(chunk(1), lines("a")), (chunk(2, project=2), lines("a", 10))],
                 suspects_apart=True)  # fmt: skip
    assert ids(sent(backlog)) == [0, 10]


def test_after_a_failure_the_next_one_is_sent(backlog: Backlog) -> None:
    backlog.take([(chunk(), lines("aaaa"))], suspects_apart=True)
    backlog.finish(sent(backlog)[0], BAD)
    assert finished(backlog) == [(0, False)]
    (second,) = sent(backlog)
    backlog.finish(second, GOOD)
    assert finished(backlog)[1:] == [(1, False), (2, True), (3, True)]


def test_after_the_second_failure_all_are_sent(backlog: Backlog) -> None:
    """A line that times out must not keep its equals waiting for one time-out after another."""
    backlog.take([(chunk(), lines("aaaaa"))], suspects_apart=True)
    for _ in range(2):
        backlog.finish(sent(backlog)[0], BAD)
    rest = sent(backlog)
    assert ids(rest) == [2, 3, 4]
    backlog.finish(rest[0], GOOD)
    assert len(backlog.finished) == 3
    assert backlog.twins.waiting == 0


def test_where_the_one_that_is_sent_is_dropped_the_next_one_is_sent(backlog: Backlog) -> None:
    backlog.take([(chunk(1), lines("aa")), (chunk(2), lines("aa", 10))], suspects_apart=True)
    (first,) = sent(backlog)
    backlog.in_flight.add(first)
    backlog.drop([backlog.held[1]])
    assert first.dropped
    (next_one,) = sent(backlog)
    assert next_one.line.request_id == 10
    backlog.finish(next_one, GOOD)
    assert finished(backlog) == [(10, False), (11, True)]
    assert backlog.twins.waiting == 0


def test_what_waits_is_dropped_with_its_chunk(backlog: Backlog) -> None:
    backlog.take([(chunk(1), lines("a")), (chunk(2), lines("aa", 10))], suspects_apart=True)
    (first,) = sent(backlog)
    backlog.drop([backlog.held[2]])
    assert backlog.twins.waiting == 0
    backlog.finish(first, GOOD)
    assert finished(backlog) == [(0, False)]


def test_a_chunk_that_comes_back_under_a_new_claim_is_sent_anew(backlog: Backlog) -> None:
    backlog.take([(chunk(), lines("aa"))], suspects_apart=True)
    (old,) = sent(backlog)
    backlog.in_flight.add(old)
    backlog.take([(chunk(attempt=2), lines("aa"))], suspects_apart=True)
    (new,) = sent(backlog)
    backlog.finish(new, GOOD)
    assert [item.chunk.attempt for item in backlog.finished] == [2, 2]
    assert finished(backlog) == [(0, False), (1, True)]


def test_suspects_are_sent_each_for_itself(backlog: Backlog) -> None:
    backlog.take([(chunk(), [*lines("aa", group="g"), *lines("a", 10)])], suspects_apart=True)
    assert ids(backlog.suspects["g"]) == [0, 1]
    (other,) = sent(backlog)
    backlog.finish(backlog.suspects["g"][0], BAD)
    assert not sent(backlog)
    backlog.finish(other, GOOD)
    assert finished(backlog) == [(0, False), (10, False)]


def test_what_waits_for_a_line_that_killed_the_engine_is_suspected_with_it(
    backlog: Backlog,
) -> None:
    backlog.take([(chunk(), lines("aab"))], suspects_apart=True)
    first, other = sent(backlog)
    assert ids(backlog.twins.followers_of([first])) == [1]
    assert not backlog.twins.followers_of([other])


def test_no_more_is_claimed_while_many_wait(backlog: Backlog) -> None:
    """What waits is not in the queue, and its bodies are held in memory."""
    assert not backlog.is_full
    backlog.take([(chunk(), lines("a" * (WAITING_MAX + 1)))], suspects_apart=True)
    assert backlog.is_full
    backlog.finish(sent(backlog)[0], GOOD)
    assert not backlog.is_full
    # Senders wait for the database until this is committed.
    assert not backlog.room.is_set()
