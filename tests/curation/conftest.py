"""The cast of curation's tests: a project, its owner's browser, and a folder for files."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from jobs.models import Project
from jobs.services.projects import get_project
from tests.cast import make_person


@pytest.fixture
def ours(db) -> Project:
    return get_project(name="ours")


@pytest.fixture
def http(ours) -> Client:
    """The browser of the project's owner."""
    client = Client()
    client.force_login(make_person("owner", project=ours))
    return client


@pytest.fixture
def own_files(settings, tmp_path) -> Path:
    """The folder in which this test's files are stored, and nobody else's."""
    settings.FILES_DIR = settings.MEDIA_ROOT = tmp_path / "files"
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "files" / "incoming"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir(parents=True)
    return tmp_path / "files"
