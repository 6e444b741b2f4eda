"""The database cursor of the hot path: Django's connection without Django's client-side binding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection


@contextmanager
def hot_cursor() -> Iterator[psycopg.Cursor[Any]]:
    """Give a cursor on Django's own connection that sends parameters in binary.

    Django's cursor writes each parameter into the text of the statement, which doubles bodies
    and costs most of the ingest rate. Transactions and error classes stay Django's.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        yield cursor
