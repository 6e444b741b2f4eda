"""Whether this host belongs to the installation of its database: key, files, version, tables."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import ProgrammingError, connection, transaction
from django.utils.crypto import salted_hmac

from jobs.models import Installation, StoredFile
from jobs.services.fleet import HostRefused, alive_workers, version_skew
from jobs.services.storage_marker import read_marker, write_marker
from vbatch_site.schema_state import unapplied_migrations, unknown_migrations
from vbatch_site.version import VERSION

log = structlog.get_logger()

# Of the session lock under which a worker enters or changes the installation's row and marker.
_LOCK = 0x76626873


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something in which this host does not fit; `part` is its name in `/readyz`."""

    part: str
    text: str
    remedy: str


def find_faults(*, worker: str | None = None) -> list[Fault]:
    """Return in what this host does not fit; of the worker `worker` its version too.

    Without tables nothing else can be asked, so missing ones hide faults of other kinds.
    """
    faults = _schema_faults()
    try:
        with transaction.atomic():
            skew = version_skew(name=worker, version=VERSION) if worker is not None else None
            row = Installation.objects.first()
    except ProgrammingError:
        if not faults:
            raise
        return faults
    if skew:
        faults.append(Fault(part="version", text=skew, remedy=_VERSION_REMEDY))
    if row is not None:
        faults += _secret_faults(row)
        faults += _storage_faults(row)
    return faults


def enter_installation(*, worker: str) -> None:
    """Make the installation's row and marker where there are none; to be called by a worker.

    A host whose files are not those of the row takes them for the installation's own only if
    no other worker is alive and the files that the database knows are there: a marker that was
    lost, or files that moved. It then gets an id of its own, so that a host which comes back
    with the old files is told that they are not shared. Raises HostRefused otherwise.
    """
    with _one_at_a_time():
        row = Installation.objects.first()
        marker = _marker_or_refused()
        if row is not None and (row.storage_id == marker or _secret_faults(row)):
            return
        others = list(alive_workers().exclude(name=worker).values_list("name", flat=True))
        if row is not None and others:
            raise HostRefused(_not_shared(others))
        if not _files_are_there():
            raise HostRefused(_files_lost())
        _take_storage(row, marker)


def adopt_secret_key() -> None:
    """Take this host's secret key for the installation's, after a change on purpose."""
    _check_nobody_alive()
    Installation.objects.update(secret_digest=secret_digest())


def adopt_storage() -> None:
    """Take this host's file storage for the installation's, whatever has become of the files."""
    _check_nobody_alive()
    with _one_at_a_time():
        _take_storage(Installation.objects.first(), _marker_or_refused())


def secret_digest() -> str:
    """Return what tells one secret key from another, and nothing else about it."""
    return salted_hmac("vbatch.installation", "", algorithm="sha256").hexdigest()


def _take_storage(row: Installation | None, marker: str | None) -> None:
    """Let row and marker agree; the marker that is there counts, since others may share it."""
    if marker is None:
        marker = secrets.token_hex(16)
        write_marker(marker)
    if row is None:
        Installation.objects.create(pk=1, storage_id=marker, secret_digest=secret_digest())
    else:
        log.warning("storage_id_changed", old=row.storage_id, new=marker)
        Installation.objects.update(storage_id=marker)


def _check_nobody_alive() -> None:
    names = ", ".join(alive_workers().values_list("name", flat=True))
    if names:
        raise HostRefused(f"Workers are alive ({names}). Stop every worker first.")


def _files_are_there() -> bool:
    """True if the newest file that the database knows is in this storage, or it knows none."""
    newest = StoredFile.objects.filter(deleted_at=None).exclude(paths=[]).order_by("-id").first()
    return newest is None or all(default_storage.exists(path) for path in newest.paths)


def _marker_or_refused() -> str | None:
    try:
        return read_marker()
    except OSError as error:
        raise HostRefused(_unreadable(error)) from error


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let one host in at a time, with no transaction open while it reads and writes files."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


# --- Faults, in words ------------------------------------------------------------------------
_VERSION_REMEDY = (
    "Stop every worker, bring all hosts to one version, run `manage.py migrate` once, and start "
    "them again."
)
_SHARE_REMEDY = (
    "Mount one folder as `files` of every data folder, or set VBATCH_S3_BUCKET on every host."
)


def _schema_faults() -> list[Fault]:
    unknown = unknown_migrations()
    if unknown:
        return [
            Fault(
                part="migrations",
                text=f"The database was migrated further than this vbatch {VERSION} knows "
                f"({_some(unknown)}).",
                remedy="Bring this host to the version of the one that migrated.",
            )
        ]
    unapplied = unapplied_migrations()
    if unapplied:
        return [
            Fault(
                part="migrations",
                text=f"{len(unapplied)} migrations of this vbatch {VERSION} are not applied "
                f"({_some(unapplied)}).",
                remedy="Stop the workers of an older version, if any, and run `manage.py migrate`.",
            )
        ]
    return []


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _secret_faults(row: Installation) -> list[Fault]:
    if row.secret_digest == secret_digest():
        return []
    if _has_own_database():
        return [
            Fault(
                part="secret_key",
                text="The database of this data folder was made with another secret key. An "
                "earlier one may have stood in its place, and been deleted without `make reset`: "
                "its database is still there.",
                remedy="To go on with it, put its `secret_key` and `files` back. To begin anew, "
                "run `make reset` (`manage.py reset`), which deletes it. If the key was changed "
                "on purpose, stop the worker and run `manage.py adopthost --secret-key`.",
            )
        ]
    return [
        Fault(
            part="secret_key",
            text="The secret key of this host is not that of the others on this database: each "
            "would throw away the other's messages.",
            remedy="Set VBATCH_SECRET_KEY to theirs (the text of `secret_key` in the data folder "
            "of the first host). If the key was changed on purpose, stop every worker and "
            "run `manage.py adopthost --secret-key` on one.",
        )
    ]


def _has_own_database() -> bool:
    """Whether the database is this data folder's alone, so that no other host can be meant."""
    return "embedded" in settings.DATABASES["default"]["ENGINE"]


def _storage_faults(row: Installation) -> list[Fault]:
    try:
        marker = read_marker()
    except OSError as error:
        return [Fault(part="storage", text=_unreadable(error), remedy="")]
    if marker == row.storage_id:
        return []
    found = "holds no marker of it" if marker is None else "holds another one's marker"
    return [
        Fault(
            part="storage",
            text=f"This host does not share the files of the installation: {storage_name()} "
            f"{found}.",
            remedy=_SHARE_REMEDY,
        )
    ]


def _not_shared(others: list[str]) -> str:
    return (
        f"This host does not share the files of the others that are alive ({', '.join(others)}): "
        f"{storage_name()} does not hold their marker. {_SHARE_REMEDY}"
    )


def _files_lost() -> str:
    return (
        f"The files that the database knows are not in {storage_name()}. If another host has "
        f"them: {_SHARE_REMEDY} If they are lost, run `manage.py adopthost --storage`."
    )


def _unreadable(error: OSError) -> str:
    return f"{storage_name()} cannot be read: {error}"


def storage_name() -> str:
    """Return where this host keeps stored files, in words."""
    if settings.S3_BUCKET:
        return f"the S3 bucket {settings.S3_BUCKET}"
    return f"the folder {settings.FILES_DIR}"
