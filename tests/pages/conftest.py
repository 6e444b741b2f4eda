"""A member, a viewer, a stranger and an administrator, each logged in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from jobs.models import Project, Role
from jobs.services.login_links import create_login_token
from jobs.services.projects import get_project
from tests.cast import make_person


@pytest.fixture
def project(db) -> Project:
    return get_project(name="ours")


@pytest.fixture
def member(project) -> User:
    return make_person("member", project=project)


def _client(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def own_files(settings, tmp_path) -> Path:
    """The folder in which this test's files are stored, and nobody else's."""
    settings.FILES_DIR = settings.MEDIA_ROOT = tmp_path / "files"
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "files" / "incoming"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir(parents=True)
    return tmp_path / "files"


@pytest.fixture
def page(member) -> Client:
    """The browser of a member of the project."""
    return _client(member)


@pytest.fixture
def viewer_page(project) -> Client:
    return _client(make_person("viewer", project=project, role=Role.VIEWER))


@pytest.fixture
def strange_page(db) -> Client:
    return _client(make_person("stranger", project=get_project(name="theirs")))


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    # Only here: the other tests of pages need no browser.
    from tests.pages.browsing import started_browser

    with started_browser() as browser:
        yield browser


@pytest.fixture
def open_page(browser, live_server, member) -> Callable[..., Any]:
    """Open a page in a real browser, logged in as the member."""
    from tests.pages.browsing import opened_at

    def opened(**options: Any) -> Any:
        member.refresh_from_db()
        return opened_at(browser, live_server.url, create_login_token(user=member), **options)

    return opened
