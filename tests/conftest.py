"""What every test shares: a data folder of its own, and the small cast."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pytest

# Before Django reads its settings: tests never touch the data of a checkout that is in use.
# The folder is shared by runs, so that the embedded database needs no new start each time.
_KEY = hashlib.sha256(__file__.encode()).hexdigest()[:8]
_DATA = Path(tempfile.gettempdir()) / f"vbatch-test-{os.getuid()}-{_KEY}"
os.environ.setdefault("VBATCH_DATA_DIR", str(_DATA))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix):
    """A test server's threads give their connections up, or the database could not be dropped."""
    from django.db import connections

    connections.settings["default"]["CONN_MAX_AGE"] = 0


@pytest.fixture(autouse=True)
def _plain_static_files(settings):
    """Pages in tests need no collected and hashed static files."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
