"""`manage.py webhooksecret PROJECT`: print the secret that signs a project's webhooks."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.models import Project
from jobs.services.webhooks import rotate_secret, secret_of


class Command(BaseCommand):
    help = "Print the secret that signs a project's webhooks; it is made when first asked for."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="the project's name")
        parser.add_argument(
            "--rotate", action="store_true", help="make a new one; receivers need it at once"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(name=options["project"]).first()
        if project is None:
            names = ", ".join(Project.objects.order_by("name").values_list("name", flat=True))
            raise CommandError(
                f"There is no project '{options['project']}'. There are: {names or 'none yet'}."
            )
        secret = rotate_secret(project=project) if options["rotate"] else secret_of(project=project)
        self.stdout.write(secret)
