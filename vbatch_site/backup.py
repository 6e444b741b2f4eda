"""A running installation saved to a folder, and an installation made from it again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings
from django.core.files.storage import FileSystemStorage, default_storage
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from jobs.services.lost_files import hide_lost_files
from vbatch_site.embedded_db import ensure_db
from vbatch_site.embedded_db.dump import dump_db, restore_db
from vbatch_site.running import find_running
from vbatch_site.version import VERSION

DUMP = "database.dump"
FILES = "files"
KEY = "secret_key"
# Written last: a folder without it holds no whole backup.
MANIFEST = "backup.json"


class BackupError(Exception):
    """It cannot be done; the message says why, and what to do instead."""


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What a folder holds: when and by which version it was made, and how much there is."""

    made_at: str
    version: str
    database_bytes: int
    files: int
    file_bytes: int


def save(folder: Path) -> Backup:
    """Save database, stored files and secret key to `folder`, which must be new or empty.

    Everything may go on running. The dump is one moment of the database. The files are copied
    after it, and that is the right order: a file's bytes are stored before its row is written,
    and are never changed, so that each file which the dump knows is there when it is copied. What
    is uploaded meanwhile is copied for nothing, and does no harm. The other way round, uploads
    between the copy and the dump would be rows without bytes. What is left: a file that is
    deleted between dump and copy. Its row comes back with the dump, and `bring_back` deletes it.
    """
    _check_kinds()
    if folder.exists() and any(folder.iterdir()):
        raise BackupError(f"{folder} is not empty. Take a new folder for each backup.")
    folder.mkdir(parents=True, exist_ok=True)
    # Prompts, answers and the secret key are in it.
    folder.chmod(0o700)
    made_at = timezone.now().isoformat(timespec="seconds")
    dump_db(ensure_db(settings.DATA_DIR), folder / DUMP)
    (folder / FILES).mkdir()
    sizes = list(_copy(Path(settings.FILES_DIR), folder / FILES))
    key = Path(settings.DATA_DIR) / KEY
    if key.exists():
        shutil.copy2(key, folder / KEY)
    backup = Backup(
        made_at=made_at,
        version=VERSION,
        database_bytes=(folder / DUMP).stat().st_size,
        files=len(sizes),
        file_bytes=sum(sizes),
    )
    (folder / MANIFEST).write_text(json.dumps(asdict(backup), indent=2) + "\n")
    return backup


def bring_back(folder: Path, *, replace: bool) -> tuple[Backup, int]:
    """Make this installation what `folder` holds; return that, and the number of lost files.

    Refuses while something runs here, and, without `replace`, where there is data. Safe to do
    again after it was cut off. What the saved lanes held in hand is given out again, since their
    leases have run out.
    """
    _check_kinds()
    backup = read_manifest(folder)
    running = [name for name in ("demo", "runworker", "runweb") if find_running(name)]
    if running:
        raise BackupError(f"Still running: {', '.join(running)}. Run `manage.py stop` first.")
    url = ensure_db(settings.DATA_DIR)
    if not replace and _has_data():
        raise BackupError(
            f"There is data in {settings.DATA_DIR} already; --replace puts the backup in its place."
        )
    # Here the files come first, so that no row is ever there before its bytes.
    for _ in _copy(folder / FILES, Path(settings.FILES_DIR)):
        pass
    if (folder / KEY).exists():
        shutil.copy2(folder / KEY, Path(settings.DATA_DIR) / KEY)
    connection.close()
    restore_db(url, folder / DUMP)
    # The backup may be of an older version.
    call_command("migrate", verbosity=0, interactive=False)
    return backup, hide_lost_files()


def read_manifest(folder: Path) -> Backup:
    try:
        return Backup(**json.loads((folder / MANIFEST).read_text()))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BackupError(f"{folder} holds no finished backup (no {MANIFEST}).") from error


def _check_kinds() -> None:
    if "embedded" not in settings.DATABASES["default"]["ENGINE"]:
        raise BackupError(
            "This installation uses the database in DATABASE_URL. docs/operating.md says how to "
            "save and restore it with pg_dump and pg_restore."
        )
    if not isinstance(default_storage, FileSystemStorage):
        raise BackupError(
            "The stored files are not in a folder. docs/operating.md says how to save database "
            "and files each with their own tools."
        )


def _has_data() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('jobs_project')")
        if cursor.fetchone() == (None,):
            return False
        cursor.execute("SELECT EXISTS (SELECT FROM jobs_project), EXISTS (SELECT FROM auth_user)")
        return any(cursor.fetchone())


def _copy(source: Path, target: Path) -> Iterator[int]:
    """Copy stored files, with their times, and give the size of each; what goes meanwhile is
    left out."""
    incoming = Path(settings.FILE_UPLOAD_TEMP_DIR).name
    for parent, folders, names in os.walk(source):
        here = Path(parent)
        if here == source and incoming in folders:
            # Uploads that have no name yet.
            folders.remove(incoming)
        there = target / here.relative_to(source)
        there.mkdir(parents=True, exist_ok=True)
        for name in names:
            try:
                shutil.copy2(here / name, there / name)
            except FileNotFoundError:
                continue
            yield (there / name).stat().st_size
