"""The processes of one product, found in /proc, each with the role that it plays."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")


@dataclass(slots=True)
class Process:
    """One living process (no zombie) of the product.

    Roles: web, web-worker, supervisor, sampler, guard, q-main, q-sentinel, q-worker, q-monitor,
    q-pusher, lane-task (the worker of a lane's cluster), engine, engine-core, postgres,
    postgres-child, other. `queue` is the cluster to which it belongs.
    """

    pid: int
    parent: int
    group: int
    started: int
    args: list[str]
    environ: dict[str, str]
    role: str = "other"
    queue: str = ""
    children: list[Process] = field(default_factory=list)

    def __str__(self) -> str:
        queue = f" {self.queue}" if self.queue else ""
        return f"{self.pid} {self.role}{queue}: {' '.join(self.args)[:120]}"

    def memory_bytes(self) -> int:
        """Return its resident memory; 0 once it is gone."""
        try:
            pages = int((PROC / str(self.pid) / "statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_s(self) -> float:
        """Return the processor time that it has used so far, in seconds; 0 once it is gone."""
        try:
            stat = (PROC / str(self.pid) / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return 0.0
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def find_processes(data_dir: Path, database_home: Path | None) -> list[Process]:
    """Return every process that belongs to the product in `data_dir`, whoever started it.

    A process belongs if its environment or its command names the folder, or if it has a file
    there open (a renamed process may show no environment); the database's if they work in
    `database_home`.
    """
    found: dict[int, Process] = {}
    servers: list[Process] = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            process = _read(entry)
            if process is None:
                continue
            if database_home is not None and _works_in(entry, database_home):
                servers.append(process)
            elif _names(process, data_dir) or _has_open(entry, data_dir):
                found[process.pid] = process
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # Gone meanwhile, or another user's.
    _give_roles(found)
    pids = {server.pid for server in servers}
    for server in servers:
        server.role = "postgres-child" if server.parent in pids else "postgres"
    return sorted([*found.values(), *servers], key=lambda process: process.pid)


def _read(entry: Path) -> Process | None:
    stat = (entry / "stat").read_text().rpartition(")")[2].split()
    if stat[0] in "ZX":
        return None
    args = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
    pairs = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
    return Process(
        pid=int(entry.name),
        parent=int(stat[1]),
        group=int(stat[2]),
        started=int(stat[19]),
        args=[arg for arg in args if arg],
        environ=dict(pair.split("=", 1) for pair in pairs if "=" in pair),
    )


def _names(process: Process, data_dir: Path) -> bool:
    folder = str(data_dir)
    if process.environ.get("VBATCH_DATA_DIR") == folder:
        return True
    return any(arg == folder or arg.startswith(f"{folder}/") for arg in process.args)


def _has_open(entry: Path, data_dir: Path) -> bool:
    folder = f"{data_dir}/"
    for descriptor in (entry / "fd").iterdir():
        try:
            if os.readlink(descriptor).startswith(folder):
                return True
        except FileNotFoundError:
            continue
    return False


def _works_in(entry: Path, folder: Path) -> bool:
    return Path(os.readlink(entry / "cwd")).is_relative_to(folder)


def _give_roles(found: dict[int, Process]) -> None:
    for process in found.values():
        parent = found.get(process.parent)
        if parent is not None:
            parent.children.append(process)
    for process in found.values():
        process.role = _plain_role(process)
    for process in found.values():
        process.queue = _queue(process, found)
    for process in found.values():
        parent = found.get(process.parent)
        if process.role == "web" and parent is not None and parent.role.startswith("web"):
            process.role = "web-worker"
    _give_cluster_roles(found)


def _plain_role(process: Process) -> str:
    line = " ".join(process.args)
    if any(arg.endswith("guard.py") for arg in process.args[:5]):
        return "guard"
    if line.startswith("VLLM::"):
        return "engine-core"
    if "vllm.entrypoints.openai.api_server" in process.args:
        return "engine"
    if line.startswith("qcluster") or "qcluster" in process.args:
        return "q"
    for word, role in (
        ("runworker", "supervisor"),
        ("runsampler", "sampler"),
        ("runweb", "web"),
        ("vbatch_site.wsgi", "web"),
    ):
        if any(word in arg for arg in process.args):
            return role
    return "web" if line.startswith("gunicorn") else "other"


def _queue(process: Process, found: dict[int, Process]) -> str:
    """Return the cluster's name, from an ancestor where the process itself does not show it."""
    at: Process | None = process
    while at is not None and at.role in ("q", "guard"):
        if "Q_CLUSTER_NAME" in at.environ:
            return at.environ["Q_CLUSTER_NAME"]
        at = found.get(at.parent)
    return ""


def _give_cluster_roles(found: dict[int, Process]) -> None:
    """Tell django-q2's processes apart, which may all have the same command line.

    The main has the sentinel as its only child; the sentinel starts its workers, then the
    monitor, then the pusher.
    """
    cluster = [process for process in found.values() if process.role == "q"]
    for process in cluster:
        parent = found.get(process.parent)
        if parent is None or not parent.role.startswith("q"):
            process.role = "q-main"
    for main in [process for process in cluster if process.role == "q-main"]:
        for sentinel in main.children:
            sentinel.role = "q-sentinel"
            members = sorted(sentinel.children, key=lambda child: (child.started, child.pid))
            roles = ["q-worker"] * max(0, len(members) - 2) + ["q-monitor", "q-pusher"]
            for member, role in zip(members, roles, strict=False):
                member.role = _titled(member) or role
    for process in cluster:
        if process.role == "q":
            process.role = _titled(process) or "q-orphan"
        if process.role == "q-worker" and process.queue not in ("", "control"):
            process.role = "lane-task"


def _titled(process: Process) -> str:
    """Return what the process calls itself, where `setproctitle` is installed."""
    words = " ".join(process.args).split()
    if len(words) < 3 or words[0] != "qcluster":
        return ""
    # A title is cut where the command line ended that the process was started with, which is
    # short in a checkout with a short path.
    for word in ("monitor", "pusher"):
        if word.startswith(words[2]):
            return f"q-{word}"
    return "q-worker"


def tree(processes: Iterable[Process]) -> str:
    """Return the processes as lines to read in a failed test."""
    return "\n".join(str(process) for process in processes) or "(none)"
