"""What every test shares."""

from __future__ import annotations

import hypothesis
import pytest

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile(
    "vbatch", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("vbatch")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix):
    """A test server's threads give their connections up, or the database could not be dropped."""
    from django.db import connections

    default = connections.settings["default"]
    default["CONN_MAX_AGE"] = 0
    # Nobody pulls the plug on the tests of this process, which commit a great deal.
    options = default["OPTIONS"].get("options", "")
    default["OPTIONS"]["options"] = f"{options} -c synchronous_commit=off".strip()


@pytest.fixture(autouse=True)
def _plain_static_files(settings):
    """Pages in tests need no collected and hashed static files."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
