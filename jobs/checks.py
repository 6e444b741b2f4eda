"""System checks of a host: whether it fits the installation on its database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import Error as DatabaseFault

from jobs.services.installation import find_faults

HOSTS = "hosts"
# Once given, an id keeps its meaning: operators silence checks by it.
_IDS = {
    "secret_key": "vbatch.E001",
    "storage": "vbatch.E002",
    "version": "vbatch.E003",
    "migrations": "vbatch.E004",
}


@register(HOSTS)
def check_host(
    app_configs: Any = None, databases: Sequence[str] | None = None, **options: Any
) -> list[CheckMessage]:
    """Look whether key, files, version and tables are those of the others on the database.

    Asked only where the database may be: `manage.py check --tag hosts --database default`, and
    by `runworker` at its start.
    """
    if not databases:
        return []
    try:
        faults = find_faults(worker=settings.WORKER_NAME)
    except DatabaseFault as error:
        return [Error(f"The database cannot be asked: {error}".strip(), id="vbatch.E005")]
    return [Error(fault.text, hint=fault.remedy, id=_IDS[fault.part]) for fault in faults]
