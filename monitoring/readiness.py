"""Whether this server can take requests: database, migrations, disk, and the others' files."""

from __future__ import annotations

import os
import shutil

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction

from jobs.services.installation import find_faults

STATEMENT_TIMEOUT = "3s"
PARTS = ("database", "migrations", "disk", "secret_key", "storage")


def readiness() -> dict[str, str]:
    """Return what is wrong, by component; empty if the server is ready."""
    problems = {}
    disk = check_disk()
    if disk:
        problems["disk"] = disk
    try:
        check_database()
    except Error as error:
        problems["database"] = f"cannot be used: {type(error).__name__}"
        return problems
    for fault in find_faults():
        problems.setdefault(fault.part, f"{fault.text} {fault.remedy}")
    return problems


def check_database() -> None:
    """Ask the database something; raises Error if it does not answer in time."""
    with transaction.atomic(), connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
        cursor.execute("SELECT 1")


def check_disk() -> str | None:
    """Return why files cannot be stored, None if they can."""
    folder = settings.FILES_DIR
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"the folder of the stored files cannot be used: {error.strerror}"
    if free < settings.MIN_FREE_DISK_BYTES:
        return (
            f"{free // 2**20} MiB free where files are stored; "
            f"{settings.MIN_FREE_DISK_BYTES // 2**20} MiB are the least"
        )
    if not os.access(folder, os.W_OK):
        return "the folder of the stored files cannot be written to"
    return None
