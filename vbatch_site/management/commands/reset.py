"""`manage.py reset`: delete all data of this installation, after asking."""

from __future__ import annotations

import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from vbatch_site.embedded_db import delete_db

# The models stay: they are not data, and take long to prepare.
_FOLDERS = ("files", "log", "run", "static")


class Command(BaseCommand):
    help = "Delete every batch, file, key and user of this installation (asks first)."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        if "embedded" not in settings.DATABASES["default"]["ENGINE"]:
            raise CommandError(
                "This installation uses the database in DATABASE_URL, which is not deleted from "
                "here. Drop it with your own tools, then delete the files in "
                f"{settings.FILES_DIR}."
            )
        if not options["yes"]:
            self.stdout.write(
                f"This deletes every batch, file, key and user under {settings.DATA_DIR}. "
                "It cannot be undone."
            )
            if input("Type 'delete' to go on: ").strip() != "delete":
                raise CommandError("Nothing was deleted.")
        call_command("stop", stdout=self.stdout)
        delete_db(settings.DATA_DIR)
        for name in _FOLDERS:
            shutil.rmtree(Path(settings.DATA_DIR) / name, ignore_errors=True)
        (Path(settings.DATA_DIR) / "secret_key").unlink(missing_ok=True)
        self.stdout.write("All data is deleted. `make demo` starts afresh.")
