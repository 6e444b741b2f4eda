"""`manage.py db`: the embedded PostgreSQL from the command line."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from vbatch_site.embedded_db import EmbeddedDbError, delete_db, ensure_db, status, stop_db
from vbatch_site.embedded_db.binaries import find_binaries
from vbatch_site.embedded_db.dump import dump_db, restore_db

# As pg_ctl and service managers have it.
NOT_RUNNING = 3


class Command(BaseCommand):
    """Its standard output is for scripts: `url` prints the address and nothing else."""

    help = "Start, stop, look at, save and restore the embedded PostgreSQL."
    # It must work when the database does not.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        verbs.add_parser("start", help="start the server, if it is not up")
        verbs.add_parser("stop", help="stop the server; what is committed is kept")
        verbs.add_parser("status", help="say how it is; exit status 3 if it is not running")
        verbs.add_parser("url", help="start it if need be, and print its address")
        shell = verbs.add_parser("shell", help="psql on the database")
        shell.add_argument("arguments", nargs="*", help="for psql, after --")
        dump = verbs.add_parser("dump", help="save the database to a file, while all goes on")
        dump.add_argument("file", type=Path)
        restore = verbs.add_parser("restore", help="replace the database by a saved one")
        restore.add_argument("file", type=Path)
        delete = verbs.add_parser("delete", help="stop the server and delete its data for good")
        delete.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        try:
            getattr(self, f"_{verb}")(**options)
        except EmbeddedDbError as error:
            raise CommandError(str(error)) from error

    def _start(self, **options: Any) -> None:
        self.stdout.write(f"Up: {self._ensure()}")

    def _stop(self, **options: Any) -> None:
        stopped = stop_db(settings.DATA_DIR)
        self.stdout.write("Stopped." if stopped else "It was not running.")

    def _status(self, **options: Any) -> None:
        found = status(settings.DATA_DIR)
        self.stdout.write(f"state:   {found.state}")
        self.stdout.write(f"data:    {found.home}")
        for name in ("account", "pid", "version", "url"):
            if (value := getattr(found, name)) is not None:
                self.stdout.write(f"{name + ':':8} {value}")
        if found.state != "running":
            raise CommandError("It is not running.", returncode=NOT_RUNNING)

    def _url(self, **options: Any) -> None:
        self.stdout.write(self._ensure())

    def _shell(self, *, arguments: list[str], **options: Any) -> None:
        psql = find_binaries().program("psql")
        os.execv(psql, [psql, self._ensure(), *arguments])

    def _dump(self, *, file: Path, **options: Any) -> None:
        dump_db(ensure_db(settings.DATA_DIR), file)
        self.stdout.write(f"Saved to {file} ({file.stat().st_size / 1e6:.1f} MB).")

    def _restore(self, *, file: Path, **options: Any) -> None:
        if not file.is_file():
            raise CommandError(f"{file} is not a file.")
        restore_db(self._ensure(), file)
        self.stdout.write(f"Restored from {file}.")

    def _delete(self, *, yes: bool, **options: Any) -> None:
        home = status(settings.DATA_DIR).home
        if not yes and input(f"Delete the database in {home} for good? Type yes: ") != "yes":
            raise CommandError("Nothing was deleted.")
        deleted = delete_db(settings.DATA_DIR)
        self.stdout.write("Deleted." if deleted else "There was none.")

    def _ensure(self) -> str:
        """Start the server and return its address, unless the site uses another one."""
        if settings.DATABASES["default"]["ENGINE"] != "vbatch_site.embedded_backend":
            raise CommandError(
                "DATABASE_URL is set, so the embedded PostgreSQL is not in use. Unset it, or use "
                "the tools of your own server."
            )
        return ensure_db(settings.DATA_DIR)
