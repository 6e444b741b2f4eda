"""`manage.py submitbatch FILE`: send a batch to this server or another one, and wait for it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import openai
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from openai import OpenAI
from openai.types import Batch

from jobs.line_rules import ENDPOINTS
from jobs.management.input_file import NotABatchFile, first_request, opened, sent_name
from jobs.management.progress import follow

INTERRUPTED = 130


class Command(BaseCommand):
    help = (
        "Send a batch and, with --wait, follow it to its end. The exit status is 0 only if "
        "every line was answered (without --wait: if the batch was accepted)."
    )
    # It may be a remote server that is spoken to: nothing of this one needs to be in order.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, help="JSONL, one request a line")
        parser.add_argument("--batch", metavar="ID", help="go on with this batch, send nothing")
        parser.add_argument("--model", help="write this model into the body of every line")
        parser.add_argument(
            "--endpoint",
            help=f"such as {ENDPOINTS[0]} (default: the url of the first line)",
        )
        parser.add_argument(
            "--base-url",
            default=os.environ.get("OPENAI_BASE_URL") or _own_address(),
            help="address of the API (default: OPENAI_BASE_URL, else %(default)s)",
        )
        parser.add_argument(
            "--api-key",
            help="default: the environment's VBATCH_API_KEY, else OPENAI_API_KEY",
        )
        parser.add_argument("--wait", action="store_true", help="follow the batch to its end")
        parser.add_argument(
            "--output",
            type=Path,
            metavar="OUT",
            help="write the answers to OUT, and failed lines beside it (implies --wait)",
        )
        parser.add_argument("--priority", type=int, choices=(-1, 0, 1), default=0)
        parser.add_argument(
            "--request-order",
            choices=("auto", "file"),
            help="auto runs lines that begin alike one after the other where that spares work",
        )
        parser.add_argument(
            "--no-reuse",
            action="store_true",
            help="compute every line, also those to which the answer is known",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        key = (
            options["api_key"]
            or os.environ.get("VBATCH_API_KEY")
            or os.environ.get("OPENAI_API_KEY")
        )
        if not key:
            raise CommandError(
                "An API key is needed: --api-key, or VBATCH_API_KEY in the environment. "
                "Make one with `manage.py createapikey NAME`."
            )
        if options["output"] and not options["output"].absolute().parent.is_dir():
            raise CommandError(f"There is no folder {options['output'].absolute().parent}.")
        if (options["file"] is None) == (options["batch"] is None):
            raise CommandError("Name either a FILE to send or a --batch ID to go on with.")
        with OpenAI(base_url=options["base_url"], api_key=key) as client:
            try:
                self._run(client, options)
            except openai.APIConnectionError as error:
                raise CommandError(
                    f"No answer from {options['base_url']}: {error.__cause__ or error}. "
                    "Is the server running (`manage.py runweb`), and the address right?"
                ) from error
            except openai.APIStatusError as error:
                raise CommandError(
                    f"{options['base_url']} refuses: {error.message} "
                    f"(request id {error.request_id})"
                ) from error

    def _run(self, client: OpenAI, options: dict[str, Any]) -> None:
        batch_id = options["batch"] or self._send(client, options)
        self.stdout.write(batch_id)
        self.stdout.flush()
        if not options["wait"] and not options["output"]:
            return
        try:
            batch = follow(client, batch_id)
        except KeyboardInterrupt as interrupt:
            raise CommandError(
                f"The batch goes on without you. To go on waiting: {_again(batch_id, options)}",
                returncode=INTERRUPTED,
            ) from interrupt
        self._say_findings(batch)
        if options["output"]:
            self._fetch(client, batch, options["output"])
        self._conclude(batch)

    def _send(self, client: OpenAI, options: dict[str, Any]) -> str:
        path: Path = options["file"]
        try:
            first = first_request(path)
        except NotABatchFile as error:
            raise CommandError(str(error)) from error
        # The client's type lists OpenAI's endpoints; this server may have others.
        endpoint: Any = options["endpoint"] or first.get("url") or ENDPOINTS[0]
        with opened(path, model=options["model"]) as file:
            stored = client.files.create(file=(sent_name(path), file), purpose="batch")
        batch = client.batches.create(
            input_file_id=stored.id,
            endpoint=endpoint,
            completion_window="24h",
            extra_body=_asked_besides(options),
        )
        return batch.id

    def _say_findings(self, batch: Batch) -> None:
        for finding in (batch.errors.data if batch.errors else None) or []:
            where = f"line {finding.line}: " if finding.line else ""
            self.stderr.write(f"{where}{finding.message} ({finding.code})")

    def _fetch(self, client: OpenAI, batch: Batch, output: Path) -> None:
        """Write both result files, each whole or not at all."""
        errors = output.with_name(f"{output.stem}.errors{output.suffix or '.jsonl'}")
        for file_id, target in ((batch.output_file_id, output), (batch.error_file_id, errors)):
            if file_id is None:
                continue
            part = target.with_name(f"{target.name}.part")
            with client.files.with_streaming_response.content(file_id) as content:
                content.stream_to_file(part)
            part.replace(target)
            self.stderr.write(f"Written: {target}")

    def _conclude(self, batch: Batch) -> None:
        counts = batch.request_counts
        total, good, bad = (counts.total, counts.completed, counts.failed) if counts else (0, 0, 0)
        tokens = ""
        if batch.usage:
            tokens = f" Tokens: {batch.usage.input_tokens:,} in, {batch.usage.output_tokens:,} out."
        if batch.status == "completed" and good == total:
            self.stdout.write(f"All {total:,} lines were answered.{tokens}")
            return
        if batch.status == "failed":
            raise CommandError("The batch failed: its input was not accepted. Nothing was run.")
        raise CommandError(
            f"The batch is {batch.status}: {good:,} of {total:,} lines were answered, {bad:,} "
            f"failed. The error file {batch.error_file_id} says why.{tokens}"
        )


def _own_address() -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.HOST, settings.HOST)
    return f"http://{host}:{settings.PORT}/v1"


def _again(batch_id: str, options: dict[str, Any]) -> str:
    words = ["manage.py", "submitbatch", "--batch", batch_id, "--wait"]
    if options["base_url"] != _own_address():
        words += ["--base-url", options["base_url"]]
    if options["output"]:
        words += ["--output", str(options["output"])]
    return shlex.join(words)


def _asked_besides(options: dict[str, Any]) -> dict[str, Any] | None:
    """Return the fields of a create that OpenAI's client does not know, as far as they are asked
    for: another server would refuse them.
    """
    asked: dict[str, Any] = {}
    if options["priority"]:
        asked["priority"] = options["priority"]
    if options["request_order"]:
        asked["request_order"] = options["request_order"]
    if options["no_reuse"]:
        asked["reuse_answers"] = False
    return asked or None
