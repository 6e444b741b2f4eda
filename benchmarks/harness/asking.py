"""Those who ask for the requests of the list: members, an administrator, a key, nobody."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks.harness.page_list import ADMIN, KEY, MEMBER, NOBODY, VIEWER
from jobs.models import Project
from jobs.services.projects import create_key

# As benchmarks.harness.seeding.fleet names them.
PEOPLE = {MEMBER: "everywhere", VIEWER: "tiny", ADMIN: "operator"}


class Askers:
    """A client for each of them, logged in; the key is of `project`."""

    def __init__(self, project: Project) -> None:
        _, secret = create_key(project=project, name="pages")
        self._headers: dict[str, dict[str, str]] = {
            KEY: {"Authorization": f"Bearer {secret}"},
            NOBODY: {},
        }
        self._clients = {
            NOBODY: Client(SERVER_NAME="127.0.0.1"),
            KEY: Client(SERVER_NAME="127.0.0.1", headers=self._headers[KEY]),
        }
        for by, name in PEOPLE.items():
            client = Client(SERVER_NAME="127.0.0.1")
            client.force_login(User.objects.get(username=name))
            cookie = client.cookies[settings.SESSION_COOKIE_NAME]
            self._clients[by] = client
            self._headers[by] = {"Cookie": f"{cookie.key}={cookie.value}"}

    def headers(self, by: str) -> dict[str, str]:
        return self._headers[by]

    def count_queries(self, by: str, address: str) -> tuple[int, int]:
        """Ask here; return the answer's status, and the number of statements that it cost."""
        with CaptureQueriesContext(connection) as asked:
            response = self._clients[by].get(address)
            if response.streaming:
                b"".join(response)
        return response.status_code, len(asked)
