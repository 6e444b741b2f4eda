"""An idle cluster is woken by a task that is committed for it, and by no other."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connection, transaction

from jobs import doorbell
from jobs.doorbell import Doorbell

pytestmark = pytest.mark.django_db(transaction=True)

# Longer than any test lasts: whoever comes back before was rung for.
NEVER_S = 200.0


class Cluster(threading.Thread):
    """Looks into a queue until it has found a task, with a connection of its own."""

    def __init__(self, queue: str) -> None:
        super().__init__(daemon=True)
        self._queue = queue
        self.looks = 0
        self.found: list[str] = []
        self.start()

    def run(self) -> None:
        # As a server keeps it; tests close theirs after each use.
        connection.settings_dict = {
            **connection.settings_dict,
            "CONN_MAX_AGE": 600,
            "CONN_HEALTH_CHECKS": True,
        }
        broker = Doorbell(list_key=self._queue)
        try:
            while not self.found:
                self.looks += 1
                self.found = [task for _, task in broker.dequeue() or ()]
        finally:
            connection.close()


def waiting_for(query: str) -> list[int]:
    """Return which connections wait after such a query, once there is one."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND state = 'idle' AND query LIKE %s",
                [query],
            )
            if found := [pid for (pid,) in cursor.fetchall()]:
                return found
        time.sleep(0.02)
    raise AssertionError("nobody waits")


@pytest.fixture
def cluster(monkeypatch, db):
    monkeypatch.setattr(doorbell, "LOOK_EVERY_S", NEVER_S)
    thread = Cluster("mine")
    waiting_for('%FROM "django_q_ormq"%')
    yield thread
    # Whatever became of the test, the thread ends.
    Doorbell(list_key="mine").enqueue("end")
    thread.join(30)
    assert not thread.is_alive()


def test_a_task_wakes_the_cluster_that_waits_for_it(cluster):
    Doorbell(list_key="other").enqueue("not mine")
    Doorbell(list_key="mine").enqueue("mine")
    cluster.join(30)
    assert cluster.found == ["mine"]
    # The one that waited, and the one that found: the other queue's task woke nobody.
    assert cluster.looks == 2


def test_it_rings_when_the_transaction_is_committed(cluster):
    with transaction.atomic():
        Doorbell(list_key="mine").enqueue("mine")
        cluster.join(0.5)
        assert cluster.is_alive()
    cluster.join(30)
    assert cluster.found == ["mine"]


def test_a_connection_that_is_cut_off_is_made_anew_and_listens_again(cluster):
    (pid,) = waiting_for('%FROM "django_q_ormq"%')
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 20000)", [pid])
    (again,) = waiting_for('%FROM "django_q_ormq"%')
    assert again != pid
    Doorbell(list_key="mine").enqueue("mine")
    cluster.join(30)
    assert cluster.found == ["mine"]


def test_what_was_not_rung_for_is_found_all_the_same(monkeypatch, db):
    monkeypatch.setattr(doorbell, "CHANNEL", "vbatch_unheard")
    thread = Cluster("mine")
    waiting_for('%FROM "django_q_ormq"%')
    monkeypatch.setattr(doorbell, "CHANNEL", "vbatch_elsewhere")
    Doorbell(list_key="mine").enqueue("mine")
    thread.join(30)
    assert thread.found == ["mine"]


def test_a_cluster_writes_no_statistics():
    broker = Doorbell(list_key="any")
    broker.set_stat("cluster", "alive", 3)
    assert broker.get_stat("cluster") is None
