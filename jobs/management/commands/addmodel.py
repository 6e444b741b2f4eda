"""`manage.py addmodel`: enter a model that batches may name, or change one."""

from __future__ import annotations

import os
import shlex
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db.models import Max

from jobs.engines.arguments import check_arguments
from jobs.engines.sources import fits, inspect_source
from jobs.management.acting import ActingCommand
from jobs.management.described import change_lines
from jobs.models import Gpu, ServedModel
from jobs.services.served_models import OtherOrigin, SavedModel, check_origin, save_model

_GIB = 1024**3
URL_MAX = 500
# What an engine is told when it starts, besides the source.
LOADED_WITH = ("engine_args", "aliases")


class Command(ActingCommand):
    help = (
        "Enter a model under a name: one that vLLM loads here, or one of another server. A model "
        "of this name that is there already is changed to what is given; what is not given goes "
        "back to its default."
    )

    def run_from_argv(self, argv: list[str]) -> None:
        # `--engine-args --enforce-eager` reads well, and argparse would miss a value in it.
        if "--engine-args" in argv[:-1]:
            at = argv.index("--engine-args")
            argv = [*argv[:at], f"--engine-args={argv[at + 1]}", *argv[at + 2 :]]
        super().run_from_argv(argv)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what requests call it, in `model`")
        origin = parser.add_mutually_exclusive_group(required=True)
        origin.add_argument("--source", help="a folder, or an id on the Hugging Face hub")
        origin.add_argument("--upstream", help="the URL of an OpenAI-compatible server")
        parser.add_argument(
            "--engine-args", default="", help='more arguments for vLLM: "--max-model-len 8192"'
        )
        parser.add_argument(
            "--alias", action="append", default=[], help="one more name, such as a LoRA's"
        )
        parser.add_argument("--upstream-model", default="", help="its name on the other server")
        parser.add_argument(
            "--upstream-key-env", default="", help="the variable that holds the other server's key"
        )
        parser.add_argument("--concurrency", type=int, default=64, help="requests at once upstream")
        parser.add_argument("--force", action="store_true", help="enter it although a check failed")
        parser.add_argument(
            "--replace",
            action="store_true",
            help="let a name that is there already stand for another model",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name, replace = options["name"], options["replace"]
        fields = self._upstream(options) if options["upstream"] else self._local(options)
        fields |= {"aliases": options["alias"], "enabled": True}
        _check_fields(name, fields)
        try:
            if not replace:
                check_origin(name=name, **fields)
            if not options["upstream"]:
                self._check_local(fields, force=options["force"])
            saved = save_model(name=name, replace=replace, **fields)
        except OtherOrigin as error:
            lines = [
                f"The name '{name}' stands for another model:",
                *change_lines(error.changes),
                "Nothing was changed. With --replace, lines that have no answer yet are answered "
                "by the new model; answers that are finished stay what they were.",
            ]
            raise CommandError("\n".join(lines)) from error
        self._say(saved)

    def _say(self, saved: SavedModel) -> None:
        name = saved.model.name
        if saved.created:
            self.stdout.write(f"Model '{name}' is entered. Requests name it in \"model\".")
            return
        if not saved.changes:
            self.stdout.write(f"Model '{name}' was entered like this already.")
            return
        self.stdout.write("\n".join([f"Model '{name}' is changed:", *change_lines(saved.changes)]))
        if saved.model.is_upstream:
            self.stdout.write("A worker that is sending lines of it ends that as it began.")
        elif not saved.is_replaced and [c for c in saved.changes if c.field in LOADED_WITH]:
            self.stdout.write(
                "An engine that has it loaded goes on as it was started, until it is started "
                "again: `manage.py listmodels` shows where, and restarting the worker does it."
            )

    def _upstream(self, options: dict[str, Any]) -> dict[str, Any]:
        if not _is_url(options["upstream"]):
            raise CommandError(f"--upstream: '{options['upstream']}' is not a URL.")
        variable = options["upstream_key_env"]
        if variable and not os.environ.get(variable):
            self.stderr.write(f"Note: {variable} is not set here; the worker will need it.")
        if options["concurrency"] < 1:
            raise CommandError("--concurrency must be at least 1.")
        return {
            "source": "",
            "engine_args": "",
            "upstream_url": options["upstream"],
            "upstream_model": options["upstream_model"],
            "upstream_key_env": options["upstream_key_env"],
            "upstream_concurrency": options["concurrency"],
        }

    def _local(self, options: dict[str, Any]) -> dict[str, Any]:
        try:
            shlex.split(options["engine_args"])
        except ValueError as error:
            raise CommandError(f"--engine-args cannot be read: {error}.") from error
        source = Path(options["source"]).expanduser()
        return {
            "source": str(source.resolve()) if source.is_dir() else options["source"],
            "engine_args": options["engine_args"],
            "upstream_url": "",
            "upstream_model": "",
            "upstream_key_env": "",
        }

    def _check_local(self, fields: dict[str, Any], *, force: bool) -> None:
        source, engine_args = fields["source"], fields["engine_args"]
        report = inspect_source(source)
        for warning in report.warnings:
            self.stderr.write(f"Note: {warning}")
        errors = list(report.errors)
        if report.weight_bytes:
            errors += self._memory_errors(report.weight_bytes)
        if engine_args and not force:
            errors += self._argument_errors(source, engine_args)
        if errors and not force:
            raise CommandError(
                "\n".join([*errors, "Nothing was changed; --force enters it anyway."])
            )

    def _argument_errors(self, source: str, engine_args: str) -> list[str]:
        self.stdout.write("Checking the arguments with vLLM ...")
        self.stdout.flush()
        report = check_arguments(source=source, engine_args=engine_args)
        if report.warning:
            self.stderr.write(f"Note: {report.warning}")
        return [f"vLLM refuses the arguments: {report.error}"] if report.error else []

    def _memory_errors(self, weight_bytes: int) -> list[str]:
        """Compare the weights with the largest GPU that any worker has shown, or this memory."""
        gpus = Gpu.objects.aggregate(total=Max("memory_total_bytes"), count=Max("index"))
        if gpus["total"]:
            memory, where = gpus["total"] * (gpus["count"] + 1), "the GPUs of one worker"
        else:
            memory, where = psutil.virtual_memory().total, "this machine"
        self.stdout.write(
            f"Weights: {weight_bytes / _GIB:.1f} GiB; {where}: {memory / _GIB:.1f} GiB."
        )
        if fits(weight_bytes, memory):
            return []
        return [f"The weights do not fit into the memory of {where}."]


def _is_url(text: str) -> bool:
    """Say whether it is an HTTP address; its host may be a plain name of the inner network."""
    if len(text) > URL_MAX:
        return False
    try:
        parts = urlsplit(text)
        # Read for its error: a port that is none.
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _check_fields(name: str, fields: dict[str, Any]) -> None:
    try:
        ServedModel(name=name, **fields).clean_fields(exclude=["upstream_url"])
    except ValidationError as error:
        wrong = [f"{field}: {' '.join(said)}" for field, said in error.message_dict.items()]
        raise CommandError("\n".join([*wrong, "Nothing was changed."])) from error
