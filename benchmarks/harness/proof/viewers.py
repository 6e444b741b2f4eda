"""Pages that are open: what a browser asks the server for, and when, without the browser.

A real browser would draw on the same cores as the engine, which nobody does who has a server.
"""

from __future__ import annotations

import gzip
import html
import http.client
import json
import re
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from urllib.parse import urlsplit

# As static/js/live.js and static/js/series.js ask.
EVERY_S = 2.0
# The pages; one that is still asks for nothing again.
PAGES = {"/": "", "/batches": "", "/monitor": "", "/results": "still"}
_LIVE = re.compile(r'data-live="([^"]+)"')
_CHART = re.compile(r'data-chart[^>]* data-src="([^"]+)"')
_HEADERS = {"Accept-Encoding": "gzip"}


class Viewers:
    """One person with five pages open: Home, batches, Monitor, results, and the running batch."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._cookie = _log_in(url, token)
        self._counts: Counter[str] = Counter()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the pages open meanwhile; RuntimeError at the end if one could not be asked."""
        stop = threading.Event()
        faults: list[str] = []
        self._counts.clear()

        def watch(path: str) -> None:
            try:
                self._watch(path, stop)
            except Exception as error:
                faults.append(f"{path}: {error!r}")

        threads = [threading.Thread(target=watch, args=(path,)) for path in (*PAGES, "running")]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        if faults:
            raise RuntimeError(f"Pages could not be watched: {faults}")

    def asked(self) -> dict[str, int]:
        """Return how often each was asked for the last time that the pages were open."""
        return dict(self._counts)

    def _watch(self, path: str, stop: threading.Event) -> None:
        parts = urlsplit(self._url)
        assert parts.hostname is not None
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        page = _Page(connection, {**_HEADERS, "Cookie": self._cookie}, self._counts)
        if path == "running":
            path = self._running(page, stop)
        if not path:
            return
        page.open(path)
        while not stop.wait(EVERY_S):
            page.look()

    def _running(self, page: _Page, stop: threading.Event) -> str:
        """Return the page of the batch that runs, once there is one."""
        while not stop.wait(0.5):
            live = json.loads(page.get("/api/running-jobs"))
            if live["jobs"]:
                return f"/batches/{live['jobs'][0]['batch_id']}"
        return ""


@dataclass
class _Page:
    """One open page, and what it asks for again and again."""

    connection: http.client.HTTPConnection
    headers: dict[str, str]
    counts: Counter[str]
    live: dict[str, str] = field(default_factory=dict)
    series: dict[str, str] = field(default_factory=dict)
    etag: str = ""

    def open(self, path: str) -> None:
        text = self.get(path).decode()
        self.live = {html.unescape(address): "" for address in _LIVE.findall(text)}
        self.series = {html.unescape(address): "" for address in _CHART.findall(text)}
        if not self.live and PAGES.get(path) != "still":
            raise RuntimeError(f"Nothing on {path} is live: what it asks for is not known here")

    def look(self) -> None:
        """Ask for what is live, and for what is new in the charts."""
        for address, etag in list(self.live.items()):
            self.get(address, etag=etag)
            self.live[address] = self.etag
        for address, cursor in list(self.series.items()):
            more = f"{'&' if '?' in address else '?'}since={cursor}" if cursor else ""
            if text := self.get(address + more):
                self.series[address] = json.loads(text)["cursor"]

    def get(self, path: str, *, etag: str = "") -> bytes:
        headers = {**self.headers, "If-None-Match": etag} if etag else self.headers
        self.connection.request("GET", path, headers=headers)
        response = self.connection.getresponse()
        text = response.read()
        self.etag = response.headers.get("ETag") or ""
        if response.status not in (200, 304):
            raise RuntimeError(f"{path} answers {response.status}")
        self.counts[f"{path.partition('?')[0]} {response.status}"] += 1
        if response.headers.get("Content-Encoding") == "gzip":
            text = gzip.decompress(text)
        return text


def _log_in(url: str, token: str) -> str:
    jar = CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    with opener.open(f"{url}/login/link/{token}", timeout=60) as response:
        response.read()
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)
