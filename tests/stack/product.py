"""`Stack`: a whole product that a test starts, drives, wounds and takes down again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import openai
import psycopg

from tests.stack.processes import Process, find_processes, tree
from tests.stack.template import keep_static, lay_static
from vbatch_site.embedded_db import delete_db, ensure_db, stop_db

ROOT = Path(__file__).resolve().parents[2]
STUB_PYTHON = ROOT / "tests" / "stub_engine" / "python"
# Of the caller's environment nothing that would lead the product to the caller's own data.
_OURS = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "Q_CLUSTER_NAME", "PYTHONPATH")
ENDED = ("completed", "failed", "expired", "cancelled")


class Stack:
    """A product of its own in `folder`: data, embedded PostgreSQL, ports, stub models.

    `models` maps a model's name to its stub plan (see tests/stub_engine, `Plan`); a plan may
    hold `engine_args`, a string for the product. `env` adds to the product's environment.
    Use as a context manager: leaving stops all of it, deletes the database, and raises
    AssertionError if a process was left over that the product should have ended. With `keep`
    the database is only stopped, and another stack of the same folder goes on with it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        models: Mapping[str, Mapping[str, Any]] | None = None,
        env: Mapping[str, str] | None = None,
        keep: bool = False,
    ) -> None:
        self.folder = folder.resolve()
        self.data_dir = self.folder / "data"
        self.data_dir.mkdir(parents=True, exist_ok=keep)
        self._keep = keep
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = ""
        self._models = dict({"toy": {}} if models is None else models)
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in _OURS and not name.startswith("VBATCH_")
        }
        self.env = {
            **inherited,
            "DJANGO_SETTINGS_MODULE": "vbatch_site.settings",
            "PYTHONPATH": str(ROOT),
            "VBATCH_DATA_DIR": str(self.data_dir),
            "VBATCH_HOST": "127.0.0.1",
            "VBATCH_PORT": str(self.port),
            "VBATCH_HOST_NAME": "stack",
            "VBATCH_ENGINE_PYTHON": str(STUB_PYTHON),
            "VBATCH_STUB_PYTHON": sys.executable,
            **(env or {}),
        }

    def __enter__(self) -> Stack:
        try:
            self.prepare()
        except BaseException:
            self.tear_down()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        left_over = self.tear_down()
        # A failed test has its own story; what it left behind is no news then.
        if kind is None:
            assert not left_over, f"left over:\n{tree(left_over)}"

    # --- Setting up and taking down ----------------------------------------------------------

    def prepare(self) -> None:
        """Make the database, its tables, an API key and the models."""
        self.start_database()
        for name, plan in self._models.items():
            self.write_plan(name, **{k: v for k, v in plan.items() if k != "engine_args"})
        columns = {
            name: {
                "source": str(self.model_dir(name)),
                "engine_args": plan.get("engine_args", ""),
            }
            for name, plan in self._models.items()
        }
        self.key = self._prepare(key=True, models=columns)["key"]

    def save_model(self, name: str, **columns: Any) -> None:
        """Enter a model by its columns, such as `upstream_url`, or change it."""
        self._prepare(models={name: columns})

    def login_token(self) -> str:
        """Return a token that logs an administrator in, once."""
        token: str = self._prepare(login=True)["login"]
        return token

    def _prepare(self, **wanted: Any) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.stack.prepare"],
            input=json.dumps({"key": False, "login": False, "models": {}, **wanted}),
            env=self.env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        made: dict[str, Any] = json.loads(done.stdout)
        return made

    def manage(self, *command: str, timeout_s: float = 60.0) -> str:
        """Run one of the product's commands; return what it printed on stdout."""
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            env=self.env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    def tear_down(self) -> list[Process]:
        """Stop everything; return what the product should have ended itself, killed here."""
        for name in list(self._started):
            self.stop_process(name)
        deadline = time.monotonic() + 5
        while (left := self._unwanted()) and time.monotonic() < deadline:
            time.sleep(0.1)
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        (stop_db if self._keep else delete_db)(self.data_dir)
        return left

    def _unwanted(self) -> list[Process]:
        return [p for p in self.processes() if not p.role.startswith("postgres")]

    def model_dir(self, name: str) -> Path:
        """Return the folder that the model `name` is served from."""
        return self.folder / "models" / name

    def write_plan(self, name: str, **plan: Any) -> None:
        """Set how the stub of a model behaves; a running one follows within a second."""
        folder = self.model_dir(name)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
        (folder / "config.json").write_text(json.dumps(config))
        draft = folder / "stub.json.new"
        draft.write_text(json.dumps(plan))
        draft.rename(folder / "stub.json")

    # --- Processes ---------------------------------------------------------------------------

    def start_database(self) -> None:
        self.database_url = ensure_db(self.data_dir)

    def start_web(self, *, listener: socket.socket | None = None) -> None:
        """Start the web server and wait until it answers.

        A `listener` is handed over to it as systemd would, and stays open when it stops.
        """
        if (ROOT / "vbatch_site/management/commands/runweb.py").exists():
            command = [sys.executable, "manage.py", "runweb"]
        else:
            command = [sys.executable, "-m", "gunicorn", "vbatch_site.wsgi"]
            command += ["--worker-class", "gthread", "--workers", "2", "--threads", "8"]
            command += ["--bind", f"127.0.0.1:{self.port}"]
        if listener is not None:
            hand_over = 'exec 3<&"$1" && shift && LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
            command = ["bash", "-c", hand_over, "bash", str(listener.fileno()), *command]
        collected = self.data_dir / "static"
        lay_static(collected)
        self._start("web", command, kept=listener)
        self.wait(self._web_answers, 60, "the web server to answer")
        keep_static(collected)

    def _web_answers(self) -> bool:
        assert self._started["web"].poll() is None, f"web ended:\n{self.log('web')}"
        request = urllib.request.Request(
            f"{self.url}/v1/models", headers={"Authorization": f"Bearer {self.key}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def start_worker(
        self, *args: str, name: str = "worker", env: Mapping[str, str] | None = None
    ) -> None:
        """Start the worker and wait until its clusters are up.

        A second one of another `name` needs a VBATCH_HOST_NAME of its own in `env`.
        """
        self._start(name, [sys.executable, "manage.py", "runworker", *args], env)
        host = {**self.env, **(env or {})}["VBATCH_HOST_NAME"]
        self.wait(lambda: self._worker_works(name, host), 60, "the worker's clusters to start")

    def _worker_works(self, name: str, host: str) -> bool:
        assert self._started[name].poll() is None, f"{name} ended:\n{self.log(name)}"
        pushers = self.find("q-pusher")
        return len([p for p in pushers if p.environ.get("VBATCH_HOST_NAME") == host]) >= 2

    def is_running(self, name: str) -> bool:
        """True while `web` or `worker`, once started, has not ended."""
        return name in self._started and self._started[name].poll() is None

    def _start(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        kept: socket.socket | None = None,
    ) -> None:
        assert name not in self._started or self._started[name].poll() is not None
        with (self.folder / f"{name}.log").open("ab") as log:
            self._started[name] = subprocess.Popen(
                command,
                env={**self.env, **(env or {})},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=() if kept is None else (kept.fileno(),),
                start_new_session=True,
            )

    def stop_process(self, name: str, *, within_s: float = 40.0) -> int:
        """Stop `web` or `worker` by SIGTERM, by force if it takes too long; return its status."""
        process = self._started.pop(name)
        process.terminate()
        try:
            return process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            told = f"{name} did not stop in {within_s} s:\n{self.log(name)}"
            raise AssertionError(told) from None

    def forget(self, name: str) -> None:
        """Collect `web` or `worker` after the test has killed it, so that it can start anew."""
        self._started.pop(name).wait(10)

    def log(self, name: str, *, lines: int = 60) -> str:
        """Return the end of a log: `web`, `worker`, or the name of one in the log folder."""
        own = self.folder / f"{name}.log"
        path = own if own.exists() else self.data_dir / "log" / name
        text = path.read_text(errors="replace") if path.exists() else f"(no {path})"
        return "\n".join(text.splitlines()[-lines:])

    def processes(self) -> list[Process]:
        """Return every living process of this product, with its role."""
        record = self.data_dir / "postgres.json"
        home = None
        if record.exists():
            home = self.data_dir / json.loads(record.read_text())["home"]
        return find_processes(self.data_dir, home)

    def find(self, role: str, *, queue: str | None = None) -> list[Process]:
        """Return the living processes of a role, of one cluster where `queue` is given."""
        return [
            p for p in self.processes() if p.role == role and (queue is None or p.queue == queue)
        ]

    def kill(
        self,
        role: str,
        *,
        queue: str | None = None,
        number: int = signal.SIGKILL,
        rng: random.Random | None = None,
    ) -> Process | None:
        """Send a signal to one process of a role, drawn by `rng`; None where there is none."""
        found = self.find(role, queue=queue)
        if not found:
            return None
        victim = (rng or random).choice(found)
        try:
            os.kill(victim.pid, number)
        except ProcessLookupError:
            return None
        return victim

    # --- Driving -----------------------------------------------------------------------------

    @property
    def client(self) -> openai.OpenAI:
        """Return the official client, unpatched, with this product's key."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key)

    def submit(
        self,
        lines: Iterable[Mapping[str, Any]],
        *,
        endpoint: str = "/v1/chat/completions",
        **options: Any,
    ) -> str:
        """Upload the lines and create a batch with the official client; return its id."""
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        stored = self.client.files.create(file=("lines.jsonl", data), purpose="batch")
        batch = self.client.batches.create(
            input_file_id=stored.id,
            endpoint=endpoint,  # type: ignore[arg-type]
            completion_window="24h",
            **options,
        )
        return batch.id

    def state(self, batch_id: str) -> tuple[str, int, int, int]:
        """Return (state, total, completed, failed) from the database."""
        query = "SELECT state, total, completed, failed FROM jobs_batch WHERE public_id = %s"
        row = self.sql(query, batch_id)[0]
        return row[0], row[1], row[2], row[3]

    def wait_ended(self, batch_id: str, timeout_s: float = 60.0) -> str:
        """Wait for the end of a batch by the database; return its state."""
        self.wait(
            lambda: self.state(batch_id)[0] in ENDED,
            timeout_s,
            lambda: f"the end of {batch_id}, which is {self.state(batch_id)}",
        )
        return self.state(batch_id)[0]

    def wait(
        self, check: Callable[[], Any], timeout_s: float, what: str | Callable[[], str]
    ) -> None:
        """Wait until `check` is true; AssertionError with the worker's log if it is not in time."""
        deadline = time.monotonic() + timeout_s
        while not check():
            if time.monotonic() > deadline:
                told = what if isinstance(what, str) else what()
                raise AssertionError(
                    f"Waited {timeout_s:g} s for {told}.\n{tree(self.processes())}\n"
                    f"{self.log('web', lines=15)}\n{self.log('worker')}"
                )
            time.sleep(0.05)

    def sql(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run a statement on the product's database; return the rows of a query."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(query, params)
            return list(cursor.fetchall()) if cursor.description else []

    # --- At the engine's door ----------------------------------------------------------------

    def door(self, name: str = "toy") -> Counter[str]:
        """Return how often each request (by the SHA-1 of its body) came to a model's engine."""
        path = self.model_dir(name) / "door.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return Counter(line.split()[1] for line in lines)

    def computed_again(self, name: str = "toy") -> int:
        """Return how many requests came to the door after they had been there before.

        Bodies of different lines must differ for this to mean anything.
        """
        door = self.door(name)
        return door.total() - len(door)

    def engine_starts(self, name: str = "toy") -> int:
        path = self.model_dir(name) / "starts.log"
        return len(path.read_text().splitlines()) if path.exists() else 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
