"""`manage.py createapikey NAME`: make an API key and print it, and nothing else, on stdout."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from jobs.management.acting import ActingCommand
from jobs.services.projects import DEFAULT_PROJECT, create_key, get_project
from jobs.services.throttle import RATE_MAX

NAME_MAX = 50
PROJECT_MAX = 64


class Command(ActingCommand):
    help = "Make an API key. It is printed once and kept only as a hash."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what the key is for, as it is listed in the admin")
        parser.add_argument(
            "--project",
            default=DEFAULT_PROJECT,
            help="the project that it acts for, made if there is none (default: %(default)s)",
        )
        parser.add_argument(
            "--expires", type=int, metavar="DAYS", help="days until it expires (default: never)"
        )

        parser.add_argument(
            "--requests-per-minute",
            type=int,
            metavar="N",
            help="what it may ask a minute; 0 is no limit (default: VBATCH_REQUESTS_PER_MINUTE)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name, project = options["name"].strip(), options["project"].strip()
        for what, text, longest in (("NAME", name, NAME_MAX), ("--project", project, PROJECT_MAX)):
            if not 0 < len(text) <= longest or not text.isprintable():
                raise CommandError(f"{what} must have 1 to {longest} printable characters.")
        days = options["expires"]
        if days is not None and not 1 <= days <= 36_500:
            raise CommandError("--expires must be between 1 and 36500 days.")
        rate = options["requests_per_minute"]
        if rate is not None and not 0 <= rate <= RATE_MAX:
            raise CommandError(f"--requests-per-minute must be between 0 and {RATE_MAX}.")
        _, secret = create_key(
            project=get_project(name=project),
            name=name,
            expires_at=None if days is None else timezone.now() + timedelta(days=days),
            requests_per_minute=rate,
        )
        self.stdout.write(secret)
        self.stderr.write(f"Key '{name}' of project '{project}'; it is not shown again.")
