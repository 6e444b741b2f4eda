"""`manage.py db`, from start to delete."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.embedded_db.conftest import Folders, child_env

# The command alone, without the apps: it must work when nothing else does.
RUN = """
import sys
from pathlib import Path
from django.conf import settings
engine = sys.argv[2] if sys.argv[2] != "-" else "vbatch_site.embedded_backend"
settings.configure(DATA_DIR=Path(sys.argv[1]), DATABASES={"default": {"ENGINE": engine}})
from vbatch_site.management.commands.db import Command
Command().run_from_argv(["manage.py", "db", *sys.argv[3:]])
"""


def db(
    folder: Path, *arguments: str, engine: str = "-", answer: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, str(folder), engine, *arguments],
        input=answer,
        capture_output=True,
        text=True,
        timeout=60,
        env=child_env(),
    )


def test_from_start_to_delete(folders: Folders, tmp_path: Path) -> None:
    folder = folders()
    assert db(folder, "status").returncode == 3
    url = db(folder, "url").stdout.strip()
    assert url.startswith("postgresql://vbatch@%2F") and "\n" not in url
    assert "state:   running" in db(folder, "status").stdout
    sql = db(folder, "shell", "--", "-Atc", "CREATE TABLE kept AS SELECT 42 AS x; TABLE kept")
    assert sql.stdout.split() == ["SELECT", "1", "42"], sql.stderr

    saved = tmp_path / "saved.dump"
    assert "Saved" in db(folder, "dump", str(saved)).stdout
    assert saved.stat().st_mode & 0o777 == 0o600
    assert db(folder, "stop").stdout == "Stopped.\n"
    assert db(folder, "stop").stdout == "It was not running.\n"
    assert db(folder, "status").returncode == 3

    assert db(folder, "delete", answer="no\n").returncode == 1
    assert "Deleted." in db(folder, "delete", answer="yes\n").stdout
    restored = db(folder, "restore", str(saved))
    assert restored.returncode == 0, restored.stderr
    assert db(folder, "shell", "--", "-Atc", "TABLE kept").stdout == "42\n"
    assert db(folder, "dump", "/nowhere/x").returncode == 1


def test_with_a_server_of_ones_own_the_embedded_one_is_not_started(folders: Folders) -> None:
    folder = folders()
    done = db(folder, "start", engine="django.db.backends.postgresql")
    assert done.returncode == 1 and "DATABASE_URL is set" in done.stderr
    assert "absent" in db(folder, "status", engine="django.db.backends.postgresql").stdout
