"""`manage.py adopthost`: take this host's secret key or files for the installation's own."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from jobs.services.fleet import HostRefused
from jobs.services.installation import adopt_secret_key, adopt_storage, storage_name


class Command(BaseCommand):
    help = (
        "Take this host's secret key, or the files that it sees, for those of the installation, "
        "after a change on purpose. Every worker must be stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--secret-key", action="store_true", help="the key was changed")
        parser.add_argument("--storage", action="store_true", help="the files moved, or are lost")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["secret_key"] and not options["storage"]:
            raise CommandError("Say what: --secret-key, --storage, or both.")
        try:
            if options["secret_key"]:
                adopt_secret_key()
                self.stdout.write("The secret key of this host is the installation's now.")
            if options["storage"]:
                adopt_storage()
                self.stdout.write(f"The installation's files are those in {storage_name()} now.")
        except HostRefused as error:
            raise CommandError(str(error)) from error
