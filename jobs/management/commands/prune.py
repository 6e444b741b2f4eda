"""`manage.py prune`: say what is due to go, table by table, then remove it in slices."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jobs.models import Project
from jobs.services.due import Scope
from jobs.services.retention import measure_all, remove_all
from jobs.services.slices import Pace, Tally


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 36_500:
        raise ArgumentTypeError(f"'{text}' is not a number of days from 0 to 36500")
    return int(text)


class Command(BaseCommand):
    help = (
        "Remove what was deleted, has expired, or is older than the settings keep it. The worker "
        "does the same, little by little, each minute."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
        parser.add_argument(
            "--older-than",
            metavar="DAYS",
            type=_days,
            help="also batches that ended so many days ago or earlier; 0 is all that have ended",
        )
        parser.add_argument(
            "--project",
            metavar="NAME",
            help="only what belongs to this project",
        )

    def handle(
        self,
        *args: Any,
        dry_run: bool,
        older_than: int | None,
        project: str | None,
        **options: Any,
    ) -> None:
        scope = Scope(now=timezone.now(), project=_find(project), batch_days=older_than)
        due = measure_all(scope)
        if not due.count:
            self.stdout.write("Nothing is due.")
            return
        self.stdout.write("To be removed:" if not dry_run else "Would be removed:")
        self._show(due)
        if dry_run:
            return
        removed = self._remove(scope, due)
        self.stdout.write("Removed:")
        self._show(removed)

    def _remove(self, scope: Scope, due: Tally) -> Tally:
        removed = Tally()
        columns = (
            TextColumn("removing"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=due.count)
            for tally in remove_all(scope, pace=Pace()):
                removed.merge(tally)
                progress.update(task, completed=removed.count)
        return removed

    def _show(self, tally: Tally) -> None:
        for name, amount in sorted(tally.amounts.items()):
            self._row(name, amount.count, amount.bytes)
        self._row("together", tally.count, tally.bytes)

    def _row(self, name: str, count: int, size: int) -> None:
        self.stdout.write(f"  {name:<32}{count:>14,}  {decimal(size):>12}")


def _find(name: str | None) -> Project | None:
    if name is None:
        return None
    project = Project.objects.filter(name=name).first()
    if project is None:
        raise CommandError(f"There is no project '{name}'.")
    return project
