"""`manage.py runbenchmark`: run a workload on a model, and hold it against a baseline."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from rich.console import Console

from benchmarks.api.rendering import csv_of, render_comparison, render_run, row_of
from benchmarks.comparing import compare, why_unlike
from benchmarks.management.following import follow
from benchmarks.management.tables import show_beside, show_comparison, show_run
from benchmarks.models import Run, RunState, Workload
from benchmarks.services.baselines import baseline_of, pin_baseline
from benchmarks.services.rivals import NoRival, check_rival, run_rival
from benchmarks.services.runs import CannotRun, cancel_run, create_run
from benchmarks.services.workloads import InvalidWorkload, find_workload
from benchmarks.workloads import SHIPPED
from jobs.management.acting import ActingCommand
from jobs.models import Project
from jobs.services.fleet import any_worker_alive
from jobs.services.projects import DEFAULT_PROJECT, get_project
from jobs.services.served_models import find_model

REGRESSED, NOT_DONE = 1, 2


class Command(ActingCommand):
    help = (
        "Run a workload on a model, as ordinary batches, and print what was measured. The exit "
        "status is 0, 1 if it regressed against the baseline, and 2 if it could not be run or "
        "compared."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--model", required=True, help="as requests name it")
        parser.add_argument(
            "--workload",
            required=True,
            help=f"{', '.join(SHIPPED)}, or the name or id of one of your own",
        )
        parser.add_argument("--requests", type=int, help="of a shipped workload: how many")
        parser.add_argument(
            "--repeat",
            type=int,
            default=1,
            metavar="K",
            help="measure it so often; a verdict wants five",
        )
        parser.add_argument(
            "--check",
            action="append",
            default=[],
            metavar="JSON",
            help=(
                'of the answers: \'{"kind": "json"}\', \'{"kind": "regex", "pattern": "^A"}\'; as '
                "often as you like, see docs/benchmarks.md"
            ),
        )
        parser.add_argument(
            "--price",
            metavar="P",
            help="of a GPU for an hour, in your currency; of the machine where it has none",
        )
        parser.add_argument("--project", default=DEFAULT_PROJECT)
        parser.add_argument("--note", default="")
        parser.add_argument(
            "--baseline",
            metavar="RUN",
            help="compare with this run (default: the one that is pinned, if any)",
        )
        parser.add_argument(
            "--against",
            choices=["vllm-run-batch"],
            help="run vLLM's own run-batch beside it, on this host's lane",
        )
        parser.add_argument("--pin", action="store_true", help="pin this run as the baseline")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the run to FILE")
        parser.add_argument("--csv", type=Path, metavar="FILE", help="and its repeats as a table")

    def handle(self, *args: Any, **options: Any) -> None:
        project = _project(options["project"])
        baseline = _baseline(project, options["baseline"])
        run = self._make(project, options, baseline)
        told: dict[str, Any] = {}
        self.stdout.write(run.public_id)
        self.stdout.flush()
        if not any_worker_alive():
            self.stderr.write(
                "Note: no worker is alive. The run goes on once `manage.py runworker` runs."
            )
        try:
            run = follow(run)
        except KeyboardInterrupt as interrupt:
            cancel_run(run=run)
            raise CommandError("The run was cancelled.", returncode=130) from interrupt
        if run.state != RunState.COMPLETED:
            raise CommandError(f"The run is {run.state}. {run.error}".strip(), returncode=NOT_DONE)
        self._print(lambda console: show_run(run, console))
        _write(run, options)
        against = baseline or baseline_of(run)
        if against is not None and against.pk != run.pk:
            told["comparison"] = render_comparison(against, run, compare(against, run))
        if options["against"]:
            told["beside"] = render_run(self._run_rival(run))
        _write(run, options, **told)
        self._judge(run, against)
        if options["pin"]:
            pin_baseline(run=run)
            self.stdout.write("Later runs of this workload and model are held against this one.")

    def _make(self, project: Project, options: dict[str, Any], baseline: Run | None) -> Run:
        try:
            workload: Workload = find_workload(
                project=project, name=options["workload"], requests=options["requests"]
            )
            if baseline is not None:
                _check_baseline(baseline, workload, options["model"])
            if options["against"] and (model := find_model(options["model"])) is not None:
                check_rival(model=model, endpoint=workload.endpoint)
            return create_run(
                project=project,
                workload=workload,
                model_name=options["model"],
                repeats=options["repeat"],
                checks=[_check(text) for text in options["check"]],
                price_per_gpu_hour=_price(options["price"]),
                note=options["note"],
            )
        except (InvalidWorkload, CannotRun, NoRival) as error:
            raise CommandError(str(error), returncode=NOT_DONE) from error

    def _run_rival(self, run: Run) -> Run:
        try:
            rival = run_rival(beside=run, say=self.stderr.write)
        except NoRival as error:
            raise CommandError(str(error), returncode=NOT_DONE) from error
        self._print(lambda console: show_beside(run, rival, console))
        return rival

    def _print(self, show: Callable[[Console], None]) -> None:
        text = io.StringIO()
        show(Console(file=text, width=shutil.get_terminal_size().columns))
        self.stdout.write(text.getvalue(), ending="")

    def _judge(self, run: Run, baseline: Run | None) -> None:
        if baseline is None or baseline.pk == run.pk:
            return
        found = compare(baseline, run)
        self._print(lambda console: show_comparison(found, baseline, console))
        if found.unlike or found.verdict in ("", "too few"):
            why = "They are too few repeats for a verdict." if not found.unlike else ""
            raise CommandError(f"There is no verdict. {why}".strip(), returncode=NOT_DONE)
        if found.verdict == "regressed":
            raise CommandError("The run regressed.", returncode=REGRESSED)
        self.stdout.write(f"Verdict: {found.verdict}.")


def _project(name: str) -> Project:
    if name == DEFAULT_PROJECT:
        return get_project()
    found = Project.objects.filter(name=name).first()
    if found is None:
        raise CommandError(f"There is no project '{name}'.", returncode=NOT_DONE)
    return found


def _baseline(project: Project, name: str | None) -> Run | None:
    if name is None:
        return None
    runs = Run.objects.filter(project=project).select_related("workload")
    found = runs.filter(public_id=name).first()
    if found is None:
        raise CommandError(f"There is no run '{name}' in this project.", returncode=NOT_DONE)
    return found


def _check_baseline(baseline: Run, workload: Workload, model: str) -> None:
    """Say before anything is measured that nothing could be compared with it."""
    planned = Run(
        state=RunState.COMPLETED,
        workload=workload,
        model_name=model,
        # On what it will run is not known yet.
        fingerprint=baseline.fingerprint,
    )
    reasons = why_unlike(baseline, planned)
    if reasons:
        raise CommandError(
            f"{baseline.public_id} is no run to compare this one with: {' '.join(reasons)}",
            returncode=NOT_DONE,
        )


def _check(text: str) -> dict[str, Any]:
    try:
        check = json.loads(text)
    except ValueError as error:
        raise CommandError(f"--check: {error}.", returncode=NOT_DONE) from error
    if not isinstance(check, dict):
        raise CommandError('--check is an object, as {"kind": "json"}.', returncode=NOT_DONE)
    return check


def _price(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise CommandError(f"--price: '{text}' is no number.", returncode=NOT_DONE) from error


def _write(run: Run, options: dict[str, Any], **more: Any) -> None:
    """Write the files that are asked for; `more` stands in the JSON beside the run."""
    parts = list(run.parts.order_by("repeat"))
    if options["json"]:
        options["json"].write_text(json.dumps(render_run(run, parts) | more, indent=2) + "\n")
    if options["csv"]:
        rows = [row_of(run, part.figures, repeat=part.repeat) for part in parts if part.repeat]
        options["csv"].write_bytes(b"".join(csv_of([*rows, row_of(run, run.figures)])))
