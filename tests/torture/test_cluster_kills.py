"""A process of the task queue dies while nothing happens: the next batch is answered."""

from __future__ import annotations

import pytest

from tests.stack import Stack, chat_lines, check_finished
from tests.torture.care import kill_all, wait_at_rest, wait_whole

pytestmark = pytest.mark.stack

QUEUES = ("control", "stack-cpu")


@pytest.mark.parametrize(
    "role",
    [
        "worker",
        # These show at once, so the normal suite can do without them.
        *[
            pytest.param(role, marks=pytest.mark.torture)
            for role in ("q-monitor", "q-sentinel", "q-pusher", "q-main", "guard")
        ],
    ],
)
def test_idle_cluster_that_lost_a_process_is_replaced_whole(torn: Stack, role: str) -> None:
    """Both kinds of cluster at once: the one that validates and the one that works for a lane."""
    wait_at_rest(torn)
    before = {p.pid for p in torn.processes() if p.queue in QUEUES}
    roles = {"q-worker", "lane-task"} if role == "worker" else {role}
    victims = {queue: [p for p in torn.processes() if p.queue == queue] for queue in QUEUES}
    for queue in QUEUES:
        kill_all([next(p for p in victims[queue] if p.role in roles)])
    lines = list(chat_lines(10, prefix=f"idle-{role}"))
    batch = torn.submit(lines)
    assert torn.wait_ended(batch, 30) == "completed"
    check_finished(torn, batch, lines)
    wait_whole(torn)
    after = {p.pid for p in torn.processes() if p.queue in QUEUES}
    assert not before & after, "a process of a wounded cluster lives on"


@pytest.mark.torture
def test_lost_messages_are_sent_again(torn: Stack) -> None:
    """Every message of the queue vanishes: the tables still say what is to be done."""
    wait_at_rest(torn)
    lines = list(chat_lines(10, prefix="lost"))
    torn.sql(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "DELETE FROM django_q_ormq WHERE id = NEW.id; RETURN NULL; END $$"
    )
    torn.sql(
        "CREATE TRIGGER lose AFTER INSERT ON django_q_ormq FOR EACH ROW EXECUTE FUNCTION lose()"
    )
    try:
        batch = torn.submit(lines)
        assert torn.state(batch)[0] == "validating"
    finally:
        torn.sql("DROP TRIGGER lose ON django_q_ormq")
        torn.sql("DROP FUNCTION lose()")
    assert torn.wait_ended(batch, 30) == "completed"
    check_finished(torn, batch, lines)
