"""`manage.py migrate` as it is typed, with Django's checks before it."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from jobs.services import installation

pytestmark = pytest.mark.django_db


def test_the_fault_that_says_to_migrate_does_not_keep_anybody_from_it(monkeypatch, capsys):
    monkeypatch.setattr(installation, "unapplied_migrations", lambda: ["jobs.0001_initial"])
    with pytest.raises(SystemCheckError, match="run `manage.py migrate`"):
        call_command("check", databases=["default"])
    call_command("migrate", skip_checks=False)
    assert "No migrations to apply" in capsys.readouterr().out
