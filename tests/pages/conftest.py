"""A member, a viewer and a stranger, each logged in; and a real browser, for those who ask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, Page, sync_playwright

from jobs.models import Project, Role
from jobs.services.login_links import create_login_token
from jobs.services.projects import get_project
from tests.cast import make_person
from vbatch_site.setup.chromium import HOW_TO, find_chromium

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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
def page(member) -> Client:
    """The browser of a member of the project."""
    return _client(member)


@pytest.fixture
def viewer_page(project) -> Client:
    return _client(make_person("viewer", project=project, role=Role.VIEWER))


@pytest.fixture
def strange_page(db) -> Client:
    return _client(make_person("stranger", project=get_project(name="theirs")))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    assert path is not None, HOW_TO
    # Playwright runs a loop in this thread; Django takes that for asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@contextmanager
def _opened(browser: Browser, server, member: User, **options) -> Iterator[Page]:
    """Open a page of the member's; any error in its console fails the test."""
    context = browser.new_context(viewport=options.pop("viewport", {"width": 1440, "height": 900}))
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: message.type == "error" and problems.append(message.text),
    )
    member.refresh_from_db()
    page.goto(f"{server.url}/login/link/{create_login_token(user=member)}")
    yield page
    context.close()
    expected = options.get("expected", "\0")
    assert [p for p in problems if expected not in p] == []


@pytest.fixture
def open_page(browser, live_server, member):
    return lambda **options: _opened(browser, live_server, member, **options)
