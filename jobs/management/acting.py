"""Whose deed a command is: of the account in whose shell it runs."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Any

from django.core.management.base import BaseCommand

from jobs.services.audit import Actor, acting


class ActingCommand(BaseCommand):
    """A command whose deeds are noted as those of whoever runs it."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        with acting(shell_actor):
            return super().execute(*args, **options)


def shell_actor() -> Actor:
    """Return `shell USER@HOST`; no name of a user or key in the audit looks like it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # In a container the account may have no name.
        user = str(os.getuid())
    return Actor(f"shell {user}@{socket.gethostname()}")
