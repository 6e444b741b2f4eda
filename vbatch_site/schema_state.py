"""Whether the tables of the database and the running code are of one version."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

# A library that drops an old migration from its code makes no skew.
OUR_APPS = frozenset({"site_wide", "jobs", "curation", "benchmarks", "monitoring"})

# The running code's migrations, once applied, stay applied: asked until then, never again.
_applied = False


def unapplied_migrations() -> list[str]:
    """Return the migrations of the running code that the database does not have."""
    global _applied
    if _applied:
        return []
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    plan: list[tuple[Any, bool]] = executor.migration_plan(executor.loader.graph.leaf_nodes())
    _applied = not plan
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def unknown_migrations() -> list[str]:
    """Return the migrations that the database has and the running code does not.

    Asked each time: another host may bring a newer version and migrate while this one runs.
    """
    applied = MigrationRecorder(connections[DEFAULT_DB_ALIAS]).applied_migrations()
    known = _known_migrations()
    return sorted(
        f"{app}.{name}" for app, name in applied if app in OUR_APPS and (app, name) not in known
    )


@cache
def _known_migrations() -> frozenset[tuple[str, str]]:
    loader = MigrationLoader(None)
    known = set(loader.disk_migrations)
    for migration in loader.disk_migrations.values():
        known.update(migration.replaces)
    return frozenset(known)
