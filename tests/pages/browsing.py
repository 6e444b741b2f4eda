"""A real browser for the tests of pages: how it is started, and what a page is held to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from vbatch_site.setup.debian import CHROMIUM, find_chromium

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SOON_MS = 8_000


@contextmanager
def started_browser() -> Iterator[Browser]:
    path = find_chromium()
    assert path is not None, CHROMIUM.how_to
    # Playwright runs a loop in this thread; Django takes that for asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@contextmanager
def opened_at(
    browser: Browser, url: str, login_token: str, *, expected: str = "\0", **options: Any
) -> Iterator[Page]:
    """Open a page, logged in; any error in its console fails the test, but for those `expected`.

    So does a violation of the content security policy, and a request to another host. That holds
    for every page of `page.context`, each of which is watched.
    """
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
    problems: list[str] = []

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda message: message.type == "error" and problems.append(message.text),
        )

    context.on("page", watch)
    context.on(
        "request",
        lambda request: (
            request.url.startswith((url, "data:", "blob:"))
            or problems.append(f"asked for {request.url}")
        ),
    )
    page = context.new_page()
    page.goto(f"{url}/login/link/{login_token}")
    yield page
    context.close()
    unexpected = [p for p in problems if expected not in p]
    assert not unexpected, unexpected


def check_accessible(page: Page) -> None:
    """Fail on what axe-core finds serious or critical on the page as it is now."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    grave = [
        (
            one["id"],
            one["help"],
            [(node["html"][:120], node["failureSummary"]) for node in one["nodes"][:20]],
        )
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert not grave, grave
