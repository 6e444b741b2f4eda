"""django-q2's queue in PostgreSQL, whose idle clusters are woken by a notification."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db import close_old_connections, connections
from django.db.models import Manager
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ

CHANNEL = "vbatch_task"
# Where a notification does not arrive, through a pooler perhaps, a task is found after so long.
LOOK_EVERY_S = 1.0


class Doorbell(ORM):  # type: ignore[misc]  # django-q2 has no types.
    """The queue of one cluster.

    To look five times a second in each cluster, as django-q2 does, is a fourth of what an idle
    worker costs a small machine, and still lets a task wait. The setting `poll` must be 0, since
    the parent sleeps for so long whenever it finds nothing.
    """

    _listening: psycopg.Connection | None = None

    @staticmethod
    def get_connection(list_key: str | None = None) -> Manager[OrmQ]:
        """Return the table; unlike the parent's, the connection that listens is not closed."""
        queue: Manager[OrmQ] = OrmQ.objects.using(Conf.ORM)
        return queue

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        """Keep no statistics: each cluster would write its own twice a second, for no reader.

        Whether a cluster lives is seen by `jobs.cluster_watch`; `manage.py qinfo` shows none.
        """

    def enqueue(self, task: str) -> Any:
        """Put a signed task into the queue; return its key. It rings once that is committed."""
        key = super().enqueue(task)
        with connections[Conf.ORM].cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, self.list_key])
        return key

    def dequeue(self) -> list[tuple[Any, str]] | None:
        """Return the tasks that are due with their keys; None where none came in a while."""
        close_old_connections()
        # Before the look, so that what comes between look and wait is heard.
        self._listen()
        found: list[tuple[Any, str]] | None = super().dequeue()
        if not found:
            self._wait()
        return found

    def _listen(self) -> None:
        database = connections[Conf.ORM]
        database.ensure_connection()
        if database.connection is not self._listening:
            database.connection.execute(f"LISTEN {CHANNEL}")
            self._listening = database.connection

    def _wait(self) -> None:
        raw = self._listening
        if raw is None or raw is not connections[Conf.ORM].connection:
            return
        try:
            for rung in raw.notifies(timeout=LOOK_EVERY_S):
                if rung.payload == self.list_key:
                    return
        except psycopg.OperationalError:
            return  # The next look finds out, and connects anew or says what is wrong.
