"""`manage.py importbatch INPUT OUTPUT`: enter a batch that was answered elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from jobs.management.acting import ActingCommand
from jobs.management.input_file import NotABatchFile, first_request, sent_name
from jobs.models import Project
from jobs.services.import_files import MODEL_MAX, ImportOrder, NotImportable
from jobs.services.importing import MISSING, import_batch
from jobs.services.limits import StorageFull

ENDPOINT_MAX = 64
FILENAME_MAX = 512


class Command(ActingCommand):
    help = (
        "Enter an ended batch with its results, from the input and output file of OpenAI's Batch "
        "API, of vLLM's run-batch, or of another vbatch. All of it is entered, or nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("input", type=Path, help="JSONL, one request a line")
        parser.add_argument("output", type=Path, help="JSONL, one result a line, in any order")
        parser.add_argument(
            "--errors", type=Path, metavar="FILE", help="the error file, where there is one"
        )
        parser.add_argument("--project", required=True, help="the project that it shall belong to")
        parser.add_argument(
            "--model",
            help="the name to list it under, known here or not (default: the one in its lines)",
        )
        parser.add_argument("--endpoint", help="default: the url of the first line")
        parser.add_argument(
            "--created-at",
            metavar="TIME",
            help="when it was made: 2025-06-01T08:30Z, or seconds since 1970 (default: now)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = _project(options["project"])
        order = _order(options)
        paths = (order.input, *order.results)
        try:
            with _Reading(paths) as reading:
                done = import_batch(project=project, order=order, progress=reading.advance)
        except NotImportable as error:
            for finding in error.findings:
                self.stderr.write(finding)
            more = f", {error.hidden:,} of them not listed" if error.hidden else ""
            count = len(error.findings) + error.hidden
            raise CommandError(
                f"Nothing was imported: {count:,} error{'' if count == 1 else 's'}{more}."
            ) from error
        except (OSError, StorageFull) as error:
            raise CommandError(f"Nothing was imported: {str(error).rstrip('.')}.") from error
        batch = done.batch
        self.stdout.write(batch.public_id)
        self.stdout.write(
            f"Imported {batch.total:,} lines of '{batch.model_name}': {batch.completed:,} "
            f"answered, {batch.failed:,} failed. Tokens: {batch.input_tokens:,} in, "
            f"{batch.output_tokens:,} out."
        )
        if done.missing:
            self.stderr.write(
                f"Note: {done.missing:,} lines of the input have no result in the files. They are "
                f"entered as failed, with the code {MISSING}."
            )


class _Reading:
    """Shows on stderr how much of the files has been read; each is read twice."""

    STEP_BYTES = 1024 * 1024

    def __init__(self, paths: tuple[Path, ...]) -> None:
        columns = (
            TextColumn("Reading, twice"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("", total=2 * sum(p.stat().st_size for p in paths))
        self._read = 0

    def __enter__(self) -> _Reading:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, read: int) -> None:
        self._read += read
        if self._read >= self.STEP_BYTES:
            self._progress.advance(self._task, self._read)
            self._read = 0


def _project(name: str) -> Project:
    project = Project.objects.filter(name=name).first()
    if project is None:
        raise CommandError(
            f"There is no project '{name}'. Make one in the administration, or with a key of its "
            "own: manage.py createapikey NAME --project PROJECT."
        )
    return project


def _order(options: dict[str, Any]) -> ImportOrder:
    try:
        first = first_request(options["input"])
    except NotABatchFile as error:
        raise CommandError(str(error)) from error
    results = tuple(path for path in (options["output"], options["errors"]) if path is not None)
    for path in (options["input"], *results):
        if not path.is_file():
            raise CommandError(f"{path} is not a file.")
    endpoint = options["endpoint"] or first.get("url")
    if not isinstance(endpoint, str) or not endpoint.startswith("/"):
        raise CommandError("The first line names no url: name the --endpoint.")
    model = options["model"]
    for what, text, longest in (
        ("--endpoint", endpoint, ENDPOINT_MAX),
        ("--model", model, MODEL_MAX),
    ):
        if text is not None and (not 0 < len(text) <= longest or not text.isprintable()):
            raise CommandError(f"{what} must have 1 to {longest} printable characters.")
    return ImportOrder(
        input=options["input"],
        input_name=sent_name(options["input"])[-FILENAME_MAX:],
        results=results,
        endpoint=endpoint,
        model=model,
        created_at=_moment(options["created_at"]),
    )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = (
            datetime.fromtimestamp(int(text), UTC)
            if text.isascii() and text.isdigit()
            else parse_datetime(text)
        )
    except (ValueError, OverflowError, OSError):
        found = None
    if found is None:
        raise CommandError(f"--created-at: '{text}' is neither a time nor seconds since 1970.")
    if timezone.is_naive(found):
        found = timezone.make_aware(found)
    if found > timezone.now():
        raise CommandError(f"--created-at: {text} is still to come.")
    return found
