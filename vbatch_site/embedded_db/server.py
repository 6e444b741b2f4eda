"""Starting, finding and stopping the server of a data folder."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import psycopg
from psycopg import errors, sql
from psycopg.pq import PGconn, Ping

from vbatch_site.embedded_db.accounts import account_of, choose_account
from vbatch_site.embedded_db.binaries import binaries_for
from vbatch_site.embedded_db.errors import EmbeddedDbError
from vbatch_site.embedded_db.launch import Launch, check_version, make_cluster
from vbatch_site.embedded_db.places import (
    RECORD,
    SYSTEM_FOLDER,
    Place,
    find_place,
    locked,
    make_home,
    settle,
)
from vbatch_site.embedded_db.processes import (
    find_postmaster,
    postmaster_pid,
    send,
    server_processes,
)
from vbatch_site.embedded_db.waiting import Waiting

DEFAULT_DBNAME = "vbatch"
# Longer than a backend of a busy machine takes to answer; a stopped one must not hold us for good.
CONNECT_TIMEOUT_S = 10
# Children of a dead postmaster leave by themselves as soon as they notice.
ORPHANS_LEAVE_S = 5.0
LOST_SOCKET_S = 15.0
MOST_LAUNCHES = 3
FAST_STOP_S = 120.0


class Answer(Enum):
    """What a server says to somebody who wants to connect."""

    READY = "ready"
    NO_DATABASE = "no such database"
    BUSY = "starting or stopping"
    SILENT = "no answer"


@dataclass(frozen=True)
class Status:
    """`state` is one of: absent (no data yet), stopped, starting, running."""

    state: str
    home: Path
    account: str | None
    pid: int | None
    version: str | None
    url: str | None


def ensure_db(data_dir: Path, *, dbname: str = DEFAULT_DBNAME) -> str:
    """Return the address of database `dbname` on the data folder's server, which is up on return.

    Safe to call from any number of processes at once. A server that recovers from a crash is
    waited for, however long that takes; after 3 s stderr says so. Raises `EmbeddedDbError`, with
    the remedy, when the server cannot be had.
    """
    place, recorded = find_place(data_dir)
    if recorded and _ask(place, dbname) is Answer.READY:
        return place.url(dbname)
    waiting = Waiting()
    with locked(place, waiting) as lock:
        place = _bring_up(find_place(data_dir)[0], lock=lock, waiting=waiting)
        while _ask(place, dbname) is Answer.NO_DATABASE:
            _create_database(place, dbname)
    return place.url(dbname)


def stop_db(data_dir: Path) -> bool:
    """Stop the data folder's server and wait until it is gone; False if none was running.

    Running transactions are rolled back, committed ones are kept.
    """
    place, _ = find_place(data_dir)
    if not place.home.exists():
        return False
    waiting = Waiting()
    with locked(place, waiting):
        return _stop(place, waiting)


def delete_db(data_dir: Path) -> bool:
    """Stop the data folder's server and delete its data for good; False if there were none."""
    place, recorded = find_place(data_dir)
    if not place.home.exists():
        return False
    waiting = Waiting()
    with locked(place, waiting):
        # Without the last checkpoint: nobody will read these data.
        _stop(place, waiting, at_once=True)
        # Aside first: a run that is killed from here on leaves no half of a database behind.
        doomed = place.home.with_name(f"{place.home.name}.deleted-{os.getpid()}")
        place.home.rename(doomed)
        if recorded:
            (place.data_dir / RECORD).unlink()
    shutil.rmtree(doomed)
    if not place.socket_dir.is_relative_to(place.home) and place.socket_dir.exists():
        shutil.rmtree(place.socket_dir)
    return True


def status(data_dir: Path) -> Status:
    """Look at the data folder's server, and change nothing."""
    place, _ = find_place(data_dir)
    try:
        if not (place.cluster / "PG_VERSION").exists():
            return Status("absent", place.home, None, None, None, None)
    except PermissionError as error:
        raise EmbeddedDbError(
            f"Another account's database: {error}. Ask as that account."
        ) from None
    account = account_of(place.cluster.stat().st_uid).name
    answer = _ask(place, DEFAULT_DBNAME)
    if answer in (Answer.READY, Answer.NO_DATABASE):
        with psycopg.connect(place.url("postgres"), connect_timeout=CONNECT_TIMEOUT_S) as link:
            version = link.execute("SHOW server_version").fetchone()
        assert version is not None
        pid = postmaster_pid(place.cluster)
        url = place.url(DEFAULT_DBNAME)
        return Status("running", place.home, account, pid, version[0], url)
    postmaster = find_postmaster(place.cluster, server_processes(place.cluster))
    if postmaster is not None:
        return Status("starting", place.home, account, postmaster.pid, None, None)
    return Status("stopped", place.home, account, None, None, None)


def _bring_up(place: Place, *, lock: int, waiting: Waiting) -> Place:
    """Return the place of a server that takes connections, starting one if need be.

    To be called under the lock.
    """
    make_home(place)
    launch: Launch | None = None
    launches = 0
    silent_since_s: float | None = None
    while True:
        answer = _ask(place, "postgres")
        if answer is Answer.READY:
            if launch is not None:
                launch.finish()
            return place
        if answer is Answer.BUSY:
            silent_since_s = None
            waiting.step("it is starting; after a crash it reads its log back, which takes time")
            continue
        if launch is not None and launch.is_running():
            waiting.step("it is starting")
            continue
        live = server_processes(place.cluster)
        if live:
            now_s = waiting.elapsed_s()
            silent_since_s = now_s if silent_since_s is None else silent_since_s
            if find_postmaster(place.cluster, live) is None:
                _see_off_orphans(place, silent_s=now_s - silent_since_s)
            elif not place.socket.exists() and now_s - silent_since_s > LOST_SOCKET_S:
                raise EmbeddedDbError(
                    f"The server in {place.cluster} runs, but its socket {place.socket} is gone. "
                    "Run `manage.py db stop`, then `manage.py db start`."
                )
            waiting.step("a server that does not answer yet is in its folder")
            continue
        # One that ran beside ours, and made it fail, may have gone since: that deserves a retry.
        if launch is not None and (silent_since_s is None or launches >= MOST_LAUNCHES):
            raise EmbeddedDbError(launch.failure(place))
        silent_since_s = None
        launches += 1
        place, launch = _start(place, lock=lock)


def _start(place: Place, *, lock: int) -> tuple[Place, Launch]:
    """Start a server where none lives, making its data folder first if there is none."""
    exists = place.cluster.exists()
    account = choose_account(owner_uid=place.cluster.stat().st_uid if exists else None)
    binaries = binaries_for(account, system_folder=SYSTEM_FOLDER)
    place = settle(place, uid=account.uid, gid=account.gid)
    if exists:
        check_version(place, binaries)
        # Looked at again, since the above took its time: one started by hand may have come up.
        if not server_processes(place.cluster):
            _remove_stale_files(place)
    else:
        make_cluster(place, account, binaries, lock=lock)
    return place, Launch(place, account, binaries, lock=lock)


def _remove_stale_files(place: Place) -> None:
    """Remove what a dead server left, which would keep a new one from starting.

    PostgreSQL asks only whether the process number in the file is alive, and takes a zombie, or a
    stranger with that number, for the old server. The caller has looked at the processes.
    """
    for path in (
        place.cluster / "postmaster.pid",
        place.socket,
        place.socket.with_name(f"{place.socket.name}.lock"),
    ):
        path.unlink(missing_ok=True)


def _see_off_orphans(place: Place, *, silent_s: float) -> None:
    """Make children leave whose postmaster was killed, as their postmaster would have.

    One that computes does not notice that it is alone, and no server starts beside it.
    """
    if silent_s < ORPHANS_LEAVE_S:
        return
    number = signal.SIGQUIT if silent_s < 2 * ORPHANS_LEAVE_S else signal.SIGKILL
    live = server_processes(place.cluster)
    if find_postmaster(place.cluster, live) is None:
        for process in live:
            send(process, number, cluster=place.cluster)


def _stop(place: Place, waiting: Waiting, *, at_once: bool = False) -> bool:
    if not server_processes(place.cluster):
        return False
    begun_s = waiting.elapsed_s()
    sent: int | None = None
    while live := server_processes(place.cluster):
        postmaster = find_postmaster(place.cluster, live)
        stopping_s = waiting.elapsed_s() - begun_s
        if postmaster is None:
            _see_off_orphans(place, silent_s=stopping_s)
        else:
            # SIGINT rolls back and ends; SIGQUIT ends at once, and the next start recovers.
            patient = stopping_s < FAST_STOP_S and not at_once
            wanted = signal.SIGINT if patient else signal.SIGQUIT
            if sent != wanted:
                sent = wanted
                send(postmaster, wanted, cluster=place.cluster)
        waiting.step("it is stopping")
    return True


def _ask(place: Place, dbname: str) -> Answer:
    """Try to connect to `dbname`; raise `EmbeddedDbError` if the server refuses us."""
    if not place.socket_is_trusted():
        return Answer.SILENT
    url = place.url(dbname)
    for _ in range(2):
        try:
            psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S).close()
            return Answer.READY
        except psycopg.OperationalError as error:
            refusal = str(error)
        if f'database "{dbname}" does not exist' in refusal:
            return Answer.NO_DATABASE
        if "too many clients" in refusal or "connection slots are reserved" in refusal:
            return Answer.READY  # It is up; the caller's own connection will say that it is full.
        # psycopg's C implementation answers a bare number.
        ping = Ping(PGconn.ping(url.encode()))
        if ping is Ping.REJECT:
            return Answer.BUSY
        if ping is not Ping.OK:
            return Answer.SILENT
        # It became ready between the two questions, or it does not want us: ask once more.
    raise EmbeddedDbError(
        f"The server in {place.cluster} refuses us: {refusal}. Only the account that runs it and "
        "root are let in."
    )


def _create_database(place: Place, dbname: str) -> None:
    # template0: nobody can be connected to it, so the copy is never refused.
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(dbname))
    with psycopg.connect(
        place.url("postgres"), autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
    ) as link:
        try:
            link.execute(statement)
        except (errors.DuplicateDatabase, errors.UniqueViolation):
            # Its maker was killed and lost the lock, and the server finished the work for it.
            return
