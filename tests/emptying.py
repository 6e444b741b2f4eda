"""Emptying the tables after a test that commits, quickly."""

from __future__ import annotations

from django.db import connection

# What migrations have put there stays: to make it anew takes longer than most tests.
_KEPT = {"django_content_type", "auth_permission", "auth_group", "auth_group_permissions"}


def empty_tables() -> None:
    """Delete what is in the tables.

    Django truncates each of them, and makes content types and permissions anew: half a second
    for a handful of rows.
    """
    tables = set(connection.introspection.django_table_names(only_existing=True)) - _KEPT
    with connection.cursor() as cursor:
        # One that was never written, or is truncated, has no pages.
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND pg_relation_size(oid) > 0",
            [sorted(tables)],
        )
        deletes = [f'DELETE FROM "{row[0]}"' for row in cursor]
        # As a replica no foreign key is looked after, so that the order does not matter.
        cursor.execute(
            "; ".join(
                [
                    "SET session_replication_role = replica",
                    *deletes,
                    "RESET session_replication_role",
                ]
            )
        )
