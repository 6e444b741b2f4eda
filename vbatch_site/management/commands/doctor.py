"""`manage.py doctor`: is everything here that vbatch needs?"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from vbatch_site.doctor import examine

_MARKS = {
    "ok": "[green]right[/]     ",
    "wrong": "[red]wrong[/]     ",
    "not needed": "[dim]not needed[/]",
}


class Command(BaseCommand):
    help = "Check this machine: driver, GPUs, engine, database, disk, ports, models, workers."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(highlight=False, soft_wrap=True)
        faults = 0
        for line in examine():
            console.print(f"{_MARKS[line.verdict]}  [bold]{line.title}[/]: ", end="")
            console.print(line.detail, markup=False)
            if line.remedy:
                faults += 1
                console.print(f"              What to do: {line.remedy}", markup=False)
        if faults:
            raise CommandError(f"{faults} of these must be mended.", returncode=1)
        console.print("All is well.")
