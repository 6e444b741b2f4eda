"""Another host of a stack: a worker with a data folder of its own, on the stack's database."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from tests.stack.processes import Process, find_processes, tree
from tests.stack.product import ROOT, Stack


class Host:
    """A host that is set up; `start` runs its worker, leaving the block ends all of it.

    `prefix` goes before its commands, such as `ip netns exec NAME`. With `shares_files` its
    folder of stored files is that of the stack, as if both had mounted it.
    """

    def __init__(
        self,
        stack: Stack,
        name: str,
        *,
        folder: str | None = None,
        shares_files: bool = True,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.stack = stack
        self.name = name
        self.prefix = list(prefix)
        self.data_dir = stack.folder / f"host-{folder or name}"
        self.data_dir.mkdir(exist_ok=True)
        if shares_files and not (self.data_dir / "files").exists():
            (self.data_dir / "files").symlink_to(stack.data_dir / "files")
        inherited = {k: v for k, v in stack.env.items() if k != "VBATCH_HOST_NAME"}
        self.env = {
            **inherited,
            "VBATCH_DATA_DIR": str(self.data_dir),
            "VBATCH_WORKER_NAME": name,
            "DATABASE_URL": stack.database_url,
            "VBATCH_SECRET_KEY": (stack.data_dir / "secret_key").read_text().strip(),
            **(env or {}),
        }
        self._log = stack.folder / f"host-{folder or name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()
        self.kill()

    def start(self) -> None:
        """Start the worker and wait until its clusters are up."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.prefix, sys.executable, "manage.py", "runworker"],
                env=self.env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.stack.wait(self._works, 90, lambda: f"the worker of {self.name}:\n{self.log()}")

    def _works(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} ended:\n{self.log()}"
        return len([p for p in self.processes() if p.role == "q-pusher"]) >= 2

    def run_refused(self, *args: str, within_s: float = 60.0) -> str:
        """Run a worker that must end by itself with an error; return what it says."""
        done = subprocess.run(
            [*self.prefix, sys.executable, "manage.py", "runworker", *args],
            env=self.env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=within_s,
        )
        assert done.returncode == 1, f"{done.returncode}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stderr

    def stop(self, *, within_s: float = 40.0) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(within_s)

    def wait_ended(self, within_s: float = 30.0) -> int:
        """Wait until the worker has ended by itself; return its status."""
        assert self._process is not None
        return self._process.wait(within_s)

    def kill(self) -> None:
        """Kill every process of the host at once, as when its power goes."""
        deadline = time.monotonic() + 10
        while (left := self.processes()) and time.monotonic() < deadline:
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            if self._process is not None:
                self._process.poll()
            time.sleep(0.05)
        assert not left, tree(left)
        if self._process is not None:
            self._process.wait(10)

    def processes(self) -> list[Process]:
        return find_processes(self.data_dir, None)

    def log(self, *, lines: int = 40) -> str:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def answers_by_worker(stack: Stack, batch_id: str) -> dict[str, int]:
    """Return how many lines of a batch each worker answered."""
    rows = stack.sql(
        "SELECT w.name, count(*) FROM jobs_batchresponse a "
        "JOIN jobs_batch b ON b.id = a.batch_id JOIN jobs_lane l ON l.id = a.lane_id "
        "JOIN jobs_worker w ON w.id = l.worker_id WHERE b.public_id = %s GROUP BY w.name",
        batch_id,
    )
    return dict(rows)


def longest_standstill_s(stack: Stack, batch_id: str) -> float:
    """Return the longest time in which no answer of a batch was committed."""
    rows = stack.sql(
        "SELECT extract(epoch FROM max(gap))::float8 FROM ("
        "SELECT a.created_at - lag(a.created_at) OVER (ORDER BY a.seq) AS gap "
        "FROM jobs_batchresponse a JOIN jobs_batch b ON b.id = a.batch_id "
        "WHERE b.public_id = %s) gaps",
        batch_id,
    )
    gap: float = rows[0][0]
    return gap
