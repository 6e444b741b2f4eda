"""What a dead server leaves behind never stops the next one, and never gets a stranger killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.embedded_db.conftest import ENSURE, ME, Folders, kill_server, live, postmaster
from vbatch_site.embedded_db import ensure_db, stop_db
from vbatch_site.embedded_db.accounts import account_of
from vbatch_site.embedded_db.places import find_place


@contextmanager
def stranger(program: str, *, cwd: Path, like: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a sleeping process that any signal kills, as the account that owns `like`."""
    options = account_of(like.stat().st_uid).child_options() | {"cwd": cwd}
    child = subprocess.Popen([program, "60"], **options)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def write_pid(cluster: Path, pid: int) -> None:
    """Put `pid` into the dead server's pid file, all else as the server wrote it."""
    path = cluster / "postmaster.pid"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([str(pid), *lines[1:]]))


def test_after_kill_9_of_the_postmaster_the_next_call_brings_it_back(folders: Folders) -> None:
    folder = folders()
    for round_number in range(3):
        with psycopg.connect(ensure_db(folder)) as link:
            link.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
            link.execute("INSERT INTO kept VALUES (%s)", [round_number])
        os.kill(postmaster(folder).pid, signal.SIGKILL)
        with psycopg.connect(ensure_db(folder)) as link:
            rows = link.execute("SELECT number FROM kept ORDER BY 1").fetchall()
        assert rows == [(number,) for number in range(round_number + 1)]


def test_a_child_that_computes_on_without_its_postmaster_is_seen_off(folders: Folders) -> None:
    folder = folders()
    link = psycopg.connect(ensure_db(folder))
    child_pid = link.info.backend_pid
    link.pgconn.send_query(b"DO $$ BEGIN LOOP END LOOP; END $$")
    time.sleep(0.3)
    os.kill(postmaster(folder).pid, signal.SIGKILL)
    time.sleep(0.5)
    assert child_pid in [process.pid for process in live(folder)], "it left by itself"
    quick = "server.ORPHANS_LEAVE_S = 1.0\n"
    url = ME.run(quick + ENSURE, folder)
    assert child_pid not in [process.pid for process in live(folder)]
    psycopg.connect(url).close()
    link.close()


def test_a_reused_number_is_neither_believed_nor_signalled(folders: Folders) -> None:
    folder = folders()
    ensure_db(folder)
    cluster = find_place(folder)[0].cluster
    kill_server(folder)
    # Even in the server's own folder, as its account: a shell that somebody left there.
    with stranger("/bin/sleep", cwd=cluster, like=cluster) as process:
        write_pid(cluster, process.pid)
        lock = find_place(folder)[0].socket.with_name(".s.PGSQL.5432.lock")
        lock.write_text(f"{process.pid}\n")
        assert stop_db(folder) is False
        ensure_db(folder)
        assert process.poll() is None
        assert stop_db(folder) is True
        assert process.poll() is None


def test_a_server_of_another_folder_with_the_number_is_left_alone(
    folders: Folders, tmp_path: Path
) -> None:
    folder = folders()
    ensure_db(folder)
    cluster = find_place(folder)[0].cluster
    kill_server(folder)
    elsewhere = folders()
    elsewhere.chmod(0o755)
    program = elsewhere / "postgres"
    shutil.copy("/bin/sleep", program)
    with stranger(str(program), cwd=elsewhere, like=cluster) as process:
        write_pid(cluster, process.pid)
        assert stop_db(folder) is False
        ensure_db(folder)
        assert stop_db(folder) is True
        assert process.poll() is None


def test_a_zombie_postmaster_does_not_pass_for_a_server(folders: Folders) -> None:
    folder = folders()
    # The child becomes the server's parent when pg_ctl ends, and never asks how it ended.
    code = """
import ctypes
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
ensure_db(folder)
pid = processes.postmaster_pid(places.find_place(folder)[0].cluster)
os.kill(pid, signal.SIGKILL)
while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
    time.sleep(0.01)
print(psycopg.connect(ensure_db(folder)).execute("SELECT 1").fetchone())
print(psutil.Process(pid).status(), stop_db(folder))
"""
    assert ME.run(code, folder).splitlines() == ["(1,)", "zombie True"]
