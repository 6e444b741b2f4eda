"""`manage.py runweb`: serve the API and the pages."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.core.wsgi import get_wsgi_application
from django.db import connections

from vbatch_site.running import announce
from vbatch_site.static_files import collect_if_stale
from vbatch_site.web_server import WebServer, options

# What a killed upload left behind is removed when it is older than any upload takes.
LEFTOVER_S = 86_400


class Command(BaseCommand):
    help = "Serve the API and the pages (address: VBATCH_HOST and VBATCH_PORT)."

    def handle(self, *args: Any, **settings_: Any) -> None:
        self._enter_metrics_folder()
        # A socket that was handed over (systemd.socket) is listened on already, by whoever did.
        if os.environ.get("LISTEN_PID") != str(os.getpid()):
            self._check_port()
        announce("runweb")
        if collect_if_stale():
            self.stdout.write("Static files collected.")
        _remove_leftovers(settings.FILE_UPLOAD_TEMP_DIR)
        application = get_wsgi_application()
        # Whatever the addresses lead to, loaded once and left alone from here on: the garbage
        # collector would walk all of it in the middle of a request, for a tenth of a second.
        import_module(settings.ROOT_URLCONF)
        gc.collect()
        gc.freeze()
        # Workers are forked from here, and must not share a connection.
        connections.close_all()
        sys.argv = sys.argv[:1]  # gunicorn would read it.
        WebServer(
            options(
                host=settings.HOST,
                port=settings.PORT,
                workers=settings.WEB_WORKERS,
                threads=settings.WEB_THREADS,
                ready=self._say_ready,
            ),
            application,
        ).run()

    def _say_ready(self) -> None:
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.HOST, settings.HOST)
        self.stdout.write(f"Serving on http://{host}:{settings.PORT}")
        self.stdout.flush()

    def _enter_metrics_folder(self) -> None:
        """See to it that the workers' metrics are added up, through files in a folder.

        The metrics library reads the variable when it is imported, which Django has done
        already: so this process is started anew with it, in its own place and with its own
        number. A folder belongs to one run: files of the run before would be added to its
        counters, as soon as a process gets the number of a dead one; and to empty a folder
        could take them from a server that runs.
        """
        runs = Path(settings.RUN_DIR) / f"metrics-{settings.PORT}"
        folder = runs / str(os.getpid())
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR") == str(folder):
            return
        for old in runs.glob("*"):
            if old == folder or not _lives(old.name):
                shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
        folder.mkdir(parents=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

    def _check_port(self) -> None:
        family = socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.HOST, settings.PORT))
            except OSError as error:
                raise CommandError(
                    f"Cannot serve on {settings.HOST}:{settings.PORT}: {error.strerror}. "
                    "Stop what is there, or set VBATCH_PORT or VBATCH_HOST."
                ) from error


def _lives(name: str) -> bool:
    return name.isdigit() and psutil.pid_exists(int(name))


def _remove_leftovers(folder: Path) -> None:
    for file in folder.glob("*.upload"):
        if file.stat().st_mtime < time.time() - LEFTOVER_S:
            file.unlink(missing_ok=True)
