"""`manage.py runsampler WORKER_ID`: the GPU sampler, started by `runworker`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from jobs.sampler import sample_forever


class Command(BaseCommand):
    help = "Read the GPUs of this host for a worker; `runworker` starts it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("worker_id", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        sample_forever(options["worker_id"])
