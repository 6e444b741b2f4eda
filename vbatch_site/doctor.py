"""What must be right for vbatch to run on this machine, checked one by one."""

from __future__ import annotations

import http.client
import os
import resource
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from jobs.engines.environment import TESTED_VERSIONS, engine_environment
from jobs.engines.sources import inspect_source
from jobs.models import ServedModel
from jobs.nvml import NoGpu, read_gpus
from jobs.services.fleet import alive_workers
from jobs.services.installation import find_faults, storage_name
from vbatch_site.version import VERSION

_GIB = 1024**3
_LEAST_FREE_BYTES = 2 * _GIB
_LEAST_OPEN_FILES = 4_096


@dataclass(frozen=True, slots=True)
class Line:
    """One result: `verdict` is ok, wrong or not needed; `remedy` says what to do if wrong."""

    verdict: str
    title: str
    detail: str
    remedy: str = ""


def ok(title: str, detail: str) -> Line:
    return Line("ok", title, detail)


def wrong(title: str, detail: str, remedy: str) -> Line:
    return Line("wrong", title, detail, remedy)


def not_needed(title: str, detail: str) -> Line:
    return Line("not needed", title, detail)


def examine() -> Iterator[Line]:
    """Yield the result of each check in turn; a broken database ends those that need it."""
    yield _python()
    yield from _gpus()
    yield _engine()
    yield _disk()
    yield _open_files()
    yield _secret_key()
    yield _port()
    database = _database()
    yield database
    if database.verdict == "ok":
        checks: tuple[Callable[[], Iterator[Line]], ...] = (_migrations, _models, _workers)
        for check in checks:
            yield from check()


def _python() -> Line:
    return ok("Python", f"{sys.version.split()[0]} in {sys.prefix}")


def _gpus() -> Iterator[Line]:
    try:
        gpus = read_gpus()
    except NoGpu as error:
        yield not_needed("NVIDIA driver", f"{error} Models run on the CPU, slowly.")
        return
    if not gpus:
        yield not_needed("NVIDIA driver", "The driver is there, but no GPU.")
    for gpu in gpus:
        title = f"GPU {gpu['index']}"
        if gpu["error"]:
            yield wrong(title, gpu["error"], "Look at `nvidia-smi`; a reboot may be needed.")
            continue
        total, used = gpu["memory_total_bytes"], gpu["memory_used_bytes"]
        memory = "memory unknown"
        if total is not None and used is not None:
            memory = f"{(total - used) / _GIB:.1f} of {total / _GIB:.1f} GiB free"
        yield ok(title, f"{gpu['name']}, driver {gpu['driver']}, {memory}")


def _engine() -> Line:
    found = engine_environment()
    if sys.platform != "linux":
        return not_needed("Engine", "vLLM runs on Linux; this host serves upstream models.")
    if not found.version:
        why = f" ({found.error})" if found.error else ""
        return wrong(
            "Engine",
            f"There is no vLLM in {found.python}{why}.",
            "Run `make setup`, or point VBATCH_ENGINE_PYTHON to a Python that has vLLM.",
        )
    detail = f"{found.build} {found.version} in {found.python}"
    if not found.is_tested:
        tested = ", ".join(TESTED_VERSIONS)
        return ok("Engine", f"{detail}. Not a tested version ({tested}); it may work.")
    return ok("Engine", detail)


def _disk() -> Line:
    free = shutil.disk_usage(settings.DATA_DIR).free
    detail = f"{free / _GIB:.1f} GiB free for {settings.DATA_DIR}"
    if free < _LEAST_FREE_BYTES:
        return wrong("Disk", detail, "Free some space, or set VBATCH_DATA_DIR to another disk.")
    return ok("Disk", detail)


def _open_files() -> Line:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _LEAST_OPEN_FILES:
        return wrong(
            "Open files",
            f"This shell allows {soft:,} open files.",
            f"Run `ulimit -n {_LEAST_OPEN_FILES}` before you start the worker.",
        )
    return ok("Open files", f"{soft:,} allowed")


def _secret_key() -> Line:
    path = Path(settings.DATA_DIR) / "secret_key"
    if os.environ.get("VBATCH_SECRET_KEY"):
        return ok("Secret key", "from VBATCH_SECRET_KEY; every host must have the same")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return wrong("Secret key", f"Others may read {path}.", f"Run `chmod 600 {path}`.")
    return ok("Secret key", f"{path}, readable by its owner alone")


def _port() -> Line:
    title = f"Port {settings.PORT}"
    host = "127.0.0.1" if settings.HOST in ("0.0.0.0", "") else settings.HOST
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(2)
        taken = probe.connect_ex((host, settings.PORT)) == 0
    if not taken:
        return ok(title, f"free on {host}")
    if _is_ours(host):
        return ok(title, f"vbatch answers on {host}")
    return wrong(title, f"Another program listens on {host}.", "Set VBATCH_PORT to a free port.")


def _is_ours(host: str) -> bool:
    probe = http.client.HTTPConnection(host, settings.PORT, timeout=5)
    try:
        probe.request("GET", "/healthz")
        answer = probe.getresponse()
        return answer.status == 200 and bool(answer.headers.get("x-request-id"))
    except (OSError, http.client.HTTPException):
        return False
    finally:
        probe.close()


def _database() -> Line:
    embedded = "embedded" in settings.DATABASES["default"]["ENGINE"]
    kind = "embedded" if embedded else "from DATABASE_URL"
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version")
            version = cursor.fetchone()[0]
    except (DatabaseError, RuntimeError, OSError) as error:
        remedy = "Look at the log of the embedded server: `manage.py db status`."
        if not embedded:
            remedy = "Check DATABASE_URL, and that the server runs and lets this host in."
        return wrong("Database", str(error).strip(), remedy)
    return ok("Database", f"PostgreSQL {version}, {kind}")


def _migrations() -> Iterator[Line]:
    """Tables, and whether this host fits the others on the database."""
    faults = {fault.part: fault for fault in find_faults(worker=settings.WORKER_NAME)}
    good = {
        "migrations": ("Tables", "up to date"),
        "secret_key": ("Installation", "the secret key is that of the other hosts"),
        "storage": ("Files", f"in {storage_name()}"),
        "version": ("Version", f"{VERSION}, as all workers that are alive"),
    }
    for part, (title, detail) in good.items():
        fault = faults.get(part)
        yield wrong(title, fault.text, fault.remedy) if fault else ok(title, detail)


def _models() -> Iterator[Line]:
    models = list(ServedModel.objects.filter(enabled=True).order_by("name"))
    if not models:
        yield wrong("Models", "None is entered.", "Run `manage.py addmodel NAME --source ...`.")
    for model in models:
        title = f"Model {model.name}"
        if model.is_upstream:
            missing = model.upstream_key_env and not os.environ.get(model.upstream_key_env)
            if missing:
                yield wrong(
                    title,
                    f"{model.upstream_key_env} is not set here.",
                    "Set it in the environment of the worker.",
                )
            else:
                yield ok(title, f"upstream {model.upstream_url}")
        elif not model.source.startswith("/"):
            yield not_needed(
                title, f"{model.source}, from the hub when it is first loaded; not checked here"
            )
        else:
            report = inspect_source(model.source)
            if report.errors:
                yield wrong(
                    title,
                    " ".join(report.errors),
                    f"Give the folder: `manage.py addmodel {model.name} --source ... --replace`.",
                )
            else:
                yield ok(title, f"{model.source}, {(report.weight_bytes or 0) / _GIB:.1f} GiB")


def _workers() -> Iterator[Line]:
    alive = list(alive_workers().order_by("name"))
    if not alive:
        yield wrong("Worker", "None is running.", "Start one: `manage.py runworker`.")
    for worker in alive:
        age_s = (timezone.now() - worker.heartbeat_at).total_seconds()
        yield ok(f"Worker {worker.name}", f"heartbeat {age_s:.0f} s ago")
