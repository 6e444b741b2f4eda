"""`manage.py demo`: start all of it, answer a sample batch, serve until Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from openai import OpenAI
from rich.console import Console

from jobs.management.acting import ActingCommand
from jobs.services.login_links import LIFETIME_S
from jobs.services.projects import revoke_key
from vbatch_site.demo import accounts, sample
from vbatch_site.demo.processes import DidNotStart, Processes, web_address
from vbatch_site.running import announce

WEB_START_S = 60.0


class Command(ActingCommand):
    help = "Start web and worker, answer a sample batch with a real model, serve until Ctrl-C."
    # The tables may not exist yet; they are made first of all.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        self.console = Console(highlight=False)
        # SIGTERM (`make stop`) ends the demo in the same way as Ctrl-C.
        # Set for SIGINT too: in the background of a script it would be ignored.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _interrupt)
        announce("demo")
        with Processes() as processes:
            try:
                complete = self._run(processes)
            except DidNotStart as error:
                raise CommandError(str(error)) from error
            except KeyboardInterrupt:
                complete = True
            finally:
                self.console.print("\nStopping web and worker ...")
        self.console.print("Stopped. Your data is kept; `make demo` goes on from here.")
        if not complete:
            raise CommandError("Not every line of the sample batch was answered.")

    def _run(self, processes: Processes) -> bool:
        self._check_port()
        self._check_model()
        processes.note_database()
        with self.console.status("Preparing the database"):
            call_command("migrate", verbosity=0)
        accounts.make_model()
        made = accounts.make_accounts()
        processes.start("web", "runweb")
        processes.start("worker", "runworker")
        with self.console.status("Starting the web server"):
            processes.wait_for_web(within_s=WEB_START_S)
        self._print_accounts(made)
        run_key, secret = accounts.make_run_key()
        try:
            complete = self._answer_sample(processes, secret)
        finally:
            revoke_key(key=run_key)
        if os.environ.get("DEMO_EXIT") == "1":
            return complete
        self._print_next(made.key)
        while True:
            time.sleep(1)
            self._look_after(processes)

    def _look_after(self, processes: Processes) -> None:
        """Go on without a worker that was killed, so that one can see that nothing is lost."""
        ended = None if os.environ.get("DEMO_EXIT") == "1" else processes.lost_worker()
        if ended:
            self.console.print(
                f"\nThe worker {ended}. What was answered is kept; the rest goes on with the next "
                f"worker. In another terminal: {_python()} manage.py runworker",
                soft_wrap=True,
            )
        processes.check()

    def _check_port(self) -> None:
        host, port = web_address()
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.settimeout(2)
            if probe.connect_ex((host, port)) == 0:
                raise CommandError(
                    f"Something listens on {host}:{port} already. If it is vbatch, `make stop` "
                    "ends it; else choose another port: VBATCH_PORT=8001 make demo"
                )

    def _check_model(self) -> None:
        folder = Path(settings.MODELS_DIR) / accounts.MODEL_FOLDER
        if not (folder / "config.json").is_file():
            raise CommandError(f"The small model is not in {folder}. Run `make setup` first.")

    def _answer_sample(self, processes: Processes, key: str) -> bool:
        client = OpenAI(base_url=f"{self._address()}/v1", api_key=key)
        batch = sample.submit(client)
        self.console.print(f"\nSample batch {batch.id}: examples/questions.jsonl")
        batch, seconds = sample.watch(
            client, batch, console=self.console, check=lambda: self._look_after(processes)
        )
        for finding in (batch.errors.data or []) if batch.errors else []:
            self.console.print(f"Line {finding.line}: {finding.message}", markup=False)
        sample.show_answers(client, batch, console=self.console)
        self.console.print(f"\n[bold]{sample.summary(batch, seconds)}[/]")
        self.console.print("(A model of 135M parameters: it answers, and is often wrong.)")
        counts = batch.request_counts
        return counts is not None and 0 < counts.total == counts.completed

    def _address(self) -> str:
        host, port = web_address()
        return f"http://{host}:{port}"

    def _print_accounts(self, made: accounts.Accounts) -> None:
        out = self.console
        out.print(f"\n[bold]vbatch runs at {self._address()}[/]")
        if made.password:
            out.print(
                f"  administrator   {accounts.ADMIN}, password {made.password}", soft_wrap=True
            )
        if made.key:
            out.print(f"  API key         {made.key}", markup=False, soft_wrap=True)
        if made.password or made.key:
            out.print("                  These are shown only this once.")
        out.print(
            f"  log in, once    {self._address()}/login/link/{made.login_token}", soft_wrap=True
        )
        out.print(f"                  This link holds for {LIFETIME_S // 60} minutes.")

    def _print_next(self, key: str | None) -> None:
        out = self.console
        out.print("\n[bold]Pages[/]")
        for path, words in (
            ("/batches", "batches, with their answers"),
            ("/submit", "a batch of your own, from a file"),
            ("/monitor", "the machine, engines and their logs"),
            ("/benchmarks", "how fast, how good and how dear a model is"),
            ("/admin/", "administration"),
            ("/docs", "the API, with quick starts"),
            ("/", "what runs"),
        ):
            out.print(f"  {self._address()}{path:13} {words}")
        shown = key or "YOUR_KEY"
        out.print("\n[bold]Your own batch, in three lines of Python[/]")
        out.print(
            f'  client = openai.OpenAI(base_url="{self._address()}/v1", api_key="{shown}")\n'
            '  file = client.files.create(file=open("my.jsonl", "rb"), purpose="batch")\n'
            "  batch = client.batches.create(input_file_id=file.id, "
            'endpoint="/v1/chat/completions", completion_window="24h")',
            markup=False,
            soft_wrap=True,
        )
        if key is None:
            out.print(f"  (A new key: {_python()} manage.py createapikey NAME)")
        out.print("\nCtrl-C stops everything.")


def _python() -> str:
    return os.path.relpath(sys.executable)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
