"""Places in the product's SQL at which whoever comes there waits until the test lets go."""

from __future__ import annotations

import itertools
from types import TracebackType

import psycopg
from psycopg import sql

from tests.stack import Stack

_keys = itertools.count(70_001)


class Point:
    """Holds every statement that does `event` to `table` (to a row for which `when` is true).

    `event` is as in `AFTER INSERT` or `BEFORE UPDATE`; with `at_commit` it is held in the COMMIT
    of its transaction, when all is done and nothing is visible yet. The product has no part in
    it: a trigger waits for an advisory lock that the test's own session has. A statement whose
    client is killed meanwhile is still done by PostgreSQL, as it would be if the client died
    right after sending it. Use as a context manager: leaving lets all go.
    """

    def __init__(
        self, stack: Stack, table: str, event: str, *, when: str = "true", at_commit: bool = False
    ) -> None:
        self._stack = stack
        self._table = table
        self._key = next(_keys)
        self._name = f"hold_{self._key}"
        self._text = f"{event} on {table}"
        head = f"CREATE TRIGGER {self._name} {event} ON {table}"
        if at_commit:
            head = (
                f"CREATE CONSTRAINT TRIGGER {self._name} {event} ON {table} "
                "DEFERRABLE INITIALLY DEFERRED"
            )
        self._trigger = f"{head} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION {self._name}()"

    def __enter__(self) -> Point:
        self._session = psycopg.connect(self._stack.database_url, autocommit=True)
        self._run(f"SELECT pg_advisory_lock({self._key})")
        self._run(
            f"CREATE FUNCTION {self._name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"PERFORM pg_advisory_xact_lock_shared({self._key}); RETURN NEW; END $$"
        )
        self._run(self._trigger)
        return self

    def _run(self, statement: str) -> None:
        self._session.execute(sql.SQL(statement))  # type: ignore[arg-type]

    def held(self) -> int:
        """Return how many sessions wait here now."""
        found = self._stack.sql(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
            "AND objid = %s",
            self._key,
        )
        return int(found[0][0])

    def wait_reached(self, timeout_s: float = 30.0) -> None:
        """Wait until somebody is held here."""
        self._stack.wait(self.held, timeout_s, f"somebody to be held at {self._text}")

    def let_go(self) -> None:
        """Let all go on that wait here, and whoever comes later."""
        self._session.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.let_go()
        # A new session: the database may have been killed meanwhile.
        self._stack.start_database()
        self._stack.sql(f"DROP TRIGGER {self._name} ON {self._table}")
        self._stack.sql(f"DROP FUNCTION {self._name}()")
