"""Saving a database to a file and bringing it back, with the programs of the wheel."""

from __future__ import annotations

import subprocess
from pathlib import Path

from vbatch_site.embedded_db.binaries import find_binaries
from vbatch_site.embedded_db.errors import EmbeddedDbError


def dump_db(url: str, file: Path) -> None:
    """Save one moment of the database to `file`, readable by its owner alone, while all goes on."""
    # Aside first: a dump that fails half way must not cost the last good one.
    draft = file.with_name(f"{file.name}.part")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    _run("pg_dump", "--format=custom", f"--file={draft}", url)
    draft.replace(file)


def restore_db(url: str, file: Path) -> None:
    """Replace what the database holds by what was saved: all or nothing."""
    # What the file does not know stays.
    how = ["--clean", "--if-exists", "--no-owner", "--single-transaction"]
    _run("pg_restore", *how, f"--dbname={url}", str(file))


def _run(program: str, *arguments: str) -> None:
    done = subprocess.run([find_binaries().program(program), *arguments], check=False)
    if done.returncode != 0:
        raise EmbeddedDbError(f"{program} failed; its message is above.")
