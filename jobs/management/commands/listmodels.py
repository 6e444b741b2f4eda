"""`manage.py listmodels`: the models, where their answers come from, and how they stand."""

from __future__ import annotations

import shutil
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.management.described import value_text
from jobs.models import Lane, LaneModel
from jobs.services.served_models import ModelStanding, list_models
from jobs.states import EngineState

# Where there is no terminal to fit into.
WIDTH = 200
ERROR_MAX = 200
COLUMNS = ("Name", "Aliases", "Origin", "Arguments", "On", "Loaded on", "Last failure")


class Command(BaseCommand):
    help = "Show the models that are entered, and how they stand on the lanes."

    def handle(self, *args: Any, **options: Any) -> None:
        models = list_models()
        if not models:
            self.stdout.write("No model is entered. Enter one: manage.py addmodel NAME --source …")
            return
        table = Table()
        for name in COLUMNS:
            table.add_column(name, overflow="fold")
        for standing in models:
            # Text, since what an engine says may hold brackets, which rich takes for markup.
            table.add_row(*(Text(cell) for cell in _cells(standing)))
        console = Console(width=shutil.get_terminal_size((WIDTH, 24)).columns)
        with console.capture() as capture:
            console.print(table)
        self.stdout.write(capture.get())


def _cells(standing: ModelStanding) -> list[str]:
    model = standing.model
    origin, arguments = model.source, model.engine_args
    if model.is_upstream:
        asked_for = f" ({model.upstream_model})" if model.upstream_model else ""
        origin = f"{model.upstream_url}{asked_for}"
        arguments = f"{model.upstream_concurrency} at once"
        if model.upstream_key_env:
            arguments += f", key in {model.upstream_key_env}"
    return [
        model.name,
        ", ".join(model.aliases),
        origin,
        arguments,
        value_text(model.enabled),
        ", ".join(_lane(lane) for lane in standing.lanes),
        "\n".join(_failure(failure) for failure in standing.failures),
    ]


def _lane(lane: Lane) -> str:
    return f"{lane} (starting)" if lane.engine_state == EngineState.STARTING else str(lane)


def _failure(failure: LaneModel) -> str:
    reason = failure.last_error.strip()
    reason = reason if len(reason) <= ERROR_MAX else f"{reason[:ERROR_MAX]} …"
    if failure.retry_at is None or failure.retry_at <= timezone.now():
        return f"{failure.lane}: {reason}"
    return f"{failure.lane}: {reason}; next try at {failure.retry_at.isoformat(timespec='seconds')}"
