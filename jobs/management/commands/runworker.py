"""`manage.py runworker`: work for this host's GPUs, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
import re
import resource
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.checks import run_checks
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from jobs.checks import HOSTS
from jobs.host_gpus import GpusUnknown, left_visible, read_uuids
from jobs.services.fleet import HostRefused, LaneSpec
from jobs.services.installation import enter_installation
from jobs.states import LaneKind
from jobs.supervisor import NameLost, Supervisor
from vbatch_site.running import announce
from vbatch_site.schema_state import unapplied_migrations
from vbatch_site.secret import load_instance_id
from vbatch_site.version import VERSION

OPEN_FILES = 65_536


class Command(BaseCommand):
    help = "Run the worker of this host: it starts the engines and answers the batches."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--gpus",
            default=settings.GPUS,
            help="which GPUs make which lanes: '0,1,2+3' is three lanes, the last of two GPUs; "
            "by default each GPU is a lane, or each that CUDA_VISIBLE_DEVICES names, and without a "
            "GPU the CPU is one",
        )
        parser.add_argument(
            "--no-gpu",
            action="store_true",
            help="start no engine here; serve upstream models only",
        )
        parser.add_argument(
            "--name",
            default=settings.WORKER_NAME,
            help="this worker's own name among all on the database; the host's by default",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # Where the system checks find it too.
        settings.WORKER_NAME = worker_name(options["name"])
        specs = [LaneSpec(name="upstream", kind=LaneKind.UPSTREAM)]
        if not options["no_gpu"] and sys.platform == "linux":
            specs = [*engine_lanes(options["gpus"]), *specs]
        allow_open_files()
        supervisor = Supervisor(
            name=settings.WORKER_NAME,
            instance=load_instance_id(settings.DATA_DIR / "instance_id"),
            lane_specs=specs,
            version=VERSION,
        )
        announce("runworker")
        try:
            check_host_fits()
            supervisor.run()
        except (HostRefused, NameLost) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt as error:
            raise CommandError("Stopped at once.", returncode=130) from error


def worker_name(name: str) -> str:
    if not re.fullmatch(settings.WORKER_NAME_FORM, name):
        raise CommandError(
            f"The worker's name '{name}' must be letters, digits, dots and dashes, at most 64."
        )
    return name


def check_host_fits() -> None:
    """Raise HostRefused for a host that does not fit the others on its database.

    Tables come first, since all else is read from them; then the installation is entered where
    this is its first worker, and only then the checks can ask for key, files and version.
    """
    try:
        if not unapplied_migrations():
            enter_installation(worker=settings.WORKER_NAME)
    except OperationalError as error:
        raise HostRefused(f"The database cannot be reached: {error}".strip()) from error
    faults = run_checks(tags=[HOSTS], databases=["default"])
    told = [f"{fault.msg} {fault.hint or ''}".strip() for fault in faults if fault.is_serious()]
    if told:
        raise HostRefused("\n".join(told))


def allow_open_files() -> None:
    """Raise the number of open files as far as is allowed, for this process and its children."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, OPEN_FILES)), hard))


def engine_lanes(gpus: str) -> list[LaneSpec]:
    """Return the lanes for a description such as `0,1,2+3`; empty means all that are ours."""
    if not gpus:
        try:
            found = left_visible(read_uuids(), os.environ.get("CUDA_VISIBLE_DEVICES"))
        except GpusUnknown as error:
            raise CommandError(str(error)) from error
        if not found:
            return [LaneSpec(name="cpu", kind=LaneKind.CPU)]
        gpus = ",".join(str(index) for index in found)
    specs: list[LaneSpec] = []
    for part in gpus.split(","):
        try:
            indices = tuple(int(index) for index in part.strip().split("+"))
        except ValueError as error:
            raise CommandError(
                f"--gpus: '{part}' is not a GPU's number, or several as 2+3"
            ) from error
        name = "gpu" + "+".join(str(index) for index in indices)
        specs.append(LaneSpec(name=name, kind=LaneKind.GPU, gpus=indices))
    used = [index for spec in specs for index in spec.gpus]
    if len(used) != len(set(used)):
        raise CommandError("--gpus: a GPU stands in more than one lane")
    return specs
