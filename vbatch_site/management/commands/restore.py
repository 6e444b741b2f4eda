"""`manage.py restore`: make this installation what a backup holds."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from vbatch_site.backup import BackupError, bring_back
from vbatch_site.embedded_db import EmbeddedDbError


class Command(BaseCommand):
    help = "Bring back what `manage.py backup` saved; nothing may be running."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument(
            "--replace", action="store_true", help="although there is data: it is replaced"
        )

    def handle(self, *args: Any, folder: Path, replace: bool, **options: Any) -> None:
        try:
            backup, lost = bring_back(folder, replace=replace)
        except (BackupError, EmbeddedDbError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Restored the backup of {backup.made_at}, with {backup.files} files.")
        if lost:
            self.stdout.write(
                f"{lost} files had been deleted while it was made, and count as deleted now."
            )
        self.stdout.write("Start web and worker: batches go on where the backup has them.")
