"""What goes wrong with the embedded server, in words that say what to do."""

from __future__ import annotations

from psycopg import OperationalError


class EmbeddedDbError(OperationalError):
    """The embedded server cannot be used; the message names the remedy.

    It is a psycopg `OperationalError`, so whoever handles an unreachable database handles this.
    """
