"""`manage.py runsampler WORKER_ID`: the sampler of a host, started by `runworker`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from monitoring.sampling.run import sample_forever


class Command(BaseCommand):
    help = "Sample GPUs, host, engines and batches for a worker; `runworker` starts it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("worker_id", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        sample_forever(options["worker_id"])
