"""`manage.py addmodel`: enter a model that batches may name."""

from __future__ import annotations

import os
import shlex
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import psutil
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import URLValidator
from django.db.models import Max

from jobs.engines.sources import fits, inspect_source
from jobs.models import Gpu
from jobs.services.served_models import save_model

_GIB = 1024**3


class Command(BaseCommand):
    help = "Enter a model under a name: one that vLLM loads here, or one of another server."

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

    def handle(self, *args: Any, **options: Any) -> None:
        fields = self._upstream(options) if options["upstream"] else self._local(options)
        model, created = save_model(
            name=options["name"], aliases=options["alias"], enabled=True, **fields
        )
        word = "is entered" if created else "is changed"
        self.stdout.write(f"Model '{model.name}' {word}. Requests name it in \"model\".")
        if not created:
            self.stdout.write("An engine that runs keeps its old arguments until its next start.")

    def _upstream(self, options: dict[str, Any]) -> dict[str, Any]:
        try:
            URLValidator(schemes=["http", "https"])(options["upstream"])
        except ValidationError as error:
            raise CommandError(f"--upstream: '{options['upstream']}' is not a URL.") from error
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
        source = options["source"]
        report = inspect_source(source)
        for warning in report.warnings:
            self.stderr.write(f"Note: {warning}")
        errors = list(report.errors)
        if report.weight_bytes:
            errors += self._memory_errors(report.weight_bytes)
        if errors and not options["force"]:
            raise CommandError(
                "\n".join([*errors, "Nothing was changed; --force enters it anyway."])
            )
        if Path(source).expanduser().is_dir():
            source = str(Path(source).expanduser().resolve())
        return {
            "source": source,
            "engine_args": options["engine_args"],
            "upstream_url": "",
            "upstream_model": "",
            "upstream_key_env": "",
        }

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
