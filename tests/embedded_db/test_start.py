"""The server comes up once, for whoever asks, however the asking goes wrong."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.embedded_db.conftest import (
    ENSURE,
    ME,
    Folders,
    kill_server,
    live,
    ordinary_person,
    postmaster,
)
from vbatch_site.embedded_db import EmbeddedDbError, ensure_db, status, stop_db
from vbatch_site.embedded_db.places import find_place, locked
from vbatch_site.embedded_db.waiting import Waiting


def value(url: str, query: str) -> object:
    with psycopg.connect(url) as link:
        row = link.execute(query).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0]


def test_new_then_again_is_the_same_server_within_ten_ms(folders: Folders) -> None:
    folder = folders()
    assert status(folder).state == "absent"
    url = ensure_db(folder)
    assert value(url, "SELECT current_database()") == "vbatch"
    pid = postmaster(folder).pid
    times_s = []
    for _ in range(20):
        begun_at = time.perf_counter()
        assert ensure_db(folder) == url
        times_s.append(time.perf_counter() - begun_at)
    assert postmaster(folder).pid == pid
    assert sorted(times_s)[10] < 0.010
    found = status(folder)
    assert (found.state, found.pid, found.url) == ("running", pid, url)


def test_a_call_while_it_is_up_waits_for_nobody(folders: Folders) -> None:
    folder = folders()
    url = ensure_db(folder)
    with locked(find_place(folder)[0], Waiting()):
        assert ME.run(ENSURE, folder) == url


def test_settings_are_durable_and_closed_to_the_network(folders: Folders) -> None:
    url = ensure_db(folders())
    expected = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "listen_addresses": "",
        "max_connections": "200",
        "logging_collector": "on",
        "log_min_error_statement": "panic",
    }
    assert {name: value(url, f"SHOW {name}") for name in expected} == expected
    assert value(url, "SELECT datlocale FROM pg_database WHERE datname = 'vbatch'") == "C.UTF-8"
    assert value(url, "SELECT lower('ÄÖ')") == "äö"
    assert value(url, "SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL") == 0


def test_a_second_database_is_made_beside_the_first(folders: Folders) -> None:
    folder = folders()
    ensure_db(folder)
    url = ensure_db(folder, dbname="other-1")
    assert value(url, "SELECT current_database()") == "other-1"


def test_the_callers_environment_does_not_shape_the_server(folders: Folders) -> None:
    folder = folders()
    ME.run(ENSURE, folder, PGPORT="6000", PGHOST="/nowhere", LC_ALL="de_DE", PGUSER="x", SECRET="s")
    assert set(postmaster(folder).environ()) & {"PGPORT", "PGUSER", "SECRET"} == set()
    assert value(ensure_db(folder), "SHOW port") == "5432"


def test_eight_at_once_with_differing_tmpdirs_share_one_server(
    folders: Folders, tmp_path: Path
) -> None:
    folder = folders()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    count = "print(psycopg.connect(ensure_db(folder)).execute('SELECT 1').fetchone())\n"
    children = [
        ME.popen(ENSURE + count, folder, TMPDIR=str(tmp_path / ("one" if number % 2 else "two")))
        for number in range(8)
    ]
    answers = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0] * 8, answers
    assert len({out for out, _ in answers}) == 1
    postmasters = [one for one in live(folder) if one.ppid() not in {p.pid for p in live(folder)}]
    assert len(postmasters) == 1


@pytest.mark.parametrize("delay_s", [0.05, 0.15, 0.3, 0.45, 0.6])
def test_a_starter_killed_at_any_moment_leaves_nothing_in_the_way(
    folders: Folders, delay_s: float
) -> None:
    folder = folders()
    child = ME.popen("print('go', flush=True)\n" + ENSURE, folder)
    assert child.stdout is not None and child.stderr is not None
    child.stdout.readline()
    time.sleep(delay_s)
    child.kill()
    child.wait()
    child.stdout.close()
    child.stderr.close()
    assert value(ensure_db(folder), "SELECT 1") == 1
    assert not list(find_place(folder)[0].home.glob("cluster.new-*"))


def test_the_server_outlives_its_starter_and_holds_nothing_of_it(folders: Folders) -> None:
    folder = folders()
    # `run` reads the child's pipes to their end: a server that held one would never let it.
    code = "read, write = os.pipe(); os.set_inheritable(write, True)\n" + ENSURE
    code += "os.close(write); print(os.read(read, 1) == b'', flush=True)\n"
    code += "print(os.getsid(0), flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    child = ME.popen(code, folder)
    out, _ = child.communicate(timeout=30)
    url, held_nothing, session = out.split()
    assert child.returncode == -signal.SIGKILL
    assert held_nothing == "True"
    assert value(url, "SELECT 1") == 1
    assert os.getsid(postmaster(folder).pid) != int(session)


def test_a_failing_start_tells_the_servers_own_reason_at_once(folders: Folders) -> None:
    folder = folders()
    ensure_db(folder)
    assert stop_db(folder)
    extra = find_place(folder)[0].cluster / "postgresql.auto.conf"
    before = extra.read_text()
    extra.write_text("shared_buffers = 'nonsense'\n")
    begun_at = time.monotonic()
    with pytest.raises(EmbeddedDbError, match="nonsense"):
        ensure_db(folder)
    assert time.monotonic() - begun_at < 20
    extra.write_text(before)
    ensure_db(folder)


def test_data_of_another_version_are_refused_with_the_remedy_and_left_alone(
    folders: Folders,
) -> None:
    folder = folders()
    url = ensure_db(folder)
    with psycopg.connect(url) as link:
        link.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    stop_db(folder)
    version = find_place(folder)[0].cluster / "PG_VERSION"
    before = version.read_text()
    version.write_text("16\n")
    with pytest.raises(EmbeddedDbError, match="made by PostgreSQL 16") as caught:
        ensure_db(folder)
    assert "db dump" in str(caught.value) and "db restore" in str(caught.value)
    version.write_text(before)
    assert value(ensure_db(folder), "SELECT answer FROM kept") == 42


def test_a_long_recovery_is_waited_for_and_shown(folders: Folders) -> None:
    folder = folders()
    with psycopg.connect(ensure_db(folder), autocommit=True) as link:
        link.execute("CREATE TABLE big AS SELECT repeat('x', 1000) FROM generate_series(1, 150000)")
    kill_server(folder)
    child = ME.popen(ENSURE, folder)
    deadline_at = time.monotonic() + 10
    held = None
    while held is None and time.monotonic() < deadline_at:
        held = next((one for one in live(folder) if "startup" in "".join(one.cmdline())), None)
    assert held is not None, "the recovery was over before it was seen"
    held.suspend()
    assert status(folder).state == "starting"
    time.sleep(4)
    assert child.poll() is None
    held.resume()
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert "starting; after a crash" in err
    assert value(out.strip(), "SELECT count(*) FROM big") == 150000


def test_stop_keeps_what_is_committed_and_ends_every_process(folders: Folders) -> None:
    folder = folders()
    with psycopg.connect(ensure_db(folder)) as link:
        link.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    processes = live(folder)
    idle = psycopg.connect(ensure_db(folder))
    assert stop_db(folder) is True
    # Some systems' init collects the dead late.
    left = [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert left == []
    idle.close()
    assert status(folder).state == "stopped"
    assert stop_db(folder) is False
    assert value(ensure_db(folder), "SELECT answer FROM kept") == 42


def test_without_root_the_data_lie_in_the_data_folder(folders: Folders, nonroot_path: str) -> None:
    person = ordinary_person()
    folder = folders(person=person)
    code = ENSURE + "print(json.dumps(status(folder).__dict__, default=str))\n"
    url, _ = person.run(code, folder, extra_path=nonroot_path).splitlines()
    cluster = folder / "pg" / "cluster"
    assert cluster.stat().st_uid == person.uid
    assert (folder / "pg").stat().st_mode & 0o777 == 0o700
    assert postmaster(folder).uids().effective == person.uid
    # Root is let in too.
    assert value(url, "SELECT current_user") == "vbatch"
    assert person.run("print(stop_db(folder))", folder, extra_path=nonroot_path) == "True"


def test_a_start_whose_starter_was_killed_is_not_disturbed(folders: Folders) -> None:
    folder = folders()
    ensure_db(folder)
    stop_db(folder)
    log = next(find_place(folder)[0].log_dir.glob("*.log"))
    starts_before = log.read_text().count("starting PostgreSQL")
    code = """
class Launch(server.Launch):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)
server.Launch = Launch
ensure_db(folder)
"""
    for _ in range(5):
        child = ME.popen(code, folder)
        child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL
        ensure_db(folder)
        assert (find_place(folder)[0].cluster / "postmaster.pid").exists()
        assert stop_db(folder)
    assert log.read_text().count("starting PostgreSQL") == starts_before + 5


def test_a_start_under_way_keeps_the_lock_when_its_starter_is_killed(folders: Folders) -> None:
    folder = folders()
    ensure_db(folder)
    stop_db(folder)
    code = """
class Launch(server.Launch):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        os.kill(self._pg_ctl.pid, signal.SIGSTOP)
        print(self._pg_ctl.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
server.Launch = Launch
ensure_db(folder)
"""
    out, _ = ME.popen(code, folder).communicate(timeout=60)
    try:
        with (find_place(folder)[0].home / "lock").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(int(out), signal.SIGCONT)
    assert value(ensure_db(folder), "SELECT 1") == 1
    # And the server itself has not got it.
    with locked(find_place(folder)[0], Waiting()):
        pass


def test_a_database_that_a_killed_caller_is_still_making_is_no_clash(folders: Folders) -> None:
    folder = folders()
    url = ensure_db(folder)
    for name in ("one", "two", "three"):
        maker = psycopg.connect(url, autocommit=True)
        maker.pgconn.send_query(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        made = ensure_db(folder, dbname=name)
        assert value(made, "SELECT current_database()") == name
        maker.close()
