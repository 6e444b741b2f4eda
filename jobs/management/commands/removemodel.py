"""`manage.py removemodel NAME`: remove a model, or switch it off for a while."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from jobs.management.acting import ActingCommand
from jobs.management.described import add_command
from jobs.models import ServedModel
from jobs.services.served_models import StillNamed, disable_model, remove_model

# So many batches are named; the rest are counted.
SHOWN = 5


class Command(ActingCommand):
    help = "Remove a model that no live batch names; with --disable, switch it off instead."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the name under which it was entered")
        parser.add_argument(
            "--disable",
            action="store_true",
            help="keep it, and take no new batches for it; those that are there wait",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        try:
            if options["disable"]:
                self._disable(name)
            else:
                remove_model(name=name)
                self.stdout.write(f"Model '{name}' is removed. Answers that it gave are kept.")
        except ServedModel.DoesNotExist as error:
            raise CommandError(
                f"There is no model '{name}'. `manage.py listmodels` shows those there are."
            ) from error
        except StillNamed as error:
            raise CommandError(_refusal(name, error)) from error

    def _disable(self, name: str) -> None:
        model = disable_model(name=name)
        self.stdout.write(
            f"Model '{name}' is switched off: its batches wait, and new ones are refused. "
            f"To switch it on again:\n  {add_command(model)}"
        )


def _refusal(name: str, error: StillNamed) -> str:
    count = len(error.batch_ids)
    named = "\n".join(f"  {one}" for one in error.batch_ids[:SHOWN])
    more = f"\n  and {count - SHOWN:,} more" if count > SHOWN else ""
    batches = "1 live batch names" if count == 1 else f"{count:,} live batches name"
    return (
        f"Nothing was removed: {batches} '{name}':\n{named}{more}\n"
        "Cancel what is not wanted or wait for its end, or switch the model off: "
        f"manage.py removemodel {name} --disable"
    )
