"""`manage.py backup`: save database, files and secret key to a folder, while everything runs."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.filesize import decimal

from vbatch_site.backup import BackupError, save
from vbatch_site.embedded_db import EmbeddedDbError


class Command(BaseCommand):
    help = "Save database, stored files and secret key to a new folder, while everything runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="new or empty")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        try:
            backup = save(folder)
        except (BackupError, EmbeddedDbError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Saved to {folder}: the database ({decimal(backup.database_bytes)}) and "
            f"{backup.files} files ({decimal(backup.file_bytes)})."
        )
