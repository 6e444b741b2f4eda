"""A pytest plugin, named in `addopts`: tests have a data folder of their own.

A plugin and no part of `conftest.py`, since pytest-django reads the settings before that: tests
never touch the data of a checkout that is in use. The folder is shared by runs, so that the
embedded database needs no new start each time. Found only by `python -m pytest`, from the top.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pytest

_KEY = hashlib.sha256(__file__.encode()).hexdigest()[:8]
_DATA = Path(tempfile.gettempdir()) / f"vbatch-test-{os.getuid()}-{_KEY}"
os.environ.setdefault("VBATCH_DATA_DIR", str(_DATA))


@pytest.fixture(autouse=True, scope="session")
def _fast_passwords() -> None:
    """Hash the passwords of test persons cheaply: a quarter of a second each adds up."""
    from django.conf import settings

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True, scope="session")
def _quick_emptying() -> None:
    from django.test import TransactionTestCase

    from tests.emptying import empty_tables

    TransactionTestCase._fixture_teardown = lambda case: empty_tables()  # type: ignore[method-assign]
