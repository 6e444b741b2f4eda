"""`manage.py migrate`: Django's own, which a host may run whose tables are still missing."""

from __future__ import annotations

from typing import Any

from django.core.checks.registry import registry
from django.core.management.commands.migrate import Command as DjangoCommand

from jobs.checks import HOSTS


class Command(DjangoCommand):
    def check(self, *args: Any, **options: Any) -> None:
        """Leave out whether the host fits: it says to migrate, and would refuse to."""
        options["tags"] = sorted(registry.tags_available() - {HOSTS})
        super().check(*args, **options)
